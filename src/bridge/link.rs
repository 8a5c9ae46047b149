//! How the messages of one call reach the upstream.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{answer, visits};
use crate::auth::Caller;
use crate::mcp::{Era, Revision};
use crate::proxy::Worker;
use crate::route::Route;
use crate::upstream::{Answer, Credential, Outbound, Passenger, UpstreamError, Within, ending, in_era, listening};

/// The upstream and the credential of one call, shared by everything that runs for the call.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<Ends>);

/// The contents of a [`Link`].
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) worker: Arc<Worker>,
    pub(super) route: Arc<Route>,
    pub(super) credential: Credential,
    /// The passenger of the client's call; `None` for the proxy's own requests.
    pub(super) passenger: Option<Passenger>,
}

impl Deref for Link {
    type Target = Ends;

    fn deref(&self) -> &Ends {
        &self.0
    }
}

/// Sends a request that is already in the upstream's era. Errs if there is no answer.
pub(super) async fn deliver(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    credential: &Credential,
    outbound: Outbound,
) -> Result<Box<Answer>, UpstreamError> {
    match route.idle.clients {
        Some(idle) if outbound.era() == Some(Era::Legacy) => {
            let link = Link::own(worker, route, credential);
            Box::pin(visits::deliver(link, outbound, idle)).await
        }
        idle => {
            if idle.is_none() {
                route.bridge.visits.leave();
            }
            route.backend.send(&worker.pool, outbound).await
        }
    }
}

impl Link {
    /// For the proxy's own requests.
    pub(super) fn own(worker: &Arc<Worker>, route: &Arc<Route>, credential: &Credential) -> Self {
        Self::new(worker, route, credential, None)
    }

    /// For a call with this passenger.
    pub(super) fn new(
        worker: &Arc<Worker>,
        route: &Arc<Route>,
        credential: &Credential,
        passenger: Option<Passenger>,
    ) -> Self {
        let (worker, route, credential) = (worker.clone(), route.clone(), credential.clone());
        Self(Arc::new(Ends { worker, route, credential, passenger }))
    }

    /// The link under the current configuration, for work that outlasts a call; `None` if the server was removed.
    pub(super) fn current(&self) -> Option<Self> {
        let snapshot = self.worker.live.current();
        let route = snapshot.over(&self.route.bridge)?;
        Some(Self::new(&self.worker, route, &self.credential, self.passenger.clone()))
    }

    pub(super) async fn deliver(&self, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
        deliver(&self.worker, &self.route, &self.credential, outbound).await
    }

    /// Posts a message of an older revision, in a session or in none.
    pub(super) async fn post(&self, within: &Within, message: Bytes) -> Result<Box<Answer>, UpstreamError> {
        self.deliver(in_era(&self.credential, within, message)).await
    }

    /// Posts the `initialize` request that opens a session for a caller.
    pub(super) async fn open(&self, hello: Bytes, caller: &Arc<Caller>) -> Result<Box<Answer>, UpstreamError> {
        let within = Within::none(Revision::UNSTATED);
        self.deliver(in_era(&self.credential, &within, hello).for_caller(caller)).await
    }

    /// Posts the call itself, which counts against the concurrency limit. A session whose endpoint is no longer configured is
    /// answered like one that the upstream has lost.
    pub(super) async fn ask(&self, within: &Within, message: Bytes) -> Result<Box<Answer>, UpstreamError> {
        match self.deliver(self.counted(in_era(&self.credential, within, message))).await {
            Err(UpstreamError::NoSuchSession) => Ok(answer::lost_session()),
            answered => answered,
        }
    }

    /// Posts a request whose answer is a stream that may be silent for long.
    pub(super) async fn ask_for_stream(&self, within: &Within, message: Bytes) -> Result<Box<Answer>, UpstreamError> {
        self.deliver(in_era(&self.credential, within, message).into_stream()).await
    }

    fn counted(&self, outbound: Outbound) -> Outbound {
        match &self.passenger {
            Some(passenger) => outbound.for_passenger(passenger.clone()),
            None => outbound,
        }
    }

    /// Posts a message of 2026-07-28 with the headers that mirror its body.
    pub(super) async fn post_newer(
        &self,
        message: Bytes,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Box<Answer>, UpstreamError> {
        let outbound = in_era(&self.credential, &Within::none(Revision::V2026_07_28), message);
        self.deliver(self.counted(outbound.with_headers(headers))).await
    }

    /// Opens the event stream of a session.
    pub(super) async fn listen(&self, within: &Within) -> Result<Box<Answer>, UpstreamError> {
        self.deliver(listening(&self.credential, within)).await
    }

    /// Ends a session; a failure is ignored.
    pub(super) async fn end(&self, session: &str, revision: Revision) {
        let _ = self.deliver(ending(&self.credential, session, revision)).await;
    }

    /// Spawns a task for the conversation; the process's drain ends it, if it has not ended before.
    #[expect(clippy::disallowed_methods, reason = "it ends with the drain, and its stream when nobody reads it")]
    pub(super) fn begin(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ending = self.worker.sinks.drain.ending().clone();
        // A value may be dropped after the runtime has shut down; then there is nothing to send.
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(async move {
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = task => {}
                }
            });
        }
    }

    /// Counts an answer that broke off while it was translated.
    pub(super) fn failed(&self, error: &UpstreamError) {
        self.worker.sinks.metrics.count_upstream_error(&self.route.name, error.kind());
    }

    /// The most bytes of one answer.
    pub(super) fn most_bytes(&self) -> usize {
        self.worker.live.current().limits.answer_bytes
    }
}
