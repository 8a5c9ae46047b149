//! The caller without a token, where a rule lets such callers do something: it has no identity.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::Map;

use super::Caller;

/// The prefix length of the IPv6 network of one site, which can use any address in it (RFC 6177).
const SITE_BITS: u32 = 64;

impl Caller {
    /// A caller without a token, from that address. It is no principal, as several may share one address: nothing is sealed to
    /// it, and the address is only used for limits.
    pub fn anonymous(address: IpAddr) -> Self {
        Self { anonymous: true, subject: site(address).to_string().into(), ..Self::unverified("", Map::new()) }
    }

    /// The caller, if it has an identity; `None` if it is anonymous.
    pub fn principal(&self) -> Option<&Self> {
        (!self.anonymous).then_some(self)
    }
}

/// The address that represents all addresses of one site.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (u128::BITS - SITE_BITS))).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::Caller;
    use crate::clock::Timestamp;

    #[test]
    fn is_counted_by_the_network_it_can_take_addresses_of() {
        for (address, counted) in
            [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
        {
            let caller = Caller::anonymous(address.parse().unwrap());
            assert_eq!(&*caller.subject, counted);
            assert!(caller.principal().is_none() && caller.scopes.is_empty() && caller.claims.is_empty());
            assert!(caller.issuer.is_empty() && caller.client_id.is_none() && caller.until == Timestamp::NEVER);
        }
    }
}
