//! Sends one call: the request is written for its credential, sent, and repeated with another credential where that is safe.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::answer::within;
use super::credentials::{Calling, Shown};
use super::grant::Granted;
use super::{Answer, Outbound, UpstreamError};
use crate::bridge;
use crate::proxy::Worker;
use crate::route::Route;

/// Sends `outbound`, and waits for the answer no longer than `limit`. Errs if there is none.
///
/// If the upstream refuses the token, the token is forgotten, and a request that changes nothing upstream is sent again with
/// a new one. A request that may change something is not sent again.
pub(crate) async fn send(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    shown: &Shown<'_>,
    (tool, calling): (Option<&str>, Calling<'_>),
    outbound: Outbound,
    limit: Option<Duration>,
) -> Result<Box<Answer>, UpstreamError> {
    let again = shown.granted.as_ref().and_then(|_| outbound.again());
    let answer = once(worker, route, shown, outbound, limit).await?;
    match &shown.granted {
        Some(granted) if answer.status == StatusCode::UNAUTHORIZED => {
            Box::pin(refused(worker, route, granted, (tool, calling), again, (answer, limit))).await
        }
        granted => {
            granted.iter().for_each(Granted::taken);
            Ok(answer)
        }
    }
}

/// Forgets the token that the upstream refused, and sends `again`, if there is one, with a new token.
async fn refused(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    granted: &Granted,
    (tool, calling): (Option<&str>, Calling<'_>),
    again: Option<Outbound>,
    (first, limit): (Box<Answer>, Option<Duration>),
) -> Result<Box<Answer>, UpstreamError> {
    if !granted.refused().await {
        return Ok(first);
    }
    let Some(again) = again else { return Ok(first) };
    // Without a new token, the first answer is as good as any.
    let Ok(other) = route.credentials.shown(tool, calling).await else { return Ok(first) };
    let answer = once(worker, route, &other, again.shown(other.credential()), limit).await?;
    if answer.status != StatusCode::UNAUTHORIZED {
        other.granted.iter().for_each(Granted::taken);
    }
    Ok(answer)
}

async fn once(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    shown: &Shown<'_>,
    outbound: Outbound,
    limit: Option<Duration>,
) -> Result<Box<Answer>, UpstreamError> {
    // Obtaining the credential may have taken time.
    outbound.check()?;
    let sending = pin!(bridge::send(worker, route, shown.credential(), outbound));
    match limit {
        None => sending.await,
        Some(limit) => Box::pin(within(limit, sending)).await,
    }
}
