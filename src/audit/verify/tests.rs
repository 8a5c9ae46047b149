use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use super::{Fault, Note, Verification};
use crate::audit::chain::Chain;
use crate::audit::tests::keys::{key, public};
use crate::clock::Timestamp;

/// Lines of a log, one for each event; `checkpoint` is signed.
struct Log {
    chain: Chain,
    sequence: u64,
    seconds: i64,
}

impl Log {
    fn new() -> Self {
        Self { chain: Chain::default(), sequence: 0, seconds: 1_767_614_400 }
    }

    fn line(&mut self, event: &str) -> Vec<u8> {
        (self.sequence, self.seconds) = (self.sequence + 1, self.seconds + 1);
        let time = Timestamp::from_unix_seconds(self.seconds).rfc3339();
        let (time, sequence) = (std::str::from_utf8(&time).unwrap(), self.sequence);
        let kid = if event == "checkpoint" { format!(",\"kid\":\"{}\"", key().kid()) } else { String::new() };
        let mut line =
            format!("{{\"v\":1,\"time\":\"{time}\",\"event\":\"{event}\"{kid},\"seq\":{sequence}").into_bytes();
        self.chain.close(&mut line, 0, (event == "checkpoint").then(key).as_ref());
        self.chain.commit(1);
        line
    }

    fn lines(&mut self, events: &[&str]) -> Vec<Vec<u8>> {
        events.iter().map(|event| self.line(event)).collect()
    }
}

const EVENTS: [&str; 7] = ["start", "call", "end", "checkpoint", "call", "end", "call"];

/// Verifies files with a key; tells how many lines were read, and what was found.
fn verify(files: &[&[Vec<u8>]]) -> (Verification, Option<Fault>) {
    verify_with(files, true)
}

fn verify_with(files: &[&[Vec<u8>]], with_key: bool) -> (Verification, Option<Fault>) {
    let mut verification = Verification::new(if with_key { vec![public()] } else { Vec::new() });
    for file in files {
        verification.next_file();
        for line in *file {
            if let Err(fault) = verification.line(line) {
                return (verification, Some(fault));
            }
        }
    }
    (verification, None)
}

fn notes(verification: &Verification) -> Vec<(usize, u64, Note)> {
    verification.notes.iter().map(|(place, note)| (place.file, place.line, note.clone())).collect()
}

#[test]
fn what_was_written_verifies() {
    let lines = Log::new().lines(&EVENTS);
    let (verification, fault) = verify(&[&lines]);
    assert_eq!((fault, verification.lines, verification.checkpoints, verification.unsigned), (None, 7, 1, 3));
    assert_eq!(verification.signed.as_ref().map(|at| (at.line, at.sequence)), Some((4, 4)));
    assert_eq!(verification.last.as_ref().map(|at| at.time.as_str()), Some("2026-01-05T12:00:07.000Z"));
    assert!(notes(&verification).is_empty() && !verification.is_overdue());
}

/// Every change of one byte is found, at its line; removed, moved and doubled lines at the line after them.
#[test]
fn whatever_is_done_to_the_lines_is_found() {
    let lines = Log::new().lines(&EVENTS);
    for at in 0..lines.len() {
        for byte in 0..lines[at].len() {
            let mut changed = lines.clone();
            changed[at][byte] ^= 1;
            let (verification, fault) = verify(&[&changed]);
            // A line that no longer ends with its brace looks like the rest of a write, and is missed at the next.
            let is_last = byte == lines[at].len() - 1;
            assert!(fault.is_some() || (is_last && at == lines.len() - 1), "line {at}, byte {byte}");
            assert_eq!(
                usize::try_from(verification.line_number()).unwrap(),
                (at + 1 + usize::from(is_last)).min(lines.len()),
                "{byte}"
            );
        }
        let mut removed = lines.clone();
        removed.remove(at);
        let (verification, fault) = verify(&[&removed]);
        let expected = match at {
            0 => Some(Fault::Beginning),
            6 => None,
            _ => Some(Fault::Link),
        };
        assert_eq!(fault, expected, "without line {at}");
        assert_eq!(usize::try_from(verification.line_number()).unwrap(), (at + 1).min(6));
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at].clone());
        assert_eq!(verify(&[&doubled]).1, Some(if at == 0 { Fault::Second } else { Fault::Link }));
        let mut moved = lines.clone();
        moved.swap(at, (at + 1) % 7);
        assert!(verify(&[&moved]).1.is_some());
    }
}

/// Who has no key can write a chain that is right in itself, and no checkpoint for it.
#[test]
fn another_chain_has_no_signatures() {
    let mut forged = Log::new();
    let mut lines = forged.lines(&["start", "call"]);
    let real = Log::new().lines(&["start", "call", "end", "checkpoint"]);
    lines.extend([forged.line("end")]);
    assert_eq!(verify_with(&[&lines], false).1, None);
    let (verification, fault) = verify(&[&lines]);
    assert_eq!((fault, verification.signed), (None, None));

    // A checkpoint of the real chain does not fit into another.
    let mut other = Log::new();
    let mut lines = other.lines(&["start", "auth_failed", "end"]);
    lines.push(real[3].clone());
    assert_eq!(verify(&[&lines]).1, Some(Fault::Link));

    // One that is made to fit has a signature of other bytes.
    let (real, made) =
        (String::from_utf8(real[3].clone()).unwrap(), String::from_utf8(other.line("checkpoint")).unwrap());
    let hashed = made.split_once(",\"hash\"").unwrap().0.replace(signature(&made), signature(&real));
    lines[3] = hashed_anew(&hashed);
    assert_eq!(verify(&[&lines]).1, Some(Fault::Signature));
    assert_eq!(verify_with(&[&lines], false).1, None);
    lines[3] = hashed_anew(&hashed.replace(key().kid(), "other"));
    assert_eq!(verify(&[&lines]).1, Some(Fault::UnknownKey("other".to_owned())));
}

