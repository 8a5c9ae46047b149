//! From a text to the edits that mask it: candidates, validated matches, resolved overlaps.

use std::sync::Arc;

use super::actions::{is_masked, replacement};
use super::applied::Applied;
use super::asks::Asked;
use super::claims::Claims;
use super::fit::is_stand_in;
use super::gate::{Gate, Signal, Survey};
use super::literals::Literal;
use super::own::{Own, Written, beside};
use super::pattern::Pattern;
use super::places::{Blobs, Place, Places, Treatment};
use super::pseudonym::MaskTag;
use super::recognisers::{self, Text, contact, hardware, identity, network, secret, url};
use super::shadow::Shadow;
use super::spec::Grant;
use super::view::{Applies, Mode};
use super::{Action, Blocked, Cause, Direction, Entity, Findings};
use crate::json::Span;

/// What a plan does about one mask of the policy.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    /// Names it in pseudonyms.
    pub(super) tag: MaskTag,
    pub(super) action: Action,
    pub(super) what: Sought,
    pub(super) applies: Applies,
    pub(super) places: Places,
    pub(super) restore: Arc<[Grant]>,
    pub(super) asks: Arc<Asked>,
}

impl Rule {
    /// What its values go by.
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
    /// Whether some rule does not act on every message.
    pub(super) conditional: bool,
    /// Each entity some rule looks for, with its name and those rules in file order.
    entities: Vec<(Entity, Arc<str>, Vec<usize>)>,
    /// What claims numbers, with the places of entities above.
    claims: Claims,
    /// What masks of any direction write: never matched again.
    own: Arc<Own>,
    pub(super) gate: Gate,
}

/// A replacement of bytes `start..end` of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) text: String,
}

/// `text` with `edits` made, which are in order and do not overlap.
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

/// Memory recognisers use again from text to text.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    survey: Survey,
    spans: Vec<Span>,
    urls: Vec<Span>,
}

/// A value some rule looks for.
#[derive(Debug)]
struct Match<'m> {
    start: usize,
    end: usize,
    rule: usize,
    name: &'m Arc<str>,
    /// What the rule's action puts in its place; empty where that is the name alone, or nothing.
    written: String,
}

impl Match<'_> {
    const fn span(&self) -> Span {
        Span { start: self.start, end: self.end }
    }
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot<'a> {
    /// The JSON key it stands under; empty if none.
    pub(super) label: &'a str,
    pub(super) place: Place,
    /// Rules that leave it alone.
    pub(super) left_alone: &'a [usize],
}

impl Plan {
    /// A plan of `rules` for `direction`; `own` is what all masks of the policy write.
    pub(super) fn new(direction: Direction, rules: Vec<Rule>, own: Arc<Own>) -> Self {
        let mut entities: Vec<(Entity, Arc<str>, Vec<usize>)> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let Sought::Entities(sought) = &rule.what else { continue };
            for entity in sought {
                match entities.iter_mut().find(|(known, _, _)| known == entity) {
                    Some((_, _, users)) => users.push(index),
                    None => entities.push((*entity, entity.name().into(), vec![index])),
                }
            }
        }
        // Credentials in URLs come before addresses of mail, which can look like a part of them.
        entities.sort_by_key(|(entity, ..)| *entity != Entity::UrlCredentials);
        let (literals, open) = gate_literals(&rules);
        let sought = entities.iter().map(|(entity, _, _)| *entity);
        let gate = Gate::new(sought, secret::literals(), &literals, open);
        let claims = Claims::of(|sought| entities.iter().position(|(entity, ..)| *entity == sought));
        if !entities.is_empty() {
            recognisers::prepare();
        }
        let conditional = rules.iter().any(|rule| !rule.applies.is_unconditional());
        Self { direction, rules, conditional, entities, claims, own, gate }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The refusal of what is nested too deeply to be looked into, in the name of the first rule.
    pub(super) fn too_deep(&self) -> Blocked {
        let mask = self.rules.first().map_or_else(|| "".into(), |rule| rule.id.clone());
        Blocked { mask, entity: "nested JSON".into(), cause: Cause::TooDeep }
    }

