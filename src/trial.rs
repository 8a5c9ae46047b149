//! One call decided without a network, by the stages every request goes through: what policy tests, explanations and
//! replays ask.

mod again;
mod caller;
mod case;
mod suite;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::auth::{Caller, Challenges, Scheme};
use crate::body::Body;
use crate::config::Elicitation;
use crate::json::{self, Document, Splice};
use crate::mask::{self, Direction, Findings, Masks, View};
use crate::mcp::{self, Access, Head, Known, Method, Revision, RpcId, SubjectKind, compose, methods};
use crate::opened::{Ask, Opened};
use crate::policy::cases::Verdict;
use crate::policy::tools::{Tool, Tools};
use crate::policy::{self, Asker, Context, Definition, Denial, Explanation, Foreseen, Operation, Policy};
use crate::reject::{Asked, Reject};
use crate::reply::{self, ReplyError};

pub(crate) use self::again::{Told, again};
pub(crate) use self::caller::{IssuedBy, caller};
pub(crate) use self::case::{Mismatch, Outcome};
pub(crate) use self::suite::{Place, Suite};

/// What decides about the calls of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) tools: &'a Tools,
    pub(crate) masks: &'a Masks,
    /// `_meta` keys let through besides the reserved ones.
    pub(crate) meta: &'a [Box<str>],
    /// What servers may have users asked.
    pub(crate) elicitation: &'a Elicitation,
    /// The upstream's own origin; empty where there is none.
    pub(crate) origin: &'a str,
    /// The definition of the tool that is called, if it is not the approved one that is asked about.
    pub(crate) offered: Option<&'a Arc<Tool>>,
}

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    /// To see the things of a kind.
    List(SubjectKind),
    /// A method that is about no subject; also what a server asks of its client.
    Method(Box<str>),
    /// To use a tool, prompt, resource or template.
    Use { kind: SubjectKind, name: Box<str>, args: Option<Map<String, Value>> },
}

impl Call {
    /// Kind and name of what it is about.
    pub(crate) fn subject(&self) -> Option<(SubjectKind, &str)> {
        match self {
            Self::Use { kind, name, .. } => Some((*kind, name)),
            Self::List(_) | Self::Method(_) => None,
        }
    }

    /// The row of its method; `None` for one that is not in the table.
    pub(crate) fn method(&self) -> Option<&'static Method> {
        match self {
            Self::List(kind) => compose::list_of(*kind),
            Self::Method(name) => methods::find(name),
            Self::Use { kind, .. } => compose::use_of(*kind),
        }
    }
}

/// A call the policy allows, as the upstream would get it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    /// The rule that allows it; `None` for what every authenticated caller may do.
    pub(crate) rule: Option<Arc<str>>,
    /// The arguments behind the masks.
    pub(crate) arguments: Option<Value>,
    /// What the masks found in them.
    pub(crate) findings: Findings,
}

