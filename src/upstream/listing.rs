//! One page of an upstream's `tools/list`, as JSON or as an event stream.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt as _;

use super::catalog::{Asking, CatalogError};
use super::outbound::listing;
use super::{AnswerBody, Backend, Credential, Pool};
use crate::mcp::sse::Splitter;
use crate::mcp::{Inbound, Revision, RpcId, admit_streamed};

/// The most bytes of one page.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// JSON-RPC 2.0, section 5.1: the server has no such method, and so no tools.
const METHOD_NOT_FOUND: i64 = -32601;

/// The outcome of requesting a page.
pub(super) enum Page {
    /// A server without tools.
    NoTools,
    /// A message with a result.
    Result(Inbound),
}

/// Requests the page at `cursor`; the first without one. Errs if there is no usable answer.
pub(super) async fn page(
    pool: &Pool,
    backend: &Backend,
    credential: &Credential,
    asking: &Asking,
    revision: Revision,
    cursor: Option<&str>,
) -> Result<Page, CatalogError> {
    let (request, id) = listing(credential, asking.session.as_deref(), revision, cursor);
    let answer = backend.send(pool, request).await.map_err(Arc::new)?;
    if !answer.status.is_success() {
        return Err(CatalogError::Status { status: answer.status.as_u16() });
    }
    let media = answer.fields.get(&http::header::CONTENT_TYPE).cloned();
    let message = whole_or_streamed(media.as_ref(), answer.body, &id, revision).await?;
    match message.error() {
        None => Ok(Page::Result(message)),
        Some(error) if error.get("code").and_then(|code| code.as_i64()) == Some(METHOD_NOT_FOUND) => Ok(Page::NoTools),
        Some(_) => Err(CatalogError::Unusable("it is an error")),
    }
}

/// Reads the response to request `id`, from JSON or an event stream. Errs if the body is neither or has no such response.
pub(crate) async fn whole_or_streamed(
    media: Option<&HeaderValue>,
    body: AnswerBody,
    id: &RpcId,
    revision: Revision,
) -> Result<Inbound, CatalogError> {
    match media.map(|media| media.as_bytes().to_ascii_lowercase()) {
        Some(media) if media.starts_with(b"text/event-stream") => streamed(body, id, revision).await,
        Some(media) if media.starts_with(b"application/json") => whole(body, id, revision).await,
        _ => Err(CatalogError::Unusable("it is neither JSON nor an event stream")),
    }
}

async fn whole(body: AnswerBody, id: &RpcId, revision: Revision) -> Result<Inbound, CatalogError> {
    let bytes = body.collect_limited(MOST_BYTES).await.map_err(Arc::new)?;
    admit_streamed(bytes, Some(id), revision).map_err(|_| CatalogError::Unusable("it is not one JSON-RPC answer"))
}

/// Reads the response from an event stream, and drops its other messages, which are meant for clients. Errs if there is none.
async fn streamed(mut body: AnswerBody, id: &RpcId, revision: Revision) -> Result<Inbound, CatalogError> {
    let mut splitter = Splitter::new(MOST_BYTES);
    let mut read = 0;
    loop {
        while let Some(event) = splitter.next_event() {
            let event = event.map_err(|_| CatalogError::Unusable("it is not an event stream"))?;
            let data: Bytes = event.data.unwrap_or_default();
            if let Ok(inbound @ Inbound::Response { .. }) = admit_streamed(data, Some(id), revision) {
                body.release();
                return Ok(inbound);
            }
        }
        let frame = body.frame().await.ok_or(CatalogError::Unusable("the stream ended without an answer"))?;
        if let Ok(data) = frame.map_err(Arc::new)?.into_data() {
            read += data.len();
            if read > MOST_BYTES {
                return Err(CatalogError::Unusable("it is too large"));
            }
            splitter.feed(data);
        }
    }
}
