//! From a text to the edits that mask it: candidates, validated matches, resolved overlaps.

mod found;
mod scratch;
mod settle;

use std::borrow::Cow;
use std::sync::Arc;

use super::actions::is_masked;
use super::applied::Applied;
use super::asks::Asked;
use super::claims::Claims;
use super::fit::is_stand_in;
use super::gate::{Gate, Signal};
use super::literals::Literal;
use super::own::{Own, beside};
use super::pattern::Pattern;
use super::places::{Blobs, Place, Places};
use super::pseudonym::MaskTag;
use super::recognisers::{self, Text, contact, hardware, identity, network, secret, url};
use super::shadow::Shadow;
use super::spec::Grant;
use super::view::{Applies, Mode};
use super::{Action, Blocked, Cause, Direction, Entity, Findings};
use crate::json::Span;
use found::{Found, Kind, Match, Shown};
pub(super) use scratch::{Lent, Scratch};

/// One mask of the policy, compiled.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    /// Identifies it in pseudonyms.
    pub(super) tag: MaskTag,
    pub(super) action: Action,
    pub(super) what: Sought,
    pub(super) applies: Applies,
    pub(super) places: Places,
    pub(super) restore: Arc<[Grant]>,
    pub(super) asks: Arc<Asked>,
}

impl Rule {
    /// Whether it takes every value found, and its replacement does not depend on the value.
    fn takes_all(&self) -> bool {
        matches!(self.action, Action::Block | Action::Redact | Action::Report) && self.asks.allows_nothing()
    }

    /// The names of its values: entities, or the label of a pattern.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        match &self.what {
            Sought::Entities(entities) => entities.iter().map(|entity| entity.name().into()).collect(),
            Sought::Pattern { label, .. } => vec![label.clone()],
        }
    }
}

/// What a rule looks for.
#[derive(Clone, Debug)]
pub(super) enum Sought {
    Entities(Vec<Entity>),
    Pattern { pattern: Arc<Pattern>, label: Arc<str> },
}

/// The rules of one direction, ready to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) direction: Direction,
    pub(super) rules: Vec<Rule>,
    /// Whether some rule depends on the caller or the call.
    pub(super) conditional: bool,
    entities: Vec<Wanted>,
    /// The recognisers of numbers, with indices into `entities`.
    claims: Claims,
    /// The replacements of all masks in both directions, which are never matched again.
    own: Arc<Own>,
    pub(super) gate: Gate,
}

/// An entity some rule looks for.
#[derive(Debug)]
struct Wanted {
    entity: Entity,
    name: Arc<str>,
    /// Indices of those rules, in file order.
    rules: Vec<usize>,
    /// Whether all of them take every value; see [`Rule::takes_all`].
    takes_all: bool,
}

/// A replacement of bytes `start..end` of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) text: Cow<'static, str>,
}

/// `text` with `edits` applied, which are in order and do not overlap.
pub(super) fn apply(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len() + 16 * edits.len());
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.start).unwrap_or_default());
        out.push_str(&edit.text);
        at = edit.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// The position of a text in its message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot<'a> {
    /// The JSON key it is under; empty if none.
    pub(super) label: &'a str,
    pub(super) place: Place,
    /// Indices of the rules that leave it alone.
    pub(super) left_alone: &'a [usize],
}

impl Plan {
    /// A plan of `rules` for `direction`; `own` recognises the replacements of all masks of the policy.
    pub(super) fn new(direction: Direction, rules: Vec<Rule>, own: Arc<Own>) -> Self {
        let mut entities: Vec<Wanted> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let Sought::Entities(sought) = &rule.what else { continue };
            for entity in sought {
                if let Some(wanted) = entities.iter_mut().find(|wanted| wanted.entity == *entity) {
                    wanted.rules.push(index);
                    continue;
                }
                let name = entity.name().into();
                entities.push(Wanted { entity: *entity, name, rules: vec![index], takes_all: false });
            }
        }
        for wanted in &mut entities {
            wanted.takes_all = wanted.rules.iter().all(|rule| rules[*rule].takes_all());
        }
        // Credentials in URLs come before email addresses, which can look like a part of them.
        entities.sort_by_key(|wanted| wanted.entity != Entity::UrlCredentials);
        let (literals, open) = gate_literals(&rules);
        let sought = entities.iter().map(|wanted| wanted.entity);
        let gate = Gate::new(sought, secret::literals(), &literals, open);
        let claims = Claims::of(|sought| entities.iter().position(|wanted| wanted.entity == sought));
        if !entities.is_empty() {
            recognisers::prepare();
        }
        let conditional = rules.iter().any(|rule| !rule.applies.is_unconditional());
        Self { direction, rules, conditional, entities, claims, own, gate }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The refusal of a message that is nested too deeply, in the name of the first rule.
    pub(super) fn too_deep(&self) -> Blocked {
        let mask = self.rules.first().map_or_else(|| "".into(), |rule| rule.id.clone());
        Blocked { mask, entity: "nested JSON".into(), cause: Cause::TooDeep }
    }

