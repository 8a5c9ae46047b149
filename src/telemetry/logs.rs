//! Formats log lines: JSON for machines, short text for people, with control characters escaped in both.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Timestamp;
use crate::config::{LogFormat, Problems, Severity};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one of tracing's.
    #[error("`{filter}` is not a log level or filter: {source}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging is not set up, or no longer.
    #[error("logging is not set up")]
    None,
    /// Logging is already set up.
    #[error("logging is set up already")]
    Twice,
}

type Refilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// Replaces the filter of the process's log, which is as global as that is.
static REFILTER: OnceLock<Refilter> = OnceLock::new();

/// Logs to stderr from now on. `filter` is the value of `--log-level` or `RUST_LOG`; `info` without either. Errs if the
/// filter is invalid, or logging is already set up.
pub fn init(format: LogFormat, filter: Option<&str>, color: bool) -> Result<(), LogError> {
    let filter = filter.unwrap_or("info");
    let filter = parsed(filter)?;
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Pretty => false,
    };
    let lines = Lines { json, color };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).event_format(lines);
    let subscriber = subscriber.with_filter_reloading();
    let handle = subscriber.reload_handle();
    tracing::subscriber::set_global_default(subscriber.finish()).map_err(|_| LogError::Twice)?;
    let _ = REFILTER.set(Box::new(move |filter| handle.reload(filter).is_ok()));
    Ok(())
}

/// Logs by another filter from now on. Errs if it is invalid, or logging is not set up.
pub fn set_filter(filter: &str) -> Result<(), LogError> {
    let filter = parsed(filter)?;
    let refilter = REFILTER.get().ok_or(LogError::None)?;
    if refilter(filter) { Ok(()) } else { Err(LogError::None) }
}

fn parsed(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

/// Logs problems with files, one line for each; `check` shows the same with an excerpt.
pub fn problems(problems: &Problems) {
    for problem in problems.iter() {
        let (line, column) = problem.file.position(problem.span.start);
        let at = format!("{}:{line}:{column}", problem.file.path.display());
        let help = problem.advice().collect::<Vec<_>>().join("; ");
        let (message, found) = (&problem.message, &problem.label);
        match problem.severity {
            Severity::Error => tracing::error!(at, found, help, "{message}"),
            Severity::Warning => tracing::warn!(at, found, help, "{message}"),
        }
    }
}

/// Formats events as lines. Fields of spans are left out: an event has all of its own.
#[derive(Clone, Copy, Debug)]
struct Lines {
    json: bool,
    color: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = Timestamp::now().rfc3339();
        let now = std::str::from_utf8(&now).map_err(|_| fmt::Error)?;
        let mut line = String::with_capacity(256);
        if self.json {
            Self::json(&mut line, now, event)?;
        } else {
            self.pretty(&mut line, now, event)?;
        }
        out.write_str(&line)
    }
}

impl Lines {
    fn json(line: &mut String, now: &str, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        write!(line, "{{\"time\":\"{now}\",\"level\":\"{}\",\"msg\":", level(*metadata.level()))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        json_string(line, &fields.message)?;
        line.push_str(",\"target\":");
        json_string(line, metadata.target())?;
        for (name, value) in &fields.others {
            line.push(',');
            json_string(line, name)?;
            line.push(':');
            match value {
                Value::Literal(text) => line.push_str(text),
                Value::Text(text) => json_string(line, text)?,
            }
        }
        line.push_str("}\n");
        Ok(())
    }

    fn pretty(self, line: &mut String, now: &str, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let (start, end) = if self.color { (color(level), "\x1b[0m") } else { ("", "") };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = now.get(11..23).unwrap_or(now);
        write!(line, "{time} {start}{:>5}{end} ", level.as_str())?;
        escape(line, &fields.message)?;
        for (name, value) in &fields.others {
            write!(line, " {name}=")?;
            let (Value::Literal(text) | Value::Text(text)) = value;
            escape(line, text)?;
        }
        line.push('\n');
        Ok(())
    }
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

const fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG | Level::TRACE => "\x1b[2m",
    }
}

