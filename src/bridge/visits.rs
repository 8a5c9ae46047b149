//! Tracks the sessions of clients at an upstream of their own era, in order to end idle ones.
//!
//! Many clients never end their sessions, and an upstream may keep a process for each. Sessions are tracked only if
//! `session_idle` is configured.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use http::Method;

use super::answer;
use super::clients::is_own_session;
use super::link::{Ends, Link};
use crate::mcp::Revision;
use crate::mcp::handle::is_plain_id;
use crate::mcp::headers::SESSION_ID;
use crate::upstream::{Answer, Credential, Fields, Outbound, Stay, UpstreamError, Visit, ending};

/// The most sessions tracked at one upstream; further ones are never ended by the proxy.
const MOST: usize = 65_536;
/// The shortest and the longest interval between two searches for idle sessions.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(15)];

/// The tracked sessions of one upstream, by the upstream's session id.
#[derive(Debug, Default)]
pub(super) struct Visits {
    known: Mutex<HashMap<Box<str>, Arc<Visit>>>,
    is_watched: AtomicBool,
    /// The idle time after which a session is ended, in milliseconds; from the configuration of the latest message.
    idle: AtomicU64,
}

/// Sends a client's message and tracks its session, which is ended after `idle` without use. Errs if the upstream does not
/// answer.
pub(super) async fn deliver(link: Link, outbound: Outbound, idle: Duration) -> Result<Box<Answer>, UpstreamError> {
    let visits = &link.route.bridge.visits;
    visits.set_idle(idle);
    let name: Option<Box<str>> = outbound.session().filter(|name| !is_own_session(name)).map(Into::into);
    let revision = outbound.revision();
    let (opens, ends) = (outbound.opens_session(), outbound.verb() == Method::DELETE);
    let stay = name.as_deref().and_then(|name| visits.enter(name, &link.credential, revision));
    let mut answer = link.route.backend.send(&link.worker.pool, outbound).await?;
    if let Some(name) = name.filter(|_| ends && answer.status.is_success() || answer::has_lost_session(&answer)) {
        visits.forget(&name);
        return Ok(answer);
    }
    let opened = || named(&answer.fields).filter(|_| opens && answer.status.is_success());
    if let Some(stay) = stay.or_else(|| visits.enter(opened()?, &link.credential, Revision::UNSTATED)) {
        answer.body.keep(stay);
    }
    if visits.begins_watch() {
        link.begin(watch(link.clone()));
    }
    Ok(answer)
}

fn named(fields: &Fields) -> Option<&str> {
    fields.get(&SESSION_ID)?.to_str().ok().filter(|id| is_plain_id(id))
}

impl Visits {
    /// Marks a session as in use until the result is dropped; `None` if too many are tracked. An unknown session was opened
    /// before the process started, or by another one.
    fn enter(&self, name: &str, credential: &Credential, revision: Revision) -> Option<Stay> {
        let mut known = self.known();
        if let Some(visit) = known.get(name) {
            if revision != Revision::UNSTATED {
                *visit.revision.lock().unwrap_or_else(PoisonError::into_inner) = revision;
            }
            return Some(visit.stay());
        }
        if known.len() >= MOST {
            return None;
        }
        let visit = Visit::new(credential.clone(), revision);
        let stay = visit.stay();
        known.insert(name.into(), visit);
        Some(stay)
    }

    fn forget(&self, name: &str) {
        self.known().remove(name);
    }

    /// Sets the idle time, which a reload may have changed.
    fn set_idle(&self, idle: Duration) {
        self.idle.store(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(self.idle.load(Ordering::Relaxed))
    }

    /// Stops tracking all sessions: the configuration no longer asks for it, and their use is no longer noticed.
    pub(super) fn leave(&self) {
        if self.is_watched.load(Ordering::Relaxed) {
            self.known().clear();
        }
    }

    /// Whether the caller must start [`watch`]: there are sessions, and it does not run.
    fn begins_watch(&self) -> bool {
        !self.known().is_empty() && !self.is_watched.swap(true, Ordering::AcqRel)
    }

    fn take_idle(&self) -> Vec<(Box<str>, Arc<Visit>)> {
        let idle = self.idle();
        self.known().extract_if(|_, visit| visit.is_idle(idle)).collect()
    }

    /// Whether [`watch`] may end, because no sessions are left.
    fn ends_watch(&self) -> bool {
        let known = self.known();
        let is_over = known.is_empty();
        if is_over {
            self.is_watched.store(false, Ordering::Release);
        }
        is_over
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Visit>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends idle sessions, until none are left.
async fn watch(link: Link) {
    let [least, most] = PAUSES;
    let visits = &link.route.bridge.visits;
    loop {
        tokio::time::sleep((visits.idle() / 4).clamp(least, most)).await;
        let current = link.current();
        if current.is_none() {
            // The server was removed: the use of its sessions is no longer noticed.
            visits.leave();
        }
        let Ends { route, worker, .. } = &**current.as_ref().unwrap_or(&link);
        for (name, visit) in visits.take_idle() {
            let revision = *visit.revision.lock().unwrap_or_else(PoisonError::into_inner);
            let ending = ending(&visit.credential, &name, revision);
            let _ = route.backend.send(&worker.pool, ending).await;
        }
        if visits.ends_watch() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Visits;
    use crate::mcp::Revision;
    use crate::upstream::Credential;

    #[test]
    fn what_the_newest_configuration_says_holds_for_sessions_there_are() {
        let visits = Visits::default();
        let enter = |name: &str| drop(visits.enter(name, &Credential::NONE, Revision::UNSTATED).unwrap());
        let names = || visits.take_idle().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        visits.set_idle(Duration::from_hours(1));
        enter("a");
        assert!(visits.begins_watch() && !visits.begins_watch());
        assert!(names().is_empty());
        visits.set_idle(Duration::ZERO);
        let used = visits.enter("b", &Credential::NONE, Revision::UNSTATED).unwrap();
        assert_eq!(names(), [Box::from("a")]);
        drop(used);
        // Once use is not noticed, a session in use would look idle.
        visits.leave();
        assert!(names().is_empty() && visits.ends_watch());
    }
}
