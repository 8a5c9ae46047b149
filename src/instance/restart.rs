//! Settings that a reload cannot change, since sockets and threads outlive it.

use crate::config::{Config, Limits, Traces};

/// Warns of every key whose change takes effect only after a restart, and returns them.
pub(super) fn warn(started: &Config, wanted: &Config) -> Vec<&'static str> {
    let keys = changed(started, wanted);
    for key in &keys {
        tracing::warn!(key, "a change of this key needs a restart");
    }
    keys
}

fn changed(started: &Config, wanted: &Config) -> Vec<&'static str> {
    let (old, new) = (&started.server, &wanted.server);
    let listens = |address: &std::net::SocketAddr| address.port() == 0 || old.listen.contains(address);
    let admin = |config: &Config| config.admin.as_ref().map(|admin| format!("{admin:?}"));
    let arguments = |config: &Config| (config.audit.arguments_key.clone(), config.audit.masked_arguments);
    let all = [
        ("admin", admin(started) != admin(wanted)),
        ("audit.arguments", arguments(started) != arguments(wanted)),
        ("audit.on_error", started.audit.on_error != wanted.audit.on_error),
        ("audit.sinks", (&started.audit.sink, started.audit.chain) != (&wanted.audit.sink, wanted.audit.chain)),
        ("audit.retention", started.audit.retention != wanted.audit.retention),
        ("audit.rotate", started.audit.rotate != wanted.audit.rotate),
        ("audit.signing_key_file, audit.checkpoint", started.audit.signing != wanted.audit.signing),
        ("audit.subjects", started.audit.subjects_key != wanted.audit.subjects_key),
        ("audit.sync", started.audit.sync != wanted.audit.sync),
        ("server.drain.delay", old.drain_delay != new.drain_delay),
        ("server.drain.timeout", old.drain_timeout != new.drain_timeout),
        ("server.listen", old.listen.len() != new.listen.len() || !new.listen.iter().all(listens)),
        ("server.tls", old.tls.is_some() != new.tls.is_some()),
        ("server.workers", old.workers != new.workers),
        ("telemetry.log_format", started.telemetry.log_format != wanted.telemetry.log_format),
    ];
    let all = all.into_iter().chain(traces(started, wanted)).chain(limits(&old.limits, &new.limits));
    all.filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

/// The keys of `[telemetry]` about traces. Their values may also come from OpenTelemetry's environment variables.
fn traces(started: &Config, wanted: &Config) -> [(&'static str, bool); 5] {
    let (old, new) = (started.telemetry.traces.as_ref(), wanted.telemetry.traces.as_ref());
    let differ = |differ: fn(&Traces, &Traces) -> bool| old.zip(new).is_some_and(|(old, new)| differ(old, new));
    let endpoint = |traces: Option<&Traces>| traces.map(|traces| traces.endpoint.clone());
    [
        ("telemetry.otlp_endpoint", endpoint(old) != endpoint(new)),
        ("telemetry.sampling", differ(|old, new| old.sampling.share.to_bits() != new.sampling.share.to_bits())),
        ("telemetry.follow_caller", differ(|old, new| old.sampling.follows_caller != new.sampling.follows_caller)),
        ("telemetry.service_name", differ(|old, new| old.service_name != new.service_name)),
        ("telemetry.resource_attributes", differ(|old, new| old.attributes != new.attributes)),
    ]
}

/// Every field is named, so that a new one must either be listed here or be read from the snapshot.
fn limits(started: &Limits, wanted: &Limits) -> [(&'static str, bool); 8] {
    let Limits {
        request_bytes: _,
        answer_bytes: _,
        event_bytes: _,
        header_count,
        header_bytes,
        connections,
        connections_per_address,
        refused_tokens: _,
        http2_streams,
        header_timeout,
        tls_timeout,
        body_timeout: _,
        keep_alive,
    } = wanted;
    [
        ("server.limits.connections", started.connections != *connections),
        ("server.limits.connections_per_address", started.connections_per_address != *connections_per_address),
        ("server.limits.header_bytes", started.header_bytes != *header_bytes),
        ("server.limits.header_count", started.header_count != *header_count),
        ("server.limits.header_timeout", started.header_timeout != *header_timeout),
        ("server.limits.http2_streams", started.http2_streams != *http2_streams),
        ("server.limits.keep_alive", started.keep_alive != *keep_alive),
        ("server.limits.tls_timeout", started.tls_timeout != *tls_timeout),
    ]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::changed;
    use crate::config::{Config, parse};

    fn config(server: &str, more: &str) -> Config {
        let text = format!(
            "[server]\npublic_url = \"https://mcp.example.com\"\n{server}\n[issuers.corp]\n\
             issuer = \"https://login.example.com\"\n[servers.crm]\npath = \"/crm/mcp\"\n\
             upstream = \"http://127.0.0.1:3001/mcp\"\npolicies = [\"crm.toml\"]\n{more}"
        );
        parse(&text, Path::new("proxy.toml")).map_err(|problems| problems.render(false)).unwrap().0
    }

    #[test]
    fn every_key_that_is_read_at_the_start_alone_is_told() {
        let plain = "listen = [\"127.0.0.1:8080\"]\nplain_http = true";
        let started = config(plain, "");
        let tls = "listen = [\"127.0.0.1:8080\"]\ntls = { cert_file = \"a\", key_file = \"b\" }";
        let limits = "limits = { connections = 7, connections_per_address = 7, header_bytes = \"16 KiB\", header_count = 50, header_timeout = \"5s\", \
                      http2_streams = 50, keep_alive = \"30s\", tls_timeout = \"5s\", body_timeout = \"5s\", \
                      request_bytes = \"2 MiB\" }";
        for (server, more, keys) in [
            (plain.to_owned(), "[cors]\nallow_origins = [\"https://a.example\"]\n", &[][..]),
            (plain.to_owned(), "[admin]\nlisten = \"127.0.0.1:9901\"\n", &["admin"]),
            (
                plain.to_owned(),
                "[audit]\nsinks = [{ type = \"file\", path = \"a.jsonl\" }]\non_error = \"drop\"\nsync = true\n",
                &["audit.on_error", "audit.sinks", "audit.sync"],
            ),
            (plain.to_owned(), "[telemetry]\nlog_format = \"json\"\n", &["telemetry.log_format"]),
            (
                plain.to_owned(),
                "[telemetry]\notlp_endpoint = \"http://127.0.0.1:4318\"\nsampling = \"1%\"\n",
                &["telemetry.otlp_endpoint"],
            ),
            (tls.to_owned(), "", &["server.tls"]),
            (plain.replace("8080", "8081"), "", &["server.listen"]),
            (plain.replace("\"]", "\", \"[::1]:8080\"]"), "", &["server.listen"]),
            (format!("{plain}\nworkers = 77"), "", &["server.workers"]),
            (
                format!("{plain}\ndrain = {{ delay = \"1s\", timeout = \"1s\" }}"),
                "",
                &["server.drain.delay", "server.drain.timeout"],
            ),
            (
                format!("{plain}\n{limits}"),
                "",
                &[
                    "server.limits.connections",
                    "server.limits.connections_per_address",
                    "server.limits.header_bytes",
                    "server.limits.header_count",
                    "server.limits.header_timeout",
                    "server.limits.http2_streams",
                    "server.limits.keep_alive",
                    "server.limits.tls_timeout",
                ],
            ),
        ] {
            assert_eq!(changed(&started, &config(&server, more)), keys, "{server}\n{more}");
        }
    }
}
