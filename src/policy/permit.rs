//! Proof of a positive decision: a [`Permit`] exists only where the policy said yes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use super::cases::Verdict;
use super::tools::{Refused, Tool, Tools};
use super::{Arguments, Context, Decision, OnDeny, Operation, Policy, RefusedArgument};
use crate::auth::Caller;
use crate::json::{Document, Kind, Limits, Value, quoted};
use crate::mcp::asked::asked_by_error;
use crate::mcp::handle::{NoHandle, Origin, TASKS_EXTENSION};
use crate::mcp::methods::{self, RESOURCES_READ, Sender};
use crate::mcp::{Access, Era, Message, MessageShape, Method, MethodRef, SubjectKind, names};
use crate::opened::{Ask, Opened};
use crate::reject::Reject;
use crate::reply::Way;

/// A request the policy allows. Only [`authorize`] makes one.
///
/// A stage that skips the decision does not compile:
///
/// ```compile_fail,E0451
/// fn skip(opened: Box<portcullis::opened::Opened>) -> portcullis::policy::Permit {
///     portcullis::policy::Permit { opened, rule: None }
/// }
/// ```
///
/// ```compile_fail,E0308
/// fn skip(masks: &portcullis::mask::Masks, opened: Box<portcullis::opened::Opened>) {
///     let _ = portcullis::mask::mask(masks, &[], opened, None, Default::default());
/// }
/// ```
///
/// With every stage in place it compiles, which shows that nothing else is wrong with the cases above and those of
/// [`Masked`](crate::mask::Masked) and [`Outbound`](crate::upstream::Outbound):
///
/// ```
/// use portcullis::{audit, mask, opened::Opened, policy, route::Route, trail::Trail, upstream};
///
/// async fn keep(route: &Route, trail: &mut Trail, opened: Box<Opened>) -> Option<upstream::Outbound> {
///     let credential = upstream::Credential::NONE;
///     let context = policy::Context::at(portcullis::clock::Timestamp::now());
///     let permit = policy::authorize(&route.policy, opened, &context).ok()?;
///     let masked = mask::mask(&route.masks, &route.meta, permit, None, Default::default()).ok()?;
///     let recorded = audit::decided(trail, masked).await.ok()?;
///     Some(upstream::outbound(&credential, recorded))
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    opened: Box<Opened>,
    rule: Option<Arc<str>>,
}

impl Permit {
    /// The rule that allowed it; `None` for what needs no rule.
    pub const fn rule(&self) -> Option<&Arc<str>> {
        self.rule.as_ref()
    }

    /// The same permit, if the call conforms to the tool's definition: valid arguments, and the headers that must mirror them.
    /// Errs if it does not.
    pub(crate) fn defined_by(mut self, tools: &Tools, tool: Option<&Tool>) -> Result<Self, Reject> {
        let Some(tool) = tool else { return Ok(self) };
        self.fits(tools, tool)?;
        if let Ask::Message(message) = &mut self.opened.ask
            && let Some(mirrors) = tool.mirrors().filter(|_| message.era() == Era::Modern)
        {
            message.mirrored_by(mirrors.clone())?;
        }
        Ok(self)
    }

    /// Checks that the tool's definition may be called and the arguments are valid under its input schema.
    pub(crate) fn fits(&self, tools: &Tools, tool: &Tool) -> Result<(), Refused> {
        self.opened.ask.message().map_or(Ok(()), |message| tools.check(tool, message.arguments()))
    }

    /// The request.
    pub(crate) const fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The name or URI of the request's subject; empty if it has none.
    pub(crate) fn subject(&self) -> &str {
        self.opened.ask.message().and_then(Message::subject).map_or("", |(_, name)| name)
    }

    /// The request, for the next stage.
    pub(crate) fn into_parts(self) -> (Box<Opened>, Option<Arc<str>>) {
        (self.opened, self.rule)
    }
}

