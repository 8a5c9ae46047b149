//! Which era an upstream speaks: asked once, remembered, and asked again after it was unreachable.

use std::time::Duration;

use http::header::CONTENT_TYPE;

use super::fact::Fact;
use super::link::Link;
use super::told::is_own_session;
use super::{Way, answer, newer};
use crate::clock::monotonic;
use crate::json::{Document, Limits, Value};
use crate::mcp::methods::DISCOVER;
use crate::mcp::{Era, Revision, RpcId};
use crate::reply::{Media, media_type};
use crate::upstream::{Answer, AnswerBody, CatalogError, Outbound, whole_or_streamed};

/// Errors only a server of 2026-07-28 has ("Error Codes").
const NEWER_CODES: [i64; 3] = [-32_020, -32_021, -32_022];

/// How long an upstream is believed to speak what it was heard to speak. What it was replaced by may speak something else.
const HEARD: Duration = Duration::from_mins(10);
/// How long it is believed not to speak what it did not answer in. A balancer answers so while nothing is behind it.
const UNHEARD: Duration = Duration::from_mins(1);

/// Which eras one upstream speaks, as far as that has shown.
#[derive(Debug, Default)]
pub(super) struct Known {
    newer: Fact,
    older: Fact,
}

fn note(fact: &Fact, speaks: bool) {
    fact.set(speaks, monotonic() + if speaks { HEARD } else { UNHEARD });
}

/// What became of an older client's hello.
pub(super) enum Hello {
    /// The upstream takes it; or what it says has nothing to do with eras.
    Taken(Box<Answer>),
    /// It is newer, and knows of no hello.
    Newer,
}

impl Known {
    /// The way of a message; `None` where the upstream must be asked first.
    pub(super) fn way(&self, era: Era, outbound: &Outbound) -> Option<Way> {
        if era == Era::Legacy && outbound.opens_session() && self.older.believed(monotonic()).is_none() {
            return Some(Way::Trial);
        }
        self.way_of(era, outbound.session())
    }

    /// The way of messages of that era, in that session.
    pub(super) fn way_of(&self, era: Era, session: Option<&str>) -> Option<Way> {
        match era {
            Era::Modern => self.newer.believed(monotonic()).map(modern),
            Era::Legacy if session.is_some_and(is_own_session) => Some(Way::ToNewer),
            Era::Legacy if session.is_none() && self.older.known() == Some(false) => Some(Way::ToNewer),
            Era::Legacy => Some(Way::Straight),
        }
    }

    /// Nothing it could be translated to is spoken there.
    pub(super) fn is_not_older(&self) {
        self.newer.set(true, monotonic() + UNHEARD);
    }

    /// Forgets what is known: what comes back after it was gone may be another version.
    pub(super) fn forget(&self) {
        self.newer.forget();
        self.older.forget();
    }

    /// Asks with `server/discover`; what does not answer at all is left to the message itself (2026-07-28 "Backward
    /// Compatibility").
    pub(super) async fn probe(&self, link: &Link) -> Way {
        let id = RpcId::own();
        let message = newer::discover(id.raw(), &newer::Told::of(None));
        let speaks = match link.post_newer(message, [newer::method_header(DISCOVER)]).await {
            Ok(answer) => speaks_newer(answer, &id).await,
            Err(_) => None,
        };
        if let Some(speaks) = speaks {
            note(&self.newer, speaks);
        }
        self.newer.known().map_or(Way::Straight, modern)
    }

    /// Looks at the answer to an older client's hello.
    pub(super) async fn heard(&self, link: &Link, answer: Answer) -> Hello {
        if answer.status.is_success() && !matches!(media_type(&answer.headers), Media::Json) {
            note(&self.older, true);
            return Hello::Taken(Box::new(answer));
        }
        let readable = matches!(media_type(&answer.headers), Media::Json | Media::None);
        if !readable || !answer::may_be_about_eras(&answer) {
            return Hello::Taken(Box::new(answer));
        }
        let (status, headers) = (answer.status, answer.headers);
        let Ok(bytes) = answer.body.collect_limited(link.most_bytes()).await else {
            return Hello::Taken(Box::new(answer::unusable()));
        };
        let document = Document::parse(bytes.clone(), &Limits::ANSWER).ok();
        let code = document.as_ref().and_then(|document| code(document.root()));
        let result = document.as_ref().is_some_and(|document| document.root().get("result").is_some());
        let refuses = code.is_some_and(|code| code == answer::METHOD_NOT_FOUND || NEWER_CODES.contains(&code))
            || (!status.is_success() && code.is_some());
        if refuses && !result && self.probe(link).await == Way::Straight && self.newer.known() == Some(true) {
            note(&self.older, false);
            return Hello::Newer;
        }
        if result {
            note(&self.older, true);
        }
        Hello::Taken(Box::new(Answer { status, headers, body: AnswerBody::whole(bytes) }))
    }
}

/// The way of a newer client's messages to an upstream that speaks as it does, or does not.
const fn modern(speaks_newer: bool) -> Way {
    if speaks_newer { Way::Straight } else { Way::ToOlder }
}

fn code(root: Value<'_>) -> Option<i64> {
    root.pointer("/error/code")?.as_i64()
}

/// Whether whoever answers so speaks 2026-07-28; `None` where that does not show.
async fn speaks_newer(answer: Answer, id: &RpcId) -> Option<bool> {
    if !answer::may_be_about_eras(&answer) {
        return None;
    }
    let media = answer.headers.get(CONTENT_TYPE).cloned();
    let said = match whole_or_streamed(media.as_ref(), answer.body, id, Revision::V2026_07_28).await {
        Ok(said) => said,
        Err(CatalogError::Upstream(_)) => return None,
        // No newer server answers this with nothing, and none with something else.
        Err(_) => return Some(false),
    };
    let root = said.document().root();
    let versions = root.pointer("/result/supportedVersions").is_some();
    Some(versions || code(root).is_some_and(|code| NEWER_CODES.contains(&code)))
}
