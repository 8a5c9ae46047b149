use proptest::prelude::*;

use super::super::claims::Claims;
use super::super::literals::Literal;
use super::super::recognisers::{Text, hardware, network, secret};
use super::crowd::Crowd;
use super::{Gate, Signal, Survey, runs as digits};
use crate::json::Span;
use crate::mask::Entity;

fn gate() -> Gate {
    let literal = Literal { bytes: b"EMP-".to_vec(), starts_word: false };
    Gate::new(Entity::ALL.into_iter(), secret::literals(), &[literal], false)
}

#[test]
fn opens_for_what_could_match_at_any_offset() {
    let cases = [
        "a@b",
        "1.2.3.4",
        "::1",
        "fe80::1",
        "684D:1111:222:3333:4444:5555:6:77",
        "0:0:0:0:0:FFFF:129.144.52.38",
        "4111 1111 1111 1111",
        "4111\\t1111\\t1111\\t1111",
        "MT84MALT011ABCDEFG3H5MTLCAST001S",
        "2026-01-05-4111",
        "4 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1 - 1",
        "\\u0040",
        "\\\\n",
        "%40",
        "&#64;",
        "&commat;",
        "\u{200b}",
        "\u{ad}",
        "\u{a0}",
        "\u{2011}",
        "４１",
        "٤",
        "EMP-",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "\\nghp_0123456789abcdefghijABCDEFGHIJ012345",
        "AKIAABCDEFGHIJKLMNOP",
        "AA-BB-CC-DD-EE-FF",
        "0012.3456.789A",
        "AA 12 34 56 B",
        "MRTNTN23M02D969P",
        "RSSMRAQRCMNFNLRG",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "born 4 May 1987",
        "born May 4,1987",
        "born May 4 1987",
        "born 4 May 1987 1,204.50",
        "4111\t1111\t1111\t1111",
        "dob: 1987-05-04",
        "phone 1900-15-17",
        "born 1987-05-04 1900-15-17",
        "password=Ab1Cd2Ef3Gh4Ij5K",
        "12345678Z",
        "AB123456C",
        "\"blob\":\"",
    ];
    let gate = gate();
    for case in cases {
        for before in 0..140 {
            let text = format!("{}{case}{}", "-".repeat(before), " ".repeat(before % 7));
            assert!(gate.opens(text.as_bytes()), "{case} at {before}");
            // After a number that is nothing.
            let text = format!("7{}{case}{}", ",".repeat(before + 1), " ".repeat(before % 7));
            assert!(gate.opens(text.as_bytes()), "{case} at {before} behind a number");
        }
    }
}

#[test]
fn stays_shut_for_clean_text() {
    let cases = [
        r#"{"content":[{"type":"text","text":"Quarterly revenue: up 12.5 %, see page 3; R&D grew."}],"id":123456}"#,
        "Straße, naïve, Ωμέγα, Привет, שלום, 漢字",
        "take the task-list: it is 10:30",
        r#"{"created":"2026-01-05T12:00:00Z","updated":"2026-01-06 08:30","id":123456,"page":12}"#,
        "xghp_",
        "created 2026-01-05, internationalisation/configuration of counterrevolutionaries",
        "c0fc188a-e6eb-4a64-b3de",
    ];
    for case in cases {
        assert!(!gate().opens(case.as_bytes()), "{case}");
    }
}

#[test]
fn is_open_when_a_pattern_has_no_literal() {
    assert!(Gate::new(std::iter::empty(), &[], &[], true).opens(b"x"));
    assert!(!Gate::new(std::iter::empty(), &[], &[], false).opens(b"a@b.com 4111111111111111"));
}

/// Values, parts of values, and their possible surroundings, joined in all ways so that they match and miss at every boundary.
const PIECES: [&str; 68] = [
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "378282246310005",
    "DE89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "MT84MALT011ABCDEFG3H5MTLCAST001S",
    "536-22-1890",
    "900-70-0001",
    "AA 12 34 56 B",
    "QQ123456C",
    "529.982.247-25",
    "1 85 05 78 006 084 91",
    "185052A006084",
    "44051401359",
    "943 476 5919",
    "46 454 286",
    "12345678Z",
    "RSSMRA85T10A562S",
    "+1 (415) 555-0119",
    "(415) 555-0119",
    "020 7946 0958",
    "+49 30 901820",
    "10.0.0.17",
    "::1",
    "fe80::1",
    "2001:db8::8a2e:370:7334",
    "0012.3456.789a",
    "abcd.1234.efab",
    "00:1B:44:11:3A:B7",
    "4 May 1987",
    "May 4, 1987",
    "May 4 1987",
    "May9 1987",
    "1987-05-04",
    "4.5.87",
    "04/05/1987",
    "1987",
    "born ",
    "geb. ",
    "dob: ",
    "phone ",
    "tel",
    "account no ",
    "card ",
    "SSN ",
    "AB",
    "XY ",
    "of ",
    "1",
    "12",
    "345",
    "6789",
    "3.2",
    "1,204.50",
    "10:45",
    "id-20417",
    "2026-07-28",
    "1900-15-17",
    "2026-01-32",
    " ",
    "-",
    ".",
    "/",
    "(",
    ")",
    ", ",
    "\n",
    "a",
];

