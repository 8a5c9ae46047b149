use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Folder, NOW, record, sanitize};
use crate::audit::checkpoint::PublicKey;
use crate::audit::tests::keys::{PRIVATE, public};
use crate::audit::verify::Verification;
use crate::audit::{Audit, Lane, Timestamp, rotated, set};
use crate::config::{self, AuditSink, Rotate, Signing};

const SIZE: usize = 4000;
const DAY: Duration = Duration::from_hours(24);

fn config(path: PathBuf) -> config::Audit {
    let key_file = path.with_file_name("audit.pem");
    fs::write(&key_file, PRIVATE).unwrap();
    config::Audit {
        chain: true,
        signing: Some(Signing { key_file, every: Duration::ZERO }),
        rotate: Some(Rotate { size: Some(SIZE), every: Some(DAY) }),
        retention: Some(DAY),
        ..config::Audit::to(AuditSink::File(path))
    }
}

fn open(path: PathBuf) -> Arc<Lane> {
    Lane::new(Audit::open(&config(path), "test/0", sanitize).unwrap())
}

/// Verifies the whole record; fails unless it is one chain without a hole.
fn verified(folder: &Path, keys: Vec<PublicKey>) -> Verification {
    let mut verification = Verification::new(keys);
    for file in set::files(folder).unwrap() {
        verification.next_file();
        let text = fs::read(&file).unwrap();
        for line in text.split(|byte| *byte == b'\n') {
            verification.line(line).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
        }
    }
    verification
}

fn numbers(verification: &Verification) -> (u64, u64) {
    let [first, last] = [&verification.first, &verification.last].map(|place| place.as_ref().unwrap().sequence);
    (first, last)
}

#[test]
fn a_full_file_gets_a_name_and_the_chain_goes_on_in_the_next() {
    let folder = Folder::new();
    let lane = open(folder.file());
    for _ in 0..100 {
        lane.record_now(&record()).unwrap();
    }
    lane.audit().end(NOW);
    let files = set::files(&folder.0).unwrap();
    assert_eq!(files.len() as u64, lane.audit().counts().rotated + 1);
    assert!(files.len() > 5 && files.last() == Some(&folder.file()), "{files:?}");
    for file in &files {
        assert!(fs::metadata(file).unwrap().len() <= SIZE as u64, "{}", file.display());
    }
    let verification = verified(&folder.0, vec![public()]);
    assert_eq!(numbers(&verification), (1, lane.audit().sequence()));
    assert_eq!((verification.lines, verification.unsigned), (lane.audit().sequence(), 0));
    assert!(verification.notes.is_empty(), "{:?}", verification.notes);
    let calls = 100 + files.len() - 1;
    assert_eq!(
        verification.lines,
        calls as u64 + verification.checkpoints,
        "each file but the first has a line `opened`"
    );
}

#[test]
fn a_file_ends_with_its_period() {
    let folder = Folder::new();
    let lane = open(folder.file());
    lane.record_now(&record()).unwrap();
    drop(lane);
    // The line is of noon, whenever the process started.
    let lane = open(folder.file());
    lane.audit().tend(NOW.plus(Duration::from_secs(43_199)));
    assert_eq!(lane.audit().counts().rotated, 0);
    lane.audit().tend(NOW.plus(DAY / 2));
    lane.audit().tend(NOW.plus(DAY / 2));
    assert_eq!(lane.audit().counts().rotated, 1);
    assert!(folder.0.join("audit-20260106T000000000Z.jsonl").exists());
    lane.audit().tend(NOW.plus(DAY * 3));
    assert_eq!(lane.audit().counts().rotated, 1, "a file without lines is not rotated");
    lane.record_now(&record()).unwrap();
    lane.audit().end(NOW);
    assert_eq!(numbers(&verified(&folder.0, vec![public()])), (1, lane.audit().sequence()));
}

/// A process that is killed while it rotates leaves one of these.
#[test]
fn a_crash_at_any_point_of_a_rotation_leaves_one_chain() {
    for after in ["nothing", "the checkpoint", "the rename", "the new file", "a piece of its first line"] {
        let folder = Folder::new();
        let lane = open(folder.file());
        lane.record_now(&record()).unwrap();
        if after != "nothing" {
            lane.audit().end(NOW);
        }
        drop(lane);
        if !matches!(after, "nothing" | "the checkpoint") {
            let name = rotated::next(&folder.file(), NOW).unwrap();
            fs::rename(folder.file(), name).unwrap();
        }
        match after {
            "the new file" => fs::write(folder.file(), "").unwrap(),
            "a piece of its first line" => fs::write(folder.file(), "{\"v\":1,\"time\":\"20").unwrap(),
            _ => {}
        }
        let lane = open(folder.file());
        lane.record_now(&record()).unwrap();
        lane.audit().end(NOW);
        let verification = verified(&folder.0, vec![public()]);
        assert_eq!(numbers(&verification), (1, lane.audit().sequence()), "{after}");
        assert_eq!(verification.lines, lane.audit().sequence(), "{after}");
    }
}

