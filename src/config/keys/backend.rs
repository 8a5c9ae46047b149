//! Keys for concurrency, the circuit breaker, retries and programs.

use super::{Kind, Table, key};

/// `servers.NAME.concurrency`.
pub(super) static CONCURRENCY: Table = Table {
    keys: &[
        key("max_in_flight", Kind::Whole, "16"),
        key("per_principal", Kind::Whole, "4"),
        key("queue", Kind::Whole, "1024"),
        key("queue_timeout", Kind::Duration, "\"10s\""),
        key("streams", Kind::Whole, "10000"),
    ],
    later: &[],
    synonyms: &[
        ("max", "max_in_flight"),
        ("max_concurrency", "max_in_flight"),
        ("max_queue", "queue"),
        ("per_caller", "per_principal"),
        ("timeout", "queue_timeout"),
    ],
};

/// `servers.NAME.breaker`.
pub(super) static BREAKER: Table = Table {
    keys: &[
        key("failures", Kind::Whole, "5"),
        key("pause", Kind::Duration, "\"1s\""),
        key("longest", Kind::Duration, "\"30s\""),
    ],
    later: &["error_rate", "window"],
    synonyms: &[("max_pause", "longest"), ("threshold", "failures")],
};

/// `servers.NAME.retries`.
pub(super) static RETRIES: Table = Table {
    keys: &[key("attempts", Kind::Whole, "1"), key("tools", Kind::Texts, "[\"get_contact\"]")],
    later: &["budget", "hedge"],
    synonyms: &[("count", "attempts"), ("max", "attempts")],
};

/// `servers.NAME.stdio`.
pub(super) static STDIO: Table = Table {
    keys: &[
        key("processes", Kind::Whole, "64"),
        key("idle", Kind::Duration, "\"10m\""),
        key("grace", Kind::Duration, "\"2s\""),
        key("memory", Kind::Size, "\"512 MiB\""),
        key("open_files", Kind::Whole, "256"),
        key("tasks", Kind::Whole, "64"),
        key("cpu_seconds", Kind::Whole, "3600"),
    ],
    later: &["seccomp"],
    synonyms: &[("max_processes", "processes"), ("pool", "processes"), ("size", "processes"), ("timeout", "grace")],
};
