use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Keys, PREFIX, Subjects, network};
use crate::audit::Subject;

const ISSUER: &str = "https://login.example.com/realms/acme";

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-subjects-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let folder = Self(folder);
        fs::write(folder.key(), b"0123456789abcdefghijklmnopqrstuv").unwrap();
        fs::set_permissions(folder.key(), fs::Permissions::from_mode(0o640)).unwrap();
        folder
    }

    fn key(&self) -> PathBuf {
        self.0.join("subjects.key")
    }

    fn digest(&self, subject: &str) -> String {
        Keys::read(&self.key()).unwrap().digest(ISSUER, subject)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn rendered(subjects: &Subjects, subject: &str, actors: &[&str]) -> Value {
    let fragment = subjects.render(&Subject {
        issuer: ISSUER,
        subject,
        client_id: Some("client-of-ana"),
        scopes: &["crm:read"],
        token_id: Some("token-of-ana"),
        key_id: Some("k1"),
        actors,
    });
    let line: Value = serde_json::from_slice(&[b"{\"v\":1", &*fragment.0, b"}"].concat()).unwrap();
    line["subject"].clone()
}

#[test]
fn a_subject_is_told_by_digests_and_erased_alone() {
    let folder = Folder::new();
    let subjects = Subjects::open(&folder.key()).unwrap();
    let before = rendered(&subjects, "ana", &["bot", "ana"]);
    let text = before.to_string();
    assert!(!text.contains("ana") && !text.contains("bot"), "{text}");
    assert_eq!(
        (&before["iss"], &before["scopes"], &before["kid"]),
        (&json!(ISSUER), &json!(["crm:read"]), &json!("k1"))
    );
    let names = [&before["sub"], &before["client_id"], &before["jti"], &before["act"][0]];
    for (at, name) in names.iter().enumerate() {
        let name = name.as_str().unwrap();
        assert!(name.starts_with(PREFIX) && name.len() == PREFIX.len() + 32, "{name}");
        assert!(names.iter().skip(at + 1).all(|other| *other != name), "{name} is another's");
    }
    assert_eq!((&before["sub"], &before["act"][1]), (&json!(folder.digest("ana")), &before["sub"]));
    assert_eq!(before["act"][0], folder.digest("bot"));
    assert_eq!(rendered(&subjects, "ana", &["bot", "ana"]), before, "each time the same");
    assert_ne!(rendered(&subjects, "max", &[])["client_id"], before["client_id"], "a client does not link its users");

    assert_eq!(Keys::erase(&folder.key(), ISSUER, "ana").unwrap(), before["sub"]);
    assert_eq!(subjects.read_again().unwrap(), 1);
    let after = rendered(&subjects, "ana", &["bot", "ana"]);
    for member in ["sub", "client_id", "jti"] {
        assert_ne!(after[member], before[member], "{member}");
    }
    assert_eq!((&after["act"][0], &after["act"][1]), (&before["act"][0], &after["sub"]));
    assert_ne!(after["act"][1], before["act"][1]);
    let keys = Keys::read(&folder.key()).unwrap();
    assert_eq!((keys.lives(ISSUER, "ana"), keys.lives(ISSUER, "max"), keys.erased()), (1, 0, 1));
    assert_eq!(keys.lives("https://other", "ana"), 0, "another issuer's");

    assert_eq!(Keys::erase(&folder.key(), ISSUER, "ana").unwrap(), after["sub"]);
    assert_eq!((subjects.read_again().unwrap(), Keys::read(&folder.key()).unwrap().lives(ISSUER, "ana")), (1, 2));
    assert_eq!(fs::metadata(folder.key()).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_cannot_be_erased_or_read_stays_as_it_is() {
    let folder = Folder::new();
    let subjects = Subjects::open(&folder.key()).unwrap();
    let before = rendered(&subjects, "ana", &[]);
    let other = folder.0.join(".subjects.key.new");
    fs::write(&other, "").unwrap();
    let refused = Keys::erase(&folder.key(), ISSUER, "ana").unwrap_err().to_string();
    assert!(refused.contains("somebody else replaces it"), "{refused}");
    assert!(other.exists(), "it is somebody else's");
    fs::remove_file(other).unwrap();
    assert_eq!(folder.digest("ana"), before["sub"]);

    Keys::erase(&folder.key(), ISSUER, "max").unwrap();
    let text = fs::read_to_string(folder.key()).unwrap();
    for (wrong, expected) in [
        (text.replacen("\n64 ", "\n65 ", 1), " of `"),
        ("short".to_owned(), "must hold 32 random bytes"),
        (String::new(), "must hold 32 random bytes"),
    ] {
        fs::write(folder.key(), wrong).unwrap();
        let error = subjects.read_again().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(Keys::erase(&folder.key(), ISSUER, "ana").is_err());
        assert_eq!(rendered(&subjects, "ana", &[]), before);
    }
}

#[test]
fn an_address_is_told_by_its_network() {
    for (address, expected) in [
        ("10.2.3.4", "10.2.3.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::1", "::/48"),
    ] {
        assert_eq!(network(address.parse().unwrap()), expected);
    }
}
