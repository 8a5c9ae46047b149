//! Visits every place of a message that can contain text: strings, keys, long numbers, JSON in strings, base64.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::applied::Applied;
use super::engine::{Edit, Lent, Plan, Spot, apply};
use super::heat::Heat;
use super::opaque::{Opaque, Step, covers};
use super::places::Place;
use super::{Blocked, Direction, Findings, blob};
use crate::json::{Document, Kind, Limits, Member, Span, Value, escaped, quoted};

/// A value with fewer nodes is searched node by node, without a pass of the gate over all of it.
const FEW: usize = 16;
/// The deepest nesting of documents in strings.
const LEVELS: usize = 4;

/// One pass of a plan over a value.
#[derive(Debug)]
pub(super) struct Walk<'p> {
    plan: &'p Plan,
    applied: &'p Applied<'p>,
    findings: &'p mut Findings,
    scratch: Lent,
}

impl<'p> Walk<'p> {
    pub(super) fn new(plan: &'p Plan, applied: &'p Applied<'p>, findings: &'p mut Findings) -> Self {
        Self { plan, applied, findings, scratch: Lent::new() }
    }

    /// Whether anything could be found in `text`, plain or as JSON source, under the JSON key `label`.
    fn opens(&self, label: &str, text: &[u8]) -> bool {
        self.applied.looks_closer() || self.plan.gate.opens_under(label, text)
    }

    fn edits(&mut self, text: &str, spot: Spot<'_>) -> Result<Vec<Edit>, Blocked> {
        self.plan.edits(text, spot, self.applied, &mut self.scratch, self.findings)
    }

    /// The edits to the source of the document that mask `value`, except `opaque` places.
    pub(super) fn value(&mut self, value: Value<'_>, opaque: &[Opaque]) -> Result<Vec<Edit>, Blocked> {
        self.tree(value, opaque, 0)
    }

    fn tree(&mut self, value: Value<'_>, opaque: &[Opaque], level: usize) -> Result<Vec<Edit>, Blocked> {
        let start = value.span().start;
        let all = self.applied.looks_closer() || value.nodes() < FEW;
        let heat = if all { Heat::Everywhere } else { self.plan.gate.heat(value.raw()) };
        let blocks_binary = self.plan.binary(self.applied);
        let mut tree =
            Tree { walk: self, blocks_binary, opaque, level, start, heat, path: Vec::new(), edits: Vec::new() };
        tree.value(value, "")?;
        Ok(tree.edits)
    }

    /// The edits that mask `text`, which is `level` documents deep.
    pub(super) fn text(&mut self, text: &str, spot: Spot<'_>, level: usize) -> Result<Vec<Edit>, Blocked> {
        if let Some(document) = embedded(text) {
            if level == LEVELS {
                return Err(self.plan.too_deep());
            }
            self.findings.enter();
            let edits = self.tree(document.root(), &[], level + 1);
            self.findings.leave();
            return edits;
        }
        let Some(plain) = blob::data_urls(text, |decoded| self.decoded(decoded, level))? else {
            return self.edits(text, spot);
        };
        let edits = self.edits(&plain, spot)?;
        Ok(vec![Edit { start: 0, end: text.len(), text: apply(&plain, &edits).into() }])
    }

    /// The masked form of a text that was in base64; `None` if it is unchanged.
    fn decoded(&mut self, text: &str, level: usize) -> Result<Option<String>, Blocked> {
        if level == LEVELS {
            return Err(self.plan.too_deep());
        }
        let edits = self.text(text, Spot::default(), level + 1)?;
        Ok((!edits.is_empty()).then(|| apply(text, &edits)))
    }

    fn blob(&mut self, text: &str, level: usize) -> Result<Option<Vec<Edit>>, Blocked> {
        let Some(decoded) = blob::decode(text) else { return Ok(None) };
        let rewritten = self.decoded(&decoded, level)?;
        Ok(rewritten.map(|rewritten| vec![Edit { start: 0, end: text.len(), text: blob::encode(&rewritten).into() }]))
    }
}

