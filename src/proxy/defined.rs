//! What is known of a called tool before the call is decided, or sent.

use std::sync::Arc;

use super::Worker;
use crate::mcp::Era;
use crate::opened::Opened;
use crate::policy::tools::{Refused, Tool};
use crate::reject::Reject;
use crate::route::Route;
use crate::upstream::{Asking, Calling, CatalogError, Offer, Standing};
use crate::{bridge, policy};

/// The definition of the called tool, as far as it is known.
pub(super) enum Defined {
    /// As the upstream lists it.
    As(Arc<Tool>),
    /// The upstream does not list it, or need not be asked: no annotation is trusted.
    Unknown,
    /// Not a tool call, or one that no definition could allow: the approved definition counts.
    Unasked,
}

impl Defined {
    pub(super) fn tool(&self) -> Option<&Tool> {
        match self {
            Self::As(tool) => Some(tool),
            Self::Unasked | Self::Unknown => None,
        }
    }

    pub(super) fn into_tool(self) -> Option<Arc<Tool>> {
        match self {
            Self::As(tool) => Some(tool),
            Self::Unasked | Self::Unknown => None,
        }
    }

    pub(super) fn definition(&self) -> Option<policy::Definition<'_>> {
        match self {
            Self::As(_) | Self::Unknown => Some(policy::Definition::of(self.tool())),
            Self::Unasked => None,
        }
    }
}

/// Fetches the definition of the called tool from the upstream, for calls that may be allowed.
pub(super) async fn defined(
    worker: &Arc<Worker>,
    route: &Arc<Route>,
    opened: &Opened,
    context: &policy::Context<'_>,
    (calling, standing): (Calling<'_>, &Standing),
) -> Result<Defined, Reject> {
    let Some((message, tool)) = opened.tool_call() else { return Ok(Defined::Unasked) };
    if !(message.era() == Era::Modern || route.tools.minds()) {
        return Ok(Defined::Unknown);
    }
    if route.policy.minds_definitions() && !route.policy.could_call(&opened.caller, tool, context) {
        return Ok(Defined::Unasked);
    }
    let session = opened.session.as_ref().and_then(|session| session.upstream_id.clone());
    let shown = route.credentials.shown(None, calling).await?;
    // It may have been waited for.
    standing.check(calling.caller, false)?;
    let asking = Asking { era: message.era(), session, holder: shown.holder() };
    let (asking, revision) =
        bridge::asking(worker, route, shown.credential(), opened, (asking, message.revision())).await;
    let from = (&**route, shown.credential());
    let mut offer = route.catalog.offer(&worker.pool, from, &asking, revision, tool).await;
    if let Err(CatalogError::Status { status }) = offer {
        let refused = (&asking, Some(status));
        let again = bridge::asking_in_session(worker, route, shown.credential(), opened, refused).await;
        if let Some((asking, revision)) = again {
            offer = Box::pin(route.catalog.offer(&worker.pool, from, &asking, revision, tool)).await;
        }
    }
    match offer {
        Ok(Offer::Tool(tool)) => Ok(Defined::As(tool)),
        Ok(Offer::Ambiguous) if route.tools.insists() => Err(Refused::Definition.into()),
        // The proxy answers only for what policy hides: the upstream's own answer comes back.
        Ok(Offer::Ambiguous | Offer::Unlisted) => Ok(route.tools.unlisted().map(|()| Defined::Unknown)?),
        // Headers are passed on as an intermediary passes those it does not recognise (2026-07-28, "Intermediaries").
        Err(_) if !route.tools.insists() => Ok(Defined::Unknown),
        Err(error) => Err(error.into()),
    }
}
