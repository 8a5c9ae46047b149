//! `portcullis demo`: an issuer, a sample MCP server and the real proxy, in one process on loopback.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use thiserror::Error;
use tokio::net::TcpListener;

use super::{Exit, Global, Streams, chain};
use crate::clock::Timestamp;
use crate::config::{self, Problems};
use crate::demo::banner::{self, Addresses, Holder, Scheme};
use crate::demo::issuer::{self, ClientDocuments, Issuer, USERS};
use crate::demo::{certificate, crm, watch};
use crate::instance::{Instance, StartError};
use crate::secret::Secret;
use crate::server::drain::{Drain, Signal, signals};
use crate::server::{self, Bound, tls};
use crate::telemetry::logs;

/// The policy the demo runs.
const POLICY: &str = include_str!("../../policies/crm.toml");

/// Arguments of `demo`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis demo                               issuer, sample MCP server and proxy, until Ctrl-C
  portcullis demo --listen 127.0.0.1:0          on free ports, beside another one
  portcullis demo --print-config > proxy.toml   the configuration it runs, for `serve`",
    after_help = "Everything is made up, keys live in memory, and nothing listens beyond loopback."
)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Demo {
    /// Where the proxy listens; with port 0, free ports are chosen for everything.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Open no second listener with TLS.
    #[arg(long)]
    no_tls: bool,
    /// Accept client ID metadata documents (CIMD).
    #[arg(long)]
    cimd: bool,
    /// Open the issuer's page in a browser, once all runs.
    #[arg(long)]
    open: bool,
    /// Print the demo's proxy.toml and exit.
    #[arg(long)]
    print_config: bool,
    /// How to print the addresses.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// The folder for certificates, keys and addresses.
    #[arg(long, value_name = "FOLDER", default_value = ".portcullis")]
    directory: PathBuf,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object, once ready.
    Json,
}

