//! The keywords of `[rule.args]` and their values.

use std::borrow::Cow;

use regex::Regex;
use serde_json::{Map, Value as Json};

use crate::json::{Kind, Value};

/// 2^53, up to which every JSON parser reads integers exactly (RFC 8259 section 6).
pub(super) const LARGEST: f64 = 9_007_199_254_740_992.0;
/// The most significant digits of a number that every parser reads as the same value.
const DIGITS: usize = 17;

/// One condition on one argument.
#[derive(Clone, Debug)]
pub enum Word {
    /// `enum`: equal to one of these.
    Enum(Box<[Scalar]>),
    /// `equals`: equal to this.
    Equals(Equals),
    /// `forbidden`: absent.
    Forbidden,
    /// `max_length`: a string of at most that many characters.
    MaxLength(u64),
    /// `maximum`: a number not above this.
    Maximum(Number),
    /// `min_length`: a string of at least that many characters.
    MinLength(u64),
    /// `minimum`: a number not below this.
    Minimum(Number),
    /// `pattern`: a string in which this matches anywhere, as in JSON Schema.
    Pattern(Regex),
    /// `required`: present.
    Required,
}

impl Word {
    /// Its key in the policy file.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Enum(_) => "enum",
            Self::Equals(_) => "equals",
            Self::Forbidden => "forbidden",
            Self::MaxLength(_) => "max_length",
            Self::Maximum(_) => "maximum",
            Self::MinLength(_) => "min_length",
            Self::Minimum(_) => "minimum",
            Self::Pattern(_) => "pattern",
            Self::Required => "required",
        }
    }
}

/// What an argument must equal.
#[derive(Clone, Debug)]
pub enum Equals {
    /// A value.
    Value(Scalar),
    /// A template filled with the caller's claims.
    Template(Template),
}

/// A boolean, number or string.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(Box<str>),
}

impl Scalar {
    /// The JSON value.
    pub(in crate::policy) fn to_json(&self) -> Json {
        match self {
            Self::Bool(flag) => Json::from(*flag),
            Self::Number(number) => number.to_json(),
            Self::Text(text) => Json::from(&**text),
        }
    }
}

/// A number within ±2^53.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Number(f64);

impl Number {
    /// `None` outside ±2^53, where JSON parsers differ.
    pub fn new(value: f64) -> Option<Self> {
        (value.abs() <= LARGEST).then_some(Self(value))
    }

    /// The value.
    pub const fn value(self) -> f64 {
        self.0
    }

    /// The JSON value: an integer if it has no fraction.
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, as checked")]
    pub(in crate::policy) fn to_json(self) -> Json {
        if self.0.fract() == 0.0 { Json::from(self.0 as i64) } else { Json::from(self.0) }
    }

    /// Reads a JSON number; `None` for other types, or if two parsers could read different numbers.
    pub fn read(value: Value<'_>) -> Option<Self> {
        let text = std::str::from_utf8(value.raw()).ok().filter(|_| value.kind() == Kind::Number)?;
        Self::parse(text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mantissa = text.split(['e', 'E']).next()?;
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
        if digits > DIGITS {
            return None;
        }
        // An integer beyond the limit must not be rounded back to it.
        if let Ok(whole) = text.parse::<i64>()
            && whole.unsigned_abs() > 1 << 53
        {
            return None;
        }
        let number: f64 = text.parse().ok()?;
        (number != 0.0 || digits == 0).then(|| Self::new(number))?
    }

    fn of_claim(number: &serde_json::Number) -> Option<Self> {
        Self::parse(&number.to_string())
    }
}

/// Whether `value` equals `wanted`; `None` if they differ in type.
pub(super) fn compare(value: Value<'_>, wanted: &Scalar) -> Option<bool> {
    match (wanted, value.kind()) {
        (Scalar::Bool(wanted), Kind::Bool) => Some(value.as_bool() == Some(*wanted)),
        (Scalar::Number(wanted), Kind::Number) => Number::read(value).map(|number| number == *wanted),
        (Scalar::Text(wanted), Kind::String) => value.as_str().map(|text| *text == **wanted),
        _ => None,
    }
}

/// A string with `${claims.x}` in it.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug)]
enum Part {
    Claim(Box<[Box<str>]>),
    Text(Box<str>),
}

impl Template {
    /// Fills in the claims. A template that is a single claim takes the claim's type; any other makes a string. `None` if a
    /// claim is missing or has an unusable type.
    pub(in crate::policy) fn fill(&self, claims: &Map<String, Json>) -> Option<Scalar> {
        if let [Part::Claim(path)] = &*self.parts {
            return match claim(claims, path)? {
                Json::Bool(flag) => Some(Scalar::Bool(*flag)),
                Json::Number(number) => Number::of_claim(number).map(Scalar::Number),
                Json::String(text) => Some(Scalar::Text(text.as_str().into())),
                Json::Array(_) | Json::Null | Json::Object(_) => None,
            };
        }
        let mut text = String::new();
        for part in &self.parts {
            let more: Cow<'_, str> = match part {
                Part::Text(text) => (&**text).into(),
                Part::Claim(path) => match claim(claims, path)? {
                    Json::String(text) => text.into(),
                    Json::Number(number) => number.as_i64()?.to_string().into(),
                    Json::Array(_) | Json::Bool(_) | Json::Null | Json::Object(_) => return None,
                },
            };
            text.push_str(&more);
        }
        Some(Scalar::Text(text.into()))
    }

