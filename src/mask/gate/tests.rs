use super::super::literals::Literal;
use super::super::recognisers::secret;
use super::Gate;
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
        "born 4 May 1987 1,204.50",
        "4111\t1111\t1111\t1111",
        "dob: 1987-05-04",
        "password=Ab1Cd2Ef3Gh4Ij5K",
        "\"blob\":\"",
    ];
    let gate = gate();
    for case in cases {
        for before in 0..140 {
            let text = format!("{}{case}{}", "-".repeat(before), " ".repeat(before % 7));
            assert!(gate.opens(text.as_bytes()), "{case} at {before}");
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
