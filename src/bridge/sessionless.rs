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

/// How long an upstream is believed to want a session.
const WANTS: Duration = Duration::from_mins(10);
/// How long it is believed to want none. Some want one for this and none for that.
const WANTS_NONE: Duration = Duration::from_mins(1);
/// JSON-RPC 2.0, section 5.1: these are about what was asked, and an upstream that says them has looked at it.
const ABOUT_THE_CALL: [i64; 3] = [-32_601, -32_602, -32_603];

/// Whether an upstream wants a session, as far as that has shown.
#[derive(Debug, Default)]
pub(super) struct Wanted(Fact);

impl Wanted {
    /// The way of such a request now.
    pub(super) fn way(&self) -> Way {
        match self.0.believed(monotonic()) {
            None => Way::Trial,
            Some(true) => Way::InSession,
            Some(false) => Way::Plain,
        }
    }

    fn set(&self, wanted: bool) {
        self.0.set(wanted, monotonic() + if wanted { WANTS } else { WANTS_NONE });
    }
}

/// Whether that is a request somebody makes without a session. Nothing is held for who is nobody.
pub(super) fn is_one(outbound: &Outbound) -> bool {
    outbound.is_call()
        && outbound.session().is_none()
        && !outbound.opens_session()
        && outbound.caller().is_some_and(|caller| !caller.anonymous)
}

/// How such a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In a session held for its caller.
    InSession,
    /// As it is: no session is wanted.
    Plain,
    /// As it is, and again in a session where one turns out to be wanted.
    Trial,
}

/// Sends it, in a session where one is wanted.
pub(super) async fn send(link: Link, outbound: Outbound, way: Way) -> Result<Box<Answer>, UpstreamError> {
    match way {
        Way::Plain => link.deliver(outbound).await,
        Way::InSession => match in_session(&link, &outbound).await? {
            Some(answer) => Ok(answer),
            None => link.deliver(outbound).await,
        },
        Way::Trial => {
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

/// Whether an answer may say that a session is wanting, so that nothing has been done about the request (2025-03-26 and
/// later, "Session Management": 400; some say 404, or 422).
async fn look(link: &Link, answer: Box<Answer>) -> Result<(Box<Answer>, bool), UpstreamError> {
    if !is_refusal(answer.status.as_u16()) {
        return Ok((answer, false));
    }
    if media_type(&answer.headers) != Media::Json {
        return Ok((answer, true));
    }
    let (status, headers) = (answer.status, answer.headers);
    let bytes = answer.body.collect_limited(link.most_bytes()).await?;
    let may_want = Document::parse(bytes.clone(), &Limits::ANSWER).is_ok_and(|said| !is_about_the_call(said.root()));
    Ok((Answer::new(status, headers, AnswerBody::whole(bytes)), may_want))
}

const fn is_refusal(status: u16) -> bool {
    matches!(status, 400 | 404 | 422)
}

fn is_about_the_call(said: Value<'_>) -> bool {
    let code = said.pointer("/error/code").and_then(|code| code.as_i64());
    said.get("result").is_some() || code.is_some_and(|code| code >= 0 || ABOUT_THE_CALL.contains(&code))
}

/// The answer in the caller's session; `None` where the upstream has no sessions.
async fn in_session(link: &Link, outbound: &Outbound) -> Result<Option<Box<Answer>>, UpstreamError> {
    let Some(caller) = outbound.caller() else { return Ok(None) };
    let Some(document) = outbound.document() else { return Ok(None) };
    let root = document.root();
    let (Some(id), Some(method)) = (root.get("id"), root.get("method").and_then(|method| method.as_str())) else {
        return Ok(None);
    };
    let stated = Stated { progress_token: Stated::of(root.get("params")).progress_token, ..Stated::of(None) };
    let Some(session) = held(link, caller, &stated).await? else { return Ok(None) };
    // What they change is the whole session's, which the caller's other clients share.
    if method == SET_LEVEL || SUBSCRIBE.contains(&&*method) {
        return Ok(Some(answer::needs_session(id.raw())));
    }
    let asked = Asked::older(caller.clone(), id.raw_bytes(), methods::find(&method), stated);
    on_older::call(link.clone(), session, Box::new(asked), &document).await.map(Some)
}

/// The session held for the caller; `None` where the upstream gives its sessions no names, or has none.
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

/// Whether such a request is one whose tool must be asked for in a session: one is known to be wanted, or may be because the
/// question was `refused` with that status.
pub(super) fn may_be_asked(wanted: &Wanted, opened: &Opened, asking: &Asking, refused: Option<u16>) -> bool {
    let is_older = opened.ask.message().is_some_and(|message| message.era() == Era::Legacy);
    let may_want = || match refused {
        None => wanted.0.known() == Some(true),
        Some(status) => is_refusal(status) && wanted.way() != Way::Plain,
    };
    is_older && asking.session.is_none() && !opened.caller.anonymous && may_want()
}

/// How the proxy asks for the tool such a request is about.
pub(super) async fn asking(link: &Link, caller: &Arc<Caller>, asking: &Asking) -> Option<(Asking, Revision)> {
    // That there is no answer the call itself will say.
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
