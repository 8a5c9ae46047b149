//! OpenTelemetry traces. A sampled request has a server span, and a client span if the upstream was called.
//!
//! Spans are built when a request ends, like its metrics and log line, and are queued for a background task that sends them. If
//! the queue is full or the collector unavailable, spans are dropped and counted; calls never wait. Spans contain no
//! arguments, results or tokens, and other text from callers and upstreams is sanitised as in the audit log.

mod context;
mod exporter;
mod names;
mod otlp;
mod sampler;
mod span;
mod trace;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use context::{Context, TRACEPARENT};
pub(crate) use trace::Trace;

use super::metrics::Metrics;
use crate::config::Traces;
use crate::json::Value;
use crate::reject::Reject;
use crate::trail::{Ending, Trail};
use exporter::Exporter;
use sampler::Sampler;

/// The largest number of queued spans.
const QUEUE: usize = 4096;
/// The largest number of tool and prompt names per server that may appear in span names.
const NAMES: usize = 200;

/// Starts traces, and queues the spans of ended requests.
#[derive(Debug)]
pub(crate) struct Tracer {
    sampler: Sampler,
    queue: mpsc::Sender<otlp::Span>,
    dropped: Counter,
    known: Mutex<HashMap<Arc<str>, HashSet<Arc<str>>>>,
    ending: CancellationToken,
    ended: CancellationToken,
}

impl Tracer {
    /// Starts the task that sends spans on `background`; `instance` identifies this process. Errs if no HTTP client can be
    /// built.
    pub(crate) fn start(
        config: &Traces,
        instance: &str,
        metrics: &Metrics,
        background: &Handle,
    ) -> Result<Arc<Self>, reqwest::Error> {
        let (queue, received) = mpsc::channel(QUEUE);
        let (ending, ended) = (CancellationToken::new(), CancellationToken::new());
        let exporter = Exporter::new(config, instance, metrics, received, ending.clone())?;
        let done = ended.clone().drop_guard();
        background.spawn(async move {
            exporter.run().await;
            drop(done);
        });
        let sampler = Sampler::new(config.sampling);
        let dropped = metrics.spans("dropped");
        Ok(Arc::new(Self { sampler, queue, dropped, known: Mutex::default(), ending, ended }))
    }

    /// Sends the queued spans and ends the task; returns after `limit` at the latest.
    pub(crate) async fn finish(&self, limit: Duration) {
        self.ending.cancel();
        let _ = tokio::time::timeout(limit, self.ended.cancelled()).await;
    }

    /// The trace context of a new request.
    pub(crate) fn begin(&self, head: &Parts) -> Option<Box<Trace>> {
        Trace::begin(self.sampler, head)
    }

    /// Updates the trace context from the `_meta` of the message.
    pub(crate) fn read(&self, trace: &mut Trace, meta: Option<Value<'_>>) {
        trace.read(self.sampler, meta);
    }

    /// Queues the spans of an ended request, if it is sampled.
    pub(crate) fn end(&self, trail: &Trail, trace: &Trace, ending: &Ending, reject: Option<&Reject>) {
        if !trace.sampled {
            return;
        }
        // Spans of unauthenticated requests must not displace those of authenticated callers.
        if trail.caller.is_none() && self.queue.capacity() < QUEUE / 2 {
            self.dropped.inc();
            return;
        }
        for span in span::drawn(self, trail, trace, ending, reject) {
            if self.queue.try_send(span).is_err() {
                self.dropped.inc();
            }
        }
    }

    /// Whether the name may appear in span names, whose number is limited.
    fn names(&self, server: &Arc<str>, name: &Arc<str>) -> bool {
        let mut servers = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let names = servers.entry(server.clone()).or_default();
        names.contains(name) || names.len() < NAMES && names.insert(name.clone())
    }
}
