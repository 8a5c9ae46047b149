use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::raw::{self, File};
use super::super::table::{Report, Text, advice};
use super::rules::{is_scope, patterns, separator};
use super::{Loaded, unique};
use crate::config::{Problem, Source};
use crate::mask::{
    Action, Applies, Asks, Directions, Entity, Except, Grant, Opaque, Places, Spec, SpecError, Validator, What,
};
use crate::mcp::SubjectKind;
use crate::policy::selector::Selector;

/// The places of a server's masks, by id.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) ids: HashMap<Arc<str>, (Arc<Source>, Range<usize>)>,
    patterns: HashMap<Arc<str>, Range<usize>>,
}

/// The masks of all files, in order.
pub(super) fn compile(files: &[File], report: &mut Report<'_>) -> (Vec<Spec>, Declared) {
    let mut declared = Declared::default();
    let mut specs = Vec::new();
    for file in files {
        for mask in &file.masks {
            let id = unique(&mut declared.ids, &mask.id, "mask", &file.source, report);
            if let Some(pattern) = &mask.pattern {
                declared.patterns.insert(Arc::clone(&id), pattern.span());
            }
            let on = Directions { arguments: mask.arguments, result: mask.result };
            let what = what(mask, &file.source, report);
            let action = action(mask, &file.source, report);
            let applies = applies(mask, &file.source, report);
            let restore = restore(mask, &file.source, report);
            let asks = asks(mask, &file.source, report);
            let places = Places {
                keys: mask.keys.unwrap_or_default(),
                numbers: mask.numbers.unwrap_or_default(),
                uris: mask.uris.unwrap_or_default(),
                blobs: mask.blobs.unwrap_or_default(),
            };
            if let (Some(what), Some(action)) = (what, action) {
                specs.push(Spec { applies, places, restore, asks, ..Spec::new(&id, on, what, action) });
            }
        }
    }
    (specs, declared)
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
        // Both or neither: reported when the file was read.
        _ => None,
    }
}

fn asks(mask: &raw::Mask, source: &Arc<Source>, report: &mut Report<'_>) -> Asks {
    let near = mask.near.as_ref().map(|words| ("near", words.first().map_or(0..0, Text::span)));
    let validate = mask.validate.as_ref().map(|name| ("validate", name.span()));
    if mask.pattern.is_none() {
        for (key, span) in near.into_iter().chain(validate) {
            let problem = Problem::error(source, span, format!("only a `pattern` has `{key}`"), "");
            report.error(problem.help("entities have checks and words of their own: take it out"));
        }
    }
    let validate = mask.validate.as_ref().and_then(|name| {
        let check = Validator::parse(name.get_ref());
        if check.is_none() {
            let message = format!("there is no check `{}`", name.get_ref());
            let known = Validator::ALL.iter().map(|check| check.name());
            let problem = Problem::error(source, name.span(), message, "unknown");
            report.error(problem.help(advice(name.get_ref(), known)));
        }
        check
    });
    let words = |words: &[Text]| words.iter().map(|word| word.get_ref().clone()).collect();
    Asks { near: words(mask.near.as_deref().unwrap_or_default()), validate, allow: words(&mask.allow) }
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
            misplaced(mask, mask.action, source, report);
            return Some(Action::Mask { keep_first: kept(&mask.keep_first), keep_last: kept(&mask.keep_last), char });
        }
        raw::Action::Hash => Action::Hash { share: mask.share.unwrap_or_default() },
        raw::Action::Tokenize => Action::Tokenize,
    };
    misplaced(mask, mask.action, source, report);
    let keeps = [("keep_first", &mask.keep_first), ("keep_last", &mask.keep_last)];
    let keeps = keeps.into_iter().filter_map(|(key, count)| Some((key, count.as_ref()?.span())));
    for (key, span) in keeps.chain(mask.char.as_ref().map(|text| ("char", text.span()))) {
        let message = format!("`{key}` belongs to `action = \"mask\"`");
        let problem = Problem::error(source, span, message, "without effect here");
        report.error(problem.help(format!("add `action = \"mask\"`, or take `{key}` out")));
    }
    Some(action)
}

