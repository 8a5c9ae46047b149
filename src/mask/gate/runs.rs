//! Ordered lists of runs of digits.

use super::beside::is_digit;
use crate::json::Span;

/// Merges `others` into `runs`, both in order, without duplicates.
pub(super) fn merge(runs: &mut Vec<Span>, others: &[Span]) {
    // The runs of bank accounts were mostly reported as numbers already.
    if others.iter().all(|other| runs.binary_search(other).is_ok()) {
        return;
    }
    let mut merged = Vec::with_capacity(runs.len() + others.len());
    let mut rest = others;
    for run in runs.iter() {
        while let Some((other, behind)) = rest.split_first().filter(|(other, _)| *other <= run) {
            if other != run {
                merged.push(*other);
            }
            rest = behind;
        }
        merged.push(*run);
    }
    merged.extend_from_slice(rest);
    *runs = merged;
}

/// Adds the runs of digits that begin in `word` to `runs`.
pub(super) fn runs_in(text: &[u8], word: Span, runs: &mut Vec<Span>) {
    let mut from = word.start;
    while let Some(run) = next_digits(text, from, word.end) {
        from = run.end;
        runs.push(run);
    }
}

/// The first run of ASCII digits that begins between `from` and `end`.
fn next_digits(text: &[u8], from: usize, end: usize) -> Option<Span> {
    const STEP: usize = 16;
    let mut at = from;
    while at + STEP <= end
        && let Some(step) = text.get(at..at + STEP)
        && !step.iter().fold(false, |any, byte| any | is_digit(*byte))
    {
        at += STEP;
    }
    let start = at + text.get(at..end)?.iter().position(|byte| is_digit(*byte))?;
    let length = text[start..].iter().take_while(|byte| is_digit(**byte)).count();
    Some(Span { start, end: start + length })
}
