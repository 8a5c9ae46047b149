//! Translation between protocol eras: a client of 2026-07-28 on an upstream that requires sessions, and a client with a session
//! on an upstream that has none.
//!
//! To the rest of the proxy the upstream speaks the era of the client: rules, masks, seals and audit see one conversation.
//! The state of a bridge is kept in this process: sessions at older upstreams, the `initialize` parameters of older clients,
//! and server requests that wait for an answer.

mod answer;
mod clients;
mod content;
mod era;
mod fact;
mod link;
mod newer;
mod older;
mod on_newer;
mod on_older;
mod parked;
mod session;
mod sessionless;
mod spoken;
mod task;
mod visits;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use clients::Clients;
use era::Known;
use foldhash::HashMap;
use futures_util::future::join_all;
use link::Link;
use parked::Parked;
use session::Sessions;
use spoken::Spoken;

use crate::config::EraMode;
use crate::json::Value;
use crate::mcp::sse::{Line, Outgoing};
use crate::mcp::{Era, Revision};
use crate::opened::Opened;
use crate::proxy::Worker;
use crate::route::Route;
use crate::upstream::{Answer, Asking, Credential, Outbound, Pool, UpstreamError};

/// The detected eras of one upstream, and the state of the translation.
#[derive(Debug, Default)]
pub struct Bridge {
    known: Known,
    spoken: Spoken,
    sessions: Sessions,
    wanted: sessionless::Wanted,
    clients: Clients,
    visits: visits::Visits,
    parked: Parked<on_older::Resumed>,
    tasks: on_older::KnownTasks,
    waiting: Parked<on_newer::Response>,
}

impl Bridge {
    /// Notes the answer to `server/discover` as clients get it.
    pub(crate) fn advertises(&self, result: Value<'_>) {
        self.spoken.advertise(result);
    }

    /// Notes the revision of a session.
    pub(crate) fn settles(&self, revision: Revision) {
        self.spoken.settle(revision);
    }

    /// The revisions to name to a client that asked for another one, as far as they are known.
    pub(crate) fn spoken(&self, mode: EraMode, era: Era) -> Vec<Revision> {
        self.spoken.named(mode, era)
    }
}

/// The bridges, across reloads of the configuration.
#[derive(Debug, Default)]
pub struct Bridges(Mutex<HashMap<Ends, Arc<Bridge>>>);

/// A server's name, and the digest of what decides where its sessions are kept.
type Ends = (Arc<str>, [u8; 32]);

impl Bridges {
    /// The bridge of the server to the upstream: the existing one, or a new one.
    pub(crate) fn get_or_make(&self, server: &Arc<str>, place: [u8; 32]) -> Arc<Bridge> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|key, bridge| Arc::strong_count(bridge) > 1 || *key == (server.clone(), place));
        held.entry((server.clone(), place)).or_default().clone()
    }
}

/// How a message is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Translation {
    /// Not at all: client and upstream speak the same era, or bridging is off.
    Straight,
    /// The upstream is older than the client.
    ToOlder,
    /// The upstream is newer than the client.
    ToNewer,
    /// An older client sends `initialize` to an upstream whose era is unknown.
    Trial,
}

/// A message as a server-sent event.
fn event(message: Bytes) -> Bytes {
    Outgoing::message(&Line::of_json(message)).encode()
}

/// Sends `outbound` in the upstream's era, and returns the answer in the client's. Errs if there is no answer.
pub(crate) async fn send(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    credential: &Credential,
    outbound: Outbound,
) -> Result<Box<Answer>, UpstreamError> {
    let Some(era) = outbound.era().filter(|_| route.bridging != EraMode::Pass) else {
        return link::deliver(worker, route, credential, outbound).await;
    };
    let known = match (route.bridging, era) {
        (EraMode::Legacy, Era::Legacy) | (EraMode::Modern, Era::Modern) => Some(Translation::Straight),
        (EraMode::Auto, _) => route.bridge.known.translation(era, &outbound),
        _ => None,
    };
    let sessionless = match era {
        Era::Legacy if sessionless::is_one(&outbound) => route.bridge.wanted.mode(),
        Era::Legacy | Era::Modern => sessionless::Mode::Plain,
    };
    if known == Some(Translation::Straight) && sessionless == sessionless::Mode::Plain {
        return link::deliver(worker, route, credential, outbound).await;
    }
    let link = Link::new(worker, route, credential, Some(outbound.passenger()));
    if known == Some(Translation::Straight) {
        return Box::pin(sessionless::send(link, outbound, sessionless)).await;
    }
    Box::pin(bridged(link, era, outbound)).await
}

