//! Admission of what a client sends: one message that every parser downstream reads as the proxy read it.

mod message;
mod reserved;
mod restored;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::envelope::{self, Envelope, MessageShape};
use super::error::{AdmitError, HeaderFlaw, HeaderKind, Refusal};
use super::headers::{self, ParamHeader};
use super::methods::{self, Access, Method, Shape, SubjectKind};
use super::mirror::Mirror;
use super::{Era, Revision, disguise, names};
use crate::json::{self, Document, Kind, Member, Place, Value};

pub use restored::Restored;

/// `_meta` key of the version a request speaks.
pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(crate) const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";
pub(crate) const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The head of a request as far as admission reads it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The client's header block.
    pub headers: &'a HeaderMap,
    /// What the session this request belongs to has negotiated; `None` without a session.
    pub session: Option<Revision>,
}

/// What admission must be told about the server.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Longest body in bytes.
    pub bytes: usize,
    /// Bounds of the document.
    pub limits: json::Limits,
    /// Whether a rule names a method exactly.
    pub names_method: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// Revisions the server is configured for, in the order they are advertised.
    pub supported: &'a [Revision],
}

/// A message of a client, admitted. Only [`admit`] makes one.
#[derive(Debug)]
pub struct Message {
    document: Document,
    revision: Revision,
    shape: MessageShape,
    method: Named,
    subject: Option<(SubjectKind, Arc<str>)>,
    /// Whether the subject may only be compared with a listed one.
    odd: bool,
    places: Places,
    params: Box<[ParamHeader]>,
    mirrors: Option<Arc<[Mirror]>>,
    /// What stood sealed in it and was put back.
    put_back: Option<Box<restored::PutBack>>,
}

/// The method, if the message has one.
#[derive(Debug)]
enum Named {
    Listed(&'static Method),
    None,
    Unlisted(Box<str>),
}

/// Where the members stand that stage after stage asks for.
#[derive(Clone, Copy, Debug)]
struct Places {
    params: Option<Place>,
    arguments: Option<Place>,
    meta: Option<Place>,
}

/// The same members while the document is still borrowed.
#[derive(Clone, Copy)]
struct Params<'a> {
    all: Option<Value<'a>>,
    arguments: Option<Value<'a>>,
    meta: Option<Value<'a>>,
}

impl<'a> Params<'a> {
    fn of(params: Option<Value<'a>>) -> Self {
        let mut found = Self { all: params, arguments: None, meta: None };
        for member in params.iter().flat_map(Value::members) {
            if member.name_is("arguments") {
                found.arguments = Some(member.value);
            } else if member.name_is("_meta") {
                found.meta = Some(member.value);
            }
        }
        found
    }

    fn places(self) -> Places {
        let place = |value: Option<Value<'_>>| value.map(|value| value.place());
        Places { params: place(self.all), arguments: place(self.arguments), meta: place(self.meta) }
    }
}

/// Reads `body` as one JSON-RPC message that may go on, in the order of checks protocol.md prescribes: media type, size,
/// JSON, envelope, then for 2026-07-28 `_meta`, headers, version and method.
pub fn admit(head: &Head<'_>, body: Bytes, known: &Known<'_>) -> Result<Message, AdmitError> {
    let fail = |refusal| AdmitError::new(refusal, None);
    headers::check_media_type(head.headers).map_err(fail)?;
    if body.len() > known.bytes {
        return Err(fail(Refusal::TooLarge));
    }
    let document = Document::parse(body, &known.limits).map_err(|error| {
        fail(match error.kind {
            json::ErrorKind::TooLong => Refusal::TooLarge,
            kind => Refusal::Json(kind),
        })
    })?;
    let envelope =
        Envelope::read(&document, true).map_err(|(flaw, id)| AdmitError::new(Refusal::Envelope(flaw), id))?;
    let listed = envelope.method.and_then(|method| method.plain_text()).and_then(methods::spelled);
    let name = listed.map(|method| method.name.into()).or_else(|| text(envelope.method));
    let listed = listed.or_else(|| name.as_deref().and_then(methods::find));
    let params = Params::of(envelope.params);
    let reading = Reading { head, known, envelope, params, name, listed };
    match reading.admit() {
        Ok(admitted) => {
            let places = params.places();
            Ok(admitted.into_message(document, places))
        }
        Err(refusal) => Err(AdmitError::new(refusal, reading.envelope.id)),
    }
}