    /// The refusal of binary data, in the name of the first active rule with `blobs = "block"`; `None` if there is none.
    pub(super) fn binary(&self, applied: &Applied<'_>) -> Option<Blocked> {
        let mut rules = self.rules.iter().enumerate();
        let (_, rule) =
            rules.find(|(index, rule)| rule.places.blobs == Blobs::Block && applied.mode(*index) == Mode::Acts)?;
        Some(Blocked { mask: rule.id.clone(), entity: "binary data".into(), cause: Cause::Matched })
    }

    /// The refusal of a URI that contains a value and cannot be sealed.
    pub(super) fn unsealed_uri(&self) -> Blocked {
        Blocked { entity: "a URI with personal data".into(), cause: Cause::Matched, ..self.too_deep() }
    }

    /// The refusal of data for which no replacement satisfies the schema.
    pub(super) fn unfit(&self) -> Blocked {
        Blocked {
            entity: "a value in place of which nothing fits its schema".into(),
            cause: Cause::Matched,
            ..self.too_deep()
        }
    }

    /// The edits that mask `text`; none if nothing is found. Errs if the message must be refused.
    ///
    /// A rewritten text is searched again, up to eight times: with one value replaced, a neighbour may match.
    pub(super) fn edits(
        &self,
        text: &str,
        spot: Spot<'_>,
        applied: &Applied<'_>,
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) -> Result<Vec<Edit>, Blocked> {
        const ROUNDS: usize = 8;
        self.find(text, spot, applied, scratch);
        self.report(&scratch.matches, applied, findings);
        let edits = self.resolve(&mut scratch.matches, spot, applied, findings)?;
        if edits.is_empty() {
            return Ok(edits);
        }
        let mut written = apply(text, &edits);
        let mut again = false;
        for _ in 1..ROUNDS {
            self.find(&written, spot, applied, scratch);
            let further = self.resolve(&mut scratch.matches, spot, applied, findings)?;
            if further.is_empty() {
                break;
            }
            written = apply(&written, &further);
            again = true;
        }
        Ok(if again { vec![Edit { start: 0, end: text.len(), text: written.into() }] } else { edits })
    }

    /// Finds everything rules look for in `text`, and in up to three successive decodings of it.
    fn find(&self, text: &str, spot: Spot<'_>, applied: &Applied<'_>, scratch: &mut Scratch) {
        const SHADOWS: usize = 3;
        let mut matches = std::mem::take(&mut scratch.matches);
        matches.clear();
        let mut found = Found { matches: &mut matches, spot, applied };
        let disguised = self.look(text, &[], scratch, &mut found);
        if disguised || memchr::memchr(b'\\', text.as_bytes()).is_some() {
            let mut shadows: Vec<Shadow> = Vec::new();
            while shadows.len() < SHADOWS {
                let Some(shadow) = Shadow::of(shadows.last().map_or(text, Shadow::text)) else { break };
                shadows.push(shadow);
                self.look(text, &shadows, scratch, &mut found);
            }
        }
        scratch.matches = matches;
    }

    /// Searches the last of `shadows`, or `text` itself; returns whether the searched text contains disguises.
    fn look(&self, text: &str, shadows: &[Shadow], scratch: &mut Scratch, found: &mut Found<'_>) -> bool {
        let mut shown = Shown { text, shadows, keyed: None };
        let (last, label) = (shown.last(), found.spot.label);
        self.gate.survey(label, last.as_bytes(), &mut scratch.survey);
        self.find_words(last, label, scratch);
        let seen = Text::new(last, label, &scratch.survey.runs);
        let mut words = scratch.words.as_slice();
        let is_plain = shadows.is_empty() && found.is_plain() && !self.own.is_keyed();
        let mut take = |span: Span, place: usize| {
            let wanted = &self.entities[place];
            if is_plain && wanted.takes_all && !is_stand_in(last, span) {
                let Span { start, end } = span;
                for rule in &wanted.rules {
                    found.matches.push(Match { start, end, rule: *rule, kind: Kind::Entity(place), written: None });
                }
                return;
            }
            wanted.rules.iter().for_each(|rule| self.offer(&mut shown, (span, *rule, Kind::Entity(place)), found));
        };
        // Numbers and words are each in order; merging them keeps the matches in order.
        self.claims.each(&seen, |span, place| {
            while let Some(((word, of), behind)) = words.split_first().filter(|((word, _), _)| *word <= span) {
                take(*word, *of);
                words = behind;
            }
            take(span, place);
        });
        for (word, of) in words {
            take(*word, *of);
        }
        self.match_patterns(&mut shown, found);
        found.applied.restored_in(last, |span, rule, place, pseudonym| {
            let (start, end) = shown.original(span);
            let written = Some(pseudonym.into());
            found.matches.push(Match { start, end, rule, kind: Kind::Restored(place), written });
        });
        scratch.survey.signals.has(Signal::Disguise)
    }

