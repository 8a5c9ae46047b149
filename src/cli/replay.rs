//! `portcullis replay`: how other policies would have decided the calls in an audit file.

mod changes;
mod policies;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use self::changes::Changes;
use self::policies::Policies;
use super::history::{self, Skipped};
use super::{Exit, Format, Global, Streams};
use crate::audit::history::Decided;
use crate::config::Problems;
use crate::trial::{self, Told};

/// Arguments of `replay`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis replay /var/log/portcullis/audit.jsonl --policies policies.next/
  zcat audit.jsonl.*.gz | portcullis replay - --policies policies.next/ --format json",
    after_help = "Calls of each server of proxy.toml are decided by the files in the folder that have the names of its policies.\n\
                  The audit holds no arguments and few claims: decisions that depend on others are counted, not guessed.\n\
                  Exit codes: 0 nothing would change, 1 something would, 2 wrong arguments, 78 a policy is refused"
)]
pub struct Replay {
    /// The audit file, a folder or a quoted pattern for all of its files, or `-` for standard input.
    #[arg(value_name = "AUDIT")]
    audit: PathBuf,
    /// A folder with the other policy files, or the files themselves.
    #[arg(long, value_name = "PATHS", required = true, num_args = 1..)]
    policies: Vec<PathBuf>,
    /// Decide as if rules in shadow were enforced.
    #[arg(long)]
    enforced: bool,
    /// How to print what would change.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// What came out.
#[derive(Default)]
struct Replayed {
    /// Decisions that could be made again.
    decisions: u64,
    changes: Changes,
    /// Decisions that depend on what the audit does not have, by the server.
    open: u64,
    /// Of those, decisions beside which the audit noted that rules in shadow would have made another.
    shadowed: u64,
    /// Decisions whose name was cut or masked.
    unnamed: u64,
    /// Decisions of masks, which depend on what was sent.
    blocked: u64,
    /// Decisions of servers the other policies say nothing of.
    elsewhere: BTreeMap<Box<str>, u64>,
}

impl Replay {
    /// Replays and prints.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let mut problems = Problems::new();
        let policies = match Policies::load(&self.policies, global, &mut problems) {
            Ok(policies) => policies,
            Err(message) => {
                streams.message(format_args!("error: {message}"));
                return Exit::Usage;
            }
        };
        streams.problems(&problems);
        if problems.has_errors() {
            return Exit::Config;
        }
        let mut replayed = Replayed::default();
        let skipped = match history::read(&self.audit, streams, &mut |decided| {
            replayed.add(&decided, &policies, self.enforced);
        }) {
            Ok(skipped) => skipped,
            Err(exit) => return exit,
        };
        match self.format {
            Format::Text => {
                replayed.changes.print(replayed.decisions, streams);
                replayed.tell(streams);
                skipped.tell(streams);
            }
            Format::Json => streams.print(replayed.json(&skipped)),
        }
        if skipped.bad > 0 && replayed.is_nothing() {
            streams.message(format_args!("error: {} holds no decision: is it an audit file?", self.audit.display()));
            return Exit::Usage;
        }
        if replayed.changes.is_empty() { Exit::Done } else { Exit::No }
    }
}

impl Replayed {
    fn add(&mut self, decided: &Decided, policies: &Policies, enforced: bool) {
        let Some(suite) = policies.of(&decided.server) else {
            *self.elsewhere.entry(decided.server.clone()).or_default() += 1;
            return;
        };
        if decided.blocked {
            self.blocked += 1;
        } else if !decided.name_is_whole() {
            self.unnamed += 1;
        } else {
            match trial::again(suite, decided, policies.issuer_name(&decided.caller.issuer), enforced) {
                Told::Open => {
                    self.open += 1;
                    self.shadowed += u64::from(decided.shadow);
                }
                Told::Decided { verdict, rule } => {
                    self.decisions += 1;
                    if verdict != decided.verdict {
                        self.changes.add(decided, verdict, rule);
                    }
                }
            }
        }
    }

    /// Whether there was no decision at all.
    fn is_nothing(&self) -> bool {
        self.decisions + self.open + self.unnamed + self.blocked == 0 && self.elsewhere.is_empty()
    }

    /// What was not replayed, and why.
    fn tell(&self, streams: &mut Streams<'_>) {
        for (count, verb, rest) in [
            (
                self.open,
                ["depends on arguments or claims", "depend on arguments or claims"],
                " the audit does not have",
            ),
            (self.unnamed, ["is about a name", "are about names"], " the audit has cut or masked"),
            (self.blocked, ["was made by a mask", "were made by masks"], ""),
        ] {
            let [one, several] = verb;
            let verb = if count == 1 { one } else { several };
            if count > 0 {
                streams.message(format_args!("note: {} {verb}{rest}", decisions(count)));
            }
        }
        if self.shadowed > 0 {
            let count = grouped(self.shadowed);
            let marked =
                if self.shadowed == 1 { "was marked when it was made" } else { "were marked when they were made" };
            streams
                .message(format_args!("note: {count} of those {marked}: rules in shadow would have decided otherwise"));
        }
        for (server, count) in &self.elsewhere {
            let count = decisions(*count);
            streams.message(format_args!("warning: {count} of `{server}`, for which there is no policy here"));
        }
    }

    fn json(&self, skipped: &Skipped) -> Value {
        json!({
            "schema_version": 1,
            "decisions": self.decisions,
            "changed": self.changes.count(),
            "changes": self.changes.json(),
            "not_replayed": {
                "unknown_arguments_or_claims": self.open,
                "of_those_marked_in_shadow": self.shadowed,
                "names_cut_or_masked": self.unnamed,
                "masks": self.blocked,
                "servers_without_policy": self.elsewhere,
            },
            "bad_lines": {
                "count": skipped.bad,
                "first": skipped.first.iter().map(|(file, line, reason)| json!({ "file": file.display().to_string(), "line": line, "reason": reason })).collect::<Vec<_>>(),
            },
            "verified": false,
        })
    }
}

/// `21 804`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `1 decision`, `21 804 decisions`.
fn decisions(number: u64) -> String {
    format!("{} decision{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The name of a rule, or that there is none.
fn rule_or_none(rule: Option<&Arc<str>>) -> &str {
    rule.map_or("no rule", |rule| rule)
}
