//! A newer configuration replaces the older one whole or not at all, and a process ends when it is told to.

use portcullis::clock::Timestamp;
use portcullis::demo::certificate;
use portcullis::server::drain::Signal;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{Ask, CRM_POLICY, Process, Proxy, Setup, Upstream, json_answer, token_of, until, within};

const WITHOUT_SEARCH: (&str, &str) = ("\"search_*\"", "\"find_*\"");

fn narrower() -> String {
    let policy = CRM_POLICY.replace(WITHOUT_SEARCH.0, WITHOUT_SEARCH.1);
    assert_ne!(policy, CRM_POLICY);
    policy
}

fn search(token: &str) -> Ask {
    Ask::call("2025-11-25", "search_contacts", &json!({})).token(token)
}

async fn is_allowed(proxy: &Proxy, token: &str) -> bool {
    !proxy.ask(&search(token)).await.text().contains("Unknown tool")
}

#[tokio::test]
async fn a_broken_file_leaves_the_old_rules_and_says_so_and_a_good_one_replaces_them() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    assert!(is_allowed(&proxy, &token).await);
    let good = proxy.folder.read("proxy.toml");
    for (file, text) in [
        ("crm.toml", "[[rule]\n".to_owned()),
        ("crm.toml", narrower().replace("effect = \"deny\"", "effect = \"perhaps\"")),
        ("crm.toml", narrower().replace("[[mask]]\nid       = \"contact-pii\"", "[[mask]]\nid = \"cards\"")),
        ("proxy.toml", good.replace("path = \"/crm/mcp\"", "path = \"/crm/mcp\"\npaht = 1")),
        ("proxy.toml", good.replace("[\"crm.toml\"]", "[\"crm.toml\", \"not-there.toml\"]")),
        ("proxy.toml", String::new()),
    ] {
        proxy.folder.write("crm.toml", narrower());
        proxy.folder.write(file, text);
        proxy.signal(Signal::Reload).await;
        let ready = until("the failure to show", async || {
            let ready = proxy.admin("/readyz?verbose").await;
            ready.text().contains("reloads fail since").then_some(ready)
        })
        .await;
        assert_eq!(ready.status, 200, "what ran before still runs: {ready:?}");
        assert!(is_allowed(&proxy, &token).await, "{file}");
        proxy.folder.write("proxy.toml", &good);
        proxy.folder.write("crm.toml", CRM_POLICY);
        proxy.signal(Signal::Reload).await;
        until("the recovery to show", async || {
            (!proxy.admin("/readyz?verbose").await.text().contains("reloads fail")).then_some(())
        })
        .await;
    }
    proxy.folder.write("crm.toml", narrower());
    proxy.signal(Signal::Reload).await;
    until("the newer rules", async || (!is_allowed(&proxy, &token).await).then_some(())).await;
    let list = proxy.ask(&Ask::legacy("tools/list", &json!({})).token(&token)).await;
    assert_eq!(list.status, 200);
}

/// Without any signal: the file is watched.
#[tokio::test]
async fn a_changed_file_is_noticed() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    assert!(is_allowed(&proxy, &token).await);
    // Written until it is noticed: the watch may begin after the first time.
    let mut round = 0;
    until("the newer rules", async || {
        round += 1;
        if round % 100 == 1 {
            proxy.folder.write("crm.toml", format!("{}\n# {round}\n", narrower()));
        }
        (!is_allowed(&proxy, &token).await).then_some(())
    })
    .await;
}

/// What `tools --approve` writes is in force without a word to the proxy.
#[tokio::test]
async fn a_changed_lock_file_is_noticed() {
    let upstream = Upstream::plain().await;
    upstream.offer(&json!([{ "name": "search_contacts", "inputSchema": { "type": "object" } }]));
    let lock = "{\"tool\":\"search_contacts\",\"sha256\":\"HASH\",\"definition\":{\"inputSchema\":{\"type\":\"object\"},\"name\":\"search_contacts\"}}\n";
    let definition = "{\"inputSchema\":{\"type\":\"object\"},\"name\":\"search_contacts\"}";
    let hash = portcullis::policy::lock::fingerprint(definition).to_string();
    let lock = lock.replace("HASH", hash.strip_prefix("sha256:").unwrap());
    let proxy = Setup::new(upstream.url()).file("crm.lock", "").server("lock = \"crm.lock\"").start().await;
    let token = proxy.token("ana");
    let passes = async || {
        let answer = proxy.ask(&search(&token)).await;
        answer.json()["result"]["isError"] != true
    };
    assert!(!passes().await, "it is not approved");
    let mut round = 0;
    until("the approval", async || {
        round += 1;
        if round % 100 == 1 {
            proxy.folder.write("crm.lock", format!("{lock}# {round}\n"));
        }
        passes().await.then_some(())
    })
    .await;
}

