//! Decisions about what belongs to something else: a task of a tool, a completion on a prompt, the rest of a stream.

use std::sync::Arc;

use super::permit::Asker;
use super::{Arguments, Context, Decision, Denial, OnDeny, Operation};
use crate::json::{Value, fold};
use crate::mcp::asked::ASKED_OF_CLIENTS;
use crate::mcp::handle::{NoHandle, Origin};
use crate::mcp::methods::{self, TASKS_GET};
use crate::mcp::session::{EventId, ServerRequest};
use crate::mcp::{Access, Message, Method, SubjectKind};

type Decided = Result<Option<Arc<str>>, Denial>;

impl Asker<'_> {
    /// Decides a method that has a subject. The use of the subject itself is decided too, so that a task of a tool, a
    /// completion on a prompt or a subscription to a resource is no way around a rule.
    pub(super) fn about(
        &self,
        method: &Method,
        subject: Option<(SubjectKind, &str)>,
        arguments: Arguments<'_>,
    ) -> Decided {
        if self.caller.anonymous && !self.is_for_anyone(method) {
            return Err(Denial::nameless());
        }
        let alone = Operation { method: method.name, kind: None, name: "" };
        let (kind, name) = match (method.access, subject) {
            (Access::Free | Access::Subscriptions, _) => return self.unless_denied(alone),
            (Access::Named, _) | (Access::Task, None) => return self.decide(alone, arguments),
            (Access::Completion | Access::Subject { .. }, None) => {
                return Err(Denial::nameless());
            }
            (Access::Completion | Access::Subject { .. } | Access::Task, Some(subject)) => subject,
        };
        let asked = Operation { method: method.name, kind: Some(kind), name };
        let used = Operation { method: methods::use_of(kind), ..asked };
        match method.access {
            Access::Task => self.task(used, asked, alone).map_err(gone),
            _ if asked.method == used.method => self.decide(asked, arguments),
            _ => {
                let rule = self.decide(asked, arguments)?;
                self.later(|asker| asker.decide(used, Arguments::Unknown)).map(|_| rule)
            }
        }
    }

    /// Whether callers without a token may use the method at all.
    fn is_for_anyone(&self, method: &Method) -> bool {
        self.policy.serves_anonymous(self.context.now) && methods::is_for_anyone(method)
    }

    /// Decides on a task: its tool must be callable. Rules for the tool cover its tasks, and so do rules that only list the
    /// methods of tasks.
    fn task(&self, used: Operation<'_>, asked: Operation<'_>, alone: Operation<'_>) -> Decided {
        self.later(|asker| {
            asker.decide(used, Arguments::Unknown)?;
            match asker.decision(asked, Arguments::Unknown) {
                Decision::Allow { rule } => Ok(Some(rule)),
                Decision::Deny { rule: Some(_), .. } => asker.decide(asked, Arguments::Unknown),
                Decision::Deny { rule: None, .. } | Decision::StepUp { .. } => asker.decide(alone, Arguments::Unknown),
            }
        })
    }

    /// Decides as for a list: arguments and time of the original call were decided when it was made, and are not known any
    /// more. Everything else is decided now.
    fn later<T>(&self, ask: impl FnOnce(&Asker<'_>) -> T) -> T {
        let context: Context<'_> = self.context.listing();
        ask(&Asker { context: &context, ..*self })
    }

    /// Allows the operation to every caller unless a rule denies it.
    fn unless_denied(&self, operation: Operation<'_>) -> Decided {
        match self.decision(operation, Arguments::Unknown) {
            Decision::Deny { rule: rule @ Some(_), reason, on_deny, .. } => {
                Err(Denial::Refused { rule, reason, on_deny, argument: None })
            }
            Decision::Allow { .. } | Decision::Deny { .. } | Decision::StepUp { .. } => Ok(None),
        }
    }

    /// Decides on something that belongs to an earlier call.
    pub(super) fn belongs(&self, origin: &Origin) -> Decided {
        self.later(|asker| asker.about(origin.method, origin.subject(), Arguments::Unknown))
    }

    /// Decides on the rest of a broken stream like the call it answers, by the current token and policy.
    pub(super) fn resumed(&self, event: &EventId) -> Decided {
        match &event.origin {
            Some(origin) => self.belongs(origin),
            // A stream that answers no call is allowed; the answer to an unknown call is not.
            None if event.rpc_id.is_none() => Ok(None),
            None => Err(Denial::nameless()),
        }
    }

    /// Decides on the answer to a server's request: the request and the call during which it was made must be allowed.
    pub(super) fn answer(&self, asked: &ServerRequest, message: &Message) -> Decided {
        let rule = self.about(asked.method, None, Arguments::Unknown)?;
        if let Some(origin) = &asked.origin {
            self.belongs(origin)?;
        }
        match message.result() {
            // The result of a client's task is an answer to the server's original request.
            Some(result) if asked.method.access == Access::Task && !methods::is_status(asked.method) => {
                self.may_answer(result)?;
            }
            _ => {}
        }
        Ok(rule)
    }

    /// Decides on an answer inside a call or from a task by its form, as nothing else tells which request it answers: each kind
    /// of answer has members that no other has (2026-07-28, `InputResponse`). An answer without such members counts as every
    /// kind, one with members of several kinds as each of them. Errs if one of the kinds is not allowed.
    pub(super) fn may_answer(&self, answer: Value<'_>) -> Result<(), Denial> {
        let names: Vec<String> = answer.members().map(|member| fold(&member.name()).to_ascii_lowercase()).collect();
        let is_of = |marks: &[&str]| names.iter().any(|name| marks.contains(&name.as_str()));
        let marked = ASKED_OF_CLIENTS.iter().filter(|(_, marks)| is_of(marks)).count();
        let mut could_be = ASKED_OF_CLIENTS.iter().filter(|(_, marks)| marked == 0 || is_of(marks));
        if could_be.all(|(method, _)| self.allows(method)) {
            return Ok(());
        }
        Err(Denial::Refused { rule: None, reason: None, on_deny: OnDeny::default(), argument: None })
    }

    /// Whether the caller may see the status of a task now.
    pub(crate) fn follows(&self, origin: &Origin) -> bool {
        let asks = methods::find(TASKS_GET);
        asks.is_some_and(|method| self.about(method, origin.subject(), Arguments::Unknown).is_ok())
    }

    /// Whether the caller may get a notification about a task.
    pub(super) fn hears_of_task(&self, notice: &Method, task: Option<&Origin>) -> bool {
        let alone = Operation { method: notice.name, kind: None, name: "" };
        self.unless_denied(alone).is_ok() && task.is_some_and(|origin| self.follows(origin))
    }
}

/// Answers for a task of a hidden tool as for one that does not exist.
fn gone(denial: Denial) -> Denial {
    match denial {
        Denial::Hidden { .. } => Denial::Handle(NoHandle::Task),
        denial => denial,
    }
}