/// The document, if `text` as a whole is a JSON object or array.
fn embedded(text: &str) -> Option<Document> {
    let inner = text.trim_matches([' ', '\t', '\n', '\r']);
    let bracketed = inner.starts_with('{') && inner.ends_with('}') || inner.starts_with('[') && inner.ends_with(']');
    bracketed.then(|| Document::parse(text.to_owned().into(), &Limits::ANSWER).ok())?
}

/// The walk over one document.
struct Tree<'t, 'p, 'd> {
    walk: &'t mut Walk<'p>,
    /// The refusal of binary data, if a mask wants it.
    blocks_binary: Option<Blocked>,
    opaque: &'t [Opaque],
    level: usize,
    /// The position of the walked value, to which `heat` is relative.
    start: usize,
    heat: Heat,
    path: Vec<Step<'d>>,
    edits: Vec<Edit>,
}

impl<'d> Tree<'_, '_, 'd> {
    fn value(&mut self, value: Value<'d>, label: &str) -> Result<(), Blocked> {
        if !is_in_base64(label) && !self.is_hot(value.span()) {
            return Ok(());
        }
        match value.kind() {
            Kind::Array => {
                for (index, item) in value.items().enumerate() {
                    self.step(Step::Item(index), item, label)?;
                }
            }
            Kind::Number => self.number(value, label)?,
            Kind::Object => {
                self.binary(value)?;
                let mut names = Names::default();
                for member in value.members() {
                    self.key(value, member, &mut names)?;
                    self.step(Step::Key(member), member.value, &member.name())?;
                }
            }
            Kind::String => self.string(value, label)?,
            Kind::Bool | Kind::Key | Kind::Null => {}
        }
        Ok(())
    }

    fn is_hot(&self, Span { start, end }: Span) -> bool {
        self.heat.touches(Span { start: start - self.start, end: end - self.start })
    }

    fn step(&mut self, step: Step<'d>, value: Value<'d>, label: &str) -> Result<(), Blocked> {
        self.path.push(step);
        let done = self.value(value, label);
        self.path.pop();
        done
    }

    fn string(&mut self, value: Value<'d>, label: &str) -> Result<(), Blocked> {
        let raw = value.raw();
        let in_base64 = is_in_base64(label);
        if !in_base64 && !self.walk.opens(label, raw) || self.is_spared(value) {
            return Ok(());
        }
        let Some(text) = value.as_str() else { return Ok(()) };
        if covers(self.opaque, &self.path, value) {
            return self.opaque(&text, value);
        }
        self.walk.findings.look_at(&self.path);
        let left_alone = self.left_alone();
        let spot = Spot { label, place: Place::Text, left_alone: &left_alone };
        let edits = match in_base64.then(|| self.walk.blob(&text, self.level)).transpose()?.flatten() {
            Some(edits) => edits,
            None => self.walk.text(&text, spot, self.level)?,
        };
        match self.walk.applied.literal(value.span(), &text, self.level == 0).filter(|_| !edits.is_empty()) {
            Some(literal) => self.replace(value, literal.to_owned()),
            None => self.splice(raw, value.span().start, &text, edits),
        }
        Ok(())
    }

    /// Errs on images, audio and other binary data if a mask refuses it.
    fn binary(&self, object: Value<'d>) -> Result<(), Blocked> {
        let Some(blocked) = self.blocks_binary.clone() else { return Ok(()) };
        let is_media =
            object.get("type").and_then(|kind| kind.as_str()).is_some_and(|kind| matches!(&*kind, "image" | "audio"));
        let data = object.get("blob").filter(|_| object.get("uri").is_some());
        let data = data.or_else(|| object.get("data").filter(|_| is_media)).and_then(|data| data.as_str());
        match data {
            Some(data) if !data.is_empty() && blob::decode(&data).is_none() => Err(blocked),
            _ => Ok(()),
        }
    }

