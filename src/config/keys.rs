//! The table of keys of `proxy.toml`: what may be written where. Keys of later versions are listed so that they are refused as
//! such, never read and ignored.

mod access;
mod backend;
mod grant;
mod issuer;
mod state;

use access::{ANONYMOUS, AUTHENTICATION, DPOP, ELICITATION, METADATA, MTLS};
use backend::{BREAKER, CONCURRENCY, RETRIES, STDIO};
use grant::{IDENTITY, KEY_PAIR};
use issuer::ISSUER;
use state::STATE;

pub(crate) use grant::UPSTREAM_AUTH;

/// One table of the file.
pub(crate) struct Table {
    /// Its keys, in the order a newcomer should read them.
    pub(crate) keys: &'static [Key],
    /// Keys that other versions may know and this one refuses.
    pub(crate) later: &'static [&'static str],
    /// What people write for a key that has another name here.
    pub(crate) synonyms: &'static [(&'static str, &'static str)],
}

/// One key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// A right value, for messages.
    pub(crate) example: &'static str,
}

/// What a key's value looks like.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `"30s"`.
    Duration,
    /// `true` or `false`.
    Flag,
    /// A table of strings, with keys of the user's choosing.
    Map,
    /// A date and time, bare or quoted.
    Moment,
    /// A table of tables with names of the user's choosing.
    Named(&'static Table),
    /// A table that says where a secret is read from.
    Secret,
    /// `"1 MiB"`, or a number of bytes.
    Size,
    /// A table.
    Table(&'static Table),
    /// A list of tables.
    Tables(&'static Table),
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// A list of strings, or one of them alone.
    TextOrTexts,
    /// A whole number.
    Whole,
}

const fn key(name: &'static str, kind: Kind, example: &'static str) -> Key {
    Key { name, kind, example }
}

const fn table(keys: &'static [Key]) -> Table {
    Table { keys, later: &[], synonyms: &[] }
}

/// The whole file.
pub(crate) static PROXY: Table = Table {
    keys: &[
        key("version", Kind::Whole, "1"),
        key("server", Kind::Table(&SERVER), "[server]"),
        key("admin", Kind::Table(&ADMIN), "[admin]"),
        key("issuers", Kind::Named(&ISSUER), "[issuers.corp]"),
        key("servers", Kind::Named(&PROTECTED), "[servers.crm]"),
        key("cors", Kind::Table(&CORS), "[cors]"),
        key("audit", Kind::Table(&AUDIT), "[audit]"),
        key("sealing", Kind::Table(&SEALING), "[sealing]"),
        key("state", Kind::Table(&STATE), "[state]"),
        key("telemetry", Kind::Table(&TELEMETRY), "[telemetry]"),
    ],
    later: &["acme", "demo", "limits", "policy", "register", "registration", "tenants"],
    synonyms: &[("issuer", "issuers"), ("upstreams", "servers"), ("listener", "server"), ("log", "telemetry")],
};

static SERVER: Table = Table {
    keys: &[
        key("listen", Kind::TextOrTexts, "[\"0.0.0.0:8443\"]"),
        key("public_url", Kind::Text, "\"https://mcp.example.com\""),
        key("tls", Kind::Table(&TLS), "{ cert_file = \"tls.crt\", key_file = \"tls.key\" }"),
        key("plain_http", Kind::Flag, "true"),
        key("allowed_hosts", Kind::Texts, "[\"mcp.internal:8443\"]"),
        key("allowed_origins", Kind::Texts, "[\"https://app.example.com\"]"),
        key("trusted_proxies", Kind::Texts, "[\"10.0.0.0/8\"]"),
        key("proxy_protocol", Kind::Text, "\"required\""),
        key("forwarded_header", Kind::Text, "\"x-forwarded-for\""),
        key("workers", Kind::Whole, "4"),
        key("drain", Kind::Table(&DRAIN), "{ delay = \"5s\", timeout = \"25s\" }"),
        key("limits", Kind::Table(&LIMITS), "{ request_bytes = \"1 MiB\" }"),
    ],
    later: &["acme", "legacy_as_metadata", "per_address_rate", "readyz"],
    synonyms: &[
        ("address", "listen"),
        ("addr", "listen"),
        ("base_url", "public_url"),
        ("bind", "listen"),
        ("external_url", "public_url"),
        ("port", "listen"),
        ("threads", "workers"),
        ("url", "public_url"),
    ],
};

static TLS: Table = Table {
    keys: &[
        key("cert_file", Kind::Text, "\"/etc/portcullis/tls/tls.crt\""),
        key("key_file", Kind::Text, "\"/etc/portcullis/tls/tls.key\""),
        key("client_ca_file", Kind::Text, "\"/etc/portcullis/tls/clients.pem\""),
        key("client_certificates", Kind::Text, "\"required\""),
        key("hsts", Kind::Text, "\"365d\""),
    ],
    later: &["acme", "certificates", "ciphers", "crl_file", "max_version", "min_version", "sni"],
    synonyms: &[
        ("ca_file", "client_ca_file"),
        ("cert", "cert_file"),
        ("certificate", "cert_file"),
        ("client_auth", "client_certificates"),
        ("strict_transport_security", "hsts"),
        ("key", "key_file"),
        ("private_key", "key_file"),
    ],
};

static DRAIN: Table = table(&[key("delay", Kind::Duration, "\"5s\""), key("timeout", Kind::Duration, "\"25s\"")]);

static LIMITS: Table = Table {
    keys: &[
        key("request_bytes", Kind::Size, "\"1 MiB\""),
        key("answer_bytes", Kind::Size, "\"16 MiB\""),
        key("event_bytes", Kind::Size, "\"4 MiB\""),
        key("header_count", Kind::Whole, "100"),
        key("header_bytes", Kind::Size, "\"32 KiB\""),
        key("connections", Kind::Whole, "10000"),
        key("connections_per_address", Kind::Whole, "1000"),
        key("refused_tokens", Kind::Text, "\"300/min\""),
        key("http2_streams", Kind::Whole, "100"),
        key("header_timeout", Kind::Duration, "\"10s\""),
        key("tls_timeout", Kind::Duration, "\"10s\""),
        key("body_timeout", Kind::Duration, "\"30s\""),
        key("keep_alive", Kind::Duration, "\"60s\""),
    ],
    later: &["depth", "members", "rate", "token_bytes"],
    synonyms: &[
        ("body_bytes", "request_bytes"),
        ("max_body", "request_bytes"),
        ("request", "request_bytes"),
        ("response_bytes", "answer_bytes"),
    ],
};

static ADMIN: Table = Table {
    keys: &[
        key("listen", Kind::Text, "\"127.0.0.1:9901\""),
        key("beyond_loopback", Kind::Flag, "true"),
        key("socket", Kind::Text, "\"/run/portcullis/admin.sock\""),
        key("token", Kind::Secret, "{ file = \"/run/secrets/admin-token\" }"),
        key("readyz", Kind::Table(&READYZ), "{ upstreams = true }"),
    ],
    later: &["tls"],
    synonyms: &[("address", "listen"), ("bind", "listen"), ("path", "socket")],
};

static READYZ: Table = table(&[key("upstreams", Kind::Flag, "true")]);

static PROTECTED: Table = Table {
    keys: &[
        key("path", Kind::Text, "\"/crm/mcp\""),
        key("upstream", Kind::TextOrTexts, "\"http://127.0.0.1:3001/mcp\""),
        key("command", Kind::Texts, "[\"node\", \"server.js\"]"),
        key("env", Kind::Map, "{ ROOT = \"/srv/files\" }"),
        key("cwd", Kind::Text, "\"/srv/files\""),
        key("user", Kind::Text, "\"mcp\""),
        key("sessions", Kind::Text, "\"per_principal\""),
        key("session_idle", Kind::Duration, "\"10m\""),
        key("stdio", Kind::Table(&STDIO), "{ processes = 64 }"),
        key("policies", Kind::Texts, "[\"policies/crm.toml\"]"),
        key("issuers", Kind::Texts, "[\"corp\"]"),
        key("audiences", Kind::Texts, "[\"https://mcp.example.com/crm/mcp\"]"),
        key("resource_name", Kind::Text, "\"Customer records\""),
        key("scopes_advertised", Kind::Texts, "[\"crm:read\"]"),
        key("meta", Kind::Texts, "[\"com.example/trace\"]"),
        key("elicitation", Kind::Table(&ELICITATION), "{ url_hosts = [\"*.example.com\"] }"),
        key("upstream_ca_file", Kind::Text, "\"upstream-ca.pem\""),
        key("upstream_http2", Kind::Flag, "true"),
        key("timeouts", Kind::Table(&TIMEOUTS), "{ first_byte = \"30s\" }"),
        key("concurrency", Kind::Table(&CONCURRENCY), "{ max_in_flight = 16 }"),
        key("breaker", Kind::Table(&BREAKER), "{ failures = 5 }"),
        key("retries", Kind::Table(&RETRIES), "{ attempts = 1 }"),
        key("dpop", Kind::Table(&DPOP), "{ required = true }"),
        key("mtls", Kind::Table(&MTLS), "{ required = true }"),
        key("authentication", Kind::Table(&AUTHENTICATION), "{ max_age = \"8h\" }"),
        key("anonymous", Kind::Table(&ANONYMOUS), "{ rate = \"120/min\" }"),
        key("metadata", Kind::Table(&METADATA), "{ documentation = \"https://docs.example.com/crm\" }"),
        key("upstream_auth", Kind::Table(&UPSTREAM_AUTH), "{ type = \"bearer\", token = { file = \"token\" } }"),
        key("tool_auth", Kind::Named(&UPSTREAM_AUTH), "[servers.crm.tool_auth.send_mail]"),
        key(
            "upstream_client_certificate",
            Kind::Table(&KEY_PAIR),
            "{ cert_file = \"proxy.crt\", key_file = \"proxy.key\" }",
        ),
        key("identity", Kind::Table(&IDENTITY), "{ headers = { X-Forwarded-User = \"sub\" } }"),
        key("era", Kind::Text, "\"auto\""),
        key("transport", Kind::Text, "\"auto\""),
        key("sse_path", Kind::Text, "\"/crm/mcp/sse\""),
        key("schema", Kind::Text, "\"enforce\""),
        key("lock", Kind::Text, "\"policies/crm.lock\""),
        key("on_drift", Kind::Text, "\"block\""),
        key("lint", Kind::Text, "\"warn\""),
    ],
    later: &[
        "baseline",
        "headers",
        "limits",
        "mode",
        "protocol",
        "rate_limit",
        "register",
        "roots",
        "sampling",
        "shadow_until",
    ],
    synonyms: &[
        ("args", "command"),
        ("audience", "audiences"),
        ("environment", "env"),
        ("issuer", "issuers"),
        ("name", "resource_name"),
        ("policy", "policies"),
        ("pool", "stdio"),
        ("scopes_supported", "scopes_advertised"),
        ("session_timeout", "session_idle"),
        ("replicas", "upstream"),
        ("upstream_url", "upstream"),
        ("working_directory", "cwd"),
        ("upstreams", "upstream"),
        ("url", "upstream"),
    ],
};

static TIMEOUTS: Table = table(&[
    key("connect", Kind::Duration, "\"2s\""),
    key("first_byte", Kind::Duration, "\"30s\""),
    key("idle", Kind::Duration, "\"5m\""),
    key("total", Kind::Duration, "\"10m\""),
]);

/// Where a secret is read from.
pub(crate) static SECRET: Table = Table {
    keys: &[
        key("file", Kind::Text, "\"/run/secrets/crm-token\""),
        key("env", Kind::Text, "\"CRM_TOKEN\""),
        key("credential", Kind::Text, "\"crm-token\""),
        key("value", Kind::Text, "\"…\""),
    ],
    later: &["aws", "azure", "command", "exec", "gcp", "keyring", "kubernetes", "vault"],
    synonyms: &[("environment", "env"), ("path", "file"), ("variable", "env")],
};

static CORS: Table = Table {
    keys: &[key("allow_origins", Kind::Texts, "[\"http://localhost:6274\"]")],
    later: &["allow_credentials", "allow_headers", "allow_methods", "expose_headers", "max_age"],
    synonyms: &[("allowed_origins", "allow_origins"), ("origins", "allow_origins")],
};

static AUDIT: Table = Table {
    keys: &[
        key("sinks", Kind::Tables(&SINK), "[{ type = \"file\", path = \"audit.jsonl\" }]"),
        key("on_error", Kind::Text, "\"block\""),
        key("sync", Kind::Flag, "true"),
        key("signing_key_file", Kind::Text, "\"/run/secrets/audit.pem\""),
        key("checkpoint", Kind::Duration, "\"10s\""),
        key("arguments", Kind::Text, "\"hash\""),
        key("arguments_key_file", Kind::Text, "\"/run/secrets/audit-arguments\""),
        key("subjects", Kind::Text, "\"keyed\""),
        key("subjects_key_file", Kind::Text, "\"/run/secrets/audit-subjects\""),
        key("rotate", Kind::Table(&ROTATE), "{ size = \"100 MiB\", every = \"1d\" }"),
        key("retention", Kind::Duration, "\"190d\""),
    ],
    later: &["format"],
    synonyms: &[
        ("fsync", "sync"),
        ("key_file", "signing_key_file"),
        ("signing_key", "signing_key_file"),
        ("sink", "sinks"),
    ],
};

static ROTATE: Table = Table {
    keys: &[key("size", Kind::Size, "\"100 MiB\""), key("every", Kind::Duration, "\"1d\"")],
    later: &["compress", "keep"],
    synonyms: &[("age", "every"), ("bytes", "size"), ("interval", "every"), ("max_size", "size")],
};

static SINK: Table = Table {
    keys: &[
        key("type", Kind::Text, "\"file\""),
        key("path", Kind::Text, "\"/var/log/portcullis/audit.jsonl\""),
        key("chain", Kind::Flag, "true"),
    ],
    later: &["endpoint", "filter", "format", "ocsf_version", "retention", "rotate", "topic", "url"],
    synonyms: &[("file", "path")],
};

static SEALING: Table = Table {
    keys: &[key("keys", Kind::Tables(&SEALING_KEY), "[{ id = \"k1\", file = \"sealing.key\" }]")],
    later: &["kms"],
    synonyms: &[("key", "keys")],
};

static SEALING_KEY: Table = Table {
    keys: &[
        key("id", Kind::Text, "\"k1\""),
        key("file", Kind::Text, "\"/run/secrets/sealing-k1\""),
        key("seal_from", Kind::Moment, "2026-12-01T00:00:00Z"),
        key("open_until", Kind::Moment, "2027-03-01T00:00:00Z"),
    ],
    later: &["credential", "env", "kms"],
    synonyms: &[("path", "file")],
};

static TELEMETRY: Table = Table {
    keys: &[
        key("log_format", Kind::Text, "\"json\""),
        key("otlp_endpoint", Kind::Text, "\"http://127.0.0.1:4318\""),
        key("sampling", Kind::Text, "\"10%\""),
        key("follow_caller", Kind::Flag, "true"),
        key("service_name", Kind::Text, "\"portcullis\""),
        key("resource_attributes", Kind::Map, "{ \"deployment.environment.name\" = \"production\" }"),
    ],
    later: &["access_log", "headers", "log_level", "metrics", "otlp_headers", "otlp_protocol", "traces"],
    synonyms: &[
        ("attributes", "resource_attributes"),
        ("endpoint", "otlp_endpoint"),
        ("format", "log_format"),
        ("sample_ratio", "sampling"),
    ],
};

impl Table {
    /// The key of that name.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// `` `a`, `b` and `c` ``.
    pub(crate) fn names(&self) -> String {
        super::suggest::list(self.keys.iter().map(|key| key.name))
    }
}

impl Kind {
    /// What a value must be, for "must be …".
    pub(crate) const fn wanted(self) -> &'static str {
        match self {
            Self::Duration => "a duration in quotes",
            Self::Flag => "`true` or `false`",
            Self::Map => "a table of strings",
            Self::Moment => "a date and time",
            Self::Named(_) | Self::Table(_) => "a table",
            Self::Secret => "a table that says where the secret is read from",
            Self::Size => "a size in quotes",
            Self::Tables(_) => "a list of tables",
            Self::Text => "a string",
            Self::Texts => "a list of strings",
            Self::TextOrTexts => "a string or a list of strings",
            Self::Whole => "a whole number",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Kind, PROXY, SECRET, Table};

    fn check(table: &Table, seen: &mut usize) {
        *seen += 1;
        let names: BTreeSet<_> = table.keys.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), table.keys.len(), "{}", table.names());
        assert!(table.later.is_sorted(), "{:?}", table.later);
        for later in table.later {
            assert!(!names.contains(later), "`{later}` is here");
        }
        for (synonym, key) in table.synonyms {
            assert!(names.contains(key), "`{key}` for `{synonym}`");
            assert!(!names.contains(synonym) && !table.later.contains(synonym), "`{synonym}`");
        }
        for key in table.keys {
            match key.kind {
                Kind::Named(table) | Kind::Table(table) | Kind::Tables(table) => check(table, seen),
                _ => assert!(!key.example.is_empty(), "`{}`", key.name),
            }
        }
    }

    #[test]
    fn every_table_is_consistent() {
        let mut seen = 0;
        check(&PROXY, &mut seen);
        check(&SECRET, &mut seen);
        assert!(seen > 12);
    }
}
