//! Masking: what must not pass is taken out of a message, and every other byte stays as it was.
//!
//! [`Masks::rewrite`] asks one cheap scan whether a value could hold anything a rule looks for. Only if so it walks the
//! value, decodes what stands in disguise, proves each candidate, and notes replacements for the changed spans alone.
//! Everything is text unless an [`Opaque`] pattern says otherwise, so a field nobody knew of is masked, not leaked.

mod actions;
mod blob;
mod engine;
mod findings;
mod gate;
mod opaque;
mod pattern;
mod recognisers;
mod shadow;
mod walk;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use crate::json::{Span, Splice, Value};
use engine::{Plan, Rule, Sought, apply};
pub use findings::{Finding, Findings};
pub use opaque::Opaque;
use pattern::Pattern;
use walk::Walk;

/// One `[[mask]]` of a policy file.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, unique per server.
    pub id: Arc<str>,
    /// Where it applies.
    pub on: Directions,
    /// What it looks for.
    pub what: What,
    /// What it does about it.
    pub action: Action,
}

/// What a mask looks for.
#[derive(Clone, Debug)]
pub enum What {
    /// Values this crate knows to recognise.
    Entities(Vec<Entity>),
    /// A regular expression and the name its matches go by.
    Pattern {
        /// The source, in the syntax of the `regex` crate.
        regex: String,
        /// The name, upper case.
        label: String,
    },
}

/// A kind of value with a recogniser of its own; names are those of Microsoft Presidio where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Entity {
    CreditCard,
    EmailAddress,
    IbanCode,
    IpAddress,
    PhoneNumber,
    Secret,
    UsSsn,
}

impl Entity {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CreditCard,
        Self::EmailAddress,
        Self::IbanCode,
        Self::IpAddress,
        Self::PhoneNumber,
        Self::Secret,
        Self::UsSsn,
    ];

    /// The entity of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.name() == name)
    }

    /// Its name in policies, replacements and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreditCard => "CREDIT_CARD",
            Self::EmailAddress => "EMAIL_ADDRESS",
            Self::IbanCode => "IBAN_CODE",
            Self::IpAddress => "IP_ADDRESS",
            Self::PhoneNumber => "PHONE_NUMBER",
            Self::Secret => "SECRET",
            Self::UsSsn => "US_SSN",
        }
    }
}

/// What a mask does about a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Refuses the whole message.
    Block,
    /// Writes twelve mask characters, whatever the length, between the first and last characters kept.
    Mask {
        /// Characters to keep at the start.
        keep_first: usize,
        /// Characters to keep at the end.
        keep_last: usize,
        /// The mask character.
        char: char,
    },
    /// Writes `[ENTITY]`.
    Redact,
    /// Changes nothing, and is counted.
    Report,
}

impl Action {
    /// Its name in policies and records.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Mask { .. } => "mask",
            Self::Redact => "redact",
            Self::Report => "report",
        }
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client, to the upstream.
    Arguments,
    /// From the upstream, to the client.
    Result,
}

impl Direction {
    /// Its name in policies and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Result => "result",
        }
    }
}

/// The directions a mask applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// From the client.
    pub arguments: bool,
    /// From the upstream.
    pub result: bool,
}

impl Directions {
    /// Whether `direction` is among them.
    pub const fn has(self, direction: Direction) -> bool {
        match direction {
            Direction::Arguments => self.arguments,
            Direction::Result => self.result,
        }
    }
}

