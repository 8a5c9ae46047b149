//! The view on made-up metrics: what is counted, sorted, filtered and shown.

use std::fmt::Write as _;
use std::time::Duration;

use super::live::View;
use super::picture::Picture;
use super::scrape::Scrape;
use super::screen::{Key, read_keys};
use super::table::{Look, Order, render};
use crate::clock::{Timestamp, monotonic};
use crate::telemetry::metrics::{MaskLabels, Metrics};

const NOW: i64 = 1_800_000_000;

/// Metrics with that many calls of two tools, most of them fast.
fn metrics(fast: u32, slow: u32) -> String {
    let (server, issuer) = ("crm".into(), "corp".into());
    let metrics = Metrics::new("0.1.0", "");
    let now = Timestamp::from_unix_seconds(NOW);
    metrics.set_jwks(&issuer, 2, Some(Timestamp::from_unix_seconds(NOW - 90)), [3, 1]);
    metrics.set_certificate_expiry(&"server".into(), Timestamp::from_unix_seconds(NOW + 10 * 86_400 + 5));
    metrics.set_reload(Some((&"sha256:0123456789abcdef".into(), now)));
    metrics.streams(&server, "get").set(3);
    metrics.upstream_up(&server).set(0);
    metrics.count_auth(Some(&issuer), "expired");
    metrics.count_error(Some(&server), "expired");
    metrics.count_error(Some(&server), "unknown_name");
    let labels = MaskLabels {
        server: server.clone(),
        mask: "pii".into(),
        entity: "EMAIL_ADDRESS".into(),
        action: "redact",
        direction: "result",
    };
    metrics.count_masked(&labels, 7);
    let mut text = metrics.encode();
    for (tool, count, error, bound) in
        [("get\\\"x", fast, "", "0.01"), ("put", slow, "", "2.0"), ("_OTHER", 4, "policy_denied", "0.01")]
    {
        let labels = format!("server=\"crm\",gen_ai_tool_name=\"{tool}\",error_type=\"{error}\"");
        for le in ["0.01", "2.0", "+Inf"] {
            let below = if le == "0.01" && bound == "2.0" { 0 } else { count };
            let _ = writeln!(text, "mcp_server_operation_duration_seconds_bucket{{le=\"{le}\",{labels}}} {below}");
        }
        let _ = writeln!(text, "mcp_server_operation_duration_seconds_count{{{labels}}} {count}");
    }
    text + "portcullis_policy_decisions_total{server=\"crm\",rule=\"a\",decision=\"deny\"} 4\nnot a line\nx{y=\"\n"
}

fn picture(since: Option<(u32, u32)>) -> Picture {
    let start = monotonic();
    let before = Scrape::parse(&metrics(10, 0), start);
    let window = since.map(|(fast, slow)| Scrape::parse(&metrics(fast, slow), start));
    let now = Scrape::parse(&metrics(110, 2), start + Duration::from_secs(10));
    Picture::new(&now, &before, window.as_ref(), Timestamp::from_unix_seconds(NOW))
}

fn shown(picture: &Picture, order: &Order) -> Vec<String> {
    render(picture, order, false).into_iter().map(|line| line.text).collect()
}

#[test]
fn counts_what_the_metrics_say_and_says_what_deserves_a_look() {
    let picture = picture(None);
    let lines = shown(&picture, &Order::default());
    assert!(lines[0].starts_with("portcullis 0.1.0   config 0123456789ab   up "), "{}", lines[0]);
    assert!(lines[0].contains("   10.2 calls/s   "), "{}", lines[0]);
    let squeezed: Vec<String> =
        lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        &squeezed[1..],
        [
            "",
            "SERVER CALLS/S P50 P99 403 DENIED 401 MASKED STREAMS UPSTREAM",
            "crm 10.2 <10ms <2s 0 4 1 7 3 down",
            "",
            "TOOL CALLS/S P50 P99 403 DENIED FAILED",
            "crm/(not called) 0.0 <10ms <10ms 0 4 0",
            "crm/get\"x 10.0 <10ms <10ms 0 0 0",
            "crm/put 0.2 <2s <2s 0 0 0",
            "",
            "issuer corp: 2 keys, fetched 1m 30s ago, 1 failed fetches",
            "certificate server: 10 days left",
        ]
    );
    let looks: Vec<Look> = render(&picture, &Order::default(), false).into_iter().map(|line| line.look).collect();
    assert_eq!((looks[3], looks[11]), (Look::Bad, Look::Bad), "an upstream that is down, a certificate that ends soon");
    let widths: Vec<usize> = lines[5..9].iter().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{lines:#?}");
    let json = picture.json();
    assert_eq!(json["servers"][0]["calls_per_second"], 10.2);
    assert_eq!((&json["servers"][0]["p99_seconds"], &json["servers"][0]["upstream_up"]), (&2.0.into(), &false.into()));
    assert_eq!((&json["tools"][1]["tool"], &json["certificates"][0]["days_left"]), (&"get\"x".into(), &10.0.into()));
}

#[test]
fn percentiles_are_of_the_window() {
    assert_eq!(picture(Some((110, 0))).servers[0].p50, Some(2.0), "only slow calls since");
    assert_eq!(picture(Some((110, 2))).servers[0].p50, None, "no call since");
}

#[test]
fn keys_sort_filter_pause_and_end() {
    let (picture, mut view) = (picture(None), View::default());
    let tools = |view: &View| {
        let lines = shown(&picture, &view.order);
        let tools = lines
            .into_iter()
            .filter_map(|line| line.split_whitespace().next()?.strip_prefix("crm/").map(str::to_owned));
        tools.collect::<Vec<_>>()
    };
    assert_eq!(tools(&view), ["(not", "get\"x", "put"]);
    assert!(!view.press(Key::Char('s')));
    assert_eq!(tools(&view), ["get\"x", "put", "(not"], "by calls");
    for key in [Key::Char('/'), Key::Char('p'), Key::Char('q'), Key::Backspace, Key::Char('u')] {
        assert!(!view.press(key), "letters while typing");
    }
    assert_eq!((tools(&view).as_slice(), &*view.footer()), (&["put".to_owned()][..], "/pu▏"));
    assert!(!view.press(Key::Enter) && !view.press(Key::Char('p')) && view.is_paused);
    assert_eq!(view.footer(), "q quit   / filter   s sort   p pause   only `pu`   paused");
    assert!(!view.press(Key::Escape));
    assert_eq!(tools(&view).len(), 3);
    assert!(view.press(Key::Char('q')));
    assert_eq!(read_keys(b"\x1b[A"), [], "an arrow is no escape");
    assert_eq!(read_keys(b"\x1b"), [Key::Escape]);
    assert_eq!(read_keys("é\r\x7f\x01".as_bytes()), [Key::Char('é'), Key::Enter, Key::Backspace]);
}
