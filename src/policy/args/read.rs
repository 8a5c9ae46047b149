//! Reads `[rule.args]`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use regex::{Regex, RegexBuilder};
use toml::Spanned;
use toml::de::DeValue;

use super::word::{Equals, Number, Scalar, Template, Word};
use super::{Args, Argument};
use crate::config::Problem;
use crate::policy::rule::Effect;
use crate::policy::table::{Report, Table, Text, advice, unreadable};

const WORDS: [&str; 9] =
    ["equals", "enum", "pattern", "minimum", "maximum", "min_length", "max_length", "required", "forbidden"];
/// The most bytes of a compiled pattern.
const PATTERN: usize = 1 << 20;
/// The longest pattern, in bytes.
const PATTERN_TEXT: usize = 1000;
/// The most arguments of one rule, and the most values of one `enum`.
const MOST: usize = 256;

/// Reads the table; `None` if something in it is wrong, which goes to `report`.
pub(in crate::policy) fn read(table: &Table<'_>, effect: Effect, report: &mut Report<'_>) -> Option<Args> {
    let mut reader = Reader { effect, arguments: Vec::new(), additional: None, sound: true };
    reader.level(table, &mut Vec::new(), report);
    // Tables come sorted by key, but conditions are checked and reported in file order.
    reader.arguments.sort_by_key(|(_, place)| place.start);
    reader.relations(table, report);
    if reader.arguments.is_empty() && reader.sound && reader.additional.is_none() {
        reader.error(table.problem("`[rule.args]` says nothing", "").help(
            "name arguments, as in `owner = { equals = \"${claims.email}\" }`; leave the table out where any will do",
        ), report);
    }
    let additional = reader.additional.is_some_and(Spanned::into_inner);
    reader.sound.then(|| Args::new(reader.arguments.into_iter().map(|(argument, _)| argument).collect(), additional))
}

struct Reader {
    effect: Effect,
    /// Each with the span of its name.
    arguments: Vec<(Argument, Range<usize>)>,
    additional: Option<Spanned<bool>>,
    sound: bool,
}

impl Reader {
    fn error(&mut self, problem: Problem, report: &mut Report<'_>) {
        self.sound = false;
        report.error(problem);
    }

    /// Reads one table: of arguments and, below the top level, of keywords too.
    fn level(&mut self, table: &Table<'_>, path: &mut Vec<Box<str>>, report: &mut Report<'_>) {
        let mut words = Vec::new();
        for (key, value) in table.entries() {
            let name = key.get_ref().as_str();
            match (value.get_ref(), path.is_empty()) {
                (DeValue::Boolean(flag), true) if name == "additional" => {
                    self.additional(Spanned::new(value.span(), *flag), table, report);
                }
                (DeValue::Table(_), _) => {
                    let Some(more) = self.names(&key, table, report) else { continue };
                    let depth = path.len();
                    path.extend(more);
                    if let Some(inner) = table.inner(value) {
                        self.argument(&inner, &key, path, report);
                    }
                    path.truncate(depth);
                }
                (_, true) => {
                    let label = "not a table of words";
                    let problem = Problem::error(table.source, value.span(), format!("what must `{name}` be?"), label);
                    self.error(
                        problem.help(format!("write `{name} = {{ equals = … }}`; words are `{}`", WORDS.join("`, `"))),
                        report,
                    );
                }
                (_, false) => words.push((key, value)),
            }
        }
        if !words.is_empty() {
            self.words(table, words, path, report);
        }
    }

    /// Reads the table of one argument.
    fn argument(&mut self, table: &Table<'_>, key: &Text, path: &mut Vec<Box<str>>, report: &mut Report<'_>) {
        let before = self.arguments.len();
        self.level(table, path, report);
        if self.arguments.len() == before && self.sound {
            let problem = Problem::error(table.source, key.span(), "this argument has no words", "");
            self.error(problem.help(format!("words are `{}`", WORDS.join("`, `"))), report);
        }
    }

    fn additional(&mut self, flag: Spanned<bool>, table: &Table<'_>, report: &mut Report<'_>) {
        if self.effect == Effect::Deny {
            let problem = Problem::error(table.source, flag.span(), "`additional` means nothing in a deny rule", "");
            self.error(problem.help("take it out: a deny rule never minds arguments it does not name"), report);
        }
        self.additional = Some(flag);
    }

