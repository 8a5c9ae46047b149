//! What an MCP endpoint answers to a client without a token (MCP 2026-07-28 and before, "Authorization").

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use url::Url;

use super::challenge::{Challenge, challenges};
use super::metadata::{self, Metadata};
use super::report::{Report, Step, foreign};
use super::{clock, is_loopback};
use crate::auth::explorer::{Explorer, Seen, Unseen};
use crate::clock::Timestamp;
use crate::mcp::Revision;
use crate::mcp::methods::INITIALIZE;

/// A page of the Inspector; it runs in a browser.
pub(super) const PAGE: &str = "http://localhost:6274";
const REQUESTED: &str = "authorization, content-type, mcp-protocol-version, mcp-session-id";

/// What clients go by.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: Url,
    /// Statuses without a token.
    pub(super) post: u16,
    pub(super) get: Option<u16>,
    /// Whether the 401 says where the metadata is.
    pub(super) is_named: bool,
    /// What it says for itself: the document clients find first.
    pub(super) metadata: Option<Metadata>,
    /// Whether that is also where clients look that follow no header.
    pub(super) is_at_path: bool,
    /// What keeps a browser's page from using it.
    pub(super) browser: Option<&'static str>,
}

/// Looks at `url`; `None` if nobody answers there.
pub(super) async fn look(explorer: &Explorer, url: &Url, report: &mut Report) -> Option<Server> {
    report.section(format!("server {}", foreign(url.as_str())));
    let before = Timestamp::now();
    let post = match explorer.ask(Method::POST, url, message_headers(), Some(opening())).await {
        Ok(seen) => seen,
        Err(reason) => {
            let (is_away, fix) = match reason {
                Unseen::TooLarge => (false, "correct the URL: a server's answer to a first message is never that long"),
                _ => (true, "start it, or correct the URL; for a private authority give --ca-file"),
            };
            report.add(Step::failed("reached", foreign(&reason.to_string()), fix));
            report.is_away |= is_away;
            return None;
        }
    };
    report.add(reached(url));
    report.add(clock::compared(&post.headers, before, Timestamp::now()));
    leave(explorer, url, &post).await;
    let challenges = challenges(&post.headers);
    report.add(without_token(&post, &challenges));
    let get = explorer.ask(Method::GET, url, headers([(ACCEPT, "text/event-stream")]), None).await.ok();
    report.add(get_without_token(get.as_ref()));
    let named = challenges.iter().find_map(|challenge| challenge.parameter("resource_metadata"));
    if post.status == 401 {
        report.add(named_step(named, &challenges));
    }
    let found = metadata::search(explorer, url, named, report).await;
    let browser = browser(explorer, url, report).await;
    Some(Server {
        url: url.clone(),
        post: post.status,
        get: get.map(|get| get.status),
        is_named: named.is_some(),
        metadata: found.metadata,
        is_at_path: found.is_at_path,
        browser,
    })
}