async fn bridged(link: Link, era: Era, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
    match translation(&link, era, &outbound).await {
        Translation::Straight => link.deliver(outbound).await,
        Translation::ToOlder => on_older::send(link, outbound).await,
        Translation::ToNewer => on_newer::send(link, outbound).await,
        Translation::Trial => {
            let hello = outbound.twin();
            let answer = link.deliver(outbound).await?;
            match link.route.bridge.known.heard(&link, answer).await {
                era::Hello::Taken(answer) => Ok(answer),
                era::Hello::Newer => on_newer::send(link, hello).await,
            }
        }
    }
}

async fn translation(link: &Link, era: Era, outbound: &Outbound) -> Translation {
    match (link.route.bridging, era) {
        (EraMode::Pass, _) | (EraMode::Legacy, Era::Legacy) | (EraMode::Modern, Era::Modern) => Translation::Straight,
        (EraMode::Legacy, Era::Modern) => Translation::ToOlder,
        (EraMode::Modern, Era::Legacy) => Translation::ToNewer,
        (EraMode::Auto, _) => match link.route.bridge.known.translation(era, outbound) {
            Some(translation) => translation,
            None => link.route.bridge.known.probe(link).await,
        },
    }
}

/// Ends every session of the proxy's at the upstream of `route` when the process shuts down; failures are ignored.
pub(crate) async fn shut_down(route: &Route, pool: &Pool) {
    let held = route.bridge.sessions.take_all();
    join_all(held.iter().filter_map(|session| session.ending()).map(|ending| route.backend.send(pool, ending))).await;
}

/// The era, session and revision in which the proxy requests the tool list for a call: those in which the call will be made.
pub(crate) async fn asking(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    credential: &Credential,
    opened: &Opened,
    (asking, revision): (Asking, Revision),
) -> (Asking, Revision) {
    let as_client = (asking.clone(), revision);
    let Some(message) = opened.ask.message() else { return as_client };
    let era = message.era();
    let known = match (route.bridging, era) {
        (EraMode::Pass, _) | (EraMode::Modern, Era::Modern) => return as_client,
        (EraMode::Legacy, Era::Legacy) => Some(Translation::Straight),
        (EraMode::Auto, _) => route.bridge.known.translation_of(era, asking.session.as_deref()),
        (EraMode::Legacy, _) => Some(Translation::ToOlder),
        (EraMode::Modern, _) => Some(Translation::ToNewer),
    };
    if known == Some(Translation::Straight) {
        let in_session = asking_in_session(worker, route, credential, opened, (&asking, None)).await;
        return in_session.unwrap_or(as_client);
    }
    let link = Link::own(worker, route, credential);
    Box::pin(translated(link, known, opened, message.params(), asking)).await.unwrap_or(as_client)
}

/// The same for an upstream of the other era; `None` if the call is not translated or a session cannot be opened.
async fn translated(
    link: Link,
    known: Option<Translation>,
    opened: &Opened,
    params: Option<Value<'_>>,
    asking: Asking,
) -> Option<(Asking, Revision)> {
    let translation = match known {
        Some(translation) => translation,
        None => link.route.bridge.known.probe(&link).await,
    };
    match translation {
        Translation::Straight | Translation::Trial => None,
        Translation::ToNewer => Some((Asking { era: Era::Modern, session: None, ..asking }, Revision::V2026_07_28)),
        Translation::ToOlder => {
            let stated = older::Stated::of(params);
            // If it cannot be opened, the call itself will fail with the reason.
            let session = link.route.bridge.sessions.of_newer(&link, &opened.caller, &stated).await.ok()?;
            let asking = Asking { era: Era::Legacy, session: session.within.id().map(Into::into), ..asking };
            Some((asking, session.within.revision))
        }
    }
}

/// The same in a session that the proxy keeps for a client without one, if the upstream is known to require a session, or seems
/// to because it `refused` the list with that status; `None` otherwise.
pub(crate) async fn asking_in_session(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    credential: &Credential,
    opened: &Opened,
    (asking, refused): (&Asking, Option<u16>),
) -> Option<(Asking, Revision)> {
    if route.bridging == EraMode::Pass || !sessionless::may_be_asked(&route.bridge.wanted, opened, asking, refused) {
        return None;
    }
    Box::pin(sessionless::asking(&Link::own(worker, route, credential), &opened.caller, asking)).await
}
