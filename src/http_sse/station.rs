//! The open streams of clients of 2024-11-05, and the background work of each while it is open.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foldhash::HashMap;
use http::request::Parts;
use http::{HeaderValue, Method};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Desk, relay};
use crate::auth::{Caller, Who};
use crate::clock::{self, Timestamp};
use crate::mcp::sse::KEEP_ALIVE;
use crate::proxy::Worker;
use crate::route::Route;
use crate::telemetry::metrics::Held;
use crate::trail::{Ending, Trail};
use crate::upstream::Busy;

/// Number of events buffered for the client of one stream.
pub(super) const AHEAD: usize = 16;
/// The most streams of one process, and of one user.
const MOST: usize = 10_000;
const SHARE: usize = 1_000;
/// The most requests in flight on one stream.
const REQUESTS: usize = 256;
/// The interval of keep-alive comments: intermediaries close silent connections.
const SILENCE: Duration = Duration::from_secs(15);
/// How long to wait before an upstream stream that ended is opened again; doubled each time it ends within that time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The open streams of this process, by name.
#[derive(Debug, Default)]
pub struct Stations(Mutex<HashMap<Uuid, Arc<Station>>>);

/// An open stream.
#[derive(Debug)]
pub(super) struct Station {
    who: Who,
    out: mpsc::Sender<Bytes>,
    /// The session id at the upstream, sealed as for a Streamable HTTP client.
    session: Mutex<Option<HeaderValue>>,
    ready: Notify,
    turns: Arc<Semaphore>,
    /// Cancelled when the stream has ended.
    pub(super) over: CancellationToken,
}

impl Stations {
    /// Registers an open stream. Errs if a limit is reached.
    pub(super) fn open(&self, name: Uuid, who: Who, out: mpsc::Sender<Bytes>) -> Result<Arc<Station>, Busy> {
        let mut stations = lock(&self.0);
        if stations.len() >= MOST {
            return Err(Busy::Streams);
        }
        if stations.values().filter(|other| other.who.is_person(&who)).count() >= SHARE {
            return Err(Busy::Share);
        }
        let station = Arc::new(Station {
            who,
            out,
            session: Mutex::default(),
            ready: Notify::new(),
            turns: Arc::new(Semaphore::new(REQUESTS)),
            over: CancellationToken::new(),
        });
        stations.insert(name, station.clone());
        Ok(station)
    }

    /// The open stream of a name.
    pub(super) fn get(&self, name: Uuid) -> Option<Arc<Station>> {
        lock(&self.0).get(&name).filter(|station| !station.over.is_cancelled()).cloned()
    }

    fn close(&self, name: Uuid) {
        lock(&self.0).remove(&name);
    }
}

impl Station {
    /// A permit for one request; `None` if too many are in flight.
    pub(super) fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().try_acquire_owned().ok()
    }

    pub(super) fn session(&self) -> Option<HeaderValue> {
        lock(&self.session).clone()
    }

    /// Sets the session of the stream. If the client opens another one, the first is forgotten.
    pub(super) fn keep_session(&self, session: HeaderValue) {
        *lock(&self.session) = Some(session);
    }

    /// Marks the client as ready for messages that the server sends by itself.
    pub(super) fn listen(&self) {
        self.ready.notify_one();
    }

    /// Ends the stream.
    pub(super) fn end(&self) {
        self.over.cancel();
    }

    /// Sends a message to the stream, after waiting for room.
    pub(super) async fn say(&self, message: Bytes) {
        let _ = self.out.send(relay::event(message)).await;
    }
}

/// The background work of an open stream, with the caller and the request that opened it.
pub(super) struct Attendance {
    pub(super) desk: Desk,
    pub(super) station: Arc<Station>,
    pub(super) name: Uuid,
    pub(super) caller: Arc<Caller>,
    pub(super) head: Parts,
    pub(super) trail: Box<Trail>,
}

impl Attendance {
    /// Starts the background work, which lasts until the stream ends.
    pub(super) fn begin(mut self) {
        // A stream may be idle for hours, and a slice of the request would keep its whole buffer alive.
        self.trail.detach();
        let worker = self.desk.worker.clone();
        // Not ended by the drain, so that the end of the stream can be recorded.
        spawn(async move {
            let gauge = worker.sinks.metrics.streams(&self.desk.route.name, "get");
            let counted = (worker.sinks.drain.stream(), Held::new(gauge));
            let why = tokio::select! {
                biased;
                why = self.ended() => why,
                never = self.listened() => match never {},
            };
            self.station.end();
            worker.state.stations.close(self.name);
            let closing = self.close(why);
            closing.await;
            drop(counted);
        });
    }

