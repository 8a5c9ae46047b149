//! The proxies between clients and this one.

use std::net::IpAddr;

use super::Network;

/// `server.trusted_proxies` and what is believed of them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// `trusted_proxies`: who may say for whom it speaks. Of anybody else it is ignored.
    pub trusted: Vec<Network>,
    /// `proxy_protocol`: whether they say so before anything else on a connection.
    pub protocol: ProxyProtocol,
    /// `forwarded_header`: where a request names its client.
    pub header: ForwardedHeader,
}

/// `server.proxy_protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No PROXY header is read.
    #[default]
    Off,
    /// A trusted proxy may send one.
    Optional,
    /// Only trusted proxies may connect, and must send one.
    Required,
}

/// `server.forwarded_header`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// None.
    Off,
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
}

impl Proxies {
    /// Whether many may share the address: it is this machine's, or that of a trusted proxy.
    pub fn speak_for_many(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.trust(address)
    }

    /// Whether the address is a trusted proxy's.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}
