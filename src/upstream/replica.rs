//! One endpoint of an upstream with its load and health, and how one of several is chosen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::sleep;

use super::breaker::{Breaker, Phase};
use super::gate::{Gate, Place};
use super::outbound::Passenger;
use super::pool::{Failed, Sent};
use super::request::Request;
use super::{Answer, BuildError, Outbound, Pool, Upstream, UpstreamError};
use crate::clock;
use crate::config;

const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Separates the endpoint's mark from the upstream's session id.
const SEPARATOR: char = '~';
/// Delay before the only endpoint is tried again.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The interchangeable endpoints of one upstream.
#[derive(Debug)]
pub(super) struct Replicas {
    all: Box<[Replica]>,
    attempts: u32,
    /// Round-robin start among equally loaded endpoints.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Replica {
    breaker: Breaker,
    gate: Arc<Gate>,
    /// The prefix of session ids of this endpoint, independent of its position in the list.
    mark: Box<str>,
    upstream: Arc<Upstream>,
}

/// An endpoint's state in metrics.
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

    /// Sends to the endpoint that has the session, or to the least loaded one.
    ///
    /// A request of which nothing was sent is tried on another endpoint: always if sending was not attempted, and otherwise
    /// if the request is idempotent. Errs if no attempt gets an answer, or the session's endpoint is not configured.
    pub(super) async fn send(&self, pool: &Pool, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
        let (mut request, passenger) = outbound.into_parts();
        let (at, answer) = self.ask(pool, &mut request, &passenger).await?;
        Ok(match self.all.get(at) {
            Some(replica) => self.marked(replica, answer),
            None => answer,
        })
    }

    /// Like [`Self::send`]; returns the index of the endpoint that answered too.
    pub(super) async fn ask(
        &self,
        pool: &Pool,
        request: &mut Request,
        passenger: &Passenger,
    ) -> Result<(usize, Box<Answer>), UpstreamError> {
        let bound = self.unmark(request)?;
        let (mut tried, mut attempts) = (0_u64, self.attempts);
        loop {
            let (at, replica) = self.choose(bound, tried).ok_or(UpstreamError::NoSuchSession)?;
            let failed = match replica.send(pool, request, passenger).await {
                Ok(answer) => return Ok((at, answer)),
                Err(failed) => failed,
            };
            tried |= 1 << at;
            let has_other = bound.is_none() && self.all.len() > tried.count_ones() as usize;
            let Failed { error, sent } = failed;
            match sent {
                Sent::Untried if has_other => {}
                Sent::Perhaps | Sent::Untried => return Err(error),
                Sent::Nothing => {
                    if attempts == 0 || !passenger.may_repeat || !error.is_unreachable() {
                        return Err(error);
                    }
                    attempts -= 1;
                    if !has_other {
                        Box::pin(sleep(BACK_OFF)).await;
                        tried = 0;
                    }
                }
            }
        }
    }

    /// The endpoint at an index.
    pub(super) fn upstream(&self, at: usize) -> Option<&Arc<Upstream>> {
        self.all.get(at).map(|replica| &replica.upstream)
    }

    /// Takes a slot at the endpoint at an index. Errs if there is none, or no such endpoint.
    pub(super) async fn enter(&self, at: usize, passenger: &Passenger) -> Result<Place, UpstreamError> {
        let replica = self.all.get(at).ok_or(UpstreamError::NoSuchSession)?;
        replica.enter(passenger).await
    }

    /// Sends to another address of the endpoint at an index, with a slot already taken.
    pub(super) async fn send_to(
        &self,
        at: usize,
        address: &Arc<Upstream>,
        pool: &Pool,
        request: &Request,
    ) -> Result<Box<Answer>, UpstreamError> {
        let replica = self.all.get(at).ok_or(UpstreamError::NoSuchSession)?;
        replica.pass_on(pool, address, request).await.map_err(|failed| failed.error)
    }

    /// Chooses the endpoint: the one of the session, or the least loaded one not in the bit set `tried`, if possible one whose
    /// breaker is closed.
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

    /// The endpoint of the request's session; strips its mark from the session id. Errs if no endpoint has that mark.
    fn unmark(&self, request: &mut Request) -> Result<Option<usize>, UpstreamError> {
        if self.all.len() == 1 {
            return Ok(None);
        }
        let Some(id) = &mut request.head.session else { return Ok(None) };
        let (mark, own) =
            id.to_str().ok().and_then(|id| id.split_once(SEPARATOR)).ok_or(UpstreamError::NoSuchSession)?;
        let at = self.all.iter().position(|replica| *replica.mark == *mark).ok_or(UpstreamError::NoSuchSession)?;
        *id = HeaderValue::from_str(own).map_err(|_| UpstreamError::NoSuchSession)?;
        Ok(Some(at))
    }

    /// Adds the endpoint's mark to the session id of an answer that opens a session.
    fn marked(&self, replica: &Replica, mut answer: Box<Answer>) -> Box<Answer> {
        if self.all.len() > 1
            && let Some(id) = answer.fields.get_mut(&MCP_SESSION_ID)
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
    async fn send(&self, pool: &Pool, request: &Request, passenger: &Passenger) -> Result<Box<Answer>, Failed> {
        let place = match self.enter(passenger).await {
            Ok(place) => place,
            // The caller would be refused at any other endpoint too.
            Err(error @ UpstreamError::Caller(_)) => return Err(error.into()),
            Err(refused) => return Err(Failed::untried(refused)),
        };
        let mut answer = self.pass_on(pool, &self.upstream, request).await?;
        answer.body.hold(place);
        Ok(answer)
    }

    async fn enter(&self, passenger: &Passenger) -> Result<Place, UpstreamError> {
        // Waiting for a slot would be in vain while the breaker is open.
        if let Some(refused) = self.breaker.refuses(clock::monotonic) {
            return Err(refused.into());
        }
        let place = self.gate.enter(passenger.room, passenger.caller.as_deref()).await?;
        if place.has_waited {
            passenger.check(true)?;
        }
        Ok(place)
    }

    async fn pass_on(&self, pool: &Pool, upstream: &Arc<Upstream>, request: &Request) -> Result<Box<Answer>, Failed> {
        let pass = match self.breaker.pass(clock::monotonic) {
            Ok(pass) => pass,
            Err(refused) => return Err(Failed::untried(refused.into())),
        };
        if pass.is_trial()
            && let Err(error) = Box::pin(self.upstream.reach()).await
        {
            pass.failed(clock::monotonic());
            return Err(Failed::untried(error));
        }
        match pool.send(upstream, request).await {
            Ok(answer) => {
                match answer.status {
                    // A gateway in front of an unavailable server answers with one of these.
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
