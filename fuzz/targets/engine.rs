//! The engine on any text: what it writes is not matched again, and what it does not change stays.

#![cfg_attr(feature = "libfuzzer", no_main)]

#[macro_use]
mod driver;

use std::sync::LazyLock;

use portcullis::mask::{Action, Direction, Directions, Entity, Findings, Masks, Spec, View, What};

static MASKS: LazyLock<Masks> = LazyLock::new(|| {
    let on = Directions { arguments: true, result: true };
    let all = Spec::new("all", on, What::Entities(Entity::ALL.to_vec()), Action::Redact);
    Masks::compile(vec![all]).expect("a mask of every entity compiles")
});

fn text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mask = |text: &str, findings: &mut Findings| {
        MASKS.text(&View::default(), Direction::Result, text, findings).map(|masked| masked.into_owned())
    };
    let mut findings = Findings::new();
    let Ok(once) = mask(text, &mut findings) else { return };
    assert_eq!(findings.is_empty(), once == text, "{text:?} {once:?}");
    let mut again = Findings::new();
    assert_eq!(mask(&once, &mut again).as_deref(), Ok(once.as_str()), "{text:?}");
    assert!(again.is_empty(), "{text:?} {once:?} {again:?}");
}

target!(
    text,
    [
        b"ana@example.com".as_slice(),
        b"4111 1111 1111 1111",
        b"+1 415 555 0132",
        b"10.0.0.7",
        b"fe80::1",
        b"536-22-1234",
        b"DE89370400440532013000",
        b"00:1A:2B:3C:4D:5E",
        b"api_key=9fK2mQx7Lp0ZtR4v",
        b"AKIAQ2W3E4R5T6Y7U8I9",
        b"://u:p@h",
        b"born 4 May 1987",
        b"AA 12 34 56 B",
        b"MRTNTN23M02D969P",
        b"\\u0040",
        b"%40",
        b"&commat;",
        "\u{200b}".as_bytes(),
        "\u{a0}".as_bytes(),
        b"\\n",
        b" ",
        b"-",
        b".",
        b":",
        b"\"",
        b"phone ",
        b"ssn ",
        b"[SECRET]",
        b"1",
        b"23",
    ]
);
