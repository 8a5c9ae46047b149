use std::fs;
use std::path::PathBuf;

use super::*;

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-secret-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn reads_every_source_and_cuts_one_line_break() {
    let folder = Folder::new("sources");
    let directory = folder.0.clone();
    let variable = move |name: &str| match name {
        "TOKEN" => Some(OsString::from("from-env")),
        "CREDENTIALS_DIRECTORY" => Some(directory.clone().into_os_string()),
        _ => None,
    };
    folder.file("crm", b"from-credential\r\n");
    for (source, expected) in [
        (SecretSource::File(folder.file("a", b"from-file\n")), "from-file"),
        (SecretSource::File(folder.file("b", " spaces kept é ".as_bytes())), " spaces kept é "),
        (SecretSource::Env("TOKEN".to_owned()), "from-env"),
        (SecretSource::Credential("crm".to_owned()), "from-credential"),
        (SecretSource::Value(Secret::new("inline".to_owned())), "inline"),
    ] {
        assert_eq!(source.resolve_with(&variable).unwrap().expose(), expected);
    }
}

#[test]
fn refuses_without_saying_what_was_read() {
    let folder = Folder::new("refused");
    let path = |name: &str| folder.0.join(name).display().to_string();
    for (name, bytes, expected) in [
        ("empty", b"".as_slice(), "is empty"),
        ("break", b"\n", "is empty"),
        ("two", b"s3cr3t\n\n", "holds a control character"),
        ("nul", b"s3cr3t\0", "holds a control character"),
        ("latin", b"s3cr3t\xff", "is not text"),
        ("large", "s".repeat(65_537).as_bytes(), "is larger than 64 KiB"),
    ] {
        let error = SecretSource::File(folder.file(name, bytes)).resolve().unwrap_err();
        assert_eq!(error.to_string(), format!("the file `{}` {expected}", path(name)));
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }
    let absent = SecretSource::File(folder.0.join("absent")).resolve().unwrap_err();
    assert!(absent.to_string().contains("cannot be read"), "{absent}");
    let none = |_: &str| None;
    let unset = SecretSource::Env("TOKEN".to_owned()).resolve_with(&none).unwrap_err();
    assert_eq!(unset.to_string(), "the environment variable `TOKEN` is not set");
    let unset = SecretSource::Credential("crm".to_owned()).resolve_with(&none).unwrap_err();
    assert_eq!(unset.to_string(), "`$CREDENTIALS_DIRECTORY`, which holds the credential `crm`, is not set");
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let folder = Folder::new("no-file");
    let pipe = folder.0.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe, folder.0.clone(), PathBuf::from("/dev/zero")] {
        let error = SecretSource::File(path.clone()).resolve().unwrap_err();
        assert_eq!(error.to_string(), format!("the file `{}` is not a regular file", path.display()));
    }
}

#[test]
fn reads_sealing_keys_in_every_spelling() {
    let folder = Folder::new("keys");
    let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 + 1).unwrap_or(0));
    let spellings = [
        key.to_vec(),
        format!("{}\n", HEXLOWER_PERMISSIVE.encode(&key)).into_bytes(),
        format!("{}\n", HEXLOWER_PERMISSIVE.encode(&key).to_uppercase()).into_bytes(),
        BASE64URL_NOPAD.encode(&key).into_bytes(),
        format!("{}\r\n", BASE64.encode(&key)).into_bytes(),
    ];
    let at = |file| SealingKey { id: "k1".to_owned(), file, seal_from: None, open_until: None };
    for (at_index, spelling) in spellings.iter().enumerate() {
        let read = at(folder.file(&at_index.to_string(), spelling)).read().unwrap();
        assert_eq!(*read.expose(), key);
    }
    for (name, bytes, expected) in [
        ("short", &key[..31], "does not hold 32 bytes"),
        ("empty", &[], "is empty"),
        ("zero", &[0; 32], "one byte repeated"),
    ] {
        let error = at(folder.file(name, bytes)).read().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn sees_modes_that_let_everybody_in() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("modes");
    let path = folder.file("a", b"x");
    for (mode, expected) in
        [(0o600, None), (0o640, None), (0o644, Some(Exposure::Readable)), (0o602, Some(Exposure::Writable))]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(exposure(&path), expected);
    }
}
