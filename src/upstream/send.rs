//! One call: the request is written for its credential, sent, and once more with another one where that is safe.

use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;

use super::credentials::{Calling, Shown};
use super::http::within;
use super::{Answer, GrantError, Outbound, UpstreamError};
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
    let Some(granted) = &shown.granted else { return once(worker, route, shown, outbound, limit).await };
    let again = outbound.again();
    let answer = once(worker, route, shown, outbound, limit).await?;
    if answer.status != StatusCode::UNAUTHORIZED {
        granted.taken();
        return Ok(answer);
    }
    if !Box::pin(granted.refused()).await {
        return Ok(answer);
    }
    let Some(again) = again else { return Ok(answer) };
    let other: Result<Shown<'_>, GrantError> = Box::pin(route.credentials.shown(tool, calling)).await;
    // The first answer is as good as any that says that there is no token.
    let Ok(other) = other else { return Ok(answer) };
    let answer = once(worker, route, &other, again.shown(other.credential()), limit).await?;
    if let Some(granted) = &other.granted
        && answer.status != StatusCode::UNAUTHORIZED
    {
        granted.taken();
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
    let sending = bridge::send(worker, route, shown.credential(), outbound);
    match limit {
        None => sending.await,
        Some(limit) => within(limit, sending).await,
    }
}
