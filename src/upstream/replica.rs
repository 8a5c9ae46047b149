//! One endpoint of an upstream with its load and health, and how one of several is chosen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use tokio::time::sleep;

use super::breaker::{Breaker, Phase};
use super::gate::{Gate, Place};
use super::http::Failed;
use super::outbound::Passenger;
use super::{Answer, BuildError, Outbound, Pool, Upstream, UpstreamError};
use crate::clock;
use crate::config;

const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Between a session's id and the replica that keeps it.
const SEPARATOR: char = '~';
/// How long to wait before the only endpoint is asked again.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The endpoints of one upstream, which stand for each other.
#[derive(Debug)]
pub(super) struct Replicas {
    all: Box<[Replica]>,
    attempts: u32,
    /// Where the search begins among equals.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Replica {
    breaker: Breaker,
    gate: Arc<Gate>,
    /// What sessions of this endpoint are marked with, whatever its place in the list.
    mark: Box<str>,
    upstream: Arc<Upstream>,
}

/// What a gauge says of an endpoint.
#[derive(Debug)]
pub(crate) struct Health {
    /// Scheme, host and port, as configured.
    pub(crate) origin: Arc<str>,
    pub(crate) in_flight: usize,
    pub(crate) waiting: usize,
    pub(crate) phase: Phase,
}

impl Replicas {
    pub(super) fn new(server: &config::Server, urls: &[url::Url]) -> Result<Self, BuildError> {
        let all = urls.iter().map(|url| {
            let mark = digest::digest(&digest::SHA256, url.as_str().as_bytes());
            Ok::<_, BuildError>(Replica {
                breaker: Breaker::new(server.breaker),
                gate: Gate::new(server.concurrency),
                mark: HEXLOWER.encode(mark.as_ref().get(..4).unwrap_or_default()).into(),
                upstream: Upstream::new(server, url)?,
            })
        });
        Ok(Self {
            all: all.collect::<Result<_, BuildError>>()?,
            attempts: server.retries.attempts,
            turn: AtomicUsize::new(0),
        })
    }

    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.all.iter().map(|replica| &replica.upstream)
    }

    pub(super) fn health(&self) -> impl Iterator<Item = Health> {
        self.all.iter().map(|replica| {
            let (in_flight, waiting) = replica.gate.load();
            let origin = replica.upstream.origin().into();
            Health { origin, in_flight, waiting, phase: replica.breaker.phase() }
        })
    }

    /// Asks the endpoint that keeps the session, else the one with the least to do.
    ///
    /// What has not left is asked of another one: always if it was found to be away before anything was tried, and
    /// otherwise if doing it twice is no more than doing it once.
    pub(super) async fn send(&self, pool: &Pool, outbound: Outbound) -> Result<Answer, UpstreamError> {
        let (request, passenger) = outbound.into_parts();
        let (at, answer) = self.ask(pool, request, &passenger).await?;
        Ok(match self.all.get(at) {
            Some(replica) => self.marked(replica, answer),
            None => answer,
        })
    }

    /// The same; says which endpoint has answered.
    pub(super) async fn ask(
        &self,
        pool: &Pool,
        mut request: Box<Request<Full<Bytes>>>,
        passenger: &Passenger,
    ) -> Result<(usize, Answer), UpstreamError> {
        let bound = self.unmark(&mut request)?;
        let (mut tried, mut attempts) = (0_u64, self.attempts);
        loop {
            let (at, replica) = self.choose(bound, tried).ok_or(UpstreamError::NoSuchSession)?;
            let failed = match replica.send(pool, request, passenger).await {
                Ok(answer) => return Ok((at, answer)),
                Err(failed) => failed,
            };
            tried |= 1 << at;
            let has_other = bound.is_none() && self.all.len() > tried.count_ones() as usize;
            let Failed { error, unsent, was_tried } = failed;
            let Some(unsent) = unsent else { return Err(error) };
            if was_tried {
                if attempts == 0 || !passenger.may_repeat || !error.is_unreachable() {
                    return Err(error);
                }
                attempts -= 1;
                if !has_other {
                    Box::pin(sleep(BACK_OFF)).await;
                    tried = 0;
                }
            } else if !has_other {
                return Err(error);
            }
            request = unsent;
        }
    }

    /// The endpoint at that place.
    pub(super) fn upstream(&self, at: usize) -> Option<&Arc<Upstream>> {
        self.all.get(at).map(|replica| &replica.upstream)
    }

    /// Room at the endpoint at that place.
    pub(super) async fn enter(&self, at: usize, passenger: &Passenger) -> Result<Place, UpstreamError> {
        let replica = self.all.get(at).ok_or(UpstreamError::NoSuchSession)?;
        replica.enter(passenger).await
    }

    /// Sends to another address of the endpoint at that place, where there is room already.
    pub(super) async fn send_to(
        &self,
        at: usize,
        address: &Arc<Upstream>,
        pool: &Pool,
        request: Box<Request<Full<Bytes>>>,
    ) -> Result<Answer, UpstreamError> {
        let replica = self.all.get(at).ok_or(UpstreamError::NoSuchSession)?;
        replica.pass_on(pool, address, request).await.map_err(|failed| failed.error)
    }

    /// The endpoint to ask, which was not `tried` before: one that may be asked now, with the least to do.
    fn choose(&self, bound: Option<usize>, tried: u64) -> Option<(usize, &Replica)> {
        if let Some(at) = bound {
            return Some((at, self.all.get(at)?));
        }
        if let [only] = &*self.all {
            return Some((0, only));
        }
        let (now, count) = (clock::monotonic(), self.all.len());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let all = (0..count).map(|offset| (turn.wrapping_add(offset)) % count).filter(|at| tried & (1 << at) == 0);
        let load = |at: &usize| {
            let replica = &self.all[*at];
            let (in_flight, waiting) = replica.gate.load();
            (replica.breaker.refuses(|| now).is_some(), in_flight + waiting)
        };
        all.min_by_key(load).map(|at| (at, &self.all[at]))
    }

    /// The endpoint a session belongs to, whose mark is taken off the session's id.
    fn unmark(&self, request: &mut Box<Request<Full<Bytes>>>) -> Result<Option<usize>, UpstreamError> {
        if self.all.len() == 1 {
            return Ok(None);
        }
        let Some(id) = request.headers().get(&MCP_SESSION_ID) else { return Ok(None) };
        let (mark, own) =
            id.to_str().ok().and_then(|id| id.split_once(SEPARATOR)).ok_or(UpstreamError::NoSuchSession)?;
        let at = self.all.iter().position(|replica| *replica.mark == *mark).ok_or(UpstreamError::NoSuchSession)?;
        let own = HeaderValue::from_str(own).map_err(|_| UpstreamError::NoSuchSession)?;
        request.headers_mut().insert(MCP_SESSION_ID, own);
        Ok(Some(at))
    }

    /// The answer, with the id of the session it may open marked.
    fn marked(&self, replica: &Replica, mut answer: Answer) -> Answer {
        if self.all.len() > 1
            && let Some(id) = answer.headers.get_mut(&MCP_SESSION_ID)
        {
            let marked = [replica.mark.as_bytes(), &[SEPARATOR as u8], id.as_bytes()].concat();
            if let Ok(marked) = HeaderValue::from_maybe_shared(Bytes::from(marked)) {
                *id = marked;
            }
        }
        answer
    }
}