/// What was found out about a message whose document is still borrowed.
struct Admitted {
    revision: Revision,
    shape: MessageShape,
    method: Named,
    subject: Option<(SubjectKind, Arc<str>)>,
    params: Vec<ParamHeader>,
}

impl Admitted {
    fn into_message(self, document: Document, places: Places) -> Message {
        let Self { revision, shape, method, subject, params } = self;
        let odd = is_odd(subject.as_ref());
        let params = params.into();
        Message { document, revision, shape, method, subject, odd, places, params, mirrors: None, put_back: None }
    }
}

/// A message being read.
struct Reading<'a> {
    head: &'a Head<'a>,
    known: &'a Known<'a>,
    envelope: Envelope<'a>,
    params: Params<'a>,
    /// The method's name, if there is one.
    name: Option<Cow<'a, str>>,
    /// The row of that name.
    listed: Option<&'static Method>,
}

impl<'a> Reading<'a> {
    fn admit(&self) -> Result<Admitted, Refusal> {
        let shape = self.envelope.shape().map_err(Refusal::Envelope)?;
        self.refuse_disguises()?;
        let stated = self.params.meta.and_then(|meta| meta.get(META_VERSION));
        let header = headers::single(self.head.headers, &headers::PROTOCOL_VERSION, HeaderKind::Version);
        let is_modern = stated.is_some() || matches!(header, Ok(Some(header)) if Era::claims_modern(header));
        if is_modern { self.modern(shape, stated) } else { self.legacy(shape, header) }
    }

    /// Keys two parsers could read as different ones, above and inside what a rule is asked about (CVE-2026-27896).
    fn refuse_disguises(&self) -> Result<(), Refusal> {
        let Params { all: params, meta, .. } = self.params;
        let answer = self.envelope.result.or(self.envelope.error);
        let stated = meta.and_then(|meta| meta.get(META_CAPABILITIES));
        let is_disguised = params.is_some_and(|params| {
            // INVARIANT: what is asked about by its plain name is not written otherwise by then.
            reserved::PARAMS.is_disguised_in(params) || params.members().any(holds_disguised_keys)
        }) || answer.is_some_and(|answer| reserved::RESULT.is_disguised_in(answer))
            || stated.is_some_and(|stated| reserved::NESTED.is_disguised_in(stated))
            || params.or(answer).is_some_and(disguise::has_folded_siblings);
        if is_disguised { Err(Refusal::DisguisedKey) } else { Ok(()) }
    }

    fn modern(&self, shape: MessageShape, stated: Option<Value<'a>>) -> Result<Admitted, Refusal> {
        if !self.known.supported.iter().any(|revision| revision.era() == Era::Modern) {
            // An error of the new era would keep a client that speaks both from falling back.
            return Err(self.unsupported(None, Era::Legacy));
        }
        let is_request = match shape {
            MessageShape::Request { .. } => true,
            MessageShape::Notification => false,
            MessageShape::Response { .. } => return Err(Refusal::ClientResponse),
        };
        let version = if is_request { Some(required_meta(self.params.meta, stated)?) } else { text(stated) };
        let mirrored = self.listed.and_then(|method| method.header).filter(|_| is_request);
        self.check_headers(version.as_deref(), self.method_name()?, mirrored, is_request).map_err(Refusal::Header)?;
        let revision = match version {
            Some(version) => self.supported(&version, Era::Modern)?,
            None => self.header_revision()?,
        };
        let params = headers::params(self.head.headers).map_err(Refusal::Header)?;
        self.finish(shape, revision, params)
    }

