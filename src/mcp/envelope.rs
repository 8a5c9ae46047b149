//! The JSON-RPC 2.0 envelope, read so that no two parsers can read it differently.

use std::borrow::Cow;

use bytes::Bytes;

use crate::json::{self, Document, Kind, Value};
use crate::seal;

/// Longest string id a peer may choose, in bytes as written between the quotes.
const LONGEST_ID: usize = 128;

/// Largest integer that every JSON parser reads exactly.
const LARGEST_INTEGER: i64 = 1 << 53;

/// A request id: a string or an integer, kept as it was written.
#[derive(Clone, Debug)]
pub struct RpcId(Bytes);

impl RpcId {
    /// The literal, quotes included, as it must be sent back.
    pub fn raw(&self) -> &Bytes {
        &self.0
    }

    /// The same id in memory of its own, so that the message it came in can go.
    pub(crate) fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// An id that was read before, from the literal it was kept as.
    pub(crate) fn from_raw(literal: &str) -> Option<Self> {
        let document = Document::parse(Bytes::copy_from_slice(literal.as_bytes()), &json::Limits::REQUEST).ok()?;
        Self::read(document.root(), false)
    }

    /// An id for a request the proxy sends for itself. Within a session it must be unlike any the client uses.
    pub(crate) fn own() -> Self {
        // Nobody can foresee one: a bridge that tells all its clients everything would let another's answer pass for it.
        let (id, mut text) = (uuid::Uuid::now_v7(), uuid::Uuid::encode_buffer());
        let id = id.hyphenated().encode_lower(&mut text);
        Self(["\"portcullis-", &*id, "\""].concat().into())
    }

    /// The id between the quotes if it is one of our sealed ones; those are never written with escapes.
    pub fn sealed(&self) -> Option<&str> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        std::str::from_utf8(inner).ok().filter(|text| seal::looks_sealed(text))
    }

    /// Whether `other` is the same id: same JSON type and same value, however its string is escaped.
    ///
    /// Integers have one spelling here, because fractions, exponents and minus zero are no ids.
    pub fn is(&self, other: Value<'_>) -> bool {
        if self.0 == other.raw() {
            return true;
        }
        let (b'"', Some(text)) = (self.0.first().copied().unwrap_or_default(), other.as_str()) else { return false };
        serde_json::from_slice::<Cow<'_, str>>(&self.0).is_ok_and(|own| own == text)
    }

    /// Reads an id that its sender chose, or one the proxy sealed if `may_be_sealed`.
    fn read(value: Value<'_>, may_be_sealed: bool) -> Option<Self> {
        let fits = match value.kind() {
            Kind::String => value.raw().len() <= LONGEST_ID + 2,
            Kind::Number => {
                value.raw() != b"-0"
                    && value.as_i64().is_some_and(|id| (-LARGEST_INTEGER..=LARGEST_INTEGER).contains(&id))
            }
            Kind::Array | Kind::Bool | Kind::Key | Kind::Null | Kind::Object => false,
        };
        let id = Self(value.raw_bytes());
        (fits || may_be_sealed && id.sealed().is_some()).then_some(id)
    }
}

impl PartialEq for RpcId {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for RpcId {}

/// What a message is, by its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageShape {
    /// Has a method and no id.
    Notification,
    /// Has a method and an id.
    Request {
        /// Chosen by the sender.
        id: RpcId,
    },
    /// Has a result or an error.
    Response {
        /// Chosen by whoever asked.
        id: RpcId,
    },
}

/// Why a value is not one envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// An array of messages.
    Batch,
    /// An `error` without code and message, or with another member.
    Error,
    /// An id that is neither a short string nor an exact integer, or an answer without one.
    Id,
    /// A member JSON-RPC does not have, or a disguised spelling of one it has.
    Member,
    /// A method that is not a string.
    Method,
    /// Not an object.
    NotObject,
    /// Params that are not an object.
    Params,
    /// A result that is not an object.
    Result,
    /// Not exactly one of method, result and error; or params beside a result.
    Shape,
    /// `jsonrpc` is missing or not `"2.0"`.
    Version,
}

