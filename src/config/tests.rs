use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::parse_with;
use super::*;

/// The nine lines of the README.
pub(super) const SMALLEST: &str = r#"[server]
public_url = "https://mcp.example.com"
tls = { cert_file = "tls.crt", key_file = "tls.key" }
[issuers.corp]
issuer = "https://login.example.com/realms/acme"
[servers.crm]
path = "/crm/mcp"
upstream = "http://127.0.0.1:3001/mcp"
policies = ["policies/crm.toml"]
"#;

fn variable(name: &str) -> Option<String> {
    (name == "HOST").then(|| "mcp.example.com".to_owned())
}

fn checked(text: &str) -> Result<(Config, Problems), Problems> {
    parse_with(text, Path::new("proxy.toml"), &variable)
}

/// Every broken file of `cases/` beside what is said about it. With `PORTCULLIS_BLESS` set the texts are written anew,
/// to be read in the diff.
#[test]
fn says_what_is_wrong_with_broken_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() >= 35, "{}", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let said = match checked(&text) {
            Ok((_, problems)) => format!("accepted\n\n{}\n", problems.render(false)),
            Err(problems) => {
                assert!(problems.has_errors());
                format!("refused\n\n{}\n", problems.render(false))
            }
        };
        assert!(!said.contains("s3cr3t"), "{}", path.display());
        let expected = path.with_extension("txt");
        if std::env::var_os("PORTCULLIS_BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(said, expected, "{}", path.display());
    }
}

