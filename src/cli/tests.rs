//! Every command's output with its exit code, as one text.

mod audit;
mod check;
mod deploy;
mod doctor;
mod explain;
mod generate;
mod mask;
mod replay;
mod test;
mod token;
mod tools;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Color, Streams, run};
use crate::mcp::Revision;

/// A folder with a configuration that loads, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        // Tests that run at once may use the same name.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Self(std::env::temp_dir().join(format!("portcullis-cli-{name}-{process}-{count}")));
        fs::create_dir_all(folder.0.join("policies")).unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["mcp.example.com".to_owned()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "mcp.example.com");
        parameters.not_after = rcgen::date_time_ymd(4000, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        folder.file("tls.crt", &parameters.self_signed(&key).unwrap().pem());
        folder.file("tls.key", &key.serialize_pem());
        folder.file("policies/crm.toml", POLICY);
        folder.file("proxy.toml", GOOD);
        folder
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
        fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Exit code, standard output and standard error of `portcullis ARGUMENTS`, with `@` standing for the folder in
    /// both directions and the days of a far certificate for any number.
    fn run(&self, arguments: &str) -> String {
        self.run_with(arguments, "")
    }

    /// As [`Self::run`], with text on standard input.
    fn run_with(&self, arguments: &str, input: &str) -> String {
        let folder = self.0.display().to_string();
        let arguments = arguments.split(' ').map(|word| word.replace("@/", &format!("{folder}/")));
        let cli = Cli::parse_from(std::iter::once("portcullis".to_owned()).chain(arguments));
        let (mut input, mut out, mut err) = (input.as_bytes(), Vec::new(), Vec::new());
        let color = cli.global.color.wanted(false, &|_| None);
        let streams = &mut Streams {
            input: &mut input,
            out: &mut out,
            err: &mut err,
            out_color: color,
            err_color: color,
            can_ask: false,
        };
        let exit = run(&cli, streams) as u8;
        let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        let digits = regex::Regex::new("[0-9]{5,} days").unwrap();
        let text = format!("exit {exit}\n--- out\n{out}--- err\n{err}").replace(&folder, "@");
        digits.replace_all(&text, "N days").into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const POLICY: &str = r#"[policy]
name = "crm"
[[rule]]
id = "crm-read"
tools = ["get_*"]
scopes = ["crm:read"]
[[mask]]
id = "pii"
on = ["result"]
entities = ["EMAIL_ADDRESS"]
action = "redact"
"#;

const GOOD: &str = r#"[server]
public_url = "https://mcp.example.com"
tls = { cert_file = "tls.crt", key_file = "tls.key" }
[issuers.corp]
issuer = "https://login.example.com/realms/acme"
[servers.crm]
path = "/crm/mcp"
upstream = "http://127.0.0.1:3001/mcp"
policies = ["policies/crm.toml"]
"#;

#[test]
fn arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_cause_is_said_once() {
    let absent = crate::config::SecretSource::File("absent".into()).resolve().unwrap_err();
    let expected = "the file `absent` cannot be read: No such file or directory (os error 2)";
    assert_eq!(super::chain(&absent), expected);
    let connect = crate::upstream::UpstreamError::Connect(std::io::Error::other("refused"));
    assert_eq!(super::chain(&connect), "cannot connect to the upstream: refused");
}

/// The column of the second part moves with the length of the folder's name.
fn squeezed(text: &str) -> String {
    let spaces = regex::Regex::new("(?m)^([✓✗!] .*?) {2,}").unwrap();
    spaces.replace_all(text, "$1  ").into_owned()
}

#[test]
fn check_prints_what_it_did() {
    let folder = Folder::new("good");
    let expected = "\
exit 0
--- out
✓ @/proxy.toml  1 server, 1 issuer
✓ policies/crm.toml  1 rule, 1 mask
✓ tls  CN=mcp.example.com, N days left
✓ state  in memory: rate limits, used proofs and states, revocations are not shared
--- err
";
    for arguments in
        ["-c @/proxy.toml check --offline", "check @/proxy.toml --offline", "check --offline -D --config @/proxy.toml"]
    {
        assert_eq!(squeezed(&folder.run(arguments)), expected, "{arguments}");
    }
    assert_eq!(folder.run("-q check --offline @/proxy.toml"), "exit 0\n--- out\n--- err\n");
    assert!(folder.run("--color always check --offline @/proxy.toml").contains("\x1b[32m✓\x1b[0m"));
}

#[test]
fn check_refuses_with_78() {
    let folder = Folder::new("bad");
    folder.file("proxy.toml", &GOOD.replace("public_url", "public_ulr"));
    let expected = "\
exit 78
--- out
✗ @/proxy.toml  1 error
--- err
error: unknown key `public_ulr`
 --> @/proxy.toml:2:1
  |
2 | public_ulr = \"https://mcp.example.com\"
  | ^^^^^^^^^^ not a key of `[server]`
  |
help: did you mean `public_url`?
  |
2 - public_ulr = \"https://mcp.example.com\"
2 + public_url = \"https://mcp.example.com\"
  |

";
    assert_eq!(squeezed(&folder.run("check @/proxy.toml")), expected);
    let expected = "\
exit 78
--- out
::error file=@/proxy.toml,line=2,endLine=2,col=1,endColumn=11::unknown key `public_ulr`%0Anot a key of `[server]`\
%0Ahelp: did you mean `public_url`?
--- err
";
    assert_eq!(folder.run("check @/proxy.toml --format github"), expected);
    let expected = "\
exit 78
--- out
✗ @/absent.toml  1 error
--- err
error: cannot read `@/absent.toml`: No such file or directory (os error 2)
--> @/absent.toml
 = help: name another file with `--config` or `PORTCULLIS_CONFIG`

";
    assert_eq!(squeezed(&folder.run("check @/absent.toml")), expected);
}

#[test]
fn check_fails_on_warnings_only_when_asked() {
    let folder = Folder::new("warned");
    folder.file("proxy.toml", &GOOD.replace("acme\"", "acme\"\ninsecure_loopback = true"));
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    assert!(said.starts_with("exit 0\n--- out\n! @/proxy.toml  1 server, 1 issuer\n"), "{said}");
    assert!(said.contains("--- err\nwarning: `insecure_loopback` has no effect\n"), "{said}");
    assert!(folder.run("check --offline @/proxy.toml -D").starts_with("exit 1\n"));
    folder.file("bad.toml", "");
    assert!(folder.run("check --offline @/proxy.toml @/bad.toml -D").starts_with("exit 78\n"));
}

#[test]
fn keys_over_plain_http_must_be_asked_for() {
    let folder = Folder::new("plainly");
    let plain = "acme\"\njwks_uri = \"http://127.0.0.1:9/jwks\"";
    folder.file("proxy.toml", &GOOD.replace("acme\"", plain));
    let said = squeezed(&folder.run("check --offline @/proxy.toml"));
    assert!(said.starts_with("exit 78\n"), "{said}");
    for part in [
        "error: `jwks_uri` must start with `https://`\n",
        "every program on this machine could hand out keys",
        "help: for keys from this machine write `insecure_loopback = true`\n",
    ] {
        assert!(said.contains(part), "{said}");
    }
    folder.file("proxy.toml", &GOOD.replace("acme\"", &format!("{plain}\ninsecure_loopback = true")));
    let said = squeezed(&folder.run("check --offline @/proxy.toml -D"));
    assert!(said.starts_with("exit 0\n"), "{said}");
}

#[test]
fn check_writes_json_for_programs() {
    let folder = Folder::new("json");
    folder.file("proxy.toml", &GOOD.replace("policies = [\"policies/crm.toml\"]", ""));
    let said = folder.run("check @/proxy.toml --format json");
    let object = said.strip_prefix("exit 78\n--- out\n").and_then(|said| said.strip_suffix("\n--- err\n")).unwrap();
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    let expected = serde_json::json!({
        "schema_version": 1, "ok": false, "errors": 1, "warnings": 0,
        "steps": [{ "subject": "@/proxy.toml", "status": "error", "text": "1 error" }],
        "problems": [{
            "severity": "error", "file": "@/proxy.toml",
            "line": 6, "column": 1, "end_line": 6, "end_column": 14, "start": 166, "end": 179,
            "message": "`policies` is missing in `[servers.crm]`", "label": "needs `policies`",
            "help": ["for example `policies = [\"policies/crm.toml\"]`"], "suggestion": null,
        }],
    });
    assert_eq!(object, expected);
    folder.file("proxy.toml", GOOD);
    let said = folder.run("check --offline @/proxy.toml --format json");
    assert!(said.starts_with("exit 0\n") && said.contains("\"ok\":true"), "{said}");
}

#[test]
fn version_says_what_this_is() {
    let folder = Folder::new("version");
    let version = env!("CARGO_PKG_VERSION");
    let said = folder.run("version");
    assert!(said.starts_with(&format!("exit 0\n--- out\nportcullis {version} (")), "{said}");
    let said = folder.run("version --json");
    let said = said.strip_prefix("exit 0\n--- out\n").and_then(|said| said.strip_suffix("\n--- err\n")).unwrap();
    let said: serde_json::Value = serde_json::from_str(said).unwrap();
    assert_eq!((&said["schema_version"], &said["version"]), (&1.into(), &version.into()));
    assert_eq!(said["mcp"], serde_json::json!(Revision::SERVED.map(Revision::as_str)));
    let features: Vec<_> = said["features"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(features.is_sorted() && features.contains(&"masking"), "{features:?}");
}

#[test]
fn every_command_says_what_it_does_and_begins_its_help_with_examples() {
    fn walk(command: &clap::Command, path: &str) {
        assert!(command.get_about().is_some(), "{path}");
        let examples = command
            .get_before_long_help()
            .or(command.get_before_help())
            .unwrap_or_else(|| panic!("{path}"))
            .to_string();
        assert!(examples.starts_with("Examples:\n  ") && examples.contains(path), "{path}: {examples}");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path} {}", argument.get_id());
        }
        // What `serve` starts is nobody's to type.
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            walk(below, &format!("{path} {}", below.get_name()));
        }
    }
    walk(&Cli::command(), "portcullis");
    let help = Cli::command().render_long_help().to_string();
    assert!(help.starts_with("Examples:\n  portcullis demo "), "{help}");
}

