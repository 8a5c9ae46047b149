//! `[servers.NAME]`: the protected MCP servers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::super::suggest::list;
use super::super::{
    EraMode, Issuer, KeyPair, LintMode, Listener, OnDrift, SchemaMode, Server, Timeouts, Tools, UpstreamAuth, raw, walk,
};
use super::Loader;

impl Loader<'_> {
    pub(super) fn servers(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<raw::Server>>,
        issuers: &BTreeMap<Arc<str>, Issuer>,
        listener: Option<&Listener>,
    ) -> BTreeMap<Arc<str>, Server> {
        if raw.is_empty() {
            self.missing(&(0..0), "servers", "");
        }
        let mut all: BTreeMap<Arc<str>, Server> = BTreeMap::new();
        for (name, table) in raw {
            self.name("a server", name);
            let Some(server) = self.server(name.get_ref(), table, issuers, listener) else { continue };
            let written = [table.get_ref().path.as_ref(), table.get_ref().sse_path.as_ref()];
            for path in written.into_iter().flatten() {
                let has =
                    |other: &&Server| [Some(&other.path), other.sse_path.as_ref()].contains(&Some(path.get_ref()));
                if let Some(other) = all.values().find(has) {
                    let message = format!("the server `{}` has this path", other.name);
                    let problem = self.error(path.span(), message, "already taken");
                    self.report(problem);
                }
            }
            all.insert(Arc::clone(&server.name), server);
        }
        self.shared_audiences(raw, &all);
        self.one_to_ask(raw, &all, issuers);
        all
    }

    fn server(
        &mut self,
        name: &str,
        table: &Spanned<raw::Server>,
        issuers: &BTreeMap<Arc<str>, Issuer>,
        listener: Option<&Listener>,
    ) -> Option<Server> {
        let (span, raw) = (table.span(), table.get_ref());
        let header = format!("servers.{name}");
        let is_somewhere =
            raw.upstream.is_some() || raw.command.is_some() || self.excused.contains(&(span.clone(), "command"));
        for (key, written) in [("path", raw.path.is_some()), ("upstream", is_somewhere)] {
            if !written {
                self.missing(&span, key, &header);
            }
        }
        if let Some(path) = &raw.path {
            self.canonical_path(path);
        }
        let backend = self.backend(raw);
        let path = raw.path.as_ref().map(|path| path.get_ref().clone());
        let policies = self.policies(table, &header);
        let accepted = self.accepted(table, issuers);
        let plain = backend.as_ref().is_some_and(|backend| !backend.is_encrypted());
        let upstream_ca_file = self.upstream_ca(raw, plain);
        let (upstream_client_certificate, upstream_auth, tool_auth) = self.shown(raw, plain);
        let identity = self.identity(raw);
        self.one_meaning(raw, &identity, upstream_auth.iter().chain(tool_auth.values()));
        let resource_name = raw.resource_name.as_ref().map(|written| self.text("resource_name", written, 200));
        let scopes_advertised = raw.scopes_advertised.as_ref().map(|scopes| self.scopes("scopes_advertised", scopes));
        let meta = self.meta(raw.meta.as_deref().unwrap_or_default());
        let timeouts = self.timeouts(raw.timeouts.as_ref());
        let concurrency = self.concurrency(raw.concurrency.as_ref());
        let breaker = self.breaker(raw.breaker.as_ref());
        let retries = self.retries(raw.retries.as_ref());
        let tools = self.tools(raw);
        let era = self.era(raw);
        let (transport, sessions) = self.transport(raw, era);
        let session_idle = self.session_idle(raw, backend.as_ref());
        let sse_path = self.sse_path(raw);
        let access = self.access(raw);
        let elicitation = raw.elicitation.as_ref().map(|written| self.elicitation(written)).unwrap_or_default();
        let audiences = raw.audiences.as_ref().map(|written| self.texts("audiences", written));
        let path = path?;
        let origin = listener.map(|listener| listener.public_url.origin().ascii_serialization()).unwrap_or_default();
        let resource = format!("{origin}{path}");
        let server = Server {
            name: name.into(),
            audiences: audiences.unwrap_or_else(|| vec![resource.clone()]),
            resource,
            path,
            backend: backend?,
            concurrency,
            breaker,
            retries,
            upstream_ca_file,
            upstream_http2: raw.upstream_http2.unwrap_or(false),
            upstream_auth: upstream_auth?,
            tool_auth,
            upstream_client_certificate,
            identity,
            issuers: accepted,
            policies,
            resource_name,
            scopes_advertised,
            meta,
            elicitation,
            era,
            transport,
            sessions,
            session_idle,
            sse_path,
            timeouts,
            tools,
            access,
        };
        self.not_itself(raw, &server);
        Some(server)
    }

    /// An opaque token does not say whose it is, and asking the wrong issuer would give it away.
    fn one_to_ask(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<raw::Server>>,
        all: &BTreeMap<Arc<str>, Server>,
        issuers: &BTreeMap<Arc<str>, Issuer>,
    ) {
        for server in all.values() {
            let asked = server.issuers.iter().filter_map(|name| issuers.get(name));
            let asked: Vec<_> = asked.filter(|issuer| issuer.introspection.is_some()).collect();
            if asked.len() > 1 {
                let span = raw.get(&*server.name).map(Spanned::span).unwrap_or_default();
                let message = format!("the server `{}` accepts two issuers with `introspection`", server.name);
                let problem = self.error(span, message, "which one would be asked about an opaque token?");
                self.report(problem.help("give them a server each"));
            }
        }
    }

    /// A token for one server must not open the next.
    fn shared_audiences(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<raw::Server>>,
        all: &BTreeMap<Arc<str>, Server>,
    ) {
        let written = |name: &str| raw.get(name).and_then(|table| table.get_ref().audiences.as_ref());
        for server in all.values() {
            let entries = written(&server.name).into_iter().flat_map(Spanned::get_ref);
            for entry in entries {
                let other = all
                    .values()
                    .filter(|other| other.name < server.name || written(&other.name).is_none())
                    .find(|other| {
                        other.name != server.name
                            && other.audiences.contains(entry.get_ref())
                            && other.issuers.iter().any(|issuer| server.issuers.contains(issuer))
                    });
                if let Some(other) = other {
                    let message = format!("tokens for the servers `{}` and `{}` open both", other.name, server.name);
                    let problem = self.warning(entry.span(), message, "the same audience");
                    self.report(problem.help("give every server an audience of its own where the issuer can"));
                }
            }
        }
    }

    fn policies(&mut self, table: &Spanned<raw::Server>, header: &str) -> Vec<PathBuf> {
        let Some(written) = &table.get_ref().policies else {
            self.missing(&table.span(), "policies", header);
            return Vec::new();
        };
        if written.get_ref().is_empty() {
            let problem = self.error(written.span(), "`policies` is empty", "without a rule every call is denied");
            self.report(problem.help("name at least one file, for example `policies = [\"policies/crm.toml\"]`"));
        }
        self.distinct("policies", written.get_ref());
        for file in written.get_ref() {
            self.policy(file);
        }
        written.get_ref().iter().map(|file| PathBuf::from(file.get_ref())).collect()
    }

    /// The accepted issuers; the only one there is by default.
    fn accepted(&mut self, table: &Spanned<raw::Server>, known: &BTreeMap<Arc<str>, Issuer>) -> Vec<Arc<str>> {
        let Some(written) = &table.get_ref().issuers else {
            if known.len() > 1 && !self.excused.contains(&(table.span(), "issuers")) {
                let message = "`issuers` is missing: there is more than one to choose from";
                let problem = self.error(table.span(), message, "whose tokens are accepted here?");
                let names = list(known.keys().map(AsRef::as_ref));
                self.report(problem.help(format!("write `issuers = [\"…\"]`; configured are {names}")));
            }
            return known.keys().cloned().collect();
        };
        let names = self.texts("issuers", written);
        for entry in written.get_ref().iter().filter(|entry| !known.contains_key(entry.get_ref().as_str())) {
            let message = format!("there is no issuer `{}`", entry.get_ref());
            let problem = self.error(entry.span(), message, "not configured");
            let help = walk::advice(entry.get_ref(), known.keys().map(AsRef::as_ref));
            self.report(problem.help(help));
        }
        names.iter().map(|name| name.as_str().into()).collect()
    }

    fn upstream_ca(&mut self, raw: &raw::Server, plain: bool) -> Option<PathBuf> {
        let written = raw.upstream_ca_file.as_ref()?;
        if plain {
            let problem = self.error(written.span(), "`upstream_ca_file` has no effect", "the upstream is not https");
            self.report(problem);
        }
        Some(self.certificates("upstream_ca_file", written))
    }

    /// What the proxy shows to the upstream: the certificate of its connections, and a credential, for single tools another.
    fn shown(
        &mut self,
        raw: &raw::Server,
        plain: bool,
    ) -> (Option<KeyPair>, Option<UpstreamAuth>, BTreeMap<String, UpstreamAuth>) {
        let certificate = raw.upstream_client_certificate.as_ref().and_then(|pair| {
            if plain {
                let message = "`upstream_client_certificate` has no effect";
                let problem = self.error(pair.span(), message, "the upstream is not https");
                self.report(problem);
            }
            self.key_pair("upstream_client_certificate", pair)
        });
        let certified = raw.upstream_client_certificate.is_some();
        let auth = match &raw.upstream_auth {
            Some(auth) => self.upstream_auth(auth, certified),
            None => Some(UpstreamAuth::None),
        };
        (certificate, auth, self.tool_auth(raw, certified))
    }

    /// Scope tokens (RFC 6749 section 3.3).
    pub(super) fn scopes(&mut self, key: &str, written: &[Spanned<String>]) -> Vec<String> {
        for scope in written {
            let fits = scope.get_ref().bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
            if !fits {
                let problem =
                    self.error(scope.span(), "not a scope", "one word of printable ASCII without `\"` and `\\`");
                self.report(problem);
            }
        }
        self.distinct(key, written)
    }

    /// Names of `_meta` members (MCP 2025-06-18, basic, `_meta`).
    fn meta(&mut self, written: &[Spanned<String>]) -> Vec<String> {
        for key in written {
            let fits = key.get_ref().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
            if !fits {
                let problem =
                    self.error(key.span(), "not a `_meta` key", "only letters, digits and `-_./` are allowed");
                self.report(problem.help("for example `com.example/trace`"));
            }
        }
        self.distinct("meta", written)
    }

    fn era(&mut self, raw: &raw::Server) -> EraMode {
        let modes = [
            ("auto", EraMode::Auto),
            ("pass", EraMode::Pass),
            ("legacy", EraMode::Legacy),
            ("modern", EraMode::Modern),
        ];
        self.choice("era", raw.era.as_ref(), &modes, &[]).unwrap_or_default()
    }

    fn tools(&mut self, raw: &raw::Server) -> Tools {
        let modes = [("enforce", SchemaMode::Enforce), ("report", SchemaMode::Report), ("off", SchemaMode::Off)];
        let drift = [("warn", OnDrift::Warn), ("hide", OnDrift::Hide), ("block", OnDrift::Block)];
        let lint = [("warn", LintMode::Warn), ("strip", LintMode::Strip), ("hide", LintMode::Hide)];
        if let (Some(written), None) = (&raw.on_drift, &raw.lock) {
            let problem =
                self.error(written.span(), "`on_drift` has no effect without `lock`", "no definitions to compare with");
            self.report(problem.help("write them down with `portcullis tools SERVER --lock` and name the file: `lock = \"policies/SERVER.lock\"`"));
        }
        Tools {
            schema: self.choice("schema", raw.schema.as_ref(), &modes, &[]).unwrap_or_default(),
            lock: raw.lock.as_ref().map(|written| self.path("lock", written)),
            on_drift: self.choice("on_drift", raw.on_drift.as_ref(), &drift, &[]).unwrap_or_default(),
            lint: self.choice("lint", raw.lint.as_ref(), &lint, &[]).unwrap_or_default(),
        }
    }

    fn timeouts(&mut self, raw: Option<&raw::Timeouts>) -> Timeouts {
        let default = Timeouts::default();
        let Some(raw) = raw else { return default };
        let range = Duration::from_millis(10)..=Duration::from_hours(24);
        let minute = Duration::from_millis(10)..=Duration::from_mins(1);
        let timeouts = Timeouts {
            connect: self.duration("connect", raw.connect.as_ref(), default.connect, &minute),
            first_byte: self.duration("first_byte", raw.first_byte.as_ref(), default.first_byte, &range),
            idle: self.duration("idle", raw.idle.as_ref(), default.idle, &range),
            total: self.duration("total", raw.total.as_ref(), default.total, &range),
        };
        let short = timeouts.total < timeouts.first_byte.max(timeouts.connect);
        if let Some(written) = raw.total.as_ref().filter(|_| short) {
            let problem = self.error(written.span(), "`total` ends before `connect` or `first_byte` can", "too short");
            self.report(problem);
        }
        timeouts
    }
}
