//! Requests of older clients that open no session, at an upstream that requires one: a session is kept per caller, as for
//! clients of 2026-07-28.

use std::sync::Arc;
use std::time::Duration;

use super::answer;
use super::fact::Fact;
use super::link::Link;
use super::older::Stated;
use super::on_older::{self, Asked};
use super::session::{Session, Unopened};
use crate::auth::Caller;
use crate::clock::monotonic;
use crate::json::{Document, Limits, Value};
use crate::mcp::methods::{self, SET_LEVEL, SUBSCRIBE};
use crate::mcp::{Era, Revision};
use crate::opened::Opened;
use crate::reply::{Media, media_type};
use crate::upstream::{Answer, AnswerBody, Asking, Outbound, UpstreamError};

/// How long it is trusted that an upstream requires a session.
const WANTS: Duration = Duration::from_mins(10);
/// How long it is trusted that an upstream requires none. It is shorter, since some upstreams require one for some methods
/// only.
const WANTS_NONE: Duration = Duration::from_mins(1);
/// Errors about the request itself (JSON-RPC 2.0, section 5.1): an upstream that returns one has processed the request.
const ABOUT_THE_CALL: [i64; 3] = [-32_601, -32_602, -32_603];

/// Whether an upstream requires a session, as far as detected.
#[derive(Debug, Default)]
pub(super) struct Wanted(Fact);

impl Wanted {
    /// How a request without a session is sent now.
    pub(super) fn mode(&self) -> Mode {
        match self.0.believed(monotonic()) {
            None => Mode::Trial,
            Some(true) => Mode::InSession,
            Some(false) => Mode::Plain,
        }
    }

    fn set(&self, wanted: bool) {
        self.0.set(wanted, monotonic() + if wanted { WANTS } else { WANTS_NONE });
    }
}

/// Whether a message is a request without a session. Anonymous callers are left out: no session is kept for them.
pub(super) fn is_one(outbound: &Outbound) -> bool {
    outbound.is_call()
        && outbound.session().is_none()
        && !outbound.opens_session()
        && outbound.caller().is_some_and(|caller| !caller.anonymous)
}

/// How a request without a session is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// In a session that the proxy keeps for the caller.
    InSession,
    /// Unchanged: no session is required.
    Plain,
    /// Unchanged, and again in a session if the upstream turns out to require one.
    Trial,
}

/// Sends a request without a session in the given mode. Errs if the upstream does not answer.
pub(super) async fn send(link: Link, outbound: Outbound, mode: Mode) -> Result<Box<Answer>, UpstreamError> {
    match mode {
        Mode::Plain => link.deliver(outbound).await,
        Mode::InSession => match in_session(&link, &outbound).await? {
            Some(answer) => Ok(answer),
            None => link.deliver(outbound).await,
        },
        Mode::Trial => {
            let again = outbound.twin();
            let answer = link.deliver(outbound).await?;
            if answer.status.is_success() {
                link.route.bridge.wanted.set(false);
                return Ok(answer);
            }
            let (answer, may_want) = look(&link, answer).await?;
            if !may_want {
                return Ok(answer);
            }
            Ok(in_session(&link, &again).await?.unwrap_or(answer))
        }
    }
}

/// The answer, and whether it may mean that a session is required, so that the request was not processed: 400 (2025-03-26
/// and later, "Session Management"), or 404 or 422 from some servers. Errs if the body cannot be read.
async fn look(link: &Link, answer: Box<Answer>) -> Result<(Box<Answer>, bool), UpstreamError> {
    if !is_refusal(answer.status.as_u16()) {
        return Ok((answer, false));
    }
    if media_type(&answer.fields) != Media::Json {
        return Ok((answer, true));
    }
    let (status, fields) = (answer.status, answer.fields);
    let bytes = answer.body.collect_limited(link.most_bytes()).await?;
    let may_want = Document::parse(bytes.clone(), &Limits::ANSWER).is_ok_and(|said| !is_about_the_call(said.root()));
    Ok((Answer::new(status, fields, AnswerBody::whole(bytes)), may_want))
}

