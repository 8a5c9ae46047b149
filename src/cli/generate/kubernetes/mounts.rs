//! The files a pod reads: `proxy.toml` and policies from a `ConfigMap`, all others from Secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::super::deployed::{Deployed, Refusal};
use super::{CONFIG, CREDENTIALS, Names};

/// What a `ConfigMap` may hold, less what its own description takes.
const MOST_BYTES: usize = 1_000_000;

/// Folders that belong to the image: files below them are not mounted.
const OF_IMAGE: [&str; 3] = ["/etc/pki", "/etc/ssl", "/usr"];

/// Folders of the system. A volume mounted over one would hide what is there.
const OF_SYSTEM: [&str; 17] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp",
    "/var", "/var/lib", "/var/run",
];

/// Where a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// The `ConfigMap`.
    Config,
    /// The Secret with keys, certificates and secrets.
    Secrets,
    /// The Secret with the certificate of the listener, as cert-manager writes it.
    Tls,
}

/// Every file of the container, by its path there.
pub(super) struct Mounts {
    files: BTreeMap<PathBuf, (Origin, String)>,
    /// Each file of the `ConfigMap`, by its key.
    data: BTreeMap<String, String>,
    /// The prefix of all names.
    name: String,
}

impl Mounts {
    pub(super) fn new(deployed: &Deployed, name: &str) -> Result<Self, Refusal> {
        let mut mounts = Self { files: BTreeMap::new(), data: BTreeMap::new(), name: name.to_owned() };
        mounts.put(Path::new(CONFIG), Origin::Config);
        mounts.data.insert("proxy.toml".to_owned(), deployed.text.clone());
        for policy in &deployed.policies {
            let Some(key) = mounts.put(policy, Origin::Config) else { continue };
            let here = deployed.here(policy);
            let text = std::fs::read_to_string(&here).map_err(|error| {
                let why = format_args!("cannot read `{}`: {error}", here.display());
                Refusal::new(why, "relative paths start at the folder of proxy.toml")
            })?;
            mounts.data.insert(key, text);
        }
        if let Some(tls) = &deployed.config.server.tls {
            mounts.files.insert(tls.cert_file.clone(), (Origin::Tls, "tls.crt".to_owned()));
            mounts.files.insert(tls.key_file.clone(), (Origin::Tls, "tls.key".to_owned()));
        }
        for credential in &deployed.credentials {
            mounts.put(&Path::new(CREDENTIALS).join(credential), Origin::Secrets);
        }
        for file in &deployed.files {
            mounts.put(file, Origin::Secrets);
        }
        mounts.check(deployed)?;
        Ok(mounts)
    }

    /// Mounts a file, unless it is there already or in the image; its key.
    fn put(&mut self, path: &Path, origin: Origin) -> Option<String> {
        if self.files.contains_key(path) || OF_IMAGE.iter().any(|folder| path.starts_with(folder)) {
            return None;
        }
        let below = path.strip_prefix(folder()).unwrap_or(path.file_name().map_or(path, Path::new));
        let odd = |char: char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_' | '.');
        let key = below.to_string_lossy().replace(odd, ".");
        let taken: BTreeSet<&str> =
            self.files.values().filter(|(other, _)| *other == origin).map(|(_, key)| key.as_str()).collect();
        let numbered = (2..).map(|number| format!("{key}.{number}"));
        let key = std::iter::once(key.clone()).chain(numbered).find(|key| !taken.contains(key.as_str()))?;
        self.files.insert(path.to_owned(), (origin, key.clone()));
        Some(key)
    }

    /// Whether nothing can be made in the folder, as it is mounted from elsewhere or of the image.
    fn is_read_only(&self, folder: Option<&Path>) -> bool {
        let folder = folder.unwrap_or(Path::new("/"));
        let is_mounted = |mount: &PathBuf| folder.starts_with(mount) || mount.starts_with(folder);
        is_of_system(Some(folder)) || self.folders().iter().any(is_mounted)
    }

