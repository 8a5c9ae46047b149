//! One walk over a parsed expression: checks its names, notes what it reads, adds up its possible cost, and compiles the
//! patterns of `matches`.

use std::ops::Range;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};
use regex::RegexBuilder;

use super::cost::{COMPARE, COPY, Cost, MATCH, NODE, TEXT};
use super::flaw::Flaw;
use super::inputs::{MATCHES, Pattern};
use super::names::{ANNOTATIONS, FUNCTIONS, MACROS, VARIABLES, fields};
use super::{ArgsNeed, Needs};
use crate::policy::rule::Effect;
use crate::policy::table::{advice, unreadable};

/// The deepest nesting of an expression; evaluation takes a stack frame per level.
const DEPTH: usize = 48;
/// The deepest nesting of comprehensions.
const NESTED: usize = 2;
/// The most bytes of a compiled pattern.
const PATTERN: usize = 1 << 20;

pub(super) struct Walk<'a> {
    info: &'a SourceInfo,
    effect: Effect,
    /// The names of iteration variables, innermost last.
    items: Vec<String>,
    depth: usize,
    pub(super) needs: Needs,
    pub(super) patterns: Vec<Pattern>,
    pub(super) flaws: Vec<Flaw>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(info: &'a SourceInfo, effect: Effect) -> Self {
        Self {
            info,
            effect,
            items: Vec::new(),
            depth: 0,
            needs: Needs::default(),
            patterns: Vec::new(),
            flaws: Vec::new(),
        }
    }

    /// The cost of a node and everything below it.
    pub(super) fn cost(&mut self, node: &mut IdedExpr) -> Cost {
        self.depth += 1;
        let cost = if self.depth > DEPTH {
            if self.depth == DEPTH + 1 {
                self.flaw(
                    node.id,
                    "this nests too deep",
                    "write it with fewer brackets and signs, or as several rules",
                );
            }
            Cost::default()
        } else {
            self.inner(node)
        };
        self.depth -= 1;
        cost + Cost::once(NODE)
    }

    fn inner(&mut self, node: &mut IdedExpr) -> Cost {
        let id = node.id;
        match &mut node.expr {
            Expr::Call(call) => self.call(id, call),
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension),
            Expr::Ident(name) => {
                self.variable(id, name);
                if name == "args" {
                    self.needs.args = ArgsNeed::All;
                }
                Cost::once(NODE)
            }
            Expr::List(list) => {
                let items = list.elements.iter_mut().map(|item| {
                    let copied = if is_literal(item) { 0 } else { self.whole(item, COPY) };
                    self.cost(item) + Cost::once(copied)
                });
                items.fold(Cost::default(), |sum, cost| sum + cost)
            }
            Expr::Literal(_) => Cost::default(),
            Expr::Map(_) | Expr::Struct(_) => {
                self.flaw(id, "an expression cannot make objects", "compare the fields one by one");
                Cost::default()
            }
            Expr::Select(select) => self.select(id, select),
            Expr::Unspecified => {
                self.flaw(id, "this is not an expression", "");
                Cost::default()
            }
        }
    }

    fn variable(&mut self, id: u64, name: &str) {
        if name.starts_with('@') || self.items.iter().any(|item| item == name) {
            return;
        }
        if fields(name).is_none() {
            let known = VARIABLES.iter().map(|(name, _)| *name);
            let help = advice(name, known);
            return self.flaw(id, format!("there is no `{name}`"), help);
        }
        if name == "untrusted" && self.effect == Effect::Allow {
            let help =
                "what a client says of itself can only be a reason to deny: write a rule with `effect = \"deny\"`";
            self.flaw(id, "an allow rule cannot look at `untrusted`", help);
        }
        if !self.needs.variables.iter().any(|known| **known == *name) {
            self.needs.variables.push(name.into());
        }
    }

    fn select(&mut self, id: u64, select: &mut SelectExpr) -> Cost {
        let field = select.field.clone();
        if let Expr::Ident(name) = &select.operand.expr
            && !self.items.iter().any(|item| item == name)
        {
            let name = name.clone();
            if let Some(known) = fields(&name).filter(|known| !known.is_empty() && !known.contains(&&*field)) {
                self.flaw(id, format!("`{name}` has no `{field}`"), advice(&field, known.iter().copied()));
            }
            if name == "claims" && select.test {
                self.needs.probed.push(field.as_str().into());
            }
            if name == "args" {
                self.member(field.into());
                self.variable(select.operand.id, "args");
                return Cost::once(2 * NODE);
            }
        }
        if let Expr::Select(inner) = &select.operand.expr
            && inner.field == "annotations"
            && matches!(&inner.operand.expr, Expr::Ident(name) if name == "tool")
            && !ANNOTATIONS.contains(&&*field)
        {
            self.flaw(id, format!("there is no annotation `{field}`"), advice(&field, ANNOTATIONS.iter().copied()));
        }
        self.cost(&mut select.operand)
    }

    /// Notes an argument that is read.
    fn member(&mut self, name: Box<str>) {
        match &mut self.needs.args {
            ArgsNeed::All => {}
            ArgsNeed::Members(names) => {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            ArgsNeed::None => self.needs.args = ArgsNeed::Members(vec![name]),
        }
    }

    fn call(&mut self, id: u64, call: &mut CallExpr) -> Cost {
        let name = call.func_name.clone();
        if name == "matches" {
            return self.matches(id, call);
        }
        if name == operators::INDEX
            && let [IdedExpr { expr: Expr::Ident(variable), id: at }, index] = &*call.args
            && variable == "args"
            && let Expr::Literal(LiteralValue::String(field)) = &index.expr
        {
            let (at, field) = (*at, field.inner().into());
            self.variable(at, "args");
            self.member(field);
            return Cost::once(3 * NODE);
        }
        let is_operator = name.contains(['_', '@', '!', '-']) && !name.contains('?') || name == operators::CONDITIONAL;
        if !is_operator && !FUNCTIONS.contains(&&*name) {
            let known = FUNCTIONS.iter().chain(MACROS).copied();
            let help = if name == "map" { "say it with `exists` or `all`".into() } else { advice(&name, known) };
            self.flaw(id, format!("there is no function `{name}`"), help);
        }
        let own = match name.as_str() {
            operators::EQUALS | operators::NOT_EQUALS if call.args.iter().any(is_literal) => 0,
            operators::EQUALS | operators::NOT_EQUALS => self.both(&call.args, COMPARE),
            operators::IN => match call.args.get(1).map(|list| &list.expr) {
                Some(Expr::List(list)) => NODE * list.elements.len() as u64,
                _ => call.args.get(1).map_or(COMPARE, |list| self.whole(list, COMPARE)),
            },
            // The result of concatenation grows with every term.
            operators::ADD => TEXT * (1 + additions(call)),
            "contains" | "endsWith" | "startsWith" | "size" | "string" | "int" | "double" => {
                call.target.as_deref().or(call.args.first()).map_or(TEXT, |text| self.whole(text, TEXT))
            }
            _ => 0,
        };
        let mut cost = Cost::once(own);
        for argument in call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args) {
            cost = cost + self.cost(argument);
        }
        cost
    }

    /// The cost of an operation on a whole value. For an iteration variable it is lower, as an item is a small part of the
    /// list.
    fn whole(&self, node: &IdedExpr, nanoseconds: u64) -> u64 {
        match root(node) {
            Some(name) if self.items.last().is_some_and(|item| item == name) => (nanoseconds / 20).max(NODE),
            _ => nanoseconds,
        }
    }

    fn both(&self, args: &[IdedExpr], nanoseconds: u64) -> u64 {
        args.iter().map(|arg| self.whole(arg, nanoseconds)).min().unwrap_or(nanoseconds)
    }

    /// Compiles the literal pattern of `matches`, and replaces the call by one that refers to the pattern by number.
    fn matches(&mut self, id: u64, call: &mut CallExpr) -> Cost {
        let mut args: Vec<IdedExpr> = call.target.take().map(|target| *target).into_iter().collect();
        args.append(&mut call.args);
        let Ok([text, pattern]) = <[IdedExpr; 2]>::try_from(args) else {
            self.flaw(id, "`matches` is given one pattern", "write `args.name.matches('^[a-z]+$')`");
            return Cost::default();
        };
        let mut text = text;
        let own = self.whole(&text, MATCH);
        let cost = self.cost(&mut text) + Cost::once(own);
        let Expr::Literal(LiteralValue::String(literal)) = &pattern.expr else {
            self.flaw(
                pattern.id,
                "`matches` takes a pattern written out",
                "write it between quotes; compare other values with `==`",
            );
            return cost;
        };
        let compiled =
            RegexBuilder::new(literal.inner()).size_limit(PATTERN).dfa_size_limit(PATTERN).nest_limit(50).build();
        match compiled {
            Ok(regex) => {
                let number = format!("@{}", self.patterns.len());
                self.patterns.push(Pattern(regex));
                call.args = vec![text, IdedExpr { id: pattern.id, expr: Expr::Ident(number) }];
                MATCHES.clone_into(&mut call.func_name);
            }
            Err(regex::Error::CompiledTooBig(_)) => {
                self.flaw(
                    pattern.id,
                    "this pattern would take more than 1 MiB",
                    "repeat less, or name smaller classes",
                );
            }
            Err(error) => self.flaw(
                pattern.id,
                unreadable(&error),
                "the syntax is that of the Rust crate `regex`, without look-around; `\\` is written `\\\\` in a string",
            ),
        }
        cost
    }

    fn comprehension(&mut self, id: u64, comprehension: &mut ComprehensionExpr) -> Cost {
        let range = self.cost(&mut comprehension.iter_range);
        let count = match &comprehension.iter_range.expr {
            Expr::List(list) => Some(list.elements.len() as u64),
            _ => None,
        };
        if makes_list(comprehension) {
            self.flaw(id, "an expression cannot make lists", "say it with `exists` or `all`");
        }
        let item = comprehension.iter_var.clone();
        if fields(&item).is_some() || self.items.contains(&item) {
            self.flaw(id, format!("`{item}` is a name already"), "give the item another name");
        }
        if self.items.len() == NESTED {
            self.flaw(id, "lists can be gone through within one another once", "write it as several rules");
            return Cost::default();
        }
        self.items.push(item);
        let parts = [&mut comprehension.accu_init, &mut comprehension.loop_step, &mut comprehension.result];
        let body = parts.into_iter().fold(Cost::default(), |sum, part| sum + self.cost(part));
        self.items.pop();
        range + count.map_or_else(|| body.over_list(), |count| body.times(count))
    }

    pub(super) fn flaw(&mut self, id: u64, message: impl Into<String>, help: impl Into<String>) {
        let at = self.place(id);
        self.flaws.push(Flaw::new(at, message, help));
    }

    /// The bytes of a node. The parser counts characters, with an inclusive end.
    fn place(&self, id: u64) -> Option<Range<usize>> {
        let (first, last) = self.info.offset_for(id)?;
        let source = &self.info.source;
        let byte = |at: usize| source.char_indices().nth(at).map_or(source.len(), |(byte, _)| byte);
        let (first, last) = (usize::try_from(first).ok()?, usize::try_from(last).ok()?);
        Some(name_at(source, byte(first)..byte(last.saturating_add(1)).max(byte(first))))
    }
}

