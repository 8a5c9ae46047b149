//! Compiles expressions, many at once on threads of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use cel::{Env, Program};

use super::When;
use super::cost::Cost;
use super::flaw::{self, Flaw};
use super::inputs::{MATCHES, matches, signature};
use super::values::ITEMS;
use super::walk::{Walk, may_be_bool};
use crate::policy::rule::Effect;

/// The longest expression, in bytes.
const SOURCE: usize = 4096;
/// The deepest nesting of brackets that is given to the parser.
const BRACKETS: usize = 24;
/// The most unary operators before one operand.
const SIGNS: usize = 8;
/// The stack of the compiling threads, in bytes. The parser is recursive, and its frames are large without optimisation.
const STACK: usize = 64 << 20;

/// Compiles expressions, each for a rule with that effect; the results are in the same order.
pub(in crate::policy) fn compile(sources: &[(&str, Effect)]) -> Vec<Result<Arc<When>, Vec<Flaw>>> {
    if sources.is_empty() {
        return Vec::new();
    }
    let Ok(env) = environment().map(Arc::new) else {
        return sources.iter().map(|_| Err(vec![unusable()])).collect();
    };
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(8)).min(sources.len());
    let share = sources.len().div_ceil(threads);
    thread::scope(|scope| {
        let running: Vec<_> = sources
            .chunks(share)
            .map(|chunk| {
                let env = &env;
                let run = move || chunk.iter().map(|(source, effect)| one(env, source, *effect)).collect();
                (chunk.len(), thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run))
            })
            .collect();
        let results = running.into_iter().flat_map(|(count, thread)| {
            let done: Option<Vec<_>> = thread.ok().and_then(|thread| thread.join().ok());
            done.unwrap_or_else(|| (0..count).map(|_| Err(vec![unusable()])).collect())
        });
        results.collect()
    })
}

/// The standard functions, and `matches` with precompiled patterns; without optional values.
fn environment() -> Result<Env, cel::DeclarationError> {
    let mut env = Env::stdlib().with_optional_support(false);
    env.add_overload(MATCHES, "text_matches_pattern", signature(), matches)?;
    Ok(env)
}

fn unusable() -> Flaw {
    Flaw::new(None, "this expression cannot be read", "write it more plainly")
}

fn one(env: &Arc<Env>, source: &str, effect: Effect) -> Result<Arc<When>, Vec<Flaw>> {
    if let Some(flaw) = outside_bounds(source) {
        return Err(vec![flaw]);
    }
    // If the third-party parser panics, the file cannot be used, but the proxy goes on.
    catch_unwind(AssertUnwindSafe(|| parsed(env, source, effect))).unwrap_or_else(|_| Err(vec![unusable()]))
}

/// The flaw of an expression that is refused before parsing, as the parser's time and stack grow with nesting.
fn outside_bounds(source: &str) -> Option<Flaw> {
    if source.len() > SOURCE {
        let message = format!("this expression is longer than {SOURCE} bytes");
        return Some(Flaw::new(None, message, "write it as several rules"));
    }
    let (mut depth, mut signs, mut quote) = (0_usize, 0_usize, None);
    let mut escaped = false;
    for (at, byte) in source.bytes().enumerate() {
        let deep = |what: &str| Some(Flaw::new(Some(at..at + 1), what, "write it more plainly, or as several rules"));
        match (quote, byte) {
            (Some(_), b'\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), byte) if open == byte && !escaped => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => {
                depth += 1;
                if depth > BRACKETS {
                    return deep("this nests too deep");
                }
            }
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = false;
        match byte {
            b'!' | b'-' | b'?' if quote.is_none() => signs += 1,
            b' ' | b'\t' | b'\n' | b'(' => {}
            _ => signs = 0,
        }
        if signs > SIGNS {
            return deep("too many signs in a row");
        }
    }
    None
}

fn parsed(env: &Arc<Env>, source: &str, effect: Effect) -> Result<Arc<When>, Vec<Flaw>> {
    let program: Program = env.compile(source).map_err(|errors| flaw::of_parser(source, &errors.errors))?;
    let mut expression = program.expression().clone();
    let mut walk = Walk::new(program.source_info(), effect);
    let cost = walk.cost(&mut expression);
    if walk.flaws.is_empty() && !may_be_bool(&expression) {
        walk.flaw(expression.id, "this is neither true nor false", "compare it with something");
    }
    let longest = cost.longest(ITEMS);
    if walk.flaws.is_empty() && longest.is_none() {
        walk.flaws.push(too_costly(cost));
    }
    if !walk.flaws.is_empty() {
        return Err(walk.flaws);
    }
    let mut needs = walk.needs;
    needs.longest = longest.unwrap_or_default();
    Ok(Arc::new(When { expression, env: Arc::clone(env), patterns: walk.patterns.into(), needs }))
}

fn too_costly(cost: Cost) -> Flaw {
    let message = format!("this could take {} µs a call; an expression may take 50", cost.microseconds());
    Flaw::new(None, message, "go through fewer lists, match fewer patterns, or say part of it with `[rule.args]`")
}
