//! `portcullis healthcheck`: asks a running proxy for its health, for probes in images without a shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use clap::Args;

use super::{Exit, Global, Streams};
use crate::config;
use crate::server::admin::{HealthcheckError, healthcheck};

/// Where the admin listener is when nothing says otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// Arguments of `healthcheck`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis healthcheck                             does the process answer?
  portcullis healthcheck --ready                     should it get calls?
  portcullis healthcheck --ready --admin 127.0.0.1:9901",
    after_help = "Exit codes: 0 yes, 1 no, 69 nothing answers there"
)]
pub struct Healthcheck {
    /// Ask whether it is ready for calls, not only whether it answers.
    #[arg(long)]
    ready: bool,
    /// The admin listener, an address or http URL.
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = address,
        help = "The admin listener, an address or http URL [default: admin.listen of proxy.toml, else 127.0.0.1:9901]"
    )]
    admin: Option<SocketAddr>,
}

impl Healthcheck {
    /// Asks and prints the answer in a line.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let Some(address) = self.admin.or_else(|| configured(&global.config)) else {
            streams.message(format_args!(
                "error: {} has no [admin] table, so nothing listens for health checks",
                global.config.display()
            ));
            return Exit::Unavailable;
        };
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return Exit::Internal;
        };
        match runtime.block_on(healthcheck(reachable(address), self.ready)) {
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

/// A listener on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text);
    let bare = bare.strip_suffix('/').unwrap_or(bare).replace("localhost:", "127.0.0.1:");
    bare.parse().map_err(|_| "write an IP address and a port, such as `127.0.0.1:9901`".to_owned())
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