/// The members of an envelope, each of the type it must have.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) method: Option<Value<'a>>,
    pub(super) params: Option<Value<'a>>,
    pub(super) result: Option<Value<'a>>,
    pub(super) error: Option<Value<'a>>,
    /// The id, if there is a well-formed one.
    pub(super) id: Option<RpcId>,
}

impl<'a> Envelope<'a> {
    /// Reads the outermost value (JSON-RPC 2.0 sections 4 and 5); the id comes back beside a flaw if it could be read.
    pub(super) fn read(document: &'a Document, may_be_sealed: bool) -> Result<Self, (Flaw, Option<RpcId>)> {
        let root = document.root();
        match root.kind() {
            Kind::Object => {}
            Kind::Array => return Err((Flaw::Batch, None)),
            _ => return Err((Flaw::NotObject, None)),
        }
        let mut envelope = Self { method: None, params: None, result: None, error: None, id: None };
        let (mut flaw, mut id) = (Some(Flaw::Version), None);
        let mut foreign = false;
        for member in root.members() {
            match member.plain_name() {
                Some(b"jsonrpc") if member.value.raw() == b"\"2.0\"" => flaw = None,
                Some(b"jsonrpc") => {}
                Some(b"id") => id = Some(member.value),
                Some(b"method") => envelope.method = Some(member.value),
                Some(b"params") => envelope.params = Some(member.value),
                Some(b"result") => envelope.result = Some(member.value),
                Some(b"error") => envelope.error = Some(member.value),
                Some(_) | None => foreign = true,
            }
        }
        if foreign {
            flaw = Some(Flaw::Member);
        }
        envelope.id = id.and_then(|id| RpcId::read(id, may_be_sealed && envelope.method.is_none()));
        match flaw.or_else(|| envelope.flaw(id.is_some())) {
            Some(flaw) => Err((flaw, envelope.id)),
            None => Ok(envelope),
        }
    }

    /// What is wrong with it, which has an id, well-formed or not, or none.
    fn flaw(&self, has_id: bool) -> Option<Flaw> {
        let wrong = |value: Option<Value<'_>>, kind| value.is_some_and(|value| value.kind() != kind);
        let is_call = self.method.is_some();
        if [is_call, self.result.is_some(), self.error.is_some()].into_iter().filter(|is| *is).count() != 1
            || !is_call && self.params.is_some()
        {
            return Some(Flaw::Shape);
        }
        if wrong(self.method, Kind::String) {
            return Some(Flaw::Method);
        }
        if wrong(self.params, Kind::Object) {
            return Some(Flaw::Params);
        }
        if (has_id || !is_call) && self.id.is_none() {
            return Some(Flaw::Id);
        }
        if wrong(self.result, Kind::Object) {
            return Some(Flaw::Result);
        }
        self.error.is_some_and(|error| !is_error_object(error)).then_some(Flaw::Error)
    }

    /// What the message is.
    pub(super) fn shape(&self) -> Result<MessageShape, Flaw> {
        match (self.method.is_some(), &self.id) {
            (true, None) => Ok(MessageShape::Notification),
            (true, Some(id)) => Ok(MessageShape::Request { id: id.clone() }),
            (false, Some(id)) => Ok(MessageShape::Response { id: id.clone() }),
            (false, None) => Err(Flaw::Id),
        }
    }
}

/// JSON-RPC 2.0 section 5.1: an integer code, a message, perhaps data.
fn is_error_object(error: Value<'_>) -> bool {
    let mut code = false;
    let mut message = false;
    let known = error.members().all(|member| {
        match member.plain_name() {
            Some(b"code") => code = member.value.as_i64().is_some(),
            Some(b"message") => message = member.value.kind() == Kind::String,
            Some(b"data") => {}
            Some(_) | None => return false,
        }
        true
    });
    known && code && message
}