    fn check_headers(
        &self,
        version: Option<&str>,
        method: &str,
        mirrored: Option<&str>,
        is_request: bool,
    ) -> Result<(), HeaderFlaw> {
        let lines = self.head.headers;
        // What headers a notification has is left open; those that are there must not lie.
        let wanted = |name: &HeaderName| is_request || lines.contains_key(name);
        if let Some(version) = version.filter(|_| wanted(&headers::PROTOCOL_VERSION)) {
            headers::check(lines, &headers::PROTOCOL_VERSION, HeaderKind::Version, Some(version))?;
        }
        if wanted(&headers::METHOD) {
            headers::check(lines, &headers::METHOD, HeaderKind::Method, Some(method))?;
        }
        if let Some(pointer) = mirrored {
            let value = self.params.all.and_then(|params| params.pointer(pointer));
            headers::check(lines, &headers::NAME, HeaderKind::Name, text(value).as_deref())?;
        }
        Ok(())
    }

    fn legacy(&self, shape: MessageShape, header: Result<Option<&str>, HeaderFlaw>) -> Result<Admitted, Refusal> {
        let is_initialize = self.listed.is_some_and(methods::is_initialize);
        if self.known.supported.iter().all(|revision| revision.era() == Era::Modern) {
            let asked = text(self.params.all.and_then(|params| params.get("protocolVersion")));
            return Err(if is_initialize {
                self.unsupported(asked.as_deref(), Era::Modern)
            } else {
                Refusal::Header(HeaderFlaw::Missing(HeaderKind::Version))
            });
        }
        let revision = match header.map_err(|_| self.unsupported(None, Era::Legacy))? {
            Some(version) => self.supported(version, Era::Legacy)?,
            None => self.head.session.unwrap_or(Revision::UNSTATED),
        };
        if !is_initialize && !self.reads(revision) {
            return Err(self.unsupported(None, Era::Legacy));
        }
        self.finish(shape, revision, Vec::new())
    }

    fn header_revision(&self) -> Result<Revision, Refusal> {
        let header = headers::single(self.head.headers, &headers::PROTOCOL_VERSION, HeaderKind::Version);
        self.supported(header.map_err(Refusal::Header)?.unwrap_or_default(), Era::Modern)
    }

    fn supported(&self, version: &str, era: Era) -> Result<Revision, Refusal> {
        let revision = Revision::parse(version).filter(|revision| revision.era() == era);
        revision.filter(|revision| self.reads(*revision)).ok_or_else(|| self.unsupported(Some(version), era))
    }

    /// Whether messages of that revision are read. 2024-11-05 is not advertised, as its own transport is another one, but
    /// clients and servers settle on it over the newer one too, and its messages are those of 2025-03-26 with less in them.
    fn reads(&self, revision: Revision) -> bool {
        self.known.supported.contains(&revision) || revision == Revision::V2024_11_05
    }

