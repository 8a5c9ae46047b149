//! `portcullis healthcheck`: asks a running proxy for its health, for probes in images without a shell.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use clap::Args;

use super::{Exit, Global, Streams};
use crate::config;
use crate::server::admin::{HealthcheckError, Place, healthcheck};

/// Where the admin listener is when nothing says otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// Arguments of `healthcheck`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis healthcheck                             does the process answer?
  portcullis healthcheck --ready                     should it get calls?
  portcullis healthcheck --ready --admin 127.0.0.1:9901
  portcullis healthcheck --ready --admin /run/portcullis/admin.sock",
    after_help = "Exit codes: 0 yes, 1 no, 69 nothing answers there"
)]
pub struct Healthcheck {
    /// Ask whether it is ready for calls, not only whether it answers.
    #[arg(long)]
    ready: bool,
    /// The admin listener, an address or http URL, or the path of its socket.
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "The admin listener, an address or http URL, or the path of its socket [default: admin.listen of proxy.toml, else 127.0.0.1:9901]"
    )]
    admin: Option<Place>,
}

impl Healthcheck {
    /// Asks and prints the answer in a line.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let Some(place) = place(self.admin.as_ref(), global, streams) else { return Exit::Unavailable };
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return Exit::Internal;
        };
        match runtime.block_on(healthcheck(&place, self.ready)) {
            Ok(_) if !self.ready => {
                streams.print("alive");
                Exit::Done
            }
            Ok(text) => {
                streams.print(one_line(&text));
                Exit::Done
            }
            Err(HealthcheckError::Unhealthy(text)) => {
                streams.print(one_line(&text));
                Exit::No
            }
            Err(error @ HealthcheckError::Connect { .. }) => {
                streams.message(format_args!("error: {error}"));
                Exit::Unavailable
            }
        }
    }
}

/// Where to ask: there, else where the file says.
pub(super) fn place(given: Option<&Place>, global: &Global, streams: &mut Streams<'_>) -> Option<Place> {
    let place = given.cloned().or_else(|| configured(&global.config).map(Place::Address));
    if place.is_none() {
        let path = global.config.display();
        streams.message(format_args!("error: {path} has no [admin] table, so there is nobody to ask"));
    }
    place
}

/// The admin listener of the file. It is read with less care than `serve` reads it: a probe must not fail because of a
/// file somebody is editing. `None` only if the file is fine and has none.
fn configured(path: &Path) -> Option<SocketAddr> {
    let Ok(text) = std::fs::read_to_string(path) else { return Some(DEFAULT) };
    if let Ok((config, _)) = config::parse(&text, path) {
        return config.admin.map(|admin| admin.listen);
    }
    let table = text.parse::<toml::Table>().ok();
    let listen = table.as_ref().and_then(|table| table.get("admin")?.get("listen")?.as_str()?.parse().ok());
    Some(listen.unwrap_or(DEFAULT))
}

/// The lines of `/readyz?verbose`, whose last is the verdict, as `verdict: line, line`.
fn one_line(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    match lines.pop() {
        None => "no answer".to_owned(),
        Some(verdict) if lines.is_empty() => verdict.to_owned(),
        Some(verdict) => format!("{verdict}: {}", lines.join(", ")),
    }
}
