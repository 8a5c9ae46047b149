use std::sync::Arc;

use super::fetch::Fetched;
use super::ring::Ring;
use super::{Epoch, Issuer, Profile, Timing, config_digest};
use crate::auth::keys::KeySet;
use crate::auth::tests::support::NOW;
use crate::{clock, config};

impl Issuer {
    /// An issuer that has fetched `keys` and never fetches again.
    pub(in crate::auth) fn loaded(config: &config::Issuer, keys: &str, epoch: &Epoch) -> Arc<Self> {
        let timing = Timing {
            cache_ttl: config.cache_ttl,
            min_refresh_interval: config.min_refresh_interval,
            max_stale: config.max_stale,
        };
        let ring = Arc::new(Ring::new(Arc::clone(&config.name), timing, epoch.clone(), clock::monotonic()));
        let set = KeySet::parse(keys.to_owned().into()).unwrap();
        ring.settle(Ok(Fetched { set, max_age: None }), clock::monotonic(), NOW);
        // Nobody would answer those who ask for more.
        ring.stop();
        Arc::new(Self {
            name: Arc::clone(&config.name),
            iss: Arc::clone(&config.issuer),
            digest: config_digest(config, None),
            profile: Profile::new(config).unwrap(),
            on_start: config.on_start,
            introspector: super::introspector(config, None, super::Patience::USUAL, &tokio::runtime::Handle::current())
                .unwrap(),
            lexicon: super::Lexicon::default(),
            revocations: Arc::new(crate::auth::revocation::Revocations::new(epoch.clone())),
            ring,
            scopes_supported: Arc::default(),
            task: tokio::runtime::Handle::current().spawn(std::future::pending::<()>()).abort_handle(),
        })
    }
}

mod network;
