//! The `endpoint` event of a server of 2024-11-05: the URL to post messages to. Pure.

use thiserror::Error;
use url::Url;

/// The most bytes of the URL.
const LONGEST: usize = 2_048;

/// Why the server's `endpoint` event is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// The URL has bytes other than visible ASCII.
    #[error("the endpoint is not an address of visible ASCII")]
    Characters,
    /// The stream begins with another event, or with too much other data.
    #[error("the stream does not begin with an `endpoint` event")]
    Missing,
    /// The URL cannot be resolved, or has user information or a fragment.
    #[error("the endpoint is not an address to post to")]
    NoAddress,
    /// The URL is of another origin, which must not receive the credential.
    #[error("the endpoint is at another origin than the stream")]
    Origin,
    /// The URL is too long.
    #[error("the endpoint is longer than {LONGEST} bytes")]
    TooLong,
}

/// The URL in the `data` of the `endpoint` event of the stream at `stream` (2024-11-05, "HTTP with SSE"). Errs if it is not a
/// URL of the stream's own origin, since each message carries the credential for that.
pub(super) fn resolve(stream: &Url, data: &[u8]) -> Result<Url, EndpointError> {
    if data.len() > LONGEST {
        return Err(EndpointError::TooLong);
    }
    let text = std::str::from_utf8(data).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    let text = text.ok_or(EndpointError::Characters)?;
    if text.is_empty() {
        return Err(EndpointError::Missing);
    }
    let url = stream.join(text).map_err(|_| EndpointError::NoAddress)?;
    if url.origin() != stream.origin() {
        return Err(EndpointError::Origin);
    }
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if is_plain { Ok(url) } else { Err(EndpointError::NoAddress) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn endpoints_are_on_the_origin_of_their_stream() {
        let cases = [
            ("/messages?session_id=1", Ok("http://up.example:3001/messages?session_id=1")),
            ("messages", Ok("http://up.example:3001/a/messages")),
            ("?s=1", Ok("http://up.example:3001/a/sse?s=1")),
            ("http://up.example:3001/m", Ok("http://up.example:3001/m")),
            ("HTTP://UP.example:3001/m", Ok("http://up.example:3001/m")),
            ("http://up.example/m", Err(EndpointError::Origin)),
            ("https://up.example:3001/m", Err(EndpointError::Origin)),
            ("http://up.example.evil:3001/m", Err(EndpointError::Origin)),
            ("//evil.example/m", Err(EndpointError::Origin)),
            (r"\\evil.example\m", Err(EndpointError::Origin)),
            ("/\\evil.example/m", Err(EndpointError::Origin)),
            ("javascript:alert(1)", Err(EndpointError::Origin)),
            ("http://user@up.example:3001/m", Err(EndpointError::NoAddress)),
            ("http://:pass@up.example:3001/m", Err(EndpointError::NoAddress)),
            ("http://[/m", Err(EndpointError::NoAddress)),
            ("/m#there", Err(EndpointError::NoAddress)),
            ("/m m", Err(EndpointError::Characters)),
            ("/m\tm", Err(EndpointError::Characters)),
            ("/m\nHost: evil", Err(EndpointError::Characters)),
            ("/ä", Err(EndpointError::Characters)),
            ("", Err(EndpointError::Missing)),
        ];
        let stream: Url = "http://up.example:3001/a/sse".parse().unwrap();
        for (data, wanted) in cases {
            let wanted = wanted.map(|url| Url::parse(url).unwrap());
            assert_eq!(resolve(&stream, data.as_bytes()), wanted, "{data}");
        }
        assert_eq!(resolve(&stream, &[0xff]), Err(EndpointError::Characters));
        assert_eq!(resolve(&stream, &[b'a'; LONGEST + 1]), Err(EndpointError::TooLong));
    }

    proptest! {
        #[test]
        fn no_endpoint_leads_elsewhere(data in r"[/\\:@.a-z0-9?#%\[\]]{0,40}") {
            let stream: Url = "https://up.example/a/sse".parse().unwrap();
            if let Ok(url) = resolve(&stream, data.as_bytes()) {
                prop_assert_eq!(url.origin(), stream.origin());
                prop_assert!(url.as_str().starts_with("https://up.example/"), "{}", url);
            }
        }
    }
}