/// Why one mask of a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mask `{id}`: {message}")]
pub struct SpecError {
    /// The mask.
    pub id: Arc<str>,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// A message that must not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blocked: message contained {entity} (rule {mask})")]
pub struct Blocked {
    /// The mask that refuses it.
    pub mask: Arc<str>,
    /// What was found; never the value.
    pub entity: Arc<str>,
    /// Why it is refused.
    pub cause: Cause,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A mask with `action = "block"` matched.
    Matched,
    /// JSON within JSON goes deeper than is looked into.
    TooDeep,
}

/// The compiled masks of one server.
#[derive(Debug)]
pub struct Masks {
    arguments: Plan,
    result: Plan,
}

impl Masks {
    /// Compiles the masks of a policy in file order; the error lists everything that is wrong with them.
    pub fn compile(specs: Vec<Spec>) -> Result<Self, Vec<SpecError>> {
        const MOST_PATTERNS: usize = 200;
        let mut errors = Vec::new();
        let mut ids = HashSet::new();
        let mut rules: Vec<(Directions, Rule)> = Vec::new();
        for spec in specs {
            if !ids.insert(spec.id.clone()) {
                errors.push(SpecError::new(
                    &spec.id,
                    "another mask has this id",
                    "give every mask of a server an id of its own",
                ));
            }
            match rule(&spec) {
                Ok(rule) => rules.push((spec.on, rule)),
                Err(found) => errors.extend(found),
            }
        }
        let mut patterns = rules.iter().filter(|(_, rule)| matches!(rule.what, Sought::Pattern { .. }));
        if let Some((_, rule)) = patterns.nth(MOST_PATTERNS) {
            errors.push(SpecError::new(&rule.id, "more than 200 patterns", "join patterns of one label with `|`"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let tokens = tokens(&rules);
        let plan = |direction: Direction| {
            let applied = rules.iter().filter(|(on, _)| on.has(direction)).map(|(_, rule)| rule.clone());
            Plan::new(direction, applied.collect(), tokens.clone())
        };
        Ok(Self { arguments: plan(Direction::Arguments), result: plan(Direction::Result) })
    }

    /// Whether there is nothing to mask in either direction.
    pub fn is_empty(&self) -> bool {
        self.arguments.is_empty() && self.result.is_empty()
    }

    /// Whether there is nothing to mask in `direction`.
    pub fn is_empty_for(&self, direction: Direction) -> bool {
        self.plan(direction).is_empty()
    }

    fn plan(&self, direction: Direction) -> &Plan {
        match direction {
            Direction::Arguments => &self.arguments,
            Direction::Result => &self.result,
        }
    }

    /// Masks everything in `value` but for the `opaque` places below it: replacements go to `splice`, counts to `findings`.
    ///
    /// On an error the message must be refused; what is in `splice` then is of no use.
    pub fn rewrite(
        &self,
        direction: Direction,
        value: Value<'_>,
        opaque: &[Opaque],
        splice: &mut Splice,
        findings: &mut Findings,
    ) -> Result<(), Blocked> {
        let plan = self.plan(direction);
        if plan.is_empty() || !plan.gate.opens(value.raw()) {
            return Ok(());
        }
        for edit in Walk::new(plan, findings).value(value, opaque)? {
            splice.replace(Span { start: edit.start, end: edit.end }, edit.text);
        }
        Ok(())
    }

    /// Masks one text: what a header carried, or a message of our own about foreign words.
    pub fn text<'t>(
        &self,
        direction: Direction,
        text: &'t str,
        findings: &mut Findings,
    ) -> Result<Cow<'t, str>, Blocked> {
        let plan = self.plan(direction);
        if plan.is_empty() || !plan.gate.opens(text.as_bytes()) {
            return Ok(text.into());
        }
        let mut edits = Walk::new(plan, findings).text(text, "", 0)?;
        edits.sort_by_key(|edit| edit.start);
        Ok(if edits.is_empty() { text.into() } else { apply(text, &edits).into() })
    }
}

impl SpecError {
    fn new(id: &Arc<str>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { id: id.clone(), message: message.into(), help: help.into() }
    }
}

/// What `spec` means, or everything that is wrong with it.
fn rule(spec: &Spec) -> Result<Rule, Vec<SpecError>> {
    let mut errors = Vec::new();
    let mut refuse = |message: String, help: &str| errors.push(SpecError::new(&spec.id, message, help));
    if spec.on == Directions::default() {
        refuse("applies to nothing".into(), "write `on = [\"result\"]`, `[\"arguments\"]` or both");
    }
    if let Action::Mask { char, .. } = spec.action
        && (char.is_control()
            || char.is_whitespace()
            || char.is_ascii_digit()
            || matches!(char, '"' | '\\' | '@' | '%' | '&'))
    {
        refuse(format!("`{}` cannot be a mask character", char.escape_default()), "use `*`, `#`, `x` or `•`");
    }
    let what = match &spec.what {
        What::Entities(entities) => {
            if entities.is_empty() {
                refuse("looks for nothing".into(), "name at least one entity, or write a `pattern` with a `label`");
            }
            Some(Sought::Entities(entities.clone()))
        }
        What::Pattern { regex, label } => {
            if !is_label(label) {
                refuse(
                    format!("`{label}` cannot be a label"),
                    "use up to 64 upper-case letters, digits and `_`, a letter first: EMPLOYEE_ID",
                );
            }
            match Pattern::new(regex) {
                Ok(pattern) => Some(Sought::Pattern { pattern: Arc::new(pattern), label: label.as_str().into() }),
                Err(error) => {
                    refuse(error.message, error.help);
                    None
                }
            }
        }
    };
    match what {
        Some(what) if errors.is_empty() => Ok(Rule { id: spec.id.clone(), action: spec.action.clone(), what }),
        _ => Err(errors),
    }
}

fn is_label(label: &str) -> bool {
    label.len() <= 64
        && label.starts_with(|c: char| c.is_ascii_uppercase())
        && label.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// All replacements that may stand in a text: those of the entities and of the policy's own labels.
fn tokens(rules: &[(Directions, Rule)]) -> Arc<[String]> {
    let labels = rules.iter().filter_map(|(_, rule)| match &rule.what {
        Sought::Entities(_) => None,
        Sought::Pattern { label, .. } => Some(label.as_ref()),
    });
    let names: HashSet<&str> = Entity::ALL.iter().map(|entity| entity.name()).chain(labels).collect();
    names.into_iter().map(|name| format!("[{name}]")).collect()
}

static SANITIZER: LazyLock<Plan> = LazyLock::new(|| {
    let rule = Rule { id: "sanitize".into(), action: Action::Redact, what: Sought::Entities(Entity::ALL.to_vec()) };
    Plan::new(Direction::Result, vec![rule], tokens(&[]))
});

/// `text` as it may stand in a log, a metric or an audit record: every entity redacted, control and format characters
/// escaped, at most 200 bytes.
pub fn sanitize(text: &str) -> String {
    const LONGEST: usize = 200;
    const LOOKED_AT: usize = 64 * 1024;
    let head = text.get(..text.floor_char_boundary(LOOKED_AT)).unwrap_or_default();
    // A value cut in two might not be known any more, so the last word of a cut text goes.
    let head = if head.len() < text.len() {
        head.rsplit_once(char::is_whitespace).map_or("", |(whole, _)| whole)
    } else {
        head
    };
    let masked = match Walk::new(&SANITIZER, &mut Findings::default()).text(head, "", 0) {
        Ok(mut edits) => {
            edits.sort_by_key(|edit| edit.start);
            apply(head, &edits)
        }
        Err(_) => "[REFUSED]".to_owned(),
    };
    let mut out = String::new();
    for c in masked.chars() {
        let before = out.len();
        if c.is_control() || is_unseen(c) {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
        if out.len() > LONGEST {
            out.truncate(before.min(out.floor_char_boundary(LONGEST - '…'.len_utf8())));
            out.push('…');
            break;
        }
    }
    out
}

/// Characters that reorder or hide their neighbours on a screen.
const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