    /// Waits until the stream must end, and returns the reason; `None` if the client has disconnected.
    async fn ended(&self) -> Option<&'static str> {
        let worker = &self.desk.worker;
        let mut silent_until = Instant::from_std(clock::monotonic()) + SILENCE;
        let mut changed = Box::pin(worker.verifier.shared_epoch().end());
        // Expiry after more than a day is noticed at a keep-alive.
        let left = Timestamp::now().until(self.caller.until).min(Duration::from_hours(24));
        let mut expires = pin!(sleep(left));
        let mut attending = (self.caller.clone(), self.desk.route.clone());
        loop {
            tokio::select! {
                biased;
                () = worker.sinks.drain.ending().cancelled() => return Some("drain"),
                () = self.station.out.closed() => return None,
                () = self.station.over.cancelled() => return Some("session"),
                // Renewed before the check, so that no change is missed.
                () = &mut changed => changed = Box::pin(worker.verifier.shared_epoch().end()),
                () = &mut expires, if !expires.is_elapsed() => {}
                () = sleep_until(silent_until) => {
                    silent_until = Instant::from_std(clock::monotonic()) + SILENCE;
                    let _ = self.station.out.try_send(Bytes::from_static(KEEP_ALIVE));
                }
            }
            if let Some(why) = self.refused(&mut attending) {
                return Some(why);
            }
        }
    }

    /// Why the caller may no longer have the stream; `None` if it may. Updates the caller and route it was last admitted by.
    fn refused(&self, (caller, before): &mut (Arc<Caller>, Arc<Route>)) -> Option<&'static str> {
        let now = Timestamp::now();
        if let Err(error) = caller.accepted_at(now) {
            return Some(error.result());
        }
        let route = self.desk.worker.live.current().route(&self.desk.route.path);
        let Some(route) = route.filter(|route| route.sse_path == self.desk.route.sse_path) else {
            return Some("not_found");
        };
        let is_newer = !Arc::ptr_eq(&route, before);
        match route.acceptance.readmit(caller, is_newer.then_some(&before.acceptance), now) {
            Ok(again) => {
                (*caller, *before) = (again, route);
                None
            }
            Err(error) => Some(error.result()),
        }
    }

    /// Passes on what the server sends on its own stream, once the client is ready. Never completes.
    async fn listened(&self) -> std::convert::Infallible {
        self.station.ready.notified().await;
        let mut pause = PAUSE;
        loop {
            let Some(desk) = self.desk.renewed() else { return std::future::pending().await };
            let head = self.station.head(&self.head, Method::GET);
            let trail = Trail::begin(&desk.worker.sinks, self.trail.peer.clone(), &head);
            let began = clock::monotonic();
            let response = desk.carry(&self.caller, &head, None, trail).await;
            if response.status().is_client_error() {
                // A server without such a stream answers 405 (2025-11-25, "Listening for Messages from the Server").
                return std::future::pending().await;
            }
            if response.status().is_success() {
                relay::events(&self.station, response).await;
            }
            pause = if began.elapsed() < pause { (pause * 2).min(LONGEST_PAUSE) } else { PAUSE };
            sleep(pause).await;
        }
    }

    /// Records how the stream ended, and ends the session at the upstream unless that is gone.
    async fn close(self, why: Option<&'static str>) {
        let Self { desk, station, caller, head, trail, .. } = self;
        let peer = trail.peer.clone();
        match why {
            // Dropping a trail without an ending records that the client ended it.
            None => drop(trail),
            Some(why) => drop(trail.end(Ending::stopped(why)).await),
        }
        if station.session().is_some() && why != Some("session") {
            let head = station.head(&head, Method::DELETE);
            let trail = Trail::begin(&desk.worker.sinks, peer, &head);
            let _ = desk.carry(&caller, &head, None, trail).await;
        }
    }
}

impl Desk {
    /// The same under the current configuration; `None` if the route was removed.
    fn renewed(&self) -> Option<Self> {
        let snapshot = self.worker.live.current();
        let route = snapshot.route(&self.route.path)?;
        Some(Self { worker: self.worker.clone(), snapshot, route })
    }
}

/// Spawns a task that the process's drain ends, if it has not ended before.
pub(super) fn begin(worker: &Arc<Worker>, task: impl Future<Output = ()> + Send + 'static) {
    let ending = worker.sinks.drain.ending().clone();
    spawn(async move {
        tokio::select! {
            () = ending.cancelled() => {}
            () = task => {}
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "ends with its stream, which ends with its client or with the drain")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use uuid::Uuid;

    use super::{SHARE, Stations};
    use crate::auth::Who;
    use crate::policy::tests::caller;
    use crate::upstream::Busy;

    #[test]
    fn one_caller_takes_no_stream_of_others() {
        let stations = Stations::default();
        let open = |subject: &str, client: usize| {
            let mut caller = caller("");
            (caller.subject, caller.client_id) = (subject.into(), Some(client.to_string().into()));
            let name = Uuid::new_v4();
            stations.open(name, Who::of(&caller), mpsc::channel(1).0).map(|_| name)
        };
        // Whichever client it calls with.
        let names: Vec<Uuid> = (0..SHARE).map(|client| open("ana", client).unwrap()).collect();
        assert_eq!(open("ana", SHARE), Err(Busy::Share));
        assert!(open("max", 0).is_ok());
        stations.close(names[7]);
        assert!(open("ana", 0).is_ok());
    }
}
