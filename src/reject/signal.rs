use std::sync::Arc;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::auth::signals::{SetError, Taken};
use crate::body::Body;
use crate::json::quoted;

/// The answer to a pushed event token (RFC 8935 sections 2.3 and 2.4): nothing says whether its subject is known.
pub fn signal(issuer: &Arc<str>, taken: Result<Taken, SetError>) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    match taken {
        Ok(taken) => {
            tracing::debug!(issuer = %issuer, result = taken.result(), "event token taken");
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        Err(SetError::Unavailable(pause)) => {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
        }
        Err(error) => {
            tracing::warn!(issuer = %issuer, %error, "event token refused");
            let body = format!(r#"{{"err":"{}","description":{}}}"#, error.code(), quoted(&error.to_string()));
            response = Response::new(Body::full(body));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
    }
    response
}
