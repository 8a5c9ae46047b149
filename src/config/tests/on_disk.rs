//! Files that are named are looked at: there, readable, of the right kind, not open to everybody.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::super::load::load_at;
use super::{Problems, SMALLEST, variable};
use crate::clock::Timestamp;

/// 2026-11-22.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_305_600);

/// A folder with everything the smallest file names, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, not_after: (i32, u8, u8)) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("portcullis-config-{name}-{}", std::process::id())));
        fs::create_dir_all(folder.0.join("policies")).unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["mcp.example.com".to_owned()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "mcp.example.com");
        parameters.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
        let key = rcgen::KeyPair::generate().unwrap();
        folder.file("tls.crt", &parameters.self_signed(&key).unwrap().pem());
        folder.file("tls.key", &key.serialize_pem());
        folder.file("policies/crm.toml", "");
        folder
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
        fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Loads `text` from the folder; everything said, with the folder's own path cut out.
    fn said(&self, text: &str) -> (bool, String) {
        self.file("proxy.toml", text);
        let loaded = load_at(&self.0.join("proxy.toml"), NOW, &variable);
        let accepted = loaded.is_ok();
        let problems: Problems = loaded.map_or_else(|problems| problems, |(_, problems)| problems);
        let lines = problems.iter().map(|problem| {
            let (line, _) = problem.file.position(problem.span.start);
            format!("{line}: {}: {} ({})", problem.severity.as_str(), problem.message, problem.label)
        });
        let lines = lines.collect::<Vec<_>>().join("\n");
        (accepted, lines.replace(&format!("{}/", self.0.display()), ""))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn accepts_a_folder_with_everything_in_it() {
    let folder = Folder::new("complete", (2027, 3, 1));
    assert_eq!(folder.said(SMALLEST), (true, String::new()));
}

#[test]
fn warns_before_a_certificate_expires() {
    for (name, not_after, expected) in [
        ("soon", (2026, 12, 21), "it expires in 29 days"),
        ("tomorrow", (2026, 11, 23), "it expires tomorrow"),
        ("past", (2026, 11, 21), "it has expired: clients will refuse to connect"),
    ] {
        let folder = Folder::new(name, not_after);
        let message = "3: warning: the certificate of `CN=mcp.example.com` needs to be renewed";
        assert_eq!(folder.said(SMALLEST), (true, format!("{message} ({expected})")));
    }
}

#[test]
fn names_every_file_that_cannot_be_used() {
    let folder = Folder::new("broken", (2027, 3, 1));
    fs::remove_file(folder.0.join("policies/crm.toml")).unwrap();
    fs::create_dir(folder.0.join("policies/crm.toml")).unwrap();
    folder.file("tls.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    fs::remove_file(folder.0.join("tls.key")).unwrap();
    folder.file("short.key", "too short");
    let text = format!(
        "{SMALLEST}upstream_auth = {{ type = \"bearer\", token = {{ file = \"token\" }} }}\n\
         [audit]\nsinks = [{{ type = \"file\", path = \"nowhere/audit.jsonl\" }}]\n\
         [sealing]\nkeys = [{{ id = \"a\", file = \"short.key\" }}]\n"
    );
    let expected = "\
3: error: `cert_file`: no certificate to use (not an X.509 certificate)
3: error: `key_file`: cannot read `tls.key` (No such file or directory (os error 2))
9: error: `policies`: cannot read `policies/crm.toml` (it is not a file)
10: error: `token` cannot be read (the file `token` cannot be read: No such file or directory (os error 2))
12: error: cannot write `nowhere/audit.jsonl` (its folder does not exist)
14: error: `file` is not a sealing key (the file `short.key` does not hold 32 bytes, raw or as base64url or hex text)";
    assert_eq!(folder.said(&text), (false, expected.to_owned()));
}

#[test]
fn complains_about_secrets_everybody_can_get_at() {
    let folder = Folder::new("modes", (2027, 3, 1));
    folder.file("token", "s3cr3t\n");
    let text = format!("{SMALLEST}upstream_auth = {{ type = \"bearer\", token = {{ file = \"token\" }} }}\n");
    assert_eq!(folder.said(&text), (true, String::new()));
    fs::set_permissions(folder.0.join("tls.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let readable = "3: warning: `key_file`: every user can read `tls.key` (readable by others)";
    assert_eq!(folder.said(&text), (true, readable.to_owned()));
    fs::set_permissions(folder.0.join("token"), fs::Permissions::from_mode(0o666)).unwrap();
    let writable = "10: error: `token`: every user can change `token` (writable by others)";
    assert_eq!(folder.said(&text), (false, format!("{readable}\n{writable}")));
}

#[test]
fn says_why_a_file_cannot_be_read() {
    let folder = Folder::new("unreadable", (2027, 3, 1));
    let absent = load_at(Path::new("absent/proxy.toml"), NOW, &variable).unwrap_err();
    assert_eq!(
        absent.render(false),
        "error: cannot read `absent/proxy.toml`: No such file or directory (os error 2)\n\
         --> absent/proxy.toml\n = help: name another file with `--config` or `PORTCULLIS_CONFIG`"
    );
    fs::write(folder.0.join("latin.toml"), b"version = 1\n# \xe9\n").unwrap();
    let latin = load_at(&folder.0.join("latin.toml"), NOW, &variable).unwrap_err();
    assert!(latin.to_string().ends_with("is not UTF-8 in line 2"), "{latin}");
    assert!(latin.render(false).ends_with("help: save it as UTF-8"), "{latin}");
    let wide: Vec<u8> = "version = 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.0.join("wide.toml"), wide).unwrap();
    let wide = load_at(&folder.0.join("wide.toml"), NOW, &variable).unwrap_err();
    assert!(wide.to_string().ends_with("is UTF-16LE, not UTF-8"), "{wide}");
    assert!(wide.render(false).contains("help: save it as UTF-8, as by `iconv -f UTF-16LE -t UTF-8 "), "{wide}");
    fs::write(folder.0.join("large.toml"), "#".repeat(4 * 1024 * 1024 + 1)).unwrap();
    let large = load_at(&folder.0.join("large.toml"), NOW, &variable).unwrap_err();
    assert!(large.to_string().ends_with("is larger than 4 MiB"), "{large}");
}

#[test]
fn an_audit_log_that_is_a_folder_wants_a_file_and_no_folder() {
    let folder = Folder::new("audit-folder", (2027, 3, 1));
    for (path, expected) in [
        (".", ["this is a folder", "help: name a file in it"]),
        ("absent/audit.jsonl", ["its folder does not exist", "help: create the folder"]),
    ] {
        let text = format!("{SMALLEST}[audit]\nsinks = [{{ type = \"file\", path = \"{path}\" }}]\n");
        folder.file("proxy.toml", &text);
        let said = load_at(&folder.0.join("proxy.toml"), NOW, &variable).unwrap_err().render(false);
        assert!(expected.iter().all(|part| said.contains(part)), "{path}: {said}");
    }
}
