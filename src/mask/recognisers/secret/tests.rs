use super::super::Text;
use super::super::cases::{check_none, found};
use super::each;
use super::shapes::{Part, SHAPES, Set, Shape};
use crate::json::Span;

/// Secrets in all of `text`, as if it were one word.
fn secrets(text: &Text<'_>, found: &mut Vec<Span>) {
    super::secrets(text, &[Span { start: 0, end: text.whole.len() }], found);
}

/// A body as a vendor might make it: characters in a fixed order that all differ.
fn body(characters: &str, length: usize) -> String {
    characters.chars().cycle().take(length).collect()
}

fn alnum(length: usize) -> String {
    body("aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0z", length)
}

fn hex(length: usize) -> String {
    body("0a1b2c3d4e5f6789", length)
}

fn upper(length: usize) -> String {
    body("Q2W3E4R5T6Y7U", length)
}

/// Kinds with a key of each; assembled here, so that no secret scanner reports this file.
fn keys() -> Vec<(&'static str, String)> {
    let jwt = ["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiJhbmEifQ", "c2lnbmF0dXJl"].join(".");
    vec![
        ("aws-key", format!("AKIA{}", upper(16))),
        ("aws-key", format!("ASIA{}", upper(16))),
        ("github-token", format!("ghp_{}", alnum(36))),
        ("github-token", format!("ghs_{}", alnum(36))),
        ("github-token", format!("github_pat_{}_{}", alnum(22), alnum(59))),
        ("gitlab-token", format!("glpat-{}", alnum(20))),
        ("gitlab-token", format!("glpat-{}.01.{}", alnum(27), alnum(9))),
        ("slack-token", format!("xoxb-123456789012-{}", alnum(24))),
        ("slack-token", format!("xapp-1-A0{}-12345-{}", upper(9), hex(64))),
        ("slack-webhook", format!("hooks.slack.com/services/T{}/B{}/{}", upper(8), upper(8), alnum(24))),
        ("stripe-key", format!("sk_live_{}", alnum(24))),
        ("stripe-key", format!("rk_live_{}", alnum(24))),
        ("stripe-key", format!("sk_test_{}", alnum(24))),
        ("openai-key", format!("sk-{}", alnum(48))),
        ("openai-key", format!("sk-proj-{}", alnum(64))),
        ("anthropic-key", format!("sk-ant-api03-{}", alnum(93))),
        ("google-key", format!("AIza{}", alnum(35))),
        ("google-client-secret", format!("GOCSPX-{}", alnum(28))),
        ("npm-token", format!("npm_{}", alnum(36))),
        ("pypi-token", format!("pypi-AgEIcHlwaS5vcmc{}", alnum(60))),
        ("sendgrid-key", format!("SG.{}.{}", alnum(22), alnum(43))),
        ("digitalocean-token", format!("dop_v1_{}", hex(64))),
        ("shopify-token", format!("shpat_{}", hex(32))),
        ("huggingface-token", format!("hf_{}", alnum(34))),
        ("databricks-token", format!("dapi{}", hex(32))),
        ("databricks-token", format!("dapi{}-2", hex(32))),
        ("vault-token", format!("hvs.{}", alnum(24))),
        ("atlassian-token", format!("ATATT3{}={}", alnum(180), hex(8))),
        ("mailgun-key", format!("key-{}", hex(32))),
        ("square-token", format!("sq0atp-{}", alnum(22))),
        ("telegram-token", format!("123456789:AA{}", alnum(33))),
        ("terraform-token", format!("{}.atlasv1.{}", alnum(14), alnum(67))),
        ("azure-client-secret", format!("aB38Q~{}", alnum(34))),
        ("discord-webhook", format!("discord.com/api/webhooks/123456789012345678/{}", alnum(68))),
        ("twilio-key", format!("SK{}", hex(32))),
        ("jwt", jwt),
        ("private-key", format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", alnum(64))),
        ("private-key", format!("-----BEGIN RSA PRIVATE KEY-----\\n{}\\n-----END RSA PRIVATE KEY-----", alnum(64))),
        ("private-key", format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}", alnum(64))),
    ]
}

#[test]
fn finds_keys_of_every_kind_whole() {
    for (kind, key) in keys() {
        for text in [key.clone(), format!("use '{key}'"), format!("KEY={key}"), format!("(\"{key}\")")] {
            assert_eq!(found(secrets, "", &text), [key.as_str()], "{kind}");
        }
        let mut kinds = Vec::new();
        let whole = [Span { start: 0, end: key.len() }];
        each(&Text::new(&key, "", &[]), &whole, |kind, _| kinds.push(kind));
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
}

#[test]
fn finds_two_in_a_row() {
    let (one, other) = (format!("ghp_{}", alnum(36)), format!("AKIA{}", upper(16)));
    let text = format!("{one},{other}");
    assert_eq!(found(secrets, "", &text), [one, other]);
}

#[test]
fn finds_a_key_that_begins_within_another() {
    let text = format!("glpat-{}-hvs.{}", alnum(20), alnum(24));
    let values = found(secrets, "", &text);
    assert_eq!(values.first().map(|value| value.len()), Some(30));
    assert!(text.ends_with(values.last().unwrap()), "{values:?}");
}

#[test]
fn leaves_keys_with_a_wrong_length() {
    for text in [
        format!("AKIA{}", upper(15)),
        format!("AKIA{}", upper(17)),
        format!("xAKIA{}", upper(16)),
        format!("ghp_{}", alnum(20)),
        format!("AIza{}", alnum(36)),
        format!("npm_{}", alnum(35)),
        format!("dapi{}", hex(31)),
        format!("SK{}", hex(31)),
        format!("task-{}", alnum(48)),
        format!("key-{}", alnum(32)),
        format!("SG.{}", alnum(43)),
    ] {
        assert_eq!(found(secrets, "", &text), Vec::<&str>::new());
    }
}

#[test]
fn leaves_what_only_looks_like_a_key() {
    check_none(
        secrets,
        &[
            "sk_live_xxxxxxxxxxxxxxxxxxxxxxxx",
            "ghp_000000000000000000000000000000000000",
            "risk-based-approach-to-masking-of-values",
            "sk-learn, sk-proj-, hf_hub_download",
            "npm_config_registry=https://example.com",
            "the key-value store; secret_name; re_match",
            "eyJhbGciOiJIUzI1NiJ9",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ",
            "eyJub3RoaW5nIjoxfQ.eyJzdWIiOiJhbmEifQ.c2ln",
            "eyJicm9rZW4.eyJzdWIiOiJhbmEifQ.c2ln",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
            "a file that starts with -----BEGIN PRIVATE KEY----- is a key",
            "SKU-12345, SKY, ASIAN MARKETS, AKIARA",
            "2b6f0cc904d137be2e1730235f5664094b831186",
            "550e8400-e29b-41d4-a716-446655440000",
            "[SECRET]",
        ],
    );
}

#[test]
fn the_table_is_sound() {
    for shape in &SHAPES {
        assert!(shape.literal.len() >= 3, "{}: too short for the search", shape.literal);
        assert!(
            shape.literal.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'/')),
            "{}",
            shape.literal
        );
        assert!(!shape.after.is_empty() && !shape.kind.is_empty(), "{}", shape.literal);
    }
}