const fn is_refusal(status: u16) -> bool {
    matches!(status, 400 | 404 | 422)
}

fn is_about_the_call(said: Value<'_>) -> bool {
    let code = said.pointer("/error/code").and_then(|code| code.as_i64());
    said.get("result").is_some() || code.is_some_and(|code| code >= 0 || ABOUT_THE_CALL.contains(&code))
}

/// The answer in the caller's session; `None` if the upstream has no sessions. Errs if it does not answer.
async fn in_session(link: &Link, outbound: &Outbound) -> Result<Option<Box<Answer>>, UpstreamError> {
    let Some(caller) = outbound.caller() else { return Ok(None) };
    let Some(document) = outbound.document() else { return Ok(None) };
    let root = document.root();
    let (Some(id), Some(method)) = (root.get("id"), root.get("method").and_then(|method| method.as_str())) else {
        return Ok(None);
    };
    let stated = Stated { progress_token: Stated::of(root.get("params")).progress_token, ..Stated::of(None) };
    let Some(session) = held(link, caller, &stated).await? else { return Ok(None) };
    // These change the whole session, which all of the caller's clients without one share.
    if method == SET_LEVEL || SUBSCRIBE.contains(&&*method) {
        return Ok(Some(answer::needs_session(id.raw())));
    }
    let asked = Asked::older(caller.clone(), id.raw_bytes(), methods::find(&method), stated);
    on_older::call(link.clone(), session, Box::new(asked), &document).await.map(Some)
}

/// The session kept for the caller, opened if there is none; `None` if the upstream has no sessions, or assigns no session
/// ids. Errs if it does not answer.
async fn held(link: &Link, caller: &Arc<Caller>, stated: &Stated) -> Result<Option<Arc<Session>>, UpstreamError> {
    let bridge = &link.route.bridge;
    let session = match bridge.sessions.get(link, caller, stated).await {
        Ok(session) => Some(session).filter(|session| session.within.id().is_some()),
        Err(Unopened::Error(error)) => return Err(error),
        Err(Unopened::Answer(_) | Unopened::NotOlder | Unopened::TooLong) => None,
    };
    bridge.wanted.set(session.is_some());
    Ok(session)
}

/// Whether the tool list for a request must be requested in a session: one is known to be required, or may be because the
/// list request was `refused` with that status.
pub(super) fn may_be_asked(wanted: &Wanted, opened: &Opened, asking: &Asking, refused: Option<u16>) -> bool {
    let is_older = opened.ask.message().is_some_and(|message| message.era() == Era::Legacy);
    let may_want = || match refused {
        None => wanted.0.known() == Some(true),
        Some(status) => is_refusal(status) && wanted.mode() != Mode::Plain,
    };
    is_older && asking.session.is_none() && !opened.caller.anonymous && may_want()
}

/// How the tool list is requested in the caller's session, and the session's revision; `None` if there is none.
pub(super) async fn asking(link: &Link, caller: &Arc<Caller>, asking: &Asking) -> Option<(Asking, Revision)> {
    // If it cannot be opened, the call itself will fail with the reason.
    let session = held(link, caller, &Stated::of(None)).await.ok()??;
    Some((Asking { session: Some(session.within.id()?.into()), ..asking.clone() }, session.within.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_upstream_has_looked_at_is_not_asked_again() {
        let cases = [
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: Server not initialized"}}"#,
                false,
            ),
            (r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}"#, false),
            (r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"Session not found"}}"#, false),
            (r#"{"error":"no session"}"#, false),
            (r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no such tool"}}"#, true),
            (r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no such method"}}"#, true),
            (r#"{"jsonrpc":"2.0","id":7,"error":{"code":12,"message":"taken"}}"#, true),
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, true),
        ];
        for (said, about) in cases {
            let document = Document::parse(said.into(), &Limits::ANSWER).unwrap();
            assert_eq!(is_about_the_call(document.root()), about, "{said}");
        }
    }
}
