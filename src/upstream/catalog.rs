//! What an upstream says of its own tools, asked by the proxy itself where a call depends on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::outbound::listing;
use super::{Pool, UpstreamId};
use crate::clock;
use crate::json::Value;
use crate::mcp::mirror::{Mirror, mirrors};
use crate::mcp::sse::Splitter;
use crate::mcp::{Inbound, Revision, RpcId, admit_streamed};
use crate::route::Route;

/// How long a listing is used: as long as the upstream says, within these bounds.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);
/// Most pages of one listing.
const PAGES: usize = 50;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Listings of one worker, by upstream; one request at a time asks for each.
#[derive(Debug, Default)]
pub struct Catalog(Mutex<HashMap<UpstreamId, Listed>>);

#[derive(Clone, Debug)]
struct Listed {
    since: Instant,
    tools: Arc<OnceCell<Tools>>,
}

/// Mirrored arguments by tool, and how long that holds.
#[derive(Debug, Default)]
struct Tools {
    mirrors: HashMap<Box<str>, Arc<[Mirror]>>,
    lifetime: Duration,
}

impl Catalog {
    /// Nothing asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The arguments of `tool` that headers must repeat. Where the upstream cannot be asked, none are known, and headers
    /// are passed on as an intermediary passes those it does not recognise (2026-07-28, "Intermediaries").
    pub async fn mirrors(&self, pool: &Pool, route: &Route, tool: &str) -> Option<Arc<[Mirror]>> {
        let tools = self.listed(route);
        // All calls of this worker wait for it: a listing that trickles is none.
        let asked = || timeout(route.upstream.timeouts().first_byte, ask(pool, route));
        let tools = tools.get_or_init(|| async { asked().await.ok().flatten().unwrap_or_default() }).await;
        tools.mirrors.get(tool).cloned()
    }

    fn listed(&self, route: &Route) -> Arc<OnceCell<Tools>> {
        let now = clock::monotonic();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |listed: &Listed| {
            let lifetime = listed.tools.get().map_or(LONGEST, |tools| tools.lifetime.clamp(SHORTEST, LONGEST));
            now.duration_since(listed.since) < lifetime
        };
        if let Some(listed) = known.get(&route.upstream.id()).filter(|listed| fresh(listed)) {
            return listed.tools.clone();
        }
        known.retain(|_, listed| fresh(listed));
        let listed = Listed { since: now, tools: Arc::default() };
        known.insert(route.upstream.id(), listed.clone());
        listed.tools
    }
}

/// Every page of `tools/list`, asked with the proxy's own credential.
async fn ask(pool: &Pool, route: &Route) -> Option<Tools> {
    let mut tools = Tools { mirrors: HashMap::new(), lifetime: LONGEST };
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let (request, id) = listing(route, cursor.as_deref());
        let answer = pool.send(&route.upstream, request.into_request()).await.ok()?;
        if !answer.status.is_success() {
            return None;
        }
        let is_stream = answer.headers.get(http::header::CONTENT_TYPE)?.as_bytes().starts_with(b"text/event-stream");
        let message = if is_stream { streamed(answer.body, &id).await? } else { whole(answer.body, &id).await? };
        let result = message.result()?;
        let lifetime = result.get("ttlMs").and_then(|ttl| u64::try_from(ttl.as_i64()?).ok()).unwrap_or(0);
        tools.lifetime = tools.lifetime.min(Duration::from_millis(lifetime));
        tools.add(result);
        match result.get("nextCursor").and_then(|cursor| cursor.as_str()) {
            Some(next) => cursor = Some(next.into_owned()),
            None => return Some(tools),
        }
    }
    None
}

impl Tools {
    fn add(&mut self, result: Value<'_>) {
        for tool in result.get("tools").iter().flat_map(Value::items) {
            let found = tool.get("inputSchema").map(mirrors);
            if let (Some(name), Some(Ok(found))) = (tool.get("name").and_then(|name| name.as_str()), found)
                && !found.is_empty()
            {
                self.mirrors.insert(name.into(), found.into());
            }
        }
    }
}

async fn whole(body: super::AnswerBody, id: &RpcId) -> Option<Inbound> {
    let bytes = body.collect_limited(MOST_BYTES).await.ok()?;
    admit_streamed(bytes, Some(id), Revision::V2026_07_28).ok()
}

async fn streamed(mut body: super::AnswerBody, id: &RpcId) -> Option<Inbound> {
    let mut splitter = Splitter::new(MOST_BYTES);
    loop {
        while let Some(event) = splitter.next_event() {
            let data: Bytes = event.ok()?.data.unwrap_or_default();
            if let Ok(inbound @ Inbound::Response { .. }) = admit_streamed(data, Some(id), Revision::V2026_07_28) {
                return Some(inbound);
            }
        }
        if let Ok(data) = body.frame().await?.ok()?.into_data() {
            splitter.feed(data);
        }
    }
}