pub(super) fn loads(text: &str) -> Config {
    match checked(text) {
        Ok((config, problems)) => {
            assert!(problems.is_empty(), "{}", problems.render(false));
            config
        }
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

#[test]
fn the_smallest_file_means_the_defaults() {
    let config = loads(SMALLEST);
    assert_eq!(config.server.listen, ["0.0.0.0:8443".parse().unwrap()]);
    assert_eq!(config.server.drain_delay, Duration::from_secs(5));
    assert_eq!(config.server.drain_timeout, Duration::from_secs(25));
    assert!(config.admin.is_none());
    let issuer = &config.issuers["corp"];
    assert_eq!(&*issuer.issuer, "https://login.example.com/realms/acme");
    assert_eq!(issuer.tokens.algorithms, ["RS256", "PS256", "ES256", "EdDSA"]);
    assert_eq!(issuer.tokens.scope_claims, ["scope", "scp"]);
    assert_eq!(issuer.tokens.clock_skew, Duration::from_mins(1));
    assert_eq!(issuer.cache_ttl, Duration::from_mins(10));
    assert_eq!(issuer.min_refresh_interval, Duration::from_secs(30));
    assert_eq!(issuer.max_stale, Duration::from_hours(24));
    let server = &config.servers["crm"];
    assert_eq!(server.resource, "https://mcp.example.com/crm/mcp");
    assert_eq!(server.audiences, ["https://mcp.example.com/crm/mcp"]);
    assert_eq!(server.issuers, [Arc::from("corp")]);
    assert!(matches!(server.upstream_auth, UpstreamAuth::None));
    assert!(matches!(config.audit.sink, AuditSink::Stdout));
    assert_eq!(config.audit.on_error, OnAuditError::Block);
    assert!(config.sealing.keys.is_empty());
}

#[test]
fn without_tls_only_this_machine_is_served() {
    let text = SMALLEST.replace("tls = { cert_file = \"tls.crt\", key_file = \"tls.key\" }\n", "");
    assert_eq!(loads(&text).server.listen, ["127.0.0.1:8080".parse().unwrap()]);
    let text = text.replace("https://mcp.example.com", "http://127.0.0.1:8080");
    assert_eq!(loads(&text).servers["crm"].resource, "http://127.0.0.1:8080/crm/mcp");
}

#[test]
fn paths_start_at_the_folder_of_the_file() {
    let (config, _) = parse_with(SMALLEST, Path::new("/etc/portcullis/proxy.toml"), &variable).unwrap();
    assert_eq!(config.server.tls.as_ref().unwrap().cert_file, Path::new("/etc/portcullis/tls.crt"));
    let server = &config.servers["crm"];
    assert_eq!(server.policies, [Path::new("policies/crm.toml")]);
    assert_eq!(config.policy_files(server), [Path::new("/etc/portcullis/policies/crm.toml")]);
    let (config, _) = parse_with(SMALLEST, Path::new("proxy.toml"), &variable).unwrap();
    assert_eq!(config.policy_files(&config.servers["crm"]), [Path::new("policies/crm.toml")]);
}

#[test]
fn variables_cannot_add_keys() {
    let evil = |name: &str| (name == "EVIL").then(|| "x\"\nplain_http = true\n[y]\n#".to_owned());
    let text = SMALLEST.replace("policies/crm.toml", "${EVIL}");
    let problems = parse_with(&text, Path::new("proxy.toml"), &evil).unwrap_err();
    assert_eq!(problems.to_string(), "proxy.toml:9:13: error: `policies` cannot be used");
    let text = SMALLEST.replace("/realms/acme", "/${EVIL}");
    assert!(parse_with(&text, Path::new("proxy.toml"), &evil).is_err());
    let host = SMALLEST.replace("https://mcp.example.com", "https://${HOST}");
    assert_eq!(loads(&host).servers["crm"].resource, "https://mcp.example.com/crm/mcp");
}

#[test]
fn a_plain_proxy_behind_something_that_speaks_tls() {
    let text = SMALLEST.replace(
        "tls = { cert_file = \"tls.crt\", key_file = \"tls.key\" }",
        "listen = \"0.0.0.0:8080\"\nplain_http = true\ntrusted_proxies = [\"10.0.0.0/8\"]",
    );
    let config = loads(&text);
    assert_eq!(config.server.listen, ["0.0.0.0:8080".parse().unwrap()]);
    assert!(config.server.plain_http && !config.server.is_loopback());
}

#[test]
fn every_kind_of_credential_is_understood() {
    for (written, expected) in [
        ("{ type = \"none\" }", "None"),
        ("{ type = \"bearer\", token = { env = \"T\" } }", "Bearer(Env(\"T\"))"),
        ("{ type = \"bearer\", token = { file = \"/t\" } }", "Bearer(File(\"/t\"))"),
        ("{ type = \"bearer\", token = { credential = \"t\" } }", "Bearer(Credential(\"t\"))"),
        (
            "{ type = \"basic\", username = \"u\", password = { env = \"P\" } }",
            "Basic { username: \"u\", password: Env(\"P\") }",
        ),
        (
            "{ type = \"header\", name = \"X-Api-Key\", value = { env = \"K\" } }",
            "Header { name: \"x-api-key\", value: Env(\"K\") }",
        ),
    ] {
        let config = loads(&format!("{SMALLEST}upstream_auth = {written}\n"));
        assert_eq!(format!("{:?}", config.servers["crm"].upstream_auth), expected);
    }
    let (config, problems) =
        checked(&format!("{SMALLEST}upstream_auth = {{ type = \"bearer\", token = {{ value = \"s3cr3t\" }} }}\n"))
            .unwrap();
    assert_eq!(problems.count(Severity::Warning), 1);
    assert!(!format!("{config:?}{problems:?}").contains("s3cr3t"));
}

mod example;
mod on_disk;

#[test]
fn sessions_are_left_alone_as_long_as_is_said() {
    let idle = |config: &Config| config.servers["crm"].session_idle;
    let minutes = Duration::from_mins;
    let default = SessionIdle { own: minutes(10), clients: None, streams: minutes(30) };
    assert_eq!(idle(&loads(SMALLEST)), default);
    let all = SessionIdle { own: minutes(1), clients: Some(minutes(1)), streams: minutes(1) };
    assert_eq!(idle(&loads(&format!("{SMALLEST}session_idle = \"1m\"\n"))), all);
    let program = SMALLEST.replace(
        "upstream = \"http://127.0.0.1:3001/mcp\"",
        "command = [\"true\"]\nuser = \"nobody\"\nstdio = { idle = \"2m\" }",
    );
    assert_eq!(idle(&loads(&program)), SessionIdle { own: minutes(2), ..default });
}
