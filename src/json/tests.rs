use bytes::Bytes;
use proptest::prelude::*;

use super::{Document, Error, ErrorKind, Kind, Limits, Splice, quoted};

fn parse(text: &[u8]) -> Result<Document, Error> {
    Document::parse(Bytes::copy_from_slice(text), &Limits::REQUEST)
}

#[test]
fn refuses_what_two_parsers_could_read_differently() {
    let cases: &[(&[u8], ErrorKind)] = &[
        (b"", ErrorKind::End),
        (b"  ", ErrorKind::End),
        (b"\xef\xbb\xbf{}", ErrorKind::ByteOrderMark),
        (b"\"\xff\"", ErrorKind::Utf8),
        (b"{\"a\":1,\"a\":2}", ErrorKind::DuplicateKey),
        (b"{\"a\":1,\"\\u0061\":2}", ErrorKind::DuplicateKey),
        (b"[{\"x\":{\"a\":1,\"b\":2,\"a\":3}}]", ErrorKind::DuplicateKey),
        (b"{\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":0,\"9\":0,\"1\":0}", ErrorKind::DuplicateKey),
        (b"{} {}", ErrorKind::Trailing),
        (b"{}\n{}", ErrorKind::Trailing),
        (b"{} // x", ErrorKind::Trailing),
        (b"\"\\ud800\"", ErrorKind::LoneSurrogate),
        (b"\"\\udc00\"", ErrorKind::LoneSurrogate),
        (b"\"\\ud800\\u0041\"", ErrorKind::LoneSurrogate),
        (b"\"\\x\"", ErrorKind::Escape),
        (b"\"\\u00g0\"", ErrorKind::Escape),
        (b"\"a\nb\"", ErrorKind::ControlCharacter),
        (b"\"abcdefgh\x01\"", ErrorKind::ControlCharacter),
        (b"\"abc", ErrorKind::End),
        (b"01", ErrorKind::Trailing),
        (b"1.", ErrorKind::Number),
        (b"-", ErrorKind::End),
        (b"1e", ErrorKind::Number),
        (b".5", ErrorKind::Syntax),
        (b"NaN", ErrorKind::Syntax),
        (b"nul", ErrorKind::Syntax),
        (b"[1,]", ErrorKind::Syntax),
        (b"{\"a\":1,}", ErrorKind::Syntax),
        (b"{a:1}", ErrorKind::Syntax),
        (b"{\"a\" 1}", ErrorKind::Syntax),
        (b"[1}", ErrorKind::Syntax),
        (b"[1 2]", ErrorKind::Syntax),
        (b"]", ErrorKind::Syntax),
    ];
    for (text, kind) in cases {
        assert_eq!(
            parse(text).map(|_| ()).map_err(|error| error.kind),
            Err(*kind),
            "{}",
            String::from_utf8_lossy(text)
        );
    }
    assert_eq!(parse("[".repeat(65).as_bytes()).map_err(|error| error.kind).err(), Some(ErrorKind::TooDeep));
    let many = format!("[{}0]", "0,".repeat(10_000));
    assert_eq!(parse(many.as_bytes()).map_err(|error| error.kind).err(), Some(ErrorKind::TooMany));
}

