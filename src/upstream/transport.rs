//! A server over HTTP, by either of MCP's HTTP transports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::{Method, StatusCode};

use super::replica::Replicas;
use super::sse::Sse;
use super::{Answer, BuildError, Outbound, Pool, UpstreamError};
use crate::config::{self, Transport};
use crate::reply::{Media, media_type};

const UNKNOWN: u8 = 0;
const STREAMABLE: u8 = 1;
const SSE: u8 = 2;

/// The endpoints of one server, and their transport.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) replicas: Arc<Replicas>,
    pub(super) sse: Sse,
    transport: Transport,
    /// The detected transport, if it is to be detected.
    found: AtomicU8,
}

impl Http {
    pub(super) fn new(server: &config::Server, urls: &[url::Url]) -> Result<Self, BuildError> {
        let replicas = Arc::new(Replicas::new(server, urls)?);
        let sse = Sse::new(server, &replicas);
        Ok(Self { replicas, sse, transport: server.transport, found: AtomicU8::new(UNKNOWN) })
    }

    pub(super) async fn send(&self, pool: &Pool, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
        match (self.transport, self.found.load(Ordering::Relaxed)) {
            (Transport::StreamableHttp, _) => self.replicas.send(pool, outbound).await,
            (Transport::Auto, STREAMABLE) => {
                let opens = outbound.session().is_none();
                let answer = self.replicas.send(pool, outbound).await?;
                if opens && is_elsewhere(&answer) {
                    self.found.store(UNKNOWN, Ordering::Relaxed);
                }
                Ok(answer)
            }
            (Transport::Sse, _) | (Transport::Auto, SSE) => Box::pin(self.older(pool, outbound)).await,
            (Transport::Auto, _) => Box::pin(self.find(pool, outbound)).await,
        }
    }

    /// The name of the transport that is set or was detected last.
    pub(super) fn transport(&self) -> &'static str {
        match (self.transport, self.found.load(Ordering::Relaxed)) {
            (Transport::Sse, _) | (Transport::Auto, SSE) => "HTTP+SSE",
            _ => "Streamable HTTP",
        }
    }

    /// Ends sessions that have been idle too long.
    pub(super) fn tidy(&self) {
        self.sse.tidy();
    }

    async fn older(&self, pool: &Pool, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
        match self.sse.send(pool, outbound).await? {
            Some(answer) => Ok(answer),
            None if self.transport == Transport::Sse => Err(UpstreamError::NoStream),
            None => {
                // The server has changed: the next `initialize` detects the transport again.
                self.found.store(UNKNOWN, Ordering::Relaxed);
                Err(UpstreamError::NoStream)
            }
        }
    }

    /// Detects the transport: sends a POST as for Streamable HTTP; if that fails for `initialize`, opens the stream of
    /// 2024-11-05 (2025-03-26 and later, "Backwards Compatibility"). Errs if there is no answer.
    async fn find(&self, pool: &Pool, outbound: Outbound) -> Result<Box<Answer>, UpstreamError> {
        let (is_post, in_session) = (*outbound.verb() == Method::POST, outbound.session().is_some());
        let twin = outbound.twin();
        let answer = self.replicas.send(pool, outbound).await?;
        if is_post && in_session && answer.status == StatusCode::METHOD_NOT_ALLOWED {
            // A server of 2024-11-05: the session's stream is no longer here, or was another proxy's.
            return Ok(Answer::bare(StatusCode::NOT_FOUND));
        }
        if !is_post || in_session {
            return Ok(answer);
        }
        if answer.status.is_success() {
            self.found.store(STREAMABLE, Ordering::Relaxed);
            return Ok(answer);
        }
        if !is_elsewhere(&answer) || !twin.says_hello() {
            return Ok(answer);
        }
        match self.sse.send(pool, twin).await {
            Ok(Some(found)) => {
                self.found.store(SSE, Ordering::Relaxed);
                Ok(found)
            }
            // Neither transport works: the answer to the POST is as good as any.
            Ok(None) | Err(UpstreamError::Endpoint(_)) => Ok(answer),
            Err(error) => Err(error),
        }
    }
}

/// Whether the answer may be that of a server of 2024-11-05, to which messages are posted at another URL.
fn is_elsewhere(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => true,
        StatusCode::BAD_REQUEST => media_type(&answer.fields) != Media::Json,
        _ => false,
    }
}