/// That many characters of a set, as a vendor might choose them.
fn run(set: Set, length: usize) -> String {
    match set {
        Set::Alnum | Set::Base64 | Set::Url | Set::Word => alnum(length),
        Set::Digit => body("1029384756", length),
        Set::Hex => hex(length),
        Set::Lower => body("a1b2c3d4e5f6g7h8", length),
        Set::Upper => upper(length),
    }
}

/// A key of a shape with the shortest runs, the first run after the literal shortened by that much.
fn shortest(shape: &Shape, by: usize) -> String {
    let mut less = by;
    let mut written = |part: &Part| match part {
        Part::Literal(literal) => (*literal).to_owned(),
        Part::Run(set, least, _) => run(*set, least - std::mem::take(&mut less).min(*least)),
    };
    let after: String = shape.after.iter().map(&mut written).collect();
    let before: String = shape.before.iter().map(&mut written).collect();
    before + shape.literal + &after
}

fn kinds(text: &str) -> Vec<(&'static str, Span)> {
    let mut kinds = Vec::new();
    each(&Text::new(text, "", &[]), &[Span { start: 0, end: text.len() }], |kind, span| kinds.push((kind, span)));
    kinds
}

#[test]
fn every_row_finds_its_shortest_key_and_nothing_shorter_or_glued() {
    for shape in &SHAPES {
        let key = shortest(shape, 0);
        let whole = Span { start: 0, end: key.len() };
        assert!(kinds(&key).contains(&(shape.kind, whole)), "{key}: {:?}", kinds(&key));
        assert_eq!(found(secrets, "", &format!("({key})")), [key.as_str()], "{}", shape.literal);
        // Another shape may match what this one does not.
        let alike = SHAPES.iter().filter(|other| other.kind == shape.kind && shape.literal.starts_with(other.literal));
        if alike.count() == 1 {
            let short = shortest(shape, 1);
            let is_kind = |(kind, _): &(&str, Span)| *kind == shape.kind;
            assert!(!kinds(&short).iter().any(is_kind), "{short}: {:?}", kinds(&short));
            let glued = format!("x{key}");
            let is_free = !shape.before.is_empty() || !shape.literal.starts_with(|first: char| first.is_alphanumeric());
            assert!(is_free || !kinds(&glued).iter().any(is_kind), "{glued}: {:?}", kinds(&glued));
        }
    }
}

#[test]
fn every_literal_has_what_words_of_figures_have_not() {
    for literal in super::literals() {
        assert!(literal.bytes.iter().any(|byte| *byte >= b'@'), "{:?}", std::str::from_utf8(&literal.bytes));
    }
}
