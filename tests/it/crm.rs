//! The sample CRM behind the shipped policy, as a person with a client meets it, in both eras.

use portcullis::demo::crm::{self, Answers, Crm, Entry, Pace, Priming};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Ask, Proxy, Setup, until, within};

/// Of the people in the sample data, none may be read in an answer.
const PRIVATE: [&str; 9] = [
    "erika.mustermann@example.com",
    "erika@private.example",
    "+49 30 23125 014",
    "DE89 3704 0044 0532 0130 00",
    "4111 1111 1111 1111",
    "jane.placeholder@example.org",
    "536-90-4399",
    "AKIAIOSFODNN7EXAMPLE",
    "EMP-004217",
];

async fn start(pace: Pace, answers: Answers, priming: Priming) -> (Crm, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let crm = crm::start(listener, crm::Settings { pace, answers, priming }).unwrap();
    let proxy = Setup::new(crm.url()).start().await;
    for private in PRIVATE {
        proxy.keep_secret(private.to_owned());
    }
    (crm, proxy)
}

/// A client of one era, with its session where there is one.
struct Person {
    revision: &'static str,
    token: String,
    session: Option<String>,
}

impl Person {
    async fn new(proxy: &Proxy, user: &str, revision: &'static str) -> Self {
        let token = proxy.token(user);
        let session = if revision == "2026-07-28" { None } else { Some(proxy.open_session(&token).await) };
        if let Some(session) = &session {
            let ready = Ask::post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
            assert_eq!(proxy.ask(&ready.token(&token).session(session)).await.status, 202);
        }
        Self { revision, token, session }
    }

    fn asks(&self, method: &str, params: &Value) -> Ask {
        let ask = Ask::of(self.revision, method, params).token(&self.token);
        self.session.iter().fold(ask, |ask, session| ask.session(session))
    }

    fn calls(&self, tool: &str, arguments: &Value) -> Ask {
        self.asks("tools/call", &json!({ "name": tool, "arguments": arguments }))
    }
}

#[tokio::test]
async fn a_reader_reads_and_sees_nothing_private() {
    for answers in [Answers::Json, Answers::Mixed, Answers::Stream] {
        let (crm, proxy) = start(Pace::Stepped, answers, Priming::On).await;
        for revision in ["2025-11-25", "2026-07-28"] {
            let ana = Person::new(&proxy, "ana", revision).await;
            let tools = proxy.ask(&ana.asks("tools/list", &json!({}))).await.message();
            let names: Vec<_> = tools["result"]["tools"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tool| tool["name"].as_str().unwrap())
                .collect();
            assert!(names.contains(&"search_contacts") && names.contains(&"update_contact"), "{names:?}");
            assert!(!names.contains(&"delete_contact") && !names.contains(&"sync_contacts"), "{names:?}");

            let found = proxy.ask(&ana.calls("get_contact", &json!({ "id": "c-001" }))).await.message();
            let contact = &found["result"]["structuredContent"];
            assert_eq!(contact["email"], "[EMAIL_ADDRESS]", "{found}");
            assert_eq!(contact["card"], "************1111", "{found}");
            assert_eq!(contact["name"], "Erika Mustermann");
            let text = found["result"]["content"][0]["text"].as_str().unwrap();
            assert!(text.contains("[EMAIL_ADDRESS]") && !text.contains('@'), "{text}");

            for (method, params) in [
                ("tools/call", json!({ "name": "search_contacts", "arguments": {} })),
                ("tools/call", json!({ "name": "list_invoices", "arguments": {} })),
                ("resources/list", json!({})),
                ("resources/templates/list", json!({})),
                ("resources/read", json!({ "uri": "crm://contacts/c-002" })),
                ("prompts/list", json!({})),
                ("prompts/get", json!({ "name": "summarise_contact", "arguments": { "contact_id": "c-001" } })),
            ] {
                let answer = proxy.ask(&ana.asks(method, &params)).await;
                assert!(answer.message().get("result").is_some(), "{method} {revision} {answer:?}");
            }
            let step_up = proxy.ask(&ana.calls("update_contact", &json!({ "id": "c-001", "amount": 1 }))).await;
            assert_eq!(step_up.status, 403);
            let hidden = proxy.ask(&ana.calls("delete_contact", &json!({ "id": "c-001" }))).await;
            assert_eq!(hidden.json()["error"]["message"], "Unknown tool: delete_contact");

            let max = Person::new(&proxy, "max", revision).await;
            let updated = proxy.ask(&max.calls("update_contact", &json!({ "id": "c-001", "amount": 99 }))).await;
            assert_eq!(updated.message()["result"]["structuredContent"]["amount"], 99, "{updated:?}");
        }
        let calls = crm.journal().requests().into_iter().filter(|heard| heard.json()["method"] == "tools/call");
        let called: Vec<_> = calls.map(|heard| heard.json()["params"]["name"].as_str().unwrap().to_owned()).collect();
        assert!(called.iter().all(|name| name != "delete_contact"), "{called:?}");
        assert_eq!(called.iter().filter(|name| *name == "update_contact").count(), 2);
        for heard in crm.journal().requests() {
            assert!(!heard.headers.contains_key("authorization") && !heard.headers.contains_key("origin"));
        }
        for private in PRIVATE {
            proxy.assert_not_kept(private).await;
        }
    }
}

