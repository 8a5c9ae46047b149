//! URLs, origins, paths and host names, each in exactly one spelling.

use std::net::SocketAddr;
use std::ops::Range;

use toml::Spanned;
use url::{Host, Url};

use super::Loader;

/// Whether the URL's host is this machine and nothing else (RFC 8252 section 8.3).
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Loader<'_> {
    /// An absolute http or https URL that names no user and no fragment.
    pub(super) fn url(&mut self, key: &str, written: &Spanned<String>) -> Option<Url> {
        let (text, span) = (written.get_ref().as_str(), written.span());
        // The parser would silently drop or turn these.
        let odd = text.chars().any(|char| char.is_control() || char.is_whitespace() || char == '\\');
        let label = match Url::parse(text) {
            Ok(_) if odd => "spaces, control characters and backslashes are not allowed",
            Ok(url) if !matches!(url.scheme(), "http" | "https") => "must start with `https://` or `http://`",
            // `https:host` is read as an address by some, and is no issuer, audience or origin anybody else would write.
            Ok(url) if !text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://")) => {
                "must start with `https://` or `http://`"
            }
            Ok(url)
                if !url.username().is_empty() || url.password().is_some() || text.contains('@') && userinfo(text) =>
            {
                "must not name a user or a password"
            }
            Ok(url) if url.fragment().is_some() => "must not have a fragment",
            Ok(url) => return Some(url),
            Err(url::ParseError::RelativeUrlWithoutBase) => "must start with `https://` or `http://`",
            Err(_) => "not a URL",
        };
        let problem = self.error(span, format!("`{key}` cannot be used"), label);
        let problem = match keys_example(key) {
            Some(example) => problem.help(format!("for example `{key} = \"{example}\"`")),
            None => problem,
        };
        self.report(problem);
        None
    }

    /// Browser origins, exactly as browsers send them (RFC 6454 section 6.2).
    pub(super) fn origins(&mut self, written: Option<Vec<Spanned<String>>>) -> Vec<String> {
        let written = written.unwrap_or_default();
        for entry in &written {
            self.origin(entry);
        }
        written.into_iter().map(Spanned::into_inner).collect()
    }

    fn origin(&mut self, entry: &Spanned<String>) {
        let (text, span) = (entry.get_ref().as_str(), entry.span());
        let refused = |label: &str| self.error(span.clone(), "not an exact origin", label);
        let problem = match text {
            "*" => refused("a wildcard would let every web page in")
                .help("list the origins one by one, for example `http://localhost:6274`"),
            "null" => refused("`null` is what every sandboxed page sends"),
            _ if text.contains('*') => refused("wildcards are not supported").help("list the origins one by one"),
            _ => match canonical_origin(text) {
                Some(canonical) if canonical == text => return,
                Some(canonical) => {
                    refused("browsers send another spelling").suggest(span.clone(), quoted(&canonical), "write")
                }
                None => refused("must be `scheme://host` or `scheme://host:port`, without a path"),
            },
        };
        self.report(problem);
    }

    /// A `Host` value: a name or address with an optional port.
    pub(super) fn authority(&mut self, entry: &Spanned<String>) -> String {
        let text = entry.get_ref();
        let fits = text.parse::<http::uri::Authority>().is_ok_and(|authority| {
            !text.contains(['@', '*']) && !authority.host().is_empty() && text.rsplit(':').next() != Some("")
        });
        if !fits {
            let label = if text.contains("://") { "write it without a scheme" } else { "not a host name" };
            let problem = self.error(entry.span(), "not a `Host` value", label);
            self.report(problem.help("for example `mcp.internal` or `mcp.internal:8443`"));
        }
        text.to_ascii_lowercase()
    }

    /// An address and a port to listen on.
    pub(super) fn socket(&mut self, written: &Spanned<String>) -> Option<SocketAddr> {
        let text = written.get_ref();
        let address = text.parse().or_else(|_| text.replacen("localhost:", "127.0.0.1:", 1).parse());
        if let Ok(address) = address {
            return Some(address);
        }
        let label = match text.strip_prefix(':') {
            Some(_) => "the address is missing",
            None if text.parse::<std::net::IpAddr>().is_ok() => "the port is missing",
            None => "not an IP address and a port",
        };
        let problem = self.error(written.span(), "cannot listen here", label);
        self.report(problem.help("write `0.0.0.0:8443`, `127.0.0.1:8080` or `[::1]:8080`"));
        None
    }

    /// The path of a protected server: one spelling only, so that no two parsers can differ about it.
    pub(super) fn canonical_path(&mut self, written: &Spanned<String>) {
        let text = written.get_ref().as_str();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~@:+=,".contains(&byte);
        let mut segments = text.split('/').skip(1);
        let label = if !text.starts_with('/') {
            "must start with `/`"
        } else if text == "/" {
            "a server needs a path of its own, for example `/mcp`"
        } else if text.ends_with('/') {
            "must not end with `/`"
        } else if text.contains('%') {
            "percent-encoding is not allowed"
        } else if segments.clone().any(|segment| matches!(segment, "" | "." | "..")) {
            "empty, `.` and `..` segments are not allowed"
        } else if !text.bytes().all(allowed) {
            "only letters, digits and `-._~@:+=,` are allowed"
        } else if text.len() > 256 {
            "longer than 256 bytes"
        } else if segments.next().is_some_and(|first| first.eq_ignore_ascii_case(".well-known")) {
            "`/.well-known` belongs to the proxy's own documents"
        } else {
            return;
        };
        let problem = self.error(written.span(), "`path` cannot be used", label);
        self.report(match text.trim_end_matches('/') {
            trimmed if trimmed.len() > 1 && label.contains("end with") => {
                problem.suggest(written.span(), quoted(trimmed), "write")
            }
            _ => problem,
        });
    }

    /// Says that a plain-HTTP URL needs to be asked for.
    pub(super) fn plain(&mut self, key: &str, span: Range<usize>, label: &str, help: &str) {
        let problem = self.error(span, format!("`{key}` must start with `https://`"), label);
        self.report(problem.help(help));
    }
}

