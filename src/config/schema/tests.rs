//! The schema against the example, the README's file and every broken file of `cases/`.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use super::super::keys::{Kind, PROXY, Table, UPSTREAM_AUTH};
use super::{notes::Notes, schema};

/// Broken for reasons a schema cannot see: one value against another, an address, a file, a network.
const ONLY_THE_READER_SEES: &[&str] = &[
    "admin-beyond-loopback",
    "algorithms",
    "audit-arguments",
    "audit-arguments-masked",
    "audit-chain",
    "audit-retention",
    "audit-subjects",
    "audit-subjects-plain",
    "client-certificates-off",
    "client-certificates-without-authority",
    "issuer-choice",
    "hsts",
    "issuer-loopback",
    "issuer-plain",
    "issuer-twice",
    "listen-addresses",
    "origins",
    "proxy-protocol",
    "paths",
    "plain-http-beyond-loopback",
    "plain-public-url",
    "public-url-contradicts-tls",
    "public-url-path",
    "refused-tokens",
    "sealing",
    "state-empty",
    "state-exposed",
    "traces-values",
    "unset-variable",
    "upstream-urls",
    "version-2",
];

fn validator() -> Validator {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

fn json(text: &str) -> Option<Value> {
    fn plain(value: toml::Value) -> Value {
        match value {
            toml::Value::Datetime(moment) => moment.to_string().into(),
            toml::Value::Array(items) => items.into_iter().map(plain).collect(),
            toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, plain(value))).collect(),
            other => serde_json::to_value(other).unwrap(),
        }
    }
    text.parse::<toml::Table>().ok().map(|table| plain(toml::Value::Table(table)))
}

#[test]
fn accepts_the_example_as_it_is_and_in_full() {
    let example = include_str!("../../../proxy.toml.example");
    let setting = |line: &&str| {
        line.strip_prefix('#').is_some_and(|rest| {
            rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        })
    };
    let in_full: Vec<&str> =
        example.lines().map(|line| if setting(&line) { line.trim_start_matches('#') } else { line }).collect();
    for text in [example, &in_full.join("\n"), super::super::tests::SMALLEST] {
        let errors: Vec<String> = validator()
            .iter_errors(&json(text).unwrap())
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

#[test]
fn refuses_what_a_schema_can_refuse() {
    let validator = validator();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/cases");
    let (mut refused, mut passed) = (0, Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let said = fs::read_to_string(path.with_extension("txt")).unwrap();
        // What is not TOML never reaches a schema.
        let Some(value) = json(&fs::read_to_string(&path).unwrap()) else { continue };
        if said.starts_with("accepted") {
            assert!(validator.is_valid(&value), "{}", path.display());
        } else if validator.is_valid(&value) {
            passed.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        } else {
            refused += 1;
        }
    }
    passed.sort();
    let unexpected: Vec<&String> =
        passed.iter().filter(|name| !ONLY_THE_READER_SEES.contains(&name.as_str())).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert!(refused >= 9, "{refused}");
}

fn undescribed(table: &Table, path: &str, notes: &Notes, found: &mut Vec<String>) {
    for key in table.keys {
        let here = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        match key.kind {
            Kind::Named(below) | Kind::Table(below) if std::ptr::eq(below, &raw const UPSTREAM_AUTH) => {
                undescribed(below, "UPSTREAM_AUTH", notes, found);
            }
            // The same keys once more, and a certificate with its key.
            Kind::Table(_) if key.name == "authorization_server" || key.name.ends_with("client_certificate") => {}
            Kind::Named(below) | Kind::Tables(below) => undescribed(below, &format!("{here}.*"), notes, found),
            Kind::Table(below) => undescribed(below, &here, notes, found),
            _ if notes.sentence(&here).is_none() => found.push(here),
            _ => {}
        }
    }
}

#[test]
fn tells_of_nearly_every_key_and_its_default() {
    let mut found = Vec::new();
    undescribed(&PROXY, "", &Notes::read(), &mut found);
    found.sort();
    found.dedup();
    assert!(found.len() <= 14, "{found:#?}");
    let schema = schema();
    let at = |pointer: &str| schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
    assert_eq!(at("/properties/server/properties/drain/properties/delay/default"), "5s");
    assert_eq!(at("/properties/server/properties/plain_http/default"), false);
    let issuer = "/properties/issuers/patternProperties/^[A-Za-z0-9_-]{1,64}$/properties";
    assert_eq!(
        at(&format!("{issuer}/clock_skew/description")),
        "Tolerated difference between the clocks, at most 5 minutes."
    );
    assert!(at(&format!("{issuer}/issuer")).get("default").is_none());
}
