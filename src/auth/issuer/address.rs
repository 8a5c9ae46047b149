//! Which addresses a URL from a fetched document may lead to (protection against server-side request forgery).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

/// A host name that resolves to an address that is not public.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("host `{host}` resolves to {address}, which is not a public address")]
pub(super) struct NotPublic {
    host: String,
    address: IpAddr,
}

/// Whether `address` is a public one. For IPv6 everything outside `2000::/3` is refused, which includes loopback, ULA,
/// link-local, multicast, NAT64 and addresses that embed IPv4.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Whether an IPv4 address is outside the IANA special-purpose registry (RFC 6890), multicast and class E.
fn is_public_v4(address: Ipv4Addr) -> bool {
    const REFUSED: [([u8; 4], u32); 15] = [
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        ([224, 0, 0, 0], 4),
        ([240, 0, 0, 0], 4),
    ];
    let bits = address.to_bits();
    REFUSED.iter().all(|(net, length)| (bits ^ u32::from_be_bytes(*net)) >> (32 - length) != 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_protocol_assignment = first == 0x2001 && second < 0x0200;
    let is_documentation = (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    let is_6to4 = first == 0x2002;
    is_global && !is_protocol_assignment && !is_documentation && !is_6to4
}

/// A resolver that allows any address for hosts in the configuration, and only public ones for others. It decides on the very
/// addresses that are connected to, which prevents DNS rebinding.
pub(super) struct Guarded {
    pub(super) configured: Arc<[String]>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let configured = Arc::clone(&self.configured);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let screened = screen(name.as_str(), &configured, found)?;
            Ok(Box::new(screened.into_iter()) as Addrs)
        })
    }
}

fn screen(host: &str, configured: &[String], found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, NotPublic> {
    if configured.iter().any(|known| known.eq_ignore_ascii_case(host)) {
        return Ok(found);
    }
    match found.iter().find(|address| !is_public(address.ip())) {
        Some(address) => Err(NotPublic { host: host.to_owned(), address: address.ip() }),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_public, screen};

    const REFUSED: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ];
    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "100.63.255.255",
        "100.128.0.1",
        "126.0.0.1",
        "128.0.0.1",
        "169.253.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "3ffe::1",
    ];

    #[test]
    fn knows_public_addresses() {
        for address in REFUSED {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in PUBLIC {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn one_private_answer_refuses_the_name_unless_it_is_configured() {
        let found =
            |addresses: &[&str]| addresses.iter().map(|a| (a.parse::<std::net::IpAddr>().unwrap(), 0).into()).collect();
        let configured = ["login.internal".to_owned()];
        assert!(screen("keys.example.com", &configured, found(&["8.8.8.8", "2606:4700::1"])).is_ok());
        for private in REFUSED {
            let error = screen("keys.example.com", &configured, found(&["8.8.8.8", private])).unwrap_err();
            assert_eq!(error.address, private.parse::<std::net::IpAddr>().unwrap());
            assert!(screen("LOGIN.internal", &configured, found(&[private])).is_ok());
        }
        assert!(screen("sub.login.internal", &configured, found(&["10.0.0.1"])).is_err());
    }
}