/// An empty user (`https://@host`) leaves no trace in the parsed URL.
fn userinfo(text: &str) -> bool {
    let after = text.split_once("//").map_or("", |(_, after)| after);
    after.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

fn keys_example(key: &str) -> Option<&'static str> {
    match key {
        "issuer" => Some("https://login.example.com/realms/acme"),
        "otlp_endpoint" => Some("http://127.0.0.1:4318"),
        "public_url" => Some("https://mcp.example.com"),
        "upstream" => Some("http://127.0.0.1:3001/mcp"),
        _ => None,
    }
}

/// `text` as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The spelling a browser sends for an origin; `None` if `text` is more or less than one.
fn canonical_origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !bare || url.host_str().is_none_or(str::is_empty) || userinfo(text) || text.ends_with(['?', '#']) {
        return None;
    }
    if url.origin().is_tuple() {
        return Some(url.origin().ascii_serialization());
    }
    // Schemes of desktop applications, such as `vscode-webview`, have no origin of their own in the parser.
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::canonical_origin;

    #[test]
    fn knows_the_spelling_of_browsers() {
        for (text, expected) in [
            ("https://app.example.com", Some("https://app.example.com")),
            ("HTTPS://App.Example.com:443", Some("https://app.example.com")),
            ("http://localhost:6274/", Some("http://localhost:6274")),
            ("vscode-webview://abc", Some("vscode-webview://abc")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("https://app.example.com/x", None),
            ("https://app.example.com?", None),
            ("https://u@app.example.com", None),
            ("app.example.com", None),
            ("data:x", None),
            ("file:///x", None),
        ] {
            assert_eq!(canonical_origin(text).as_deref(), expected, "{text}");
        }
    }
}
