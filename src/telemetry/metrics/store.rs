use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::labels::{OpLabels, StoreLabels};
use super::{Families, Metrics};

const REDIS: StoreLabels = StoreLabels { store: "redis" };

/// Metrics of the store that is shared with other processes.
pub(super) struct Store {
    errors: Family<OpLabels, Counter>,
    up: Family<StoreLabels, Gauge>,
}

impl Store {
    pub(super) fn register(families: &mut Families) -> Self {
        Self {
            errors: families.add("portcullis_state_errors", "What the shared store did not do when it was asked"),
            up: families.add("portcullis_state_up", "Whether the shared store is connected"),
        }
    }
}

impl Metrics {
    /// Counts something that the shared store did not do.
    pub fn count_state_error(&self, op: &'static str) {
        self.store.errors.get_or_create(&OpLabels { op }).inc();
    }

    /// Sets whether the shared store is connected; `None` if there is none.
    pub fn set_state_up(&self, up: Option<bool>) {
        match up {
            Some(up) => _ = self.store.up.get_or_create(&REDIS).set(i64::from(up)),
            None => _ = self.store.up.remove(&REDIS),
        }
    }
}
