//! `server.trusted_proxies` and what is believed of them.

use std::net::SocketAddr;

use toml::Spanned;

use super::super::{ForwardedHeader, Network, Proxies, ProxyProtocol, raw};
use super::Loader;

impl Loader<'_> {
    pub(super) fn proxies(&mut self, raw: &raw::Listener) -> Proxies {
        let written = raw.trusted_proxies.as_deref().unwrap_or_default();
        for entry in written.iter().filter(|entry| entry.get_ref().ends_with("/0")) {
            let problem = self.warning(entry.span(), "everybody is a trusted proxy", "every address there is");
            self.report(problem.help("name the proxies, or only they must be able to connect"));
        }
        let protocols =
            [("off", ProxyProtocol::Off), ("optional", ProxyProtocol::Optional), ("required", ProxyProtocol::Required)];
        let protocol = self.choice("proxy_protocol", raw.proxy_protocol.as_ref(), &protocols, &[]).unwrap_or_default();
        if let Some(key) = raw.proxy_protocol.as_ref().filter(|_| protocol != ProxyProtocol::Off && written.is_empty())
        {
            let message = "`proxy_protocol` needs `trusted_proxies`";
            let problem = self.error(key.span(), message, "from whom?");
            self.report(problem.help("name the proxies in front, for example `trusted_proxies = [\"10.0.0.0/8\"]`"));
        }
        let headers = [
            ("x-forwarded-for", ForwardedHeader::XForwardedFor),
            ("forwarded", ForwardedHeader::Forwarded),
            ("off", ForwardedHeader::Off),
        ];
        Proxies {
            trusted: self.networks(written),
            protocol,
            header: self.choice("forwarded_header", raw.forwarded_header.as_ref(), &headers, &[]).unwrap_or_default(),
        }
    }

    /// A listener without TLS on `listen` for others than this machine has something in front, which would be one client.
    pub(super) fn unnamed_proxy(&mut self, raw: &raw::Listener, listen: &[SocketAddr]) {
        let plain = raw.plain_http.as_ref().filter(|flag| *flag.get_ref());
        let is_open = raw.tls.is_none() && listen.iter().any(|address| !address.ip().is_loopback());
        if let (Some(plain), true, None) = (plain, is_open, &raw.trusted_proxies) {
            let message = "`plain_http` without `trusted_proxies`";
            let label = "what is in front would be one client, with the connections of one";
            let problem = self.warning(plain.span(), message, label);
            let help = "name it, for example `trusted_proxies = [\"10.0.0.0/8\"]`, or write `[]` if nothing is";
            self.report(problem.help(help));
        }
    }

    /// Addresses and networks whose word is taken.
    pub(super) fn networks(&mut self, written: &[Spanned<String>]) -> Vec<Network> {
        let mut networks = Vec::new();
        for entry in written {
            if let Some(network) = Network::parse(entry.get_ref()) {
                networks.push(network);
            } else {
                let problem =
                    self.error(entry.span(), "not an address or a network", "whose header would be believed?");
                self.report(problem.help("for example `10.0.0.5` or `10.0.0.0/8`"));
            }
        }
        networks
    }
}
