//! `[state]`.

use super::{Kind, Table, key};

pub(super) static STATE: Table = Table {
    keys: &[key("redis", Kind::Table(&REDIS), "{ url = { env = \"PORTCULLIS_REDIS_URL\" } }")],
    later: &[],
    synonyms: &[("valkey", "redis")],
};

static REDIS: Table = Table {
    keys: &[
        key("url", Kind::Secret, "{ env = \"PORTCULLIS_REDIS_URL\" }"),
        key("ca_file", Kind::Text, "\"redis-ca.pem\""),
        key("prefix", Kind::Text, "\"portcullis\""),
        key("timeout", Kind::Duration, "\"100ms\""),
        key("max_stale", Kind::Duration, "\"30s\""),
        key("on_error", Kind::Text, "\"local\""),
    ],
    later: &["cluster", "sentinel"],
    synonyms: &[("address", "url"), ("ca", "ca_file"), ("key_prefix", "prefix"), ("namespace", "prefix")],
};