#[tokio::test]
async fn an_export_streams_row_by_row_and_stops_when_its_reader_goes() {
    for revision in ["2025-11-25", "2026-07-28"] {
        let (crm, proxy) = start(Pace::Stepped, Answers::Mixed, Priming::On).await;
        let ana = Person::new(&proxy, "ana", revision).await;
        let params = json!({ "name": "export_contacts", "arguments": {}, "_meta": { "progressToken": "p" } });
        let mut client = proxy.client().await;
        client.send(&ana.asks("tools/call", &params).bytes()).await;
        let head = client.head().await.unwrap();
        assert!(head.is_stream(), "{head:?}");
        for at in 1..=3 {
            crm.step(1);
            let message = loop {
                // A priming event carries no message.
                let event = client.event().await.unwrap();
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
                if !data.is_empty() {
                    break serde_json::from_str::<Value>(data).unwrap();
                }
            };
            assert_eq!(message["params"]["progress"], at);
            let text = message["params"]["message"].as_str().unwrap();
            assert!(text.contains("<[EMAIL_ADDRESS]>"), "{text}");
        }
        drop(client);
        let stopped = crm.journal().until(|entry| matches!(entry, Entry::ExportStopped { sent: 3 }));
        within("the export to stop", stopped).await;

        let mut client = proxy.client().await;
        client.send(&ana.asks("tools/call", &params).bytes()).await;
        client.head().await.unwrap();
        crm.step(100);
        let mut last = String::new();
        while let Some(event) = client.event().await {
            last = event;
        }
        assert!(last.contains("Exported") && !last.contains('@'), "{last}");
        within("the export to finish", crm.journal().until(|entry| matches!(entry, Entry::ExportFinished))).await;
        for private in PRIVATE {
            assert!(!last.contains(private));
        }
    }
}

#[tokio::test]
async fn sessions_end_when_either_side_ends_them() {
    let (crm, proxy) = start(Pace::Stepped, Answers::Json, Priming::Off).await;
    let ana = Person::new(&proxy, "ana", "2025-11-25").await;
    let session = ana.session.clone().unwrap();
    let list = ana.asks("tools/list", &json!({}));
    assert_eq!(proxy.ask(&list).await.status, 200);
    let end = Ask::new("DELETE").token(&ana.token).session(&session);
    assert_eq!(proxy.ask(&end).await.status, 204);
    assert_eq!(proxy.ask(&list).await.status, 404);
    let again = Person::new(&proxy, "ana", "2025-11-25").await;
    let list = again.asks("tools/list", &json!({}));
    assert_eq!(proxy.ask(&list).await.status, 200);
    crm.forget_sessions();
    assert_eq!(proxy.ask(&list).await.status, 404);
}

#[tokio::test]
async fn a_standing_stream_brings_what_changes_and_closes_with_its_client() {
    let (crm, proxy) = start(Pace::Stepped, Answers::Json, Priming::Off).await;
    let ana = Person::new(&proxy, "ana", "2025-11-25").await;
    let listen = Ask::new("GET").header("Accept", "text/event-stream").token(&ana.token);
    let mut client = proxy.client().await;
    client.send(&listen.session(ana.session.as_deref().unwrap()).bytes()).await;
    assert!(client.head().await.unwrap().is_stream());
    within("the stream", crm.journal().until(|entry| matches!(entry, Entry::ListenOpened))).await;
    crm.announce_tools();
    assert_eq!(client.message().await.unwrap()["method"], "notifications/tools/list_changed");
    drop(client);
    within("its end", crm.journal().until(|entry| matches!(entry, Entry::ListenClosed))).await;
    until("the end line", async || {
        let lines = proxy.audit();
        lines.iter().any(|line| line["method"] == "GET" && line["event"] == "end").then_some(())
    })
    .await;
}
