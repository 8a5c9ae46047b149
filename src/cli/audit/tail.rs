//! `portcullis audit tail`: the last decisions, and new ones as they come.

use std::collections::VecDeque;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{mem, slice};

use clap::Args;
use serde_json::Value;

use super::super::{Exit, Format, Global, Streams};
use super::files;
use crate::audit::follow::{Follow, Last};
use crate::audit::lines::Lines;
use crate::audit::set;
use crate::audit::summary::Summary;
use crate::config::{self, AuditSink};

/// How often a followed file is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// Arguments of `audit tail`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis audit tail                                   the last ten decisions
  portcullis audit tail --deny --follow                   who is refused, and why, as it happens
  kubectl logs -f deploy/crm | portcullis audit tail - --follow --server crm
  portcullis audit tail -n 1000 --format json | jq .subject.sub",
    after_help = "A call is shown when it has ended. `--follow` goes on in the new file when the log is rotated.\n\
                  Text shows times in UTC, `--format json` the lines as they are in the file, both of a call.\n\
                  Exit codes: 0 done, 1 some lines are no records, 2 there is no such file, 78 the configuration is refused"
)]
pub(super) struct Tail {
    /// The audit file, a folder or a quoted pattern for all files of a log, or `-` for standard input [default: the file in
    /// proxy.toml, and what was rotated of it].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How many lines of those already there.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
    lines: usize,
    /// Only denials, step-ups and refusals.
    #[arg(long)]
    deny: bool,
    /// Only records of this server.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Go on with what comes, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// How to print records.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

impl Tail {
    /// Prints, and goes on if asked to.
    pub(super) fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let paths = match self.paths(global, streams) {
            Ok(paths) => paths,
            Err(exit) => return exit,
        };
        let mut shown = Shown { tail: self, color: streams.out_color, kept: VecDeque::new(), foreign: 0 };
        let [older @ .., path] = &paths[..] else { return Exit::Usage };
        let read = if path.as_os_str() == "-" { shown.through(streams) } else { shown.files(older, path, streams) };
        match read {
            Ok(()) if shown.foreign == 0 => Exit::Done,
            Ok(()) => {
                let lines = if shown.foreign == 1 { "line is no record" } else { "lines are no records" };
                streams.message(format_args!("warning: {} {lines} of Portcullis", shown.foreign));
                Exit::No
            }
            // Nobody reads on.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Err(error) => {
                streams.message(format_args!("error: cannot read {}: {error}", path.display()));
                Exit::Usage
            }
        }
    }

    /// The files that were named, or those the proxy writes, the newest last.
    fn paths(&self, global: &Global, streams: &mut Streams<'_>) -> Result<Vec<PathBuf>, Exit> {
        if let Some(path) = &self.file {
            return files::named(slice::from_ref(path), streams);
        }
        let (config, _) = config::load(&global.config).map_err(|problems| {
            streams.problems(&problems);
            Exit::Config
        })?;
        match config.audit.sink {
            AuditSink::File(path) => Ok(set::with_rotated(&path)),
            AuditSink::Stdout => {
                streams.message(format_args!(
                    "error: with {} the audit goes to standard output: name a file, or `-` for standard input",
                    global.config.display()
                ));
                Err(Exit::Usage)
            }
        }
    }
}

/// The lines to show, and how.
struct Shown<'t> {
    tail: &'t Tail,
    color: bool,
    /// The last of those already there.
    kept: VecDeque<String>,
    /// Lines that are no records.
    foreign: u64,
}

impl Shown<'_> {
    /// Shows the end of a log whose newest file is at `path`, and what that one gains.
    fn files(&mut self, older: &[PathBuf], path: &Path, streams: &mut Streams<'_>) -> io::Result<()> {
        let mut follow = Follow::from_start(path);
        if !follow.is_there() && !self.tail.follow {
            std::fs::File::open(path)?;
        }
        follow.last(self)?;
        let mut older = older.iter().rev();
        while self.kept.len() < self.tail.lines
            && let Some(path) = older.next()
        {
            let (newer, foreign) = (mem::take(&mut self.kept), self.foreign);
            Follow::from_start(path).last(self)?;
            self.kept.extend(newer);
            self.foreign += foreign;
        }
        let more = self.kept.len().saturating_sub(self.tail.lines);
        self.kept.drain(..more);
        self.print(streams)?;
        while self.tail.follow {
            std::thread::sleep(PAUSE);
            let mut lines = Vec::new();
            follow.lines(&mut |line| lines.extend(self.text(line)))?;
            self.kept.extend(lines);
            self.print(streams)?;
        }
        Ok(())
    }

    /// Shows the end of standard input, or all of it as it comes.
    fn through(&mut self, streams: &mut Streams<'_>) -> io::Result<()> {
        let mut lines = Lines::new(BufReader::new(&mut *streams.input));
        while let Some(line) = lines.next()? {
            match line {
                Ok(line) => self.line(line),
                Err(_) => self.foreign += 1,
            }
            if self.tail.follow {
                for line in self.kept.drain(..) {
                    writeln!(streams.out, "{line}")?;
                }
                streams.out.flush()?;
            }
        }
        self.print(streams)
    }

    fn print(&mut self, streams: &mut Streams<'_>) -> io::Result<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        for line in self.kept.drain(..) {
            writeln!(streams.out, "{line}")?;
        }
        streams.out.flush()
    }

    /// What to print of a line, if anything.
    fn text(&mut self, line: &[u8]) -> Option<String> {
        let record: Option<Value> = serde_json::from_slice(line).ok();
        let Some(record) = record.filter(|record| record.get("v").is_some() && record.get("event").is_some()) else {
            self.foreign += 1;
            return None;
        };
        let is_wanted = self.tail.server.as_deref().is_none_or(|name| record["server"] == name)
            && (!self.tail.deny || is_refusal(&record));
        if !is_wanted {
            return None;
        }
        match self.tail.format {
            Format::Json => std::str::from_utf8(line).ok().map(ToOwned::to_owned),
            Format::Text => {
                let summary = Summary::of_decision(&record).or_else(|| Summary::of_event(&record))?;
                Some(format!("{} {}", summary.date, self.painted(&summary)))
            }
        }
    }

    fn painted(&self, summary: &Summary) -> String {
        let colour = match summary.verdict.as_str() {
            "deny" | "refused" => "\x1b[31m",
            "step_up" => "\x1b[33m",
            "allow" => "\x1b[32m",
            _ => "\x1b[2m",
        };
        if self.color {
            let Summary { clock, verdict, about, .. } = summary;
            format!("{clock} {colour}{verdict:<8}\x1b[0m {about}")
        } else {
            summary.to_string()
        }
    }
}

impl Last for Shown<'_> {
    fn begin(&mut self) {
        self.kept.clear();
        self.foreign = 0;
    }

    fn line(&mut self, line: &[u8]) {
        if let Some(text) = self.text(line) {
            self.kept.push_back(text);
            if self.kept.len() > self.tail.lines && !self.tail.follow_input() {
                self.kept.pop_front();
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.kept.len() >= self.tail.lines
    }
}

impl Tail {
    /// Whether standard input is shown as it comes, however much of it.
    fn follow_input(&self) -> bool {
        self.follow && self.file.as_deref() == Some(Path::new("-"))
    }
}

/// Whether something was not let through: by a rule, for want of scopes, before the rules, or by a mask after the call.
fn is_refusal(record: &Value) -> bool {
    let is = |key: &str, words: &[&str]| record[key].as_str().is_some_and(|word| words.contains(&word));
    is("decision", &["deny", "step_up", "refused"]) || is("error", &["blocked", "blocked_often"])
}
