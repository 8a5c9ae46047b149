use bytes::Bytes;
use proptest::prelude::*;

use super::{
    Action, Blocked, Cause, Direction, Directions, Entity, Findings, Masks, Opaque, Spec, View, What, sanitize,
};
use crate::json::{Document, Limits, Splice};

mod asked;
mod corpora;
mod disguises;
mod keyed;
mod map;
mod quality;

const BOTH: Directions = Directions { arguments: true, result: true };

fn spec(id: &str, what: What, action: Action) -> Spec {
    Spec::new(id, BOTH, what, action)
}

pub(super) fn entities(id: &str, entities: &[Entity], action: Action) -> Spec {
    spec(id, What::Entities(entities.to_vec()), action)
}

fn pattern(id: &str, regex: &str, label: &str, action: Action) -> Spec {
    spec(id, What::Pattern { regex: regex.into(), label: label.into() }, action)
}

fn last_four() -> Action {
    Action::Mask { keep_first: 0, keep_last: 4, char: '*' }
}

/// Cards keep their last four, everything else is redacted, and so are employee numbers.
fn masks() -> Masks {
    let rest: Vec<Entity> = Entity::ALL.into_iter().filter(|entity| *entity != Entity::CreditCard).collect();
    Masks::compile(vec![
        entities("cards", &[Entity::CreditCard], last_four()),
        entities("rest", &rest, Action::Redact),
        pattern("staff", r"\bEMP-\d{6}\b", "EMPLOYEE_ID", Action::Redact),
    ])
    .unwrap()
}

pub(super) fn document(text: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::ANSWER).unwrap()
}

fn try_rewrite(masks: &Masks, text: &str, opaque: &[Opaque]) -> Result<(String, Findings), Blocked> {
    let document = document(text);
    let (mut splice, mut findings) = (Splice::new(), Findings::new());
    masks.rewrite_but(&View::default(), Direction::Result, document.root(), || opaque, &mut splice, &mut findings)?;
    Ok((String::from_utf8(splice.apply(document.bytes()).to_vec()).unwrap(), findings))
}

fn rewrite(text: &str) -> String {
    try_rewrite(&masks(), text, &[]).unwrap().0
}

fn text(masks: &Masks, text: &str) -> String {
    masks.text(&View::default(), Direction::Result, text, &mut Findings::new()).unwrap().into_owned()
}

