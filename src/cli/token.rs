//! `portcullis token`: why a token is refused, what it says, and tokens of the demo.

mod decode;
mod mint;
pub(super) mod verify;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, Format, Global, Streams};
use crate::secret::Secret;

/// More than any token.
const LIMIT_BYTES: u64 = 64 * 1024;

/// Arguments of `token`.
#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    before_help = "Examples:
  portcullis token verify token.txt                         every check, with what was expected
  portcullis token mint --user ana | portcullis token decode -
  curl -H \"Authorization: Bearer $(portcullis token mint --user max)\" …"
)]
pub struct Token {
    #[command(subcommand)]
    command: Command,
}

/// The commands below `token`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show a token's header and claims without checking anything.
    Decode(decode::Decode),
    /// Print an access token of the running demo.
    Mint(mint::Mint),
    /// Check a token as a server of proxy.toml would, and show which check fails.
    Verify(verify::Verify),
}

impl Token {
    /// Runs the command below.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        match &self.command {
            Command::Decode(decode) => decode.run(streams),
            Command::Mint(mint) => mint.run(streams),
            Command::Verify(verify) => verify.run(global, streams),
        }
    }
}

/// Where a token is read from. It is never an argument itself: arguments are seen by every user of the machine.
#[derive(Args, Debug)]
pub(super) struct Presented {
    /// A file that holds only the token, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Presented {
    /// The token in `file`.
    pub(super) const fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// The token, without what surrounds it; what is wrong is said, and nothing of the token with it.
    pub(super) fn read(&self, streams: &mut Streams<'_>) -> Result<Secret<String>, Exit> {
        let mut bytes = Vec::new();
        let shown = self.file.display();
        let name = self.file.to_string_lossy();
        if name.starts_with("eyJ") && name.matches('.').count() >= 2 {
            streams
                .message("error: this is a token; give a file that holds it, or `-` and the token on standard input");
            return Err(Exit::Usage);
        }
        let read = if name == "-" {
            streams.input.take(LIMIT_BYTES).read_to_end(&mut bytes)
        } else {
            File::open(&self.file).and_then(|file| file.take(LIMIT_BYTES).read_to_end(&mut bytes))
        };
        let text = read.map_err(|error| error.to_string()).and_then(|_| {
            let text = Secret::new(String::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?);
            let bare = text.expose().trim();
            let bare = bare.strip_prefix("Bearer ").unwrap_or(bare).trim();
            if bare.is_empty() { Err("it is empty".to_owned()) } else { Ok(Secret::new(bare.to_owned())) }
        });
        text.map_err(|reason| {
            streams.message(format_args!("error: no token in `{shown}`: {reason}"));
            Exit::Usage
        })
    }
}
