//! `portcullis serve`: runs the proxy until a signal ends it.

use clap::Args;

use super::{Exit, Global, Streams, check};
use crate::config;
use crate::instance::{Instance, StartError};
use crate::server::drain::{Drain, signals};
use crate::server::{self, descriptors, tls};
use crate::telemetry::logs;

/// Arguments of `serve`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis serve                                  run from proxy.toml here
  portcullis serve -c /etc/portcullis/proxy.toml    run from elsewhere; relative paths start at that folder
  portcullis serve --check                          only say whether it would start",
    after_help = "Signals: HUP reloads; TERM and INT drain, then exit with 0; a second one exits at once"
)]
pub struct Serve {
    /// Only check the configuration, as `portcullis check` does.
    #[arg(long)]
    check: bool,
}

impl Serve {
    /// Serves, and says how it ended.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        if self.check {
            return check::Check::default().run(global, streams);
        }
        let (config, warnings) = match config::load(&global.config) {
            Ok(loaded) => loaded,
            Err(problems) => {
                streams.problems(&problems);
                return Exit::Config;
            }
        };
        let filter = global.log_filter(std::env::var("RUST_LOG").ok().as_deref());
        if let Err(error) =
            logs::init(global.log_format.unwrap_or(config.telemetry.log_format), Some(&filter), streams.err_color)
        {
            streams.message(format_args!("error: {error}"));
            return Exit::Usage;
        }
        logs::problems(&warnings);
        tls::install_default();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                streams.message(format_args!("error: cannot start: {error}"));
                return Exit::Internal;
            }
        };
        match runtime.block_on(serve(config, global)) {
            Ok(()) => Exit::Done,
            Err(StartError::Config(problems)) => {
                streams.problems(&problems);
                Exit::Config
            }
            Err(error) => {
                streams.message(format_args!("error: {}", super::chain(&error)));
                match error {
                    StartError::Config(_) => Exit::Config,
                    StartError::Random | StartError::Signals(_) | StartError::Traces(_) => Exit::Internal,
                    StartError::Admin { .. }
                    | StartError::AdminSocket { .. }
                    | StartError::Audit { .. }
                    | StartError::Server(_) => Exit::Unavailable,
                }
            }
        }
    }
}

async fn serve(config: config::Config, global: &Global) -> Result<(), StartError> {
    if config.servers.values().any(|server| matches!(server.backend, config::Backend::Command(_))) {
        // A program of the same user could otherwise read this process's memory.
        let _ = nix::sys::prctl::set_dumpable(false);
    }
    descriptors::provide(config.server.limits.connections);
    let bound = server::bind(&config.server)?;
    let mut signals = signals().map_err(StartError::Signals)?;
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let background = tokio::runtime::Handle::current();
    let (instance, warnings) =
        Instance::start(config, Some(global.config.clone()), bound, &background, Drain::new()).await?;
    logs::problems(&warnings);
    for address in instance.addresses() {
        tracing::info!(%address, scheme, "listening");
    }
    if let Some(address) = instance.admin() {
        tracing::info!(%address, "admin listening");
    }
    if let Some(path) = instance.admin_socket() {
        tracing::info!(path = %path.display(), "admin socket listening");
    }
    let summary = instance.run(&mut signals).await;
    tracing::info!("{summary}");
    Ok(())
}
