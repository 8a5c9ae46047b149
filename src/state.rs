//! State that no sealed value can hold, because it spans several requests: used one-time values, the tasks of each caller,
//! and open HTTP+SSE streams.
//!
//! In memory of this process, bounded; [`Shared`] holds what several processes share. When full it refuses or forgets in the safe direction; one caller alone fills a
//! sixteenth of what is used once, and a part of the tasks.

mod address;
mod failures;
mod link;
mod mirror;
mod once;
mod shared;
mod tasks;

pub use address::{Address, AddressError};
pub use failures::Failures;
pub use link::{Standing, StoreError};
pub use once::{Once, SpendError};
pub use shared::{Op, OpenError, Quota, Shared, Stores};
pub use tasks::Tasks;

use crate::http_sse::Stations;

/// The most requests of one process whose state can be spent within its lifetime: about 22 MB when full.
const MOST_SPENT: usize = 128 * 1024;

/// The most proofs of one process within the time a proof is good for: about 50 MB when full.
const MOST_PROOFS: usize = 512 * 1024;

/// The shared state of one process; it outlives a reload.
#[derive(Debug)]
pub struct State {
    /// Used values of `requestState`.
    pub spent: Once,
    /// Used `DPoP` proofs, by caller (RFC 9449 section 11.1).
    pub proofs: Once,
    /// How many tokens of an address were refused.
    pub failures: Failures,
    /// Open streams of HTTP+SSE clients.
    pub stations: Stations,
    /// The tasks of each caller.
    pub tasks: Tasks,
}

impl Default for State {
    fn default() -> Self {
        Self {
            spent: Once::with_room(MOST_SPENT),
            proofs: Once::with_room(MOST_PROOFS),
            failures: Failures::default(),
            stations: Stations::default(),
            tasks: Tasks::default(),
        }
    }
}
