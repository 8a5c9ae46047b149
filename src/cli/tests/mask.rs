//! `mask` over texts, messages and captures.

use serde_json::Value;

use super::Folder;

const POLICY: &str = r#"
[[rule]]
id = "read"
tools = ["*"]
[[mask]]
id = "contact-pii"
on = ["result"]
entities = ["EMAIL_ADDRESS"]
[[mask]]
id = "cards"
on = ["arguments", "result"]
entities = ["CREDIT_CARD"]
action = "mask"
keep_last = 4
[[mask]]
id = "secrets"
on = ["result"]
entities = ["SECRET"]
action = "block"
"#;

fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.file("policies/crm.toml", POLICY);
    folder
}

const TEXT: &str = "mail ana@example.com card 4111 1111 1111 1111 order 1234567812345678\n";

#[test]
fn shows_the_text_and_what_was_found_in_it() {
    let folder = folder("mask-text");
    assert_eq!(
        folder.run_with("-c @/proxy.toml mask --server crm", TEXT),
        "exit 0\n--- out\nmail [EMAIL_ADDRESS] card ************1111 order 1234567812345678\n--- err\n  \
         EMAIL_ADDRESS   5..20   mask \"contact-pii\"  redact\n  \
         CREDIT_CARD    26..45   mask \"cards\"  keep_last=4   (Luhn ok)\n  \
         -              52..68   looked like CREDIT_CARD, Luhn failed: left alone\n"
    );
    let arguments = folder.run_with("-c @/proxy.toml mask --server crm --on arguments --stats", TEXT);
    assert!(arguments.contains("mail ana@example.com card ************1111"), "{arguments}");
    assert!(arguments.contains("1  CREDIT_CARD  mask \"cards\"  mask\n"), "{arguments}");
    let colored = folder.run_with("--color always mask", "clean\nmail ana@example.com\u{1b}[2J\n");
    assert!(colored.contains("  clean\n\u{1b}[31m- mail ana@example.com\\u{1b}[2J\u{1b}[0m\n"), "{colored:?}");
    assert!(colored.contains("\u{1b}[32m+ mail [EMAIL_ADDRESS]\\u{1b}[2J\u{1b}[0m\n"), "{colored:?}");
}

/// The JSON report of `input`, which holds no value.
fn report(folder: &Folder, arguments: &str, input: &str) -> Value {
    let said = folder.run_with(arguments, input);
    let out = said.split("--- out\n").nth(1).unwrap().split("--- err").next().unwrap();
    for value in ["ana@example.com", "4111", "AKIA"] {
        assert!(!out.contains(value), "{out}");
    }
    serde_json::from_str(out).unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn reports_places_and_never_values() {
    let folder = folder("mask-json");
    let arguments = "-c @/proxy.toml mask --server crm --format json";
    let message = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"{\"a\":[\"mail ana@example.com\"]}"}],"structuredContent":{"m~/":"é ana@example.com","n":4111111111111111,"ana@example.com":1}}}"#;
    let found: Vec<String> = report(&folder, arguments, message)["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            format!(
                "{} {} {}..{}",
                found["path"].as_str().unwrap(),
                found["entity"].as_str().unwrap(),
                found["start"],
                found["end"]
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "/result/content/0/text#/a/0 EMAIL_ADDRESS 5..20",
            "/result/structuredContent/m~0~1 EMAIL_ADDRESS 3..18",
            "/result/structuredContent/n CREDIT_CARD 0..16",
            "/result/structuredContent EMAIL_ADDRESS 0..15",
        ]
    );
    let lines = report(&folder, arguments, "{\"a\":1}\n{\"a\":\"ana@example.com\"}\n");
    assert_eq!((&lines["findings"][0]["line"], &lines["findings"][0]["path"]), (&2.into(), &"/a".into()));
    let events = "event: message\ndata: {\"a\":\ndata: \"ana@example.com\"}\n\ndata: clean\n\n";
    assert_eq!(report(&folder, arguments, events)["findings"][0]["line"], 2);
    let rest = folder.run_with("-c @/proxy.toml mask --server crm", events);
    assert!(rest.contains("event: message\ndata: {\"a\":\ndata: \"[EMAIL_ADDRESS]\"}\n\ndata: clean\n\n"), "{rest}");
    assert_eq!(report(&folder, arguments, TEXT)["left_alone"][0]["reason"], "Luhn failed");
}

#[test]
fn says_what_would_be_refused() {
    let folder = folder("mask-block");
    let said = folder.run_with("-c @/proxy.toml mask --server crm", "key AKIAIOSFODNN7EXAMPLF\n");
    assert!(said.starts_with("exit 1\n") && said.contains("blocked: SECRET (mask \"secrets\")"), "{said}");
    assert!(!said.contains("AKIA"), "{said}");
    let unknown = folder.run("-c @/proxy.toml mask --server cmr");
    assert!(unknown.starts_with("exit 78\n") && unknown.contains("the servers are crm"), "{unknown}");
    assert!(folder.run("mask @/missing.txt").starts_with("exit 2\n"));
}