    fn check(&self, deployed: &Deployed) -> Result<(), Refusal> {
        for path in self.files.keys() {
            let shown = path.display();
            if path.components().any(|part| part == Component::ParentDir) {
                let why = format_args!("`{shown}` leaves the folder of proxy.toml, which is all that a pod has");
                return Err(Refusal::new(why, "put the file below that folder, or write an absolute path"));
            }
            if is_of_system(path.parent()) {
                let why = format_args!("`{shown}` is in a folder of the system, which a volume would replace");
                return Err(Refusal::new(why, "give it a folder of its own, such as /run/secrets/portcullis"));
            }
        }
        if let Some(audit) = deployed.audit_file().filter(|audit| self.is_read_only(audit.parent())) {
            let why = format_args!("the audit file `{}` is in a folder that a pod mounts read-only", audit.display());
            return Err(Refusal::new(why, "give it a folder of its own: `path = \"/var/lib/portcullis/audit.jsonl\"`"));
        }
        if let Some(folder) = deployed.socket_folder().filter(|folder| self.is_read_only(Some(folder))) {
            let why = format_args!("the admin socket is in `{}`, which a pod mounts read-only", folder.display());
            return Err(Refusal::new(why, "give it a folder of its own: `socket = \"/run/portcullis/admin.sock\"`"));
        }
        let size: usize = self.data.values().map(String::len).sum();
        if size > MOST_BYTES {
            let why = format_args!("proxy.toml and the policies have {size} bytes, and a ConfigMap takes {MOST_BYTES}");
            return Err(Refusal::new(why, "deploy servers with large policies by themselves"));
        }
        Ok(())
    }

    /// The folders that are mounted, none of them within another.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let parents = self.files.keys().filter_map(|path| path.parent());
        let parents: BTreeSet<&Path> =
            parents.map(|parent| if parent.starts_with(folder()) { folder() } else { parent }).collect();
        let outer = |path: &&&Path| !parents.iter().any(|other| other != *path && path.starts_with(other));
        parents.iter().filter(outer).map(|path| path.to_path_buf()).collect()
    }

    /// The `ConfigMap`. Its label tells one state of the files from another.
    pub(super) fn config_map(&self, names: &Names<'_>) -> Value {
        let mut hash = digest::Context::new(&digest::SHA256);
        for (key, text) in &self.data {
            hash.update(key.as_bytes());
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let version = HEXLOWER.encode(hash.finish().as_ref().get(..8).unwrap_or_default());
        let mut metadata = names.metadata("-config");
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.insert("portcullis-config".to_owned(), version.into());
        }
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": self.data })
    }

    /// `volumes`: one for each folder, as it takes files of several origins.
    pub(super) fn volumes(&self) -> Vec<Value> {
        let volume = |(at, folder): (usize, PathBuf)| {
            let mut sources = Vec::new();
            for origin in [Origin::Config, Origin::Tls, Origin::Secrets] {
                let files = self.files.iter().filter(|(_, (other, _))| *other == origin);
                let items: Vec<Value> = files
                    .filter_map(|(path, (_, key))| {
                        let below = path.strip_prefix(&folder).ok()?;
                        Some(json!({ "key": key, "path": below.to_string_lossy() }))
                    })
                    .collect();
                if !items.is_empty() {
                    let (kind, suffix) = origin.source();
                    sources.push(json!({ kind: { "items": items, "name": format!("{}{suffix}", self.name) } }));
                }
            }
            // Readable by the group of the pod's files, which is the proxy's.
            json!({ "name": format!("files-{at}"), "projected": { "defaultMode": 0o440, "sources": sources } })
        };
        self.folders().into_iter().enumerate().map(volume).collect()
    }

    /// `volumeMounts` of the same.
    pub(super) fn volume_mounts(&self) -> Vec<Value> {
        let mount = |(at, folder): (usize, PathBuf)| json!({ "mountPath": folder.to_string_lossy(), "name": format!("files-{at}"), "readOnly": true });
        self.folders().into_iter().enumerate().map(mount).collect()
    }

    /// How each Secret is made, for `kubectl create secret`.
    pub(super) fn secrets(&self, name: &str) -> Vec<String> {
        let mut made = Vec::new();
        if self.files.values().any(|(origin, _)| *origin == Origin::Tls) {
            made.push(format!("tls {name}-tls --cert=FILE --key=FILE   or cert-manager's"));
        }
        let keys: Vec<String> = self
            .files
            .values()
            .filter(|(origin, _)| *origin == Origin::Secrets)
            .map(|(_, key)| format!("--from-file={key}=FILE"))
            .collect();
        if !keys.is_empty() {
            made.push(format!("generic {name}-secrets {}", keys.join(" ")));
        }
        made
    }
}

impl Origin {
    /// The kind of source in a projected volume, and what its name ends with.
    const fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::Config => ("configMap", "-config"),
            Self::Secrets => ("secret", "-secrets"),
            Self::Tls => ("secret", "-tls"),
        }
    }
}

fn is_of_system(folder: Option<&Path>) -> bool {
    folder.is_none_or(|folder| OF_SYSTEM.iter().any(|known| folder == Path::new(known)))
}

/// The folder of `proxy.toml`.
fn folder() -> &'static Path {
    Path::new(CONFIG).parent().unwrap_or(Path::new("/"))
}