/// Why the policy did not allow a request.
#[derive(Clone, Debug, Error)]
pub enum Denial {
    /// The subject of the caller's handle is hidden from it by now, which is answered as if the handle did not exist.
    #[error("{0}, by now")]
    Handle(NoHandle),
    /// The caller must not learn whether the name exists.
    #[error("`{name}` is hidden from this caller")]
    Hidden {
        /// The name as the caller wrote it.
        name: Box<str>,
        /// The rule that denied, if one did; for the audit, never for the caller.
        rule: Option<Arc<str>>,
        /// Its `reason`, for the audit as well.
        reason: Option<Arc<str>>,
    },
    /// The limit of the rule is exceeded.
    #[error("limited by {rule}")]
    Limited {
        /// The rule that allows and limits it.
        rule: Arc<str>,
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// Denied, and more scopes would not help.
    #[error("denied by {}", rule.as_deref().unwrap_or("default"))]
    Refused {
        /// The rule that denied, if one did.
        rule: Option<Arc<str>>,
        /// The rule's `reason`, shown to the client.
        reason: Option<Arc<str>>,
        /// How to answer.
        on_deny: OnDeny,
        /// The unmet argument condition, if that alone kept a rule from allowing the call.
        argument: Option<Box<RefusedArgument>>,
    },
    /// Denied, but a token with more scopes would be allowed.
    #[error("`{name}` needs {}", needs.join(" "))]
    StepUp {
        /// The name as the caller wrote it.
        name: Box<str>,
        /// The rule that would allow it.
        rule: Arc<str>,
        /// All scopes for the operation.
        scopes: Arc<[Box<str>]>,
        /// Those the token lacks.
        needs: Arc<[Box<str>]>,
    },
}

impl Denial {
    /// The denial of what has no name that a rule could be about, or that callers must not learn of.
    pub(super) fn nameless() -> Self {
        Self::Hidden { name: "".into(), rule: None, reason: None }
    }

    /// The rule that decided, if one did, or whose argument condition is unmet.
    pub fn rule(&self) -> Option<&Arc<str>> {
        match self {
            Self::Handle(_) => None,
            Self::Hidden { rule, .. } => rule.as_ref(),
            Self::Refused { rule, argument, .. } => {
                rule.as_ref().or_else(|| argument.as_ref().map(|argument| &argument.rule))
            }
            Self::Limited { rule, .. } | Self::StepUp { rule, .. } => Some(rule),
        }
    }
}

/// Decides a request. Of the resources and tasks in a subscription those the caller may not have are removed. Errs with the
/// denial if the request is not allowed.
///
/// The arguments are taken from the request, whatever `context` has.
pub fn authorize(policy: &Policy, mut opened: Box<Opened>, context: &Context<'_>) -> Result<Permit, Denial> {
    let rules = Asker { policy, caller: &opened.caller, context, enforced: false };
    let rule = match &opened.ask {
        // There is no state for callers without a token.
        Ask::Close | Ask::Listen if opened.caller.anonymous => return Err(nothing_kept()),
        // Ending a session and opening a stream need no rule: messages on the stream are decided one by one.
        Ask::Close => None,
        Ask::Listen => opened.resumed.as_ref().map_or(Ok(None), |event| rules.resumed(event))?,
        Ask::Message(message) => match (message.shape(), &opened.answers) {
            (MessageShape::Response { .. }, Some(asked)) => rules.answer(asked, message)?,
            (MessageShape::Response { .. }, None) => return Err(Denial::nameless()),
            (MessageShape::Request { .. } | MessageShape::Notification, _) => rules.message(message, &opened)?,
        },
    };
    keep_subscriptions(policy, context, &mut opened);
    if opened.caller.anonymous {
        without_tasks(&mut opened);
    }
    Ok(Permit { opened, rule })
}

/// Removes the tasks extension from the client's capabilities, so that the server does not begin a task (2026-07-28, the tasks
/// extension), which would belong to nobody.
fn without_tasks(opened: &mut Opened) {
    let Opened { ask: Ask::Message(message), splice, .. } = opened else { return };
    let extensions = message.extensions().into_iter().flat_map(|extensions| extensions.members());
    let kept: Vec<_> = extensions.map(|member| (member, !member.name_is(TASKS_EXTENSION))).collect();
    splice.remove_members(&kept);
}

/// The denial for callers without a token of what needs an owner.
fn nothing_kept() -> Denial {
    Denial::nameless()
}

/// The decision on a message if every rule in shadow were enforced; `None` if no rule is in shadow.
pub(crate) fn foresee(policy: &Policy, opened: &Opened, context: &Context<'_>) -> Option<Foreseen> {
    if policy.has_shadow() { enforced(policy, opened, context) } else { None }
}

/// The same for any policy; `None` for anything but requests and notifications.
pub(crate) fn enforced(policy: &Policy, opened: &Opened, context: &Context<'_>) -> Option<Foreseen> {
    let message = opened.ask.message().filter(|message| message.method().is_some())?;
    let asker = Asker { policy, caller: &opened.caller, context, enforced: true };
    Some(Foreseen::of(asker.message(message, opened)))
}

/// The decision if rules in shadow were enforced.
#[derive(Clone, Debug)]
pub(crate) struct Foreseen {
    /// The decision.
    pub(crate) verdict: Verdict,
    /// The rule that would decide.
    pub(crate) rule: Option<Arc<str>>,
}

impl Foreseen {
    /// A decision, reduced to what the audit records.
    pub(crate) fn of(decided: Result<Option<Arc<str>>, Denial>) -> Self {
        match decided {
            Ok(rule) => Self { verdict: Verdict::Allow, rule },
            Err(Denial::StepUp { rule, .. }) => Self { verdict: Verdict::StepUp, rule: Some(rule) },
            Err(denial) => Self { verdict: Verdict::Deny, rule: denial.rule().cloned() },
        }
    }