fn runs(text: &str) -> Vec<Span> {
    let mut runs = Vec::new();
    digits::runs_in(text.as_bytes(), Span { start: 0, end: text.len() }, &mut runs);
    runs
}

fn claimed(text: &str, runs: &[Span]) -> Vec<(usize, usize, usize)> {
    let mut claimed = Vec::new();
    let claims = Claims::of(|entity| Entity::ALL.iter().position(|known| *known == entity));
    claims.each(&Text::new(text, "", runs), |span, entity| claimed.push((span.start, span.end, entity)));
    claimed
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => "[0-9]{1,6}",
        1 => "[0-9a-fA-F]{2,4}",
        1 => "[ :./()\\\\t-]{1,3}",
    ]
}

proptest! {
    /// The gate loses no match and adds none: recognisers find the same at all runs of digits as at those it reports, wherever
    /// it switches between judging numbers and collecting all of them.
    #[test]
    fn tells_of_all_that_is_claimed(
        pad in 0_usize..70,
        first in prop::sample::select(&[0_usize, 64, 128][..]),
        pieces in prop::collection::vec(piece(), 1..24),
    ) {
        let text = "-".repeat(pad) + &pieces.concat();
        let all = claimed(&text, &runs(&text));
        for crowd in [Crowd::NONE, Crowd::of(first, 0), Crowd::of(first, 30), Crowd::of(0, 100), Crowd::new()] {
            let mut survey = Survey::default();
            gate().survey_in(crowd, "", text.as_bytes(), &mut survey);
            prop_assert!(survey.runs.is_sorted_by(|one, other| one.end < other.start), "{:?} in {text:?}", survey.runs);
            let told = claimed(&text, &survey.runs);
            for claim in &all {
                prop_assert!(told.contains(claim), "{:?} in {text:?}", text.get(claim.0..claim.1));
            }
            let seen = Text::new(&text, "", &survey.runs);
            let mut spans = Vec::new();
            hardware::macs(&seen, &mut spans);
            prop_assert!(spans.is_empty() || survey.signals.has(Signal::Mac), "{text:?}");
            spans.clear();
            network::v6_addresses(&seen, &mut spans);
            prop_assert!(spans.is_empty() || survey.signals.has(Signal::Colons), "{text:?}");
        }
    }
}

/// Keys and codes, whole and in parts; assembled here, so that no secret scanner reports them.
fn key() -> impl Strategy<Value = String> {
    let keys = [
        ["ghp_", "0123456789abcdefghijABCDEFGHIJ012345"].concat(),
        ["AKIA", "ABCDEFGHIJKLMNOP"].concat(),
        ["xoxb-", "123456789012-0a1B2c3D4e5F6g7H8i9J0k1L"].concat(),
        ["eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"].concat(),
        ["-----BEGIN RSA PRIVATE", " KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"].concat(),
        ["password=", "Ab1Cd2Ef3Gh4Ij5K"].concat(),
        ["\"client_secret\": \"", "Zx9Cv8Bn7Mm6Ll5Kk4\""].concat(),
        ["Authorization: Bearer ", "q1W2e3R4t5Y6u7I8o9P0aS"].concat(),
    ];
    prop_oneof![
        2 => prop::sample::select(keys.to_vec()),
        2 => piece(),
        1 => "[a-zA-Z0-9_=-]{1,24}",
        1 => "[ \\\"'\n,;:=]{1,2}",
    ]
}

proptest! {
    /// The same for words: keys and tokens found in a whole text are found in the words the gate reports.
    #[test]
    fn tells_of_all_that_is_secret(pad in 0_usize..70, pieces in prop::collection::vec(key(), 1..10)) {
        let text = "-".repeat(pad) + &pieces.concat();
        let mut survey = Survey::default();
        gate().survey("", text.as_bytes(), &mut survey);
        let seen = Text::new(&text, "", &survey.runs);
        let secrets = |words: &[Span]| {
            let mut spans = Vec::new();
            secret::secrets(&seen, words, &mut spans);
            spans
        };
        let told = secrets(&survey.keys);
        // Assignments are found at the end of a word, and the whole text is no word.
        let all: Vec<Span> = words(&text).flat_map(|word| secrets(&[word])).collect();
        for found in all {
            prop_assert!(told.iter().any(|span| span.start <= found.start && found.end <= span.end), "{:?} in {text:?}", text.get(found.start..found.end));
        }
    }
}

/// The words of a text: the parts between spaces, quotation marks and all bytes below them.
fn words(text: &str) -> impl Iterator<Item = Span> {
    let is_part = |byte: &u8| *byte > b'"';
    let ends = text.bytes().enumerate().filter(move |(_, byte)| !is_part(byte)).map(|(at, _)| at).chain([text.len()]);
    let mut start = 0;
    ends.map(move |end| Span { start: std::mem::replace(&mut start, end + 1), end })
        .filter(|word| word.start < word.end)
}
