//! Sends one call: the request is written for its credential, sent, and repeated with another credential where that is safe.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;

use super::credentials::{Calling, Shown};
use super::grant::Granted;
use super::http::within;
use super::{Answer, Outbound, UpstreamError};
use crate::bridge;
use crate::proxy::Worker;
use crate::route::Route;

/// Sends `outbound`, and waits for the answer no longer than `limit`.
///
/// The upstream may say that it does not take the token it is shown. Then the token is forgotten, and a request that changes
/// nothing is sent again with another: one that might change something is not, whatever the first answer was.
pub(crate) async fn send(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    shown: &Shown<'_>,
    (tool, calling): (Option<&str>, Calling<'_>),
    outbound: Outbound,
    limit: Option<Duration>,
) -> Result<Answer, UpstreamError> {
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

/// Forgets what the upstream does not take, and sends `again` with another one, if there is any.
async fn refused(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    granted: &Granted,
    (tool, calling): (Option<&str>, Calling<'_>),
    again: Option<Outbound>,
    (first, limit): (Answer, Option<Duration>),
) -> Result<Answer, UpstreamError> {
    if !granted.refused().await {
        return Ok(first);
    }
    let Some(again) = again else { return Ok(first) };
    // The first answer is as good as any that says that there is no token.
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
) -> Result<Answer, UpstreamError> {
    // Its credential may have been waited for.
    outbound.check()?;
    let sending = pin!(bridge::send(worker, route, shown.credential(), outbound));
    match limit {
        None => sending.await,
        Some(limit) => Box::pin(within(limit, sending)).await,
    }
}