#[test]
fn finds_values_by_name_and_pointer_and_keeps_their_spelling() {
    let document = parse(br#" {"a":{"b/c":[1.10,{"\u0064":"x\ny\ud83d\ude00"}]},"e":9007199254740993} "#).unwrap();
    assert_eq!(document.pointer("/a/b~1c/0").unwrap().raw(), b"1.10");
    assert_eq!(document.pointer("/a/b~1c/1/d").unwrap().as_str().unwrap(), "x\ny😀");
    assert_eq!(document.pointer("/e").unwrap().as_i64(), Some(9_007_199_254_740_993));
    assert!(document.pointer("/a/b~1c/2").is_none());
    assert_eq!(document.root().members().map(|member| member.name().into_owned()).collect::<Vec<_>>(), ["a", "e"]);
}

#[test]
fn splices_only_what_is_replaced() {
    let document = parse(br#"{"a": "x", "b": 1.0, "c": ["y"]}"#).unwrap();
    let mut splice = Splice::new();
    splice.replace(document.pointer("/c/0").unwrap().span(), quoted("\u{2028}\""));
    splice.replace(document.pointer("/a").unwrap().span(), "\"[X]\"");
    assert_eq!(splice.apply(document.bytes()), r#"{"a": "[X]", "b": 1.0, "c": ["\u2028\""]}"#);
}

#[test]
fn removes_items_and_members_with_their_commas() {
    let document = parse(br#"{"a": [0, 1 , 2,3], "o": {"x":1, "y":2}}"#).unwrap();
    for (keep, expected) in [
        ([false, false, false, false], r#"{"a": [], "o": {"x":1, "y":2}}"#),
        ([true, false, false, false], r#"{"a": [0], "o": {"x":1, "y":2}}"#),
        ([false, false, false, true], r#"{"a": [3], "o": {"x":1, "y":2}}"#),
        ([false, true, false, true], r#"{"a": [1,3], "o": {"x":1, "y":2}}"#),
        ([true, true, true, true], r#"{"a": [0, 1 , 2,3], "o": {"x":1, "y":2}}"#),
    ] {
        let mut splice = Splice::new();
        let items: Vec<_> = document.pointer("/a").unwrap().items().zip(keep).collect();
        splice.remove_items(&items);
        assert_eq!(splice.apply(document.bytes()), expected);
    }
    let mut splice = Splice::new();
    let members: Vec<_> = document.pointer("/o").unwrap().members().zip([false, true]).collect();
    splice.remove_members(&members);
    assert_eq!(splice.apply(document.bytes()), r#"{"a": [0, 1 , 2,3], "o": {"y":2}}"#);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..12)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn rebuilt(value: super::Value<'_>) -> serde_json::Value {
    match value.kind() {
        Kind::Array => value.items().map(rebuilt).collect::<Vec<_>>().into(),
        Kind::Object => value
            .members()
            .map(|member| (member.name().into_owned(), rebuilt(member.value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Kind::String => value.as_str().unwrap().into_owned().into(),
        _ => value.to_value(),
    }
}

proptest! {
    #[test]
    fn agrees_with_serde_json(value in any_json()) {
        let text = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(rebuilt(parse(&text).unwrap().root()), value);
    }

    #[test]
    fn accepts_nothing_that_serde_json_refuses(text in "[\\[\\]{}\",:0-9eE+\\-. \\\\untrfalse]{0,40}") {
        if parse(text.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok() || text.contains(['e', 'E']), "{}", text);
        }
    }

    #[test]
    fn quoted_text_reads_back(text in any::<String>()) {
        let literal = quoted(&text);
        prop_assert_eq!(parse(literal.as_bytes()).unwrap().root().as_str().unwrap().into_owned(), text);
    }
}

#[test]
fn what_several_take_out_goes_as_if_one_had() {
    let texts = [r#"{"a":1 , "b":[] ,"c":{} , "d":2 }"#, r#"{ "a":1,"b":[],"c":{},"d":2}"#];
    let keeps = |set: u8| move |member: &super::Member<'_>| set >> (member.name().as_bytes()[0] - b'a') & 1 == 0;
    for text in texts {
        let document = Document::parse(text.into(), &Limits::REQUEST).unwrap();
        for (first, second) in (0..16).flat_map(|first| (0..16).map(move |second| (first, second))) {
            let (mut one, mut both) = (Splice::new(), Splice::new());
            one.put_in_front(document.root(), keeps(first | second), Vec::new());
            both.put_in_front(document.root(), keeps(first), Vec::new());
            both.put_in_front(document.root(), keeps(second), Vec::new());
            // A replacement inside a removed member has no effect.
            both.replace(document.pointer("/b").unwrap().span(), &b"{}"[..]);
            one.replace(document.pointer("/b").unwrap().span(), &b"{}"[..]);
            let made = both.apply(document.bytes());
            assert_eq!(made, one.apply(document.bytes()), "{first:b} {second:b}");
            let left: Vec<String> = Document::parse(made, &Limits::REQUEST)
                .unwrap()
                .root()
                .members()
                .map(|member| member.name().into_owned())
                .collect();
            let wanted: Vec<&str> = ["a", "b", "c", "d"]
                .into_iter()
                .enumerate()
                .filter(|(at, _)| (first | second) >> at & 1 == 0)
                .map(|(_, name)| name)
                .collect();
            assert_eq!(left, wanted);
        }
    }
}
