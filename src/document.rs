//! Public documents under `/.well-known/` (RFC 8615), and that there is none.

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response};

use crate::body::Body;
use crate::cors;
use crate::reject::Reject;

/// Where public documents are; clients look here for those of others too.
pub(crate) const PLACE: &str = "/.well-known/";

/// Serves a document: public, for any origin, no credentials (RFC 9728 section 3). A page that asks first whether it may ask
/// is told so even where there is no document, or it would never learn that.
pub(crate) fn serve(head: &Parts, document: Option<&Bytes>) -> Result<Response<Body>, Reject> {
    let mut response = match (&head.method, document) {
        (&Method::OPTIONS, _) => cors::preflight(&head.headers),
        (_, None) => return Err(Reject::NoDocument),
        (&Method::GET | &Method::HEAD, Some(document)) => {
            let mut response = Response::new(Body::full(document.clone()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
            response
        }
        _ => return Err(Reject::Method { allow: "GET, HEAD, OPTIONS" }),
    };
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}