    /// The refusal of binary data, in the name of the first rule that wants it refused.
    pub(super) fn binary(&self, applied: &Applied<'_>) -> Option<Blocked> {
        let mut rules = self.rules.iter().enumerate();
        let (_, rule) =
            rules.find(|(index, rule)| rule.places.blobs == Blobs::Block && applied.mode(*index) == Mode::Acts)?;
        Some(Blocked { mask: rule.id.clone(), entity: "binary data".into(), cause: Cause::Matched })
    }

    /// The refusal of a URI that holds a value and cannot be sealed.
    pub(super) fn unsealed_uri(&self) -> Blocked {
        Blocked { entity: "a URI with personal data".into(), cause: Cause::Matched, ..self.too_deep() }
    }

    /// The refusal of data that would not be what its schema says, whatever was written.
    pub(super) fn unfit(&self) -> Blocked {
        Blocked {
            entity: "a value in place of which nothing fits its schema".into(),
            cause: Cause::Matched,
            ..self.too_deep()
        }
    }

    /// The edits that mask `text`; none if nothing is found.
    ///
    /// What was rewritten is looked at again: with a value gone a neighbour may show.
    pub(super) fn edits(
        &self,
        text: &str,
        spot: Spot<'_>,
        applied: &Applied<'_>,
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) -> Result<Vec<Edit>, Blocked> {
        const ROUNDS: usize = 8;
        let matches = self.matches(text, spot, applied, scratch);
        self.report(&matches, applied, findings);
        let edits = self.resolve(matches, spot, applied, findings)?;
        if edits.is_empty() {
            return Ok(edits);
        }
        let mut written = apply(text, &edits);
        let mut again = false;
        for _ in 1..ROUNDS {
            let further = self.resolve(self.matches(&written, spot, applied, scratch), spot, applied, findings)?;
            if further.is_empty() {
                break;
            }
            written = apply(&written, &further);
            again = true;
        }
        Ok(if again { vec![Edit { start: 0, end: text.len(), text: written }] } else { edits })
    }

    /// Where values stand in `text`, of overlapping ones the longest.
    pub(super) fn located(&self, text: &str, applied: &Applied<'_>) -> Vec<(Span, &str)> {
        if self.is_empty() || !self.gate.opens(text.as_bytes()) {
            return Vec::new();
        }
        let mut matches = self.matches(text, Spot::default(), applied, &mut Scratch::default());
        matches.sort_by_key(|found| (found.start, found.end));
        let mut located = Vec::with_capacity(matches.len());
        let mut rest = matches.as_mut_slice();
        while let Some((cluster, behind)) = first_cluster(rest) {
            rest = behind;
            // Most values stand alone.
            if let [found] = cluster {
                located.push((found.span(), self.own_name(found)));
                continue;
            }
            let from = located.len();
            cluster.sort_by_key(|found| (std::cmp::Reverse(found.end - found.start), found.rule, found.start));
            for found in &*cluster {
                let is_free = |(span, _): &(Span, &str)| span.end <= found.start || found.end <= span.start;
                if located[from..].iter().all(is_free) {
                    located.push((found.span(), self.own_name(found)));
                }
            }
            located[from..].sort_by_key(|(span, _)| span.start);
        }
        located
    }

    /// What a match goes by, as the plan has it.
    fn own_name(&self, found: &Match<'_>) -> &str {
        let known = self.entities.iter().map(|(_, name, _)| name).find(|name| Arc::ptr_eq(name, found.name));
        match (known, &self.rules[found.rule].what) {
            (Some(name), _) | (None, Sought::Pattern { label: name, .. }) => name,
            (None, Sought::Entities(_)) => "",
        }
    }