    /// Finds the values in the surveyed `text` that do not start from digits.
    fn find_words(&self, text: &str, label: &str, scratch: &mut Scratch) {
        let Scratch { survey, spans, urls, words, .. } = scratch;
        let (signals, seen) = (survey.signals, Text::new(text, label, &survey.runs));
        urls.clear();
        words.clear();
        for (place, wanted) in self.entities.iter().enumerate() {
            spans.clear();
            match wanted.entity {
                Entity::EmailAddress if signals.has(Signal::At) => {
                    contact::emails(&seen, spans);
                    // A password and its host look like an address.
                    spans.retain(|span| !touches_any(urls, *span));
                }
                Entity::IpAddress if signals.has(Signal::Colons) => network::v6_addresses(&seen, spans),
                Entity::ItFiscalCode => identity::it_fiscal_codes_in_letters(&seen, &survey.codes, spans),
                Entity::MacAddress if signals.has(Signal::Mac) => hardware::macs(&seen, spans),
                Entity::Secret => secret::secrets(&seen, &survey.keys, spans),
                Entity::UrlCredentials if signals.has(Signal::At) => {
                    url::credentials(&seen, spans);
                    urls.clone_from(spans);
                }
                _ => {}
            }
            words.extend(spans.iter().map(|span| (*span, place)));
        }
        if !words.is_sorted_by_key(|(span, _)| *span) {
            words.sort_by_key(|(span, _)| *span);
        }
    }

    /// Finds matches of the policy's patterns.
    fn match_patterns(&self, shown: &mut Shown<'_>, found: &mut Found<'_>) {
        let text = shown.last();
        for (index, rule) in self.rules.iter().enumerate() {
            let Sought::Pattern { pattern, .. } = &rule.what else { continue };
            for hit in pattern.regex.find_iter(text) {
                let span = Span { start: hit.start(), end: hit.end() };
                if !rule.asks.takes(text, span, found.spot.label) {
                    continue;
                }
                if let Some(span) = self.own.beside_tokens(text, span) {
                    self.offer(shown, (span, index, Kind::Pattern), found);
                }
            }
        }
    }

    /// Adds a span of the last shadow as a match in the text, unless it is a replacement or the rule lets it pass.
    fn offer(&self, shown: &mut Shown<'_>, (span, rule, kind): (Span, usize, Kind), found: &mut Found<'_>) {
        let (applied, text) = (found.applied, shown.last());
        let (asked, mode) = (&self.rules[rule], applied.mode(rule));
        if mode == Mode::Sleeps
            || found.spot.left_alone.contains(&rule)
            || span.end <= span.start
            || is_masked(&asked.action, text, span)
        {
            return;
        }
        let Some(span) = self.beside_keyed(shown, span, applied) else { return };
        if asked.asks.lets_pass(text, span) || is_stand_in(text, span) {
            return;
        }
        let is_written = mode == Mode::Acts && !matches!(asked.action, Action::Redact);
        let written = if is_written { self.written(applied, (rule, kind), text, span) } else { None };
        let (start, end) = shown.original(span);
        found.matches.push(Match { start, end, rule, kind, written });
    }

    /// The replacement that `rule` writes for the value at `span` of `text`.
    fn written(&self, applied: &Applied<'_>, (rule, kind): (usize, Kind), text: &str, span: Span) -> Option<Box<str>> {
        let value = text.get(span.start..span.end).unwrap_or_default();
        applied.written(&self.rules[rule], self.name(rule, kind, applied), value).map(String::into_boxed_str)
    }

    /// The entity or label of a value that `rule` found.
    fn name<'m>(&'m self, rule: usize, kind: Kind, applied: &'m Applied<'_>) -> &'m Arc<str> {
        match (kind, &self.rules[rule].what) {
            (Kind::Entity(place), _) => &self.entities[place].name,
            (Kind::Restored(place), _) => applied.restored_name(place).unwrap_or(&self.rules[rule].id),
            (Kind::Pattern, Sought::Pattern { label, .. }) => label,
            (Kind::Pattern, Sought::Entities(_)) => &self.rules[rule].id,
        }
    }

    /// `span`, widened to whole hashes and pseudonyms it cuts; `None` inside one. They are searched for once there is a match.
    fn beside_keyed(&self, shown: &mut Shown<'_>, span: Span, applied: &Applied<'_>) -> Option<Span> {
        if !self.own.is_keyed() {
            return Some(span);
        }
        let text = shown.last();
        let keyed = shown.keyed.get_or_insert_with(|| self.own.keyed_in(text, applied));
        keyed.touching(span).try_fold(span, |taken, own| beside(own, span, taken))
    }
}

/// Whether `span` touches one of `others`, which are in order and do not overlap.
fn touches_any(others: &[Span], span: Span) -> bool {
    let behind = others.partition_point(|other| other.end <= span.start);
    others.get(behind).is_some_and(|other| other.start < span.end)
}

/// The literals with which matches of the patterns begin, and whether some pattern has no such literals.
fn gate_literals(rules: &[Rule]) -> (Vec<Literal>, bool) {
    let mut literals = Vec::new();
    let mut open = false;
    for rule in rules {
        match &rule.what {
            Sought::Entities(_) => {}
            Sought::Pattern { pattern, .. } if pattern.prefixes.is_empty() => open = true,
            Sought::Pattern { pattern, .. } => literals.extend(pattern.prefixes.iter().cloned()),
        }
    }
    (literals, open)
}