    /// The path of a key: a JSON Pointer, or names separated by dots.
    fn names(&mut self, key: &Text, table: &Table<'_>, report: &mut Report<'_>) -> Option<Vec<Box<str>>> {
        let text = key.get_ref();
        let names: Vec<Box<str>> = match text.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|token| token.replace("~1", "/").replace("~0", "~").into()).collect()
            }
            None => text.split('.').map(Into::into).collect(),
        };
        if names.iter().all(|name| !name.is_empty()) {
            return Some(names);
        }
        let problem = Problem::error(table.source, key.span(), "this names no argument", "");
        self.error(problem.help("write `owner`, `filter.owner`, or a JSON Pointer as in \"/filter/owner\""), report);
        None
    }

    fn words(
        &mut self,
        table: &Table<'_>,
        mut words: Vec<(Text, &Spanned<DeValue<'_>>)>,
        path: &[Box<str>],
        report: &mut Report<'_>,
    ) {
        let mut read = Vec::new();
        let start = words.iter().map(|(key, _)| key.span().start).min().unwrap_or_default();
        words.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in words {
            match word(&key, value, table) {
                Ok(word) => read.extend(word.map(|word| (word, key.span().start..value.span().end))),
                Err(problem) => self.error(*problem, report),
            }
        }
        for problem in contradictions(&read, table) {
            self.error(problem, report);
        }
        let argument = Argument { path: path.into(), pointer: pointer(path).into(), words: read.into() };
        self.arguments.push((argument, start..start + 1));
    }

    /// Checks the arguments against each other.
    fn relations(&mut self, table: &Table<'_>, report: &mut Report<'_>) {
        let mut seen: HashMap<&[Box<str>], &Argument> = HashMap::new();
        let mut problems = Vec::new();
        for (argument, place) in &self.arguments {
            if seen.insert(&argument.path, argument).is_some() {
                let message = format!("the argument `{}` is there twice", argument.pointer);
                problems.push(
                    Problem::error(table.source, place.clone(), message, "again")
                        .help("write all its words in one table"),
                );
            }
        }
        for (argument, place) in &self.arguments {
            let holders = (1..argument.path.len()).filter_map(|depth| seen.get(&argument.path[..depth]));
            for holder in holders.filter(|holder| holder.words().any(|word| !matches!(word, Word::Required))) {
                let message =
                    format!("`{}` cannot be inside `{}`, which is not an object", argument.pointer, holder.pointer);
                let help = "of an argument that has parts, only `required` can be asked";
                problems.push(Problem::error(table.source, place.clone(), message, "").help(help));
            }
        }
        if self.arguments.len() > MOST {
            problems.push(table.problem(format!("more than {MOST} arguments in one rule"), ""));
        }
        for problem in problems {
            self.error(problem, report);
        }
    }
}

/// Reads one keyword; `Ok(None)` for one without effect.
fn word(key: &Text, value: &Spanned<DeValue<'_>>, table: &Table<'_>) -> Result<Option<Word>, Box<Problem>> {
    let wrong = |wanted: &str| {
        let message = format!("`{}` must be {wanted}", key.get_ref());
        Box::new(Problem::error(table.source, value.span(), message, ""))
    };
    let number = || number(value.get_ref()).ok_or_else(|| wrong("a number within ±2^53"));
    let count = || count(value.get_ref()).ok_or_else(|| wrong("a whole number, not negative"));
    let flag = || value.get_ref().as_bool().ok_or_else(|| wrong("`true` or `false`"));
    Ok(Some(match key.get_ref().as_str() {
        "enum" => {
            let items = value.get_ref().as_array().filter(|items| (1..=MOST).contains(&items.len()));
            let values: Option<Box<[Scalar]>> =
                items.and_then(|items| items.iter().map(|item| scalar(item.get_ref())).collect());
            Word::Enum(values.ok_or_else(|| wrong("a list of 1 to 256 strings, numbers within ±2^53 or truth values"))?)
        }
        "equals" => Word::Equals(equals(value, table)?),
        "forbidden" => {
            if !flag()? {
                return Err(Box::new(
                    (*wrong("`true`")).help("an argument is allowed unless something says otherwise; take it out"),
                ));
            }
            Word::Forbidden
        }
        "max_length" => Word::MaxLength(count()?),
        "maximum" => Word::Maximum(number()?),
        "min_length" => Word::MinLength(count()?),
        "minimum" => Word::Minimum(number()?),
        "pattern" => Word::Pattern(pattern(value, table)?),
        "required" if flag()? => Word::Required,
        "required" => return Ok(None),
        other => {
            let problem = Problem::error(table.source, key.span(), format!("unknown word `{other}`"), "");
            return Err(Box::new(problem.help(advice(other, WORDS.into_iter()))));
        }
    }))
}

