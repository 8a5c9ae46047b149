//! From matches to edits: resolves overlaps and counts values.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::found::{Kind, Match, first_cluster, put_in_order};
use super::{Edit, Lent, Plan, Sought, Spot};
use crate::json::Span;
use crate::mask::actions::replacement;
use crate::mask::applied::Applied;
use crate::mask::places::Treatment;
use crate::mask::view::Mode;
use crate::mask::{Action, Blocked, Cause, Findings};

impl Plan {
    /// The spans and names of the values in `text`; of overlapping ones the longest.
    pub(in crate::mask) fn located(&self, text: &str, applied: &Applied<'_>) -> Vec<(Span, &str)> {
        if self.is_empty() || !self.gate.opens(text.as_bytes()) {
            return Vec::new();
        }
        let mut scratch = Lent::new();
        self.find(text, Spot::default(), applied, &mut scratch);
        put_in_order(&mut scratch.matches);
        let mut located = Vec::with_capacity(scratch.matches.len());
        let mut rest = scratch.matches.as_mut_slice();
        while let Some((cluster, behind)) = first_cluster(rest) {
            rest = behind;
            if let [found] = cluster {
                located.push((found.span(), self.own_name(found)));
                continue;
            }
            let from = located.len();
            cluster.sort_by_key(|found| (Reverse(found.end - found.start), found.rule, found.start));
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

    /// The entity or label of a match; empty for restored values.
    fn own_name(&self, found: &Match) -> &str {
        match (found.kind, &self.rules[found.rule].what) {
            (Kind::Entity(place), _) => &self.entities[place].name,
            (Kind::Pattern, Sought::Pattern { label, .. }) => label,
            (Kind::Pattern | Kind::Restored(_), _) => "",
        }
    }

    /// Counts values that are only reported or that the caller may see; of overlapping ones of a rule the first.
    pub(super) fn report(&self, matches: &[Match], applied: &Applied<'_>, findings: &mut Findings) {
        for (index, rule) in self.rules.iter().enumerate() {
            let counted = match applied.mode(index) {
                Mode::Shows => "shown",
                Mode::Acts if rule.action == Action::Report => rule.action.name(),
                Mode::Acts | Mode::Sleeps => continue,
            };
            let mut seen: Vec<&Match> = matches.iter().filter(|found| found.rule == index).collect();
            seen.sort_by_key(|found| found.start);
            let mut behind = 0;
            for found in seen {
                if found.start >= behind {
                    findings.add(rule, self.name(index, found.kind, applied), counted, self.direction, found.span());
                }
                behind = behind.max(found.end);
            }
        }
    }

    /// Resolves overlaps: the longest match wins, then file order, and its action covers the whole cluster. Errs if a match
    /// blocks the message.
    pub(super) fn resolve(
        &self,
        matches: &mut Vec<Match>,
        spot: Spot<'_>,
        applied: &Applied<'_>,
        findings: &mut Findings,
    ) -> Result<Vec<Edit>, Blocked> {
        let treatment = |found: &Match| self.rules[found.rule].places.of(spot.place);
        matches.retain(|found| {
            self.rules[found.rule].action != Action::Report
                && applied.mode(found.rule) == Mode::Acts
                && treatment(found) != Treatment::Pass
        });
        let blocking = matches
            .iter()
            .filter(|found| self.rules[found.rule].action == Action::Block || treatment(found) == Treatment::Refuse);
        if let Some(found) = blocking.min_by_key(|found| (found.rule, found.start)) {
            let (rule, name) = (&self.rules[found.rule], self.name(found.rule, found.kind, applied));
            findings.add(rule, name, Action::Block.name(), self.direction, found.span());
            return Err(Blocked { mask: rule.id.clone(), entity: name.clone(), cause: Cause::Matched });
        }
        put_in_order(matches);
        let mut edits = Vec::with_capacity(matches.len());
        let mut rest = matches.as_mut_slice();
        while let Some((cluster, behind)) = first_cluster(rest) {
            edits.extend(self.settle(cluster, applied, findings));
            rest = behind;
        }
        Ok(edits)
    }

    /// The single edit for a cluster of overlapping matches.
    fn settle(&self, cluster: &mut [Match], applied: &Applied<'_>, findings: &mut Findings) -> Option<Edit> {
        let start = cluster.first()?.start;
        let end = cluster.iter().map(|found| found.end).max()?;
        let winner = cluster.iter_mut().max_by_key(|found| (found.end - found.start, Reverse(found.rule)))?;
        let (rule, name) = (&self.rules[winner.rule], self.name(winner.rule, winner.kind, applied));
        findings.add(rule, name, rule.action.name(), self.direction, Span { start, end });
        // If the cluster is wider than the match, kept characters could be those of another value.
        let is_whole = winner.start == start && winner.end == end;
        let written = winner.written.take().filter(|_| is_whole && rule.action != Action::Redact);
        let text = match (written, winner.kind) {
            (Some(written), _) => Cow::Owned(written.into_string()),
            (None, Kind::Entity(place)) if rule.action == Action::Redact => {
                Cow::Borrowed(self.entities[place].entity.token())
            }
            (None, _) => replacement(&rule.action, name, "")?.into(),
        };
        Some(Edit { start, end, text })
    }
}
