//! The command line: arguments in, exit code out. Results go to standard output, messages to standard error.
//!
//! One file per command. Each has a clap `Args` struct with `run(&self, global, streams) -> Exit`, one variant in
//! [`Command`] and one line in [`run`].

pub mod audit;
pub mod check;
pub mod child;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod generate;
pub mod healthcheck;
mod history;
pub mod init;
pub mod learn;
pub mod mask;
mod progress;
pub mod replay;
mod results;
pub mod serve;
pub mod test;
pub mod token;
pub mod tools;
pub mod top;
pub mod version;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal as _, Read, Write};
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::results::Results;
use crate::config::{LogFormat, Problems};
use crate::tls_fault::TlsFault;

/// How the process ends; the numbers are part of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; the answer is yes.
    Done = 0,
    /// The answer is no: denied, failed, findings, not ready.
    No = 1,
    /// Wrong arguments.
    Usage = 2,
    /// Something needed is unavailable (`EX_UNAVAILABLE` of sysexits).
    Unavailable = 69,
    /// An internal error (`EX_SOFTWARE`).
    Internal = 70,
    /// The configuration cannot be used (`EX_CONFIG`).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An authenticating, policy-deciding, masking reverse proxy for MCP servers.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    before_help = "Examples:
  portcullis demo                         try everything on this machine, without any set-up
  portcullis init --help                  put a server of your own behind it
  portcullis check                        is proxy.toml valid, are issuers and upstreams reachable?
  portcullis serve                        run the proxy
  portcullis test                         do the policies decide as their tests say?
  portcullis explain --help               why is this call denied?
  portcullis mask notes.txt               what would be masked, and why the rest would not be?
  portcullis token verify token.txt       why is this token refused?
  portcullis doctor https://h/mcp         which clients can connect, and what stops the others?
  portcullis healthcheck --ready          is a running proxy ready? for probes",
    after_help = "Start with `portcullis demo`. Every key of proxy.toml is explained in proxy.toml.example.\n\
                  Results go to standard output, messages and logs to standard error.\n\
                  Exit codes: 0 done or yes, 1 no, 2 wrong arguments, 69 something is unavailable,\n\
                  70 internal error, 78 configuration refused"
)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify, show, export and report what the audit log says.
    Audit(audit::Audit),
    /// Check proxy.toml and the files it names, without starting anything.
    Check(check::Check),
    /// Run a program that ends when its parent does; started by `serve`.
    #[command(hide = true)]
    Child(child::Child),
    /// Try everything: an issuer, a sample MCP server and the proxy, all in one process on loopback.
    Demo(demo::Demo),
    /// Take the steps clients take before their first call, and show which clients fail, where and why.
    Doctor(doctor::Doctor),
    /// Explain why one call is decided as it is, and show the answer its client gets.
    Explain(Box<explain::Explain>),
    /// Print files for this version: manifests, units, dashboards, first policies, schemas, completions, manual pages.
    Generate(Box<generate::Generate>),
    /// Ask a running proxy whether it is alive, or ready for calls.
    Healthcheck(healthcheck::Healthcheck),
    /// Write proxy.toml and a first policy for a server, from what it and its issuer say.
    Init(init::Init),
    /// Write the least policy that allows the calls an audit file shows.
    Learn(learn::Learn),
    /// Show how a text, a message or a captured stream would be masked.
    Mask(mask::Mask),
    /// Show how other policies would have decided the calls in an audit file.
    Replay(replay::Replay),
    /// Run the proxy.
    Serve(serve::Serve),
    /// Run the tests in policy files.
    Test(test::Test),
    /// Verify or decode an access token, or get one from the demo.
    Token(token::Token),
    /// List a server's tools; lock, verify and approve their definitions; write a first policy.
    Tools(tools::Tools),
    /// Show what a running proxy does: calls, denials, masked values, keys and certificates.
    Top(top::Top),
    /// Show the version and what it was built with.
    Version(version::Version),
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The configuration file.
    #[arg(
        short,
        long,
        global = true,
        help_heading = "Options of every command",
        value_name = "FILE",
        env = "PORTCULLIS_CONFIG",
        default_value = "proxy.toml"
    )]
    pub config: PathBuf,
    /// When to use colour.
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_name = "WHEN",
        default_value = "auto",
        help = "When to use colour; NO_COLOR and CLICOLOR_FORCE are honoured"
    )]
    pub color: Color,
    /// The lowest level to log.
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_name = "LEVEL",
        help = "Log this level and above [default: $RUST_LOG, else info]"
    )]
    pub log_level: Option<LogLevel>,
    /// The format of log lines.
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_name = "FORMAT",
        help = "The format of log lines [default: telemetry.log_format]"
    )]
    pub log_format: Option<LogFormat>,
    /// Print errors only.
    #[arg(short, long, global = true, help_heading = "Options of every command", conflicts_with = "verbose")]
    pub quiet: bool,
    /// Ask nothing.
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        help = "Ask nothing; also when standard input or standard error is no terminal"
    )]
    pub no_input: bool,
    /// Log more: -v debug, -vv trace.
    #[arg(short, long, global = true, help_heading = "Options of every command", action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `--color`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal that supports it.
    Auto,
    /// Also in files and pipes.
    Always,
    /// Never.
    Never,
}

