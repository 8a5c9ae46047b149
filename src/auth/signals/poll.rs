//! Asking for event tokens (RFC 8936 section 2.4), for those whom nobody can push to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use url::Url;

use super::{LIMIT_BYTES, Receiver, SetError};
use crate::auth::issuer::Exchange;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// Most tokens of one answer.
const MOST: usize = 32;
/// After a failure, at least.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A running poll; it ends when dropped.
#[derive(Debug)]
pub(in crate::auth) struct Poller(tokio::task::AbortHandle);

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Poller {
    /// Asks `endpoint` every `interval`, and again at once while there is more.
    pub(in crate::auth) fn start(
        receiver: Arc<Receiver>,
        exchange: Exchange,
        endpoint: Url,
        token: Option<Secret<String>>,
        interval: Duration,
        runtime: &Handle,
    ) -> Self {
        let task = runtime.spawn(async move {
            let mut state = Answered::default();
            let mut failures = 0_u32;
            loop {
                let pause = match ask(&receiver, &exchange, &endpoint, token.as_ref(), &mut state).await {
                    Ok(true) => Duration::ZERO,
                    Ok(false) => interval,
                    Err(reason) => {
                        tracing::warn!(issuer = %receiver.name, reason, "event tokens not fetched");
                        failures = failures.saturating_add(1);
                        (FIRST_RETRY * (1 << failures.min(10))).min(interval.max(FIRST_RETRY))
                    }
                };
                if pause <= interval {
                    failures = if pause == interval { 0 } else { failures };
                }
                tokio::time::sleep(pause).await;
            }
        });
        Self(task.abort_handle())
    }
}

/// What the next request tells of the tokens before.
#[derive(Default)]
struct Answered {
    taken: Vec<String>,
    refused: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    sets: BTreeMap<String, String>,
    #[serde(default, rename = "moreAvailable")]
    more: bool,
}

/// One request; says whether there is more.
async fn ask(
    receiver: &Receiver,
    exchange: &Exchange,
    endpoint: &Url,
    token: Option<&Secret<String>>,
    answered: &mut Answered,
) -> Result<bool, &'static str> {
    let body = json!({
        "maxEvents": MOST, "returnImmediately": true, "ack": answered.taken, "setErrs": answered.refused,
    });
    let body = Bytes::from(body.to_string());
    let answer = exchange.post_json(endpoint, token, body, MOST * LIMIT_BYTES).await?;
    *answered = Answered::default();
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| "the answer is not of RFC 8936")?;
    for (jti, set) in answer.sets.into_iter().take(MOST) {
        match receiver.take(set.as_bytes(), Timestamp::now()).await {
            Ok(_) => answered.taken.push(jti),
            // Not acknowledged: it comes again.
            Err(SetError::Unavailable(_)) => {}
            Err(error) => {
                tracing::warn!(issuer = %receiver.name, %error, "event token refused");
                answered.refused.insert(jti, json!({"err": error.code(), "description": error.to_string()}));
            }
        }
    }
    Ok(answer.more || !answered.taken.is_empty() || !answered.refused.is_empty())
}
