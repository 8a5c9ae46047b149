use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::raw::{self, File};
use super::super::rule::Effect;
use super::super::table::{Report, Text};
use super::super::when::{Flaw, When, compile};
use crate::config::{Problem, Source};

/// The `when` expressions of all rules, each compiled once.
pub(super) struct Expressions<'a>(HashMap<(&'a str, Effect), Compiled>);

/// A compiled expression, or its errors.
type Compiled = Result<Arc<When>, Vec<Flaw>>;

impl<'a> Expressions<'a> {
    pub(super) fn compile(files: &'a [File]) -> Self {
        let mut texts: Vec<(&str, Effect)> = Vec::new();
        let mut known: HashMap<(&str, Effect), usize> = HashMap::new();
        for rule in files.iter().flat_map(|file| &file.rules) {
            if let Some(when) = &rule.when {
                let key = (when.get_ref().as_str(), rule.effect);
                known.entry(key).or_insert_with(|| {
                    texts.push(key);
                    texts.len() - 1
                });
            }
        }
        let compiled = compile(&texts);
        Self(texts.into_iter().zip(compiled).collect())
    }

    /// The expression of a rule; `None` if it has none or a wrong one, whose errors go to `report`.
    pub(super) fn of(&self, rule: &raw::Rule, source: &Arc<Source>, report: &mut Report<'_>) -> Option<Arc<When>> {
        let text = rule.when.as_ref()?;
        match self.0.get(&(text.get_ref().as_str(), rule.effect))? {
            Ok(when) => Some(Arc::clone(when)),
            Err(flaws) => {
                for flaw in flaws {
                    let span = place(source, text, flaw.at.as_ref());
                    let problem = Problem::error(source, span, format!("`when`: {}", flaw.message), "");
                    report.error(if flaw.help.is_empty() { problem } else { problem.help(flaw.help.as_str()) });
                }
                None
            }
        }
    }
}

/// The span in the file of a part of a string's content; of all the string if it is written with escapes.
fn place(source: &Source, text: &Text, part: Option<&Range<usize>>) -> Range<usize> {
    let whole = text.span();
    let written = source.text.get(whole.clone()).and_then(|written| written.find(text.get_ref().as_str()));
    match (part, written) {
        (Some(part), Some(offset)) => {
            let start = whole.start + offset + part.start;
            // An error at the end of the content is shown at the closing quote.
            start..(whole.start + offset + part.end).max(start + 1)
        }
        _ => whole,
    }
}
