//! `portcullis token mint`: an access token of the running demo, for scripts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use url::{Host, Url};

use super::{Exit, Streams};
use crate::cli::chain;
use crate::secret::Secret;
use crate::server::tls;

/// The demo is on this machine.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `token mint`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis token mint --user ana
  portcullis token mint --user ana --scope \"crm:read crm:write\"
  portcullis token mint --user max --audience https://localhost:8443/crm/mcp",
    after_help = "The users are ana and max. The running demo is found by its file .portcullis/demo.json.\n\
                  Exit codes: 0 printed, 1 the demo refuses, 69 no demo is running"
)]
pub(super) struct Mint {
    /// The user, ana or max.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The scopes; by default all the user has.
    #[arg(long, value_name = "SCOPE", value_delimiter = ' ')]
    scope: Vec<String>,
    /// The audience; by default every resource of the demo.
    #[arg(long, value_name = "URL")]
    audience: Option<String>,
    /// The folder the demo runs in, as given to `demo --directory`.
    #[arg(long, value_name = "FOLDER", default_value = ".portcullis")]
    directory: PathBuf,
}

/// Why there is no token.
#[derive(Debug, Error)]
enum MintError {
    #[error("no demo answers at {issuer}, which `{}` names; start one with `portcullis demo`", .file.display())]
    Away { file: PathBuf, issuer: Url, source: reqwest::Error },
    #[error("`{}` was not written by a demo; start one with `portcullis demo`", .0.display())]
    File(PathBuf),
    #[error("no demo is running here: there is no `{}`; start one with `portcullis demo`, or name its folder with --directory", .0.display())]
    None(PathBuf),
    #[error("another demo answers at {issuer} than the one that wrote `{}`", .file.display())]
    Other { file: PathBuf, issuer: Url },
    #[error("the demo refuses: {0}")]
    Refused(String),
    #[error("cannot start")]
    System(#[from] std::io::Error),
}

/// What is read of `demo.json`.
#[derive(Deserialize)]
struct Demo {
    issuer: String,
    mint_secret: String,
}

impl Mint {
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime.map_err(MintError::from).and_then(|runtime| runtime.block_on(self.ask())) {
            Ok(token) => {
                streams.print(token.expose());
                Exit::Done
            }
            Err(error) => {
                streams.message(format_args!("error: {}", chain(&error)));
                match error {
                    MintError::Refused(_) => Exit::No,
                    MintError::System(_) => Exit::Internal,
                    MintError::Away { .. } | MintError::File(_) | MintError::None(_) | MintError::Other { .. } => {
                        Exit::Unavailable
                    }
                }
            }
        }
    }

    async fn ask(&self) -> Result<Secret<String>, MintError> {
        let file = self.directory.join("demo.json");
        let (issuer, secret) = read(&file)?;
        let away = |source: reqwest::Error| MintError::Away {
            file: file.clone(),
            issuer: issuer.clone(),
            source: source.without_url(),
        };
        tls::install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .tls_certs_only([])
            .build()
            .map_err(away)?;
        let mut url = issuer.clone();
        url.set_path("/mint");
        let asked = client.post(url).bearer_auth(secret.expose()).json(&self.wanted());
        let answer = asked.send().await.map_err(away)?;
        let status = answer.status();
        if status.as_u16() == 401 {
            return Err(MintError::Other { file, issuer });
        }
        let answer: Value = answer.json().await.map_err(away)?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        match text("access_token") {
            Some(token) if status.is_success() => Ok(Secret::new(token.to_owned())),
            _ => {
                let why = text("error_description").unwrap_or("without saying why");
                Err(MintError::Refused(why.chars().take(200).flat_map(char::escape_debug).collect()))
            }
        }
    }

    fn wanted(&self) -> Value {
        let mut wanted = json!({ "user": self.user });
        if !self.scope.is_empty() {
            wanted["scope"] = json!(self.scope.join(" "));
        }
        if let Some(audience) = &self.audience {
            wanted["audience"] = json!(audience);
        }
        wanted
    }
}

/// The issuer of `demo.json` and its secret, which goes to loopback only, whatever the file says.
fn read(file: &Path) -> Result<(Url, Secret<String>), MintError> {
    let text = Secret::new(std::fs::read_to_string(file).map_err(|_| MintError::None(file.to_owned()))?);
    let unusable = || MintError::File(file.to_owned());
    let demo: Demo = serde_json::from_str(text.expose()).map_err(|_| unusable())?;
    let secret = Secret::new(demo.mint_secret);
    let issuer = Url::parse(&demo.issuer).map_err(|_| unusable())?;
    let loopback = match issuer.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    if issuer.scheme() == "http" && loopback { Ok((issuer, secret)) } else { Err(unusable()) }
}
