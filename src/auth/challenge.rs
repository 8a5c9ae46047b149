//! `WWW-Authenticate` values as real clients can read them.

use http::HeaderValue;

/// Longest description that is sent.
const LIMIT_DESCRIPTION: usize = 200;

/// The Bearer challenges of one route (RFC 6750 section 3, RFC 9728 section 5.1), in the order `resource_metadata`,
/// `error`, `scope`, `error_description`; every value quoted.
#[derive(Clone, Debug)]
pub struct Challenges {
    metadata: Box<str>,
    scopes: Box<str>,
    missing: HeaderValue,
}

impl Challenges {
    /// Challenges that point at `metadata_url` and ask for `scopes` first.
    pub fn new<'a>(metadata_url: &str, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        let metadata: Box<str> = quotable(metadata_url).into();
        let scopes: Box<str> = joined(scopes).into();
        let missing = challenge(&metadata, None, &scopes, None);
        Self { metadata, scopes, missing }
    }

    /// 401 without credentials: no error (RFC 6750 section 3.1).
    pub const fn missing(&self) -> &HeaderValue {
        &self.missing
    }

    /// 401 for a token that does not hold.
    pub fn invalid(&self, description: &str) -> HeaderValue {
        challenge(&self.metadata, Some("invalid_token"), &self.scopes, Some(description))
    }

    /// 400 for a credential that cannot be read.
    pub fn malformed(&self, description: &str) -> HeaderValue {
        challenge(&self.metadata, Some("invalid_request"), "", Some(description))
    }

    /// 403 when a token with all of `scopes` would do; they are all scopes of the operation (MCP 2026-07-28).
    pub fn insufficient<'a>(&self, scopes: impl IntoIterator<Item = &'a str>, description: &str) -> HeaderValue {
        challenge(&self.metadata, Some("insufficient_scope"), &joined(scopes), Some(description))
    }
}

fn challenge(metadata: &str, error: Option<&str>, scopes: &str, description: Option<&str>) -> HeaderValue {
    let mut text = format!("Bearer resource_metadata=\"{metadata}\"");
    let mut parameter = |name: &str, value: &str| {
        if !value.is_empty() {
            text.extend([", ", name, "=\"", value, "\""]);
        }
    };
    parameter("error", error.unwrap_or_default());
    parameter("scope", scopes);
    parameter("error_description", &sentence(description.unwrap_or_default()));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// What may stand between quotes without being escaped: %x20-21 / %x23-5B / %x5D-7E (RFC 6750 section 3).
const fn is_plain(c: char) -> bool {
    matches!(c, ' ' | '!' | '#'..='[' | ']'..='~')
}

/// What cannot stand in a URL is left out of it.
fn quotable(url: &str) -> String {
    url.chars().filter(|c| is_plain(*c) && *c != ' ').collect()
}

/// A description no client mistakes for a parameter: some search the whole value for `scope=` or `error=`.
fn sentence(text: &str) -> String {
    let plain = text.chars().map(|c| match c {
        '"' | '`' => '\'',
        '=' => ':',
        c if is_plain(c) => c,
        c if c.is_whitespace() => ' ',
        _ => '?',
    });
    plain.take(LIMIT_DESCRIPTION).collect()
}

/// Scope tokens (RFC 6749 section 3.3), without what is not one and without `offline_access`, which MCP forbids to ask for.
pub(super) fn usable<'a>(scopes: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    scopes.into_iter().filter(|scope| {
        !scope.is_empty() && *scope != "offline_access" && scope.chars().all(|c| is_plain(c) && c != ' ')
    })
}

fn joined<'a>(scopes: impl IntoIterator<Item = &'a str>) -> String {
    usable(scopes).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::Challenges;

    const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/crm/mcp";

    #[test]
    fn writes_each_challenge_in_the_order_clients_read() {
        let challenges = Challenges::new(METADATA, ["crm:read", "offline_access"]);
        let expected = [
            (challenges.missing().clone(), format!("Bearer resource_metadata=\"{METADATA}\", scope=\"crm:read\"")),
            (
                challenges.invalid("The access token expired"),
                format!(
                    "Bearer resource_metadata=\"{METADATA}\", error=\"invalid_token\", scope=\"crm:read\", error_description=\"The access token expired\""
                ),
            ),
            (
                challenges.malformed("More than one Authorization header"),
                format!(
                    "Bearer resource_metadata=\"{METADATA}\", error=\"invalid_request\", error_description=\"More than one Authorization header\""
                ),
            ),
            (
                challenges.insufficient(["crm:read", "crm:write"], "update_contact needs crm:write"),
                format!(
                    "Bearer resource_metadata=\"{METADATA}\", error=\"insufficient_scope\", scope=\"crm:read crm:write\", error_description=\"update_contact needs crm:write\""
                ),
            ),
        ];
        for (value, text) in expected {
            assert_eq!(value.to_str().unwrap(), text);
        }
        assert_eq!(Challenges::new(METADATA, []).missing(), &format!("Bearer resource_metadata=\"{METADATA}\""));
    }

    #[test]
    fn a_description_cannot_break_out_or_be_taken_for_a_parameter() {
        let challenges = Challenges::new(METADATA, ["crm:read", "bad scope", "bad\"scope", "b\u{e4}d"]);
        for hostile in [
            "\", error=\"x",
            "a\r\nSet-Cookie: x",
            "scope=\"admin\"",
            "Scope=admin",
            "error=none",
            "\\\" , scope=x",
            "\u{202e}é\0\u{7f}",
            "scope\u{200b}=x",
            "\t=",
        ] {
            for value in [challenges.invalid(hostile), challenges.insufficient(["a", "b\"c", ""], hostile)] {
                let text = value.to_str().unwrap();
                let (_, description) = text.split_once("error_description=\"").unwrap();
                let inner = description.strip_suffix('"').unwrap();
                assert!(!inner.contains(['"', '\\', '=', '\r', '\n']), "{text}");
                assert!(inner.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
                assert_eq!(text.matches("scope=").count(), 1, "{text}");
                assert_eq!(text.matches("error=").count(), 1, "{text}");
            }
        }
        assert!(challenges.missing().to_str().unwrap().ends_with("scope=\"crm:read\""));
        assert!(challenges.invalid(&"x".repeat(5000)).len() < 600);
    }

    #[test]
    fn an_odd_metadata_url_stays_quoted() {
        let value = Challenges::new("https://h/a\"b\r\nc", []).missing().clone();
        assert_eq!(value, "Bearer resource_metadata=\"https://h/abc\"");
    }
}