fn equals(value: &Spanned<DeValue<'_>>, table: &Table<'_>) -> Result<Equals, Box<Problem>> {
    let problem = |message: &str| Problem::error(table.source, value.span(), message, "");
    if let DeValue::String(text) = value.get_ref() {
        match Template::parse(text) {
            Ok(Some(template)) => return Ok(Equals::Template(template)),
            Ok(None) => {}
            Err(()) => {
                let help =
                    "only claims can stand there: `${claims.email}`, or `${claims['https://x/y']}` for odd names";
                return Err(Box::new(problem("this `${` names no claim").help(help)));
            }
        }
    }
    scalar(value.get_ref())
        .map(Equals::Value)
        .ok_or_else(|| Box::new(problem("`equals` must be a string, a number within ±2^53 or a truth value")))
}

fn scalar(value: &DeValue<'_>) -> Option<Scalar> {
    match value {
        DeValue::Boolean(flag) => Some(Scalar::Bool(*flag)),
        DeValue::String(text) => Some(Scalar::Text(text.as_ref().into())),
        DeValue::Float(_) | DeValue::Integer(_) => number(value).map(Scalar::Number),
        DeValue::Array(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn number(value: &DeValue<'_>) -> Option<Number> {
    match value {
        DeValue::Float(number) => Number::new(number.as_str().parse().ok()?),
        DeValue::Integer(number) => {
            let whole = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            #[expect(clippy::cast_precision_loss, reason = "within 2^53")]
            (whole.unsigned_abs() <= 1 << 53).then(|| Number::new(whole as f64))?
        }
        _ => None,
    }
}

fn count(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn pattern(value: &Spanned<DeValue<'_>>, table: &Table<'_>) -> Result<Regex, Box<Problem>> {
    let problem = |message: &str| Problem::error(table.source, value.span(), message, "");
    let Some(text) = value.get_ref().as_str().filter(|text| !text.is_empty()) else {
        return Err(Box::new(problem("`pattern` must be a regular expression")));
    };
    if text.len() > PATTERN_TEXT {
        return Err(Box::new(problem("this pattern is longer than 1,000 bytes")));
    }
    RegexBuilder::new(text).size_limit(PATTERN).dfa_size_limit(PATTERN).nest_limit(50).build().map_err(|error| {
        let (message, help) = match &error {
            regex::Error::CompiledTooBig(_) => {
                ("this pattern would take more than 1 MiB", "repeat less, or name smaller classes")
            }
            _ if text.contains("(?=") || text.contains("(?!") || text.contains("(?<=") || text.contains("(?<!") => (
                "look-around is not supported",
                "patterns are matched in linear time; say it with several words instead",
            ),
            _ => (&*unreadable(&error), "the syntax is that of the Rust crate `regex`; in TOML write it between '…'"),
        };
        Box::new(problem(message).help(help))
    })
}

/// Problems with keywords that no value can meet together.
fn contradictions(words: &[(Word, Range<usize>)], table: &Table<'_>) -> Vec<Problem> {
    let all = words.iter().map(|(_, span)| span.clone()).reduce(|one, other| one.start..other.end.max(one.end));
    let Some(span) = all else { return Vec::new() };
    let find = |name: &str| words.iter().map(|(word, _)| word).find(|word| word.name() == name);
    let mut problems = Vec::new();
    let mut say = |message: String| problems.push(Problem::error(table.source, span.clone(), message, "nothing fits"));
    if find("forbidden").is_some() && words.len() > 1 {
        say("what is `forbidden` can have no other word".into());
    }
    if let (Some(Word::Minimum(least)), Some(Word::Maximum(most))) = (find("minimum"), find("maximum"))
        && least > most
    {
        say("`minimum` is above `maximum`".into());
    }
    if let (Some(Word::MinLength(least)), Some(Word::MaxLength(most))) = (find("min_length"), find("max_length"))
        && least > most
    {
        say("`min_length` is above `max_length`".into());
    }
    let is_text = ["pattern", "min_length", "max_length"].into_iter().find(|name| find(name).is_some());
    let is_number = ["minimum", "maximum"].into_iter().find(|name| find(name).is_some());
    if let (Some(text), Some(number)) = (is_text, is_number) {
        say(format!("`{text}` is of text and `{number}` of numbers"));
    }
    problems
}

/// A path as a JSON Pointer (RFC 6901).
fn pointer(path: &[Box<str>]) -> String {
    path.iter().flat_map(|name| ["/".into(), token(name)]).collect()
}

/// A name as one token of a JSON Pointer.
pub(super) fn token(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { name.replace('~', "~0").replace('/', "~1").into() } else { name.into() }
}
