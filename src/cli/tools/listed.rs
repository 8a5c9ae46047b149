//! The tools an upstream lists, asked for with the proxy's own credential.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Builder;

use crate::cli::{Exit, chain};
use crate::clock::Timestamp;
use crate::config::Server;
use crate::json::{Document, Limits};
use crate::mcp::Revision;
use crate::policy::lint::Setting;
use crate::policy::lint::definition::{Findings, look};
use crate::policy::lock::{canonical, visible};
use crate::server::tls;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Backend, CatalogError, Credentials, Grants, survey};

/// One definition as it was listed.
pub(in crate::cli) struct Listed {
    pub(in crate::cli) name: String,
    pub(in crate::cli) document: Document,
}

/// What an upstream offers.
pub(in crate::cli) struct Offer {
    pub(in crate::cli) tools: Vec<Listed>,
    /// The name of its transport.
    pub(in crate::cli) transport: &'static str,
    pub(in crate::cli) revision: Revision,
    /// Whether it opens sessions.
    pub(in crate::cli) in_session: bool,
}

/// Why nothing is known of what it offers.
pub(in crate::cli) struct Unasked {
    pub(in crate::cli) exit: Exit,
    pub(in crate::cli) why: String,
    /// What to do about it, if that is known.
    pub(in crate::cli) help: Option<&'static str>,
}

impl Unasked {
    fn new(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { exit, why: visible(&chain(error)).trim_matches('"').to_owned(), help: None }
    }
}

impl Listed {
    fn read(item: Bytes) -> Option<Self> {
        let document = Document::parse(item, &Limits::ANSWER).ok()?;
        let name = document.root().get("name")?.as_str()?.into_owned();
        Some(Self { name, document })
    }

    pub(in crate::cli) fn canonical(&self) -> String {
        canonical(self.document.root())
    }

    /// What looks suspicious about it, listed among `tools` by an upstream at `host`.
    pub(in crate::cli) fn findings(&self, tools: &[Self], host: &str) -> Findings {
        let others = tools.iter().map(|tool| tool.name.as_str()).filter(|name| *name != self.name);
        let others: Vec<&str> = others.collect();
        look(&self.document, &Setting { host, others: &others })
    }
}

/// Asks the upstream of `server` for its tools.
pub(in crate::cli) fn ask(server: &Server) -> Result<Offer, Unasked> {
    tls::install_default();
    let upstream = Backend::new(server).map_err(|error| Unasked::new(Exit::Config, &error))?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Unasked::new(Exit::Internal, &error))?;
    let grants = Grants::new(runtime.handle().clone(), Arc::new(Metrics::new("", "")), crate::auth::Epoch::default());
    let credentials = Credentials::new(server, &grants, "").map_err(|error| Unasked::new(Exit::Config, &error))?;
    let Some(credential) = runtime.block_on(credentials.own(Timestamp::now())) else {
        let kind = server.upstream_auth.name();
        let why =
            format!("`type = \"{kind}\"` needs a caller's token; show the upstream one of its own with --token FILE");
        return Err(Unasked { exit: Exit::Usage, why, help: None });
    };
    let credential = credential.map_err(|error| Unasked::new(Exit::Unavailable, &error))?;
    let limit = upstream.timeouts().total;
    let surveyed = runtime.block_on(async {
        let late = |_| Err(CatalogError::Slow(limit));
        tokio::time::timeout(limit, survey(&upstream, &credential)).await.unwrap_or_else(late)
    });
    let surveyed = surveyed.map_err(|error| {
        let wants = matches!(error, CatalogError::Status { status: 401 | 403 });
        let help = wants.then_some("it wants a credential: see `upstream_auth`, or show it a token with --token FILE");
        Unasked { help, ..Unasked::new(Exit::Unavailable, &error) }
    })?;
    Ok(Offer {
        tools: surveyed.tools.into_iter().filter_map(Listed::read).collect(),
        transport: upstream.transport(),
        revision: surveyed.revision,
        in_session: surveyed.in_session,
    })
}
