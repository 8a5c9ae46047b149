//! `portcullis mask`: masks a text, a message or a captured stream without a proxy.

mod evaluate;
mod input;
mod show;

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use self::input::Piece;
use super::{Exit, Global, Streams};
use crate::config::{self, Problem, Problems};
use crate::json::{Document, Limits, Splice};
use crate::mask::{
    Action, Blocked, Direction, Directions, Doubt, Entity, Findings, Masks, Sighting, Spec, View, What, doubts,
};
use crate::mcp::SubjectKind;
use crate::mcp::methods::{self, ERROR_PLACES};
use crate::policy;

/// Arguments of `mask`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  echo 'mail ana@example.com' | portcullis mask
  portcullis mask answer.json --server crm              with the masks of a server of proxy.toml
  portcullis mask capture.sse --server crm --stats      an event stream, message by message
  portcullis mask notes.txt --format json               where values are, never what they are
  portcullis mask --evaluate labelled.jsonl             precision, recall and F1 of each entity

Each line of labelled text is an object:
  {\"text\": \"mail ana@example.com\", \"spans\": [{\"start\": 5, \"end\": 20, \"entity\": \"EMAIL_ADDRESS\"}]}
Places are counted in characters. A span whose entity is null is a value of some other kind.",
    after_help = "Reads plain text, JSON, JSON lines and captured event streams.\n\
                  Exit codes: 0 done, 1 the message would be refused, 2 wrong arguments, 78 configuration refused"
)]
pub struct Mask {
    /// A file, or `-` for standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Use the masks of this server of proxy.toml; by default every entity is redacted, cards except their last digits.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// The direction of the message.
    #[arg(long, value_name = "WAY", default_value = "result")]
    on: Way,
    /// Count the findings.
    #[arg(long)]
    stats: bool,
    /// Measure precision and recall on the labelled text of FILE, or `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "server", "stats"])]
    evaluate: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// `--on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// From the client to the server.
    Arguments,
    /// From the server to the client.
    Result,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The masked text on standard output, the findings on standard error.
    Text,
    /// One JSON object: where the values are.
    Json,
}

/// What became of one piece of the input.
#[derive(Debug)]
struct Done {
    piece: Piece,
    /// The text in its place, or why it would be refused.
    written: Result<String, Blocked>,
    findings: Findings,
    doubts: Vec<Doubt>,
}

impl Done {
    fn sightings(&self) -> &[Sighting] {
        self.findings.sightings()
    }
}

impl Mask {
    /// Masks and prints.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        if let Some(file) = &self.evaluate {
            return self.evaluate(file, streams);
        }
        let masks = match self.masks(global) {
            Ok(masks) => masks,
            Err(problems) => {
                streams.problems(&problems);
                return Exit::Config;
            }
        };
        let text = match self.read(streams) {
            Ok(text) => text,
            Err(exit) => return exit,
        };
        let direction = match self.on {
            Way::Arguments => Direction::Arguments,
            Way::Result => Direction::Result,
        };
        let done: Vec<Done> = input::pieces(&text).into_iter().map(|piece| mask(&masks, direction, piece)).collect();
        match self.format {
            Format::Text => show::text(&masks, &text, &done, self.stats, streams),
            Format::Json => streams.print(show::json(&done, self.stats)),
        }
        if done.iter().any(|done| done.written.is_err()) { Exit::No } else { Exit::Done }
    }

    /// How well every entity is found in labelled text.
    fn evaluate(&self, path: &Path, streams: &mut Streams<'_>) -> Exit {
        let on = Directions { arguments: true, result: true };
        let spec = Spec::new("all", on, What::Entities(Entity::ALL.to_vec()), Action::Redact);
        let Ok(masks) = Masks::compile(vec![spec]) else { return Exit::Internal };
        let file: Box<dyn io::Read + '_> = if path == Path::new("-") {
            Box::new(&mut *streams.input)
        } else {
            match File::open(path) {
                Ok(file) => Box::new(file),
                Err(error) => {
                    streams.message(format_args!("error: cannot read `{}`: {error}", path.display()));
                    return Exit::Usage;
                }
            }
        };
        let quality = match evaluate::evaluate(&masks, BufReader::new(file)) {
            Ok(quality) => quality,
            Err(error) => {
                streams.message(format_args!("error: `{}`: {error}", path.display()));
                return Exit::Usage;
            }
        };
        match self.format {
            Format::Json => streams.print(evaluate::as_json(&quality)),
            Format::Text => streams.print(evaluate::as_text(&quality).trim_end()),
        }
        Exit::Done
    }

    fn masks(&self, global: &Global) -> Result<Masks, Problems> {
        let Some(name) = &self.server else { return Ok(everything()) };
        let (config, _) = config::load(&global.config)?;
        let Some(server) = config.servers.values().find(|server| *server.name == **name) else {
            let names: Vec<&str> = config.servers.values().map(|server| &*server.name).collect();
            let mut problems = Problems::new();
            let problem = Problem::error(&config.source(), 0..0, format!("there is no server `{name}`"), "");
            problems.push(problem.help(format!("the servers are {}", names.join(", "))));
            return Err(problems);
        };
        let mut problems = Problems::new();
        let mut loaded = policy::load(&config.policy_files(server), &mut problems);
        let masks = loaded.compile_masks(&mut problems);
        masks.filter(|_| !problems.has_errors()).ok_or(problems)
    }

    fn read(&self, streams: &mut Streams<'_>) -> Result<String, Exit> {
        let mut bytes = Vec::new();
        let read = if self.file.as_os_str() == "-" {
            streams.input.read_to_end(&mut bytes)
        } else {
            File::open(&self.file).and_then(|mut file| file.read_to_end(&mut bytes))
        };
        if let Err(error) = read {
            streams.message(format_args!("error: cannot read `{}`: {error}", self.file.display()));
            return Err(Exit::Usage);
        }
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            streams.message(format_args!("error: not UTF-8 from byte {at} on: the proxy would refuse it"));
            Exit::No
        })
    }
}

