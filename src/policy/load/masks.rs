use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::raw::{self, File};
use super::super::table::{Report, Text, advice};
use super::{Loaded, unique};
use crate::config::{Problem, Source};
use crate::mask::{Action, Directions, Entity, Spec, What};

/// Where the masks of a server are declared, by id.
type Places = HashMap<Arc<str>, (Arc<Source>, Range<usize>)>;

/// The masks of all files, in order.
pub(super) fn compile(files: &[File], report: &mut Report<'_>) -> (Vec<Spec>, Places) {
    let mut places = Places::new();
    let mut specs = Vec::new();
    for file in files {
        for mask in &file.masks {
            let id = unique(&mut places, &mask.id, "mask", &file.source, report);
            let on = Directions { arguments: mask.arguments, result: mask.result };
            let what = what(mask, &file.source, report);
            let action = action(mask, &file.source, report);
            if let (Some(what), Some(action)) = (what, action) {
                specs.push(Spec { id, on, what, action });
            }
        }
    }
    (specs, places)
}

fn what(mask: &raw::Mask, source: &Arc<Source>, report: &mut Report<'_>) -> Option<What> {
    match (&mask.entities, &mask.pattern) {
        (Some(names), None) => {
            if let Some(label) = &mask.label {
                let problem = Problem::error(source, label.span(), "only a `pattern` has a `label`", "");
                report.error(problem.help("an entity is its own label: take it out"));
            }
            names
                .iter()
                .map(|name| entity(name, source, report))
                .collect::<Vec<_>>()
                .into_iter()
                .collect::<Option<_>>()
                .map(What::Entities)
        }
        (None, Some(pattern)) => {
            let Some(label) = &mask.label else {
                let problem = Problem::error(source, pattern.span(), "a `pattern` needs a `label`", "");
                report.error(
                    problem.help("what stands in place of a match: `label = \"EMPLOYEE_ID\"` for `[EMPLOYEE_ID]`"),
                );
                return None;
            };
            is_label(label, source, report)
                .then(|| What::Pattern { regex: pattern.get_ref().clone(), label: label.get_ref().clone() })
        }
        // Both or neither: said when the file was read.
        _ => None,
    }
}

fn entity(name: &Text, source: &Arc<Source>, report: &mut Report<'_>) -> Option<Entity> {
    let entity = Entity::parse(name.get_ref());
    if entity.is_none() {
        let message = format!("there is no entity `{}`", name.get_ref());
        let known = Entity::ALL.iter().map(|entity| entity.name());
        let problem = Problem::error(source, name.span(), message, "unknown");
        report.error(problem.help(advice(name.get_ref(), known)));
    }
    entity
}

fn is_label(label: &Text, source: &Arc<Source>, report: &mut Report<'_>) -> bool {
    let text = label.get_ref();
    let fits = text.len() <= 64
        && text.starts_with(|char: char| char.is_ascii_uppercase())
        && text.chars().all(|char| char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_');
    if !fits {
        let problem = Problem::error(source, label.span(), "this cannot be a `label`", "");
        report.error(problem.help("up to 64 of `A` to `Z`, `0` to `9` and `_`, beginning with a letter"));
    }
    fits
}

fn action(mask: &raw::Mask, source: &Arc<Source>, report: &mut Report<'_>) -> Option<Action> {
    let action = match mask.action {
        raw::Action::Block => Action::Block,
        raw::Action::Redact => Action::Redact,
        raw::Action::Report => Action::Report,
        raw::Action::Mask => {
            let kept =
                |count: &Option<toml::Spanned<u8>>| count.as_ref().map_or(0, |count| usize::from(*count.get_ref()));
            let char = mask.char.as_ref().map_or(Some('*'), |text| one_char(text, source, report))?;
            return Some(Action::Mask { keep_first: kept(&mask.keep_first), keep_last: kept(&mask.keep_last), char });
        }
    };
    let keeps = [("keep_first", &mask.keep_first), ("keep_last", &mask.keep_last)];
    let keeps = keeps.into_iter().filter_map(|(key, count)| Some((key, count.as_ref()?.span())));
    for (key, span) in keeps.chain(mask.char.as_ref().map(|text| ("char", text.span()))) {
        let message = format!("`{key}` belongs to `action = \"mask\"`");
        let problem = Problem::error(source, span, message, "without effect here");
        report.error(problem.help(format!("add `action = \"mask\"`, or take `{key}` out")));
    }
    Some(action)
}

fn one_char(text: &Text, source: &Arc<Source>, report: &mut Report<'_>) -> Option<char> {
    let mut chars = text.get_ref().chars();
    match (chars.next(), chars.next()) {
        (Some(char), None) if !char.is_control() => Some(char),
        _ => {
            report.error(Problem::error(source, text.span(), "`char` must be one printable character", ""));
            None
        }
    }
}

impl Loaded {
    /// Where a mask's `id` stands, for what is found wrong with it when it is compiled.
    pub fn mask_place(&self, id: &str) -> Option<(&Arc<Source>, Range<usize>)> {
        self.mask_places.get(id).map(|(source, span)| (source, span.clone()))
    }
}
