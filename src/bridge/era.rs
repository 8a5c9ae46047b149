//! Which era an upstream speaks: detected once, remembered for a time, and detected again after it was unreachable.

use std::time::Duration;

use http::header::CONTENT_TYPE;

use super::clients::is_own_session;
use super::fact::Fact;
use super::link::Link;
use super::{Translation, answer, newer};
use crate::clock::monotonic;
use crate::json::{Document, Limits, Value};
use crate::mcp::methods::DISCOVER;
use crate::mcp::{Era, Revision, RpcId};
use crate::reply::{Media, media_type};
use crate::upstream::{Answer, AnswerBody, CatalogError, Outbound, whole_or_streamed};

/// Error codes that only exist in 2026-07-28 ("Error Codes").
const NEWER_CODES: [i64; 3] = [-32_020, -32_021, -32_022];

/// How long a detected era is trusted: the upstream may be replaced by another version.
const HEARD: Duration = Duration::from_mins(10);
/// How long the absence of an era is trusted. It is shorter, since a load balancer without backends may look like that.
const UNHEARD: Duration = Duration::from_mins(1);

/// The eras of one upstream, as far as detected.
#[derive(Debug, Default)]
pub(super) struct Known {
    newer: Fact,
    older: Fact,
}

fn note(fact: &Fact, speaks: bool) {
    fact.set(speaks, monotonic() + if speaks { HEARD } else { UNHEARD });
}

/// The outcome of an older client's `initialize`.
pub(super) enum Hello {
    /// The upstream accepted it, or its answer is not about eras.
    Taken(Box<Answer>),
    /// The upstream is newer, and has no `initialize`.
    Newer,
}

impl Known {
    /// How a message is translated; `None` if the era must be detected first.
    pub(super) fn translation(&self, era: Era, outbound: &Outbound) -> Option<Translation> {
        if era == Era::Legacy && outbound.opens_session() && self.older.believed(monotonic()).is_none() {
            return Some(Translation::Trial);
        }
        self.translation_of(era, outbound.session())
    }

    /// How messages of an era in a session are translated; `None` if the era must be detected first.
    pub(super) fn translation_of(&self, era: Era, session: Option<&str>) -> Option<Translation> {
        match era {
            Era::Modern => self.newer.believed(monotonic()).map(modern),
            Era::Legacy if session.is_some_and(is_own_session) => Some(Translation::ToNewer),
            Era::Legacy if session.is_none() && self.older.known() == Some(false) => Some(Translation::ToNewer),
            Era::Legacy => Some(Translation::Straight),
        }
    }

    /// Notes that the upstream does not speak an older revision, so that newer clients' messages are not translated.
    pub(super) fn is_not_older(&self) {
        self.newer.set(true, monotonic() + UNHEARD);
    }

    /// Forgets the eras: after the upstream was unreachable, it may be another version.
    pub(super) fn forget(&self) {
        self.newer.forget();
        self.older.forget();
    }

    /// Detects the era with `server/discover` (2026-07-28, "Backward Compatibility"). If there is no answer, the message itself
    /// is sent untranslated.
    pub(super) async fn probe(&self, link: &Link) -> Translation {
        let id = RpcId::own();
        let message = newer::discover(id.raw(), &newer::Declared::own());
        let speaks = match link.post_newer(message, [newer::method_header(DISCOVER)]).await {
            Ok(answer) => speaks_newer(link, answer, &id).await,
            Err(_) => None,
        };
        if let Some(speaks) = speaks {
            note(&self.newer, speaks);
        }
        self.newer.known().map_or(Translation::Straight, modern)
    }

    /// Detects the era from the answer to an older client's `initialize`.
    pub(super) async fn heard(&self, link: &Link, answer: Box<Answer>) -> Hello {
        if answer.status.is_success() && !matches!(media_type(&answer.fields), Media::Json) {
            note(&self.older, true);
            return Hello::Taken(answer);
        }
        let readable = matches!(media_type(&answer.fields), Media::Json | Media::None);
        if !readable || !answer::may_be_about_eras(&answer) {
            return Hello::Taken(answer);
        }
        let (status, fields) = (answer.status, answer.fields);
        let Ok(bytes) = answer.body.collect_limited(link.most_bytes()).await else {
            return Hello::Taken(answer::unusable());
        };
        let document = Document::parse(bytes.clone(), &Limits::ANSWER).ok();
        let code = document.as_ref().and_then(|document| code(document.root()));
        let result = document.as_ref().is_some_and(|document| document.root().get("result").is_some());
        let refuses = code.is_some_and(|code| code == answer::METHOD_NOT_FOUND || NEWER_CODES.contains(&code))
            || (!status.is_success() && code.is_some());
        if refuses && !result && self.probe(link).await == Translation::Straight && self.newer.known() == Some(true) {
            note(&self.older, false);
            return Hello::Newer;
        }
        if result {
            note(&self.older, true);
        }
        Hello::Taken(Answer::new(status, fields, AnswerBody::whole(bytes)))
    }
}

/// How a newer client's messages are translated.
const fn modern(speaks_newer: bool) -> Translation {
    if speaks_newer { Translation::Straight } else { Translation::ToOlder }
}

fn code(root: Value<'_>) -> Option<i64> {
    root.pointer("/error/code")?.as_i64()
}

/// Whether an answer to `server/discover` is from a server of 2026-07-28; `None` if it does not show.
async fn speaks_newer(link: &Link, answer: Box<Answer>, id: &RpcId) -> Option<bool> {
    if !answer::may_be_about_eras(&answer) {
        return None;
    }
    let media = answer.fields.get(&CONTENT_TYPE).cloned();
    let said = match whole_or_streamed(media.as_ref(), answer.body, id, Revision::V2026_07_28).await {
        Ok(said) => said,
        Err(CatalogError::Upstream(_)) => return None,
        // A newer server answers this with a response to it.
        Err(_) => return Some(false),
    };
    let root = said.document().root();
    let discovered = root.get("result").filter(|result| result.get("supportedVersions").is_some());
    if let Some(result) = discovered {
        link.route.bridge.advertises(result);
    }
    Some(discovered.is_some() || code(root).is_some_and(|code| NEWER_CODES.contains(&code)))
}
