//! Shows what was masked, for people and for programs; values are shown only on the user's own terminal.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Done;
use crate::cli::Streams;
use crate::mask::{Action, Masks};

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// The masked text to standard output, on a terminal as a diff; what was found to standard error.
pub(super) fn text(masks: &Masks, input: &str, done: &[Done], stats: bool, streams: &mut Streams<'_>) {
    if streams.out_color {
        diff(done, streams);
    } else {
        let _ = write!(streams.out, "{}", spliced(input, done));
    }
    for done in done {
        if let Err(blocked) = &done.written {
            streams.message(format_args!("blocked: {} (mask \"{}\")", blocked.entity, blocked.mask));
        }
        for line in found(masks, done) {
            let line = if streams.err_color { format!("{DIM}{line}{PLAIN}") } else { line };
            streams.message(line);
        }
    }
    if stats {
        for (mask, entity, action, count) in counts(done) {
            streams.message(format_args!("{count:>7}  {entity}  mask \"{mask}\"  {action}"));
        }
        streams.message(format_args!("{:>7}  bytes", input.len()));
    }
}

/// The input with every piece as it was masked; a refused one is left out.
fn spliced(input: &str, done: &[Done]) -> String {
    let mut out = String::with_capacity(input.len());
    let mut at = 0;
    for done in done {
        out.push_str(input.get(at..done.piece.span.start).unwrap_or_default());
        if let Ok(written) = &done.written {
            out.push_str(&done.piece.framed(written));
        }
        at = done.piece.span.end;
    }
    out.push_str(input.get(at..).unwrap_or_default());
    out
}

/// Lines that changed, before and after; others once.
fn diff(done: &[Done], streams: &mut Streams<'_>) {
    for done in done {
        let written = done.written.as_deref().unwrap_or("");
        let (before, after): (Vec<&str>, Vec<&str>) = (done.piece.text.lines().collect(), written.lines().collect());
        if before.len() != after.len() {
            let (gone, come) =
                (before.iter().map(|line| (RED, '-', line)), after.iter().map(|line| (GREEN, '+', line)));
            for (color, sign, line) in gone.chain(come) {
                streams.print(format_args!("{color}{sign} {}{PLAIN}", printable(line)));
            }
            continue;
        }
        for (before, after) in before.iter().zip(&after) {
            if before == after {
                streams.print(format_args!("  {}", printable(before)));
            } else {
                streams.print(format_args!("{RED}- {}{PLAIN}", printable(before)));
                streams.print(format_args!("{GREEN}+ {}{PLAIN}", printable(after)));
            }
        }
    }
}

/// A line for each value found and for what was left alone, in order.
fn found(masks: &Masks, done: &Done) -> Vec<String> {
    let mut rows: Vec<(usize, [String; 4])> = Vec::new();
    for sighting in done.sightings() {
        let span = sighting.span;
        let proof = match &*sighting.entity {
            "CREDIT_CARD" => "   (Luhn ok)",
            "IBAN_CODE" => "   (mod 97 ok)",
            _ => "",
        };
        let what = masks.action_of(&sighting.mask).map_or_else(|| sighting.action.to_owned(), describe);
        let what = if sighting.action == "shown" { "shown to the caller".to_owned() } else { what };
        let why = format!("mask \"{}\"  {what}{proof}", sighting.mask);
        rows.push((
            span.start,
            [sighting.entity.to_string(), place(done, &sighting.path), range(span.start, span.end), why],
        ));
    }
    for doubt in &done.doubts {
        let why = format!("looked like {}, {}: left alone", doubt.entity, doubt.reason);
        let range = range(doubt.span.start, doubt.span.end);
        rows.push((doubt.span.start, ["-".to_owned(), place(done, ""), range, why]));
    }
    rows.sort_by(|(one, left), (other, right)| left[1].cmp(&right[1]).then(one.cmp(other)));
    let width = |column: usize| rows.iter().map(|(_, row)| row[column].len()).max().unwrap_or(0);
    let (entities, places, ranges) = (width(0), width(1), width(2));
    let gap = if places > 0 { "  " } else { "" };
    let line = |[entity, place, range, why]: &[String; 4]| {
        format!("  {entity:<entities$}  {place:<places$}{gap}{range:>ranges$}   {why}")
    };
    rows.iter().map(|(_, row)| line(row)).collect()
}

fn range(start: usize, end: usize) -> String {
    format!("{start}..{end}")
}

fn place(done: &Done, path: &str) -> String {
    let path = printable(path);
    match done.piece.line {
        Some(line) if path.is_empty() => format!("line {line}"),
        Some(line) => format!("line {line} {path}"),
        None => path,
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::Mask { keep_first: 0, keep_last, .. } => format!("keep_last={keep_last}"),
        Action::Mask { keep_first, keep_last: 0, .. } => format!("keep_first={keep_first}"),
        Action::Mask { keep_first, keep_last, .. } => format!("keep_first={keep_first} keep_last={keep_last}"),
        other => other.name().to_owned(),
    }
}

/// How often each mask found what, in the order first found.
fn counts(done: &[Done]) -> Vec<(String, String, &'static str, u64)> {
    let mut counts: Vec<(String, String, &'static str, u64)> = Vec::new();
    for finding in done.iter().flat_map(|done| &done.findings) {
        let same = |known: &&mut (String, String, &'static str, u64)| {
            known.0 == *finding.mask && known.1 == *finding.entity && known.2 == finding.action
        };
        match counts.iter_mut().find(same) {
            Some(known) => known.3 += u64::from(finding.count),
            None => counts.push((
                finding.mask.to_string(),
                finding.entity.to_string(),
                finding.action,
                u64::from(finding.count),
            )),
        }
    }
    counts
}

/// Where values stand, never what they are.
pub(super) fn json(done: &[Done], stats: bool) -> Value {
    let mut findings = Vec::new();
    let mut left_alone = Vec::new();
    let mut blocked = Vec::new();
    for done in done {
        let with_line = |mut value: Value| {
            if let Some(line) = done.piece.line {
                value["line"] = json!(line);
            }
            value
        };
        for sighting in done.sightings() {
            findings.push(with_line(json!({
                "path": sighting.path, "entity": *sighting.entity, "start": sighting.span.start, "end": sighting.span.end,
                "mask": *sighting.mask, "action": sighting.action,
            })));
        }
        for doubt in &done.doubts {
            left_alone.push(with_line(json!({
                "path": "", "entity": doubt.entity, "start": doubt.span.start, "end": doubt.span.end, "reason": doubt.reason,
            })));
        }
        if let Err(refused) = &done.written {
            blocked.push(with_line(json!({ "entity": *refused.entity, "mask": *refused.mask })));
        }
    }
    let mut report = json!({ "schema_version": 1, "findings": findings, "left_alone": left_alone, "blocked": blocked });
    if stats {
        let counts = counts(done);
        let counts = counts.iter().map(
            |(mask, entity, action, count)| json!({ "mask": mask, "entity": entity, "action": action, "count": count }),
        );
        report["stats"] = counts.collect();
    }
    report
}

/// Text as a terminal may show it.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        let turns =
            matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if char.is_control() && char != '\t' || turns {
            // Writing to a `String` cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(char));
        } else {
            shown.push(char);
        }
    }
    shown
}
