//! Files the proxy has rotated: `audit-20261127T114500123Z.jsonl` is what `audit.jsonl` was until that moment, in UTC. By name they
//! stand in the order in which they were written, and before the file that is written now.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use super::reading::moment;
use super::sink::{self, Tail};
use crate::clock::Timestamp;

/// Length of a moment in a name.
const STAMP: usize = "20261127T114500123Z".len();

/// A rotated file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rotated {
    /// When it was rotated: no line in it is younger.
    pub(crate) until: Timestamp,
    pub(crate) path: PathBuf,
}

/// What a file name is made of.
struct Parts<'n> {
    stem: &'n [u8],
    extension: Option<&'n [u8]>,
}

impl<'n> Parts<'n> {
    fn of(name: &'n OsStr) -> Self {
        let path = Path::new(name);
        let (stem, extension) = (path.file_stem().unwrap_or(name), path.extension());
        Self { stem: stem.as_bytes(), extension: extension.map(OsStr::as_bytes) }
    }

    fn stamped(&self, until: Timestamp) -> OsString {
        let mut name = self.stem.to_vec();
        name.push(b'-');
        name.extend(until.rfc3339().into_iter().filter(u8::is_ascii_alphanumeric));
        if let Some(extension) = self.extension {
            name.push(b'.');
            name.extend_from_slice(extension);
        }
        OsString::from_vec(name)
    }
}

/// The name of the file that is written, and when this one was rotated; `None` for any other file.
pub(crate) fn read(name: &OsStr) -> Option<(OsString, Timestamp)> {
    let parts = Parts::of(name);
    let (stem, stamp) = parts.stem.split_at_checked(parts.stem.len().checked_sub(STAMP)?)?;
    let stamp = std::str::from_utf8(stamp).ok()?;
    let pieces = [0..4, 4..6, 6..11, 11..13, 13..15, 15..19].map(|range| stamp.get(range));
    let [Some(year), Some(month), Some(hour), Some(minute), Some(second), Some(millis)] = pieces else { return None };
    let until = moment(&format!("{year}-{month}-{hour}:{minute}:{second}.{millis}"))?;
    let mut written = stem.strip_suffix(b"-").filter(|stem| !stem.is_empty())?.to_vec();
    if let Some(extension) = parts.extension {
        written.push(b'.');
        written.extend_from_slice(extension);
    }
    let written = OsString::from_vec(written);
    // One way to write a name, so that names sort as times do.
    (Parts::of(&written).stamped(until) == name).then_some((written, until))
}

/// What was rotated of the file at `path`, the oldest first.
pub(crate) fn all(path: &Path) -> io::Result<Vec<Rotated>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder(path))? {
        let entry = entry?;
        if let Some((written, until)) = read(&entry.file_name())
            && path.file_name() == Some(&written)
            && entry.file_type()?.is_file()
        {
            all.push(Rotated { until, path: entry.path() });
        }
    }
    all.sort();
    Ok(all)
}

/// The name for the file at `path`, which is rotated `now`: after those of all before it, also where the clock was set back.
pub(in crate::audit) fn next(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let newest = all(path)?.pop();
    let until = newest.map_or(now, |newest| now.max(newest.until.plus(Duration::from_millis(1))));
    Ok(path.with_file_name(Parts::of(path.file_name().unwrap_or_default()).stamped(until)))
}

/// The last line of what was rotated of the file at `path`, which exists; `None` if nothing was.
pub(super) fn last_line(path: &Path) -> io::Result<Option<Tail>> {
    for rotated in all(&fs::canonicalize(path)?)?.into_iter().rev() {
        let (_, tail) = sink::read_tail(&fs::File::open(rotated.path)?)?;
        if !matches!(tail, Tail::Empty) {
            return Ok(Some(tail));
        }
    }
    Ok(None)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::path::Path;

    use super::{Parts, all, next, read};
    use crate::clock::Timestamp;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_614_400);

    #[test]
    fn names_are_read_as_written_and_no_others() {
        for (name, rotated) in [
            ("audit.jsonl", "audit-20260105T120000000Z.jsonl"),
            ("audit", "audit-20260105T120000000Z"),
            ("a.b-c.jsonl", "a.b-c-20260105T120000000Z.jsonl"),
        ] {
            assert_eq!(Parts::of(OsStr::new(name)).stamped(NOW), rotated);
            assert_eq!(read(OsStr::new(rotated)), Some((name.into(), NOW)));
        }
        for other in [
            "audit.jsonl",
            "audit.jsonl.1",
            "audit-20260105.jsonl",
            "audit-20260105T120000000Z.jsonl.gz",
            "audit-20261305T120000000Z.jsonl",
            "audit-20260105T12000000.Z.jsonl",
            "audit20260105T120000000Z.jsonl",
            "-20260105T120000000Z.jsonl",
            "audit-20260105T120000000z.jsonl",
            "audit-2026é105T12000000Z.jsonl",
        ] {
            // With another extension it belongs to another file.
            assert_ne!(read(OsStr::new(other)).map(|(name, _)| name), Some("audit.jsonl".into()), "{other}");
        }
    }

    #[test]
    fn names_rise_whatever_the_clock_does() {
        let folder = std::env::temp_dir().join(format!("portcullis-rotated-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("audit.jsonl");
        for earlier in [0, 0, 1, 3600, 400] {
            let name = next(&path, Timestamp::from_unix_seconds(NOW.unix_seconds() - earlier)).unwrap();
            fs::write(name, "").unwrap();
        }
        fs::write(folder.join("audit-b-20260105T120000000Z.jsonl"), "").unwrap();
        fs::write(&path, "").unwrap();
        let names: Vec<_> = all(&path).unwrap().iter().map(|rotated| name_of(&rotated.path)).collect();
        let millis = |at: usize| format!("audit-20260105T12000000{at}Z.jsonl");
        assert_eq!(names, [0, 1, 2, 3, 4].map(millis));
        let mut sorted = names.clone();
        sorted.push("audit.jsonl".to_owned());
        sorted.sort();
        assert_eq!(sorted.last().unwrap(), "audit.jsonl", "the newest is the last by name");
        fs::remove_dir_all(folder).unwrap();
    }

    fn name_of(path: &Path) -> String {
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }
}