    /// The paths of the claims it uses, each as names from the outside in.
    pub fn claims(&self) -> impl Iterator<Item = &[Box<str>]> {
        self.parts.iter().filter_map(|part| match part {
            Part::Claim(path) => Some(&**path),
            Part::Text(_) => None,
        })
    }

    /// Parses a string that may have `${claims.x}` or `${claims['x']}`; `Ok(None)` if it has none. Errs on any other `${`.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ()> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            let (inside, after) = behind.split_once('}').ok_or(())?;
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Claim(path(inside.strip_prefix("claims").ok_or(())?).ok_or(())?));
            rest = after;
        }
        if parts.is_empty() {
            return Ok(None);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Some(Self { parts: parts.into() }))
    }
}

/// Parses `.a.b` and `['a']['b']`, also mixed.
fn path(mut text: &str) -> Option<Box<[Box<str>]>> {
    let mut names: Vec<Box<str>> = Vec::new();
    while !text.is_empty() {
        let name;
        (name, text) = if let Some(quoted) = text.strip_prefix("['") {
            quoted.split_once("']")?
        } else {
            let plain = text.strip_prefix('.')?;
            plain.split_at_checked(plain.find(['.', '[']).unwrap_or(plain.len()))?
        };
        if name.is_empty() || name.contains('\'') {
            return None;
        }
        names.push(name.into());
    }
    (!names.is_empty()).then(|| names.into())
}

fn claim<'a>(claims: &'a Map<String, Json>, path: &[Box<str>]) -> Option<&'a Json> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(claims.get(&**first)?, |at, name| at.as_object()?.get(&**name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{Number, Scalar, Template};

    #[test]
    fn numbers_are_those_every_parser_reads_alike() {
        for (text, expected) in [
            ("5", Some(5.0)),
            ("-0.5", Some(-0.5)),
            ("5.0", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("0", Some(0.0)),
            ("0.000", Some(0.0)),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("9007199254740993", None),
            ("-9007199254740993", None),
            ("99999999999999999999", None),
            ("1e400", None),
            ("1e-400", None),
            ("1e17", None),
            ("10000.00000000000000000001", None),
        ] {
            assert_eq!(Number::parse(text).map(Number::value), expected, "{text}");
        }
    }

    #[test]
    fn templates_take_the_claims_type_or_make_text() {
        let Json::Object(claims) = json!({
            "email": "ana@example.com", "age": 7, "ok": true, "list": ["a"], "none": null,
            "big": 9_007_199_254_740_993_i64, "realm": {"dept": "sales"}, "https://x/y": "z",
        }) else {
            panic!()
        };
        let text = |text: &str| Some(Scalar::Text(text.into()));
        for (template, expected) in [
            ("${claims.email}", text("ana@example.com")),
            ("mail:${claims.email}!", text("mail:ana@example.com!")),
            ("${claims.age}", Number::new(7.0).map(Scalar::Number)),
            ("n${claims.age}", text("n7")),
            ("${claims.ok}", Some(Scalar::Bool(true))),
            ("x${claims.ok}", None),
            ("${claims.list}", None),
            ("${claims.none}", None),
            ("${claims.big}", None),
            ("${claims.missing}", None),
            ("${claims.realm.dept}", text("sales")),
            ("${claims['realm'].dept}", text("sales")),
            ("${claims['https://x/y']}", text("z")),
            ("${claims.email.x}", None),
        ] {
            let parsed = Template::parse(template).unwrap().unwrap();
            assert_eq!(parsed.fill(&claims), expected, "{template}");
        }
        assert!(Template::parse("plain $5 {x}").unwrap().is_none());
        for wrong in
            ["${claims}", "${email}", "${claims.}", "${claims.a", "${claims['a}", "${args.x}", "${claims.a..b}"]
        {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
