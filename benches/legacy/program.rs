//! An MCP server on stdio that does as little as it can.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use memchr::memmem;
use portcullis::clock::monotonic;

use super::client::CALL;
use super::servers::id;

pub(crate) const TEXT: &str =
    "Quarterly review of the northern region: revenue and pipeline are ahead of the forecast.";
pub(crate) const TOOL: &str =
    r#"{"name":"search","inputSchema":{"type":"object","properties":{"query":{"type":"string"}}}}"#;

/// Answers each line with one.
pub(crate) fn run() {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let has = |text: &str| memmem::find(line.as_bytes(), text.as_bytes()).is_some();
        let Some(id) = id(line.as_bytes()) else { continue };
        if has("\"die\"") {
            return;
        }
        if has("\"hang\"") {
            continue;
        }
        let result = if has("\"initialize\"") {
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"program","version":"1"}}"#.into()
        } else if has("\"tools/list\"") {
            format!(r#"{{"tools":[{TOOL}]}}"#)
        } else {
            format!(r#"{{"content":[{{"type":"text","text":"{TEXT}"}}]}}"#)
        };
        writeln!(out, r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).unwrap();
    }
}

/// The program, spoken to without anything between.
pub(crate) struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg("program").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// Microseconds of each of so many calls, one after the other.
    pub(crate) fn calls(&mut self, count: usize) -> Vec<f64> {
        let mut line = String::new();
        let mut one = || {
            let sent = monotonic();
            writeln!(self.input, "{CALL}").unwrap();
            line.clear();
            self.output.read_line(&mut line).unwrap();
            assert!(line.contains(TEXT), "{line}");
            sent.elapsed().as_secs_f64() * 1e6
        };
        (0..count).map(|_| one()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
