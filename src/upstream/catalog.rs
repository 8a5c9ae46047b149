//! The upstream's tool list, fetched by the proxy itself where a call depends on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::grant::Holder;
use super::listing::{Page, page};
use super::{Credential, Pool, UpstreamError};
use crate::clock;
use crate::json::Value;
use crate::mcp::{Era, Revision};
use crate::policy::tools::Tool;
use crate::route::Route;

/// Bounds of the lifetime that an upstream states for its tool list.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);
/// Lifetime of a list from an upstream that cannot state one (before 2026-07-28).
const UNSAID: Duration = Duration::from_mins(1);
/// After a failed attempt to fetch the list: how long calls are refused without another attempt.
const FAILED: Duration = Duration::from_secs(1);
/// The most pages of one list.
const PAGES: usize = 50;
/// The most tools of one list.
const TOOLS: usize = 10_000;
/// The most lists cached per server: each session of a revision before 2026-07-28 has its own.
const LISTINGS: usize = 1_024;

/// The cached tool lists of one server, shared by all threads. Each list is fetched by one request at a time.
#[derive(Debug, Default)]
pub struct Catalog(Mutex<HashMap<Asking, Listed>>);

/// The cache key of a tool list: everything by which an upstream can tell callers apart, since it may offer each of them
/// other tools.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asking {
    pub(crate) era: Era,
    /// The session id at the upstream.
    pub(crate) session: Option<Box<str>>,
    /// Whose token the request carries, where each caller has a token of its own.
    pub(crate) holder: Option<Holder>,
}

#[derive(Clone, Debug)]
struct Listed {
    since: Instant,
    tools: Arc<OnceCell<Result<Listing, CatalogError>>>,
}

/// One tool list, by tool name, and its lifetime.
#[derive(Debug)]
struct Listing {
    /// `None` for a name with several definitions.
    tools: HashMap<Box<str>, Option<Arc<Tool>>>,
    lifetime: Duration,
}

/// The entry of one name in a tool list.
#[derive(Clone, Debug)]
pub enum Offer {
    /// The name has several definitions, so it is unknown which would be called.
    Ambiguous,
    /// The tool's definition.
    Tool(Arc<Tool>),
    /// The name is not in the list.
    Unlisted,
}

/// Why the tool list could not be fetched.
#[derive(Clone, Debug, Error)]
pub enum CatalogError {
    /// A request was not answered.
    #[error(transparent)]
    Upstream(#[from] Arc<UpstreamError>),
    /// Fetching all pages took longer than the first-byte timeout.
    #[error("upstream: its tools were not listed within {0:?}")]
    Slow(Duration),
    /// An answer with a status other than success.
    #[error("the upstream answered {status} when asked for its tools")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// An answer that is not a usable tool list.
    #[error("the upstream's list of its tools is not usable: {0}")]
    Unusable(&'static str),
}

impl Catalog {
    /// The upstream's definition of `tool`, from its cached list or from one fetched now. Errs if the list cannot be fetched.
    pub(crate) async fn offer(
        &self,
        pool: &Pool,
        (route, credential): (&Route, &Credential),
        asking: &Asking,
        revision: Revision,
        tool: &str,
    ) -> Result<Offer, CatalogError> {
        let offer = self.said(pool, (route, credential), asking, revision, tool).await?;
        let doubted = match &offer {
            // The definition may have changed since the list was fetched, or may differ between callers.
            Offer::Tool(known) => route.tools.doubted_since(known),
            // The tool may have been added since. Without its definition its arguments cannot be checked.
            Offer::Ambiguous | Offer::Unlisted => {
                route.tools.listed_since(tool).max(clock::monotonic().checked_sub(SHORTEST))
            }
        };
        match doubted {
            Some(since) if self.outdate(asking, since) => {
                self.said(pool, (route, credential), asking, revision, tool).await
            }
            _ => Ok(offer),
        }
    }

    async fn said(
        &self,
        pool: &Pool,
        (route, credential): (&Route, &Credential),
        asking: &Asking,
        revision: Revision,
        tool: &str,
    ) -> Result<Offer, CatalogError> {
        let listed = self.listed(asking);
        // Calls wait for the list, so a slow one counts as a failure.
        let limit = route.backend.timeouts().first_byte;
        let asked = || async {
            // Boxed to keep the future small, since nearly every call finds a cached list.
            let asked = Box::pin(timeout(limit, ask(pool, (route, credential), asking, revision)));
            asked.await.unwrap_or(Err(CatalogError::Slow(limit)))
        };
        let listing = listed.get_or_init(asked).await.as_ref().map_err(Clone::clone)?;
        Ok(match listing.tools.get(tool) {
            None => Offer::Unlisted,
            Some(None) => Offer::Ambiguous,
            Some(Some(tool)) => Offer::Tool(tool.clone()),
        })
    }

    /// Drops the list of `asking` if it was requested at `before` or earlier. True if it was, or if there is none.
    fn outdate(&self, asking: &Asking, before: Instant) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = known.get(asking).is_none_or(|listed| listed.since <= before);
        if is_old {
            known.remove(asking);
        }
        is_old
    }

    /// Drops every list: the upstream has notified that its tools changed.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn listed(&self, asking: &Asking) -> Arc<OnceCell<Result<Listing, CatalogError>>> {
        let now = clock::monotonic();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listed) = known.get(asking).filter(|listed| listed.is_fresh(now)) {
            return listed.tools.clone();
        }
        known.retain(|_, listed| listed.is_fresh(now));
        if known.len() >= LISTINGS
            && let Some(oldest) = known.iter().min_by_key(|(_, listed)| listed.since).map(|(asking, _)| asking.clone())
        {
            known.remove(&oldest);
        }
        let listed = Listed { since: now, tools: Arc::default() };
        known.insert(asking.clone(), listed.clone());
        listed.tools
    }
}

