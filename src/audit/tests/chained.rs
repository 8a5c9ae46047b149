use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Fake, Folder, NOW, instance, record, sanitize};
use crate::audit::tests::keys::{PRIVATE, key, public};
use crate::audit::verify::{Note, Verification};
use crate::audit::writer::Writer;
use crate::audit::{Audit, Lane, Timestamp};
use crate::config::{self, AuditSink, OnAuditError, Signing};

/// The same log as the process after a start has it, with checkpoints a second apart.
fn open(folder: &Folder) -> Arc<Lane> {
    let key_file = folder.0.join("audit.pem");
    std::fs::write(&key_file, PRIVATE).unwrap();
    let signing = Some(Signing { key_file, every: Duration::ZERO });
    let config = config::Audit { chain: true, signing, ..config::Audit::to(AuditSink::File(folder.file())) };
    Lane::new(Audit::open(&config, "test/0", sanitize).unwrap())
}

fn verified(bytes: &[&[u8]]) -> Verification {
    let mut verification = Verification::new(vec![public()]);
    for file in bytes {
        verification.next_file();
        for line in file.split(|byte| *byte == b'\n') {
            verification.line(line).unwrap_or_else(|fault| {
                panic!("line {}: {fault}\n{}", verification.line_number(), String::from_utf8_lossy(file))
            });
        }
    }
    verification
}

fn verified_files(files: &[&Path]) -> Verification {
    let bytes: Vec<_> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    verified(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[test]
fn a_chain_goes_on_over_restarts_rotation_and_loss() {
    let folder = Folder::new();
    let lane = open(&folder);
    lane.record_now(&record()).unwrap();
    lane.audit().tend(NOW);
    lane.audit().tend(NOW);
    assert_eq!((lane.audit().sequence(), lane.audit().counts().written), (2, 2), "one checkpoint is enough");
    lane.record_now(&record()).unwrap();
    drop(lane);

    // A start, after a process that was killed while it wrote.
    let mut text = std::fs::read(folder.file()).unwrap();
    text.extend_from_slice(b"{\"v\":1,\"time\":\"2026");
    std::fs::write(folder.file(), &text).unwrap();
    let lane = open(&folder);
    lane.record_now(&record()).unwrap();
    lane.audit().end(NOW);
    let verification = verified_files(&[&folder.file()]);
    assert_eq!((verification.lines, verification.checkpoints, verification.unsigned), (5, 2, 0));
    assert!(matches!(&verification.notes[..], [(place, Note::Torn)] if place.line == 4));

    // Rotation: a checkpoint ends the old file, and the new one names its last line.
    lane.record_now(&record()).unwrap();
    let rotated = folder.0.join("audit.jsonl.1");
    std::fs::rename(folder.file(), &rotated).unwrap();
    lane.audit().reopen(NOW).unwrap();
    lane.record_now(&record()).unwrap();
    lane.audit().reopen(NOW).unwrap();
    lane.record_now(&record()).unwrap();
    let verification = verified_files(&[&rotated, &folder.file()]);
    assert_eq!((verification.lines, verification.checkpoints), (11, 4));
    let sequences = [verification.first, verification.last].map(|place| place.unwrap().sequence);
    assert_eq!(sequences, [1, 11]);

    // A file that somebody removed takes its lines with it; the next one says what it continues.
    std::fs::remove_file(folder.file()).unwrap();
    lane.audit().tend(NOW);
    lane.record_now(&record()).unwrap();
    let verification = verified_files(&[&folder.file()]);
    assert!(matches!(&verification.notes[..], [(place, Note::Continues(_))] if place.sequence == 12));
    assert_eq!((verification.lines, verification.checkpoints), (3, 1), "what was lost is signed for too");
}

#[test]
fn lines_that_were_not_chained_are_not_passed_off_as_such() {
    let folder = Folder::new();
    std::fs::write(folder.file(), "{\"v\":1,\"event\":\"start\",\"seq\":1}\n").unwrap();
    open(&folder).record_now(&record()).unwrap();
    let text = std::fs::read(folder.file()).unwrap();
    let mut verification = Verification::new(Vec::new());
    assert!(text.split(|byte| *byte == b'\n').any(|line| verification.line(line).is_err()));
}

#[test]
fn a_key_that_cannot_be_used_stops_the_start() {
    let folder = Folder::new();
    let config = |key_file: PathBuf| config::Audit {
        chain: true,
        signing: Some(Signing { key_file, every: Duration::ZERO }),
        ..config::Audit::to(AuditSink::File(folder.file()))
    };
    assert!(Audit::open(&config(folder.0.join("missing.pem")), "test/0", sanitize).is_err());
    std::fs::write(folder.0.join("other.pem"), "no key").unwrap();
    let error = Audit::open(&config(folder.0.join("other.pem")), "test/0", sanitize).unwrap_err();
    assert_eq!(error.to_string(), "it has no Ed25519 private key in PEM (PKCS #8)");
}

/// What happens to a log.
#[derive(Clone, Copy, Debug)]
enum Step {
    Checkpoint,
    Lines(usize),
    /// So many bytes fit from now on.
    Room(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Checkpoint),
        (1..4_usize).prop_map(Step::Lines),
        (0..900_usize).prop_map(Step::Room),
        Just(Step::Room(1 << 20)),
    ]
}

proptest! {
    /// Whatever fails, and whether or not what did not fit can be cut off: what is in the log is a chain.
    #[test]
    fn failed_writes_leave_a_chain(steps in prop::collection::vec(step(), 1..30), drops: bool, cuts: bool) {
        let fake = Fake::new();
        fake.lock().unwrap().cuts = cuts;
        let on_error = if drops { OnAuditError::Drop } else { OnAuditError::Block };
        let writer = Writer::fake(Arc::clone(&fake)).chained(key());
        let lane = Lane::new(Arc::new(Audit::with(writer, on_error, instance(), sanitize)));
        let mut written = 0;
        for step in steps {
            match step {
                Step::Checkpoint => lane.audit().end(Timestamp::default()),
                Step::Lines(count) => {
                    let tickets: Vec<_> = (0..count).map(|_| lane.record(&record())).collect();
                    written += tickets.into_iter().map(|ticket| usize::from(ticket.settle().is_ok())).sum::<usize>();
                }
                Step::Room(room) => {
                    let mut fake = fake.lock().unwrap();
                    fake.room = fake.bytes.len() + room;
                }
            }
        }
        let bytes = fake.lock().unwrap().bytes.clone();
        let verification = verified(&[&bytes]);
        // What could not be cut off again is in the log, although its call was refused.
        prop_assert!(verification.lines >= lane.audit().counts().written);
        if cuts {
            prop_assert_eq!(verification.lines, lane.audit().counts().written);
        }
        if !drops {
            prop_assert!(verification.lines - verification.checkpoints >= written as u64);
            prop_assert_eq!(lane.audit().sequence(), verification.lines);
        }
    }
}
