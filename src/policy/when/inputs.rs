//! The values of the variables in an expression.

use std::any::Any;
use std::sync::OnceLock;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelInt, CelString, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use regex::Regex;

use super::values::{Converted, Converter, map};
use super::{ArgsNeed, When};
use crate::auth::Caller;
use crate::json::{Kind, is_folded_spelling};
use crate::mcp::SubjectKind;
use crate::policy::Operation;
use crate::policy::context::{Arguments, Claims, Context, Phase};

/// The variables of one evaluation, each computed when it is read.
pub(super) struct Inputs<'a> {
    when: &'a When,
    caller: &'a Caller,
    operation: &'a Operation<'a>,
    context: &'a Context<'a>,
    args: OnceLock<Option<Converted>>,
}

impl<'a> Inputs<'a> {
    pub(super) const fn new(
        when: &'a When,
        caller: &'a Caller,
        operation: &'a Operation<'a>,
        context: &'a Context<'a>,
    ) -> Self {
        Self { when, caller, operation, context, args: OnceLock::new() }
    }

    /// The arguments that the expression reads; `None` if they are unknown or beyond the caps.
    fn args(&self) -> Option<Converted> {
        let Arguments::Known(arguments) = self.context.arguments else { return None };
        let mut converter = Converter::new();
        let Some(arguments) = arguments else { return Some(converter.finish(map([]))) };
        if arguments.kind() != Kind::Object {
            return None;
        }
        let value = match &self.when.needs.args {
            ArgsNeed::None => return None,
            ArgsNeed::All => converter.value(arguments)?,
            ArgsNeed::Members(names) => {
                // The tool may read another spelling of a name.
                let disguised = |key: &str| names.iter().any(|name| is_folded_spelling(key, name));
                if arguments.members().any(|member| disguised(&member.name())) {
                    return None;
                }
                converter.members(arguments, |name| names.iter().any(|wanted| **wanted == *name))?
            }
        };
        Some(converter.finish(value))
    }

    /// A value, if its lists are short enough for the expression's cost limit.
    fn affordable<'b>(&self, converted: Option<&'b Converted>) -> Option<CowVal<'b, 'b>> {
        let converted = converted.filter(|converted| converted.longest <= self.when.needs.longest)?;
        Some(CowVal::Borrowed(&*converted.value))
    }

    fn tool(&self) -> Option<Box<dyn Val>> {
        let Some(SubjectKind::Tool) = self.operation.kind else { return None };
        let hints = self.context.annotations(self.operation.name);
        let hint = |flag: bool| Box::new(CelBool::from(flag)) as Box<dyn Val>;
        let annotations = map([
            ("readOnlyHint", hint(hints.read_only)),
            ("destructiveHint", hint(hints.destructive)),
            ("idempotentHint", hint(hints.idempotent)),
            ("openWorldHint", hint(hints.open_world)),
        ]);
        Some(map([("name", text(self.operation.name)), ("annotations", annotations)]))
    }

    fn client(&self) -> Box<dyn Val> {
        let ip = self.context.ip.map(|ip| ("ip", text(&ip.to_canonical().to_string())));
        let id = self.caller.client_id.as_deref().map(|id| ("id", text(id)));
        map(ip.into_iter().chain(id))
    }

    fn untrusted(&self) -> Option<Box<dyn Val>> {
        let said = self.context.untrusted?;
        let headers = map(said.headers.iter().map(|(name, value)| (&**name, text(value))));
        let fields = [("name", &said.name), ("version", &said.version), ("protocol_version", &said.protocol_version)];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, text(value.as_deref()?))));
        Some(map(fields.chain([("headers", headers)])))
    }

    /// The time of the call; unknown in a list, whose tools are called later.
    fn now(&self) -> Option<Box<dyn Val>> {
        if self.context.phase == Phase::List {
            return None;
        }
        let unix = self.context.now.unix_seconds();
        // The epoch began on a Thursday; 0 is Sunday.
        let weekday = (unix.div_euclid(86_400) + 4).rem_euclid(7);
        let number = |value: i64| Box::new(CelInt::from(value)) as Box<dyn Val>;
        let hour = unix.rem_euclid(86_400) / 3600;
        Some(map([("unix", number(unix)), ("hour", number(hour)), ("weekday", number(weekday))]))
    }
}

fn text(text: &str) -> Box<dyn Val> {
    Box::new(CelString::from(text.to_owned()))
}

impl VariableResolver for Inputs<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable {
            "args" => self.affordable(self.args.get_or_init(|| self.args()).as_ref()),
            "claims" => self.affordable(self.caller.expressed.claims(&self.caller.claims)),
            "client" if self.context.claims == Claims::Nameless => None,
            "client" => Some(CowVal::Owned(self.client())),
            "now" => self.now().map(CowVal::Owned),
            "request" => Some(CowVal::Owned(map([("method", text(self.operation.method))]))),
            "server" => Some(CowVal::Owned(text(self.context.server))),
            "tool" => self.tool().map(CowVal::Owned),
            "untrusted" => self.untrusted().map(CowVal::Owned),
            _ => {
                let number: usize = variable.strip_prefix('@')?.parse().ok()?;
                self.when.patterns.get(number).map(|pattern| CowVal::Borrowed(pattern as &dyn Val))
            }
        }
    }
}

static PATTERN: Type = Type::new_unspecified_type("pattern");

/// The function that replaces `matches`.
pub(super) const MATCHES: &str = "@matches";

/// A regular expression, compiled when the file is read; `cel` itself compiles patterns at every call.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// The parameter types of [`matches()`].
pub(super) fn signature() -> Vec<Type> {
    vec![STRING_TYPE, PATTERN.to_owned()]
}

#[expect(clippy::needless_pass_by_value, reason = "the signature `cel` calls functions by")]
pub(super) fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = args.first().and_then(|text| text.downcast_ref::<CelString<'v>>());
    let pattern = args.get(1).and_then(|pattern| pattern.downcast_ref::<Pattern>());
    match (text, pattern) {
        (Some(text), Some(pattern)) => Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner())))),
        _ => Err(ExecutionError::MissingArgumentOrTarget),
    }
}
