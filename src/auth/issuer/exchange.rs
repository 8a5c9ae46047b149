//! Requests to an issuer other than for its keys, under the same rules.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Identity, StatusCode};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::StartError;
use super::reader::{self, Patience};
use crate::secret::Secret;

/// An HTTP client for the endpoints of one issuer, from `proxy.toml` and from its metadata.
#[derive(Clone, Debug)]
pub(in crate::auth) struct Exchange {
    client: Client,
    patience: Patience,
    /// The runtime of its connections, separate from that of calls, since a peer may keep its thread busy.
    runtime: Handle,
}

/// An HTTP response.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Exchange {
    /// A client that may connect to any address for the hosts of `endpoints`, and to public ones for others; `plain` allows
    /// http on loopback. Connections run on `runtime`.
    pub(super) fn new(
        runtime: &Handle,
        plain: bool,
        endpoints: &[&Url],
        ca: Option<&[u8]>,
        identity: Option<Identity>,
        patience: Patience,
    ) -> Result<Self, StartError> {
        for url in endpoints {
            reader::transport(url, plain).map_err(|reason| StartError::Location { url: (*url).clone(), reason })?;
        }
        let hosts = endpoints.iter().filter_map(|url| url.host_str().map(str::to_owned)).collect();
        let plain = endpoints.iter().all(|url| url.scheme() == "http");
        let client = reader::client(hosts, ca, identity, plain, patience)?;
        Ok(Self { client, patience, runtime: runtime.clone() })
    }

    /// Posts a form. Errs with a fixed phrase.
    pub(in crate::auth) async fn post_form(
        &self,
        url: &Url,
        form: String,
        headers: HeaderMap,
        limit: usize,
    ) -> Result<Answer, &'static str> {
        let request = self.client.post(url.clone()).headers(headers);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        self.send(request, limit).await
    }

    /// Posts JSON, with a bearer token if there is one. Errs with a fixed phrase.
    pub(in crate::auth) async fn post_json(
        &self,
        url: &Url,
        token: Option<&Secret<String>>,
        body: Bytes,
        limit: usize,
    ) -> Result<Bytes, &'static str> {
        let mut request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/json");
        request = request.header(ACCEPT, "application/json").body(body);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        Ok(self.send(request, limit).await?.body)
    }

    /// Posts a form, and returns a response of any status, as errors are described in its body (RFC 6749 section 5.2).
    pub(super) async fn post_for_any(
        &self,
        url: &Url,
        form: String,
        headers: HeaderMap,
        limit: usize,
    ) -> Result<(u16, Answer), &'static str> {
        let request = self.client.post(url.clone()).headers(headers);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        self.in_time(async move {
            let response = answered(request).await?;
            Ok((response.status().as_u16(), bounded(response, limit).await?))
        })
        .await
    }

    async fn send(&self, request: reqwest::RequestBuilder, limit: usize) -> Result<Answer, &'static str> {
        self.in_time(async move {
            let response = answered(request).await?;
            match response.status() {
                StatusCode::OK => bounded(response, limit).await,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err("the proxy's own credential is refused"),
                _ => Err("another status than 200"),
            }
        })
        .await
    }

    async fn in_time<T: Send + 'static>(
        &self,
        asked: impl Future<Output = Result<T, &'static str>> + Send + 'static,
    ) -> Result<T, &'static str> {
        elsewhere(&self.runtime, self.patience.fetch, asked).await.unwrap_or(Err(SLOW))
    }
}

/// Runs `asked` on another runtime; `None` if it takes longer than `patience`. It is aborted when this future is dropped.
pub(super) async fn elsewhere<T: Send + 'static>(
    runtime: &Handle,
    patience: Duration,
    asked: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let running = AbortOnDropHandle::new(runtime.spawn(asked));
    tokio::time::timeout(patience, running).await.ok()?.ok()
}

/// Why a request failed: fixed phrases, which are also metric labels.
pub(crate) const SLOW: &str = "no answer in time";
pub(crate) const UNREACHABLE: &str = "cannot be reached";
pub(crate) const BROKEN: &str = "the answer broke off";
pub(crate) const CODED: &str = "a content coding nobody asked for";
pub(crate) const TOO_LONG: &str = "the answer is too long";
/// The metadata has no token endpoint, or is not available.
pub(crate) const UNDISCOVERED: &str = "no token endpoint in the issuer's metadata";

async fn answered(request: reqwest::RequestBuilder) -> Result<reqwest::Response, &'static str> {
    request.send().await.map_err(|error| if error.is_timeout() { SLOW } else { UNREACHABLE })
}

/// Reads a whole response without content coding, at most `limit` bytes.
async fn bounded(mut response: reqwest::Response, limit: usize) -> Result<Answer, &'static str> {
    if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(CODED);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| BROKEN)? {
        if body.len() + chunk.len() > limit {
            return Err(TOO_LONG);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { headers: std::mem::take(response.headers_mut()), body: body.freeze() })
}