#[test]
fn what_cannot_be_rotated_grows_and_loses_nothing() {
    let folder = Folder::new();
    // With the moment in it the name is too long.
    let path = folder.0.join(format!("{}.jsonl", "a".repeat(240)));
    let lane = open(path.clone());
    for _ in 0..30 {
        lane.record_now(&record()).unwrap();
        lane.audit().tend(NOW);
    }
    assert!(fs::metadata(&path).unwrap().len() > SIZE as u64);
    assert_eq!((lane.audit().counts().rotated, lane.audit().is_failing()), (0, false));
    assert_eq!(numbers(&verified(&folder.0, vec![public()])), (1, lane.audit().sequence()));
}

/// Where somebody else renames the file, and another is there.
#[test]
fn a_file_that_others_rotate_is_left_to_them() {
    let folder = Folder::new();
    let lane = open(folder.file());
    lane.record_now(&record()).unwrap();
    fs::rename(folder.file(), folder.0.join("audit.jsonl.1")).unwrap();
    for _ in 0..20 {
        lane.record_now(&record()).unwrap();
    }
    lane.audit().end(NOW);
    let verification = verified(&folder.0, vec![public()]);
    assert_eq!((verification.lines, numbers(&verification)), (lane.audit().sequence(), (1, lane.audit().sequence())));
}

#[test]
fn files_are_deleted_when_their_time_is_over_and_only_after_the_log_says_so() {
    let folder = Folder::new();
    let lane = open(folder.file());
    for _ in 0..40 {
        lane.record_now(&record()).unwrap();
    }
    let names = || -> Vec<PathBuf> { rotated::all(&folder.file()).unwrap().into_iter().map(|old| old.path).collect() };
    let now = Timestamp::now();
    assert_eq!(lane.audit().sweep(now).unwrap(), 0, "all are young");
    for (day, path) in (3..5).zip(names()) {
        fs::rename(path, folder.0.join(format!("audit-2026010{day}T000000000Z.jsonl"))).unwrap();
    }
    // Not of this log.
    fs::write(folder.0.join("other-20200101T000000000Z.jsonl"), "").unwrap();
    let kept = names().split_off(2);
    let yesterday = Timestamp::from_unix_seconds(NOW.unix_seconds() - 86_400);
    assert_eq!(lane.audit().sweep(yesterday).unwrap(), 1, "the time of one is over");
    assert_eq!(lane.audit().sweep(NOW).unwrap(), 1);
    assert_eq!(lane.audit().sweep(NOW).unwrap(), 0);
    assert_eq!(names(), kept);
    fs::remove_file(folder.0.join("other-20200101T000000000Z.jsonl")).unwrap();
    assert_eq!(lane.audit().counts().deleted, 2);
    lane.audit().end(NOW);
    let verification = verified(&folder.0, vec![public()]);
    let (first, last) = numbers(&verification);
    assert_eq!((last, verification.deletions.len()), (lane.audit().sequence(), 2));
    let deletion = verification.deleted_before().unwrap();
    assert_eq!((deletion.last + 1, &*deletion.file), (first, "audit-20260104T000000000Z.jsonl"));
    assert!(verification.proves(&deletion.place));
}

#[test]
fn what_cannot_be_recorded_is_not_deleted() {
    let folder = Folder::new();
    let lane = open(folder.file());
    lane.record_now(&record()).unwrap();
    let old = folder.0.join("audit-20200101T000000000Z.jsonl");
    fs::write(&old, "").unwrap();
    // The log is gone, and nothing can take its place.
    fs::remove_file(folder.file()).unwrap();
    fs::create_dir(folder.file()).unwrap();
    lane.audit().tend(NOW);
    assert!(lane.audit().sweep(NOW).is_err());
    assert!(old.exists());
    fs::remove_dir(folder.file()).unwrap();
    lane.audit().tend(NOW);
    assert_eq!(lane.audit().sweep(NOW).unwrap(), 1);
    assert!(!old.exists());
}
