//! Who sees a message and what it is about: the inputs that decide whether a mask applies.

use std::sync::Arc;

use super::opaque::Opaque;
use super::said::Said;
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::mcp::SubjectKind;
use crate::policy::Selector;
use crate::policy::tools::Tool;

/// For whom and for which call a message is masked. The default is no caller and no call: every mask applies, without
/// exceptions, and replacements keyed for a principal become redactions.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// The caller; `None` if unknown or anonymous.
    pub caller: Option<&'a Caller>,
    /// What the call is about; `None` if nothing or unknown.
    pub subject: Option<(SubjectKind, &'a str)>,
    /// The current time.
    pub now: Timestamp,
    /// What the caller said in the call, if masking its answer depends on that.
    pub said: Option<&'a Said>,
    /// The called tool, under whose schemas masked data must stay valid; `None` if unknown.
    pub tool: Option<&'a Tool>,
}

impl View<'_> {
    /// Whether the request had restored values, which must be masked in the answer.
    pub(crate) fn brings_back(&self) -> bool {
        self.said.is_some_and(|said| !said.restored().is_empty())
    }
}

/// When a mask applies, and who may see its values.
#[derive(Clone, Debug, Default)]
pub struct Applies {
    /// What a call must be about; empty for anything.
    pub about: Vec<Selector>,
    /// A caller with all of these scopes may see the values. Implied scopes do not count.
    pub unless_scopes: Vec<Box<str>>,
    /// A caller in one of these groups may see the values. With scopes set too, both are required.
    pub unless_groups: Vec<Box<str>>,
    /// Exceptions.
    pub except: Vec<Except>,
}

/// Something a mask leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Except {
    /// What a call must be about; empty for any call with a subject.
    pub about: Vec<Selector>,
    /// Places in the data of a call: its arguments, its structured content, JSON in its texts. Empty for everything.
    pub fields: Arc<[Opaque]>,
}

/// What a mask does about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its action applies.
    Acts,
    /// The caller may see the values; they are only counted.
    Shows,
    /// It does not apply.
    Sleeps,
}

impl Applies {
    /// Whether the mask acts on every message.
    pub(super) fn is_unconditional(&self) -> bool {
        self.about.is_empty()
            && self.unless_scopes.is_empty()
            && self.unless_groups.is_empty()
            && self.except.is_empty()
    }

    pub(super) fn mode(&self, view: &View<'_>) -> Mode {
        if !self.is_about(view.subject)
            || self.except.iter().any(|except| except.fields.is_empty() && except.fits(view))
        {
            Mode::Sleeps
        } else if view.caller.is_some_and(|caller| self.may_see(caller)) {
            Mode::Shows
        } else {
            Mode::Acts
        }
    }

    /// Places left alone in a message.
    pub(super) fn fields<'a>(&'a self, view: &View<'_>) -> impl Iterator<Item = &'a Opaque> {
        self.except.iter().filter(|except| except.fits(view)).flat_map(|except| except.fields.iter())
    }

    /// Whether the mask is for this subject. A mask for certain calls also applies if the call of a message is unknown.
    fn is_about(&self, subject: Option<(SubjectKind, &str)>) -> bool {
        let Some((kind, name)) = subject else { return true };
        self.about.is_empty() || self.about.iter().any(|selector| selector.covers(kind, name))
    }

    fn may_see(&self, caller: &Caller) -> bool {
        let asked = !self.unless_scopes.is_empty() || !self.unless_groups.is_empty();
        asked
            && self.unless_scopes.iter().all(|scope| caller.scopes.has(scope))
            && (self.unless_groups.is_empty() || self.unless_groups.iter().any(|group| is_in(caller, group)))
    }
}

impl Except {
    /// Whether the exception is for this call. It never is if the call is unknown.
    fn fits(&self, view: &View<'_>) -> bool {
        let Some((kind, name)) = view.subject else { return false };
        self.about.is_empty() || self.about.iter().any(|selector| selector.names(kind, name))
    }
}

/// Whether the token's `groups` claim, a string or an array of strings, names the group.
fn is_in(caller: &Caller, group: &str) -> bool {
    match caller.claims.get("groups") {
        Some(serde_json::Value::Array(groups)) => groups.iter().any(|held| held.as_str() == Some(group)),
        Some(serde_json::Value::String(held)) => held == group,
        _ => false,
    }
}