impl<'a> Rules<'a> {
    /// One caller's questions to the policy.
    pub(crate) const fn asked_by(self, caller: &'a Caller, context: &'a Context<'a>) -> Asker<'a> {
        Asker { policy: self.policy, caller, context, enforced: false }
    }

    /// What a tool that is called is known to be: without an upstream, what was approved of it.
    fn defined(self, call: &Call) -> Option<Arc<Tool>> {
        match call.subject() {
            Some((SubjectKind::Tool, name)) => self.offered.cloned().or_else(|| self.tools.approved(name)),
            _ => None,
        }
    }

    fn context<'c>(self, call: &Call, tool: Option<&'c Tool>, context: &Context<'c>) -> Context<'c>
    where
        'a: 'c,
    {
        let definition = match call.subject() {
            Some((SubjectKind::Tool, _)) => Definition::of(tool),
            _ => context.definition,
        };
        Context { definition, approved: self.tools.lock(), ..*context }
    }
}

/// Decides `call` of `caller` as a request of `revision`.
pub(crate) fn decide(
    rules: Rules<'_>,
    caller: &Arc<Caller>,
    call: &Call,
    revision: Revision,
    context: &Context<'_>,
) -> Result<Passed, Reject> {
    if let Call::Method(name) = call {
        return method(&rules.asked_by(caller, context), name);
    }
    let Some(method) = call.method() else { return Ok(Passed::default()) };
    let opened = opened(rules.policy, caller, call, method, revision)?;
    let tool = rules.defined(call);
    let context = &rules.context(call, tool.as_deref(), context);
    let permit = policy::authorize(rules.policy, opened, context)?;
    match (&tool, call) {
        (Some(tool), _) => permit.fits(rules.tools, tool)?,
        (None, Call::Use { kind: SubjectKind::Tool, .. }) => rules.tools.unlisted()?,
        (None, _) => {}
    }
    let masked = mask::mask(rules.masks, rules.meta, permit, tool.as_deref(), context.now)
        .map_err(|blocked| Reject::Blocked { blocked, direction: Direction::Arguments })?;
    policy::still_fits(rules.policy, rules.tools, tool.as_deref(), &masked, context)?;
    let arguments = Document::parse(masked.bytes().clone(), &json::Limits::ANSWER)
        .ok()
        .and_then(|document| Some(document.pointer("/params/arguments")?.to_value()));
    Ok(Passed { rule: masked.rule().cloned(), arguments, findings: masked.findings().clone() })
}

/// A method without a subject is decided by its name, whoever sends it.
fn method(asker: &Asker<'_>, name: &str) -> Result<Passed, Reject> {
    let rule = match methods::find(name).map(|method| method.access) {
        Some(Access::Free | Access::Named | Access::Subscriptions | Access::Task) | None => asker.permits(name)?,
        Some(Access::Completion | Access::Subject { .. }) => {
            return Err(Denial::Hidden { name: name.into(), rule: None, reason: None }.into());
        }
    };
    Ok(Passed { rule, ..Passed::default() })
}

/// `call` as a request that was admitted, with nothing in it to be opened.
fn opened(
    policy: &Policy,
    caller: &Arc<Caller>,
    call: &Call,
    method: &Method,
    revision: Revision,
) -> Result<Box<Opened>, Reject> {
    let args = if let Call::Use { args, .. } = call { args.as_ref() } else { None };
    let (headers, body) = compose::request(revision, method, call.subject(), args);
    let known = Known {
        bytes: usize::MAX,
        limits: json::Limits::REQUEST,
        names_method: &|name| policy.names_method(name),
        supported: &Revision::SERVED,
    };
    let message = mcp::admit(&Head { headers: &headers, session: None }, body, &known)?;
    Ok(Opened::without_handles(Arc::clone(caller), Ask::Message(message)))
}

/// What becomes of an upstream's `result` on its way to the caller.
pub(crate) fn answer(
    rules: Rules<'_>,
    asker: &Asker<'_>,
    call: &Call,
    result: &Value,
    findings: &mut Findings,
) -> Result<Value, Reject> {
    let unusable = || Reject::Reply(ReplyError::Missing);
    let document = Document::parse(Bytes::from(result.to_string()), &json::Limits::ANSWER).map_err(|_| unusable())?;
    let mut splice = Splice::new();
    let tool = rules.defined(call);
    let view = View {
        caller: asker.caller.principal(),
        subject: call.subject(),
        now: asker.context.now,
        said: None,
        tool: tool.as_deref(),
    };
    reply::rewrite_result(asker, rules, &view, call.method(), document.root(), &mut splice, findings)?;
    serde_json::from_slice(&splice.apply(document.bytes())).map_err(|_| unusable())
}

/// Asks the policy itself about `call`, with its arguments; a list is asked about no name in particular.
fn ask<T>(call: &Call, context: &Context<'_>, question: impl FnOnce(&Operation<'_>, &Context<'_>) -> T) -> T {
    let method = call.method().map(|method| method.name);
    let arguments = match call {
        Call::Use { args: Some(args), .. } => Some(Value::Object(args.clone()).to_string()),
        _ => None,
    };
    let document = arguments.and_then(|text| Document::parse(text.into(), &json::Limits::REQUEST).ok());
    let known = context.with_arguments(document.as_ref().map(Document::root));
    let (operation, context) = match call {
        Call::Use { kind, name, .. } => {
            (Operation { method: method.unwrap_or_default(), kind: Some(*kind), name }, known)
        }
        Call::Method(name) => (Operation { method: name, kind: None, name: "" }, known),
        Call::List(kind) => {
            (Operation { method: methods::use_of(*kind), kind: Some(*kind), name: "" }, context.listing())
        }
    };
    question(&operation, &context)
}

/// Why the rules decide about `call` as they do.
pub(crate) fn explain(rules: Rules<'_>, caller: &Caller, call: &Call, context: &Context<'_>) -> Explanation {
    let tool = rules.defined(call);
    let context = &rules.context(call, tool.as_deref(), context);
    ask(call, context, |operation, context| rules.policy.explain(caller, operation, context))
}

/// What would be decided about `call` if every rule in shadow were enforced.
pub(crate) fn enforced(
    rules: Rules<'_>,
    caller: &Arc<Caller>,
    call: &Call,
    revision: Revision,
    context: &Context<'_>,
) -> Foreseen {
    let nothing = Foreseen { verdict: Verdict::Deny, rule: None };
    if let Call::Method(name) = call {
        return match method(&Asker { enforced: true, ..rules.asked_by(caller, context) }, name) {
            Ok(passed) => Foreseen { verdict: Verdict::Allow, rule: passed.rule },
            Err(Reject::Denied(denial)) => Foreseen::of(Err(denial)),
            Err(_) => nothing,
        };
    }
    let opened = call.method().map(|method| opened(rules.policy, caller, call, method, revision));
    let Some(Ok(opened)) = opened else { return nothing };
    let tool = rules.defined(call);
    let context = &rules.context(call, tool.as_deref(), context);
    policy::enforced(rules.policy, &opened, context).unwrap_or(nothing)
}

/// The very answer a client of `revision` gets when it is refused; without a `call`, before its body was read.
pub(crate) fn refusal(
    reject: &Reject,
    caller: Option<&Caller>,
    call: Option<&Call>,
    revision: Revision,
    challenges: &Challenges,
    request_id: Uuid,
) -> Response<Body> {
    let id = call.and_then(|_| RpcId::from_raw(&compose::ID.to_string()));
    let subject = call.and_then(Call::subject);
    let asked = Asked {
        challenges: Some(challenges),
        scheme: Scheme::Bearer,
        era: Some(revision.era()),
        id: id.as_ref().map(RpcId::raw),
        request_id,
        subject,
        tool_call: subject.is_some_and(|(kind, _)| kind == SubjectKind::Tool),
    };
    reject.told_to(caller).respond(&asked).0
}

#[cfg(test)]
mod tests;