impl Listed {
    fn is_fresh(&self, now: Instant) -> bool {
        let lifetime = match self.tools.get() {
            None => LONGEST,
            Some(Ok(listing)) => listing.lifetime,
            Some(Err(_)) => FAILED,
        };
        now.duration_since(self.since) < lifetime
    }
}

/// Fetches every page of `tools/list`, authenticated with `credential`.
async fn ask(
    pool: &Pool,
    (route, credential): (&Route, &Credential),
    asking: &Asking,
    revision: Revision,
) -> Result<Listing, CatalogError> {
    let mut listing = Listing { tools: HashMap::new(), lifetime: LONGEST };
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let message = match page(pool, &route.backend, credential, asking, revision, cursor.as_deref()).await? {
            Page::Result(message) => message,
            Page::NoTools => return Ok(listing),
        };
        let result = message.result().ok_or(CatalogError::Unusable("no result"))?;
        let said = result.get("ttlMs").and_then(|ttl| u64::try_from(ttl.as_i64()?).ok()).map(Duration::from_millis);
        let unsaid = if asking.era == Era::Legacy { UNSAID } else { SHORTEST };
        listing.lifetime = listing.lifetime.min(said.unwrap_or(unsaid).clamp(SHORTEST, LONGEST));
        listing.add(route, result)?;
        match result.get("nextCursor").and_then(|cursor| cursor.as_str()) {
            Some(next) => cursor = Some(next.into_owned()),
            None => return Ok(listing),
        }
    }
    Err(CatalogError::Unusable("it has too many pages"))
}

impl Listing {
    fn add(&mut self, route: &Route, result: Value<'_>) -> Result<(), CatalogError> {
        let items = result.get("tools").ok_or(CatalogError::Unusable("it has no list of tools"))?;
        for tool in items.items().filter_map(|item| route.tools.tool(item)) {
            if self.tools.len() >= TOOLS {
                return Err(CatalogError::Unusable("it has too many tools"));
            }
            route.tools.told(&tool);
            let entry = self.tools.entry(tool.name.clone()).or_insert_with(|| Some(tool.clone()));
            if entry.as_ref().is_some_and(|known| !Arc::ptr_eq(known, &tool)) {
                *entry = None;
            }
        }
        Ok(())
    }
}
