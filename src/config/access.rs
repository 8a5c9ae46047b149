//! What one server requires of callers beyond a valid token.

use std::net::IpAddr;
use std::time::Duration;

use super::Metadata;

/// What a server asks of tokens and those who present them, and what it says of itself.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `dpop`: proofs are advertised, and tuned.
    pub dpop: Option<Dpop>,
    /// `mtls`: certificate-bound tokens are advertised.
    pub mtls: Option<Mtls>,
    /// `authentication`: how well and how recently users must have signed in.
    pub authentication: Authentication,
    /// `metadata`: more members of the metadata document.
    pub metadata: Metadata,
    /// `anonymous`: how often callers without a token may ask, where a rule lets them.
    pub anonymous: Anonymous,
}

/// `servers.NAME.anonymous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// So many requests of one address in that time.
    pub rate: (u32, Duration),
}

impl Default for Anonymous {
    fn default() -> Self {
        Self { rate: (120, Duration::from_mins(1)) }
    }
}

/// `servers.NAME.dpop` (RFC 9449).
#[derive(Clone, Debug)]
pub struct Dpop {
    /// Whether tokens that are not bound to a key are refused.
    pub required: bool,
    /// Whether proofs must name a nonce of ours.
    pub nonces: bool,
    /// How old or far in the future a proof may be.
    pub proof_age: Duration,
    /// Accepted algorithms of proofs, by JOSE name.
    pub algorithms: Vec<String>,
}

impl Default for Dpop {
    fn default() -> Self {
        let algorithms = ["ES256", "EdDSA", "PS256", "RS256"].map(ToOwned::to_owned).to_vec();
        Self { required: false, nonces: false, proof_age: Duration::from_mins(1), algorithms }
    }
}

/// `servers.NAME.mtls` (RFC 8705).
#[derive(Clone, Debug, Default)]
pub struct Mtls {
    /// Whether tokens that are not bound to a certificate are refused.
    pub required: bool,
    /// Who may name a client's certificate in a header (RFC 9440).
    pub terminators: Vec<Network>,
}

/// `servers.NAME.authentication` (RFC 9470).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Accepted values of `acr`, the preferred first; empty accepts any.
    pub acr_values: Vec<String>,
    /// How long ago a user may have signed in.
    pub max_age: Option<Duration>,
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads `10.0.0.0/8`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        let network = Self { address, bits };
        // An address with bits beyond the prefix is most likely a slip.
        (network.masked(address) == Self::whole(address)).then_some(network)
    }

    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == self.masked(self.address)
    }

    fn whole(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    fn masked(self, address: IpAddr) -> u128 {
        Self::whole(address) & u128::MAX.checked_shl(128 - self.bits).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.5", "10.0.0.5", "10.0.0.4"),
            ("10.0.0.5", "::ffff:10.0.0.5", "::1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("::1", "::1", "::2"),
        ] {
            let network = Network::parse(text).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{text} {outside}");
        }
        for text in ["", "x", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "::/129", "10.0.0.0/8/8", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