/// No request sees half of one configuration and half of another (threats O1).
#[tokio::test]
async fn each_request_is_decided_by_one_generation() {
    let upstream = Upstream::answering(|heard| {
        let text = "mail ana@private.example";
        json_answer(
            200,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#,
                heard.id()
            ),
        )
    })
    .await;
    // Either the rule is called `a` and addresses are called A, or both are B.
    let policy = |letter: &str| {
        format!(
            "[policy]\nname = \"x\"\n[[rule]]\nid = \"{letter}\"\ntools = [\"*\"]\n[[mask]]\nid = \"m-{letter}\"\n\
             on = [\"result\"]\npattern = 'ana@private\\.example'\nlabel = \"{}\"\naction = \"redact\"\n",
            letter.to_uppercase()
        )
    };
    let proxy = Setup::new(upstream.url()).policy(policy("a")).start().await;
    let token = proxy.token("ana");
    let mut seen = std::collections::BTreeSet::new();
    let mut at = 0;
    until("both generations", async || {
        at += 1;
        proxy.folder.write("crm.toml", policy(if at % 2 == 0 { "a" } else { "b" }));
        proxy.signal(Signal::Reload).await;
        for _ in 0..5 {
            let answer = proxy.ask(&search(&token)).await;
            let label = answer.text().split(['[', ']']).find(|part| matches!(*part, "A" | "B")).unwrap().to_owned();
            let id = answer.header("x-request-id").unwrap().to_owned();
            let rules: Vec<_> = proxy.audit().into_iter().filter(|line| line["request_id"] == id).collect();
            for line in rules {
                assert_eq!(line["policy"]["rule"], label.to_lowercase(), "{line}");
            }
            seen.insert(label);
        }
        (seen.len() == 2 && at > 20).then_some(())
    })
    .await;
}

/// A handshake with a listener; `None` if it fails.
async fn handshake(address: std::net::SocketAddr, ca: &str) -> Option<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in rustls_pki_types::CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    connector.connect("localhost".try_into().unwrap(), stream).await.ok()
}

