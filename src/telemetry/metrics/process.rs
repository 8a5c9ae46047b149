//! Metrics that are read on demand: those of the process, from `/proc`, and requests in progress.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Clock ticks per second in `/proc`, which is the same on all supported systems.
const TICKS: f64 = 100.0;
/// Bytes of a memory page. Another size would only distort `process_resident_memory_bytes`.
const PAGE: u64 = 4096;

/// `process_*` under the names of the Prometheus client libraries; absent without `/proc`.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(stat) = Stat::read() {
            let cpu = ConstCounter::new(stat.cpu_seconds);
            put(&mut encoder, "process_cpu", "User and system CPU time spent", Some(&Unit::Seconds), &cpu)?;
            let resident = gauge(stat.resident_bytes);
            put(&mut encoder, "process_resident_memory", "Resident memory", Some(&Unit::Bytes), &resident)?;
            let virtual_bytes = gauge(stat.virtual_bytes);
            put(&mut encoder, "process_virtual_memory", "Virtual memory", Some(&Unit::Bytes), &virtual_bytes)?;
            if let Some(start) = stat.start_seconds {
                let start = ConstGauge::new(start);
                put(&mut encoder, "process_start_time", "Start since the epoch", Some(&Unit::Seconds), &start)?;
            }
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            put(&mut encoder, "process_open_fds", "Open file descriptors", None, &gauge(entries.count() as u64))?;
        }
        match descriptor_limit() {
            Some(limit) => put(&mut encoder, "process_max_fds", "Most file descriptors", None, &gauge(limit)),
            None => Ok(()),
        }
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, &format!("{help}."), unit, metric.metric_type())?)
}

struct Stat {
    cpu_seconds: f64,
    resident_bytes: u64,
    start_seconds: Option<f64>,
    virtual_bytes: u64,
}

impl Stat {
    #[expect(clippy::cast_precision_loss, reason = "ticks since boot fit in 53 bits")]
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command name may contain anything; the last parenthesis ends it.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<u64> = fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS,
            resident_bytes: field(24)? * PAGE,
            start_seconds: boot_seconds().and_then(|boot| Some(boot as f64 + field(22)? as f64 / TICKS)),
            virtual_bytes: field(23)?,
        })
    }
}

fn boot_seconds() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn descriptor_limit() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `http_server_active_requests`, from the source that counts them.
pub(super) struct Active(pub(super) Arc<OnceLock<Box<dyn Fn() -> usize + Send + Sync>>>);

impl Collector for Active {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let count = self.0.get().map_or(0, |count| count());
        put(&mut encoder, "http_server_active_requests", "Requests being handled", None, &gauge(count as u64))
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").finish_non_exhaustive()
    }
}
