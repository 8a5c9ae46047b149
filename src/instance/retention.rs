//! Deletes audit files whose time is over, away from who answers calls.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::Audit;
use crate::clock::Timestamp;

const PAUSE: Duration = Duration::from_mins(1);

/// Does so at the start and once a minute; never returns.
pub(super) async fn keep(audit: &Arc<Audit>) {
    if !audit.sweeps() {
        std::future::pending::<()>().await;
    }
    let mut failing = false;
    loop {
        let audit = Arc::clone(audit);
        let swept = tokio::task::spawn_blocking(move || audit.sweep(Timestamp::now())).await;
        let error = swept.map_or_else(|error| Some(error.into()), Result::err);
        if let Some(error) = error.as_ref().filter(|_| !failing) {
            let error: &std::io::Error = error;
            tracing::error!(%error, "audit files whose time is over cannot be deleted");
        }
        failing = error.is_some();
        tokio::time::sleep(PAUSE).await;
    }
}
