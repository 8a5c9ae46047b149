//! Whom a request comes from that a trusted proxy has forwarded.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use thiserror::Error;

use crate::config::{ForwardedHeader, Proxies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A trusted proxy names no address where the client's should be, so that nobody knows whose request it is.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a trusted proxy names no address of its client")]
pub struct ForwardedError;

/// The client that `sender` forwards a request of: of the addresses from right to left, the first that is no trusted
/// proxy's, or else the last. The port is 0 if it is not named. `None` if the sender is no trusted proxy, or names nobody.
pub(super) fn client(
    proxies: &Proxies,
    sender: IpAddr,
    headers: &HeaderMap,
) -> Result<Option<SocketAddr>, ForwardedError> {
    if !proxies.trust(sender) {
        return Ok(None);
    }
    let name = match proxies.header {
        ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
        ForwardedHeader::Forwarded => header::FORWARDED,
        ForwardedHeader::Off => return Ok(None),
    };
    let mut last = None;
    for field in headers.get_all(name).iter().rev() {
        let field = field.to_str().map_err(|_| ForwardedError)?;
        for element in elements(field, proxies.header)?.into_iter().rev() {
            let client = address(element).ok_or(ForwardedError)?;
            if !proxies.trust(client.ip()) {
                return Ok(Some(client));
            }
            last = Some(client);
        }
    }
    Ok(last)
}

/// What a field says of each hop, the first one first.
fn elements(field: &str, header: ForwardedHeader) -> Result<Vec<&str>, ForwardedError> {
    if header == ForwardedHeader::XForwardedFor {
        return Ok(field.split(',').map(str::trim).filter(|element| !element.is_empty()).collect());
    }
    // No address needs an escape, and without them a quote always begins or ends a string: what a client has written
    // cannot swallow what a proxy adds.
    if field.contains('\\') || !field.matches('"').count().is_multiple_of(2) {
        return Err(ForwardedError);
    }
    let elements = unquoted(field, ',').into_iter().map(str::trim).filter(|element| !element.is_empty());
    elements.map(|element| node(element).ok_or(ForwardedError)).collect()
}

/// The value of the parameter `for` of an element (RFC 7239 section 4); empty without one.
fn node(element: &str) -> Option<&str> {
    let mut node = None;
    for pair in unquoted(element, ';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") && node.replace(value.trim()).is_some() {
            return None;
        }
    }
    let node = node.unwrap_or_default();
    match node.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(node),
    }
}

