//! The caller without a token, where a rule lets such callers do something: it has no identity.

use std::net::IpAddr;

use serde_json::Map;

use super::Caller;
use crate::server::site::site;

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
