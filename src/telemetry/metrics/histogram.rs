//! A histogram of durations, recorded without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds in milliseconds, as the MCP and HTTP conventions of OpenTelemetry advise.
const BOUNDS_MS: [u32; 14] = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000];

/// Durations by upper bound. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Histogram(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    /// One count for each bound, and a last one for durations above all of them.
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// Adds one duration.
    pub fn observe(&self, elapsed: Duration) {
        let above = BOUNDS_MS.iter().take_while(|bound| elapsed > Duration::from_millis(u64::from(**bound))).count();
        self.0.counts[above].fetch_add(1, Relaxed);
        self.0.nanos.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    #[expect(clippy::cast_precision_loss, reason = "a sum of seconds needs no more than 53 bits")]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let bounds = BOUNDS_MS.iter().map(|bound| f64::from(*bound) / 1000.0).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.0.counts.iter().map(|count| count.load(Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.nanos.load(Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
