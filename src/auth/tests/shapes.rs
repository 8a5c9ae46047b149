//! Tokens that are not strict JWTs.

use data_encoding::BASE64URL_NOPAD;

use super::support::{NOW, SECONDS, claims};
use super::tokens::{MALFORMED, Rig, header, outcome, verify_at};
use crate::auth::VerifyError;

/// What JSON text can do that a value cannot show: J8, J13, J17, J18.
#[tokio::test]
async fn refuses_json_two_readers_could_read_differently() {
    let rig = Rig::new(|_| {});
    let good_header = header().to_string();
    let good = claims().to_string();
    let inside = good.strip_suffix('}').unwrap();
    let hostile_claims = [
        format!("{inside},\"scope\":\"admin\"}}"),
        format!("{inside},\"s\\u0063ope\":\"admin\"}}"),
        format!("{inside},\"x\":{{\"a\":1,\"a\":2}}}}"),
        format!("{inside},\"sub\":\"max\"}}"),
        format!("{inside},\"x\":\"\\ud800\"}}"),
        format!("\u{feff}{good}"),
        format!("{good} x"),
        format!("{good}{good}"),
        format!("[{good}]"),
        String::new(),
        "null".into(),
        "\"x\"".into(),
        format!("{inside},}}"),
        format!("{inside},'x':1}}"),
        format!("{inside},\"x\":NaN}}"),
        format!("{inside},\"x\":01}}"),
        format!("{inside},\"x\":\"\u{1}\"}}"),
        format!("{inside},\"x\":{}1{}}}", "[".repeat(40), "]".repeat(40)),
        good.replace(&format!("{}", SECONDS + 600), "1e999"),
        good.replace(&format!("{}", SECONDS + 600), "-1e999"),
        format!("{inside},\"x\":1e999}}"),
        inside.to_owned(),
    ];
    for claims in hostile_claims {
        assert_eq!(
            outcome_unexplained(&rig, &rig.signer.raw(good_header.as_bytes(), claims.as_bytes())).await,
            Err(MALFORMED),
            "{claims}"
        );
    }
    for header in [
        r#"{"alg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","alg":"none","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","kid":"k2"}"#,
        r#"{"alg":"ES256","\u0061lg":"none","kid":"k1"}"#,
        "[]",
        "",
        "null",
        r#""ES256""#,
        r#"{"alg":"ES256","kid":"\ud800"}"#,
    ] {
        assert_eq!(
            outcome_unexplained(&rig, &rig.signer.raw(header.as_bytes(), good.as_bytes())).await,
            Err(MALFORMED),
            "{header}"
        );
    }
    let mut bad_utf8 = good.clone().into_bytes();
    let at = bad_utf8.iter().position(|byte| *byte == b'a').unwrap();
    bad_utf8[at] = 0xff;
    assert_eq!(outcome_unexplained(&rig, &rig.signer.raw(good_header.as_bytes(), &bad_utf8)).await, Err(MALFORMED));
}

/// Without `examine`, whose rules do not read numbers nobody asks for.
async fn outcome_unexplained(rig: &Rig, token: &str) -> Result<(), VerifyError> {
    verify_at(&rig.acceptance, token, NOW).await.map(drop).map_err(|error| match error {
        VerifyError::Malformed(_) => MALFORMED,
        other => other,
    })
}

/// J17, J23: the shape, before any cryptography.
#[tokio::test]
async fn rfc_7516_refuses_what_is_not_three_strict_segments() {
    let rig = Rig::new(|_| {});
    let good = rig.signer.usual("k1");
    let parts: Vec<_> = good.split('.').collect();
    let [h, p, s] = parts[..] else { panic!() };
    let last = |part: &str| {
        // the last character's unused bits set: another spelling of the same bytes for lenient decoders
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = alphabet.iter().position(|c| *c == *part.as_bytes().last().unwrap()).unwrap();
        format!("{}{}", part.strip_suffix(|_: char| true).unwrap(), char::from(alphabet[at | 1]))
    };
    let shapes = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        h.into(),
        format!("{h}.{p}"),
        format!("{h}.{p}."),
        format!("{h}..{s}"),
        format!(".{p}.{s}"),
        format!("{good}."),
        format!("{good}.x"),
        format!("{good}.x.y"),
        format!(".{good}"),
        format!("{h}=.{p}.{s}"),
        format!("{h}.{p}==.{s}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{h}.{p}.{}", last(s)),
        format!("{h} .{p}.{s}"),
        format!("{h}.{p}\n.{s}"),
        format!("{good}\n"),
        format!(" {good}"),
        good.replacen('_', "/", 1).replacen('-', "+", 1) + "/",
        format!("{h}.{p}.{}", "A".repeat(20_000)),
        ".".repeat(8000),
        "é.é.é".into(),
        format!("{h}.{p}.é"),
    ];
    for token in shapes {
        assert_eq!(outcome(&rig.acceptance, &token).await, Err(MALFORMED), "{token:.60}");
    }
}

/// RFC 7515 appendix idea: no single changed character verifies.
#[tokio::test]
async fn rfc_7515_every_changed_character_is_refused() {
    let rig = Rig::new(|_| {});
    let good = rig.signer.usual("k1");
    for at in 0..good.len() {
        let mut token = good.clone().into_bytes();
        token[at] = if token[at] == b'A' { b'B' } else { b'A' };
        let result = verify_at(&rig.acceptance, std::str::from_utf8(&token).unwrap(), NOW).await;
        assert!(result.is_err(), "character {at}");
    }
}

/// J14: degenerate and re-encoded ECDSA signatures.
#[tokio::test]
async fn refuses_degenerate_signatures() {
    let rig = Rig::new(|_| {});
    let good = rig.signer.usual("k1");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &bytes[..32], &[0x02, 0x20], &bytes[32..]].concat();
    let forged = [
        vec![0; 64],
        vec![0xff; 64],
        [vec![0; 32], bytes[32..].to_vec()].concat(),
        bytes[..63].to_vec(),
        [bytes.clone(), vec![0]].concat(),
        [vec![0], bytes.clone()].concat(),
        vec![0; 1],
        der,
    ];
    for signature in forged {
        let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
        assert_eq!(outcome(&rig.acceptance, &token).await, Err(VerifyError::BadSignature), "{signature:02x?}");
    }
}