/// Every entity redacted, but for cards, which keep their last digits.
fn everything() -> Masks {
    let on = Directions { arguments: true, result: true };
    let rest = Entity::ALL.into_iter().filter(|entity| *entity != Entity::CreditCard).collect();
    let specs = vec![
        Spec::new(
            "cards",
            on,
            What::Entities(vec![Entity::CreditCard]),
            Action::Mask { keep_first: 0, keep_last: 4, char: '*' },
        ),
        Spec::new("everything", on, What::Entities(rest), Action::Redact),
    ];
    // INVARIANT: these compile.
    Masks::compile(specs).unwrap_or_else(|_| Masks::none())
}

fn mask(masks: &Masks, direction: Direction, piece: Piece) -> Done {
    let mut findings = Findings::witnessed();
    let document = Document::parse(piece.text.clone().into(), &Limits::ANSWER).ok();
    let is_structured = piece.text.trim_start().starts_with(['{', '[']);
    if let Some(document) = document.filter(|_| is_structured) {
        let written = mask_document(masks, direction, &document, &mut findings);
        return Done { piece, written, findings, doubts: Vec::new() };
    }
    let written = masks.text(&View::default(), direction, &piece.text, &mut findings).map(Into::into);
    let found: Vec<_> = findings.sightings().iter().map(|sighting| sighting.span).collect();
    let doubts = if masks.seeks(direction, "CREDIT_CARD") { doubts(&piece.text, &found) } else { Vec::new() };
    Done { piece, written, findings, doubts }
}

/// A JSON-RPC message as the proxy masks it, other JSON as a whole.
fn mask_document(
    masks: &Masks,
    direction: Direction,
    document: &Document,
    findings: &mut Findings,
) -> Result<String, Blocked> {
    let root = document.root();
    let mut splice = Splice::new();
    let view = View::default();
    if root.get("jsonrpc").is_some() {
        let method = root.get("method").and_then(|name| methods::find(&name.as_str()?));
        let call = methods::find(methods::use_of(SubjectKind::Tool));
        let params = method.map_or(&[][..], |method| method.opaque_params);
        let result = call.map_or(&[][..], |method| method.opaque_result);
        for (name, places) in [("params", params), ("result", result), ("error", ERROR_PLACES)] {
            if let Some(value) = root.get(name) {
                findings.below(&format!("/{name}"));
                masks.rewrite(&view, direction, value, places, &mut splice, findings)?;
            }
        }
    } else {
        masks.rewrite(&view, direction, root, &[], &mut splice, findings)?;
    }
    Ok(String::from_utf8_lossy(&splice.apply(document.bytes())).into_owned())
}