/// Why the demo did not start.
#[derive(Debug, Error)]
enum DemoError {
    #[error("the demo listens on loopback only, not on {0}")]
    BeyondLoopback(SocketAddr),
    #[error("cannot listen on {address}; is another demo running? `--listen 127.0.0.1:0` chooses free ports")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("the demo's own configuration is refused")]
    Config(Problems),
    #[error("cannot write {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot start the issuer")]
    Issuer(#[from] issuer::StartError),
    #[error("cannot mint a token")]
    Mint(#[from] issuer::MintError),
    #[error("{0}; is another demo running? `--listen 127.0.0.1:0` chooses free ports")]
    Server(#[from] server::ServerError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot start")]
    System(#[from] std::io::Error),
}

impl Demo {
    /// Runs until a signal ends it.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        if self.print_config {
            streams.print(banner::print_config(&self.planned(), POLICY).trim_end());
            return Exit::Done;
        }
        let filter = global.log_filter(std::env::var("RUST_LOG").ok().as_deref().or(Some("warn")));
        if let Err(error) =
            logs::init(global.log_format.unwrap_or(config::LogFormat::Auto), Some(&filter), streams.err_color)
        {
            streams.message(format_args!("error: {error}"));
            return Exit::Usage;
        }
        tls::install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let result = runtime.map_err(DemoError::from).and_then(|runtime| runtime.block_on(self.serve(streams)));
        match result {
            Ok(()) => Exit::Done,
            Err(DemoError::Config(problems)) => {
                streams.problems(&problems);
                Exit::Config
            }
            Err(error) => {
                streams.message(format_args!("error: {}", chain(&error)));
                if matches!(error, DemoError::BeyondLoopback(_)) { Exit::Usage } else { Exit::Unavailable }
            }
        }
    }

    /// The addresses as asked for, before any is bound.
    fn planned(&self) -> Addresses {
        let at = |port: u16| SocketAddr::new(self.listen.ip(), if self.listen.port() == 0 { 0 } else { port });
        Addresses {
            admin: at(9901),
            directory: self.directory.clone(),
            http: self.listen,
            https: (!self.no_tls).then(|| at(8443)),
            issuer: at(9000),
            upstream: at(9001),
        }
    }

    async fn serve(&self, streams: &mut Streams<'_>) -> Result<(), DemoError> {
        if !self.listen.ip().is_loopback() {
            return Err(DemoError::BeyondLoopback(self.listen));
        }
        let mut signals = signals()?;
        let mut addresses = self.planned();
        addresses.directory = std::path::absolute(&self.directory)?;
        let issuing = bind(&mut addresses.issuer).await?;
        let upstream = bind(&mut addresses.upstream).await?;
        // The admin listener is bound by the proxy; only its port is found out here.
        drop(bind(&mut addresses.admin).await?);
        write_files(&addresses)?;
        let http = listen(&mut addresses, Scheme::Http)?;
        let https = listen(&mut addresses, Scheme::Https)?;
        let issuer = start_issuer(self, issuing, &addresses)?;
        let _crm = crm::start(upstream, crm::Settings::default())?;
        let drain = Drain::new();
        let mut instances = Vec::new();
        if let Some(http) = http {
            instances.push(start(&addresses, Scheme::Http, http, &drain).await?);
        }
        if let (Some(https), Some(_)) = (https, addresses.https) {
            instances.push(start(&addresses, Scheme::Https, https, &drain).await?);
        }
        for instance in &instances {
            instance.settled().await;
        }
        self.announce(&addresses, &issuer, streams)?;
        if self.open && !browse(&addresses.issuer_url()) {
            streams.message("no browser can be opened from here; the addresses are above");
        }
        let watching = watch::decisions(&addresses, std::io::stderr());
        tokio::select! {
            () = run(&instances, &mut signals) => {}
            () = watching => {}
        }
        Ok(())
    }

    fn announce(&self, addresses: &Addresses, issuer: &Issuer, streams: &mut Streams<'_>) -> Result<(), DemoError> {
        let audiences = addresses.resources();
        let mint = |user: &issuer::User| {
            let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
            let token = issuer.mint(user.name, user.scopes, &audiences)?;
            let scopes = user.scopes.iter().map(|scope| (*scope).to_owned()).collect();
            Ok(Holder { name: user.name.to_owned(), scopes, token: Secret::new(token) })
        };
        let users = USERS.iter().map(mint).collect::<Result<Vec<_>, DemoError>>()?;
        let file = addresses.directory.join("demo.json");
        private(&file, banner::demo_file(addresses, &users, issuer.mint_secret()).expose())?;
        match self.format {
            Format::Text => streams.print(banner::text(addresses, &program())),
            Format::Json => streams.print(banner::json_line(addresses, &users)),
        }
        let _ = streams.out.flush();
        Ok(())
    }
}

/// Opens an address with the system's own opener; whether there is one.
fn browse(url: &str) -> bool {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = std::process::Command::new(opener);
    let quiet = std::process::Stdio::null;
    let opening = command.arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    let Ok(mut opening) = opening else { return false };
    // It is waited for, so that nothing of it is left while the demo runs.
    std::thread::spawn(move || opening.wait());
    true
}

/// This program as it can be typed again: `cargo run` and a path do not make it a command of the shell.
fn program() -> String {
    let name = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    match std::path::absolute(&name) {
        Ok(path) if name.components().count() > 1 => shown(&path),
        _ => "portcullis".to_owned(),
    }
}

/// A path, from the current folder if it lies below it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below.unwrap_or_else(|| path.to_owned()).display().to_string()
}

/// The first proxy obeys the signals; all end with the one drain.
async fn run(instances: &[Instance], signals: &mut tokio::sync::mpsc::Receiver<Signal>) {
    if let Some(first) = instances.first() {
        first.run(signals).await;
    }
}

async fn bind(address: &mut SocketAddr) -> Result<TcpListener, DemoError> {
    let failed = |address| move |source| DemoError::Bind { address, source };
    let listener = TcpListener::bind(*address).await.map_err(failed(*address))?;
    *address = listener.local_addr().map_err(failed(*address))?;
    Ok(listener)
}

/// Binds the proxy's own sockets as `serve` does; where a port was to be chosen, `addresses` has it then.
fn listen(addresses: &mut Addresses, scheme: Scheme) -> Result<Option<Bound>, DemoError> {
    let Some(text) = banner::config_text(addresses, scheme) else { return Ok(None) };
    let (config, _) = config::parse(&text, &addresses.directory.join("proxy.toml")).map_err(DemoError::Config)?;
    let bound = server::bind(&config.server)?;
    if let Some(address) = bound.addresses().first() {
        match scheme {
            Scheme::Http => addresses.http = *address,
            Scheme::Https => addresses.https = Some(*address),
        }
    }
    Ok(Some(bound))
}

fn write_files(addresses: &Addresses) -> Result<(), DemoError> {
    let directory = &addresses.directory;
    let policies = directory.join("policies");
    std::fs::create_dir_all(&policies).map_err(|source| DemoError::File { path: policies.clone(), source })?;
    private(&policies.join("crm.toml"), POLICY)?;
    let made = certificate::generate(Timestamp::now())?;
    let (cert, key) = addresses.cert_files();
    private(&addresses.ca_file(), &made.ca_pem)?;
    private(&cert, &made.cert_pem)?;
    private(&key, made.key_pem.expose())
}

/// Writes a file only this user can read.
fn private(path: &Path, text: &str) -> Result<(), DemoError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |source| DemoError::File { path: path.to_owned(), source };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}

fn start_issuer(demo: &Demo, listener: TcpListener, addresses: &Addresses) -> Result<Issuer, DemoError> {
    let client_documents = if demo.cimd { ClientDocuments::Fetched } else { ClientDocuments::Refused };
    let settings = issuer::Settings { resources: addresses.resources(), client_documents, ..Default::default() };
    Ok(Issuer::start(listener, settings)?)
}

/// One proxy, from the text `--print-config` shows, by the same code as `serve`.
async fn start(addresses: &Addresses, scheme: Scheme, bound: Bound, drain: &Drain) -> Result<Instance, DemoError> {
    let name = match scheme {
        Scheme::Http => "proxy.toml",
        Scheme::Https => "proxy-tls.toml",
    };
    let path = addresses.directory.join(name);
    private(&path, &banner::config_text(addresses, scheme).unwrap_or_default())?;
    let (config, _) = config::load(&path).map_err(DemoError::Config)?;
    let background = tokio::runtime::Handle::current();
    match Instance::start(config, Some(path), bound, &background, drain.clone()).await {
        Ok((instance, _)) => Ok(instance),
        Err(StartError::Config(problems)) => Err(DemoError::Config(problems)),
        Err(error) => Err(error.into()),
    }
}
