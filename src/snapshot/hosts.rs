use std::borrow::Cow;
use std::collections::HashSet;
use std::net::Ipv6Addr;

use crate::config::Listener;

/// The authorities whose requests are served, in lower case. A list: they are so few that a search is faster than a hash.
#[derive(Debug)]
pub(super) struct Hosts(Box<[Box<str>]>);

impl Hosts {
    /// The public one, also with its default port, configured ones, and for loopback listeners the loopback names with the
    /// listener's port.
    pub(super) fn of(listener: &Listener) -> Self {
        let mut hosts = HashSet::<Box<str>>::new();
        let host = by_address(listener.public_url.host_str().unwrap_or_default());
        if let Some(port) = listener.public_url.port() {
            hosts.insert(format!("{host}:{port}").into());
        } else {
            let port = listener.public_url.port_or_known_default().unwrap_or(443);
            hosts.insert(format!("{host}:{port}").into());
            hosts.insert(host.into_owned().into());
        }
        hosts.extend(listener.allowed_hosts.iter().map(|host| by_address(&host.to_ascii_lowercase()).into()));
        for address in listener.listen.iter().filter(|address| address.ip().is_loopback()) {
            for name in ["localhost", "127.0.0.1", "[::1]"] {
                hosts.insert(format!("{name}:{}", address.port()).into());
            }
        }
        Self(hosts.into_iter().collect())
    }

    /// Whether this authority is one of them, in whatever spelling.
    pub(super) fn serve(&self, authority: &str) -> bool {
        self.0.iter().any(|host| **host == *authority) || {
            let authority = by_address(authority);
            self.0.iter().any(|host| host.eq_ignore_ascii_case(&authority))
        }
    }
}

/// An authority with its IPv6 address in one spelling of the many there are (RFC 5952); any other as it is.
fn by_address(authority: &str) -> Cow<'_, str> {
    let parts = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let address = parts.and_then(|(address, port)| Some((address.parse::<Ipv6Addr>().ok()?, port)));
    address.map_or(Cow::Borrowed(authority), |(address, port)| Cow::Owned(format!("[{address}]{port}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Hosts;
    use crate::config;

    fn hosts(public_url: &str, allowed: &str) -> Hosts {
        let text = format!(
            "[server]\npublic_url = \"{public_url}\"\nlisten = \"[::]:8443\"\nplain_http = true\nallowed_hosts = [{allowed}]\n\
             [issuers.corp]\nissuer = \"https://login.example.com\"\n\
             [servers.crm]\npath = \"/mcp\"\nupstream = \"http://127.0.0.1:1/mcp\"\npolicies = [\"crm.toml\"]\n"
        );
        Hosts::of(&config::parse(&text, Path::new("proxy.toml")).unwrap().0.server)
    }

    #[test]
    fn an_ipv6_address_is_itself_in_every_spelling() {
        let long = "[2001:0DB8:0:0:0:0:0:0001]";
        for hosts in
            [hosts(&format!("http://{long}:8443"), ""), hosts("http://mcp.example.com", &format!("\"{long}:8443\""))]
        {
            for host in
                ["[2001:db8::1]:8443", "[2001:DB8::1]:8443", "[2001:0DB8:0:0:0:0:0:0001]:8443", "[2001:db8:0::1]:8443"]
            {
                assert!(hosts.serve(host), "{host}");
            }
            for host in [
                "[2001:db8::2]:8443",
                "[2001:db8::1]:8444",
                "[2001:db8::1]",
                "[2001:db8::1%1]:8443",
                "2001:db8::1:8443",
            ] {
                assert!(!hosts.serve(host), "{host}");
            }
        }
    }

    #[test]
    fn a_default_port_may_be_left_out() {
        let hosts = hosts("http://[::ffff:1.2.3.4]", "");
        assert!(hosts.serve("[::ffff:1.2.3.4]") && hosts.serve("[::ffff:102:304]:80"));
        assert!(!hosts.serve("1.2.3.4"));
    }
}