pub(super) fn headers<const N: usize>(fields: [(HeaderName, &'static str); N]) -> HeaderMap {
    fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

pub(super) fn message_headers() -> HeaderMap {
    headers([(ACCEPT, "application/json, text/event-stream"), (CONTENT_TYPE, "application/json")])
}

/// The first request of clients of every revision but the newest.
pub(super) fn opening() -> String {
    let about = json!({ "name": "portcullis doctor", "version": env!("CARGO_PKG_VERSION") });
    let params = json!({ "protocolVersion": Revision::V2025_11_25.as_str(), "capabilities": {}, "clientInfo": about });
    json!({ "jsonrpc": "2.0", "id": 1, "method": INITIALIZE, "params": params }).to_string()
}

/// Ends the session a server without authentication may have opened.
pub(super) async fn leave(explorer: &Explorer, url: &Url, seen: &Seen) {
    let Some(session) = seen.headers.get("mcp-session-id").filter(|_| seen.status == 200) else { return };
    let mut fields = message_headers();
    fields.insert("mcp-session-id", session.clone());
    let _ = explorer.ask(Method::DELETE, url, fields, None).await;
}

fn reached(url: &Url) -> Step {
    match url.scheme() {
        "https" => Step::good("reached", "by https"),
        _ if is_loopback(url) => Step::good("reached", "by http on this machine, which clients on this machine accept"),
        _ => {
            Step::failed("reached", "by plain http: tokens could be read on the way, and clients refuse", "serve https")
        }
    }
}

fn without_token(post: &Seen, challenges: &[Challenge]) -> Step {
    const NAME: &str = "POST, no token";
    let bearer = challenges.iter().position(|challenge| challenge.is("Bearer"));
    match post.status {
        401 if challenges.is_empty() => Step::failed(
            NAME,
            "401 without WWW-Authenticate",
            "answer 401 with `WWW-Authenticate: Bearer resource_metadata=\"...\"`",
        ),
        401 if bearer.is_none() && !challenges.iter().any(|challenge| challenge.is("DPoP")) => Step::failed(
            NAME,
            format!("401 for the scheme `{}`, not Bearer", foreign(&challenges[0].scheme)),
            "protect it with OAuth 2.1 access tokens; clients of MCP present nothing else",
        ),
        401 if bearer.is_some_and(|at| at > 0) => Step::doubtful(
            NAME,
            "401, but Bearer is not the first challenge, which is the only one some clients read",
            "write the Bearer challenge first",
        ),
        401 if challenges.iter().any(|challenge| challenge.parameter("error").is_some()) => Step::doubtful(
            NAME,
            "401 with an error, though no token was sent",
            "leave out `error` where there is no token (RFC 6750 section 3.1)",
        ),
        401 => Step::good(NAME, "401, Bearer"),
        200..=299 => Step::doubtful(
            NAME,
            format!("{} without a token: it is open to anybody", post.status),
            "if it should not be, put it behind an authenticating proxy",
        ),
        300..=399 => Step::failed(
            NAME,
            format!("{} to another address, where clients do not take a token", post.status),
            "give clients the address it leads to",
        ),
        403 => Step::failed(
            NAME,
            "403: clients sign in after a 401 only",
            "answer 401 where there is no token; if a proxy in between refuses, let it pass",
        ),
        404 | 405 => Step::failed(
            NAME,
            format!("{}: no MCP endpoint of Streamable HTTP", post.status),
            "correct the path; clients take this for the HTTP+SSE transport of 2024",
        ),
        status => Step::failed(NAME, format!("{status}"), "answer 401 where there is no token"),
    }
}

fn get_without_token(get: Option<&Seen>) -> Step {
    const NAME: &str = "GET, no token";
    match get.map(|get| get.status) {
        Some(401) => Step::good(NAME, "401"),
        Some(200) => Step::doubtful(
            NAME,
            "200: some clients take that for the metadata document",
            "answer 401 before looking at the method",
        ),
        Some(status) => Step::doubtful(
            NAME,
            format!("{status}: some clients probe with GET and want 401"),
            "answer 401 before looking at the method",
        ),
        None => Step::doubtful(NAME, "no answer", "answer 401 before looking at the method"),
    }
}

fn named_step(named: Option<&str>, challenges: &[Challenge]) -> Step {
    const NAME: &str = "challenge";
    let scope = challenges.iter().find_map(|challenge| challenge.parameter("scope"));
    match (named, scope) {
        (None, _) => Step::doubtful(
            NAME,
            "no resource_metadata in it, which clients of 2025-06-18 need",
            "add `resource_metadata=\"URL of the RFC 9728 document\"`",
        ),
        (Some(_), Some(scope)) => Step::good(NAME, format!("resource_metadata, scope=\"{}\"", foreign(scope))),
        (Some(_), None) => Step::good(NAME, "resource_metadata; no scope, so clients ask for all of scopes_supported"),
    }
}

/// What a page of another origin may do (Fetch, "CORS protocol").
async fn browser(explorer: &Explorer, url: &Url, report: &mut Report) -> Option<&'static str> {
    const NAME: &str = "browser";
    let mut asked = headers([(ORIGIN, PAGE)]);
    asked.insert("access-control-request-method", HeaderValue::from_static("POST"));
    asked.insert("access-control-request-headers", HeaderValue::from_static(REQUESTED));
    let preflight = explorer.ask(Method::OPTIONS, url, asked, None).await.ok();
    let mut fields = message_headers();
    fields.insert(ORIGIN, HeaderValue::from_static(PAGE));
    let answer = explorer.ask(Method::POST, url, fields, Some(opening())).await.ok();
    if let Some(answer) = &answer {
        leave(explorer, url, answer).await;
    }
    let problem = match (&preflight, &answer) {
        (Some(preflight), Some(answer)) => hindrance(preflight, answer),
        _ => Some("no answer to a preflight"),
    };
    report.add(match problem {
        None => Step::good(NAME, format!("pages of {PAGE} may call it and read its challenge")),
        Some(problem) => Step::doubtful(
            NAME,
            format!("{problem} (asked for a page of {PAGE})"),
            "needed only for clients that run in a browser: add their origin to `[cors] allow_origins` in proxy.toml",
        ),
    });
    problem
}

fn hindrance(preflight: &Seen, answer: &Seen) -> Option<&'static str> {
    let allows = |seen: &Seen| {
        let origin = seen.headers.get("access-control-allow-origin");
        origin.is_some_and(|origin| origin == PAGE || origin == "*")
    };
    let lists = |seen: &Seen, name: &str, wanted: &str| {
        let fields = seen.headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
        fields.flat_map(|field| field.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    if !(200..300).contains(&preflight.status) || !allows(preflight) {
        return Some("its preflight is refused");
    }
    // `*` does not stand for this one (Fetch, "CORS-preflight fetch").
    if !lists(preflight, "access-control-allow-headers", AUTHORIZATION.as_str()) {
        return Some("the preflight does not allow the header authorization");
    }
    if !allows(answer) {
        return Some("the answer may not be read");
    }
    if answer.status == 401 && !lists(answer, "access-control-expose-headers", "www-authenticate") {
        return Some("www-authenticate is not exposed");
    }
    None
}
