//! The figures as one page: no scripts, nothing from elsewhere, and every text of the log escaped.

use std::fmt::Write as _;

use super::chart::{self, SERIES, grouped};
use super::duties::DUTIES;
use super::figures::{Denial, Figures, Hidden, Often, Outcomes};
use crate::audit::escape::shown;
use crate::audit::subjects::PREFIX;
use crate::clock::Timestamp;

const STYLE: &str = include_str!("page.css");
/// The most rows of a table.
const ROWS: usize = 40;
/// The longest text in which no line breaks, in bytes.
const SHORT: usize = 26;

/// What the figures were made from, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'e> {
    /// When the page is made.
    pub(crate) now: Timestamp,
    /// The files, in the order they were read.
    pub(crate) sources: &'e [Source],
    /// What verifying them gave, if they were verified.
    pub(crate) integrity: Option<&'e Integrity>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
    pub(crate) records: u64,
    /// Lines that are no records.
    pub(crate) bad: u64,
}

/// What verifying the files gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Integrity {
    /// Whether nothing was found that should not be.
    pub(crate) holds: bool,
    /// What was found, for people.
    pub(crate) lines: Vec<String>,
}

/// The page.
pub(crate) fn page(figures: &Figures, evidence: &Evidence<'_>) -> String {
    let mut page = Page(String::with_capacity(64 * 1024));
    page.head(figures, evidence);
    page.over_time(figures);
    page.calls(figures);
    page.denials(figures);
    page.masked(figures);
    page.policies(figures);
    page.events(figures);
    page.callers(figures);
    page.integrity(evidence);
    page.duties();
    page.foot(figures, evidence);
    page.0
}

struct Page(String);

/// A cell of a table.
enum Cell {
    /// HTML.
    Html(String),
    Number(u64),
    /// Text from the log, as code.
    Text(String),
    Time(Timestamp),
    /// Words of the page's own.
    Words(&'static str),
}

impl Page {
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    fn head(&mut self, figures: &Figures, evidence: &Evidence<'_>) {
        self.raw(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>Portcullis audit report</title>\n<style>\n",
        );
        self.raw(STYLE);
        self.raw("</style>\n</head>\n<body>\n<h1>Audit report</h1>\n");
        let Some((first, last)) = figures.seen else {
            self.raw("<p class=\"lead\">No record of this period.</p>\n");
            return;
        };
        let (from, until) = (figures.period.from.unwrap_or(first), figures.period.until);
        let end = until.map_or_else(|| minute(last), |until| format!("before {}", minute(until)));
        let servers = figures.servers().iter().map(|name| escaped(name)).collect::<Vec<_>>().join(", ");
        let servers = if servers.is_empty() { servers } else { format!("{servers} · ") };
        let (from, made) = (minute(from), minute(evidence.now));
        let _ = writeln!(self.0, "<p class=\"lead\">{from} to {end}, UTC · {servers}made {made}</p>");
        self.raw(
            "<p>What the proxy recorded of calls to MCP servers: who called what, what was decided by which rule of which \
             version of the policy, and what was hidden. This page helps you show what your records say. Whether a duty is \
             met is for you and your auditor to judge.</p>\n<div class=\"tiles\">\n",
        );
        let Outcomes { allowed, denied, step_up, refused, .. } = figures.total;
        for (count, what) in [
            (figures.total.calls(), "calls"),
            (allowed, "allowed"),
            (denied, "denied by policy"),
            (step_up, "asked for more scopes"),
            (refused, "refused before the rules"),
            (figures.all_failed_logins(), "failed authentications"),
            (figures.masked_values(), "values masked"),
            (figures.callers.len() as u64, "callers"),
        ] {
            let _ = writeln!(self.0, "<div><b>{}</b><span>{what}</span></div>", grouped(count));
        }
        self.raw("</div>\n");
    }

    fn over_time(&mut self, figures: &Figures) {
        let Some(intervals) = figures.timeline.intervals() else { return };
        self.raw("<h2>Calls over time</h2>\n<div class=\"key\">");
        for (name, shade) in SERIES {
            let _ = write!(self.0, "<span><i style=\"background:{shade}\"></i>{name}</span>");
        }
        let _ = writeln!(self.0, "<span>each bar is {}, UTC</span></div>", chart::length(intervals.seconds));
        self.raw(&chart::bars(&intervals));
    }