fn signature(line: &str) -> &str {
    line.split_once(",\"signature\":\"").unwrap().1.split_once('"').unwrap().0
}

fn hashed_anew(hashed: &str) -> Vec<u8> {
    let hash = digest::digest(&digest::SHA256, hashed.as_bytes());
    format!("{hashed},\"hash\":\"sha256:{}\"}}", HEXLOWER.encode(hash.as_ref())).into_bytes()
}

#[test]
fn lines_that_go_on_without_a_checkpoint_are_overdue() {
    let mut log = Log::new();
    let mut lines = log.lines(&EVENTS);
    log.seconds += 3600;
    lines.push(log.line("checkpoint"));
    assert!(!verify(&[&lines]).0.is_overdue(), "the newest line is a checkpoint");
    log.seconds += 3600;
    lines.extend(log.lines(&["call", "end"]));
    assert!(!verify(&[&lines]).0.is_overdue(), "an idle hour is none of theirs");
    log.seconds += 120;
    lines.push(log.line("call"));
    assert!(verify(&[&lines]).0.is_overdue());
}

#[test]
fn files_continue_each_other() {
    let mut log = Log::new();
    let first = log.lines(&EVENTS);
    let second = log.lines(&["opened", "call", "end"]);
    let third = log.lines(&["opened", "call"]);
    let (verification, fault) = verify(&[&first, &second, &third]);
    assert_eq!((fault, verification.lines, notes(&verification)), (None, 12, vec![]));
    let (verification, fault) = verify(&[&second]);
    assert_eq!((fault, verification.lines), (None, 3));
    assert!(matches!(&notes(&verification)[..], [(0, 1, Note::Continues(prev))] if prev.starts_with("sha256:")));
    for files in [[&first, &third], [&second, &first], [&third, &second]] {
        let (verification, fault) = verify(&[files[0], files[1]]);
        let expected = if files[1] == &first { None } else { Some(Fault::File) };
        assert_eq!((fault, verification.file()), (expected, 1));
    }
    // The first chain begins anew, so it may come from another process; that is told.
    assert_eq!(notes(&verify(&[&second, &first]).0)[1..], [(1, 1, Note::NewChain)]);
    assert_eq!(verify(&[&first, &second[1..]]).1, Some(Fault::Beginning));
    assert_eq!(verify(&[&second[1..]]).1, Some(Fault::Beginning));
    assert_eq!(verify(&[&[], &first, &[], &second]).1, None);
    let both = [&first[..], &Log::new().lines(&["start"])[..]].concat();
    assert_eq!(verify(&[&both]).1, Some(Fault::Second));
}

#[test]
fn what_breaks_nothing_is_noted() {
    let mut log = Log::new();
    let mut lines = log.lines(&["start", "call"]);
    lines.push(b"{\"v\":1,\"time\":\"2026-01-05T12".to_vec());
    lines.push(Vec::new());
    log.sequence += 5;
    lines.push(log.line("call"));
    let (verification, fault) = verify(&[&lines]);
    assert_eq!((fault, verification.lines), (None, 3));
    assert_eq!(notes(&verification), [(0, 3, Note::Torn), (0, 5, Note::Dropped(5))]);
}

#[test]
fn what_is_no_line_of_a_chain_is_refused() {
    let lines = Log::new().lines(&["start"]);
    for other in ["not json", "{}", "{\"v\":1,\"time\":\"2026-01-05T12:00:00.000Z\",\"event\":\"call\",\"seq\":2}", "}"]
    {
        let lines = [lines[0].clone(), other.as_bytes().to_vec()];
        assert_eq!(verify(&[&lines]).1, Some(Fault::Unchained), "{other}");
    }
    for head in [
        "{\"v\":2,\"time\":\"2026-01-05T12:00:00.000Z\",\"event\":\"call\"",
        "{\"v\":1,\"time\":\"now\",\"event\":\"call\"",
    ] {
        let mut line = format!("{head},\"seq\":1").into_bytes();
        Chain::default().close(&mut line, 0, None);
        assert_eq!(verify(&[&[line]]).1, Some(Fault::Record), "{head}");
    }
    for (event, signer) in [("checkpoint", None), ("call", Some(key()))] {
        let mut line =
            format!("{{\"v\":1,\"time\":\"2026-01-05T12:00:00.000Z\",\"event\":\"{event}\",\"seq\":1").into_bytes();
        Chain::default().close(&mut line, 0, signer.as_ref());
        assert_eq!(verify(&[&[line]]).1, Some(Fault::Unsigned), "{event}");
    }
}