/// `--format` of commands that print a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

impl Global {
    /// The filter for logs: `--log-level`, else `-v` and `-q`, else `rust_log`, else `info`.
    pub fn log_filter(&self, rust_log: Option<&str>) -> String {
        match (self.log_level, self.verbose, self.quiet) {
            (Some(level), ..) => level.to_string(),
            (None, 0, true) => LogLevel::Error.to_string(),
            (None, 0, false) => rust_log.filter(|filter| !filter.is_empty()).unwrap_or("info").to_owned(),
            (None, 1, _) => LogLevel::Debug.to_string(),
            (None, ..) => LogLevel::Trace.to_string(),
        }
    }
}

impl Color {
    /// Whether to write colour: `--color`, else `NO_COLOR` (any value), else `CLICOLOR_FORCE` (not `0`), else whether a
    /// capable terminal reads it.
    pub fn wanted(self, terminal: bool, variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if set("NO_COLOR") => false,
            Self::Auto if set("CLICOLOR_FORCE") => variable("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            Self::Auto => terminal && variable("TERM").is_none_or(|term| term != "dumb"),
        }
    }
}

/// Where a command writes.
pub struct Streams<'a> {
    /// What `-` reads.
    pub input: &'a mut dyn Read,
    /// Results.
    pub out: &'a mut dyn Write,
    /// Messages.
    pub err: &'a mut dyn Write,
    /// Whether results may have colour.
    pub out_color: bool,
    /// Whether messages may have colour.
    pub err_color: bool,
    /// Whether somebody is there to answer a question.
    pub can_ask: bool,
}

impl Streams<'_> {
    /// Writes a line of results. A reader that went away is not an error.
    pub fn print(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.out, "{line}");
    }

    /// Writes results that are lines already.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes);
    }

    /// Writes a line of messages.
    pub fn message(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// Writes what is wrong with files, and an empty line after it.
    pub fn problems(&mut self, problems: &Problems) {
        if !problems.is_empty() {
            let rendered = problems.render(self.err_color);
            self.message(format_args!("{rendered}\n"));
        }
    }
}

/// Runs the command of this process's arguments. A fault of the program ends it with [`Exit::Internal`].
pub fn main() -> Exit {
    panic::catch_unwind(|| {
        let (mut input, mut out, mut err) = (io::stdin(), io::stdout(), io::stderr());
        let cli = match Cli::try_parse() {
            Ok(cli) => cli,
            Err(error) => return told(&error, &mut out),
        };
        let variable = |name: &str| std::env::var_os(name);
        let (out_color, err_color) = (
            cli.global.color.wanted(out.is_terminal(), &variable),
            cli.global.color.wanted(err.is_terminal(), &variable),
        );
        let can_ask = !cli.global.no_input && input.is_terminal() && err.is_terminal();
        let mut results = Results::new(&mut out);
        let streams =
            &mut Streams { input: &mut input, out: &mut results, err: &mut err, out_color, err_color, can_ask };
        let exit = run(&cli, streams);
        let Some(error) = results.lost() else { return exit };
        let _ = writeln!(err, "error: the results cannot be written: {error}");
        Exit::Unavailable
    })
    .unwrap_or_else(|_| {
        let _ = writeln!(io::stderr(), "this is a fault of portcullis; please report it with the lines above");
        Exit::Internal
    })
}

/// Help, the version, or what is wrong with the arguments.
fn told(error: &clap::Error, out: &mut dyn Write) -> Exit {
    let written = error.print().and_then(|()| out.flush());
    match written {
        _ if error.use_stderr() => Exit::Usage,
        Err(lost) if lost.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "error: the results cannot be written: {lost}");
            Exit::Unavailable
        }
        _ => Exit::Done,
    }
}

/// An error and its causes in one line, without repetitions.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    if let Some(fault) = TlsFault::of(error) {
        return format!("{text}: {fault}");
    }
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

/// Runs one command.
pub fn run(cli: &Cli, streams: &mut Streams<'_>) -> Exit {
    match &cli.command {
        Command::Audit(audit) => audit.run(&cli.global, streams),
        Command::Check(check) => check.run(&cli.global, streams),
        Command::Child(child) => child.run(streams),
        Command::Demo(demo) => demo.run(&cli.global, streams),
        Command::Doctor(doctor) => doctor.run(streams),
        Command::Explain(explain) => explain.run(&cli.global, streams),
        Command::Generate(generate) => generate.run(&cli.global, streams),
        Command::Healthcheck(healthcheck) => healthcheck.run(&cli.global, streams),
        Command::Init(init) => init.run(&cli.global, streams),
        Command::Learn(learn) => learn.run(&cli.global, streams),
        Command::Mask(mask) => mask.run(&cli.global, streams),
        Command::Replay(replay) => replay.run(&cli.global, streams),
        Command::Serve(serve) => serve.run(&cli.global, streams),
        Command::Test(test) => test.run(&cli.global, streams),
        Command::Token(token) => token.run(&cli.global, streams),
        Command::Tools(tools) => tools.run(&cli.global, streams),
        Command::Top(top) => top.run(&cli.global, streams),
        Command::Version(version) => version.run(streams),
    }
}

#[cfg(test)]
mod tests;
