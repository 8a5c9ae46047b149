//! `portcullis mask --evaluate`: precision and recall of the masks on labelled text.

use std::fmt::Write as _;
use std::io::{self, BufRead};

use serde_json::json;

use crate::mask::{Counts, Labelled, Masks, Quality};

/// Why a file of labelled text cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum EvaluateError {
    /// A line is not as it should be.
    #[error("line {line} is not `{{\"text\": …, \"spans\": [{{\"start\": 0, \"end\": 5, \"entity\": …}}]}}`: {source}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// There is no line.
    #[error("no labelled text: each line must be an object with `text` and `spans`")]
    Nothing,
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
}

/// Counts over every line of `rows`.
pub(super) fn evaluate(masks: &Masks, rows: impl BufRead) -> Result<Quality, EvaluateError> {
    let mut quality = Quality::default();
    let mut any = false;
    for (at, line) in rows.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let row: Labelled =
            serde_json::from_str(&line).map_err(|source| EvaluateError::Line { line: at + 1, source })?;
        any = true;
        quality.take(masks, &row);
    }
    if any { Ok(quality) } else { Err(EvaluateError::Nothing) }
}

/// A table.
pub(super) fn as_text(quality: &Quality) -> String {
    let mut out = format!(
        "{:<20} {:>6} {:>6} {:>6} {:>9} {:>7} {:>7}\n",
        "entity", "found", "wrong", "missed", "precision", "recall", "f1"
    );
    let overall = ("all".to_owned(), quality.overall());
    for (entity, counts) in quality.entities.iter().map(|(name, counts)| (name.clone(), *counts)).chain([overall]) {
        let Counts { found, wrong, missed } = counts;
        let (precision, recall, f1) = (counts.precision(), counts.recall(), counts.f1());
        // Writing to a `String` cannot fail.
        let _ =
            writeln!(out, "{entity:<20} {found:>6} {wrong:>6} {missed:>6} {precision:>9.4} {recall:>7.4} {f1:>7.4}");
    }
    let _ = writeln!(out, "texts without a value: {}, touched: {}", quality.clean, quality.touched);
    out
}

/// The same as one JSON object.
pub(super) fn as_json(quality: &Quality) -> serde_json::Value {
    let one = |counts: Counts| {
        json!({
            "found": counts.found, "wrong": counts.wrong, "missed": counts.missed,
            "precision": counts.precision(), "recall": counts.recall(), "f1": counts.f1(),
        })
    };
    let entities: serde_json::Map<_, _> =
        quality.entities.iter().map(|(name, counts)| (name.clone(), one(*counts))).collect();
    json!({
        "schema_version": 1, "entities": entities, "overall": one(quality.overall()),
        "clean": quality.clean, "touched": quality.touched,
    })
}
