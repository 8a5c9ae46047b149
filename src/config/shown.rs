//! The configuration for an operator's eyes: as it was read, without secrets.

use serde_json::{Map, Value, json};

use super::Config;

const HIDDEN: &str = "***";

impl Config {
    /// `proxy.toml` as it was read, as JSON: secrets and the environment of programs are `***`, variables are not expanded.
    pub(crate) fn shown(&self) -> Value {
        let table = self.source().text.parse::<toml::Table>();
        // It was read once already.
        table.map_or(Value::Null, |table| Value::Object(below(table)))
    }
}

fn below(table: toml::Table) -> Map<String, Value> {
    let shown = |name: &str, value: toml::Value| match value {
        toml::Value::Table(values) if name == "env" => {
            Value::Object(values.into_iter().map(|(name, _)| (name, json!(HIDDEN))).collect())
        }
        value => one(value),
    };
    table.into_iter().map(|(name, value)| (name.clone(), shown(&name, value))).collect()
}

fn one(value: toml::Value) -> Value {
    match value {
        // Its length would say something of a secret.
        toml::Value::String(text) if is_overwritten(&text) => json!(HIDDEN),
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(moment) => json!(moment.to_string()),
        toml::Value::Array(values) => values.into_iter().map(one).collect(),
        toml::Value::Table(table) => Value::Object(below(table)),
    }
}

fn is_overwritten(text: &str) -> bool {
    text.contains('*') && text.chars().all(|char| char == '*' || char.is_whitespace())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::load::parse_with;

    #[test]
    fn shows_what_was_read_and_no_secret() {
        let text = "[server]\npublic_url = \"https://mcp.example.com\"\nlisten = [\"127.0.0.1:8080\"]\n\
            [issuers.corp]\nissuer = \"https://login.example.com\"\n\
            [servers.crm]\npath = \"/crm/mcp\"\nupstream = \"https://${HOST}/mcp\"\npolicies = [\"crm.toml\"]\n\
            upstream_auth = { type = \"bearer\", token = { value = \"s3cret\" } }\n\
            [servers.diary]\npath = \"/diary/mcp\"\ncommand = [\"node\", \"x.js\"]\nenv = { KEY = \"s3cret\" }\n\
            policies = [\"diary.toml\"]\n\
            [[sealing.keys]]\nid = \"k1\"\nfile = \"k1\"\nseal_from = 2026-12-01T00:00:00Z\n";
        let variable = |name: &str| (name == "HOST").then(|| "s3cret.example".to_owned());
        let (config, _) =
            parse_with(text, Path::new("proxy.toml"), &variable).map_err(|problems| problems.render(false)).unwrap();
        let shown = config.shown();
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        assert_eq!(shown["servers"]["crm"]["upstream_auth"]["token"]["value"], "***");
        assert_eq!(shown["servers"]["crm"]["upstream"], "https://${HOST}/mcp");
        assert_eq!(shown["servers"]["diary"]["env"]["KEY"], "***");
        assert_eq!(shown["server"]["listen"][0], "127.0.0.1:8080");
        assert_eq!(shown["sealing"]["keys"][0]["seal_from"], "2026-12-01T00:00:00Z");
    }
}