/// The certificate a listener shows.
async fn shown_certificate(address: std::net::SocketAddr, ca: &str) -> Option<Vec<u8>> {
    let stream = handshake(address, ca).await?;
    Some(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

/// A proxy that shows that certificate.
fn secured(upstream: &Upstream, shown: &certificate::Certificates) -> Setup {
    let pair = Setup::new(upstream.url()).file("cert.pem", &shown.cert_pem).file("key.pem", shown.key_pem.expose());
    pair.listener("tls = { cert_file = \"cert.pem\", key_file = \"key.pem\" }")
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_a_reload_and_a_broken_one_is_not() {
    let upstream = Upstream::plain().await;
    let made = || certificate::generate(Timestamp::now()).unwrap();
    let (first, second) = (made(), made());
    let proxy = secured(&upstream, &first).start().await;
    let before = shown_certificate(proxy.address, &first.ca_pem).await.expect("a handshake");
    // A certificate without its key: the old pair stays.
    proxy.folder.write("cert.pem", &second.cert_pem);
    proxy.signal(Signal::Reload).await;
    proxy.folder.write("crm.toml", narrower());
    proxy.folder.write("key.pem", "not a key");
    proxy.signal(Signal::Reload).await;
    assert_eq!(shown_certificate(proxy.address, &first.ca_pem).await.as_ref(), Some(&before));
    proxy.folder.write("key.pem", second.key_pem.expose());
    proxy.signal(Signal::Reload).await;
    let after = until("the new certificate", async || shown_certificate(proxy.address, &second.ca_pem).await).await;
    assert_ne!(before, after);
}

/// Every answer over TLS tells browsers to stay with it, for as long as the file says now.
#[tokio::test]
async fn browsers_are_told_to_use_tls() {
    let upstream = Upstream::plain().await;
    let shown = certificate::generate(Timestamp::now()).unwrap();
    let proxy = secured(&upstream, &shown).start().await;
    let hsts = async |target: &str| {
        let mut stream = handshake(proxy.address, &shown.ca_pem).await.unwrap();
        let ask = format!("GET {target} HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        answer.lines().find_map(|line| line.strip_prefix("strict-transport-security: ")).map(ToOwned::to_owned)
    };
    for target in ["/crm/mcp", "/.well-known/oauth-protected-resource/crm/mcp", "/nothing"] {
        assert_eq!(hsts(target).await.as_deref(), Some("max-age=31536000"), "{target}");
    }
    for (from, to, told) in [
        ("\"key.pem\" }", "\"key.pem\", hsts = \"0s\" }", Some("max-age=0")),
        ("\"0s\" }", "\"off\" }", None),
        ("hsts = \"off\" }", "hsts = \"1d\" }", Some("max-age=86400")),
        ("https://gw.test", "https://localhost", None),
    ] {
        proxy.reload((from, to)).await;
        assert_eq!(hsts("/nothing").await.as_deref(), told, "{to}");
    }
}

/// What was started for it would be waited for: a process that served would be taken out of service.
#[tokio::test]
async fn a_reload_that_fails_leaves_no_issuer_to_wait_for() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    assert_eq!(proxy.admin("/readyz").await.status, 200);
    let text = proxy.folder.read("proxy.toml");
    let more = "[issuers.away]\nissuer = \"http://127.0.0.1:1\"\ninsecure_loopback = true\n\
         [servers.more]\npath = \"/more/mcp\"\nupstream = \"http://127.0.0.1:1/mcp\"\nissuers = [\"away\"]\npolicies = [\"none.toml\"]\n";
    proxy.folder.write("none.toml", "rule = 1\n");
    proxy.folder.write("proxy.toml", format!("{text}{more}"));
    proxy.signal(Signal::Reload).await;
    let told = until("the refusal", async || {
        let answer = proxy.admin("/readyz?verbose").await;
        answer.text().contains("reloads fail since").then_some(answer)
    })
    .await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert!(told.text().contains("issuers 1/1"), "{}", told.text());
}

#[tokio::test]
async fn other_files_for_tls_are_in_force_after_a_reload() {
    let upstream = Upstream::plain().await;
    let made = || certificate::generate(Timestamp::now()).unwrap();
    let (first, second) = (made(), made());
    let newer = secured(&upstream, &first).file("newer.pem", &second.cert_pem);
    let proxy = newer.file("newer.key", second.key_pem.expose()).start().await;
    shown_certificate(proxy.address, &first.ca_pem).await.expect("a handshake");
    let text = proxy.folder.read("proxy.toml");
    proxy.folder.write("proxy.toml", text.replace("cert.pem", "newer.pem").replace("key.pem", "newer.key"));
    proxy.signal(Signal::Reload).await;
    until("the other certificate", async || shown_certificate(proxy.address, &second.ca_pem).await).await;
}

#[tokio::test]
async fn sighup_reloads_and_sigterm_drains_and_ends_with_zero() {
    let (asked, mut heard) = mpsc::channel(1);
    let (go, wait) = tokio::sync::watch::channel(false);
    let upstream = Upstream::handling(move |heard, mut connection| {
        let (asked, mut wait) = (asked.clone(), wait.clone());
        async move {
            asked.send(()).await.unwrap();
            wait.wait_for(|go| *go).await.unwrap();
            connection
                .send(json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, heard.id())))
                .await;
            Some(connection)
        }
    })
    .await;
    let (folder, issuer) = Setup::new(upstream.url()).drain("20s").write("127.0.0.1:0", "127.0.0.1:0").await;
    let token = issuer.mint_claims(&token_of(&issuer, "ana")).unwrap();
    let mut process = Process::serve(&folder).await;
    until("keys", async || {
        let denied = process.ask(&Ask::call("2025-11-25", "delete_contact", &json!({})).token(&token)).await;
        (denied.status == 200).then_some(())
    })
    .await;
    // What other daemons rotate their logs by ends nothing.
    process.signal("USR1");
    process.log_line("signal without a meaning").await;
    folder.write("crm.toml", "broken");
    process.signal("HUP");
    process.log_line("configuration not reloaded").await;
    folder.write("crm.toml", narrower());
    process.signal("HUP");
    process.log_line("configuration reloaded").await;
    assert!(process.ask(&search(&token)).await.text().contains("Unknown tool"));

    // A call that is running when the end is asked for is answered.
    let find = Ask::call("2025-11-25", "find_contacts", &json!({})).token(&token);
    let mut client = crate::support::Client::connect(process.address).await;
    client.send(&find.bytes()).await;
    within("the upstream", heard.recv()).await.unwrap();
    process.signal("TERM");
    until("the listener to close", async || TcpStream::connect(process.address).await.is_err().then_some(())).await;
    let admin = crate::support::Client::connect(process.admin);
    let mut admin = admin.await;
    admin.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(admin.answer().await.unwrap().status, 503);
    go.send_replace(true);
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    process.log_line("drained: 1 call finished, 0 streams closed").await;
    assert_eq!(process.ended().await, Some(0));
    let lines = folder.read("audit.jsonl");
    let events: Vec<_> =
        lines.lines().rev().filter_map(|line| line.split("\"event\":").nth(1)?.split(',').next()).collect();
    assert_eq!(events[..2], ["\"stop\"", "\"end\""], "{lines}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (asked, mut heard) = mpsc::channel(1);
    let upstream = Upstream::handling(move |_, mut connection| {
        let asked = asked.clone();
        async move {
            asked.send(()).await.unwrap();
            connection.hung_up().await;
            None
        }
    })
    .await;
    let (folder, issuer) = Setup::new(upstream.url()).drain("1h").write("127.0.0.1:0", "127.0.0.1:0").await;
    let token = issuer.mint_claims(&token_of(&issuer, "ana")).unwrap();
    let mut process = Process::serve(&folder).await;
    let mut client = crate::support::Client::connect(process.address).await;
    until("keys", async || {
        let denied = process.ask(&Ask::call("2025-11-25", "delete_contact", &json!({})).token(&token)).await;
        (denied.status == 200).then_some(())
    })
    .await;
    client.send(&search(&token).bytes()).await;
    within("the upstream", heard.recv()).await.unwrap();
    process.signal("TERM");
    until("the listener to close", async || TcpStream::connect(process.address).await.is_err().then_some(())).await;
    process.signal("TERM");
    process.log_line("drain cut short").await;
    assert!(process.ended().await.is_some());
    let lines = folder.read("audit.jsonl");
    assert!(lines.contains("\"event\":\"end\""), "the call that was cut off has its end: {lines}");
}

/// Which policies are in force, from the start on, and what each reload changes.
#[tokio::test]
async fn the_log_says_what_is_loaded_and_what_a_reload_changes() {
    let upstream = Upstream::plain().await;
    let (folder, _issuer) = Setup::new(upstream.url()).write("127.0.0.1:0", "127.0.0.1:0").await;
    let mut process = Process::serve(&folder).await;
    let field = |line: &str, name: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()[name].clone();
    let loaded = process.log_line("policy loaded").await;
    let version = field(&loaded, "version");
    assert!(version.as_str().unwrap().starts_with("sha256:"), "{loaded}");
    let told = ["server", "rules", "masks", "mode"].map(|name| field(&loaded, name));
    assert_eq!(told, [json!("crm"), json!(3), json!(5), json!("enforce")], "{loaded}");
    process.log_line("ready").await;
    let text = folder.read("proxy.toml");
    folder.write("proxy.toml", text.replace("path = \"/crm/mcp\"", "path = \"/crm/mcp\"\nresource_name = \"CRM\""));
    folder.write("crm.toml", narrower());
    process.signal("HUP");
    let changed = process.log_line("configuration changed").await;
    assert_eq!((field(&changed, "table"), field(&changed, "change")), (json!("server crm"), json!("changed")));
    let loaded = process.log_line("policy loaded").await;
    assert_eq!(field(&loaded, "old"), version);
    assert_ne!(field(&loaded, "version"), version);
    process.log_line("configuration reloaded").await;
}