#[test]
fn masks_every_place_and_leaves_the_rest_as_it_was() {
    let cases = [
        (r#"{ "a" : "mail ana@example.com now" , "n":1.0 }"#, r#"{ "a" : "mail [EMAIL_ADDRESS] now" , "n":1.0 }"#),
        (r#"["4111 1111 1111 1111",{"b":["EMP-123456"]}]"#, r#"["************1111",{"b":["[EMPLOYEE_ID]"]}]"#),
        (
            r#"{"\u00e9\/ \ud83d\ude00 ana@example.com\n\u00e9":1}"#,
            r#"{"\u00e9\/ \ud83d\ude00 [EMAIL_ADDRESS]\n\u00e9":1}"#,
        ),
        (r#"{"a":"\u00e9 \u0061na@example.com \u2028"}"#, r#"{"a":"\u00e9 [EMAIL_ADDRESS] \u2028"}"#),
        (
            r#"{"ana@example.com":1,"bo@example.com":2,"[EMAIL_ADDRESS]_2":3}"#,
            r#"{"[EMAIL_ADDRESS]":1,"[EMAIL_ADDRESS]_3":2,"[EMAIL_ADDRESS]_2":3}"#,
        ),
        (
            r#"{"pan":4111111111111111,"n":4111111111111112,"x":1e400,"y":-0.10}"#,
            r#"{"pan":0,"n":4111111111111112,"x":1e400,"y":-0.10}"#,
        ),
        (r"[4111111111111111.0,4.111111111111111e15,41111111111111110E-1]", r"[0,0,0]"),
        (
            r"[41111111111111110E-2,4111111111111111e-9000000000000000000000]",
            r"[41111111111111110E-2,4111111111111111e-9000000000000000000000]",
        ),
        (
            r#"{"phone":"4155550132","ssn":"536221234","order":"4155550132"}"#,
            r#"{"phone":"[PHONE_NUMBER]","ssn":"[US_SSN]","order":"4155550132"}"#,
        ),
        (r#""ana@example.com""#, r#""[EMAIL_ADDRESS]""#),
        ("4111111111111111", "0"),
    ];
    for (before, after) in cases {
        assert_eq!(rewrite(before), after);
    }
}

#[test]
fn sees_through_disguises() {
    let cases = [
        (r#""\u0061\u006c\u0069ce@corp\u002eexample.org""#, r#""[EMAIL_ADDRESS]""#),
        ("\"４１１１１１１１１１１１１１１１\"", "\"************1111\""),
        ("\"x ٤١١١١١١١١١١١١١١١ y\"", "\"x ************1111 y\""),
        (
            "\"5\u{200b}3\u{200b}6\u{200b}-\u{200b}2\u{200b}2\u{200b}-\u{200b}1\u{200b}2\u{200b}3\u{200b}4\"",
            "\"[US_SSN]\"",
        ),
        ("\"4111\u{a0}1111\u{a0}1111\u{a0}1111\"", "\"************1111\""),
        ("\"536\u{2011}22\u{2011}1234\"", "\"[US_SSN]\""),
        ("\"an\u{ad}a@exa\u{ad}mple.com\"", "\"[EMAIL_ADDRESS]\""),
        (r#""https://x/?mail=alice%40example.com&b=1""#, r#""https://x/?mail=[EMAIL_ADDRESS]&b=1""#),
        (r#""mail=alice%2540example.com""#, r#""mail=[EMAIL_ADDRESS]""#),
        (r#""a&#64;example.com, b&commat;example&period;com""#, r#""[EMAIL_ADDRESS], [EMAIL_ADDRESS]""#),
        ("\"ana＠example．com\"", "\"[EMAIL_ADDRESS]\""),
        (r#""log: {\"m\":\"a\\u0040example.com\"} end""#, r#""log: {\"m\":\"[EMAIL_ADDRESS]\"} end""#),
        (r#""lines\\n4111111111111111\\nend""#, r#""lines\\n************1111\\nend""#),
        (r#""EMP\u002d123456""#, r#""[EMPLOYEE_ID]""#),
        (r#""100%4111111111111111""#, r#""100%************1111""#),
    ];
    for (before, after) in cases {
        assert_eq!(rewrite(before), after, "{before}");
    }
}

#[test]
fn finds_what_other_figures_stand_beside() {
    let cases = [
        ("4111\t1111\t1111\t1111", "[CREDIT_CARD]"),
        ("536-22-1234\t4111111111111111", "[US_SSN]\t[CREDIT_CARD]"),
        ("born 4 May 1987 1,204.50", "born [DATE_OF_BIRTH] 1,204.50"),
        ("born 4 May 1987\t12", "born [DATE_OF_BIRTH]\t12"),
        ("born May 4,1987", "born [DATE_OF_BIRTH]"),
        ("12 of 1,204.50 at 10:45, id-20417 on 2026-07-28", "12 of 1,204.50 at 10:45, id-20417 on 2026-07-28"),
    ];
    let on = Directions { arguments: true, result: true };
    let spec = Spec::new("all", on, What::Entities(Entity::ALL.to_vec()), Action::Redact);
    let masks = Masks::compile(vec![spec]).unwrap();
    for (plain, masked) in cases {
        for before in 0..70 {
            let blank = "~".repeat(before) + " ";
            assert_eq!(text(&masks, &(blank.clone() + plain)), blank + masked, "{plain} at {before}");
        }
    }
}

#[test]
fn masks_inside_json_in_strings_and_keeps_it_json() {
    let cases = [
        (r#"["{\"mail\":\"ana@example.com\",\"n\":1.0}"]"#, r#"["{\"mail\":\"[EMAIL_ADDRESS]\",\"n\":1.0}"]"#),
        (r#"["{\"pan\": 4111111111111111, \"ssn\":536221234}"]"#, r#"["{\"pan\": 0, \"ssn\":0}"]"#),
        (r#"["[\"{\\\"a\\\":\\\"ana@example.com\\\"}\"]"]"#, r#"["[\"{\\\"a\\\":\\\"[EMAIL_ADDRESS]\\\"}\"]"]"#),
        // Not strict, so it is text.
        (r#"["{\"a\":1,\"a\":\"ana@example.com\"}"]"#, r#"["{\"a\":1,\"a\":\"[EMAIL_ADDRESS]\"}"]"#),
        (r#"["[EMAIL_ADDRESS] ana@example.com [x]"]"#, r#"["[EMAIL_ADDRESS] [EMAIL_ADDRESS] [x]"]"#),
    ];
    for (before, after) in cases {
        assert_eq!(rewrite(before), after, "{before}");
    }
}

#[test]
fn refuses_more_than_four_levels_of_json_in_json() {
    let mut nested = r#"{"m":"ana@example.com"}"#.to_owned();
    for level in 1..=6 {
        nested = serde_json::to_string(&serde_json::json!([nested])).unwrap();
        let outcome = try_rewrite(&masks(), &nested, &[]);
        if level <= 4 {
            assert!(!outcome.unwrap().0.contains("ana@"), "{level}");
        } else {
            assert_eq!(outcome.unwrap_err().cause, Cause::TooDeep);
        }
    }
}

#[test]
fn masks_text_in_base64() {
    let encode = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    let cases = [
        (
            format!(r#"{{"blob":"{}"}}"#, encode("mail ana@example.com")),
            format!(r#"{{"blob":"{}"}}"#, encode("mail [EMAIL_ADDRESS]")),
        ),
        (
            format!(r#"{{"data":"{}"}}"#, encode(r#"{"m":"ana@example.com"}"#)),
            format!(r#"{{"data":"{}"}}"#, encode(r#"{"m":"[EMAIL_ADDRESS]"}"#)),
        ),
        (
            format!(r#"{{"src":"data:text/plain;base64,{}"}}"#, encode("EMP-123456")),
            format!(r#"{{"src":"data:text/plain;base64,{}"}}"#, encode("[EMPLOYEE_ID]")),
        ),
        (
            r#"{"blob":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"}"#.into(),
            r#"{"blob":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"}"#.into(),
        ),
        (r#"{"data":"ana@example.com"}"#.into(), r#"{"data":"[EMAIL_ADDRESS]"}"#.into()),
        (
            format!(r#"{{"text":"{}"}}"#, encode("mail ana@example.com")),
            format!(r#"{{"text":"{}"}}"#, encode("mail ana@example.com")),
        ),
    ];
    for (before, after) in cases {
        assert_eq!(rewrite(&before), after);
        let quoted = serde_json::to_string(&[before]).unwrap();
        assert_eq!(rewrite(&quoted), serde_json::to_string(&[after]).unwrap());
    }
}

#[test]
fn looks_past_opaque_places_only() {
    let opaque = [Opaque::new("/cursor"), Opaque::new("/content/*/id"), Opaque::new("/n")];
    let before = r#"{"cursor":"ana@example.com","content":[{"id":"ana@example.com","text":"ana@example.com"}],"n":4111111111111111}"#;
    let after = r#"{"cursor":"ana@example.com","content":[{"id":"ana@example.com","text":"[EMAIL_ADDRESS]"}],"n":4111111111111111}"#;
    assert_eq!(try_rewrite(&masks(), before, &opaque).unwrap().0, after);
    let smuggled = r#"{"cursor":{"x":"ana@example.com"}}"#;
    assert_eq!(try_rewrite(&masks(), smuggled, &opaque).unwrap().0, r#"{"cursor":{"x":"[EMAIL_ADDRESS]"}}"#);
    let long = format!(r#"{{"content":[{{"id":"{} ana@example.com"}}]}}"#, "x".repeat(2048));
    assert!(!try_rewrite(&masks(), &long, &opaque).unwrap().0.contains("ana@"));
    // Sealed values have no such limit.
    let sealed = format!(r#"{{"cursor":"{} ana@example.com"}}"#, "x".repeat(9000));
    assert_eq!(try_rewrite(&masks(), &sealed, &opaque).unwrap().0, sealed);
}

#[test]
fn settles_overlaps_by_block_then_length_then_order() {
    let mail = |id: &str, action| entities(id, &[Entity::EmailAddress], action);
    let cases: Vec<(Vec<Spec>, &str, &str)> = vec![
        (
            vec![pattern("a", "example", "WORD", Action::Redact), mail("b", Action::Redact)],
            "ana@example.com",
            "[EMAIL_ADDRESS]",
        ),
        (vec![mail("a", last_four()), mail("b", Action::Redact)], "ana@example.com", "************.com"),
        (vec![mail("b", Action::Redact), mail("a", last_four())], "ana@example.com", "[EMAIL_ADDRESS]"),
        (vec![mail("a", Action::Report), mail("b", Action::Redact)], "ana@example.com", "[EMAIL_ADDRESS]"),
        (vec![mail("a", Action::Report)], "ana@example.com", "ana@example.com"),
        // The tail of the longer match is not kept if it belongs to the shorter one as well.
        (
            vec![pattern("a", "abcdef", "LONG", last_four()), pattern("b", "efgh", "SHORT", Action::Redact)],
            "abcdefgh",
            "************",
        ),
    ];
    for (specs, before, after) in cases {
        assert_eq!(text(&Masks::compile(specs).unwrap(), before), after);
    }
    let blocking = Masks::compile(vec![mail("a", Action::Redact), pattern("b", "ex", "WORD", Action::Block)]).unwrap();
    let mut findings = Findings::new();
    let blocked = blocking.text(&View::default(), Direction::Result, "ana@example.com", &mut findings).unwrap_err();
    assert_eq!((&*blocked.mask, &*blocked.entity, blocked.cause), ("b", "WORD", Cause::Matched));
    for place in [r#"{"exam":1}"#, r#"{"a":"ex"}"#, r#"["{\"a\":\"ex\"}"]"#] {
        assert!(try_rewrite(&blocking, place, &[]).is_err(), "{place}");
    }
    let numbers = Masks::compile(vec![entities("c", &[Entity::CreditCard], Action::Block)]).unwrap();
    assert!(try_rewrite(&numbers, r#"{"n":4111111111111111}"#, &[]).is_err());
}

#[test]
fn counts_by_mask_entity_and_action() {
    let specs = vec![
        entities("seen", &[Entity::EmailAddress], Action::Report),
        entities("pii", &[Entity::EmailAddress, Entity::UsSsn], Action::Redact),
    ];
    let before = r#"{"a":"ana@example.com, bo@example.com","b":"536-22-1234","ana@example.com":1}"#;
    let (_, findings) = try_rewrite(&Masks::compile(specs).unwrap(), before, &[]).unwrap();
    let counts: Vec<(&str, &str, &str, u32)> =
        findings.iter().map(|found| (&*found.mask, &*found.entity, found.action, found.count)).collect();
    assert_eq!(
        counts,
        [("seen", "EMAIL_ADDRESS", "report", 3), ("pii", "EMAIL_ADDRESS", "redact", 3), ("pii", "US_SSN", "redact", 1)]
    );
}

#[test]
fn applies_in_its_direction_only() {
    let on = Directions { arguments: true, result: false };
    let what = What::Entities(vec![Entity::EmailAddress]);
    let masks = Masks::compile(vec![Spec::new("m", on, what, Action::Redact)]).unwrap();
    assert!(masks.is_empty_for(Direction::Result) && !masks.is_empty_for(Direction::Arguments) && !masks.is_empty());
    assert_eq!(text(&masks, "ana@example.com"), "ana@example.com");
    let written = masks.text(&View::default(), Direction::Arguments, "ana@example.com", &mut Findings::new()).unwrap();
    assert_eq!(written, "[EMAIL_ADDRESS]");
}

#[test]
fn explains_every_spec_it_refuses() {
    let nothing = Directions::default();
    let errors = Masks::compile(vec![
        Spec::new("a", nothing, What::Entities(vec![]), Action::Redact),
        pattern("b", r"(?=x)y", "lower", Action::Redact),
        entities("c", &[Entity::Secret], Action::Mask { keep_first: 0, keep_last: 0, char: '0' }),
        entities("c", &[Entity::Secret], Action::Redact),
    ])
    .unwrap_err();
    let ids: Vec<&str> = errors.iter().map(|error| &*error.id).collect();
    assert_eq!(ids, ["a", "a", "b", "b", "c", "c"]);
    assert!(errors.iter().all(|error| !error.message.is_empty() && !error.help.is_empty()));
}

#[test]
fn its_own_writing_is_never_matched_again() {
    let greedy = [
        pattern("a", r"\w+", "WORD", Action::Redact),
        pattern("a", r".+", "ALL", Action::Redact),
        pattern("a", r"[A-Z_]+", "UPPER", Action::Redact),
        pattern("a", r"\d{4}", "FOUR", last_four()),
        pattern("a", r"\d{4,}", "MANY", Action::Mask { keep_first: 2, keep_last: 2, char: '#' }),
        pattern("a", r"[a-z]+", "LOWER", Action::Mask { keep_first: 0, keep_last: 0, char: 'x' }),
    ];
    for spec in greedy {
        let masks = Masks::compile(vec![spec.clone(), entities("b", &Entity::ALL, Action::Redact)]).unwrap();
        for before in ["hello 123456 ana@example.com", "UPPER 1234", "1234", "call +14155550132 20 123456"] {
            let once = text(&masks, before);
            assert_eq!(text(&masks, &once), once, "{spec:?}");
        }
    }
}

#[test]
fn what_is_logged_is_masked_escaped_and_short() {
    assert_eq!(sanitize("mail ana@example.com\n\u{1b}[8m\u{202e}"), "mail [EMAIL_ADDRESS]\\u{a}\\u{1b}[8m\\u{202e}");
    assert_eq!(sanitize("clean"), "clean");
    let long = sanitize(&"é".repeat(1000));
    assert!(long.len() <= 200 && long.ends_with('…'), "{long}");
    let cut = format!("{} 4111111111111111", "x ".repeat(32 * 1024 - 4));
    assert!(!sanitize(&cut).contains("4111"));
    assert_eq!(sanitize(&"4111111111111111 ".repeat(10_000)).matches("4111").count(), 0);
}

/// Inputs on which anything quadratic would not finish.
#[test]
fn hostile_text_costs_no_more_than_other_text() {
    let masks = masks();
    let seeds = [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----!",
        "-eyJ",
        "eyJ.",
        "_eyJhbGciOiJIUzI1NiJ9",
        "a@",
        "a@b..",
        ".com",
        "@a.1",
        "1-",
        "1 ",
        "12345678 ",
        "phone 12345678 ",
        "4111 ",
        "+1 ",
        "1.",
        "a:",
        "::",
        "%4",
        "&#6",
        "\\u00",
        "\u{200b}",
        "glpat-",
        "*",
        "[",
        "{",
        ";base64,",
        "data:;base64,AAAA",
        "DE89 ",
        "x ",
        "\"",
        "fm2_",
        "eyJhbGciOiJIUzI1NiJ9.a.b.",
    ];
    for seed in seeds {
        let hostile = seed.repeat(200_000 / seed.len());
        let once = text(&masks, &hostile);
        assert!(once.len() <= 4 * hostile.len(), "{seed}");
        text(&masks, &format!("ana@b{hostile}"));
    }
    let members: Vec<String> = (0..5000).map(|n| format!("\"u{n}@example.com\":{n}")).collect();
    let written = rewrite(&format!("{{{}}}", members.join(",")));
    assert!(written.ends_with("\"[EMAIL_ADDRESS]_5000\":4999}"));
}

/// Values with the name they must be replaced by.
fn any_value() -> impl Strategy<Value = (String, &'static str)> {
    let luhn = |body: Vec<u8>| {
        let body: String = format!("4{}", body.iter().map(|digit| char::from(b'0' + digit % 10)).collect::<String>());
        let sum: u32 = body
            .bytes()
            .rev()
            .enumerate()
            .map(|(place, b)| {
                let value = u32::from(b - b'0');
                if place % 2 == 1 { value } else { value / 5 + value * 2 % 10 }
            })
            .sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    };
    prop_oneof![
        ("[a-z][a-z0-9]{2,8}", "[a-z]{2,8}")
            .prop_map(|(user, host)| (format!("{user}@{host}.example"), "[EMAIL_ADDRESS]")),
        prop::collection::vec(0_u8..10, 14).prop_map(move |body| (luhn(body), "************")),
        (100_u32..665, 1_u32..99, 1_u32..9999).prop_map(|(a, g, s)| (format!("{a:03}-{g:02}-{s:04}"), "[US_SSN]")),
        (2_u32..9, 1_000_000_u32..9_999_999).prop_map(|(a, n)| (format!("+1{a}21{n}"), "[PHONE_NUMBER]")),
        (1_u8..255, 0_u8..255).prop_map(|(a, b)| (format!("10.{a}.{b}.7"), "[IP_ADDRESS]")),
        "[A-Z2-7]{16}"
            .prop_filter("random", |key| key.bytes().collect::<std::collections::HashSet<_>>().len() > 6)
            .prop_map(|key| (format!("AKIA{key}"), "[SECRET]")),
        Just(("DE89370400440532013000".to_owned(), "[IBAN_CODE]")),
        (0_u32..1_000_000).prop_map(|n| (format!("EMP-{n:06}"), "[EMPLOYEE_ID]")),
    ]
}

/// Text with nothing to mask and no context words.
fn clean() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(" ".to_owned()),
        "[ -!#$&-*;<=>?\\[\\]^{|}]{0,3} [b-df-hj-np-tv-z ]{0,150} ",
        Just("\u{2028}\n\t\"\\ ".to_owned()),
        Just(" Straße — “naïve” 漢字 ".to_owned()),
    ]
}

/// Valid JSON in unusual spellings.
fn odd_token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "1.0",
        "18446744073709551616",
        "1e400",
        "-0.0E+07",
        "0e0",
        r#""\u0061\/b""#,
        r#""\ud83d\ude00\/\n""#,
        r#"{ "z":1 ,"a" : [ ] }"#,
        "{\t}",
        "null",
        "true",
        r#"{"b":{"\u00e9":0.10}}"#,
        "\"\u{7f}\u{85}\"",
    ])
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let string = prop_oneof![
        any::<String>(),
        (clean(), any_value(), clean()).prop_map(|(a, (value, _), b)| format!("{a} {value} {b}"))
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(Into::into),
        string.clone().prop_map(Into::into),
        string.clone().prop_map(|inner| serde_json::json!({ "a": inner }).to_string().into()),
    ];
    leaf.prop_recursive(4, 30, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map(string.clone(), inner, 0..5)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Checks that both values have the same containers, the same keys except masked ones, and the same leaves except changed text.
fn same_shape(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Null, Number, Object, String};
    match (one, other) {
        (Array(one), Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_shape(one, other))
        }
        (Object(one), Object(other)) => one.len() == other.len(),
        (Number(one), Number(other)) => one == other || *other == 0.into(),
        (String(_), String(_)) | (Null, Null) => true,
        _ => false,
    }
}

/// If the key were decoded for every place and leaf, this test would take minutes.
#[test]
fn a_long_escaped_key_is_not_decoded_for_every_leaf() {
    let places: &[&'static str] =
        &["/name", "/uri", "/cursor", "/requestState", "/task/ttl", "/progressToken", "/level"];
    let opaque: Vec<Opaque> = places.iter().map(|place| Opaque::new(place)).collect();
    let (key, leaves) = ("\\u0061".repeat(60_000), vec!["\"a@example.com\""; 4_000].join(","));
    let before = format!("{{\"{key}\":[{leaves}]}}");
    let after = before.replace("a@example.com", "[EMAIL_ADDRESS]");
    assert!(try_rewrite(&masks(), &before, &opaque).unwrap().0 == after);
}

/// If the whole key were searched for context words for every number, this test would take minutes.
#[test]
fn a_long_key_is_not_searched_for_every_number() {
    let (key, numbers) = ("a ".repeat(200_000), "(212) 555-0187 ".repeat(8_000));
    let before = format!("{{\"{key}\":\"{numbers}\"}}");
    let after = before.replace("(212) 555-0187", "[PHONE_NUMBER]");
    assert!(try_rewrite(&masks(), &before, &[]).unwrap().0 == after);
}

proptest! {
    #[test]
    fn masking_is_idempotent_and_keeps_json(value in any_json()) {
        let masks = masks();
        let before = value.to_string();
        let once = try_rewrite(&masks, &before, &[]).unwrap().0;
        let after: serde_json::Value = serde_json::from_str(&once).unwrap();
        prop_assert!(same_shape(&value, &after), "{} {}", before, once);
        let (twice, findings) = try_rewrite(&masks, &once, &[]).unwrap();
        prop_assert_eq!(&twice, &once);
        prop_assert!(findings.is_empty(), "{:?} {}", findings, once);
    }

    /// The walk may only skip parts in which searching them one by one finds nothing.
    #[test]
    fn a_string_becomes_in_a_message_what_it_becomes_alone(
        strings in prop::collection::vec(prop_oneof![
            3 => clean(),
            1 => (clean(), any_value(), clean()).prop_map(|(a, (value, _), b)| format!("{a}{value}{b}")),
            1 => "[0-9 .:@+()a-f\\\\%&;#\u{200b}\u{a0}-]{0,60}",
        ], 1..12),
        blanks in 0..130_usize,
    ) {
        let masks = masks();
        let literals: Vec<String> = strings.iter().map(|text| serde_json::to_string(text).unwrap()).collect();
        let alone: Vec<String> = literals.iter().map(|literal| try_rewrite(&masks, literal, &[]).unwrap().0).collect();
        let (head, between) = (" ".repeat(blanks), ",{\"a\":[]},");
        let together = |literals: &[String]| format!("{head}[{{\"b\":[{}]}}]", literals.join(between));
        prop_assert_eq!(try_rewrite(&masks, &together(&literals), &[]).unwrap().0, together(&alone));
    }

    #[test]
    fn any_text_is_masked_once_for_all(before in any::<String>()) {
        let masks = masks();
        let once = text(&masks, &before);
        prop_assert_eq!(text(&masks, &once), once);
    }

    #[test]
    fn digits_and_marks_are_masked_once_for_all(before in "[0-9 .:@+()a-f\\\\%&;#\u{200b}\u{a0}-]{0,60}") {
        let masks = masks();
        let once = text(&masks, &before);
        prop_assert_eq!(text(&masks, &once), once);
    }

    #[test]
    fn a_value_never_leaks_whatever_stands_around_it((value, name) in any_value(), before in clean(), after in clean()) {
        let masks = masks();
        let around = format!("{before} {value} {after}");
        let written = text(&masks, &around);
        prop_assert!(!written.contains(&value), "{} {}", around, written);
        prop_assert!(written.contains(name), "{} {}", around, written);
        let head = format!("{before} ");
        let tail = format!(" {after}");
        prop_assert!(written.starts_with(&head) && written.ends_with(&tail), "{} {}", around, written);
        let literal = serde_json::to_string(&around).unwrap();
        let again = try_rewrite(&masks, &literal, &[]).unwrap().0;
        prop_assert_eq!(serde_json::from_str::<String>(&again).unwrap(), written);
    }

    /// In a document of unusual but valid JSON with values in plain spelling, only the bytes of the values change.
    #[test]
    fn what_is_not_replaced_keeps_its_bytes(
        parts in prop::collection::vec((odd_token(), clean(), prop::option::of(any_value()), "[ \t\r\n]{0,2}"), 1..12)
    ) {
        let masks = masks();
        let written = |shown: bool| {
            let items = parts.iter().map(|(token, around, value, space)| {
                let value = value.as_ref().map(|(value, _)| if shown { text(&masks, value) } else { value.clone() });
                let around = serde_json::to_string(around).unwrap();
                let around = around.strip_suffix('"').unwrap();
                format!("{space}{token}{space},{space}{around} {}\"", value.unwrap_or_default())
            });
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        };
        prop_assert_eq!(rewrite(&written(false)), written(true));
    }

    #[test]
    fn escapes_hide_nothing((value, _) in any_value(), escaped in prop::collection::vec(any::<bool>(), 40)) {
        let spelled: String = value.chars().zip(escaped.iter().cycle())
            .map(|(c, escape)| if *escape { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect();
        let plain = rewrite(&format!("[\"{value}\"]"));
        prop_assert_eq!(rewrite(&format!("[\"{spelled}\"]")), plain);
    }
}