    /// Everything rules look for in `text` and in its shadows, which are taken off one by one.
    fn matches<'f>(
        &'f self,
        text: &str,
        spot: Spot<'f>,
        applied: &'f Applied<'_>,
        scratch: &mut Scratch,
    ) -> Vec<Match<'f>> {
        const SHADOWS: usize = 3;
        let mut found = Found { matches: Vec::new(), spot, applied };
        let disguised = self.look(text, &[], scratch, &mut found);
        if !disguised && memchr::memchr(b'\\', text.as_bytes()).is_none() {
            return found.matches;
        }
        let mut shadows: Vec<Shadow> = Vec::new();
        while shadows.len() < SHADOWS {
            let Some(shadow) = Shadow::of(shadows.last().map_or(text, Shadow::text)) else { break };
            shadows.push(shadow);
            self.look(text, &shadows, scratch, &mut found);
        }
        found.matches
    }

    /// Looks at the last of `shadows`, or at `text` itself; returns whether the text is in disguise.
    fn look<'f>(&'f self, text: &str, shadows: &[Shadow], scratch: &mut Scratch, found: &mut Found<'f>) -> bool {
        let label = found.spot.label;
        let shown = shadows.last().map_or(text, Shadow::text);
        let Scratch { survey, spans, urls } = scratch;
        self.gate.survey(label, shown.as_bytes(), survey);
        let (signals, seen) = (survey.signals, Text::new(shown, label, &survey.runs));
        let mut seen_in = Shown { text, shadows, keyed: None };
        urls.clear();
        for (entity, name, users) in &self.entities {
            spans.clear();
            match entity {
                Entity::EmailAddress if signals.has(Signal::At) => {
                    contact::emails(&seen, spans);
                    // What looks like an address between a password and its host is none.
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
            for span in spans.iter() {
                for rule in users {
                    self.offer(&mut seen_in, (*span, *rule, name), found);
                }
            }
        }
        self.claims.each(&seen, |span, entity| {
            let (_, name, users) = &self.entities[entity];
            for rule in users {
                self.offer(&mut seen_in, (span, *rule, name), found);
            }
        });
        for (index, rule) in self.rules.iter().enumerate() {
            let Sought::Pattern { pattern, label } = &rule.what else { continue };
            for hit in pattern.regex.find_iter(shown) {
                if !rule.asks.takes(shown, Span { start: hit.start(), end: hit.end() }, found.spot.label) {
                    continue;
                }
                if let Some(span) = self.own.beside_tokens(shown, Span { start: hit.start(), end: hit.end() }) {
                    self.offer(&mut seen_in, (span, index, label), found);
                }
            }
        }
        found.applied.restored_in(shown, |span, rule, name, pseudonym| {
            let (start, end) = seen_in.original(span);
            found.matches.push(Match { start, end, rule, name, written: pseudonym.to_owned() });
        });
        signals.has(Signal::Disguise)
    }

    /// Takes a span of the last shadow as a match in the text, unless it is what a rule wrote.
    fn offer<'f>(&self, shown: &mut Shown<'_>, (span, rule, name): (Span, usize, &'f Arc<str>), found: &mut Found<'f>) {
        let (applied, spot, text) = (found.applied, found.spot, shown.last());
        let (asked, mode) = (&self.rules[rule], applied.mode(rule));
        if mode == Mode::Sleeps
            || spot.left_alone.contains(&rule)
            || span.end <= span.start
            || is_masked(&asked.action, text, span.start, span.end)
        {
            return;
        }
        let Some(span) = self.beside_keyed(shown, span, applied) else { return };
        let value = text.get(span.start..span.end).unwrap_or_default();
        if asked.asks.lets_pass(value) || is_stand_in(value) {
            return;
        }
        let written = match mode {
            Mode::Acts if asked.action == Action::Redact => String::new(),
            Mode::Acts => applied.written(asked, name, value).unwrap_or_default(),
            Mode::Shows | Mode::Sleeps => String::new(),
        };
        let (start, end) = shown.original(span);
        found.matches.push(Match { start, end, rule, name, written });
    }

    /// The span beside hashes and pseudonyms, which are looked for once there is something they could be taken for.
    fn beside_keyed(&self, shown: &mut Shown<'_>, span: Span, applied: &Applied<'_>) -> Option<Span> {
        if !self.own.is_keyed() {
            return Some(span);
        }
        let text = shown.last();
        let keyed = shown.keyed.get_or_insert_with(|| self.own.keyed_in(text, applied));
        keyed.touching(span).try_fold(span, |taken, own| beside(own, span, taken))
    }

    /// Counts what is only reported, and what the caller may see.
    fn report(&self, matches: &[Match<'_>], applied: &Applied<'_>, findings: &mut Findings) {
        for (index, rule) in self.rules.iter().enumerate() {
            let counted = match applied.mode(index) {
                Mode::Shows => "shown",
                Mode::Acts if rule.action == Action::Report => rule.action.name(),
                Mode::Acts | Mode::Sleeps => continue,
            };
            let mut seen: Vec<&Match<'_>> = matches.iter().filter(|found| found.rule == index).collect();
            seen.sort_by_key(|found| found.start);
            let mut behind = 0;
            for found in seen {
                if found.start >= behind {
                    findings.add(rule, found.name, counted, self.direction, found.span());
                }
                behind = behind.max(found.end);
            }
        }
    }

    /// Settles overlaps: a `block` refuses all; else the longest span wins, then file order, and covers all it touches.
    fn resolve(
        &self,
        mut matches: Vec<Match<'_>>,
        spot: Spot<'_>,
        applied: &Applied<'_>,
        findings: &mut Findings,
    ) -> Result<Vec<Edit>, Blocked> {
        let treatment = |found: &Match<'_>| self.rules[found.rule].places.of(spot.place);
        matches.retain(|found| {
            self.rules[found.rule].action != Action::Report
                && applied.mode(found.rule) == Mode::Acts
                && treatment(found) != Treatment::Pass
        });
        let blocking = matches
            .iter()
            .filter(|found| self.rules[found.rule].action == Action::Block || treatment(found) == Treatment::Refuse);
        if let Some(found) = blocking.min_by_key(|found| (found.rule, found.start)) {
            let rule = &self.rules[found.rule];
            findings.add(rule, found.name, Action::Block.name(), self.direction, found.span());
            return Err(Blocked { mask: rule.id.clone(), entity: found.name.clone(), cause: Cause::Matched });
        }
        matches.sort_by_key(|found| (found.start, found.end));
        let mut edits = Vec::with_capacity(matches.len());
        let mut rest = matches.as_mut_slice();
        while let Some((cluster, behind)) = first_cluster(rest) {
            edits.extend(self.settle(cluster, findings));
            rest = behind;
        }
        Ok(edits)
    }

    /// The one edit for overlapping matches.
    fn settle(&self, cluster: &mut [Match<'_>], findings: &mut Findings) -> Option<Edit> {
        let start = cluster.first()?.start;
        let end = cluster.iter().map(|found| found.end).max()?;
        let winner = cluster.iter_mut().max_by_key(|found| (found.end - found.start, std::cmp::Reverse(found.rule)))?;
        let rule = &self.rules[winner.rule];
        findings.add(rule, winner.name, rule.action.name(), self.direction, Span { start, end });
        let whole = winner.start == start && winner.end == end && rule.action != Action::Redact;
        // Kept characters of a wider span could be another value's.
        let text =
            if whole { std::mem::take(&mut winner.written) } else { replacement(&rule.action, winner.name, "")? };
        Some(Edit { start, end, text })
    }
}

/// The first of `matches`, which are in order, with all that overlap it or each other, and the rest.
fn first_cluster<'s, 'm>(matches: &'s mut [Match<'m>]) -> Option<(&'s mut [Match<'m>], &'s mut [Match<'m>])> {
    let mut end = matches.first()?.end;
    let mut count = 1;
    while let Some(next) = matches.get(count).filter(|next| next.start < end) {
        end = end.max(next.end);
        count += 1;
    }
    Some(matches.split_at_mut(count))
}

/// Whether `span` touches one of `others`, which are in order and do not overlap.
fn touches_any(others: &[Span], span: Span) -> bool {
    let behind = others.partition_point(|other| other.end <= span.start);
    others.get(behind).is_some_and(|other| other.start < span.end)
}

/// What was found in a text, and how it is looked at.
struct Found<'f> {
    matches: Vec<Match<'f>>,
    spot: Spot<'f>,
    applied: &'f Applied<'f>,
}

/// A text as its last shadow shows it.
struct Shown<'t> {
    text: &'t str,
    shadows: &'t [Shadow],
    /// Hashes and pseudonyms in it, once they have been looked for.
    keyed: Option<Written>,
}

impl<'t> Shown<'t> {
    fn last(&self) -> &'t str {
        self.shadows.last().map_or(self.text, Shadow::text)
    }

    /// Where a span of what is shown stands in the text.
    fn original(&self, span: Span) -> (usize, usize) {
        let back = |(start, end), shadow: &Shadow| shadow.original(start, end);
        self.shadows.iter().rev().fold((span.start, span.end), back)
    }
}

/// Literals of which every match of a pattern begins with one, and whether a pattern has none.
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
