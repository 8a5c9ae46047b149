//! Sends spans to the collector, in the background.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::names;
use super::otlp::{Attribute, Request, Resource, ResourceSpans, Response, Scope, ScopeSpans, Span};
use crate::config::Traces;
use crate::telemetry::metrics::Metrics;

/// The largest number of spans in a batch.
const BATCH: usize = 512;
/// How long a batch waits to become full.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a batch is tried while the collector is unavailable, and the first pause between attempts.
const ATTEMPTS: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest part of an answer that is read.
const ANSWER_BYTES: usize = 64 * 1024;

/// The task that sends spans.
#[derive(Debug)]
pub(super) struct Exporter {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    resource: Resource,
    received: mpsc::Receiver<Span>,
    ending: CancellationToken,
    sent: Counter,
    failed: Counter,
    rejected: Counter,
    /// Whether the last batch failed.
    failing: bool,
}

/// Why a batch was not accepted.
enum Failure {
    /// A later attempt may succeed.
    Now(String),
    /// No attempt will succeed.
    Ever(String),
}

impl Exporter {
    pub(super) fn new(
        config: &Traces,
        instance: &str,
        metrics: &Metrics,
        received: mpsc::Receiver<Span>,
        ending: CancellationToken,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(config.timeout)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        if config.endpoint.scheme() == "http" {
            // Works in containers without system certificates.
            builder = builder.tls_certs_only([]);
        }
        let mut headers = config.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let own = [
            (names::SERVICE_NAME, config.service_name.as_str()),
            (names::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            (names::INSTANCE, instance),
        ];
        let own = own.into_iter().filter(|(name, _)| !config.attributes.contains_key(*name));
        let others = config.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let attributes = own.chain(others).map(|(name, value)| Attribute::new(name, value)).collect();
        Ok(Self {
            client: builder.build()?,
            endpoint: config.endpoint.clone(),
            headers,
            resource: Resource { attributes },
            received,
            ending,
            sent: metrics.spans("sent"),
            failed: metrics.spans("failed"),
            rejected: metrics.spans("rejected"),
            failing: false,
        })
    }

    /// Sends batches until all senders are gone or `ending` is cancelled; queued spans are then sent first.
    pub(super) async fn run(mut self) {
        let ending = self.ending.clone();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = fill(&mut self.received, &mut batch) => {}
                () = ending.cancelled() => break,
            }
            if batch.is_empty() {
                return;
            }
            self.send(std::mem::take(&mut batch)).await;
        }
        self.received.close();
        while !batch.is_empty() || self.received.recv_many(&mut batch, BATCH).await > 0 {
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    /// Sends one batch, with retries. If all fail, its spans are dropped.
    async fn send(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let scope = Scope { name: "portcullis".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let spans = ResourceSpans { resource: Some(self.resource.clone()), scope_spans };
        let body = bytes::Bytes::from(Request { resource_spans: vec![spans] }.encode_to_vec());
        let mut attempt = 1;
        let error = loop {
            match self.post(body.clone()).await {
                Ok(rejected) => {
                    self.rejected.inc_by(rejected.min(count));
                    self.sent.inc_by(count.saturating_sub(rejected));
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("traces are sent again");
                    }
                    return;
                }
                Err(Failure::Now(_)) if attempt < ATTEMPTS && !self.ending.is_cancelled() => {
                    let _ = timeout(RETRY_AFTER * attempt, self.ending.cancelled()).await;
                    attempt += 1;
                }
                Err(Failure::Now(error) | Failure::Ever(error)) => break error,
            }
        };
        self.failed.inc_by(count);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error, "traces cannot be sent; logged once until they can");
        }
    }

    /// Posts one batch; returns how many of its spans the collector rejected (OTLP 1.x, "OTLP/HTTP Response").
    async fn post(&self, body: bytes::Bytes) -> Result<u64, Failure> {
        let request = self.client.post(self.endpoint.clone()).headers(self.headers.clone()).body(body);
        let failed = |error: reqwest::Error| Failure::Now(crate::cli::chain(&error.without_url()));
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        if !answer.status().is_success() {
            let error = format!("the collector answers {status}");
            return Err(if matches!(status, 429 | 502 | 503 | 504) {
                Failure::Now(error)
            } else {
                Failure::Ever(error)
            });
        }
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Ok(0);
            }
            body.extend_from_slice(&chunk);
        }
        // The batch was accepted, even if the answer cannot be parsed.
        let partial = Response::decode(&*body).ok().and_then(|response| response.partial_success);
        Ok(partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0)))
    }
}

/// Waits for a span, and then up to [`PAUSE`] for more. If `batch` is empty afterwards, all senders are gone.
async fn fill(received: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
    received.recv_many(batch, BATCH).await;
    let more = async {
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            if received.recv_many(batch, room).await == 0 {
                return;
            }
        }
    };
    let _ = timeout(PAUSE, more).await;
}