    /// Whether it differs from the actual decision.
    pub(crate) fn differs(&self, decided: &Result<Permit, Denial>) -> bool {
        let decided = match decided {
            Ok(_) => Verdict::Allow,
            Err(Denial::StepUp { .. }) => Verdict::StepUp,
            Err(Denial::Handle(_) | Denial::Hidden { .. } | Denial::Limited { .. } | Denial::Refused { .. }) => {
                Verdict::Deny
            }
        };
        self.verdict != decided
    }
}

/// Reduces a subscription to what the caller may have: resources it may read, and its own tasks of tools it may call.
fn keep_subscriptions(policy: &Policy, context: &Context<'_>, opened: &mut Opened) {
    let Opened { ask: Ask::Message(message), caller, handles, splice, .. } = opened else { return };
    if message.listed().is_none_or(|method| method.access != Access::Subscriptions) {
        return;
    }
    let asker = Asker { policy, caller, context, enforced: false };
    splice.remove_items(&subscriptions(message, "resourceSubscriptions", |uri| asker.reads(uri)));
    handles.listened.retain(|own| asker.follows(&own.task.origin));
    let own = |handle: &str| handles.listened.iter().find(|own| *own.handle == *handle);
    let tasks = subscriptions(message, "taskIds", |handle| own(handle).is_some());
    for (item, _) in tasks.iter().filter(|(_, kept)| *kept) {
        if let Some(own) = item.as_str().and_then(|handle| own(&handle)) {
            splice.replace(item.span(), quoted(&own.task.upstream_id));
        }
    }
    splice.remove_items(&tasks);
}

fn subscriptions<'m>(message: &'m Message, list: &str, keeps: impl Fn(&str) -> bool) -> Vec<(Value<'m>, bool)> {
    let items = message.params().and_then(|params| params.get("notifications")?.get(list));
    items.iter().flat_map(Value::items).map(|item| (item, item.as_str().is_some_and(|name| keeps(&name)))).collect()
}

/// A policy with a caller and a context, for several decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) caller: &'a Caller,
    pub(crate) context: &'a Context<'a>,
    /// Whether to decide as if rules in shadow were enforced.
    pub(crate) enforced: bool,
}

