//! All definitions an upstream lists, for the command line: in the newer era, else in a short session of its own.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::catalog::{Asking, CatalogError};
use super::listing::{Page, page, whole_or_streamed};
use super::outbound::{ending, opening};
use super::{Backend, Credential, Pool};
use crate::mcp::headers::SESSION_ID;
use crate::mcp::{Era, Revision};

/// The most pages.
const PAGES: usize = 200;

/// What an upstream lists, and how it was asked.
pub(crate) struct Survey {
    /// The items of `tools/list` from all pages, byte for byte.
    pub(crate) tools: Vec<Bytes>,
    /// The revision it speaks.
    pub(crate) revision: Revision,
    /// Whether it opened a session for it.
    pub(crate) in_session: bool,
}

/// Asks for all tools. Errs if the list cannot be fetched.
pub(crate) async fn survey(backend: &Backend, credential: &Credential) -> Result<Survey, CatalogError> {
    let pool = Pool::new();
    let newer = Asking { era: Era::Modern, session: None, holder: None };
    let failed = match all(&pool, backend, credential, &newer, Revision::V2026_07_28).await {
        Ok(tools) => return Ok(Survey { tools, revision: Revision::V2026_07_28, in_session: false }),
        // An upstream that could not be reached is not tried again.
        Err(CatalogError::Upstream(error)) => return Err(CatalogError::Upstream(error)),
        Err(failed) => failed,
    };
    let Ok((session, revision)) = open(&pool, backend, credential).await else { return Err(failed) };
    let older = Asking { era: Era::Legacy, session, holder: None };
    let items = all(&pool, backend, credential, &older, revision).await;
    if let Some(session) = &older.session {
        // Ends the proxy's own session; the upstream may refuse that.
        let _ = backend.send(&pool, ending(credential, session, revision)).await;
    }
    Ok(Survey { tools: items?, revision, in_session: older.session.is_some() })
}

async fn all(
    pool: &Pool,
    backend: &Backend,
    credential: &Credential,
    asking: &Asking,
    revision: Revision,
) -> Result<Vec<Bytes>, CatalogError> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let Page::Result(message) = page(pool, backend, credential, asking, revision, cursor.as_deref()).await? else {
            return Ok(items);
        };
        let result = message.result().ok_or(CatalogError::Unusable("no result"))?;
        let tools = result.get("tools").ok_or(CatalogError::Unusable("it has no list of tools"))?;
        items.extend(tools.items().map(|item| item.raw_bytes()));
        match result.get("nextCursor").and_then(|cursor| cursor.as_str()) {
            Some(next) => cursor = Some(next.into_owned()),
            None => return Ok(items),
        }
    }
    Err(CatalogError::Unusable("it has too many pages"))
}

/// Sends `initialize` and `notifications/initialized` (2025-11-25, "Lifecycle"). Returns the session id and the negotiated
/// revision; errs if the upstream does not agree.
async fn open(
    pool: &Pool,
    backend: &Backend,
    credential: &Credential,
) -> Result<(Option<Box<str>>, Revision), CatalogError> {
    let (first, second) = opening(credential);
    let (request, id) = first;
    let answer = backend.send(pool, request).await.map_err(Arc::new)?;
    if !answer.status.is_success() {
        return Err(CatalogError::Status { status: answer.status.as_u16() });
    }
    let session = answer.fields.get(&SESSION_ID).and_then(|id| id.to_str().ok()).map(Box::from);
    let media = answer.fields.get(&CONTENT_TYPE).cloned();
    let message = whole_or_streamed(media.as_ref(), answer.body, &id, Revision::V2025_11_25).await?;
    let version = message.result().and_then(|result| Revision::parse(&result.get("protocolVersion")?.as_str()?));
    let revision = version.filter(|revision| revision.era() == Era::Legacy);
    let revision = revision.ok_or(CatalogError::Unusable("it speaks no revision known here"))?;
    let told = backend.send(pool, second(session.as_deref(), revision)).await.map_err(Arc::new)?;
    drop(told);
    Ok((session, revision))
}
