//! What the proxy holds for somebody whose access ends is given back where it comes from (RFC 7009).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use portcullis::server::drain::Signal;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::exchange::{ACCESS_TOKEN, form};
use crate::revoked::{push, push_setup, set};
use crate::support::{Ask, Setup, Upstream, json_answer, raw_answer, until, within};

/// An authorization server with all its metadata; what was given back to it, and how it answers that.
struct Server {
    server: Upstream,
    forms: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

impl Server {
    async fn start(names: bool, status: u16) -> Self {
        let forms: Arc<Mutex<Vec<_>>> = Arc::default();
        let (kept, place) = (forms.clone(), Arc::new(Mutex::new(String::new())));
        let told = place.clone();
        let server = Upstream::answering(move |heard| {
            let issuer = told.lock().unwrap().clone();
            let line = heard.line().to_owned();
            if line.starts_with("GET /.well-known/oauth-authorization-server") {
                let mut metadata = json!({ "issuer": issuer, "token_endpoint": format!("{issuer}/token") });
                if names {
                    metadata["revocation_endpoint"] = json!(format!("{issuer}/revoke"));
                }
                return json_answer(200, &metadata.to_string());
            }
            if line.starts_with("POST /token") {
                let subject = form(heard)["subject_token"].clone();
                let token = format!("issued-for-{}", subject.rsplit('.').next().unwrap());
                let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 300, "issued_token_type": ACCESS_TOKEN });
                return json_answer(200, &body.to_string());
            }
            if line.starts_with("POST /revoke") {
                assert!(heard.header("authorization").is_some_and(|value| value.starts_with("Basic ")), "who asks");
                kept.lock().unwrap().push(form(heard));
                return raw_answer(status, "", b"");
            }
            raw_answer(404, "", b"")
        })
        .await;
        *place.lock().unwrap() = format!("http://{}", server.address);
        Self { server, forms }
    }
}

fn listing(token: &str) -> Ask {
    Ask::modern("tools/list", &json!({})).token(token)
}

#[tokio::test]
async fn rfc_7009_what_was_exchanged_for_who_is_revoked_is_given_back_once() {
    // Whether the metadata says where, whether the configuration does, what is answered there, and what is counted.
    for (names, written, status, counted) in [
        (true, false, 200, "given_back"),
        (true, false, 503, "not_given_back"),
        (false, true, 200, "given_back"),
        (false, false, 200, "revoked"),
    ] {
        let (upstream, server) = (Upstream::plain().await, Server::start(names, status).await);
        let place = format!(", revocation_endpoint = \"http://{}/revoke\"", server.server.address);
        let place = if written { &*place } else { "" };
        let auth = format!(
            "upstream_auth = {{ type = \"token_exchange\", issuer = \"http://{}\", client_id = \"gate\", client_secret = {{ file = \"client-secret\" }}, audience = \"crm-api\"{place} }}",
            server.server.address
        );
        let setup = Setup::new(upstream.url()).file("client-secret", "s").file("revoked.jsonl", "");
        let proxy = setup.issuer_keys("revocation_file = \"revoked.jsonl\"").server(&auth).start().await;
        let (ana, max) = (proxy.token("ana"), proxy.token("max"));
        for token in [&ana, &max, &ana] {
            assert_eq!(proxy.ask(&listing(token)).await.status, 200);
        }
        proxy.folder.write("revoked.jsonl", "{\"sub\":\"ana\"}\n");
        proxy.signal(Signal::Reload).await;
        until("the end of it", async || {
            let line = format!("grant=\"token_exchange\",result=\"{counted}\"}} 1");
            proxy.admin("/metrics").await.text().contains(&line).then_some(())
        })
        .await;
        let forms = std::mem::take(&mut *server.forms.lock().unwrap());
        let expected: Vec<Value> = if names || written {
            let token = format!("issued-for-{}", ana.rsplit('.').next().unwrap());
            vec![json!({ "token": token, "token_type_hint": "access_token" })]
        } else {
            Vec::new()
        };
        assert_eq!(forms.iter().map(|form| json!(form)).collect::<Vec<_>>(), expected, "{counted}");
        // It ends there for nobody else, and whatever was answered.
        assert_eq!(proxy.ask(&listing(&ana)).await.status, 401);
        assert_eq!(proxy.ask(&listing(&max)).await.status, 200);
        assert!(server.forms.lock().unwrap().is_empty(), "{counted}");
    }
}

/// Who is revoked while the token is on its way is not served by it long, and it does not stay behind.
#[tokio::test]
async fn what_comes_for_who_is_revoked_meanwhile_is_given_back_too() {
    let (came, mut comes) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    let server = Upstream::handling(move |heard, mut connection| {
        let (came, waiting) = (came.clone(), waiting.clone());
        async move {
            came.send(heard.line().to_owned()).unwrap();
            if heard.line().starts_with("POST /token") {
                waiting.notified().await;
                let body = json!({ "access_token": "late", "token_type": "Bearer", "expires_in": 300, "issued_token_type": ACCESS_TOKEN });
                connection.send(json_answer(200, &body.to_string())).await;
            } else {
                assert_eq!(form(&heard)["token"], "late");
                connection.send(raw_answer(200, "", b"")).await;
            }
            Some(connection)
        }
    })
    .await;
    let upstream = Upstream::plain().await;
    let place = |path: &str| format!("http://{}/{path}", server.address);
    let auth = format!(
        "upstream_auth = {{ type = \"token_exchange\", token_endpoint = \"{}\", revocation_endpoint = \"{}\", client_id = \"gate\", client_secret = {{ file = \"client-secret\" }}, audience = \"crm-api\" }}",
        place("token"),
        place("revoke")
    );
    let proxy = push_setup(&upstream).file("client-secret", "s").server(&auth).start().await;
    let ana = proxy.token("ana");
    let mut client = proxy.client().await;
    client.send(&listing(&ana).bytes()).await;
    assert!(comes.recv().await.unwrap().starts_with("POST /token"));
    let subject = json!({ "format": "iss_sub", "iss": proxy.issuer.url(), "sub": "ana" });
    assert_eq!(push(&proxy, &set(&proxy, &subject, &json!({}))).await.status, 202);
    assert_eq!(proxy.ask(&listing(&ana)).await.status, 401);
    go.notify_one();
    let given_back = within("the token to be given back", comes.recv()).await.unwrap();
    assert!(given_back.starts_with("POST /revoke"), "{given_back}");
}
