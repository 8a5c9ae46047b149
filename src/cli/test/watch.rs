//! `test --watch`: runs the tests again whenever a file changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use notify::{Event, RecursiveMode, Watcher as _};

use super::super::{Exit, Global, Streams};
use super::Test;
use crate::config;

/// How long to wait after a notification, so that an editor can finish.
const QUIET: Duration = Duration::from_millis(100);

/// Runs once, and again after each change; ends only with the process, or where nothing can be watched.
pub(super) fn watch(test: &Test, global: &Global, streams: &mut Streams<'_>) -> Exit {
    let (sender, changes) = mpsc::channel();
    let notify = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| concerns(&event)) {
            let _ = sender.send(());
        }
    };
    let Ok(mut watcher) = notify::recommended_watcher(notify) else {
        streams.message("error: files cannot be watched on this system");
        return Exit::Unavailable;
    };
    let mut folders_watched: BTreeSet<PathBuf> = BTreeSet::new();
    loop {
        for folder in folders(test, global) {
            if !folders_watched.contains(&folder) && watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                folders_watched.insert(folder);
            }
        }
        if folders_watched.is_empty() {
            streams.message("error: there is no folder to watch");
            return Exit::Usage;
        }
        test.once(global, streams);
        streams.message("waiting for a change; Ctrl-C ends");
        let _ = streams.out.flush();
        if changes.recv().is_err() {
            return Exit::Internal;
        }
        // One save makes several events.
        while changes.recv_timeout(QUIET).is_ok() {}
    }
}

/// Whether a policy may have changed: what else is written there, such as this command's own output, is of no interest.
fn concerns(event: &Event) -> bool {
    let policy = |path: &Path| path.extension().is_some_and(|kind| kind == "toml" || kind == "lock");
    // What is not a file may be a symlink that was swapped.
    !event.kind.is_access() && event.paths.iter().any(|path| policy(path) || !path.is_file())
}

/// Where the files are, as far as they can be found out now.
fn folders(test: &Test, global: &Global) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let paths: Vec<&Path> =
        if test.paths.is_empty() { vec![&global.config] } else { test.paths.iter().map(PathBuf::as_path).collect() };
    for path in paths {
        if path.is_dir() {
            folders.insert(path.to_owned());
            continue;
        }
        folders.insert(folder_of(path));
        if let Ok((config, _)) = config::load(path) {
            let files = config.servers.values().flat_map(|server| config.policy_files(server));
            folders.extend(files.map(|file| folder_of(&file)));
        }
    }
    folders
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use notify::EventKind;
    use notify::event::{AccessKind, CreateKind, ModifyKind};

    use super::*;

    #[test]
    fn output_that_is_written_beside_the_policies_is_no_change_of_them() {
        let folder = std::env::temp_dir().join(format!("portcullis-watch-{}", std::process::id()));
        fs::create_dir_all(folder.join("data")).unwrap();
        for name in ["crm.toml", "crm.lock", "out.txt"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let modified = EventKind::Modify(ModifyKind::Any);
        for (kind, name, expected) in [
            (modified, "crm.toml", true),
            (modified, "crm.lock", true),
            (modified, "removed.toml", true),
            (modified, "out.txt", false),
            (EventKind::Create(CreateKind::Any), "out.txt", false),
            (EventKind::Create(CreateKind::Any), "data", true),
            (EventKind::Access(AccessKind::Any), "crm.toml", false),
        ] {
            let event = Event::new(kind).add_path(folder.join(name));
            assert_eq!(concerns(&event), expected, "{kind:?} {name}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
