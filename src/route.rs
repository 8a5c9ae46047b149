//! One protected server as the request path sees it, and which one a path means.

use std::sync::Arc;

use bytes::Bytes;

use crate::auth::signals::Receiver;
use crate::auth::{Acceptance, Challenges};
use crate::bridge::Bridge;
use crate::config::{Elicitation, EraMode, SessionIdle};
use crate::mask::Masks;
use crate::policy::tools::Tools;
use crate::policy::{self, ListVersions, Policy};
use crate::trial::Rules;
use crate::upstream::{Backend, Catalog, Credentials};

/// A configured server with everything compiled: an OAuth resource of its own, with its own issuers, audiences,
/// challenges, policy, masks, upstream and credential.
#[derive(Debug)]
pub struct Route {
    /// Name in `proxy.toml`.
    pub name: Arc<str>,
    /// Path on the public listener, compared as bytes.
    pub path: Box<str>,
    /// Path for clients of HTTP+SSE (2024-11-05), if configured.
    pub sse_path: Option<Box<str>>,
    /// Which access tokens it accepts.
    pub acceptance: Acceptance,
    /// Its `WWW-Authenticate` values.
    pub challenges: Challenges,
    /// `scopes_supported`, and what the first challenge asks for.
    pub scopes: Box<[Box<str>]>,
    /// The rules for its callers.
    pub policy: Policy,
    /// What each of its policy files holds.
    pub policy_files: Box<[policy::Summary]>,
    /// SHA-256 over its policy files.
    pub policy_version: Arc<str>,
    /// What the lists shown to its callers depend on.
    pub lists: ListVersions,
    /// Which of its tools may be shown and called, and their known definitions.
    pub tools: Tools,
    /// Its tool list, as fetched by the proxy.
    pub catalog: Catalog,
    /// The masks for its callers.
    pub masks: Masks,
    /// `_meta` keys let through besides the reserved ones.
    pub meta: Box<[Box<str>]>,
    /// What it may have users asked.
    pub elicitation: Elicitation,
    /// Which eras are bridged.
    pub bridging: EraMode,
    /// How long sessions there may be unused (`session_idle`).
    pub idle: SessionIdle,
    /// The translation between client and upstream of different eras.
    pub bridge: Arc<Bridge>,
    /// Its endpoints.
    pub backend: Arc<Backend>,
    /// Tools the operator declared safe to call twice (`retries.tools`).
    pub repeatable: Box<[Box<str>]>,
    /// How the proxy authenticates there.
    pub credentials: Credentials,
}

impl Route {
    /// What decides about its calls.
    pub(crate) fn rules(&self) -> Rules<'_> {
        let Self { policy, tools, masks, meta, elicitation, backend, .. } = self;
        Rules { policy, tools, masks, meta, elicitation, origin: backend.origin(), offered: None }
    }
}

/// What a path on the public listener means.
#[derive(Debug)]
pub enum Found<'s> {
    /// A protected resource's metadata document (RFC 9728 section 3).
    Metadata(&'s Bytes),
    /// Where an issuer pushes event tokens.
    Signals(&'s Arc<Receiver>),
    /// An MCP endpoint.
    Route(&'s Arc<Route>),
    /// The same for clients of HTTP+SSE (2024-11-05).
    Sse(&'s Arc<Route>),
}