    /// Handles an opaque place: a URI the client may send back is sealed if it contains a value; others stay as they are.
    fn opaque(&mut self, text: &str, value: Value<'d>) -> Result<(), Blocked> {
        let is_uri = match self.path.as_slice() {
            // The acknowledged subscriptions (2026-07-28, "Subscriptions").
            [.., Step::Key(list), _] if list.name_is("resourceSubscriptions") => true,
            [.., Step::Key(member)] => member.name_is("uri"),
            _ => false,
        };
        if !is_uri || self.walk.plan.direction != Direction::Result {
            return Ok(());
        }
        let spot = Spot { place: Place::Uri, ..Spot::default() };
        let mut holds_value = !self.walk.edits(text, spot)?.is_empty();
        blob::data_urls(text, |decoded| {
            holds_value |= !self.walk.edits(decoded, spot)?.is_empty();
            Ok(None)
        })?;
        if !holds_value {
            return Ok(());
        }
        let sealed = self.walk.applied.sealed_uri(text).ok_or_else(|| self.walk.plan.unsealed_uri())?;
        self.replace(value, quoted(&sealed));
        Ok(())
    }

    /// Whether it is a value restored in the request.
    fn is_spared(&self, value: Value<'d>) -> bool {
        self.level == 0 && self.walk.applied.spares(self.walk.plan.direction, value.span())
    }

    /// The rules that leave the current place alone.
    fn left_alone(&self) -> Cow<'static, [usize]> {
        self.walk.applied.left_alone(data_path(&self.path, self.level))
    }

    /// Masks a key like any text, and keeps it distinct from its siblings.
    fn key(&mut self, object: Value<'d>, member: Member<'d>, names: &mut Names) -> Result<(), Blocked> {
        let (span, start) = (member.key_span(), object.span().start);
        let raw = &object.raw()[span.start - start..span.end - start];
        if !self.is_hot(span) || !self.walk.opens("", raw) {
            return Ok(());
        }
        let name = member.name();
        if self.walk.applied.names_key(self.walk.plan.direction, &name) {
            return Ok(());
        }
        self.walk.findings.look_at(&self.path);
        let left_alone = self.left_alone();
        let spot = Spot { label: "", place: Place::Key, left_alone: &left_alone };
        let mut edits = self.walk.edits(&name, spot)?;
        if !edits.is_empty() {
            let suffix = names.suffix(object, &apply(&name, &edits));
            edits.push(Edit { start: name.len(), end: name.len(), text: suffix.into() });
            self.splice(raw, span.start, &name, edits);
        }
        Ok(())
    }

    /// Masks a number: it becomes 0, so that it stays a number.
    fn number(&mut self, value: Value<'d>, label: &str) -> Result<(), Blocked> {
        /// The fewest digits of a number that is searched, in the message and in embedded JSON, where numbers are text.
        const LEAST: usize = 12;
        const LEAST_EMBEDDED: usize = 7;
        let least = if self.level == 0 { LEAST } else { LEAST_EMBEDDED };
        let Some(digits) = integer(value.raw()).filter(|digits| digits.len() >= least) else { return Ok(()) };
        if covers(self.opaque, &self.path, value) {
            return Ok(());
        }
        self.walk.findings.look_at(&self.path);
        let left_alone = self.left_alone();
        let spot = Spot { label, place: Place::Number, left_alone: &left_alone };
        if !self.walk.edits(&digits, spot)?.is_empty() {
            let written = std::str::from_utf8(value.raw()).unwrap_or_default();
            let literal = self.walk.applied.literal(value.span(), written, self.level == 0).unwrap_or("0").to_owned();
            self.replace(value, literal);
        }
        Ok(())
    }

    fn replace(&mut self, value: Value<'_>, literal: String) {
        let Span { start, end } = value.span();
        self.edits.push(Edit { start, end, text: literal.into() });
    }

    /// Translates edits of a decoded `text` to edits of its literal `raw`, which is at `start` in the source.
    fn splice(&mut self, raw: &[u8], start: usize, text: &str, edits: Vec<Edit>) {
        let inner = &raw[1..raw.len() - 1];
        // Every escape is longer than the character: if the lengths are equal, there are none.
        let is_plain = inner.len() == text.len();
        let mut source = Source { inner, at: 0, text: 0 };
        let mut find = |at: usize| if is_plain { at } else { source.find(at) };
        let of_source = |edit: Edit| {
            let (from, to) = (find(edit.start), find(edit.end));
            let text = match edit.text {
                // Names in brackets need no escapes.
                Cow::Borrowed(name) => Cow::Borrowed(name),
                Cow::Owned(text) => {
                    let changed = match escaped(&text) {
                        Cow::Borrowed(_) => None,
                        Cow::Owned(text) => Some(text),
                    };
                    changed.unwrap_or(text).into()
                }
            };
            Edit { start: start + 1 + from, end: start + 1 + to, text }
        };
        // The common case of a single text with values needs no copy.
        let edits = edits.into_iter().map(of_source);
        if self.edits.is_empty() {
            self.edits = edits.collect();
        } else {
            self.edits.extend(edits);
        }
    }
}

