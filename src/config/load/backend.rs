//! Where a server is, and how many calls it can take.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{Backend, Breaker, Concurrency, EraMode, Retries, Server, SessionIdle, Sharing, Transport, raw};
use super::Loader;

/// Most endpoints that stand for each other.
const REPLICAS: usize = 32;

impl Loader<'_> {
    /// A program, or endpoints.
    pub(super) fn backend(&mut self, raw: &raw::Server) -> Option<Backend> {
        if let Some(command) = &raw.command {
            return self.command(raw, command);
        }
        self.nothing_of_programs(raw);
        self.endpoints(raw)
    }

    /// One endpoint or several, all with TLS or none.
    fn endpoints(&mut self, raw: &raw::Server) -> Option<Backend> {
        let written = raw.upstream.as_ref()?;
        let entries = written.get_ref();
        if entries.is_empty() || entries.len() > REPLICAS {
            let label = format!("needs 1 to {REPLICAS} entries");
            let problem = self.error(written.span(), "`upstream` names no endpoint, or too many", label);
            self.report(problem);
            return None;
        }
        let mut urls = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in entries {
            let Some(url) = self.url("upstream", entry) else { continue };
            if !seen.insert(url.to_string()) {
                let problem = self.error(entry.span(), "`upstream` names this twice", "already in the list");
                self.report(problem);
            }
            urls.push(url);
        }
        if urls.len() < entries.len() {
            return None;
        }
        if urls.iter().any(|url| url.scheme() != urls[0].scheme()) {
            let problem = self.error(written.span(), "some entries of `upstream` are https, others are not", "mixed");
            self.report(problem.help("what is shown to one of them is shown to all: use https for each"));
            return None;
        }
        Some(Backend::Http(urls))
    }

    pub(super) fn not_itself(&mut self, raw: &raw::Server, server: &Server) {
        let Backend::Http(urls) = &server.backend else { return };
        let entries = raw.upstream.iter().flat_map(toml::Spanned::get_ref);
        for (entry, _) in entries.zip(urls).filter(|(_, url)| url.as_str() == server.resource) {
            let problem = self.error(entry.span(), "`upstream` is this proxy itself", "would call itself for ever");
            self.report(problem);
        }
    }

    /// How an upstream over HTTP is spoken to, and whose it is what it tells.
    pub(super) fn transport(&mut self, raw: &raw::Server, era: EraMode) -> (Transport, Sharing) {
        let kinds =
            [("auto", Transport::Auto), ("sse", Transport::Sse), ("streamable_http", Transport::StreamableHttp)];
        let transport = self.choice("transport", raw.transport.as_ref(), &kinds, &[]).unwrap_or_default();
        if raw.command.is_some() {
            if let Some(written) = &raw.transport {
                let message = "`transport` has no effect with `command`";
                let problem = self.error(written.span(), message, "a program is spoken to over its standard input");
                self.report(problem);
            }
            return (transport, Sharing::Client);
        }
        if let (Some(written), Transport::Sse, EraMode::Modern) = (&raw.transport, transport, era) {
            let message = "`transport = \"sse\"` contradicts `era = \"modern\"`";
            let problem = self.error(written.span(), message, "no server of 2026-07-28 speaks HTTP+SSE");
            self.report(problem.help("take out the one that is not so; without them the proxy finds out itself"));
        }
        let Some(written) = &raw.sessions else { return (transport, Sharing::Client) };
        if transport != Transport::Sse {
            let message = "`sessions` has no effect without `command` or `transport = \"sse\"`";
            let problem = self.error(written.span(), message, "sessions are the upstream's own");
            self.report(problem);
        }
        let kinds = [("per_client_session", Sharing::Client), ("shared", Sharing::All)];
        (transport, self.choice("sessions", Some(written), &kinds, &[]).unwrap_or(Sharing::Client))
    }

    /// How long sessions may be left alone; of a program, as long as its processes may.
    pub(super) fn session_idle(&mut self, raw: &raw::Server, backend: Option<&Backend>) -> SessionIdle {
        let default = SessionIdle::default();
        if let Some(Backend::Command(command)) = backend {
            if let Some(written) = &raw.session_idle {
                let message = "`session_idle` has no effect with `command`";
                let problem = self.error(written.span(), message, "a program's sessions end with its processes");
                self.report(problem.help("set `stdio.idle`"));
            }
            return SessionIdle { own: command.idle, ..default };
        }
        let Some(written) = &raw.session_idle else { return default };
        let times = Duration::from_millis(10)..=Duration::from_hours(24);
        let own = self.duration("session_idle", Some(written), default.own, &times);
        SessionIdle { own, clients: Some(own), streams: own }
    }

    /// Where clients of 2024-11-05 find the server.
    pub(super) fn sse_path(&mut self, raw: &raw::Server) -> Option<String> {
        let written = raw.sse_path.as_ref()?;
        self.canonical_path(written);
        if raw.path.as_ref().is_some_and(|path| path.get_ref() == written.get_ref()) {
            let problem = self.error(written.span(), "`sse_path` is `path`", "which transport would be meant?");
            self.report(problem.help("a path below it is found by the clients that look for one: `/crm/mcp/sse`"));
        }
        Some(written.get_ref().clone())
    }

    pub(super) fn concurrency(&mut self, raw: Option<&raw::Concurrency>) -> Concurrency {
        let default = Concurrency::default();
        let Some(raw) = raw else { return default };
        let most = 1..=1_000_000_u32;
        let max_in_flight = self.whole("max_in_flight", raw.max_in_flight.as_ref(), default.max_in_flight, &most);
        let share = max_in_flight.div_ceil(2);
        let times = Duration::from_millis(1)..=Duration::from_mins(10);
        let concurrency = Concurrency {
            max_in_flight,
            per_principal: self.whole("per_principal", raw.per_principal.as_ref(), share, &most),
            queue: self.whole("queue", raw.queue.as_ref(), default.queue, &(0..=1_000_000)),
            queue_timeout: self.duration("queue_timeout", raw.queue_timeout.as_ref(), default.queue_timeout, &times),
            streams: self.whole("streams", raw.streams.as_ref(), default.streams, &(0..=1_000_000)),
        };
        if let Some(written) = raw.per_principal.as_ref().filter(|_| concurrency.per_principal > max_in_flight) {
            let message = format!("`per_principal` is more than `max_in_flight`, which is {max_in_flight}");
            let problem = self.error(written.span(), message, "no caller can have that many");
            self.report(problem);
        }
        if let (Some(written), 0) = (&raw.queue_timeout, concurrency.queue) {
            let problem = self.error(written.span(), "`queue_timeout` has no effect with `queue = 0`", "nobody waits");
            self.report(problem);
        }
        concurrency
    }

    pub(super) fn breaker(&mut self, raw: Option<&raw::Breaker>) -> Breaker {
        let default = Breaker::default();
        let Some(raw) = raw else { return default };
        let times = Duration::from_millis(1)..=Duration::from_mins(10);
        let breaker = Breaker {
            failures: self.whole("failures", raw.failures.as_ref(), default.failures, &(1..=1_000_000)),
            pause: self.duration("pause", raw.pause.as_ref(), default.pause, &times),
            longest: self.duration("longest", raw.longest.as_ref(), default.longest, &times),
        };
        if let Some(written) = raw.longest.as_ref().or(raw.pause.as_ref()).filter(|_| breaker.longest < breaker.pause) {
            let problem = self.error(written.span(), "`longest` is shorter than `pause`", "the pause only grows");
            self.report(problem);
        }
        breaker
    }

    pub(super) fn retries(&mut self, raw: Option<&raw::Retries>) -> Retries {
        let default = Retries::default();
        let Some(raw) = raw else { return default };
        let retries = Retries {
            attempts: self.whole("attempts", raw.attempts.as_ref(), default.attempts, &(0..=5)),
            tools: raw.tools.as_ref().map(|tools| self.distinct("tools", tools)).unwrap_or_default(),
        };
        if let (Some(first), 0) = (raw.tools.iter().flatten().next(), retries.attempts) {
            let problem =
                self.error(first.span(), "`tools` has no effect with `attempts = 0`", "nothing is tried again");
            self.report(problem);
        }
        retries
    }
}
