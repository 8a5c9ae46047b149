//! `[server]`.

use std::net::SocketAddr;
use std::time::Duration;

use toml::Spanned;
use url::Url;

use super::super::{Limits, Listener, raw};
use super::Loader;
use super::address::{is_loopback, quoted};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

impl Loader<'_> {
    pub(super) fn listener(&mut self, raw: &Spanned<raw::Listener>) -> Option<Listener> {
        let (span, raw) = (raw.span(), raw.get_ref());
        let tls = raw.tls.as_ref().map(|tls| self.tls(tls));
        let encrypted = raw.tls.is_some() || self.excused.contains(&(span.clone(), "tls"));
        let listen = self.addresses(raw, encrypted);
        self.unnamed_proxy(raw, &listen);
        if raw.public_url.is_none() {
            self.missing(&span, "public_url", "server");
        }
        let public_url = raw.public_url.as_ref().and_then(|written| self.public_url(written, raw, encrypted));
        let drain = raw.drain.as_ref();
        let delay = drain.and_then(|drain| drain.delay.as_ref());
        let timeout = drain.and_then(|drain| drain.timeout.as_ref());
        let hosts = raw.allowed_hosts.iter().flatten();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let listener = Listener {
            listen,
            allowed_hosts: hosts.map(|host| self.authority(host)).collect(),
            allowed_origins: self.origins(raw.allowed_origins.clone()),
            tls: tls.flatten(),
            hsts: self.hsts(raw.tls.as_ref().and_then(|tls| tls.get_ref().hsts.as_ref())),
            plain_http: raw.plain_http.as_ref().is_some_and(|flag| *flag.get_ref()),
            proxies: self.proxies(raw),
            workers: self.whole("workers", raw.workers.as_ref(), cores, &(1..=1024)),
            limits: self.limits(raw.limits.as_ref()),
            drain_delay: self.duration("delay", delay, 5 * SECOND, &(Duration::ZERO..=HOUR)),
            drain_timeout: self.duration("timeout", timeout, 25 * SECOND, &(Duration::ZERO..=HOUR)),
            public_url: public_url?,
        };
        Some(listener)
    }

    fn addresses(&mut self, raw: &raw::Listener, encrypted: bool) -> Vec<SocketAddr> {
        let plain = raw.plain_http.as_ref().filter(|flag| *flag.get_ref());
        if let (Some(plain), true) = (plain, encrypted) {
            let problem = self.error(plain.span(), "`plain_http` and `tls` contradict each other", "asks for no TLS");
            self.report(problem.help("take one of them out"));
        }
        let Some(written) = &raw.listen else {
            return vec![SocketAddr::from(if encrypted { ([0, 0, 0, 0], 8443) } else { ([127, 0, 0, 1], 8080) })];
        };
        if written.get_ref().is_empty() {
            let problem = self.error(written.span(), "`listen` is empty", "needs at least one address");
            self.report(problem.help("leave `listen` out for `0.0.0.0:8443`, or `127.0.0.1:8080` without TLS"));
        }
        let mut all = Vec::new();
        for entry in written.get_ref() {
            let Some(address) = self.socket(entry) else { continue };
            if !encrypted && plain.is_none() && !address.ip().is_loopback() {
                let message = "access tokens would cross the network in plain text";
                let problem = self.error(entry.span(), message, "plain HTTP beyond this machine");
                let help = "add `tls = { cert_file = \"…\", key_file = \"…\" }`, listen on `127.0.0.1`, \
                            or write `plain_http = true` if something in front of it speaks TLS";
                self.report(problem.help(help));
            }
            if all.contains(&address) && address.port() != 0 {
                let problem = self.error(entry.span(), "`listen` names this address twice", "already in the list");
                self.report(problem);
            }
            all.push(address);
        }
        all
    }

    /// The origin clients type: https, or http where nobody else can listen in or somebody asked for it.
    fn public_url(&mut self, written: &Spanned<String>, raw: &raw::Listener, encrypted: bool) -> Option<Url> {
        let url = self.url("public_url", written)?;
        let asked = raw.plain_http.as_ref().is_some_and(|flag| *flag.get_ref());
        if url.scheme() == "http" && encrypted {
            self.plain("public_url", written.span(), "the listener speaks TLS", "clients could not reach it otherwise");
        } else if url.scheme() == "http" && !asked && !is_loopback(&url) {
            self.plain(
                "public_url",
                written.span(),
                "plain HTTP beyond this machine",
                "clients refuse to send tokens there; if it is meant, write `plain_http = true`",
            );
        }
        if url.path() != "/" || url.query().is_some() {
            let problem =
                self.error(written.span(), "`public_url` must end after host and port", "has a path or a query");
            let problem = problem.help("the path of each server is its own `path`");
            let origin = quoted(&url.origin().ascii_serialization());
            self.report(problem.suggest(written.span(), origin, "write"));
        }
        Some(url)
    }

    fn limits(&mut self, raw: Option<&raw::Limits>) -> Limits {
        let default = Limits::default();
        let Some(raw) = raw else { return default };
        let wait = Duration::from_millis(100)..=HOUR;
        Limits {
            request_bytes: self.size(
                "request_bytes",
                raw.request_bytes.as_ref(),
                default.request_bytes,
                &(1024..=64 << 20),
            ),
            answer_bytes: self.size("answer_bytes", raw.answer_bytes.as_ref(), default.answer_bytes, &(1024..=1 << 30)),
            event_bytes: self.size("event_bytes", raw.event_bytes.as_ref(), default.event_bytes, &(1024..=1 << 30)),
            header_count: self.whole("header_count", raw.header_count.as_ref(), default.header_count, &(16..=1000)),
            header_bytes: self.size("header_bytes", raw.header_bytes.as_ref(), default.header_bytes, &(8192..=1 << 20)),
            connections: self.whole("connections", raw.connections.as_ref(), default.connections, &(1..=1_000_000)),
            connections_per_address: self.whole(
                "connections_per_address",
                raw.connections_per_address.as_ref(),
                default.connections_per_address,
                &(1..=1_000_000),
            ),
            refused_tokens: match &raw.refused_tokens {
                Some(written) if written.get_ref() == "off" => None,
                written => self.rate(written.as_ref()).or(default.refused_tokens),
            },
            http2_streams: self.whole(
                "http2_streams",
                raw.http2_streams.as_ref(),
                default.http2_streams,
                &(1..=10_000),
            ),
            header_timeout: self.duration("header_timeout", raw.header_timeout.as_ref(), default.header_timeout, &wait),
            tls_timeout: self.duration("tls_timeout", raw.tls_timeout.as_ref(), default.tls_timeout, &wait),
            body_timeout: self.duration("body_timeout", raw.body_timeout.as_ref(), default.body_timeout, &wait),
            keep_alive: self.duration("keep_alive", raw.keep_alive.as_ref(), default.keep_alive, &wait),
        }
    }
}
