//! Polling for security event tokens (RFC 8936 section 2.4), for receivers that nobody can push to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use url::Url;

use super::{LIMIT_BYTES, Receiver, SetError, Taken};
use crate::auth::issuer::Exchange;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// The most tokens of one response.
const MOST: usize = 32;
/// The shortest pause after a failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A running poller; it stops when dropped.
#[derive(Debug)]
pub(in crate::auth) struct Poller(tokio::task::AbortHandle);

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Poller {
    /// Polls `endpoint` every `interval`, and again immediately after new tokens.
    pub(in crate::auth) fn start(
        receiver: Arc<Receiver>,
        exchange: Exchange,
        endpoint: Url,
        token: Option<Secret<String>>,
        interval: Duration,
        runtime: &Handle,
    ) -> Self {
        let task = runtime.spawn(async move {
            let (mut state, mut failures) = (Answered::default(), 0_u32);
            loop {
                let pause = match ask(&receiver, &exchange, &endpoint, token.as_ref(), &mut state).await {
                    Ok(next) => {
                        failures = 0;
                        next.pause(interval)
                    }
                    Err(reason) => {
                        tracing::warn!(issuer = %receiver.name, reason, "event tokens not fetched");
                        failures = failures.saturating_add(1);
                        (FIRST_RETRY * (1 << failures.min(10))).min(interval.max(FIRST_RETRY))
                    }
                };
                tokio::time::sleep(pause).await;
            }
        });
        Self(task.abort_handle())
    }
}

/// The tokens to acknowledge or refuse in the next request.
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

/// When to poll again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Immediately: there were new tokens, and there may be more.
    AtOnce,
    /// After a pause: there are tokens to acknowledge, but none were new. This slows down a transmitter that repeats itself.
    Soon,
    /// After the interval: there were no tokens.
    Later,
}

impl Next {
    /// After a response with that many `tokens`, of which `new` are new, and whether there are `more`.
    const fn after(tokens: usize, new: usize, more: bool) -> Self {
        match (tokens, new) {
            (0, _) if !more => Self::Later,
            (_, 0) => Self::Soon,
            _ => Self::AtOnce,
        }
    }

    fn pause(self, interval: Duration) -> Duration {
        match self {
            Self::AtOnce => Duration::ZERO,
            Self::Soon => interval.min(FIRST_RETRY),
            Self::Later => interval,
        }
    }
}

/// Sends one request; returns when the next is due. Errs with a fixed phrase.
async fn ask(
    receiver: &Receiver,
    exchange: &Exchange,
    endpoint: &Url,
    token: Option<&Secret<String>>,
    answered: &mut Answered,
) -> Result<Next, &'static str> {
    let body = json!({
        "maxEvents": MOST, "returnImmediately": true, "ack": answered.taken, "setErrs": answered.refused,
    });
    let body = Bytes::from(body.to_string());
    let answer = exchange.post_json(endpoint, token, body, MOST * LIMIT_BYTES).await?;
    *answered = Answered::default();
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| "the answer is not of RFC 8936")?;
    let (tokens, mut new) = (answer.sets.len(), 0);
    for (jti, set) in answer.sets.into_iter().take(MOST) {
        match receiver.take(set.as_bytes(), Timestamp::now()).await {
            Ok(outcome) => {
                new += usize::from(outcome != Taken::Again);
                answered.taken.push(jti);
            }
            // Not acknowledged, so that it is sent again.
            Err(SetError::Unavailable(_)) => {}
            Err(error) => {
                tracing::warn!(issuer = %receiver.name, %error, "event token refused");
                answered.refused.insert(jti, json!({"err": error.code(), "description": error.to_string()}));
            }
        }
    }
    Ok(Next::after(tokens, new, answer.more))
}

#[cfg(test)]
mod tests {
    use super::{FIRST_RETRY, Next};

    /// Whatever a transmitter repeats, refuses to take back or promises, it is asked at once only for what is new.
    #[test]
    fn is_asked_at_once_for_what_is_new_only() {
        for ((tokens, new, more), expected) in [
            ((0, 0, false), Next::Later),
            ((0, 0, true), Next::Soon),
            ((3, 0, false), Next::Soon),
            ((3, 0, true), Next::Soon),
            ((3, 1, false), Next::AtOnce),
            ((3, 3, true), Next::AtOnce),
        ] {
            assert_eq!(Next::after(tokens, new, more), expected, "{tokens} {new} {more}");
        }
        for interval in [FIRST_RETRY / 2, FIRST_RETRY * 30] {
            assert!(Next::AtOnce.pause(interval).is_zero());
            assert_eq!(Next::Soon.pause(interval), interval.min(FIRST_RETRY));
            assert_eq!(Next::Later.pause(interval), interval);
        }
    }
}