#[test]
fn healthcheck_of_nobody_is_unavailable() {
    let folder = Folder::new("nobody");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let expected =
        format!("exit 69\n--- out\n--- err\nerror: no answer from {address}: Connection refused (os error 111)\n");
    for arguments in [
        format!("healthcheck --admin {address}"),
        format!("healthcheck --ready --admin http://{address}/"),
        "-c @/asked.toml healthcheck --ready".to_owned(),
        "-c @/edited.toml healthcheck".to_owned(),
    ] {
        folder.file("asked.toml", &format!("{GOOD}[admin]\nlisten = \"{address}\"\n"));
        folder.file("edited.toml", &format!("[admin]\nlisten = \"{address}\"\n[servers.crm]\npath = 1\n"));
        assert_eq!(folder.run(&arguments), expected, "{arguments}");
    }
    let expected = "exit 69\n--- out\n--- err\n\
                    error: @/proxy.toml has no [admin] table, so there is nobody to ask\n";
    assert_eq!(folder.run("healthcheck -c @/proxy.toml"), expected);
}

/// Answers one connection with `answer`.
fn answering(answer: &'static str) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = std::io::Read::read(&mut stream, &mut request);
        std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn healthcheck_prints_the_answer_in_a_line() {
    let folder = Folder::new("health");
    for (arguments, answer, expected) in [
        ("", "HTTP/1.1 200 OK\r\n\r\nok\n", "exit 0\n--- out\nalive\n"),
        (
            "--ready",
            "HTTP/1.1 200 OK\r\n\r\nconfig 5f0c\nissuers 1/1\nlisteners 1/1\nready\n",
            "exit 0\n--- out\nready: config 5f0c, issuers 1/1, listeners 1/1\n",
        ),
        (
            "--ready",
            "HTTP/1.1 503 Unavailable\r\n\r\nconfig 5f0c\nissuers 0/1\nissuer `corp` has no keys yet\nnot ready\n",
            "exit 1\n--- out\nnot ready: config 5f0c, issuers 0/1, issuer `corp` has no keys yet\n",
        ),
        ("--ready", "HTTP/1.1 404 Not Found\r\n\r\n", "exit 1\n--- out\nno answer\n"),
        ("", "SSH-2.0-x", "exit 1\n--- out\nthe answer is not HTTP\n"),
    ] {
        let said = folder.run(format!("healthcheck --admin {} {arguments}", answering(answer)).trim_end());
        assert_eq!(said, format!("{expected}--- err\n"), "{answer}");
    }
}

#[test]
fn wrong_arguments_are_a_usage_error() {
    for arguments in [
        &["portcullis"][..],
        &["portcullis", "chekc"],
        &["portcullis", "check", "--format", "xml"],
        &["portcullis", "check", "-q", "-v"],
        &["portcullis", "check", "--color", "maybe"],
    ] {
        assert_eq!(Cli::try_parse_from(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
    }
    let help = Cli::try_parse_from(["portcullis", "chekc"]).unwrap_err().to_string();
    assert!(help.contains("'check'"), "{help}");
}

#[test]
fn colour_follows_the_flag_then_the_environment_then_the_terminal() {
    let with = |pairs: &'static [(&str, &str)]| {
        move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    };
    for (color, terminal, environment, expected) in [
        (Color::Auto, true, &[][..], true),
        (Color::Auto, false, &[], false),
        (Color::Auto, true, &[("TERM", "dumb")], false),
        (Color::Auto, true, &[("NO_COLOR", "1")], false),
        (Color::Auto, true, &[("NO_COLOR", "")], true),
        (Color::Auto, false, &[("CLICOLOR_FORCE", "1")], true),
        (Color::Auto, true, &[("CLICOLOR_FORCE", "0")], false),
        (Color::Auto, false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (Color::Always, false, &[("NO_COLOR", "1")], true),
        (Color::Never, true, &[("CLICOLOR_FORCE", "1")], false),
    ] {
        assert_eq!(color.wanted(terminal, &with(environment)), expected, "{color:?} {terminal} {environment:?}");
    }
}

#[test]
fn the_log_level_follows_the_flag_then_the_environment() {
    for (arguments, rust_log, expected) in [
        ("version", None, "info"),
        ("version", Some("portcullis=debug"), "portcullis=debug"),
        ("version", Some(""), "info"),
        ("version -v", Some("warn"), "debug"),
        ("version -vv", None, "trace"),
        ("version -q", None, "error"),
        ("version --log-level warn -v", Some("trace"), "warn"),
    ] {
        let cli = Cli::parse_from(std::iter::once("portcullis").chain(arguments.split(' ')));
        assert_eq!(cli.global.log_filter(rust_log), expected, "{arguments}");
    }
}