impl Asker<'_> {
    fn message(&self, message: &Message, opened: &Opened) -> Result<Option<Arc<str>>, Denial> {
        let Some(method) = message.method() else { return Err(Denial::nameless()) };
        let arguments = Arguments::Known(message.arguments());
        let Some(method) = method.listed() else {
            return self.decide(Operation { method: method.name(), kind: None, name: "" }, arguments);
        };
        if message.subject_is_odd() {
            let name = message.subject().map(|(_, name)| name).unwrap_or_default();
            return Err(Denial::Hidden { name: name.into(), rule: None, reason: None });
        }
        if self.caller.anonymous && message.needs_somebody() {
            return Err(nothing_kept());
        }
        let arguments = match method.access {
            // The arguments of a completion are not those of the later call.
            Access::Completion => Arguments::Unknown,
            _ => arguments,
        };
        let subject = opened.handles.task.as_ref().map_or_else(|| message.subject(), |own| own.task.origin.subject());
        let rule = self.about(method, subject, arguments)?;
        let responses = message.input_responses().into_iter().flat_map(|responses| responses.members());
        responses.map(|member| member.value).try_for_each(|response| self.may_answer(response))?;
        Ok(rule)
    }

    /// Decides a method again, with other arguments. Completions and tasks have none that rules decide on.
    pub(super) fn with_arguments(
        &self,
        method: MethodRef<'_>,
        subject: Option<(SubjectKind, &str)>,
        arguments: Arguments<'_>,
    ) -> Result<Option<Arc<str>>, Denial> {
        match method.listed() {
            Some(method) if matches!(method.access, Access::Completion | Access::Task) => Ok(None),
            Some(method) => self.about(method, subject, arguments),
            None => self.decide(Operation { method: method.name(), kind: None, name: "" }, arguments),
        }
    }

    pub(super) fn decide(
        &self,
        operation: Operation<'_>,
        arguments: Arguments<'_>,
    ) -> Result<Option<Arc<str>>, Denial> {
        let shown = if operation.kind.is_some() { operation.name } else { operation.method };
        match self.decision(operation, arguments) {
            Decision::Allow { rule } => Ok(Some(rule)),
            Decision::Deny { hidden: true, rule, reason, .. } => {
                Err(Denial::Hidden { name: shown.into(), rule, reason })
            }
            // A token might help, so the caller is asked for one instead of being refused.
            Decision::Deny { rule, reason, .. }
                if self.caller.anonymous && self.policy.would_a_token_help(&operation) =>
            {
                Err(Denial::Hidden { name: shown.into(), rule, reason })
            }
            Decision::Deny { rule, reason, on_deny, argument, .. } => {
                Err(Denial::Refused { rule, reason, on_deny, argument })
            }
            Decision::StepUp { rule, scopes, needs } => Err(Denial::StepUp { name: shown.into(), rule, scopes, needs }),
        }
    }

    /// The policy's decision, with or without enforcing rules in shadow.
    pub(super) fn decision(&self, operation: Operation<'_>, arguments: Arguments<'_>) -> Decision {
        let context = Context { arguments, ..*self.context };
        if self.enforced {
            self.policy.decide_enforced(self.caller, &operation, &context)
        } else {
            self.policy.decide(self.caller, &operation, &context)
        }
    }

    /// Decides a method without a subject. Returns the rule that allows it; errs with the denial.
    pub(crate) fn permits(&self, method: &str) -> Result<Option<Arc<str>>, Denial> {
        let arguments = Arguments::Known(None);
        match methods::find(method) {
            Some(method) => self.about(method, None, arguments),
            None => self.decide(Operation { method, kind: None, name: "" }, arguments),
        }
    }

    /// Decides a recorded call again, of which only method and subject are known.
    pub(crate) fn past(&self, method: &str, subject: Option<(SubjectKind, &str)>) -> Result<Option<Arc<str>>, Denial> {
        match (methods::find(method), subject) {
            (Some(method), _) => self.about(method, subject, Arguments::Unknown),
            (None, Some((kind, name))) => self.decide(Operation { method, kind: Some(kind), name }, Arguments::Unknown),
            (None, None) => self.decide(Operation { method, kind: None, name: "" }, Arguments::Unknown),
        }
    }

    /// Whether the caller may read a resource now, which subscriptions and notifications about it require.
    pub(crate) fn reads(&self, uri: &str) -> bool {
        let operation = Operation { method: RESOURCES_READ, kind: Some(SubjectKind::Resource), name: uri };
        !names::is_odd(SubjectKind::Resource, uri)
            && matches!(self.policy.decide(self.caller, &operation, self.context), Decision::Allow { .. })
    }

    /// Whether a rule lets the caller use a method without a subject.
    pub(crate) fn allows(&self, method: &str) -> bool {
        let operation = Operation { method, kind: None, name: "" };
        matches!(self.policy.decide(self.caller, &operation, self.context), Decision::Allow { .. })
    }

    /// Whether the caller may get a notification of the server: free ones always, those about a resource if it may read it,
    /// those about a task if it may follow it, and others if a rule allows the notification or, with no rule that denies it,
    /// the request it belongs to.
    pub(crate) fn hears(&self, method: &Method, params: Option<Value<'_>>, task: Option<&Origin>) -> bool {
        match method.access {
            Access::Free | Access::Subscriptions => true,
            Access::Subject { pointer, .. } => {
                let uri = params.and_then(|params| params.pointer(pointer)?.as_str());
                uri.is_some_and(|uri| self.reads(&uri))
            }
            Access::Task => self.hears_of_task(method, task),
            Access::Completion | Access::Named => {
                let operation = Operation { method: method.name, kind: None, name: "" };
                match self.policy.decide(self.caller, &operation, self.context) {
                    Decision::Allow { .. } => true,
                    Decision::Deny { rule: Some(_), .. } => false,
                    _ => methods::news_of(method).is_some_and(|request| self.allows(request)),
                }
            }
        }
    }

    /// Decides on the server's requests inside an answer (2026-07-28, "Multi Round-Trip Requests") like on the requests of
    /// older servers: each needs a rule that names its method. Returns them, if there are any; errs if one is not allowed.
    pub(crate) fn may_ask<'v>(&self, holder: Value<'v>) -> Result<Option<Value<'v>>, Denial> {
        let Some(requests) = holder.get("inputRequests") else { return Ok(None) };
        if self.caller.anonymous {
            return Err(nothing_kept());
        }
        let asks = |request: Value<'_>| {
            let method = methods::find(&request.get("method")?.as_str()?)?;
            Some(method.sender == Sender::Server && self.allows(method.name))
        };
        if requests.kind() == Kind::Object && requests.members().all(|member| asks(member.value) == Some(true)) {
            Ok(Some(requests))
        } else {
            Err(unasked())
        }
    }

    /// The same for an error that requests something of the client.
    pub(crate) fn may_ask_by_error(&self, error: Value<'_>) -> Result<(), Denial> {
        let code = error.get("code").and_then(|code| code.as_i64());
        match code.and_then(asked_by_error) {
            Some(_) if self.caller.anonymous => Err(nothing_kept()),
            Some(method) if !self.allows(method) => Err(unasked()),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that a newer policy still allows the request of an open stream, with its original arguments.
    pub(crate) fn still_allows(&self, way: &Way) -> Result<(), Denial> {
        let Some(method) = way.method else { return Ok(()) };
        let subject = way.subject.as_ref().map(|(kind, name)| (*kind, &**name));
        let kept = way.arguments.document();
        match &kept {
            Some(document) => self.about(method, subject, Arguments::Known(document.as_ref().map(Document::root))),
            None => self.about(method, subject, Arguments::Unknown),
        }
        .map(|_| ())
    }
}

/// The denial of an answer with a request that no rule allows.
fn unasked() -> Denial {
    Denial::Refused { rule: None, reason: None, on_deny: OnDeny::default(), argument: None }
}

/// The arguments of a call, kept while its answer is streamed, so that a newer policy can decide on the same arguments.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// The call has none.
    Absent,
    /// As written.
    Bytes(Bytes),
    /// Not kept; they are unknown to rules.
    Lost,
}

impl Kept {
    /// The most bytes kept while a stream is open.
    const MOST: usize = 64 * 1024;

    /// The arguments of a message, sharing its memory.
    pub(crate) fn of(message: &Message) -> Self {
        if message.listed().is_some_and(|method| method.access == Access::Completion) {
            return Self::Lost;
        }
        message.arguments().map_or(Self::Absent, |arguments| Self::Bytes(arguments.raw_bytes()))
    }

    /// Copies the arguments, so that the memory of the message can be freed; large ones are dropped.
    pub(crate) fn detach(&mut self) {
        if let Self::Bytes(bytes) = self {
            *self = if bytes.len() <= Self::MOST { Self::Bytes(Bytes::copy_from_slice(bytes)) } else { Self::Lost };
        }
    }

    #[expect(clippy::option_option, reason = "no arguments are known arguments")]
    fn document(&self) -> Option<Option<Document>> {
        match self {
            Self::Absent => Some(None),
            Self::Bytes(bytes) => Document::parse(bytes.clone(), &Limits::REQUEST).ok().map(Some),
            Self::Lost => None,
        }
    }
}
