//! The addresses that one party can use at will, as limits by address count them.

use std::net::{IpAddr, Ipv6Addr};

/// The prefix length of the IPv6 network of one site, which can use any address in it (RFC 6177).
const SITE_BITS: u32 = 64;

/// The address that represents all addresses of one site.
pub(crate) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (u128::BITS - SITE_BITS))).into(),
        address @ IpAddr::V4(_) => address,
    }
}
