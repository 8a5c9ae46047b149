//! `portcullis audit export`: records as events of other formats.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::{Exit, Streams};
use super::files;
use crate::audit::export::{Format, event};

/// Arguments of `audit export`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis audit export audit.jsonl --format ocsf > events.jsonl
  portcullis audit export audit.jsonl --format cef | logger --socket-errors=off --tag portcullis
  tail -F audit.jsonl | portcullis audit export - --format ecs",
    after_help = "Each record is one event: a call has two, of which the second has `end` for its code, and how it ended.\n\
                  What a format has no place for is in `unmapped` (OCSF), below `portcullis` (ECS), or has a key that begins with it (CEF).\n\
                  Exit codes: 0 every line was exported, 1 some lines are no records, 2 a file cannot be read"
)]
pub(super) struct Export {
    /// Audit files in their order, a folder or a quoted pattern for all of them, or `-` for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The format of events.
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// The version of OCSF.
    #[arg(long, value_name = "VERSION", default_value = "1.8")]
    ocsf_version: OcsfVersion,
}

/// `--ocsf-version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OcsfVersion {
    /// 1.8.0.
    #[value(name = "1.8")]
    V1_8,
}

impl Export {
    /// Exports every line.
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let OcsfVersion::V1_8 = self.ocsf_version;
        let files = match files::named(&self.files, streams) {
            Ok(files) => files,
            Err(exit) => return exit,
        };
        // What comes from a running proxy is passed on as it comes.
        let live = files.iter().any(|file| file.as_os_str() == "-");
        let read = {
            let mut out = BufWriter::with_capacity(1 << 16, &mut *streams.out);
            let within = &mut Streams {
                input: &mut *streams.input,
                out: &mut out,
                err: &mut *streams.err,
                out_color: streams.out_color,
                err_color: streams.err_color,
                can_ask: streams.can_ask,
            };
            let read = files::read(&files, within, &mut |line, out| {
                let event = match event(line, self.format) {
                    Ok(event) => event,
                    Err(reason) => return Ok(Err(reason)),
                };
                writeln!(out, "{event}")?;
                if live {
                    out.flush()?;
                }
                Ok(Ok(()))
            });
            let _ = out.flush();
            read
        };
        read.map_or_else(|exit| exit, |files| files::exit(&files, streams))
    }
}
