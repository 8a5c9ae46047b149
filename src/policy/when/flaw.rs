//! Errors in an expression, in words of our own rather than the parser's.

use std::ops::Range;

use cel::ParseError;

/// An error in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Flaw {
    /// Its bytes; `None` for the whole expression.
    pub(in crate::policy) at: Option<Range<usize>>,
    pub(in crate::policy) message: String,
    pub(in crate::policy) help: String,
}

impl Flaw {
    pub(super) fn new(at: Option<Range<usize>>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: help.into() }
    }
}

const EXAMPLE: &str = "an expression looks like `claims.department == 'sales' && args.amount < 100`";
/// The most syntax errors reported per expression: the first causes most others.
const MOST: usize = 2;

/// The parser's errors, reworded. Its own messages name tokens of its grammar.
pub(super) fn of_parser(source: &str, errors: &[ParseError]) -> Vec<Flaw> {
    let mut flaws: Vec<Flaw> = errors.iter().map(|error| said_anew(source, error)).collect();
    flaws.sort_by_key(|flaw| flaw.at.as_ref().map_or(usize::MAX, |at| at.start));
    flaws.dedup_by_key(|flaw| flaw.at.clone());
    flaws.dedup_by(|next, first| is_one(source, first, next));
    flaws.truncate(MOST);
    if flaws.is_empty() {
        flaws.push(Flaw::new(None, "this is not an expression", EXAMPLE));
    }
    flaws
}

/// Whether two flaws are the same: the parser reports `=` and what follows it.
fn is_one(source: &str, first: &Flaw, next: &Flaw) -> bool {
    let between = first.at.as_ref().zip(next.at.as_ref()).and_then(|(first, next)| source.get(first.end..next.start));
    first.help != EXAMPLE && first.help == next.help && between.is_some_and(|between| between.trim().is_empty())
}

fn said_anew(source: &str, error: &ParseError) -> Flaw {
    let at = place(source, error.pos);
    let rest = source.get(at.clone()).unwrap_or_default();
    let word = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
    let shown = if word.is_empty() { rest.chars().take(1).collect() } else { word.to_owned() };
    let span = at.start..at.start + shown.len();
    if error.msg.contains("Recursion limit") {
        return Flaw::new(Some(span), "this nests too deep", "write it with fewer brackets, or as several rules");
    }
    if rest.is_empty() || error.msg.contains("'<EOF>'") && !error.msg.contains("expecting <EOF>") {
        let help = if quotes_are_open(source) { "a string is not closed" } else { EXAMPLE };
        return Flaw::new(Some(source.len()..source.len()), "the expression ends too early", help);
    }
    let help = match shown.as_str() {
        "=" => "compare with `==`",
        "&" | "and" | "AND" => "write `&&`",
        "|" | "or" | "OR" => "write `||`",
        "not" | "NOT" => "write `!`",
        "'" | "\"" => "a string is not closed, or holds a `\\` that means nothing",
        "if" => "write `condition ? then : otherwise`",
        "`" => "fields with odd names are written `claims['odd name']`",
        _ => EXAMPLE,
    };
    // In `a and b` and `a = b` the mistake may be the word before the one the parser reports.
    let before =
        source.get(..at.start).unwrap_or_default().trim_end().rsplit([' ', '(', ')']).next().unwrap_or_default();
    let help = match before {
        "not" | "NOT" => "write `!` for not",
        "=" => "compare with `==`",
        _ => help,
    };
    let message = if error.msg.contains("has() macro") {
        "`has` asks for a field, as in `has(claims.groups)`".to_owned()
    } else if error.msg.contains("simple name") {
        "the first argument names the item, as in `all(item, item > 0)`".to_owned()
    } else if error.msg.contains("int literal") {
        "this number is too large".to_owned()
    } else {
        format!("`{shown}` cannot stand here")
    };
    Flaw::new(Some(span), message, help)
}

fn quotes_are_open(source: &str) -> bool {
    let count = |quote| source.matches(quote).count() % 2 == 1;
    count('\'') || count('"')
}

/// The bytes from the position of an error to the end: lines and columns count from 1, columns in characters.
fn place(source: &str, (line, column): (isize, isize)) -> Range<usize> {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let start: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let text = source.get(start..).unwrap_or_default();
    let inside = text.char_indices().nth(column - 1).map_or(text.len(), |(at, _)| at);
    start + inside..source.len()
}