    fn unsupported(&self, requested: Option<&str>, era: Era) -> Refusal {
        let printable = |text: &&str| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic());
        Refusal::UnsupportedVersion {
            era,
            requested: requested.filter(printable).map(Into::into),
            supported: self.known.supported.into(),
        }
    }

    fn method_name(&self) -> Result<&str, Refusal> {
        self.name.as_deref().ok_or(Refusal::Envelope(envelope::Flaw::Method))
    }

    /// The method's own rules: known, of this era, in the right shape, with something to ask a rule about.
    fn finish(&self, shape: MessageShape, revision: Revision, params: Vec<ParamHeader>) -> Result<Admitted, Refusal> {
        if matches!(shape, MessageShape::Response { .. }) {
            return Ok(Admitted { revision, shape, method: Named::None, subject: None, params });
        }
        let name = self.method_name()?;
        check_shape(name, self.listed, &shape)?;
        let method = match self.listed {
            Some(method)
                if method.is_from_client(revision) && (method.is_in(revision) || (self.known.names_method)(name)) =>
            {
                Named::Listed(method)
            }
            None if (self.known.names_method)(name) => Named::Unlisted(name.into()),
            _ if matches!(shape, MessageShape::Notification) => return Err(Refusal::UnknownNotification),
            _ => return Err(Refusal::UnknownMethod(revision.era())),
        };
        let subject = match &method {
            Named::Listed(method) => self.subject(method.access)?,
            Named::None | Named::Unlisted(_) => None,
        };
        Ok(Admitted { revision, shape, method, subject, params })
    }

    fn subject(&self, access: Access) -> Result<Option<(SubjectKind, Arc<str>)>, Refusal> {
        let (kind, pointer) = match access {
            Access::Subject { kind, pointer } => (kind, pointer),
            Access::Completion => return self.completed().map(Some),
            Access::Subscriptions => return self.listened().map(|()| None),
            Access::Free | Access::Named | Access::Task => return Ok(None),
        };
        let value = self.params.all.and_then(|params| params.pointer(pointer));
        let text = text(value).ok_or(Refusal::Subject(pointer))?;
        Ok(Some((kind, text.into())))
    }

    /// `params.ref` of a completion: a prompt by name, or a resource or template by URI.
    fn completed(&self) -> Result<(SubjectKind, Arc<str>), Refusal> {
        let missing = || Refusal::Subject("/ref");
        let reference = self.params.all.and_then(|params| params.get("ref")).ok_or_else(missing)?;
        let value = |name| reference.get(name);
        match value("type").and_then(|value| value.as_str()).as_deref() {
            Some("ref/prompt") if value("uri").is_none() => {
                text(value("name")).map(|name| (SubjectKind::Prompt, name.into())).ok_or_else(missing)
            }
            Some("ref/resource") if value("name").is_none() => {
                let uri = value("uri").ok_or_else(missing)?;
                let is_template = uri.as_str().is_some_and(|uri| uri.contains('{'));
                let kind = if is_template { SubjectKind::ResourceTemplate } else { SubjectKind::Resource };
                text(Some(uri)).map(|uri| (kind, uri.into())).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    /// A listen names its resources and tasks as strings, or not at all.
    fn listened(&self) -> Result<(), Refusal> {
        let filter = self.params.all.and_then(|params| params.get("notifications"));
        let filter = filter.filter(|filter| filter.kind() == Kind::Object).ok_or(Refusal::Subject("/notifications"))?;
        for (name, pointer) in
            [("resourceSubscriptions", "/notifications/resourceSubscriptions"), ("taskIds", "/notifications/taskIds")]
        {
            let Some(list) = filter.get(name) else { continue };
            if list.kind() != Kind::Array || list.items().any(|item| item.kind() != Kind::String) {
                return Err(Refusal::Subject(pointer));
            }
        }
        Ok(())
    }
}

/// Whether a member of `params` that holds keys of the protocol holds a disguised one.
fn holds_disguised_keys(member: Member<'_>) -> bool {
    matches!(member.plain_name(), Some(b"_meta" | b"capabilities" | b"clientInfo" | b"notifications" | b"ref"))
        && reserved::NESTED.is_disguised_in(member.value)
}

/// The version a request states; 2026-07-28 wants it and the client's capabilities in every request.
fn required_meta<'a>(meta: Option<Value<'_>>, stated: Option<Value<'a>>) -> Result<Cow<'a, str>, Refusal> {
    let version = text(stated).ok_or(Refusal::RequiredMeta(META_VERSION))?;
    let capabilities = meta.and_then(|meta| meta.get(META_CAPABILITIES));
    match capabilities.map(|value| value.kind()) {
        Some(Kind::Object) => Ok(version),
        _ => Err(Refusal::RequiredMeta(META_CAPABILITIES)),
    }
}

/// A request needs an id and a notification has none (JSON-RPC 2.0 section 4.1).
fn check_shape(name: &str, listed: Option<&Method>, shape: &MessageShape) -> Result<(), Refusal> {
    let is_notification =
        listed.map_or_else(|| methods::is_notification_name(name), |method| method.shape == Shape::Notification);
    match shape {
        MessageShape::Notification if !is_notification && listed.is_none() => Err(Refusal::UnknownNotification),
        MessageShape::Notification if !is_notification => Err(Refusal::RequestWithoutId),
        MessageShape::Request { .. } if is_notification => Err(Refusal::NotificationWithId),
        MessageShape::Notification | MessageShape::Request { .. } | MessageShape::Response { .. } => Ok(()),
    }
}

fn text(value: Option<Value<'_>>) -> Option<Cow<'_, str>> {
    value.and_then(|value| value.as_str())
}

fn is_odd(subject: Option<&(SubjectKind, Arc<str>)>) -> bool {
    subject.is_some_and(|(kind, name)| names::is_odd(*kind, name))
}

#[cfg(test)]
pub(super) mod tests;