/// The name after a dot or before a parenthesis: the parser's position of a field or a call is that of the punctuation.
fn name_at(source: &str, sign: Range<usize>) -> Range<usize> {
    let other = |char: char| !char.is_alphanumeric() && char != '_';
    let name = match source.get(sign.clone()) {
        Some(".") => {
            let rest = source.get(sign.end..).unwrap_or_default();
            sign.end..sign.end + rest.find(other).unwrap_or(rest.len())
        }
        Some("(") => {
            let before = source.get(..sign.start).unwrap_or_default();
            before.trim_end_matches(|char| !other(char)).len()..sign.start
        }
        _ => return sign,
    };
    if name.is_empty() { sign } else { name }
}

fn is_literal(node: &IdedExpr) -> bool {
    matches!(node.expr, Expr::Literal(_))
}

/// The variable at the beginning of a chain of fields and indices.
fn root(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) => root(&select.operand),
        Expr::Call(call) if call.func_name == operators::INDEX => call.args.first().and_then(root),
        _ => None,
    }
}

/// The number of sums nested on the left of a sum.
fn additions(call: &CallExpr) -> u64 {
    let mut count = 0;
    let mut left = call.args.first();
    while let Some(IdedExpr { expr: Expr::Call(call), .. }) = left {
        if call.func_name != operators::ADD {
            break;
        }
        count += 1;
        left = call.args.first();
    }
    count
}

/// Whether it builds a list, as `map` and `filter` do.
fn makes_list(comprehension: &ComprehensionExpr) -> bool {
    matches!(&comprehension.accu_init.expr, Expr::List(_))
}

/// Whether an expression of that form can be a boolean.
pub(super) fn may_be_bool(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Literal(literal) => matches!(literal, LiteralValue::Boolean(_)),
        Expr::Call(call) => !matches!(
            call.func_name.as_str(),
            operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE
                | "size"
                | "string"
                | "int"
                | "double"
                | "type"
        ),
        Expr::List(_) => false,
        Expr::Comprehension(_)
        | Expr::Ident(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_)
        | Expr::Unspecified => true,
    }
}
