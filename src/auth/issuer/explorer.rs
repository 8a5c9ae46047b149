//! Fetches for the command line: a URL somebody typed, and the URLs its documents name, under the rules of the proxy's own
//! fetches.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use url::{Host, Url};

use super::StartError;
use super::address::is_public;
use super::reader::{self, Patience};
use crate::auth::keys::{KeySet, LIMIT_BYTES};
use crate::config::Discovery;

/// An HTTP client for typed URLs, at any address, and for URLs in their documents on a typed or public host. It follows no
/// redirects.
pub(crate) struct Explorer {
    client: Client,
    typed: Vec<Url>,
    plain: bool,
}

/// A response.
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unseen {
    #[error("{0}")]
    Away(String),
    #[error("not asked: {0}")]
    Refused(&'static str),
    #[error("it answers with more than 256 KiB")]
    TooLarge,
}

/// A key set, as far as the proxy would use it.
pub(crate) struct Published {
    /// The number of usable keys.
    pub(crate) usable: usize,
    /// Why other keys are not used.
    pub(crate) dropped: Vec<String>,
}

impl Explorer {
    /// A client for these URLs, without sending anything yet; `ca` are additional trusted authorities.
    pub(crate) fn new(typed: Vec<Url>, ca: Option<&[u8]>) -> Result<Self, StartError> {
        let plain = typed.iter().any(|url| url.scheme() == "http" && reader::is_loopback(url));
        let hosts: Vec<String> = typed.iter().filter_map(|url| url.host_str().map(str::to_owned)).collect();
        let built = |plain| reader::client(hosts.clone().into(), ca, None, plain, Patience::USUAL);
        // Without system authorities plain http on loopback still works.
        let client = built(false).or_else(|error| if plain { built(true) } else { Err(error) })?;
        Ok(Self { client, typed, plain })
    }

    /// Why a URL from a document is not requested, if so.
    pub(crate) fn refuses(&self, url: &Url) -> Option<&'static str> {
        let origin = url.origin();
        if self.typed.iter().any(|typed| typed.origin() == origin) {
            return None;
        }
        if let Err(reason) = reader::transport(url, self.plain) {
            return Some(if url.scheme() == "http" { "it is plain http" } else { reason });
        }
        if self.typed.iter().any(|typed| typed.host() == url.host()) {
            return None;
        }
        // Names are checked when connecting.
        match url.host() {
            _ if url.port_or_known_default() != Some(443) => Some("it is on another host and not on its https port"),
            Some(Host::Ipv4(address)) if !is_public(address.into()) => Some("it is not a public address"),
            Some(Host::Ipv6(address)) if !is_public(address.into()) => Some("it is not a public address"),
            _ => None,
        }
    }

    /// Sends one request, bounded in time and size; the body of an event stream is not read.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<String>,
    ) -> Result<Seen, Unseen> {
        if let Some(reason) = self.refuses(url) {
            return Err(Unseen::Refused(reason));
        }
        let failed = |error| Unseen::Away(reader::reason(error, "--ca-file"));
        let mut request = self.client.request(method, url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        let is_stream =
            headers.get(CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"text/event-stream"));
        while !is_stream && let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LIMIT_BYTES {
                return Err(Unseen::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Seen { status, headers, body: body.freeze() })
    }
}

/// The metadata locations of an issuer, in the order in which clients try them.
pub(crate) fn locations(issuer: &Url) -> Vec<Url> {
    reader::candidates(issuer, Discovery::Auto)
}

/// Parses a key set as the proxy does.
pub(crate) fn published(body: Bytes) -> Result<Published, String> {
    let set = KeySet::parse(body).map_err(|error| error.to_string())?;
    Ok(Published { usable: set.len(), dropped: set.dropped().iter().map(|(_, why)| why.to_string()).collect() })
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::Explorer;

    #[test]
    fn only_what_was_typed_or_is_public_is_asked() {
        let url = |text: &str| Url::parse(text).unwrap();
        let ca = Some(crate::auth::tests::support::CA.as_bytes());
        let inside = Explorer::new(vec![url("http://127.0.0.1:8080/mcp")], ca).unwrap();
        let outside = Explorer::new(vec![url("https://mcp.example.com/mcp"), url("http://10.1.2.3/mcp")], ca).unwrap();
        for (explorer, text, asked) in [
            (&inside, "http://127.0.0.1:9000/jwks", true),
            (&inside, "https://login.example.com/jwks", true),
            (&inside, "http://localhost:9000/jwks", false),
            (&inside, "http://127.0.0.2:9000/jwks", false),
            (&outside, "https://mcp.example.com:8443/x", true),
            (&outside, "http://10.1.2.3/.well-known/x", true),
            (&outside, "http://10.1.2.3:81/", false),
            (&outside, "https://10.1.2.3:444/", true),
            (&outside, "https://10.1.2.4/", false),
            (&outside, "http://127.0.0.1/", false),
            (&outside, "https://169.254.169.254/latest/meta-data", false),
            (&outside, "https://[::ffff:127.0.0.1]/", false),
            (&outside, "https://login.example.com:8443/", false),
            (&outside, "http://login.example.com/", false),
            (&outside, "https://user@login.example.com/", false),
            (&outside, "file:///etc/passwd", false),
        ] {
            assert_eq!(explorer.refuses(&url(text)).is_none(), asked, "{text}");
        }
    }
}
