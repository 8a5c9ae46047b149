//! Reads an audit file as it grows, and goes on in the next one when it is rotated.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::lines::LINE;

/// How much of the end of a file is searched first for its last lines.
const WINDOW: u64 = 256 * 1024;

/// One audit file, and up to where its lines were taken.
///
/// Only whole lines are: what a writer has not finished is read again.
#[derive(Debug)]
pub(crate) struct Follow {
    path: PathBuf,
    file: Option<File>,
    /// Where the next line begins.
    at: u64,
    /// Whether `at` is inside a line that is left out.
    inside: bool,
}

impl Follow {
    /// Follows the file at `path` from its beginning; it need not exist yet.
    pub(crate) fn from_start(path: &Path) -> Self {
        Self { path: path.to_owned(), file: File::open(path).ok(), at: 0, inside: false }
    }

    /// Follows what the file at `path` gains from now on; it need not exist yet.
    pub(crate) fn from_end(path: &Path) -> Self {
        let mut follow = Self::from_start(path);
        follow.at = follow.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |about| about.len());
        follow
    }

    /// Whether there is a file.
    pub(crate) const fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// Hands over the lines at the end of the file until `take`, which is told when they begin anew, says that they are
    /// enough or they begin with the first. Goes on after the last whole one.
    pub(crate) fn last(&mut self, take: &mut dyn Last) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let size = file.metadata()?.len();
        let mut window = WINDOW;
        loop {
            // One byte more: if it ends a line, the window begins with a whole one.
            let start = size.saturating_sub(window + 1);
            (self.at, self.inside) = (start, start > 0);
            take.begin();
            self.drain(&mut |line| take.line(line))?;
            if start == 0 || take.is_enough() {
                return Ok(());
            }
            window = window.saturating_mul(4);
        }
    }

    /// Hands over the lines that came since the last call.
    pub(crate) fn lines(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.drain(take)?;
        while let Some(next) = self.next_file() {
            // Nothing comes to the old file once the new one has a line, but it may have come since it was read.
            self.drain(take)?;
            (self.file, self.at, self.inside) = (Some(next), 0, false);
            self.drain(take)?;
        }
        Ok(())
    }

    /// The file that has taken this one's place, once there is something in it.
    fn next_file(&self) -> Option<File> {
        let file = File::open(&self.path).ok()?;
        let about = file.metadata().ok()?;
        let known = self.file.as_ref().and_then(|file| file.metadata().ok());
        let id = |about: &Metadata| (about.dev(), about.ino());
        let is_next = known.is_none_or(|known| id(&known) != id(&about) && about.len() > 0);
        is_next.then_some(file)
    }

    /// Hands over every whole line from `at` on.
    fn drain(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if file.metadata()?.len() < self.at {
            // Emptied in place, to be written anew.
            (self.at, self.inside) = (0, false);
        }
        let mut buffer = vec![0; LINE + 1];
        loop {
            let filled = match file.read_at(&mut buffer, self.at) {
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut rest = &buffer[..filled];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let line = rest[..end].trim_ascii();
                if !std::mem::take(&mut self.inside) && !line.is_empty() {
                    take(line);
                }
                self.at += end as u64 + 1;
                rest = &rest[end + 1..];
            }
            if rest.len() == buffer.len() || self.inside {
                // Longer than any line of the proxy.
                self.at += rest.len() as u64;
                self.inside |= !rest.is_empty();
            }
            if filled < buffer.len() {
                return Ok(());
            }
        }
    }
}

