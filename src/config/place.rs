//! The place of a key in `proxy.toml`, for problems found only when its value is used.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;

impl Config {
    /// The bytes of the value of a key such as `servers.crm.lock` or `sealing.keys.0.file`; none if it is not written.
    pub fn place(&self, key: &str) -> Range<usize> {
        let (root, _) = DeTable::parse_recoverable(&self.file.text);
        let mut words = key.split('.');
        let mut found = words.next().and_then(|word| root.get_ref().get(word));
        for word in words {
            found = match found.map(Spanned::get_ref) {
                Some(DeValue::Table(table)) => table.get(word),
                Some(DeValue::Array(items)) => word.parse::<usize>().ok().and_then(|at| items.get(at)),
                _ => None,
            };
        }
        found.map_or(0..0, Spanned::span)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SMALLEST, loads};

    #[test]
    fn is_that_of_the_value() {
        let more = "concurrency = { queue = 7 }\n[[sealing.keys]]\nid = \"k1\"\nfile = \"k1.key\"\n";
        let config = loads(&format!("{SMALLEST}{more}"));
        for (key, expected) in [
            ("servers.crm.path", "\"/crm/mcp\""),
            ("servers.crm.policies", "[\"policies/crm.toml\"]"),
            ("servers.crm.concurrency.queue", "7"),
            ("servers.crm.policies.0", "\"policies/crm.toml\""),
            ("sealing.keys.0.file", "\"k1.key\""),
            ("sealing.keys.1.file", ""),
            ("sealing.keys.first.file", ""),
            ("servers.crm.lock", ""),
            ("servers.crm.path.x", ""),
            ("servers.wiki.path", ""),
        ] {
            assert_eq!(config.file.text.get(config.place(key)), Some(expected), "{key}");
        }
    }
}
