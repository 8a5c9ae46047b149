//! Prints the demo's decisions as they are made, one line for each, from the audit log.

use std::io::Write;
use std::time::Duration;

use super::banner::Addresses;
use crate::audit::follow::Follow;
use crate::audit::summary::Summary;

/// How often the log is read.
const PAUSE: Duration = Duration::from_millis(100);

/// Prints what the audit logs of the demo gain from now on; never returns.
pub async fn decisions(addresses: &Addresses, mut out: impl Write) {
    let mut logs = ["audit.jsonl", "audit-tls.jsonl"].map(|name| Follow::from_end(&addresses.directory.join(name)));
    loop {
        tokio::time::sleep(PAUSE).await;
        for log in &mut logs {
            let _ = log.lines(&mut |line| {
                let record = serde_json::from_slice(line).ok();
                if let Some(summary) = record.and_then(|record| Summary::of_decision(&record)) {
                    let _ = writeln!(out, "{summary}");
                }
            });
        }
    }
}