/// Who takes the last lines of a file.
pub(crate) trait Last {
    /// What was taken is forgotten: the lines come again, from an earlier one on.
    fn begin(&mut self);
    /// The next line.
    fn line(&mut self, line: &[u8]);
    /// Whether no earlier lines are needed.
    fn is_enough(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::{Follow, Last};

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("portcullis-follow-{}", uuid::Uuid::now_v7()));
            fs::create_dir(&folder).unwrap();
            Self(folder)
        }

        fn append(&self, name: &str, text: &str) {
            let mut file = OpenOptions::new().append(true).create(true).open(self.0.join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn new_lines(follow: &mut Follow) -> Vec<String> {
        let mut lines = Vec::new();
        follow.lines(&mut |line| lines.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
        lines
    }

    #[test]
    fn takes_each_whole_line_once_through_pieces_and_rotation() {
        let folder = Folder::new();
        folder.append("a", "before\n");
        let mut follow = Follow::from_end(&folder.0.join("a"));
        let none: [&str; 0] = [];
        assert_eq!(new_lines(&mut follow), none);
        folder.append("a", "1\n2");
        assert_eq!(new_lines(&mut follow), ["1"]);
        folder.append("a", "2\n\n");
        assert_eq!(new_lines(&mut follow), ["22"]);
        // Renamed: the writer goes on with the old file until it is told, and the new one may be there before that.
        fs::rename(folder.0.join("a"), folder.0.join("a.1")).unwrap();
        folder.append("a.1", "3\n");
        assert_eq!(new_lines(&mut follow), ["3"]);
        folder.append("a", "");
        folder.append("a.1", "4\n");
        assert_eq!(new_lines(&mut follow), ["4"]);
        folder.append("a.1", "5\n");
        folder.append("a", "6\n7");
        assert_eq!(new_lines(&mut follow), ["5", "6"]);
        folder.append("a", "\n");
        assert_eq!(new_lines(&mut follow), ["7"]);
        fs::remove_file(folder.0.join("a")).unwrap();
        assert_eq!(new_lines(&mut follow), none);
        folder.append("a", "8\n");
        assert_eq!(new_lines(&mut follow), ["8"]);
        fs::write(folder.0.join("a"), "").unwrap();
        assert_eq!(new_lines(&mut follow), none);
        folder.append("a", "9\n");
        assert_eq!(new_lines(&mut follow), ["9"]);
    }

    #[test]
    fn a_file_may_come_later_and_endless_lines_are_left_out() {
        let folder = Folder::new();
        let mut follow = Follow::from_end(&folder.0.join("a"));
        assert!(!follow.is_there() && new_lines(&mut follow).is_empty());
        let long = "x".repeat(200_000);
        folder.append("a", &format!("1\n{long}"));
        assert_eq!(new_lines(&mut follow), ["1"]);
        folder.append("a", &format!("{long}\n2\n"));
        assert_eq!(new_lines(&mut follow), ["2"]);
        folder.append("a", &format!("{long}\n{}\n3\n", "y".repeat(65_536)));
        assert_eq!(new_lines(&mut follow), ["y".repeat(65_536).as_str(), "3"]);
    }

    struct Some3(Vec<String>, usize);

    impl Last for Some3 {
        fn begin(&mut self) {
            self.0.clear();
            self.1 += 1;
        }

        fn line(&mut self, line: &[u8]) {
            self.0.push(String::from_utf8(line.to_vec()).unwrap());
        }

        fn is_enough(&self) -> bool {
            self.0.iter().filter(|line| line.starts_with('m')).count() >= 3
        }
    }

    #[test]
    fn looks_back_as_far_as_it_must() {
        for (rare, windows) in [(10, 1), (100_000, 3)] {
            let folder = Folder::new();
            let line = |at: u64| format!("{}{at:>9}", if at.is_multiple_of(rare) { 'm' } else { '-' });
            let all: Vec<String> = (0..200_001).map(line).collect();
            folder.append("a", &all.join("\n"));
            folder.append("a", "\npartial");
            let mut follow = Follow::from_start(&folder.0.join("a"));
            let mut last = Some3(Vec::new(), 0);
            follow.last(&mut last).unwrap();
            assert_eq!(last.1, windows);
            assert_eq!(last.0, all[all.len() - last.0.len()..], "a line was cut or left out");
            folder.append("a", " no more\n");
            assert_eq!(new_lines(&mut follow), ["partial no more"]);
        }
    }
}
