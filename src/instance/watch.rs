//! Detects changed files: their directories are watched, since a Kubernetes volume swaps a symlink, and their contents
//! compared.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::reload::Reloader;
use crate::audit::{By, rotated};

/// How long to wait after the first notification, so that writers can finish.
const QUIET: Duration = Duration::from_millis(200);
/// How often contents are compared without a notification: some file systems send none.
const POLL: Duration = Duration::from_secs(30);

/// Reloads whenever a file's contents have changed; never returns.
pub(super) async fn watch(reloader: &Reloader) {
    let (sender, mut changes) = mpsc::channel(1);
    let log = reloader.audit_file();
    // The audit log may be in a watched directory, and changes with every call.
    let is_log = move |path: &PathBuf| {
        let name = path.file_name();
        let rotated = name.and_then(rotated::read).map(|(written, _)| written);
        log.is_some() && (name == log.as_deref() || rotated == log)
    };
    let of_log = move |event: &notify::Event| event.paths.iter().all(&is_log);
    let notify = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access() && !of_log(&event)) {
            // A full channel already has a notification.
            let _ = sender.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(notify)
        .inspect_err(|error| tracing::warn!(%error, "files are not watched, only compared every 30 s"))
        .ok();
    let mut folders_watched = BTreeSet::new();
    let mut known = reloader.loaded();
    loop {
        for folder in folders(reloader) {
            if let Some(watcher) = &mut watcher
                && !folders_watched.contains(&folder)
                && watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok()
            {
                folders_watched.insert(folder);
            }
        }
        if let Ok(Some(())) = tokio::time::timeout(POLL, changes.recv()).await {
            tokio::time::sleep(QUIET).await;
        }
        let now = reloader.contents();
        if now != known {
            known = now;
            // What came of it is in the log.
            let _ = reloader.reload(By::Files);
        }
    }
}

fn folders(reloader: &Reloader) -> BTreeSet<PathBuf> {
    let parent = |file: &PathBuf| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    reloader.contents().files().map(parent).collect()
}