impl Replica {
    async fn send(
        &self,
        pool: &Pool,
        request: Box<Request<Full<Bytes>>>,
        passenger: &Passenger,
    ) -> Result<Answer, Failed> {
        let place = match self.enter(passenger).await {
            Ok(place) => place,
            // Another endpoint would not be asked for such a caller either.
            Err(error @ UpstreamError::Caller(_)) => return Err(error.into()),
            Err(refused) => return Err(Failed::untried(refused, request)),
        };
        let mut answer = self.pass_on(pool, &self.upstream, request).await?;
        answer.body.hold(place);
        Ok(answer)
    }

    async fn enter(&self, passenger: &Passenger) -> Result<Place, UpstreamError> {
        // Whoever waits for room at an endpoint that is left alone waits in vain.
        if let Some(refused) = self.breaker.refuses(clock::monotonic) {
            return Err(refused.into());
        }
        let place = self.gate.enter(passenger.room, passenger.caller.as_deref()).await?;
        if place.has_waited {
            passenger.check(true)?;
        }
        Ok(place)
    }

    async fn pass_on(
        &self,
        pool: &Pool,
        upstream: &Arc<Upstream>,
        request: Box<Request<Full<Bytes>>>,
    ) -> Result<Answer, Failed> {
        let pass = match self.breaker.pass(clock::monotonic) {
            Ok(pass) => pass,
            Err(refused) => return Err(Failed::untried(refused.into(), request)),
        };
        if pass.is_trial()
            && let Err(error) = Box::pin(self.upstream.reach()).await
        {
            pass.failed(clock::monotonic());
            return Err(Failed::untried(error, request));
        }
        match pool.try_send(upstream, request).await {
            Ok(answer) => {
                match answer.status {
                    // What stands in front of a server that is away says so with one of these.
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                        pass.failed(clock::monotonic());
                    }
                    _ => pass.succeeded(),
                }
                Ok(answer)
            }
            Err(failed) => {
                if failed.error.is_outage() {
                    pass.failed(clock::monotonic());
                }
                Err(failed)
            }
        }
    }
}
