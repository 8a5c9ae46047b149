//! The files a configuration is read from, and whether they stayed the same while they were read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::config::{self, Config, Problem, Problems, Source};

/// How often files that change meanwhile are read again.
const ATTEMPTS: usize = 5;

/// What files held when they were looked at: the SHA-256 of each, in order. An unreadable file counts as empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents(Vec<(PathBuf, [u8; 32])>);

impl Contents {
    /// Looks at every file of a configuration; `path` is that of `proxy.toml`.
    pub(super) fn of(path: Option<&Path>, config: &Config) -> Self {
        let mut contents = Self::default();
        contents.look(path.map(Path::to_owned));
        contents.look(beside(config));
        contents
    }

    /// Looks at more files.
    pub(super) fn look(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        self.0.extend(files.into_iter().map(|file| {
            let digest = now(&file);
            (file, digest)
        }));
    }

    /// The files.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.iter().map(|(file, _)| file)
    }

    /// A file that holds something else by now.
    fn changed(&self) -> Option<&Path> {
        self.0.iter().find(|(file, digest)| now(file) != *digest).map(|(file, _)| file.as_path())
    }
}

fn now(file: &Path) -> [u8; 32] {
    let bytes = std::fs::read(file).unwrap_or_default();
    let hash = digest::digest(&digest::SHA256, &bytes);
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

/// The files besides `proxy.toml` whose change causes a reload.
pub(super) fn beside(config: &Config) -> Vec<PathBuf> {
    let policies = config.servers.values().flat_map(|server| config.policy_files(server));
    let tls = config.server.tls.iter().flat_map(config::Tls::files);
    let locks = config.servers.values().filter_map(|server| server.tools.lock.clone());
    let revoked = config.issuers.values().filter_map(|issuer| issuer.revocation_file.clone());
    let sealing = config.sealing.keys.iter().map(|key| key.file.clone());
    let subjects = config.audit.subjects_key.clone();
    let others = locks.chain(tls).chain(revoked).chain(sealing).chain(subjects);
    policies.chain(others).chain(config.credential_files()).collect()
}

/// Reads files until none of them has changed meanwhile, so that what was read is of one moment: `read` looks at each file
/// before it reads it. Errs with a file that changed every time.
pub(super) fn steady<T>(mut read: impl FnMut(&mut Contents) -> T) -> Result<(T, Contents), PathBuf> {
    let mut last = PathBuf::new();
    for _ in 0..ATTEMPTS {
        let mut seen = Contents::default();
        let value = read(&mut seen);
        match seen.changed() {
            None => return Ok((value, seen)),
            Some(file) => file.clone_into(&mut last),
        }
    }
    Err(last)
}

/// The problem of a file that changed each time it was read.
pub(super) fn unsteady(file: PathBuf) -> Problems {
    let message = format!("the file changed while it was read, {ATTEMPTS} times in a row");
    let problem = Problem::error(&Arc::new(Source::new(file, String::new())), 0..0, message, "");
    [problem.help("put a whole file in place by renaming it")].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{ATTEMPTS, steady};

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("portcullis-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&folder).unwrap();
            Self(folder)
        }

        /// Writes the two files, and reads them one after the other, with `meanwhile` in between.
        fn read(&self, mut meanwhile: impl FnMut(usize)) -> (usize, Result<String, PathBuf>) {
            let mut attempt = 0;
            let read = steady(|seen| {
                seen.look([self.file("a"), self.file("b")]);
                let first = fs::read_to_string(self.file("a")).unwrap_or_default();
                meanwhile(attempt);
                attempt += 1;
                first + &fs::read_to_string(self.file("b")).unwrap_or_default()
            });
            (attempt, read.map(|(text, _)| text))
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn write(&self, text: &str) {
            fs::write(self.file("a"), text).unwrap();
            fs::write(self.file("b"), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_read_is_of_one_moment() {
        let folder = Folder::new();
        folder.write("1");
        assert_eq!(folder.read(|_| ()), (1, Ok("11".to_owned())));
        let once = |attempt| {
            if attempt == 0 {
                folder.write("2");
            }
        };
        assert_eq!(folder.read(once), (2, Ok("22".to_owned())), "half of each is never used");
        let removed = |attempt| {
            if attempt == 0 {
                fs::remove_file(folder.file("b")).unwrap();
            }
        };
        assert_eq!(folder.read(removed), (2, Ok("2".to_owned())));
        let always = |attempt| folder.write(&format!("x{attempt}"));
        assert_eq!(folder.read(always), (ATTEMPTS, Err(folder.file("a"))));
    }
}
