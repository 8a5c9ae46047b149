//! `portcullis learn`: the least policy that allows the calls an audit file shows.

mod draft;
mod used;

use std::path::PathBuf;

use clap::Args;

use self::used::Used;
use super::{Exit, Global, Streams, history};
use crate::config;

/// Arguments of `learn`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis learn audit.jsonl --server crm > policies/crm.learned.toml
  portcullis replay audit.jsonl --policies policies/crm.learned.toml     would anything be refused by it?",
    after_help = "Only calls that were allowed count, also where rules in shadow would not allow them. Every name is written out; scopes are those every\n\
                  caller of it had. Read it before you use it: what was used is not always what should be allowed.\n\
                  Exit codes: 0 a policy was written, 1 there is nothing to learn from, 2 wrong arguments"
)]
pub struct Learn {
    /// The audit file, a folder or a quoted pattern for all of its files, or `-` for standard input.
    #[arg(value_name = "AUDIT")]
    audit: PathBuf,
    /// The server to learn for; needed if the file has several.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
}

impl Learn {
    /// Learns and prints.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let issuers = config::load(&global.config).map(|(config, _)| {
            config.issuers.values().map(|issuer| (issuer.issuer.clone(), issuer.name.clone())).collect()
        });
        let mut used = Used::new(self.server.as_deref(), issuers.unwrap_or_default());
        let skipped = match history::read(&self.audit, streams, &mut |decided| used.add(&decided)) {
            Ok(skipped) => skipped,
            Err(exit) => return exit,
        };
        if let Some(servers) = used.undecided() {
            streams.message(format_args!("error: which server is it for? choose one with --server: {servers}"));
            return Exit::Usage;
        }
        skipped.tell(streams);
        used.tell(streams);
        let Some(text) = draft::write(&used) else {
            streams.message("error: no call was allowed, so there is nothing to learn a policy from");
            return Exit::No;
        };
        let opened = draft::opened(&used);
        for (name, count) in opened.iter().take(20) {
            streams.message(format_args!(
                "warning: {} was denied {count} times to callers this policy allows it",
                name.text().escape_debug()
            ));
        }
        if opened.len() > 20 {
            streams.message(format_args!("warning: and {} more such names", opened.len() - 20));
        }
        let _ = streams.out.write_all(text.as_bytes());
        Exit::Done
    }
}