/// The parts of `text` between those `separator`s that are in no quoted string.
fn unquoted(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    let ends = |char| {
        quoted ^= char == '"';
        char == separator && !quoted
    };
    text.split(ends).collect()
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)).or_else(|_| text.parse()).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::{ForwardedError, client};
    use crate::config::{ForwardedHeader, Network, Proxies};

    fn proxies(header: ForwardedHeader) -> Proxies {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| Network::parse(network).unwrap()).to_vec();
        Proxies { trusted, header, ..Proxies::default() }
    }

    fn named(header: ForwardedHeader, fields: &[&str]) -> Result<Option<String>, ForwardedError> {
        let name = match header {
            ForwardedHeader::Forwarded => "forwarded",
            ForwardedHeader::Off | ForwardedHeader::XForwardedFor => "x-forwarded-for",
        };
        let name = HeaderName::from_static(name);
        let fields = fields.iter().map(|field| (name.clone(), HeaderValue::from_bytes(field.as_bytes()).unwrap()));
        let found = client(&proxies(header), "10.0.0.1".parse().unwrap(), &fields.collect::<HeaderMap>());
        found.map(|client| client.map(|client| client.to_string()))
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_no_trusted_proxy() {
        for (fields, found) in [
            (&["203.0.113.7"][..], Some("203.0.113.7:0")),
            (&["10.9.9.9, 198.51.100.1, 203.0.113.7"], Some("203.0.113.7:0")),
            (&["198.51.100.1, 203.0.113.7, 10.0.0.2,10.0.0.3"], Some("203.0.113.7:0")),
            (&["198.51.100.1", "203.0.113.7", "10.0.0.2"], Some("203.0.113.7:0")),
            (&["unknown, 203.0.113.7"], Some("203.0.113.7:0")),
            (&["203.0.113.7:4711"], Some("203.0.113.7:4711")),
            (&["2001:db8::1"], Some("[2001:db8::1]:0")),
            (&["[2001:db8::1], fd12::1"], Some("[2001:db8::1]:0")),
            (&["[2001:db8::1]:80"], Some("[2001:db8::1]:80")),
            (&["::ffff:203.0.113.7"], Some("203.0.113.7:0")),
            (&["198.51.100.1, ::ffff:10.0.0.2"], Some("198.51.100.1:0")),
            (&["10.0.0.4, 10.0.0.3"], Some("10.0.0.4:0")),
            (&[", 203.0.113.7,"], Some("203.0.113.7:0")),
            (&["", " , "], None),
            (&[], None),
        ] {
            assert_eq!(named(ForwardedHeader::XForwardedFor, fields).unwrap().as_deref(), found, "{fields:?}");
        }
        for field in
            ["unknown", "203.0.113.7, 10.0.0.2, x", "203.0.113.7;", "203.0.113", "é", "[203.0.113.7", "1.2.3.4:"]
        {
            assert_eq!(named(ForwardedHeader::XForwardedFor, &[field]), Err(ForwardedError), "{field}");
        }
        assert_eq!(named(ForwardedHeader::Off, &["203.0.113.7"]), Ok(None));
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (fields, found) in [
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"][..], "192.0.2.60:0"),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "[2001:db8:cafe::17]:4711"),
            (&["for=192.0.2.43, for=\"198.51.100.17:1\""], "198.51.100.17:1"),
            (&["for=192.0.2.43; host=\"a,for=6.6.6.6;b\", for=10.0.0.2"], "192.0.2.43:0"),
            (&["for=unknown, for=192.0.2.43", "for=10.1.1.1"], "192.0.2.43:0"),
        ] {
            assert_eq!(named(ForwardedHeader::Forwarded, fields).unwrap().as_deref(), Some(found), "{fields:?}");
        }
        for field in [
            "for=unknown",
            "for=_hidden",
            "for=192.0.2.43, proto=https",
            "for=192.0.2.43;for=6.6.6.6",
            "192.0.2.43",
            "for=\"6.6.6.6, for=192.0.2.43",
            "for=6.6.6.6;x=\"\\\", for=\"[2001:db8::1]\"",
            "for=6.6.6.6;x=\", for=\"[2001:db8::1]\"",
        ] {
            assert_eq!(named(ForwardedHeader::Forwarded, &[field]), Err(ForwardedError), "{field}");
        }
    }

    proptest! {
        /// Whatever a client writes, the proxy's own word decides, or the request is refused.
        #[test]
        fn what_a_client_writes_is_never_believed(
            written in proptest::collection::vec("[ -~]{0,40}", 0..4),
            own in any::<bool>(),
            header in prop_oneof![Just(ForwardedHeader::Forwarded), Just(ForwardedHeader::XForwardedFor)],
            six in any::<bool>(),
        ) {
            let address = if six { "2001:db8::7" } else { "203.0.113.7" };
            let added = match header {
                ForwardedHeader::Forwarded if six => format!("for=\"[{address}]\""),
                ForwardedHeader::Forwarded => format!("for={address}"),
                ForwardedHeader::Off | ForwardedHeader::XForwardedFor => address.to_owned(),
            };
            // A proxy adds to the last field, or a field of its own.
            let mut fields = written;
            match fields.last_mut() {
                Some(last) if own => *last = format!("{last}, {added}"),
                _ => fields.push(added),
            }
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            if let Ok(found) = named(header, &fields) {
                let found: SocketAddr = found.unwrap().parse().unwrap();
                prop_assert_eq!(found.ip().to_string(), address);
            }
        }

        /// Nobody but a trusted proxy speaks for others.
        #[test]
        fn nobody_else_is_asked(field in "[ -~]{0,60}") {
            let headers = HeaderMap::from_iter([(super::X_FORWARDED_FOR, HeaderValue::from_str(&field).unwrap())]);
            let found = client(&proxies(ForwardedHeader::XForwardedFor), "11.0.0.1".parse().unwrap(), &headers);
            prop_assert_eq!(found, Ok(None));
        }
    }
}
