//! The files of a record: one, those of a folder, or those whose names match a pattern, the oldest first.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use regex::Regex;

use super::lines::Lines;
use super::reading::moment;
use super::rotated;
use crate::clock::Timestamp;

/// How a record begins, up to its time.
const BEGIN: &[u8] = b"{\"v\":1,\"time\":\"";
/// Length of a time.
const TIME: usize = "2026-11-27T12:00:00.000Z".len();

/// The files that `named` stands for: all files with records in a folder, those a pattern such as `audit*.jsonl` matches in
/// its folder, or else the file of that name, whether it exists or not. Errs if a folder or a pattern stands for none.
pub(crate) fn files(named: &Path) -> io::Result<Vec<PathBuf>> {
    let pattern = named.file_name().and_then(|name| name.to_str()).filter(|name| name.contains(['*', '?']));
    if named.is_dir() && named.as_os_str() != "-" {
        let mut found = Vec::new();
        for path in regular(named)? {
            if begins(&path)?.is_some() {
                found.push(path);
            }
        }
        return some(found, "no file in this folder begins with a record");
    }
    let Some(pattern) = pattern.filter(|_| !named.exists()) else { return Ok(vec![named.to_owned()]) };
    let text = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
    let pattern = Regex::new(&format!("^(?s:{text})$")).map_err(io::Error::other)?;
    let folder = named.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = regular(folder)?;
    found.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| pattern.is_match(name)));
    some(found, "no file matches this pattern")
}

/// The file at `path`, after what the proxy has rotated of it.
pub(crate) fn with_rotated(path: &Path) -> Vec<PathBuf> {
    let rotated = fs::canonicalize(path).and_then(|path| rotated::all(&path)).unwrap_or_default();
    rotated.into_iter().map(|rotated| rotated.path).chain([path.to_owned()]).collect()
}

fn some(found: Vec<PathBuf>, none: &'static str) -> io::Result<Vec<PathBuf>> {
    if found.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, none)) } else { in_order(found) }
}

/// Files of a folder that are not hidden.
fn regular(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.is_file() {
            all.push(path);
        }
    }
    Ok(all)
}

/// The time of a file's first record, before which there may be what a failed write has left.
fn begins(path: &Path) -> io::Result<Option<Timestamp>> {
    let mut lines = Lines::new(BufReader::new(File::open(path)?));
    for _ in 0..2 {
        let Some(Ok(line)) = lines.next()? else { return Ok(None) };
        let time = line.strip_prefix(BEGIN).and_then(|rest| rest.get(..TIME));
        if let Some(time) = time.and_then(|time| moment(std::str::from_utf8(time).ok()?)) {
            return Ok(Some(time));
        }
    }
    Ok(None)
}

/// The oldest first: what the proxy has rotated by the moment in its name, other files by their first record, and the file that is
/// being written last.
fn in_order(files: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    let name = |path: &PathBuf| path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    let written: Vec<OsString> =
        files.iter().filter_map(|path| rotated::read(&name(path))).map(|(written, _)| written).collect();
    let mut keyed = Vec::with_capacity(files.len());
    for path in files {
        let name = name(&path);
        let rotated = rotated::read(&name).map(|(_, until)| until);
        let time = match rotated {
            Some(until) => until,
            None => begins(&path)?.unwrap_or_default(),
        };
        keyed.push(((written.contains(&name), time, rotated.is_none(), name), path));
    }
    keyed.sort();
    Ok(keyed.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{files, with_rotated};

    struct Folder(PathBuf);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = std::env::temp_dir().join(format!("portcullis-set-{}", uuid::Uuid::now_v7()));
            fs::create_dir(&folder).unwrap();
            for (name, time) in files {
                fs::write(folder.join(name), format!("{{\"v\":1,\"time\":\"2026-01-{time}.000Z\",\"event\":\"end\""))
                    .unwrap();
            }
            Self(folder)
        }

        fn names(&self, of: &str) -> Vec<String> {
            names(&files(&self.0.join(of)).unwrap())
        }
    }

    fn names(paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_folder_or_a_pattern_is_its_files_in_the_order_they_were_written() {
        let folder = Folder::new(&[
            // The clock was set back before the newest was begun.
            ("audit.jsonl", "01T00:00:00"),
            ("audit-20260104T000000000Z.jsonl", "03T00:00:00"),
            ("audit-20260103T000000000Z.jsonl", "02T00:00:00"),
            // Others rotated these.
            ("audit.jsonl.1", "01T12:00:00"),
            ("audit.jsonl.2", "01T06:00:00"),
        ]);
        fs::write(folder.0.join("audit.pem"), "-----BEGIN").unwrap();
        fs::write(folder.0.join(".audit.jsonl.swp"), "{\"v\":1,\"time\":\"2026-01-01T00:00:00.000Z\"").unwrap();
        let rotated = ["audit-20260103T000000000Z.jsonl", "audit-20260104T000000000Z.jsonl", "audit.jsonl"];
        let all: Vec<&str> = ["audit.jsonl.2", "audit.jsonl.1"].into_iter().chain(rotated).collect();
        assert_eq!(folder.names(""), all);
        assert_eq!(folder.names("audit*.jsonl"), rotated);
        assert_eq!(folder.names("audit.jsonl"), ["audit.jsonl"]);
        assert_eq!(folder.names("absent.jsonl"), ["absent.jsonl"]);
        assert_eq!(names(&with_rotated(&folder.0.join("audit.jsonl"))), rotated);
        assert_eq!(names(&with_rotated(Path::new("absent/audit.jsonl"))), ["audit.jsonl"]);
        fs::write(folder.0.join("a*"), "").unwrap();
        assert_eq!(folder.names("a*"), ["a*"], "a file that has this name");
    }

    #[test]
    fn none_is_said() {
        let folder = Folder::new(&[("audit.jsonl", "noon")]);
        assert_eq!(files(&folder.0).unwrap_err().to_string(), "no file in this folder begins with a record");
        assert_eq!(files(&folder.0.join("*.json")).unwrap_err().to_string(), "no file matches this pattern");
        assert_eq!(folder.names("audit?jsonl"), ["audit.jsonl"]);
    }
}
