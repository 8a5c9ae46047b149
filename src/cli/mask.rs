//! `portcullis mask`: what masks do, without a proxy.

mod evaluate;

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Exit, Streams};
use crate::mask::{Action, Directions, Entity, Masks, Spec, What};

/// Arguments of `mask`.
#[derive(Args, Debug)]
#[command(before_long_help = "Examples:
  portcullis mask --evaluate labelled.jsonl                    precision, recall and F1 of each entity
  portcullis mask --evaluate labelled.jsonl --format json      the same for programs

Each line of labelled text is an object:
  {\"text\": \"mail ana@example.com\", \"spans\": [{\"start\": 5, \"end\": 20, \"entity\": \"EMAIL_ADDRESS\"}]}
Places are counted in characters. A span whose entity is null is a value of some other kind.")]
pub struct Mask {
    /// Look for every entity in the labelled text of FILE, `-` for standard input, and say how well that went.
    #[arg(long, value_name = "FILE")]
    evaluate: PathBuf,
    /// How to print it.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Text,
}

impl Mask {
    /// Evaluates the masks.
    pub fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let on = Directions { arguments: true, result: true };
        let spec = Spec::new("all", on, What::Entities(Entity::ALL.to_vec()), Action::Redact);
        let Ok(masks) = Masks::compile(vec![spec]) else { return Exit::Internal };
        let file: Box<dyn io::Read + '_> = if self.evaluate == Path::new("-") {
            Box::new(&mut *streams.input)
        } else {
            match std::fs::File::open(&self.evaluate) {
                Ok(file) => Box::new(file),
                Err(error) => {
                    streams.message(format_args!("cannot open `{}`: {error}", self.evaluate.display()));
                    return Exit::Usage;
                }
            }
        };
        let quality = match evaluate::evaluate(&masks, BufReader::new(file)) {
            Ok(quality) => quality,
            Err(error) => {
                streams.message(format_args!("`{}`: {error}", self.evaluate.display()));
                return Exit::Usage;
            }
        };
        match self.format {
            Format::Json => streams.print(evaluate::as_json(&quality)),
            Format::Text => streams.print(evaluate::as_text(&quality).trim_end()),
        }
        Exit::Done
    }
}