/// Reports keys that have no effect with the mask's action.
fn misplaced(mask: &raw::Mask, action: raw::Action, source: &Arc<Source>, report: &mut Report<'_>) {
    let scope = mask.scope.as_ref().map(|text| ("scope", text.span(), raw::Action::Hash, "hash"));
    let restore = mask.restore.first().map(|grant| ("restore", grant.tool.span(), raw::Action::Tokenize, "tokenize"));
    for (key, span, wanted, word) in scope.into_iter().chain(restore) {
        if action != wanted {
            let message = format!("`{key}` belongs to `action = \"{word}\"`");
            let problem = Problem::error(source, span, message, "without effect here");
            report.error(problem.help(format!("add `action = \"{word}\"`, or take `{key}` out")));
        }
    }
}

fn applies(mask: &raw::Mask, source: &Arc<Source>, report: &mut Report<'_>) -> Applies {
    let words = |texts: &[Text]| texts.iter().map(|text| text.get_ref().as_str().into()).collect();
    for scope in &mask.unless_scopes {
        is_scope(scope, source, report);
    }
    let mut except = Vec::new();
    for written in &mask.except {
        let fields = written.fields.iter().filter(|field| is_pointer(field, source, report));
        let fields = fields.map(|field| Opaque::new(field.get_ref())).collect();
        except.push(Except { about: selectors(&written.about, source, report), fields });
    }
    Applies {
        about: selectors(&mask.about, source, report),
        unless_scopes: words(&mask.unless_scopes),
        unless_groups: words(&mask.unless_groups),
        except,
    }
}

fn selectors(about: &[(SubjectKind, Vec<Text>)], source: &Arc<Source>, report: &mut Report<'_>) -> Vec<Selector> {
    let kinds = about.iter();
    kinds.map(|(kind, globs)| Selector::new(*kind, patterns(globs, separator(*kind), source, report))).collect()
}

/// Whether a field or argument is given as a JSON Pointer (RFC 6901), where `*` is any one token; reports it if not.
fn is_pointer(text: &Text, source: &Arc<Source>, report: &mut Report<'_>) -> bool {
    let pointer = text.get_ref();
    let fits = pointer.starts_with('/') && pointer.len() <= 256 && !pointer.ends_with('/');
    if !fits {
        let problem = Problem::error(source, text.span(), format!("`{pointer}` is no JSON Pointer"), "");
        report.error(
            problem.help("begin it with `/`, as in `/to` or `/files/*/url`; `*` stands for any one member or item"),
        );
    }
    fits
}

fn restore(mask: &raw::Mask, source: &Arc<Source>, report: &mut Report<'_>) -> Vec<Grant> {
    let own: Vec<&str> = match (&mask.entities, &mask.label) {
        (Some(entities), _) => entities.iter().map(|entity| entity.get_ref().as_str()).collect(),
        (None, label) => label.iter().map(|label| label.get_ref().as_str()).collect(),
    };
    let mut grants = Vec::new();
    for grant in &mask.restore {
        for entity in grant.entities.iter().flatten().filter(|entity| !own.contains(&entity.get_ref().as_str())) {
            let message = format!("this mask has no pseudonyms of `{}`", entity.get_ref());
            let problem = Problem::error(source, entity.span(), message, "not what it looks for");
            report.error(problem.help(advice(entity.get_ref(), own.iter().copied())));
        }
        if grant.tool.get_ref().contains(['*', '?', '{']) {
            let problem = Problem::error(source, grant.tool.span(), "a grant names one tool, without wildcards", "");
            report.error(problem.help("write a grant for each tool that may have the values"));
        }
        let args: Vec<&str> = grant
            .args
            .iter()
            .filter(|place| is_pointer(place, source, report))
            .map(|place| place.get_ref().as_str())
            .collect();
        let names = match &grant.entities {
            Some(entities) => entities.iter().map(|entity| entity.get_ref().as_str().into()).collect(),
            None => own.iter().map(|name| (*name).into()).collect(),
        };
        grants.push(Grant::new(grant.tool.get_ref(), &args, names));
    }
    grants
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
    /// The place of a mask's `id`.
    pub fn mask_place(&self, id: &str) -> Option<(&Arc<Source>, Range<usize>)> {
        self.declared.ids.get(id).map(|(source, span)| (source, span.clone()))
    }

    /// The place of an error in a mask: its `pattern` or its `id`.
    pub(super) fn fault_place(&self, error: &SpecError) -> Option<(&Arc<Source>, Range<usize>)> {
        let (source, id) = self.mask_place(&error.id)?;
        let pattern = self.declared.patterns.get(&error.id).filter(|_| error.of_pattern);
        Some((source, pattern.cloned().unwrap_or(id)))
    }
}
