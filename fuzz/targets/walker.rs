//! The walker on any JSON: the answer is JSON of the same kind, and what is masked once is masked for good.

#![cfg_attr(feature = "libfuzzer", no_main)]

#[macro_use]
mod driver;

use std::sync::LazyLock;

use bytes::Bytes;
use portcullis::json::{Document, Limits, Splice};
use portcullis::mask::{Action, Direction, Directions, Entity, Findings, Masks, Spec, View, What};

static MASKS: LazyLock<Masks> = LazyLock::new(|| {
    let on = Directions { arguments: true, result: true };
    let all = Spec::new("all", on, What::Entities(Entity::ALL.to_vec()), Action::Redact);
    Masks::compile(vec![all]).expect("a mask of every entity compiles")
});

fn rewrite(document: &Document) -> Option<(Bytes, bool)> {
    let (mut splice, mut findings) = (Splice::new(), Findings::new());
    let view = View::default();
    MASKS.rewrite(&view, Direction::Result, document.root(), &[], &mut splice, &mut findings).ok()?;
    Some((splice.apply(document.bytes()), findings.is_empty()))
}

/// The input as it is, and where little of what is made here would be JSON, as an item, a member and the inside of a text.
fn message(input: &[u8]) {
    masked(input);
    masked(&[b"[", input, b"]"].concat());
    masked(&[b"{\"v\":", input, b"}"].concat());
    masked(&[b"{\"text\":\"", input, b"\"}"].concat());
}

fn masked(input: &[u8]) {
    let Ok(document) = Document::parse(Bytes::copy_from_slice(input), &Limits::ANSWER) else { return };
    let Some((once, nothing)) = rewrite(&document) else { return };
    assert!(!nothing || once == input, "{input:?}");
    let after = Document::parse(once.clone(), &Limits::ANSWER).expect("what is written is JSON");
    assert_eq!(after.root().kind(), document.root().kind());
    let (twice, nothing) = rewrite(&after).expect("what was let pass once is let pass again");
    assert!(twice == once && nothing, "{input:?}");
}

target!(
    message,
    [
        b"{".as_slice(),
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"text\"",
        b"\"ana@example.com\"",
        b"\"4111 1111 1111 1111\"",
        b"4111111111111111",
        b"1e400",
        b"\"\\u0061na\\u0040example.com\"",
        b"\"{\\\"a\\\":\\\"ana@example.com\\\"}\"",
        b"null",
        b"\"blob\"",
        b"\"YW5hQGV4YW1wbGUuY29t\"",
        b"\"ssn\"",
        b"\"536221234\"",
        b"true",
        b" ",
        b"\"dob\"",
        b"\"1987-05-04\"",
        b"{\"a\":\"ana@example.com\"}",
        b"[\"x\",{\"phone\":\"4155550132\"}]",
        b"[1,",
        b"{\"k\":",
    ]
);
