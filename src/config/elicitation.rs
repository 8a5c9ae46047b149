//! What one server may have users asked.

/// `servers.NAME.elicitation`: what a rule that names `elicitation/create` lets a server ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elicitation {
    /// Hosts of the pages that users may be sent to; empty allows every public host.
    pub url_hosts: Vec<HostPattern>,
    /// What becomes of forms that ask for a secret.
    pub secrets: SecretFields,
}

/// `servers.NAME.elicitation.secrets`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretFields {
    /// The server may not ask.
    #[default]
    Refuse,
    /// It may.
    Pass,
}

/// One host, or with `*.` all below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    host: Box<str>,
    below: bool,
}

impl HostPattern {
    /// Reads `login.example.com`, `*.example.com`, or an IP address without brackets. `None` if it is no host.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, below) = text.strip_prefix("*.").map_or((text, false), |host| (host, true));
        if host.contains('*') {
            return None;
        }
        let written = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let parsed = url::Host::parse(&written).ok()?;
        if below && !matches!(parsed, url::Host::Domain(_)) {
            return None;
        }
        Some(Self { host: parsed.to_string().into(), below })
    }

    /// Whether it names this host, as a URL has it in canonical form.
    pub fn names(&self, host: &str) -> bool {
        if self.below {
            host.strip_suffix(&*self.host).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
        } else {
            *self.host == *host
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostPattern;

    #[test]
    fn a_pattern_names_one_host_or_all_below() {
        for (pattern, host, is) in [
            ("login.example.com", "login.example.com", true),
            ("Login.Example.com", "login.example.com", true),
            ("example.com", "login.example.com", false),
            ("*.example.com", "login.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "notexample.com", false),
            ("b\u{fc}cher.example", "xn--bcher-kva.example", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "[::1]", true),
        ] {
            assert_eq!(HostPattern::parse(pattern).unwrap().names(host), is, "{pattern} {host}");
        }
        for text in ["", "*", "*.", "a b", "https://a.test", "a.test/x", "a.test:80", "*.127.0.0.1", "a*.test"] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }
}
