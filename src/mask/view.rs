//! Who sees a message and what it is about: masks choose by this whether they apply.

use std::sync::Arc;

use super::opaque::Opaque;
use super::said::Said;
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::mcp::SubjectKind;
use crate::policy::Selector;
use crate::policy::tools::Tool;

/// For whom and for which call a message is masked. The default is nobody and no call: every mask applies, without
/// exceptions, and what is keyed by a principal is redacted.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// Who calls; `None` where nobody is known.
    pub caller: Option<&'a Caller>,
    /// What the call is about; `None` where it is about nothing or not known.
    pub subject: Option<(SubjectKind, &'a str)>,
    /// When.
    pub now: Timestamp,
    /// What the caller said in the call, where that matters for its answer.
    pub said: Option<&'a Said>,
    /// The tool that is called, whose schemas masked data must still fit; `None` where it is not known.
    pub tool: Option<&'a Tool>,
}

impl View<'_> {
    /// Whether the message must not tell back what the caller brought, so that masks look for that as well.
    pub(crate) fn brings_back(&self) -> bool {
        self.said.is_some_and(|said| !said.restored().is_empty())
    }
}

/// When a mask applies, and to whom its values show all the same.
#[derive(Clone, Debug, Default)]
pub struct Applies {
    /// What a call must be about; anything if there is none.
    pub about: Vec<Selector>,
    /// All of these scopes show the values. A broader scope that implies one does not.
    pub unless_scopes: Vec<Box<str>>,
    /// One of these groups shows the values.
    pub unless_groups: Vec<Box<str>>,
    /// What is left out.
    pub except: Vec<Except>,
}

/// Something a mask leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Except {
    /// What a call must be about; anything if there is none.
    pub about: Vec<Selector>,
    /// Places in the data of a call: its arguments, its structured content, JSON in its texts. Everything if there is none.
    pub fields: Arc<[Opaque]>,
}

/// What a mask does about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// What its action says.
    Acts,
    /// Nothing; what it finds is counted, because the caller may see it.
    Shows,
    /// Nothing.
    Sleeps,
}

impl Applies {
    /// Whether it is the same for every message.
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

    /// Places left alone in a message that is masked otherwise.
    pub(super) fn fields<'a>(&'a self, view: &View<'_>) -> impl Iterator<Item = &'a Opaque> {
        self.except.iter().filter(|except| except.fits(view)).flat_map(|except| except.fields.iter())
    }

    /// A mask for some calls applies where it is not known which call a message belongs to, and to none of another kind.
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
    /// An exception holds for calls that are known to be meant.
    fn fits(&self, view: &View<'_>) -> bool {
        let Some((kind, name)) = view.subject else { return false };
        self.about.is_empty() || self.about.iter().any(|selector| selector.names(kind, name))
    }
}

/// Whether the token's `groups` claim, a text or a list of texts, names the group.
fn is_in(caller: &Caller, group: &str) -> bool {
    match caller.claims.get("groups") {
        Some(serde_json::Value::Array(groups)) => groups.iter().any(|held| held.as_str() == Some(group)),
        Some(serde_json::Value::String(held)) => held == group,
        _ => false,
    }
}
