use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{NAME, check, check_media_type, decode, encode_value, integer, mirrors, params};
use crate::json::{Document, Limits};
use crate::mcp::error::{HeaderFlaw, HeaderKind};

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    map
}

#[test]
fn takes_json_in_utf8_and_nothing_else() {
    for value in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=\"UTF-8\"",
        "application/json ; Charset=Utf-8",
    ] {
        assert!(check_media_type(&headers(&[("content-type", value.as_bytes())])).is_ok(), "{value}");
    }
    for value in [
        "",
        "text/plain",
        "application/jsonp",
        "application/json-rpc",
        "application/json, text/plain",
        "application/json;",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; boundary=x",
        "application/x-www-form-urlencoded",
        "multipart/form-data; application/json",
        "application/json\tx",
    ] {
        assert!(check_media_type(&headers(&[("content-type", value.as_bytes())])).is_err(), "{value}");
    }
    assert!(check_media_type(&HeaderMap::new()).is_err());
    let twice = headers(&[("content-type", b"application/json"), ("content-type", b"application/json")]);
    assert!(check_media_type(&twice).is_err());
    for coding in ["gzip", "identity", ""] {
        let coded = headers(&[("content-type", b"application/json"), ("content-encoding", coding.as_bytes())]);
        assert!(check_media_type(&coded).is_err(), "{coding}");
    }
}

#[test]
fn decodes_only_exact_markers_and_strict_base64() {
    for (value, text) in [
        ("", Some("")),
        ("a b", Some("a b")),
        ("=?base64?SGVsbG8=?=", Some("Hello")),
        ("=?base64??=", Some("")),
        ("=?BASE64?SGVsbG8=?=", Some("=?BASE64?SGVsbG8=?=")),
        ("=?base64?SGVsbG8=", Some("=?base64?SGVsbG8=")),
        ("x=?base64?SGVsbG8=?=", Some("x=?base64?SGVsbG8=?=")),
        ("=?base64?=", Some("=?base64?=")),
        ("=?base64?SGVsbG8?=", None),
        ("=?base64?SGVsbG9=?=", None),
        ("=?base64?SGVs bG8=?=", None),
        ("=?base64?SGVsbG8==?=", None),
        ("=?base64?_-8=?=", None),
        ("=?base64?//8=?=", None),
        ("=?base64?PT9iYXNlNjQ/U0dWc2JHOD0/PQ==?=", Some("=?base64?SGVsbG8=?=")),
    ] {
        assert_eq!(decode(value).as_deref(), text, "{value}");
    }
}

#[test]
fn a_header_must_say_what_the_body_says() {
    let name = |lines: &[(&'static str, &[u8])], expected| check(&headers(lines), &NAME, HeaderKind::Name, expected);
    assert_eq!(name(&[("mcp-name", b"a")], Some("a")), Ok(()));
    assert_eq!(name(&[("mcp-name", b" a\t")], Some("a")), Ok(()));
    assert_eq!(name(&[("mcp-name", b"=?base64?w6k=?=")], Some("é")), Ok(()));
    assert_eq!(name(&[], None), Ok(()));
    assert_eq!(name(&[], Some("a")), Err(HeaderFlaw::Missing(HeaderKind::Name)));
    for lie in ["A", "b", "a,a", "a, a", "=?base64?Yg==?="] {
        assert_eq!(name(&[("mcp-name", lie.as_bytes())], Some("a")), Err(HeaderFlaw::Differs(HeaderKind::Name)));
    }
    assert_eq!(name(&[("mcp-name", b"a")], None), Err(HeaderFlaw::Differs(HeaderKind::Name)));
    assert_eq!(name(&[("mcp-name", b"a"), ("mcp-name", b"a")], Some("a")), Err(HeaderFlaw::Repeated(HeaderKind::Name)));
    assert_eq!(name(&[("mcp-name", b"\xc3\xa9")], Some("é")), Err(HeaderFlaw::Malformed(HeaderKind::Name)));
    assert_eq!(name(&[("mcp-name", b"=?base64?%?=")], Some("a")), Err(HeaderFlaw::Malformed(HeaderKind::Name)));
}

#[test]
fn keeps_every_mirrored_argument_decoded() {
    let found = params(&headers(&[
        ("mcp-param-region", b"eu"),
        ("mcp-param-city", b"=?base64?TcO8bmNoZW4=?="),
        ("mcp-name", b"x"),
    ]));
    let found: Vec<_> = found.unwrap().into_iter().map(|param| (param.name.to_string(), param.value)).collect();
    assert_eq!(found, [("mcp-param-region".into(), "eu".into()), ("mcp-param-city".into(), "München".into())]);
    assert!(params(&headers(&[("mcp-param-a", b"1"), ("mcp-param-a", b"1")])).is_err());
    assert!(params(&headers(&[("mcp-param-a", b"=?base64?!?=")])).is_err());
    assert!(params(&headers(&[("mcp-param-", b"1")])).is_err());
}

#[test]
fn compares_integers_by_value_and_the_rest_by_text() {
    let document = |text: &str| Document::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::REQUEST).unwrap();
    for (header, body, same) in [
        ("42", "42", true),
        ("42.0", "42", true),
        ("42", "42.0", true),
        ("42.00", "42.0", true),
        ("42", "43", false),
        ("042", "42", false),
        ("+42", "42", false),
        ("4.2e1", "42", false),
        ("4.2e1", "4.2e1", false),
        ("1.5", "1.5", false),
        ("-0", "0", true),
        ("9007199254740991", "9007199254740991", true),
        ("9007199254740993", "9007199254740993", false),
        ("9007199254740992", "9007199254740993", false),
        ("true", "true", true),
        ("True", "true", false),
        ("a", "\"a\"", true),
        ("a", "\"\\u0061\"", true),
        ("A", "\"a\"", false),
        ("42", "\"42\"", true),
        ("42.0", "\"42\"", false),
        ("", "\"\"", true),
        ("null", "null", false),
        ("[]", "[]", false),
    ] {
        assert_eq!(mirrors(header, document(body).root()), same, "{header} against {body}");
    }
    assert_eq!(integer(""), None);
    assert_eq!(integer("-"), None);
    assert_eq!(integer("1."), None);
}

proptest! {
    #[test]
    fn every_text_survives_a_header(text in any::<String>()) {
        let value = encode_value(&text);
        prop_assert_eq!(decode(value.to_str().unwrap()).unwrap(), text);
        prop_assert!(value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)));
    }

    #[test]
    fn what_looks_encoded_is_encoded_again(inner in "[A-Za-z0-9+/=]{0,12}") {
        let text = format!("=?base64?{inner}?=");
        let value = encode_value(&text);
        prop_assert_ne!(value.as_bytes(), text.as_bytes());
        prop_assert_eq!(decode(value.to_str().unwrap()).unwrap(), text);
    }
}
