use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// A file that will take the place of another, beside it. While there is one, nobody else makes one.
#[derive(Debug)]
pub(super) struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Replacement {
    /// Begins to replace the file at `path`, which may be a link to it. Errs if somebody else does.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.new"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(|error| {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return error;
            }
            let text = format!("somebody else replaces it; if not, remove `{}`", temporary.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self { path, temporary, file })
    }

    /// Has `content` be in the place of what was there, for the same user and with the same mode. The disk has the one or the
    /// other, and what was there is overwritten, as far as a file system does that in place.
    pub(super) fn put(mut self, content: &[u8]) -> io::Result<()> {
        let about = fs::metadata(&self.path)?;
        self.file.write_all(content)?;
        let ours = self.file.metadata()?;
        if (ours.uid(), ours.gid()) != (about.uid(), about.gid()) {
            fchown(&self.file, Some(about.uid()), Some(about.gid()))?;
        }
        self.file.set_permissions(fs::Permissions::from_mode(about.permissions().mode() & 0o7777))?;
        self.file.sync_all()?;
        let mut old = OpenOptions::new().write(true).open(&self.path)?;
        fs::rename(&self.temporary, &self.path)?;
        io::copy(&mut io::repeat(0).take(about.len()), &mut old)?;
        old.sync_all()?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Where it has taken the other's place there is none of this name.
        let _ = fs::remove_file(&self.temporary);
    }
}
