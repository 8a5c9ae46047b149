use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Evidence, Figures, Integrity, Period, Source, page};
use crate::clock::Timestamp;

/// One call of each outcome, with what else happens; times a minute apart from 12:00 on 2026-11-22, a Sunday.
const LINES: &[(&str, &str, &str)] = &[
    ("start", "", ""),
    (
        "key_refresh",
        r#","key_refresh":{"issuer":"corp","iss":"https://i","result":"changed","keys":1,"added":["b"],"removed":["a"]}"#,
        "",
    ),
    ("call", r#","decision":"allow","shadow":false"#, "ana get_contact"),
    (
        "end",
        r#","decision":"allow","shadow":false,"masked":[{"mask":"pii","entity":"IBAN","action":"redact","direction":"result","count":2}],"http":200"#,
        "ana get_contact",
    ),
    (
        "call",
        r#","decision":"allow","shadow":true,"masked":[{"mask":"pii","entity":"IBAN","action":"redact","direction":"arguments","count":1}]"#,
        "max get_contact",
    ),
    (
        "end",
        r#","decision":"allow","shadow":true,"masked":[{"mask":"pii","entity":"IBAN","action":"redact","direction":"arguments","count":1}],"http":200,"error":-32603"#,
        "max get_contact",
    ),
    ("call", r#","decision":"allow","shadow":false"#, "max get_notes"),
    ("end", r#","decision":"allow","shadow":false,"http":200,"error":"blocked""#, "max get_notes"),
    ("call", r#","decision":"allow","shadow":false"#, "max get_notes"),
    ("call", r#","decision":"deny","shadow":false,"http":200,"error":"policy_denied""#, "ana get_contact"),
    ("call", r#","decision":"step_up","shadow":false,"http":403,"error":"insufficient_scope""#, "ana get_contact"),
    ("call", r#","decision":"refused","shadow":false,"http":400,"error":-32600"#, "ana get_contact"),
    ("auth_failed", r#","decision":"refused","shadow":false,"server":"crm","http":401,"error":"expired""#, ""),
    (
        "auth_failed",
        r#","decision":"refused","shadow":false,"server":"crm","error":"expired","count":40,"since":"2026-11-22T12:00:00.000Z""#,
        "",
    ),
    ("tool_drift", r#","server":"crm","tool":"get_contact","drift":"changed""#, ""),
    ("checkpoint", r#","kid":"k""#, ""),
];

fn line(at: usize, event: &str, members: &str, call: &str) -> String {
    let about = call.split_once(' ').map_or_else(String::new, |(sub, tool)| {
        format!(
            r#","server":"crm","method":"tools/call","tool":"{tool}","subject":{{"iss":"https://i","sub":"{sub}","scopes":[]}},"policy":{{"version":"sha256:5f","rule":"crm-read","reason":null,"missing_scopes":[]}}"#
        )
    });
    format!(
        r#"{{"v":1,"time":"2026-11-22T12:{at:02}:00.000Z","event":"{event}","id":"a","request_id":"b"{members}{about},"seq":{at}}}"#
    )
}

fn figures(period: Period) -> Figures {
    let mut figures = Figures::new(period);
    for (at, (event, members, call)) in LINES.iter().enumerate() {
        figures.add(line(at, event, members, call).as_bytes()).unwrap();
    }
    figures
}

#[test]
fn counts_each_call_once_by_everything_it_is_asked_by() {
    let told = figures(Period::default()).json();
    let all = json!({ "all": 6, "allowed": 3, "denied": 1, "step_up": 1, "refused": 1, "ended": 3, "failed": 1, "blocked": 1, "shadow": 1 });
    let often = |count: u64, first: &str, last: &str| {
        let time = |at: &str| format!("2026-11-22T12:{at}:00.000Z");
        json!({ "count": count, "first": time(first), "last": time(last) })
    };
    for (pointer, expected) in [
        ("/calls", {
            let mut all = all;
            all["all"] = 7.into();
            all["allowed"] = 4.into();
            all
        }),
        ("/by_tool/0/tool_or_method", json!("get_contact")),
        (
            "/by_tool/0/calls",
            json!({ "all": 5, "allowed": 2, "denied": 1, "step_up": 1, "refused": 1, "ended": 2, "failed": 1, "blocked": 0, "shadow": 1 }),
        ),
        (
            "/by_tool/1/calls",
            json!({ "all": 2, "allowed": 2, "denied": 0, "step_up": 0, "refused": 0, "ended": 1, "failed": 0, "blocked": 1, "shadow": 0 }),
        ),
        ("/by_caller/0/sub", json!("ana")),
        ("/by_caller/1/calls/all", json!(3)),
        (
            "/denials",
            json!([
                { "server": "crm", "rule": "crm-read", "error": "insufficient_scope", "often": often(1, "10", "10") },
                { "server": "crm", "rule": "crm-read", "error": "policy_denied", "often": often(1, "09", "09") },
            ]),
        ),
        ("/refusals", json!([{ "server": "crm", "error": "-32600", "often": often(1, "11", "11") }])),
        ("/failed_authentications", json!([{ "server": "crm", "error": "expired", "often": often(41, "12", "13") }])),
        (
            "/masked",
            json!([
                { "server": "crm", "entity": "IBAN", "action": "redact", "direction": "result", "values": 2, "calls": 1 },
                { "server": "crm", "entity": "IBAN", "action": "redact", "direction": "arguments", "values": 1, "calls": 1 },
            ]),
        ),
        ("/policies", json!([{ "server": "crm", "version": "sha256:5f", "often": often(7, "02", "11") }])),
        ("/events", json!({ "checkpoint": 1, "key_refresh": 1, "start": 1, "tool_drift": 1 })),
        (
            "/period",
            json!({ "from": null, "to": null, "first_record": "2026-11-22T12:00:00.000Z", "last_record": "2026-11-22T12:15:00.000Z", "records_outside": 0 }),
        ),
    ] {
        assert_eq!(told.pointer(pointer), Some(&expected), "{pointer}");
    }
}

#[test]
fn a_period_holds_its_first_moment_and_not_its_last() {
    let noon = 1_795_348_800;
    let at = |minute: i64| Some(Timestamp::from_unix_seconds(noon + minute * 60));
    for (period, inside) in [
        (Period { from: at(2), until: None }, 14),
        (Period { from: None, until: at(2) }, 2),
        (Period { from: at(2), until: at(3) }, 1),
        (Period { from: at(60), until: None }, 0),
    ] {
        let figures = figures(period);
        assert_eq!(figures.is_empty(), inside == 0);
        assert_eq!(figures.json()["period"]["records_outside"], 16 - inside, "{period:?}");
    }
}

#[test]
fn says_why_a_line_is_no_record() {
    for (line, expected) in [
        ("", "not JSON"),
        ("{}", "not a record of Portcullis"),
        (r#"{"v":2,"time":"2026-11-22T12:00:00.000Z","event":"call"}"#, "not a record of version 1 of Portcullis"),
        (r#"{"v":1,"time":"noon","event":"call"}"#, "a record without a time"),
        (r#"{"v":1,"time":"2026-11-22T12:00:00.000Z","event":"call","http":"200"}"#, "not a record of Portcullis"),
    ] {
        assert_eq!(Figures::default().add(line.as_bytes()), Err(Cow::Borrowed(expected)), "{line}");
    }
}

fn shown(figures: &Figures, integrity: Option<&Integrity>) -> String {
    let source = Source { name: "<audit>.jsonl".to_owned(), bytes: 4096, sha256: "0f".repeat(32), records: 16, bad: 1 };
    page(figures, &Evidence { now: Timestamp::from_unix_seconds(1_795_352_400), sources: &[source], integrity })
}

#[test]
fn the_page_says_what_was_verified_and_promises_nothing() {
    let figures = figures(Period::default());
    let unverified = shown(&figures, None);
    assert!(unverified.contains("It was not verified that the files are unchanged."));
    for (holds, class) in [(true, "holds"), (false, "broken")] {
        let integrity = Integrity { holds, lines: vec!["line 7: <hash> differs".to_owned()] };
        let page = shown(&figures, Some(&integrity));
        assert!(page.contains(&format!("<div class=\"{class}\">\nline 7: &lt;hash&gt; differs<br>")), "{page}");
        assert!(!page.contains("It was not verified"));
    }
    for text in [
        "helps you show",
        "&lt;audit&gt;.jsonl",
        "Art. 12(1)",
        "Art. 19",
        "Art. 26(6)",
        "A.6.2.8",
        "CC6.1",
        "CC7.2",
        "CC8.1",
        "sha256:5f",
        "policy_denied",
        "key_refresh",
        "made 2026-11-22 13:00",
        "1 line is no record of Portcullis",
    ] {
        assert!(unverified.contains(text), "{text}");
    }
    let words = unverified.to_ascii_lowercase();
    for word in ["complian", "complies", "certif", "<script", "http://", "url(", "@import", "src="] {
        assert!(!words.contains(word), "{word}");
    }
}

/// Whatever stands in a record, the page has no markup but its own.
#[test]
fn no_text_of_a_record_is_markup() {
    let hostile = "</td><script>alert(1)</script>\\u202e&\\\"'><img src=x onerror=1>";
    let mut figures = Figures::new(Period::default());
    for (at, (event, members, call)) in LINES.iter().enumerate() {
        let line = line(at, event, members, call);
        let mut record: Value = serde_json::from_str(&line).unwrap();
        let text: Value = serde_json::from_str(&format!("\"{hostile}\"")).unwrap();
        for pointer in [
            "/server",
            "/tool",
            "/subject/sub",
            "/subject/iss",
            "/policy/rule",
            "/policy/version",
            "/error",
            "/masked/0/entity",
            "/masked/0/action",
            "/masked/0/direction",
            "/key_refresh/issuer",
            "/key_refresh/result",
            "/drift",
        ] {
            if let Some(place) = record.pointer_mut(pointer) {
                *place = text.clone();
            }
        }
        figures.add(record.to_string().as_bytes()).unwrap();
        record["event"] = text.clone();
        record["decision"] = Value::Null;
        figures.add(record.to_string().as_bytes()).unwrap();
    }
    let page = shown(&figures, None);
    assert!(!page.contains('\u{202e}') && page.contains("&lt;script&gt;alert(1)"));
    let tags = regex::Regex::new("<(/?[a-zA-Z!][a-zA-Z0-9]*)").unwrap();
    let own = [
        "!doctype", "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "b", "span", "i", "svg",
        "line", "text", "rect", "table", "thead", "tbody", "tr", "th", "td", "code", "br", "footer",
    ];
    for tag in tags.captures_iter(&page) {
        assert!(own.contains(&tag[1].trim_start_matches('/')), "{}", &tag[0]);
    }
    let attributes = regex::Regex::new("<[^>]*onerror").unwrap();
    assert!(!attributes.is_match(&page));
}