    fn calls(&mut self, figures: &Figures) {
        self.raw("<h2>Calls by tool and outcome</h2>\n");
        let all = figures.calls.by_weight(Outcomes::calls);
        let most = all.first().map_or(0, |(_, outcomes)| outcomes.calls());
        let rows = all.iter().map(|((server, what), outcomes)| {
            let Outcomes { allowed, denied, step_up, refused, failed, blocked, .. } = **outcomes;
            let mut row = vec![Cell::Text(server.to_string()), Cell::Text(what.to_string())];
            row.extend([outcomes.calls(), allowed, denied, step_up, refused, failed, blocked].map(Cell::Number));
            row.push(Cell::Html(chart::bar([allowed, denied + step_up, refused], most)));
            row
        });
        let head = [
            "server",
            "tool or method",
            "#calls",
            "#allowed",
            "#denied",
            "#step-up",
            "#refused",
            "#failed",
            "#blocked",
            "",
        ];
        self.table(&head, rows);
        self.rest(all.len(), figures.calls.others().map(Outcomes::calls), "calls");
        let open = figures.total.allowed.saturating_sub(figures.total.ended);
        self.raw(
            "<p class=\"note\">Failed: allowed, and the answer was an error. Blocked: allowed, and a mask did not let the \
             answer pass. Methods are named where a call is not of a tool.",
        );
        if open > 0 {
            let _ = write!(self.0, " Of {} allowed calls the end is not in these files.", grouped(open));
        }
        if figures.total.shadow > 0 {
            let _ = write!(
                self.0,
                " Of {} decisions it is noted that rules in shadow would have made another.",
                grouped(figures.total.shadow)
            );
        }
        self.raw("</p>\n");
    }

