//! Where in `proxy.toml` a key stands, for what is found out only when it is used.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::Config;

impl Config {
    /// The bytes of the value of a key such as `servers.crm.lock`; none if it is not written.
    pub fn place(&self, key: &str) -> Range<usize> {
        let (root, _) = DeTable::parse_recoverable(&self.file.text);
        let (mut table, mut span) = (Some(root.get_ref()), 0..0);
        for word in key.split('.') {
            let Some(value) = table.and_then(|table| table.get(word)) else { return 0..0 };
            span = value.span();
            table = if let DeValue::Table(below) = value.get_ref() { Some(below) } else { None };
        }
        span
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SMALLEST, loads};

    #[test]
    fn is_that_of_the_value() {
        let config = loads(&format!("{SMALLEST}concurrency = {{ queue = 7 }}\n"));
        for (key, expected) in [
            ("servers.crm.path", "\"/crm/mcp\""),
            ("servers.crm.policies", "[\"policies/crm.toml\"]"),
            ("servers.crm.concurrency.queue", "7"),
            ("servers.crm.lock", ""),
            ("servers.crm.path.x", ""),
            ("servers.wiki.path", ""),
        ] {
            assert_eq!(config.file.text.get(config.place(key)), Some(expected), "{key}");
        }
    }
}
