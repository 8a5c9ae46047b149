//! A rule's `when`: an expression in CEL, the Common Expression Language, compiled once and bounded in cost.
//!
//! The result can be unknown: an expression that fails, a value beyond the caps, arguments before there is a call.

mod compile;
mod cost;
mod flaw;
mod inputs;
mod names;
mod values;
mod walk;

use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::{Env, ExecutionError, Value};

pub(super) use self::compile::compile;
pub(super) use self::flaw::Flaw;
use self::inputs::{Inputs, Pattern};
pub(crate) use self::values::Expressed;
use super::Operation;
use super::context::{Claims, Context};
use super::rule::Holds;
use crate::auth::Caller;

/// A compiled expression.
pub(super) struct When {
    expression: IdedExpr,
    env: Arc<Env>,
    /// The patterns of `matches`, by their numbers.
    patterns: Box<[Pattern]>,
    needs: Needs,
}

impl std::fmt::Debug for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("When").field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// What an expression reads.
#[derive(Clone, Debug, Default)]
struct Needs {
    /// Variables by name.
    variables: Vec<Box<str>>,
    args: ArgsNeed,
    /// Claims it tests with `has`.
    probed: Vec<Box<str>>,
    /// The longest list with which it stays within its cost limit.
    longest: usize,
}

/// The arguments an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ArgsNeed {
    All,
    /// The top-level ones of these names.
    Members(Vec<Box<str>>),
    #[default]
    None,
}

impl When {
    /// Evaluates the expression: true, false, or unknown.
    pub(super) fn holds(&self, caller: &Caller, operation: &Operation<'_>, context: &Context<'_>) -> Holds {
        match self.evaluate(caller, operation, context) {
            Ok(true) => Holds::Yes,
            Ok(false) => Holds::No,
            Err(_) => Holds::Unknown,
        }
    }

    /// The same. Errs with the reason if it is unknown, without values.
    pub(super) fn explain(
        &self,
        caller: &Caller,
        operation: &Operation<'_>,
        context: &Context<'_>,
    ) -> Result<bool, String> {
        self.evaluate(caller, operation, context).map_err(|error| match error {
            Error::NotBool => "it is neither true nor false".into(),
            Error::Execution(error) => match *error {
                ExecutionError::NoSuchKey(key) => {
                    format!("there is no `{}`; `has(…)` asks whether there is", key.escape_debug())
                }
                ExecutionError::NoSuchOverload(overload) => overload.to_string(),
                ExecutionError::UndeclaredReference(name) => format!("`{name}` is not known here, or too large"),
                ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero".into(),
                ExecutionError::IndexOutOfBounds(_) => "a list is shorter than that".into(),
                _ => "it cannot be evaluated with these values".into(),
            },
        })
    }

    /// Whether it reads that variable.
    pub(super) fn looks_at(&self, variable: &str) -> bool {
        self.needs.variables.iter().any(|name| **name == *variable)
    }

    /// Whether it reads no other variables than those.
    pub(super) fn looks_at_no_more_than(&self, variables: &[&str]) -> bool {
        self.needs.variables.iter().all(|name| variables.contains(&&**name))
    }

    /// The top-level arguments it reads by name; empty if it reads `args` as a whole.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &str> {
        let names = match &self.needs.args {
            ArgsNeed::Members(names) => names.as_slice(),
            ArgsNeed::All | ArgsNeed::None => &[],
        };
        names.iter().map(|name| &**name)
    }

    /// The patterns of `matches` that match the empty string.
    pub(super) fn empty_patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| &pattern.0).filter(|regex| regex.is_match("")).map(regex::Regex::as_str)
    }

    fn evaluate(&self, caller: &Caller, operation: &Operation<'_>, context: &Context<'_>) -> Result<bool, Error> {
        // `has` is unknown for a claim that was not recorded.
        let unwritten = |name: &str| context.claims != Claims::All && !caller.claims.contains_key(name);
        if let Some(name) = self.needs.probed.iter().find(|name| unwritten(name)) {
            return Err(Error::Execution(Box::new(ExecutionError::UndeclaredReference(name.to_string().into()))));
        }
        let inputs = Inputs::new(self, caller, operation, context);
        let mut scope = cel::Context::with_env(Arc::clone(&self.env));
        scope.set_variable_resolver(&inputs);
        let value = Value::resolve_val(&self.expression, &scope).map_err(|error| Error::Execution(Box::new(error)))?;
        value.downcast_ref::<CelBool>().map(|truth| *truth.inner()).ok_or(Error::NotBool)
    }
}

/// Why the result of an expression is unknown.
enum Error {
    Execution(Box<ExecutionError>),
    NotBool,
}
