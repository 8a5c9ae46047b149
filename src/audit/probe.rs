//! Whether the audit log is writable, found out without opening it: a running proxy may have it open, and the check leaves
//! nothing behind.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, faccessat, geteuid};

use crate::config::{AuditSink, Config, Problem};

/// The most symbolic links followed to a file that does not exist yet.
const LINKS: usize = 8;

/// Why the log cannot be opened or written.
#[derive(Debug)]
struct Obstacle {
    /// Whether the file system is full: the log can be opened, and writes fail.
    full: bool,
    label: String,
    help: String,
}

/// Why a log at `path` cannot be opened or written, if so.
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

/// The same as a problem of `proxy.toml`, at the log's path: an error, or a warning if the log can be opened.
pub(crate) fn problem(config: &Config) -> Option<Problem> {
    let AuditSink::File(path) = &config.audit.sink else { return unused(config) };
    let Obstacle { full, label, help } = obstacle(path)?;
    let make = if full { Problem::warning } else { Problem::error };
    let message = format!("cannot write the audit log `{}`", path.display());
    Some(make(&config.source(), config.place("audit.sinks.0.path"), message, label).help(help))
}

/// What of the configuration needs a file, where there is none.
fn unused(config: &Config) -> Option<Problem> {
    config.audit.rotate?;
    let message = "`audit.rotate` has no effect without a sink of `type = \"file\"`";
    let problem = Problem::warning(&config.source(), config.place("audit.rotate"), message, "there is no file");
    Some(problem.help("write `sinks = [{ type = \"file\", path = \"audit.jsonl\" }]`"))
}

/// The folder a missing file would be created in: for a symbolic link, the folder of its target.
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

/// Whether the file system has no blocks left for this user. File systems without blocks are never full.
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
