//! Whether the audit log is writable, found out without opening it: a running proxy may have it open, and the check leaves
//! nothing behind.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, faccessat, geteuid};

use crate::config::{AuditSink, Config, Problem};

/// Links that are followed to a file that is not there yet.
const LINKS: usize = 8;

/// What stands in the way of the log.
#[derive(Debug)]
struct Obstacle {
    /// Whether only what is written is lost, and opening works.
    full: bool,
    label: String,
    help: String,
}

/// What stands in the way of a log at `path`, if anything does.
fn obstacle(path: &Path) -> Option<Obstacle> {
    let (what, wanted, of) = if path.exists() {
        (path.to_owned(), AccessFlags::R_OK | AccessFlags::W_OK, "the file")
    } else {
        (folder(path), AccessFlags::W_OK | AccessFlags::X_OK, "its folder")
    };
    match faccessat(AT_FDCWD, &what, wanted, AtFlags::AT_EACCESS) {
        Ok(()) => is_full(&what).then(|| Obstacle {
            full: true,
            label: "there is no room left on its disk".to_owned(),
            help: "make room: until then calls are refused, or not recorded with `on_error = \"drop\"`".to_owned(),
        }),
        Err(errno) => Some(Obstacle {
            full: false,
            label: format!("{of} cannot be written: {errno}"),
            help: remedy(errno, &what),
        }),
    }
}

/// The same where `proxy.toml` names the log; a warning if it can be opened all the same.
pub(crate) fn problem(config: &Config) -> Option<Problem> {
    let AuditSink::File(path) = &config.audit.sink else { return None };
    let Obstacle { full, label, help } = obstacle(path)?;
    let make = if full { Problem::warning } else { Problem::error };
    let message = format!("cannot write the audit log `{}`", path.display());
    Some(make(&config.source(), config.place("audit.sinks.0.path"), message, label).help(help))
}

/// The folder a file that is not there would be made in: behind a link, that of what it leads to.
fn folder(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether a file system with blocks has none left for this user.
fn is_full(path: &Path) -> bool {
    statvfs(path).is_ok_and(|room| {
        let left = if geteuid().is_root() { room.blocks_free() } else { room.blocks_available() };
        room.blocks() > 0 && left == 0
    })
}

fn remedy(errno: Errno, what: &Path) -> String {
    match errno {
        Errno::EROFS => "mount something there that can be written, or record to standard output".to_owned(),
        Errno::ENOENT | Errno::ENOTDIR => format!("create the folder `{}`", what.display()),
        _ => {
            let user = geteuid();
            format!("give user {user} the right to write `{}`, or run this as the user of the proxy", what.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Obstacle, obstacle};

    #[test]
    fn nothing_is_left_behind_and_nothing_is_touched() {
        let folder = std::env::temp_dir().join(format!("portcullis-probe-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(folder.join("behind")).unwrap();
        let (there, link) = (folder.join("audit.jsonl"), folder.join("link.jsonl"));
        fs::write(&there, "{\"v\":1").unwrap();
        std::os::unix::fs::symlink("behind/audit.jsonl", &link).unwrap();
        for path in [&there, &link, &folder.join("new.jsonl")] {
            assert!(obstacle(path).is_none(), "{}", path.display());
        }
        fs::remove_dir(folder.join("behind")).unwrap();
        let Some(Obstacle { full: false, label, help }) = obstacle(&link) else { panic!("it leads nowhere") };
        assert_eq!(label, "its folder cannot be written: ENOENT: No such file or directory");
        assert!(help.starts_with("create the folder `") && help.ends_with("/behind`"), "{help}");
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["audit.jsonl", "link.jsonl"]);
        assert_eq!(fs::read_to_string(&there).unwrap(), "{\"v\":1");
        fs::remove_dir_all(folder).unwrap();
    }
}
