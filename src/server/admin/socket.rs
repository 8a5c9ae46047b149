//! The Unix socket of the admin endpoints, which only the process's own user can open.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Read and write by the owner.
const MODE: u32 = 0o600;

/// A listening socket, and the file by which it is found.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Device and number of the file, so that another process's is not removed.
    file: (u64, u64),
}

impl Socket {
    /// Listens at `path`; a socket that nobody listens at any more is replaced. Errs if something else is there, or the file
    /// cannot be made.
    pub fn bind(path: &Path) -> io::Result<(Self, UnixListener)> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(there) if !there.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket is there"));
            }
            Ok(_) if Probe::connect(path).is_ok() => {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
            }
            Ok(_) => {}
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        // It gets its name only once nobody else can open it.
        let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(MODE)).and_then(|()| {
            let made = fs::symlink_metadata(&beside)?;
            fs::rename(&beside, path)?;
            Ok((made.dev(), made.ino()))
        });
        let file = placed.inspect_err(|_| drop(fs::remove_file(&beside)))?;
        Ok((Self { path: path.to_owned(), file }, listener))
    }

    /// The path it is found by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, unless another process has put its own there.
    pub fn remove(&self) {
        let own = fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.file);
        if own && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "admin socket cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    use super::Socket;

    #[tokio::test]
    async fn is_the_owners_alone_and_replaces_only_what_is_dead() {
        let folder = std::env::temp_dir().join(format!("portcullis-socket-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("admin.sock");
        let (socket, listener) = Socket::bind(&path).unwrap();
        let there = std::fs::metadata(&path).unwrap();
        assert!(there.file_type().is_socket() && there.permissions().mode() & 0o777 == 0o600);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left beside it");
        assert_eq!(Socket::bind(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        drop(listener);
        let (newer, _listener) = Socket::bind(&path).unwrap();
        socket.remove();
        assert!(path.exists(), "it is the other's by now");
        newer.remove();
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(Socket::bind(&path).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert!(Socket::bind(&folder.join("absent/admin.sock")).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
