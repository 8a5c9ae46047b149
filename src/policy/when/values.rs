//! Converts JSON to CEL values, within caps.

use std::collections::HashMap;
use std::sync::OnceLock;

use bytes::Bytes;
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::Val;

use crate::json::{Document, Kind, Limits, Value};
use crate::policy::args::Number;

/// The most bytes of all strings together.
const TEXT: usize = 8 * 1024;
/// The most items of one list.
pub(super) const ITEMS: usize = 256;
/// The most values, containers included.
const NODES: usize = 1024;

/// A value, and the length of its longest list.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) value: Box<dyn Val>,
    pub(super) longest: usize,
}

/// Converts values until a cap is exceeded.
pub(super) struct Converter {
    nodes: usize,
    text: usize,
    longest: usize,
}

impl Converter {
    pub(super) const fn new() -> Self {
        Self { nodes: NODES, text: TEXT, longest: 0 }
    }

    /// Converts a value; `None` beyond a cap, or for a number two parsers could read differently.
    pub(super) fn value(&mut self, value: Value<'_>) -> Option<Box<dyn Val>> {
        self.nodes = self.nodes.checked_sub(1)?;
        Some(match value.kind() {
            Kind::Array => {
                let items: Option<Vec<Box<dyn Val>>> = value.items().map(|item| self.value(item)).collect();
                let items = items.filter(|items| items.len() <= ITEMS)?;
                self.longest = self.longest.max(items.len());
                Box::new(CelList::from(items))
            }
            Kind::Bool => Box::new(CelBool::from(value.as_bool()?)),
            Kind::Key | Kind::Null => Box::new(CelNull),
            Kind::Number => {
                let number = Number::read(value)?;
                match value.as_i64() {
                    Some(whole) => Box::new(CelInt::from(whole)),
                    None => Box::new(CelDouble::from(number.value())),
                }
            }
            Kind::Object => self.members(value, |_| true)?,
            Kind::String => {
                let text = value.as_str()?;
                self.text = self.text.checked_sub(text.len())?;
                Box::new(CelString::from(text.into_owned()))
            }
        })
    }

    /// Converts the `wanted` members of an object.
    pub(super) fn members(&mut self, value: Value<'_>, wanted: impl Fn(&str) -> bool) -> Option<Box<dyn Val>> {
        let mut members: HashMap<CelMapKey<'static>, Box<dyn Val>> = HashMap::new();
        for member in value.members() {
            let name = member.name();
            if wanted(&name) {
                let value = self.value(member.value)?;
                members.insert(CelMapKey::from(name.into_owned()), value);
            }
        }
        // Iterating over a map goes through its keys.
        self.longest = self.longest.max(members.len());
        Some(Box::new(CelMap::from(members)))
    }

    pub(super) fn finish(self, value: Box<dyn Val>) -> Converted {
        Converted { value, longest: self.longest }
    }
}

/// A map of values.
pub(super) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Box<dyn Val>)>) -> Box<dyn Val> {
    let entries = entries.into_iter().map(|(name, value)| (CelMapKey::from(name.to_owned()), value));
    Box::new(CelMap::from(entries.collect::<HashMap<CelMapKey<'static>, Box<dyn Val>>>()))
}

/// A caller's claims as a CEL value, converted when first read and kept with the caller.
#[derive(Default)]
pub(crate) struct Expressed(OnceLock<Option<Box<Converted>>>);

impl Expressed {
    /// The claims; `None` if they are beyond the caps.
    pub(super) fn claims(&self, claims: &serde_json::Map<String, serde_json::Value>) -> Option<&Converted> {
        let convert = || {
            let bytes = Bytes::from(serde_json::to_vec(claims).ok()?);
            let document = Document::parse(bytes, &Limits::REQUEST).ok()?;
            let mut converter = Converter { text: 2 * TEXT, ..Converter::new() };
            let value = converter.value(document.root())?;
            Some(Box::new(converter.finish(value)))
        };
        self.0.get_or_init(convert).as_deref()
    }
}

impl Clone for Expressed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Expressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expressed")
    }
}