/// Whether text under this key may be base64, which the gate cannot see into.
fn is_in_base64(label: &str) -> bool {
    matches!(label, "blob" | "data")
}

/// The part of a path within the data of a call: its arguments, its structured content, or a document in a string.
fn data_path<'p, 'd>(path: &'p [Step<'d>], level: usize) -> &'p [Step<'d>] {
    let is_data = |step: &Step<'_>| matches!(step, Step::Key(member) if member.name_is("arguments") || member.name_is("structuredContent"));
    match path.first() {
        Some(first) if level == 0 && is_data(first) => &path[1..],
        _ if level > 0 => path,
        _ => &[],
    }
}

/// A position in the source of a string, and the corresponding one in the decoded text.
struct Source<'a> {
    inner: &'a [u8],
    at: usize,
    text: usize,
}

impl Source<'_> {
    /// The position in the source of byte `wanted` of the text; to be called in ascending order.
    fn find(&mut self, wanted: usize) -> usize {
        while self.text < wanted {
            let rest = &self.inner[self.at..];
            let ahead = &rest[..rest.len().min(wanted - self.text)];
            let plain = memchr::memchr(b'\\', ahead).unwrap_or(ahead.len());
            if plain > 0 {
                self.at += plain;
                self.text += plain;
                continue;
            }
            let (source, text) = match rest.get(1..6) {
                Some([b'u', digits @ ..]) => width(digits),
                _ if rest.is_empty() => break,
                _ => (2, 1),
            };
            self.at += source;
            self.text += text;
        }
        self.at
    }
}

/// The length of a `\u` escape, or of a surrogate pair, and of the UTF-8 it encodes.
fn width(digits: &[u8]) -> (usize, usize) {
    let unit = digits.iter().fold(0, |unit: u32, digit| unit << 4 | char::from(*digit).to_digit(16).unwrap_or(0));
    match unit {
        0..=0x7f => (6, 1),
        0x80..=0x7ff => (6, 2),
        0xd800..=0xdfff => (12, 4),
        _ => (6, 3),
    }
}

/// The digits of a JSON number whose value is an integer, in any spelling; `None` for others and for very long ones.
fn integer(raw: &[u8]) -> Option<Cow<'_, str>> {
    const LONGEST: usize = 64;
    let text = std::str::from_utf8(raw).ok()?;
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() && exponent == "0" {
        return Some(whole.into());
    }
    let exponent = exponent.parse::<isize>().ok()?.checked_sub_unsigned(fraction.len())?;
    let digits = format!("{whole}{fraction}");
    let digits = match usize::try_from(exponent) {
        Ok(zeros) if zeros < LONGEST => digits + &"0".repeat(zeros),
        Ok(_) => return None,
        // A negative exponent that only removes zeros.
        Err(_) => {
            let (kept, zeros) = digits.split_at_checked(digits.len().checked_sub(exponent.unsigned_abs())?)?;
            zeros.bytes().all(|digit| digit == b'0').then(|| kept.to_owned())?
        }
    };
    Some(digits.trim_start_matches('0').to_owned().into())
}

/// The names of one object's members, collected when first needed.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// The last suffix given to each name.
    given: HashMap<String, usize>,
}

impl Names {
    /// The suffix that makes `name` different from all other names of `object`.
    fn suffix(&mut self, object: Value<'_>, name: &str) -> String {
        if self.taken.is_empty() {
            self.taken.extend(object.members().map(|member| member.name().into_owned()));
        }
        if self.taken.insert(name.to_owned()) {
            return String::new();
        }
        let given = self.given.entry(name.to_owned()).or_insert(1);
        loop {
            *given += 1;
            if self.taken.insert(format!("{name}_{given}")) {
                return format!("_{given}");
            }
        }
    }
}
