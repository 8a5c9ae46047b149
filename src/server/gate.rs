//! Who may open a connection, and how many.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::site::site;
use crate::clock;
use crate::config::{Limits, Proxies, ProxyProtocol};

/// How long nobody is told of connections that were refused, so that who opens many does not fill the log.
const TELL: Duration = Duration::from_secs(1);

/// Why a connection is closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// There are as many as there may be.
    #[error("`server.limits.connections` is reached")]
    Full,
    /// There are as many as one address may have.
    #[error("`server.limits.connections_per_address` is reached")]
    Address,
    /// The PROXY header is missing or malformed.
    #[error("a trusted proxy sent no valid PROXY header")]
    Header,
    /// The sender is no trusted proxy, and only those may connect.
    #[error("`server.proxy_protocol` is \"required\", and the sender is none of `server.trusted_proxies`")]
    Sender,
}

impl Refusal {
    /// The label of metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Full => "connections",
            Self::Address => "connections_per_address",
            Self::Header => "proxy_header",
            Self::Sender => "no_trusted_proxy",
        }
    }
}

/// The gate of the public listener.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    most_of_address: usize,
    proxies: ArcSwap<Proxies>,
    open: AtomicUsize,
    /// Open connections by site; without those that are not counted.
    by_address: Mutex<HashMap<IpAddr, usize>>,
    full: Refused,
    address: Refused,
    header: Refused,
    sender: Refused,
}

/// Connections refused for one reason.
#[derive(Debug, Default)]
struct Refused {
    total: AtomicU64,
    told: Mutex<Told>,
}

/// What somebody was told of.
#[derive(Debug, Default)]
struct Told {
    /// How many.
    count: u64,
    /// When last.
    at: Option<Instant>,
}

impl Refused {
    /// Counts one; at most once a second, how many there were since the last time.
    fn count(&self, now: Instant) -> Option<u64> {
        let total = self.total.fetch_add(1, Relaxed) + 1;
        let mut told = lock(&self.told);
        if told.at.is_some_and(|at| now.saturating_duration_since(at) < TELL) {
            return None;
        }
        told.at = Some(now);
        let count = total.saturating_sub(told.count);
        told.count = total;
        Some(count)
    }
}

impl Gate {
    pub(super) fn new(limits: &Limits, proxies: &Proxies) -> Self {
        Self(Arc::new(Inner {
            most: limits.connections,
            most_of_address: limits.connections_per_address,
            proxies: ArcSwap::from_pointee(proxies.clone()),
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
            full: Refused::default(),
            address: Refused::default(),
            header: Refused::default(),
            sender: Refused::default(),
        }))
    }

    /// Whose PROXY headers are believed from now on.
    pub fn trust(&self, proxies: &Proxies) {
        self.0.proxies.store(Arc::new(proxies.clone()));
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.0.open.load(Relaxed)
    }

    /// How many were refused since the start, by reason.
    pub fn refused(&self) -> [(&'static str, u64); 4] {
        let total = |refusal: Refusal| (refusal.name(), self.of(refusal).total.load(Relaxed));
        [Refusal::Full, Refusal::Address, Refusal::Header, Refusal::Sender].map(total)
    }

    fn of(&self, refusal: Refusal) -> &Refused {
        match refusal {
            Refusal::Full => &self.0.full,
            Refusal::Address => &self.0.address,
            Refusal::Header => &self.0.header,
            Refusal::Sender => &self.0.sender,
        }
    }

    fn refuse(&self, refusal: Refusal, address: IpAddr) {
        if let Some(count) = self.of(refusal).count(clock::monotonic()) {
            tracing::warn!(count, %address, "connections closed: {refusal}");
        }
    }

    /// A permit for a connection from that address; `None` if it is refused.
    pub(super) fn admit(&self, sender: IpAddr) -> Option<Place> {
        if self.0.open.fetch_add(1, Relaxed) >= self.0.most {
            self.0.open.fetch_sub(1, Relaxed);
            self.refuse(Refusal::Full, sender);
            return None;
        }
        let mut place = Place { gate: self.clone(), header: ProxyProtocol::Off, counted: None };
        let proxies = self.0.proxies.load();
        match proxies.protocol {
            ProxyProtocol::Off => {}
            protocol if proxies.trust(sender) => {
                place.header = protocol;
                return Some(place);
            }
            ProxyProtocol::Optional => {}
            ProxyProtocol::Required => {
                self.refuse(Refusal::Sender, sender);
                return None;
            }
        }
        place.count(sender).then_some(place)
    }
}

/// A permit for one connection, released when dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Gate,
    /// Whether the connection begins with a PROXY header.
    pub(super) header: ProxyProtocol,
    counted: Option<IpAddr>,
}