    fn denials(&mut self, figures: &Figures) {
        self.raw("<h2>Denials by rule</h2>\n");
        let all = figures.denials.by_weight(|often| often.count);
        let rows = all.iter().map(|(Denial { server, rule, error }, often)| {
            let rule = rule.as_ref().map_or(Cell::Words("no rule allows it"), |rule| Cell::Text(rule.to_string()));
            vec![
                Cell::Text(server.to_string()),
                rule,
                Cell::Text(error.to_string()),
                Cell::Number(often.count),
                Cell::Time(often.first),
                Cell::Time(often.last),
            ]
        });
        self.table(&["server", "rule", "answered with", "#times", "first", "last"], rows);
        self.rest(all.len(), figures.denials.others().map(|often| often.count), "denials");
        self.raw("<h2>Refused before the rules</h2>\n");
        let mut rows: Vec<(&'static str, &str, &str, &Often)> = Vec::new();
        for (tally, of) in [(&figures.refusals, "request"), (&figures.failed_logins, "authentication")] {
            rows.extend(tally.iter().map(|((server, error), often)| (of, &**server, &**error, often)));
        }
        rows.sort_by_key(|(.., often)| std::cmp::Reverse(often.count));
        let shown = rows.len();
        let rows = rows.into_iter().map(|(of, server, error, often)| {
            vec![
                Cell::Words(of),
                Cell::Text(server.to_owned()),
                Cell::Text(error.to_owned()),
                Cell::Number(often.count),
                Cell::Time(often.first),
                Cell::Time(often.last),
            ]
        });
        self.table(&["of", "server", "why", "#times", "first", "last"], rows);
        self.rest(shown, None, "refusals");
    }

    fn masked(&mut self, figures: &Figures) {
        self.raw("<h2>Masked by server</h2>\n");
        let all = figures.masked.by_weight(|(values, _)| *values);
        let rows = all.iter().map(|(Hidden { server, entity, action, direction }, (values, calls))| {
            let mut row: Vec<Cell> =
                [server, entity, action, direction].map(|text| Cell::Text(text.to_string())).into();
            row.extend([*values, *calls].map(Cell::Number));
            row
        });
        self.table(&["server", "entity", "action", "in", "#values", "#calls"], rows);
        self.rest(all.len(), figures.masked.others().map(|(values, _)| *values), "values");
    }

    fn policies(&mut self, figures: &Figures) {
        self.raw("<h2>Policies in force</h2>\n");
        let mut all: Vec<_> = figures.policies.iter().collect();
        all.sort_by_key(|((server, _), often)| (server.clone(), often.first));
        let rows = all.iter().map(|((server, version), often)| {
            vec![
                Cell::Text(server.to_string()),
                Cell::Text(version.to_string()),
                Cell::Time(often.first),
                Cell::Time(often.last),
                Cell::Number(often.count),
            ]
        });
        self.table(&["server", "version", "first decision", "last decision", "#decisions"], rows);
        self.rest(all.len(), figures.policies.others().map(|often| often.count), "decisions");
        self.raw(
            "<p class=\"note\">The version is the digest of a server's policy files. One that comes back has one row.</p>\n",
        );
    }

    fn events(&mut self, figures: &Figures) {
        self.raw("<h2>Keys, configuration and life of the proxy</h2>\n");
        let rows = figures.told.iter().map(|event| {
            vec![
                Cell::Html(escaped(&format!("{} {}", event.date, event.clock))),
                Cell::Text(event.verdict.clone()),
                Cell::Text(event.about.clone()),
            ]
        });
        self.table_of(&["when", "event", "about"], rows, usize::MAX);
        let all: u64 =
            figures.events.iter().filter(|(name, _)| name.as_ref() != "checkpoint").map(|(_, count)| count).sum();
        let more = all.saturating_sub(figures.told.len() as u64);
        if more > 0 {
            let _ = writeln!(self.0, "<p class=\"note\">And {} more.</p>", grouped(more));
        }
        if !figures.events.is_empty() {
            let counts: Vec<String> =
                figures.events.iter().map(|(name, count)| format!("{} {}", grouped(*count), escaped(name))).collect();
            let _ = writeln!(self.0, "<p class=\"note\">In all: {}.</p>", counts.join(", "));
        }
    }

    fn callers(&mut self, figures: &Figures) {
        self.raw("<h2>Who called most</h2>\n");
        let all = figures.callers.by_weight(Outcomes::calls);
        let most = all.first().map_or(0, |(_, outcomes)| outcomes.calls());
        let rows = all.iter().take(20).map(|((iss, sub), outcomes)| {
            let Outcomes { allowed, denied, step_up, refused, .. } = **outcomes;
            let mut row = vec![Cell::Text(sub.to_string()), Cell::Text(iss.to_string())];
            row.extend([outcomes.calls(), allowed, denied, step_up, refused].map(Cell::Number));
            row.push(Cell::Html(chart::bar([allowed, denied + step_up, refused], most)));
            row
        });
        self.table(&["subject", "issuer", "#calls", "#allowed", "#denied", "#step-up", "#refused", ""], rows);
        if all.len() > 20 {
            let _ = writeln!(self.0, "<p class=\"note\">20 of {} callers.</p>", grouped(all.len() as u64));
        }
        if all.iter().any(|((_, sub), _)| sub.starts_with(PREFIX)) {
            self.raw(
                "<p class=\"note\">Subjects that begin with <code>keyed:</code> are digests: who has the key finds a person's with \
                 <code>portcullis audit find</code>. One whose key was erased and who called again is counted twice.</p>\n",
            );
        }
        self.rest(0, figures.callers.others().map(Outcomes::calls), "calls");
    }

    fn integrity(&mut self, evidence: &Evidence<'_>) {
        self.raw("<h2>Integrity</h2>\n");
        match evidence.integrity {
            None => self.raw(
                "<p class=\"open\">It was not verified that the files are unchanged. The digests below say which files this \
                 page was made from, and nothing of what happened to them before.</p>\n",
            ),
            Some(Integrity { holds, lines }) => {
                let _ = writeln!(self.0, "<div class=\"{}\">", if *holds { "holds" } else { "broken" });
                for line in lines {
                    let _ = writeln!(self.0, "{}<br>", escaped(line));
                }
                self.raw("</div>\n");
            }
        }
        let rows = evidence.sources.iter().map(|source| {
            vec![
                Cell::Text(source.name.clone()),
                Cell::Number(source.bytes),
                Cell::Number(source.records),
                Cell::Number(source.bad),
                Cell::Text(source.sha256.clone()),
            ]
        });
        self.table_of(&["file", "#bytes", "#records", "#no records", "SHA-256"], rows, usize::MAX);
        let bad: u64 = evidence.sources.iter().map(|source| source.bad).sum();
        if bad > 0 {
            let _ = writeln!(
                self.0,
                "<p class=\"broken\">{} of Portcullis: what they said is in no figure.</p>",
                if bad == 1 {
                    "1 line is no record".to_owned()
                } else {
                    format!("{} lines are no records", grouped(bad))
                }
            );
        }
    }

    fn duties(&mut self) {
        self.raw(
            "<h2>What the records help you show</h2>\n<p>Duties to keep records, in our words and not those of the law or the \
             standard, and the fields of the log that serve them. A log is a part of the evidence: the last column names \
             what it cannot show.</p>\n",
        );
        let rows = DUTIES.iter().map(|duty| {
            vec![
                Cell::Html(format!("<b>{}</b>", escaped(duty.of))),
                Cell::Words(duty.asks),
                Cell::Words(duty.fields),
                Cell::Words(duty.besides),
            ]
        });
        self.table(&["rule", "asks for", "helps you show it", "what else it needs"], rows);
    }

    fn foot(&mut self, figures: &Figures, evidence: &Evidence<'_>) {
        self.raw("<footer>");
        if let Some((first, last)) = figures.seen {
            let _ = write!(self.0, "First record {}, last record {}, UTC. ", second(first), second(last));
        }
        if figures.outside > 0 {
            let _ = write!(self.0, "{} records are not of this period. ", grouped(figures.outside));
        }
        let _ = writeln!(
            self.0,
            "Made {} by Portcullis {}.</footer>\n</body>\n</html>",
            second(evidence.now),
            env!("CARGO_PKG_VERSION")
        );
    }

    fn table(&mut self, head: &[&str], rows: impl Iterator<Item = Vec<Cell>>) {
        self.table_of(head, rows, ROWS);
    }

    /// A table of at most so many rows; names that begin with `#` are of numbers.
    fn table_of(&mut self, head: &[&str], rows: impl Iterator<Item = Vec<Cell>>, limit: usize) {
        let mut rows = rows.take(limit).peekable();
        if rows.peek().is_none() {
            self.raw("<p>None.</p>\n");
            return;
        }
        self.raw("<table>\n<thead><tr>");
        for name in head {
            match name.strip_prefix('#') {
                Some(name) => self.raw(&format!("<th class=\"n\">{name}</th>")),
                None => self.raw(&format!("<th>{name}</th>")),
            }
        }
        self.raw("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.raw("<tr>");
            for cell in row {
                self.cell(&cell);
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody>\n</table>\n");
    }

    fn cell(&mut self, cell: &Cell) {
        let html = match cell {
            Cell::Html(html) if html.starts_with("<svg") => format!("<td class=\"b\">{html}</td>"),
            Cell::Html(html) => format!("<td>{html}</td>"),
            Cell::Number(0) => "<td class=\"n\">–</td>".to_owned(),
            Cell::Number(number) => format!("<td class=\"n\">{}</td>", grouped(*number)),
            Cell::Text(text) if text.is_empty() => "<td></td>".to_owned(),
            Cell::Text(text) if text.len() <= SHORT => format!("<td class=\"s\"><code>{}</code></td>", escaped(text)),
            Cell::Text(text) => format!("<td><code>{}</code></td>", escaped(text)),
            Cell::Time(time) => format!("<td class=\"t\">{}</td>", minute(*time)),
            Cell::Words(words) => format!("<td>{}</td>", escaped(words)),
        };
        self.raw(&html);
    }

    /// Says what a table leaves out.
    fn rest(&mut self, rows: usize, others: Option<u64>, what: &str) {
        if rows > ROWS {
            let _ = writeln!(
                self.0,
                "<p class=\"note\">{ROWS} of {} rows; <code>--format json</code> has them all.</p>",
                grouped(rows as u64)
            );
        }
        if let Some(others) = others {
            let _ = writeln!(
                self.0,
                "<p class=\"note\">And {} {what} of names beyond those that are counted apart.</p>",
                grouped(others)
            );
        }
    }
}

/// Text as HTML: nothing of it is markup, and nothing of it hides.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// `2026-11-22 12:04`.
fn minute(time: Timestamp) -> String {
    let text = second(time);
    text.get(..16).unwrap_or_default().to_owned()
}

/// `2026-11-22 12:04:15`.
fn second(time: Timestamp) -> String {
    let text = String::from_utf8_lossy(&time.rfc3339()).replace('T', " ");
    text.get(..19).unwrap_or_default().to_owned()
}
