//! `proxy.toml.example` is complete, right, and safe with any one of its lines missing or mistyped.

use std::collections::BTreeSet;

use proptest::prelude::*;
use toml::de::{DeTable, DeValue};

use super::super::keys::{Kind, PROXY, SECRET, Table, UPSTREAM_AUTH};
use super::{Config, OnAuditError, SMALLEST, checked, loads};

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

/// The example with every commented setting in force.
fn in_full() -> String {
    let setting = |line: &str| {
        line.strip_prefix('#').is_some_and(|rest| {
            rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        })
    };
    EXAMPLE
        .lines()
        .map(|line| if setting(line) { line.trim_start_matches('#') } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn loads_as_it_is_and_in_full() {
    loads(EXAMPLE);
    let config = loads(&in_full());
    assert_eq!(config.servers.len(), 8);
    assert_eq!(config.sealing.keys.len(), 1);
}

#[test]
fn shows_the_defaults() {
    let (example, smallest) = (loads(EXAMPLE), loads(SMALLEST));
    let defaults = |config: &Config| {
        let (issuer, server) = (&config.issuers["corp"], &config.servers["crm"]);
        let mut issuer = issuer.clone();
        issuer.issuer = "".into();
        let load = (&server.concurrency, &server.breaker, &server.retries);
        let server = (&server.timeouts, &server.audiences, &server.issuers, server.upstream_http2, &server.meta);
        let listener = &config.server;
        let times = (listener.drain_delay, listener.drain_timeout, listener.plain_http, listener.hsts);
        let lists = (&listener.allowed_hosts, &listener.allowed_origins, &config.cors, &listener.proxies);
        format!(
            "{:?} {:?} {times:?} {lists:?} {issuer:?} {server:?} {load:?} {:?} {:?}",
            listener.limits, listener.listen, config.audit, config.telemetry
        )
    };
    assert_eq!(defaults(&example), defaults(&smallest));
}

/// Every dotted path the table of keys allows, with `*` for names of the user's choosing and entries of lists.
fn allowed(table: &Table, path: &str, all: &mut BTreeSet<String>) {
    for key in table.keys {
        let here = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        match key.kind {
            // The keys of the one are those of the other.
            Kind::Named(below) | Kind::Table(below) if std::ptr::eq(below, &raw const UPSTREAM_AUTH) => {
                allowed(below, "UPSTREAM_AUTH", all);
            }
            Kind::Table(_) if key.name == "authorization_server" => {
                all.insert(here);
            }
            Kind::Named(below) | Kind::Tables(below) => allowed(below, &format!("{here}.*"), all),
            Kind::Table(below) => allowed(below, &here, all),
            Kind::Secret => allowed(&SECRET, "SECRET", all),
            _ => {
                all.insert(here);
            }
        }
    }
}

fn written(table: &DeTable<'_>, schema: &Table, path: &str, all: &mut BTreeSet<String>) {
    for (name, value) in table {
        let key = schema.find(name.get_ref()).unwrap();
        let here = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        match (key.kind, value.get_ref()) {
            (Kind::Named(below), DeValue::Table(tables)) if std::ptr::eq(below, &raw const UPSTREAM_AUTH) => {
                for one in tables.values() {
                    written(one.get_ref().as_table().unwrap(), below, "UPSTREAM_AUTH", all);
                }
            }
            (Kind::Table(below), DeValue::Table(table)) if std::ptr::eq(below, &raw const UPSTREAM_AUTH) => {
                written(table, below, "UPSTREAM_AUTH", all);
            }
            (Kind::Table(_), DeValue::Table(_)) if key.name == "authorization_server" => {
                all.insert(here);
            }
            (Kind::Named(below), DeValue::Table(tables)) => {
                for one in tables.values() {
                    written(one.get_ref().as_table().unwrap(), below, &format!("{here}.*"), all);
                }
            }
            (Kind::Tables(below), DeValue::Array(tables)) => {
                for one in tables {
                    written(one.get_ref().as_table().unwrap(), below, &format!("{here}.*"), all);
                }
            }
            (Kind::Table(below), DeValue::Table(table)) => written(table, below, &here, all),
            (Kind::Secret, DeValue::Table(table)) => written(table, &SECRET, "SECRET", all),
            _ => {
                all.insert(here);
            }
        }
    }
}

#[test]
fn has_every_key() {
    let (mut expected, mut found) = (BTreeSet::new(), BTreeSet::new());
    allowed(&PROXY, "", &mut expected);
    let text = in_full();
    written(DeTable::parse(&text).unwrap().get_ref(), &PROXY, "", &mut found);
    let missing: Vec<_> = expected.difference(&found).map(String::as_str).collect();
    // Shown in comments: one is discouraged, two belong to the kind of sink that is not the default, two to another
    // `auth_method` than the one above them.
    let certificate = ["cert_file", "key_file"].map(|key| format!("issuers.*.introspection.client_certificate.{key}"));
    assert_eq!(
        missing,
        ["SECRET.value", "audit.sinks.*.chain", "audit.sinks.*.path", &certificate[0], &certificate[1]]
    );
    assert!(EXAMPLE.contains("{ value = \"...\" }") && EXAMPLE.contains("path = \"audit.jsonl\", chain = true"));
    assert!(EXAMPLE.contains("\n# client_certificate = { cert_file = \"introspection.crt\", key_file ="));
}

/// What no accepted file may lose (threat O2: a missing or mistyped key must not open anything).
fn assert_safe(config: &Config, how: &str) {
    let listener = &config.server;
    assert!(listener.is_loopback() || listener.tls.is_some() || listener.plain_http, "{how}");
    assert!(listener.public_url.scheme() == "https" || listener.is_loopback(), "{how}");
    assert!(config.admin.as_ref().is_none_or(|admin| admin.listen.ip().is_loopback()), "{how}");
    assert!(!config.issuers.is_empty() && !config.servers.is_empty(), "{how}");
    for issuer in config.issuers.values() {
        assert!(issuer.issuer.starts_with("https://"), "{how}");
        assert!(
            !issuer.tokens.algorithms.is_empty() && issuer.tokens.algorithms.iter().all(|name| !name.starts_with("HS")),
            "{how}"
        );
        assert!(issuer.tokens.clock_skew.as_secs() <= 300 && !issuer.tokens.scope_claims.is_empty(), "{how}");
    }
    for server in config.servers.values() {
        assert!(!server.audiences.is_empty() && server.audiences.iter().all(|audience| !audience.is_empty()), "{how}");
        assert!(!server.policies.is_empty() && !server.issuers.is_empty(), "{how}");
        assert!(server.issuers.iter().all(|name| config.issuers.contains_key(name)), "{how}");
    }
    assert_eq!(config.audit.on_error, OnAuditError::Block, "{how}");
    assert!(!config.cors.allow_origins.iter().any(|origin| origin == "*"), "{how}");
}

/// The example's lines that say something, with their places.
fn lines() -> Vec<(usize, &'static str)> {
    EXAMPLE.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect()
}

fn with_line(at: usize, replacement: &str) -> String {
    let lines = EXAMPLE.lines().enumerate().map(|(number, line)| if number == at { replacement } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn any_line_may_be_missing() {
    let mut refused = Vec::new();
    for (at, line) in lines() {
        match checked(&with_line(at, "")) {
            Ok((config, _)) => assert_safe(&config, &format!("without `{line}`")),
            Err(_) => refused.push(line.split(" =").next().unwrap_or(line)),
        }
    }
    let expected = [
        "[server]",
        "public_url",
        "[server.tls]",
        "cert_file",
        "key_file",
        "[server.drain]",
        "[server.limits]",
        "[admin]",
        "[admin.readyz]",
        "[issuers.corp]",
        "issuer",
        "[issuers.corp.jwks]",
        "[servers.crm]",
        "path",
        "upstream",
        "policies",
        "[servers.crm.timeouts]",
        "[servers.crm.concurrency]",
        "[servers.crm.breaker]",
        "[servers.crm.retries]",
        "[servers.crm.upstream_auth]",
        "type",
        "token",
        "[cors]",
        "[audit]",
        "[telemetry]",
    ];
    assert_eq!(refused, expected);
}

#[test]
fn no_key_and_no_table_may_be_mistyped() {
    for (at, line) in lines() {
        let mistyped = match line.split_once(" = ") {
            Some((key, value)) => vec![format!("{key}x = {value}"), format!("{} = {value}", key.to_uppercase())],
            // The user's own names may be anything, so only their parent and their form can be wrong.
            None => vec![line.replacen('[', "[x", 1), line.replacen('[', "[[", 1).replacen(']', "]]", 1)],
        };
        for text in mistyped {
            assert!(checked(&with_line(at, &text)).is_err(), "`{text}` for `{line}`");
        }
    }
}

#[test]
fn no_value_may_have_another_type_or_be_garbage() {
    let others = ["1", "-1", "1.5", "true", "\"\"", "\"x y\"", "[]", "[1]", "[\"\"]", "{}", "{ x = 1 }", "2026-01-01"];
    let mut refused = 0;
    for (at, line) in lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let kind = |text: &str| toml::from_str::<toml::Table>(&format!("x = {text}")).unwrap()["x"].type_str();
        for other in others {
            // Short forms: a list may be one string, a size may be a number.
            let short = matches!((kind(value), kind(other)), ("array", "string")) || key.ends_with("_bytes");
            let how = format!("`{key} = {other}` for `{line}`");
            match checked(&with_line(at, &format!("{key} = {other}"))) {
                Err(_) => refused += 1,
                Ok((config, _)) => {
                    assert!(kind(other) == kind(value) || short, "{how}");
                    assert_safe(&config, &how);
                }
            }
        }
    }
    assert!(refused > 400, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is cut out or put in, the file is refused with places that exist, or safe.
    #[test]
    fn damage_is_survived(at in 0..EXAMPLE.len(), cut in 0..60_usize, put in "[\\[\\]\"'={}, \\na-z0-9$.#é]{0,6}") {
        let end = (at + cut).min(EXAMPLE.len());
        let text = format!("{}{put}{}", EXAMPLE.get(..at).unwrap(), EXAMPLE.get(end..).unwrap());
        match checked(&text) {
            // `plain_http`, `insecure_loopback` and the like cannot be hit by so little.
            Ok((config, problems)) => {
                assert_safe(&config, &text);
                problems.render(false);
            }
            Err(problems) => {
                prop_assert!(problems.has_errors());
                problems.render(true);
                for problem in problems.iter() {
                    prop_assert!(problem.span.end <= text.len());
                }
            }
        }
    }
}