impl Place {
    /// Counts the connection as one of that client's; false if it has too many. This machine and trusted proxies, which speak
    /// for others, have as many as they like.
    pub(super) fn count(&mut self, client: IpAddr) -> bool {
        let inner = &*self.gate.0;
        if inner.proxies.load().speak_for_many(client) {
            return true;
        }
        let site = site(client);
        let mut by_address = lock(&inner.by_address);
        let count = by_address.entry(site).or_default();
        if *count >= inner.most_of_address {
            drop(by_address);
            self.refuse(Refusal::Address, client);
            return false;
        }
        *count += 1;
        self.counted = Some(site);
        true
    }

    /// Notes that the connection is refused after all.
    pub(super) fn refuse(&self, refusal: Refusal, address: IpAddr) {
        self.gate.refuse(refusal, address);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let inner = &*self.gate.0;
        inner.open.fetch_sub(1, Relaxed);
        let Some(site) = self.counted else { return };
        if let Entry::Occupied(mut count) = lock(&inner.by_address).entry(site) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Locks a mutex, poisoned or not: the data is consistent after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Gate, Refused, TELL, lock};
    use crate::clock::monotonic;
    use crate::config::{Limits, Network, Proxies, ProxyProtocol};

    fn gate(connections: usize, connections_per_address: usize, protocol: ProxyProtocol) -> Gate {
        let limits = Limits { connections, connections_per_address, ..Limits::default() };
        let trusted = vec![Network::parse("10.0.0.0/8").unwrap()];
        Gate::new(&limits, &Proxies { trusted, protocol, ..Proxies::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn of_many_refused_connections_is_told_once_a_second() {
        let (refused, now) = (Refused::default(), monotonic());
        assert_eq!(refused.count(now), Some(1), "at once");
        for _ in 0..1000 {
            assert_eq!(refused.count(now + TELL / 2), None);
        }
        assert_eq!(refused.count(now + TELL), Some(1001));
    }

    #[test]
    fn there_are_only_so_many() {
        let gate = gate(2, 2, ProxyProtocol::Off);
        let first = gate.admit(ip("192.0.2.1"));
        let second = gate.admit(ip("127.0.0.1"));
        assert!(first.is_some() && second.is_some() && gate.admit(ip("192.0.2.2")).is_none());
        drop(first);
        assert!(gate.admit(ip("192.0.2.2")).is_some());
        assert_eq!((gate.open(), gate.refused()[0]), (1, ("connections", 1)));
    }

    #[test]
    fn one_address_has_only_so_many_and_nobody_else_is_refused_for_it() {
        let gate = gate(100, 2, ProxyProtocol::Off);
        let held: Vec<_> = ["192.0.2.1", "::ffff:192.0.2.1"].map(|text| gate.admit(ip(text)).unwrap()).into();
        assert!(gate.admit(ip("192.0.2.1")).is_none());
        assert!(gate.admit(ip("192.0.2.2")).is_some());
        // Of IPv6 a site counts, as it has more addresses than anybody could count.
        let site: Vec<_> = (1..=2).map(|at| gate.admit(ip(&format!("2001:db8:0:1::{at}"))).unwrap()).collect();
        assert!(gate.admit(ip("2001:db8:0:1:ffff::9")).is_none());
        assert!(gate.admit(ip("2001:db8:0:2::1")).is_some());
        // This machine, and who speaks for others.
        let many: Vec<_> =
            ["127.0.0.1", "::1", "10.1.2.3"].iter().cycle().take(30).map(|text| gate.admit(ip(text))).collect();
        assert!(many.iter().all(Option::is_some));
        drop(held);
        let again = gate.admit(ip("192.0.2.1"));
        assert!(again.is_some());
        drop((site, many, again));
        assert!(lock(&gate.0.by_address).is_empty(), "nothing is kept of who is gone");
        assert_eq!((gate.open(), gate.refused()[1]), (0, ("connections_per_address", 2)));
    }

    #[test]
    fn a_client_counts_once_its_proxy_has_named_it() {
        let gate = gate(100, 1, ProxyProtocol::Required);
        assert!(gate.admit(ip("192.0.2.1")).is_none(), "no trusted proxy");
        assert_eq!(gate.refused()[3], ("no_trusted_proxy", 1));
        let [mut one, mut two, mut three] = [(); 3].map(|()| gate.admit(ip("10.0.0.1")).unwrap());
        assert_eq!(one.header, ProxyProtocol::Required);
        assert!(one.count(ip("192.0.2.1")) && !two.count(ip("192.0.2.1")) && three.count(ip("192.0.2.2")));
        gate.trust(&Proxies::default());
        assert_eq!(gate.admit(ip("10.0.0.1")).unwrap().header, ProxyProtocol::Off, "no longer");
    }
}
