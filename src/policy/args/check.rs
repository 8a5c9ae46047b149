//! Whether the arguments of a call meet a rule's conditions: yes, no, or unknown.

use serde_json::{Map, Value as Json};

use super::word::{Equals, Number, Scalar, Word, compare};
use super::{Args, Argument, Level};
use crate::json::{Kind, Value, is_folded_spelling};
use crate::policy::context::{Arguments, Claims, Context};
use crate::policy::rule::Holds;

/// The most characters of the pointer of an additional argument, which is shown to the caller.
const NAME: usize = 64;

/// The first condition that is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Unmet {
    pub(in crate::policy) pointer: Box<str>,
    pub(in crate::policy) word: &'static str,
    /// `No` or `Unknown`.
    pub(in crate::policy) holds: Holds,
    /// Why, for people who may read the policy.
    pub(in crate::policy) detail: &'static str,
}

/// The value at a path.
enum Found<'a> {
    Absent,
    /// Present or absent, depending on how a parser or the tool reads the arguments.
    Obscure(&'static str),
    Value(Value<'a>),
}

impl Args {
    /// Checks all conditions. Errs with the first that is not met; one that is definitely not met comes before unknown ones.
    ///
    /// An allow rule (`closed`) refuses arguments that neither it nor the schema names. A deny rule does not, or one extra
    /// argument would evade it.
    pub(in crate::policy) fn check(
        &self,
        context: &Context<'_>,
        claims: &Map<String, Json>,
        closed: bool,
    ) -> Result<(), Unmet> {
        let mut unknown = None;
        for argument in &self.arguments {
            match argument.check(context, claims) {
                Ok(()) => {}
                Err(unmet) if unmet.holds == Holds::No => return Err(unmet),
                Err(unmet) => unknown = unknown.or(Some(unmet)),
            }
        }
        if closed
            && !self.additional
            && let Arguments::Known(Some(arguments)) = context.arguments
        {
            self.named.check(arguments, context.definition.schema, &mut String::new())?;
        }
        unknown.map_or(Ok(()), Err)
    }
}

impl Argument {
    fn check(&self, context: &Context<'_>, claims: &Map<String, Json>) -> Result<(), Unmet> {
        let found = match context.arguments {
            Arguments::Known(arguments) => find(arguments, &self.path),
            Arguments::Unknown => Found::Obscure("the arguments are not known"),
        };
        let mut unknown = None;
        for word in self.words() {
            let (holds, detail) = self.holds(word, &found, context, claims);
            let unmet = || Unmet { pointer: self.pointer.clone(), word: word.name(), holds, detail };
            match holds {
                Holds::No => return Err(unmet()),
                Holds::Unknown => unknown = unknown.or_else(|| Some(unmet())),
                Holds::Yes => {}
            }
        }
        unknown.map_or(Ok(()), Err)
    }

    fn holds(
        &self,
        word: &Word,
        found: &Found<'_>,
        context: &Context<'_>,
        claims: &Map<String, Json>,
    ) -> (Holds, &'static str) {
        let filled;
        let wanted = match word {
            Word::Equals(Equals::Template(template)) => {
                // A missing claim equals nothing, whatever the argument is.
                filled = match (template.fill(claims), context.claims) {
                    (Some(filled), _) => filled,
                    (None, Claims::All) => return (Holds::No, "the claim is missing or has no such value"),
                    (None, Claims::Nameless | Claims::Recorded) => {
                        return (Holds::Unknown, "the claim was not written down");
                    }
                };
                Some(&filled)
            }
            Word::Equals(Equals::Value(value)) => Some(value),
            _ => None,
        };
        match (found, word) {
            (Found::Obscure(why), _) => (Holds::Unknown, why),
            (Found::Absent, Word::Forbidden) | (Found::Value(_), Word::Required) => (Holds::Yes, ""),
            (Found::Absent, Word::Required) => (Holds::No, "it is absent"),
            (Found::Absent, _) => self.absent(word, wanted, context.definition.schema),
            (Found::Value(_), Word::Forbidden) => (Holds::No, "it is there"),
            (Found::Value(value), _) => is_met(word, wanted, *value),
        }
    }

    /// Whether an absent argument meets a condition. The schema's default counts in its place. `equals` is always unknown, as
    /// the tool may have a default of its own; other conditions only restrict arguments that are present.
    fn absent(&self, word: &Word, wanted: Option<&Scalar>, schema: Option<&Json>) -> (Holds, &'static str) {
        let is_equals = wanted.is_some();
        match schema.and_then(|schema| default(schema, &self.path)) {
            _ if is_equals => (Holds::Unknown, "it is absent, and the tool may have a default"),
            None => (Holds::Yes, "it is absent"),
            Some(default) if word.may_be(default) => (Holds::Yes, "it is absent, and the default is as asked"),
            Some(_) => (Holds::Unknown, "it is absent, and the schema's default is not as asked"),
        }
    }
}

fn is_met(word: &Word, wanted: Option<&Scalar>, value: Value<'_>) -> (Holds, &'static str) {
    const TYPE: (Holds, &str) = (Holds::Unknown, "it has another type");
    let told =
        |met: Option<bool>| met.map_or(TYPE, |met| if met { (Holds::Yes, "") } else { (Holds::No, "it differs") });
    match word {
        Word::Equals(_) => told(wanted.and_then(|wanted| compare(value, wanted))),
        Word::Enum(values) => {
            let compared = || values.iter().filter_map(|wanted| compare(value, wanted));
            told(compared().next().map(|_| compared().any(|equal| equal)))
        }
        Word::Maximum(bound) => told(Number::read(value).map(|number| number <= *bound)),
        Word::Minimum(bound) => told(Number::read(value).map(|number| number >= *bound)),
        Word::MaxLength(most) => told(length(value).map(|length| length <= *most)),
        Word::MinLength(least) => told(length(value).map(|length| length >= *least)),
        Word::Pattern(pattern) => told(value.as_str().map(|text| pattern.is_match(&text))),
        Word::Forbidden | Word::Required => TYPE,
    }
}

/// The number of characters of a string, as JSON Schema counts them (2020-12, Validation, section 6.3.1).
fn length(value: Value<'_>) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

impl Word {
    /// Whether an argument with that value meets the condition, or for some caller could meet it.
    pub(in crate::policy) fn may_be(&self, value: &Json) -> bool {
        let wanted = match self {
            Self::Equals(Equals::Template(_)) => return !(value.is_array() || value.is_null() || value.is_object()),
            Self::Equals(Equals::Value(wanted)) => Some(wanted),
            Self::Required => return true,
            _ => None,
        };
        let document = crate::json::Document::parse(value.to_string().into(), &crate::json::Limits::REQUEST);
        document.is_ok_and(|document| is_met(self, wanted, document.root()).0 == Holds::Yes)
    }
}

/// Follows names into objects. Anything else on the way is obscure, as the tool may find the argument in it: a string it parses
/// as JSON, an array it searches, a key it takes for another spelling of the name.
fn find<'a>(arguments: Option<Value<'a>>, path: &[Box<str>]) -> Found<'a> {
    let Some(mut at) = arguments else { return Found::Absent };
    for name in path {
        if at.kind() != Kind::Object {
            return Found::Obscure("what should hold it is not an object");
        }
        let mut next = None;
        for member in at.members() {
            if member.name_is(name) {
                next = Some(member.value);
            } else if is_folded_spelling(&member.name(), name) {
                return Found::Obscure("a key is another spelling of its name");
            }
        }
        match next {
            Some(value) => at = value,
            None => return Found::Absent,
        }
    }
    Found::Value(at)
}

impl Level {
    fn check(&self, value: Value<'_>, schema: Option<&Json>, pointer: &mut String) -> Result<(), Unmet> {
        let properties = schema.and_then(|schema| schema.get("properties"));
        for member in value.members() {
            let name = member.name();
            let length = pointer.len();
            pointer.push('/');
            pointer.push_str(&super::read::token(&name));
            match self.0.get(&*name) {
                Some(level) if level.0.is_empty() => {}
                Some(level) => level.check(member.value, properties.and_then(|all| all.get(&*name)), pointer)?,
                None if properties.is_some_and(|properties| properties.get(&*name).is_some()) => {}
                None => {
                    let pointer = pointer.chars().take(NAME).collect::<String>().into();
                    return Err(Unmet { pointer, word: "additional", holds: Holds::No, detail: "nothing names it" });
                }
            }
            pointer.truncate(length);
        }
        Ok(())
    }
}

/// The default of a property, found through `properties` only, not through references or combined schemas.
fn default<'a>(schema: &'a Json, path: &[Box<str>]) -> Option<&'a Json> {
    path.iter().try_fold(schema, |at, name| at.get("properties")?.get(&**name))?.get("default")
}
