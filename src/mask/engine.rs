//! From a text to the edits that mask it: candidates, validated matches, resolved overlaps.

use std::sync::Arc;

use super::actions::{is_masked, replacement};
use super::gate::{Gate, Signal};
use super::literals::Literal;
use super::pattern::Pattern;
use super::recognisers::{Text, contact, digit_runs, identity, network, payment, secret};
use super::shadow::Shadow;
use super::{Action, Blocked, Cause, Direction, Entity, Findings};
use crate::json::Span;

/// What a plan does about one mask of the policy.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) action: Action,
    pub(super) what: Sought,
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
    direction: Direction,
    rules: Vec<Rule>,
    /// Each entity some rule looks for, with its name and those rules in file order.
    entities: Vec<(Entity, Arc<str>, Vec<usize>)>,
    /// Replacements of any plan: never matched again.
    tokens: Arc<[String]>,
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
    runs: Vec<Span>,
    spans: Vec<Span>,
}

/// A value some rule looks for.
#[derive(Debug)]
struct Match {
    start: usize,
    end: usize,
    rule: usize,
    name: Arc<str>,
    /// What the rule's action puts in its place; empty for actions that write nothing.
    written: String,
}

impl Plan {
    /// A plan of `rules` for `direction`; `tokens` are all replacements of the policy.
    pub(super) fn new(direction: Direction, rules: Vec<Rule>, tokens: Arc<[String]>) -> Self {
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
        let (literals, open) = gate_literals(&rules);
        let gate = Gate::new(entities.iter().map(|(entity, _, _)| *entity), &literals, open);
        Self { direction, rules, entities, tokens, gate }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The refusal of what is nested too deeply to be looked into, in the name of the first rule.
    pub(super) fn too_deep(&self) -> Blocked {
        let mask = self.rules.first().map_or_else(|| "".into(), |rule| rule.id.clone());
        Blocked { mask, entity: "nested JSON".into(), cause: Cause::TooDeep }
    }

    /// The edits that mask `text`, which stands under the JSON key `label`; none if nothing is found.
    ///
    /// What was rewritten is looked at again: with a value gone a neighbour may show.
    pub(super) fn edits(
        &self,
        text: &str,
        label: &str,
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) -> Result<Vec<Edit>, Blocked> {
        const ROUNDS: usize = 8;
        let matches = self.matches(text, label, scratch);
        self.report(&matches, findings);
        let edits = self.resolve(matches, findings)?;
        if edits.is_empty() {
            return Ok(edits);
        }
        let mut written = apply(text, &edits);
        let mut again = false;
        for _ in 1..ROUNDS {
            let further = self.resolve(self.matches(&written, label, scratch), findings)?;
            if further.is_empty() {
                break;
            }
            written = apply(&written, &further);
            again = true;
        }
        Ok(if again { vec![Edit { start: 0, end: text.len(), text: written }] } else { edits })
    }

    /// Everything rules look for in `text` and in its shadows, which are taken off one by one.
    fn matches(&self, text: &str, label: &str, scratch: &mut Scratch) -> Vec<Match> {
        const SHADOWS: usize = 3;
        let mut found = Vec::new();
        let disguised = self.look(text, label, &[], scratch, &mut found);
        if !disguised && memchr::memchr(b'\\', text.as_bytes()).is_none() {
            return found;
        }
        let mut shadows: Vec<Shadow> = Vec::new();
        while shadows.len() < SHADOWS {
            let Some(shadow) = Shadow::of(shadows.last().map_or(text, Shadow::text)) else { break };
            shadows.push(shadow);
            self.look(text, label, &shadows, scratch, &mut found);
        }
        found
    }

    /// Looks at the last of `shadows`, or at `text` itself; returns whether the text is in disguise.
    fn look(&self, text: &str, label: &str, shadows: &[Shadow], scratch: &mut Scratch, found: &mut Vec<Match>) -> bool {
        let shown = shadows.last().map_or(text, Shadow::text);
        let signals = self.gate.signals(shown.as_bytes());
        let Scratch { runs, spans } = scratch;
        runs.clear();
        if signals.has(Signal::Digits) || signals.has(Signal::Dots) {
            digit_runs(shown.as_bytes(), runs);
        }
        for (entity, name, users) in &self.entities {
            spans.clear();
            let seen = Text { whole: shown, label, runs };
            match entity {
                Entity::EmailAddress if signals.has(Signal::At) => contact::emails(&seen, spans),
                Entity::PhoneNumber if signals.has(Signal::Digits) => contact::phones(&seen, spans),
                Entity::CreditCard if signals.has(Signal::Digits) => payment::cards(&seen, spans),
                Entity::IbanCode if signals.has(Signal::Digits) => payment::ibans(&seen, spans),
                Entity::UsSsn if signals.has(Signal::Digits) => identity::us_ssns(&seen, spans),
                Entity::IpAddress if signals.has(Signal::Dots) || signals.has(Signal::Colons) => {
                    network::addresses(&seen, spans);
                }
                Entity::Secret => secret::secrets(&seen, spans),
                _ => {}
            }
            for span in spans.iter() {
                for rule in users {
                    self.offer(text, shadows, (*span, *rule, name), found);
                }
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let Sought::Pattern { pattern, label } = &rule.what else { continue };
            for hit in pattern.regex.find_iter(shown) {
                if let Some(span) = self.beside_tokens(shown, Span { start: hit.start(), end: hit.end() }) {
                    self.offer(text, shadows, (span, index, label), found);
                }
            }
        }
        signals.has(Signal::Disguise)
    }

    /// Takes a span of the last shadow as a match in `text`, unless it is what the rule itself wrote.
    fn offer(
        &self,
        text: &str,
        shadows: &[Shadow],
        (span, rule, name): (Span, usize, &Arc<str>),
        found: &mut Vec<Match>,
    ) {
        let shown = shadows.last().map_or(text, Shadow::text);
        let action = &self.rules[rule].action;
        if span.end <= span.start || is_masked(action, shown, span.start, span.end) {
            return;
        }
        let value = shown.get(span.start..span.end).unwrap_or_default();
        let written = replacement(action, name, value).unwrap_or_default();
        let back = |(start, end), shadow: &Shadow| shadow.original(start, end);
        let (start, end) = shadows.iter().rev().fold((span.start, span.end), back);
        found.push(Match { start, end, rule, name: name.clone(), written });
    }

    /// A pattern's match as it may be taken: none inside a replacement, and none that cuts one in two.
    fn beside_tokens(&self, text: &str, span: Span) -> Option<Span> {
        let bytes = text.as_bytes();
        let mut taken = span;
        for token in self.tokens.iter() {
            let from = span.start.saturating_sub(token.len());
            let window = &bytes[from..bytes.len().min(span.end + token.len())];
            for at in memchr::memmem::find_iter(window, token.as_bytes()) {
                let (start, end) = (from + at, from + at + token.len());
                if start <= span.start && span.end <= end {
                    return None;
                }
                if start < span.end && span.start < end {
                    taken = Span { start: taken.start.min(start), end: taken.end.max(end) };
                }
            }
        }
        Some(taken)
    }

    /// Counts what is only reported.
    fn report(&self, matches: &[Match], findings: &mut Findings) {
        for (index, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.action == Action::Report) {
            let mut seen: Vec<&Match> = matches.iter().filter(|found| found.rule == index).collect();
            seen.sort_by_key(|found| found.start);
            let mut behind = 0;
            for found in seen {
                if found.start >= behind {
                    findings.add(rule, &found.name, self.direction);
                }
                behind = behind.max(found.end);
            }
        }
    }

    /// Settles overlaps: a `block` refuses all; else the longest span wins, then file order, and covers all it touches.
    fn resolve(&self, mut matches: Vec<Match>, findings: &mut Findings) -> Result<Vec<Edit>, Blocked> {
        matches.retain(|found| self.rules[found.rule].action != Action::Report);
        let blocking = matches.iter().filter(|found| self.rules[found.rule].action == Action::Block);
        if let Some(found) = blocking.min_by_key(|found| (found.rule, found.start)) {
            let rule = &self.rules[found.rule];
            findings.add(rule, &found.name, self.direction);
            return Err(Blocked { mask: rule.id.clone(), entity: found.name.clone(), cause: Cause::Matched });
        }
        matches.sort_by_key(|found| (found.start, found.end));
        let mut edits = Vec::new();
        let mut rest = matches.as_slice();
        while let Some(first) = rest.first() {
            let (mut end, mut count) = (first.end, 1);
            while let Some(next) = rest.get(count).filter(|next| next.start < end) {
                end = end.max(next.end);
                count += 1;
            }
            let (cluster, behind) = rest.split_at(count);
            rest = behind;
            edits.extend(self.settle(cluster, first.start, end, findings));
        }
        Ok(edits)
    }

    /// The one edit for overlapping matches that together cover `start..end`.
    fn settle(&self, cluster: &[Match], start: usize, end: usize, findings: &mut Findings) -> Option<Edit> {
        let winner = cluster.iter().max_by_key(|found| (found.end - found.start, std::cmp::Reverse(found.rule)))?;
        let rule = &self.rules[winner.rule];
        findings.add(rule, &winner.name, self.direction);
        let whole = winner.start == start && winner.end == end;
        // Kept characters of a wider span could be another value's.
        let text = if whole { winner.written.clone() } else { replacement(&rule.action, &winner.name, "")? };
        Some(Edit { start, end, text })
    }
}

/// Literals one of which stands in every text the gate's byte classes miss, and whether a pattern has none.
fn gate_literals(rules: &[Rule]) -> (Vec<Literal>, bool) {
    if rules.is_empty() {
        return (Vec::new(), false);
    }
    let plain = |text: &str| Literal { bytes: text.as_bytes().to_vec(), starts_word: false };
    let mut literals = vec![plain("\"blob"), plain("\"data"), plain(";base64,")];
    let mut open = false;
    for rule in rules {
        match &rule.what {
            Sought::Entities(entities) if entities.contains(&Entity::Secret) => literals.extend(secret::literals()),
            Sought::Entities(_) => {}
            Sought::Pattern { pattern, .. } if pattern.prefixes.is_empty() => open = true,
            Sought::Pattern { pattern, .. } => literals.extend(pattern.prefixes.iter().cloned()),
        }
    }
    (literals, open)
}