/// The members of every line; fields of these names are dropped, as they would be duplicates.
const RESERVED: [&str; 4] = ["time", "level", "msg", "target"];

#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
enum Value {
    /// A number or a boolean, as JSON.
    Literal(String),
    Text(String),
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Literal(text) | Value::Text(text)) => self.message = text,
            (name, value) if !RESERVED.contains(&name) && !self.others.iter().any(|(other, _)| *other == name) => {
                self.others.push((name, value));
            }
            _ => {}
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = value.to_string();
        self.put(field, if value.is_finite() { Value::Literal(text) } else { Value::Text(text) });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Literal(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Literal(value.to_string()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, Value::Literal(value.to_string()));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, Value::Literal(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Literal(value.to_string()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::Text(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::Text(crate::cli::chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::Text(format!("{value:?}")));
    }
}

/// Whether a character could forge a line, move the cursor or reorder text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
        || matches!(c, '\u{E0000}'..='\u{E007F}')
}

fn json_string(line: &mut String, text: &str) -> fmt::Result {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            _ if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(line, "\\u{unit:04x}")?;
                }
            }
            _ => line.push(c),
        }
    }
    line.push('"');
    Ok(())
}

fn escape(line: &mut String, text: &str) -> fmt::Result {
    for c in text.chars() {
        if is_unsafe(c) {
            write!(line, "{}", c.escape_unicode())?;
        } else {
            line.push(c);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::Lines;
    use crate::config::{Problem, Problems, Source};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Lines { json, color: false })
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_has_flat_fields_in_their_types() {
        let error = io::Error::other("no such host");
        let line = logged(true, || {
            tracing::warn!(server = "crm", status = 502, duration_ms = 1.5, %error, shadow = false, "upstream failed");
        });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "warn");
        assert_eq!(value["msg"], "upstream failed");
        assert_eq!(value["target"], module_path!());
        assert_eq!(value["server"], "crm");
        assert_eq!(value["status"], 502);
        assert_eq!(value["duration_ms"], 1.5);
        assert_eq!(value["error"], "no such host");
        assert_eq!(value["shadow"], false);
        assert_eq!(value["time"].as_str().unwrap().len(), 24);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_cause_and_its_remedy() {
        let file = Arc::new(Source::new("proxy.toml", "[server]\nupstraem = 1\n"));
        let mut problems = Problems::new();
        let unknown = Problem::error(&file, 9..17, "unknown key `upstraem`", "not a key of `[server]`");
        problems.push(unknown.suggest(9..17, "upstream", "did you mean `upstream`?"));
        let other = Problem::error(&file, 20..21, "not an exact origin", "browsers send another spelling");
        problems.push(other.help("no slash").suggest(20..21, "\"http://a\"", "write"));
        let lines = logged(true, || super::problems(&problems));
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["at"], "proxy.toml:2:1");
        assert_eq!(lines[0]["found"], "not a key of `[server]`");
        assert_eq!(lines[0]["help"], "did you mean `upstream`?");
        assert_eq!(lines[1]["help"], "no slash; write `\"http://a\"`");
    }

    #[test]
    fn nothing_forges_a_line_or_a_member() {
        let hostile = "a\n{\"decision\":\"allow\"}\x1b[31m\u{2028}\u{202e}\u{9b}\"\\ \u{e0041}";
        let line = logged(true, || tracing::info!(tool = hostile, level = "error", msg = "x", "call"));
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["tool"], hostile);
        assert_eq!(value["level"], "info");
        assert_eq!(value["msg"], "call");
        assert_eq!(line.matches("\"level\"").count(), 1);
        assert!(line.trim_end().chars().all(|c| !super::is_unsafe(c)));
        let line = logged(false, || tracing::info!(tool = hostile, "call"));
        assert!(line.trim_end().chars().all(|c| !super::is_unsafe(c)), "{line:?}");
    }
}
