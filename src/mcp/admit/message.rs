use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::{META_CAPABILITIES, META_CLIENT, Message, Named};

use crate::json::{Document, Kind, Value};
use crate::mcp::envelope::{MessageShape, RpcId};
use crate::mcp::error::{AdmitError, HeaderFlaw, HeaderKind, Refusal};
use crate::mcp::headers::{self, ParamHeader};
use crate::mcp::methods::{Method, MethodRef, SubjectKind};
use crate::mcp::mirror::Mirror;
use crate::mcp::session::Capabilities;
use crate::mcp::{ClientSaid, Era, Revision};

/// The most bytes kept of a name or version the client says it has.
const LONGEST_KEPT: usize = 512;

impl Message {
    /// The message as it arrived.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The whole message, to be kept.
    pub(crate) fn into_document(self) -> Document {
        self.document
    }

    /// Which handshake its sender uses.
    pub fn era(&self) -> Era {
        self.revision.era()
    }

    /// The revision it is read by; for `initialize` the one of its header, not the one it asks for.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Request, notification or response.
    pub fn shape(&self) -> &MessageShape {
        &self.shape
    }

    /// The method; `None` for a response.
    pub fn method(&self) -> Option<MethodRef<'_>> {
        match &self.method {
            Named::Listed(method) => Some(MethodRef::Listed(method)),
            Named::None => None,
            Named::Unlisted(name) => Some(MethodRef::Unlisted(name)),
        }
    }

    /// The row of the method; `None` for a response and for a method only a rule knows.
    pub fn listed(&self) -> Option<&'static Method> {
        self.method().and_then(|method| method.listed())
    }

    /// What a rule is asked about, decoded.
    pub fn subject(&self) -> Option<(SubjectKind, &str)> {
        self.subject.as_ref().map(|(kind, name)| (*kind, &**name))
    }

    /// The subject, for who keeps it longer than the message.
    pub(crate) fn kept_subject(&self) -> Option<(SubjectKind, Arc<str>)> {
        self.subject.clone()
    }

    /// What `Mcp-Name` must say (2026-07-28, "Request metadata headers").
    pub fn mirrored_name(&self) -> Option<Cow<'_, str>> {
        self.named()?.as_str()
    }

    /// The same as it stands in the message.
    pub(crate) fn named(&self) -> Option<Value<'_>> {
        let pointer = self.listed()?.header?;
        self.params()?.pointer(pointer)
    }

    /// Whether the subject may only be compared with a listed one, byte by byte.
    pub fn subject_is_odd(&self) -> bool {
        self.odd
    }

    /// The id of a request or response.
    pub fn id(&self) -> Option<&RpcId> {
        match &self.shape {
            MessageShape::Notification => None,
            MessageShape::Request { id } | MessageShape::Response { id } => Some(id),
        }
    }

    /// The id as it was written, quotes included.
    pub fn id_raw(&self) -> Option<&[u8]> {
        self.id().map(|id| id.raw().as_ref())
    }

    /// `params`.
    pub fn params(&self) -> Option<Value<'_>> {
        self.places.params.map(|place| self.document.at(place))
    }

    /// `params.arguments`.
    pub fn arguments(&self) -> Option<Value<'_>> {
        self.places.arguments.map(|place| self.document.at(place))
    }

    /// `params._meta`.
    pub fn meta(&self) -> Option<Value<'_>> {
        self.places.meta.map(|place| self.document.at(place))
    }

    /// `result` of a response.
    pub fn result(&self) -> Option<Value<'_>> {
        self.document.root().get("result")
    }

    /// `error` of a response.
    pub fn error(&self) -> Option<Value<'_>> {
        self.document.root().get("error")
    }

    /// `params._meta.progressToken` as it was written.
    pub fn progress_token(&self) -> Option<&[u8]> {
        self.meta()?.get("progressToken").map(|value| value.raw())
    }

    /// `params.requestState`: what a server gave the client to bring back (2026-07-28 "Multi Round-Trip Requests").
    pub fn request_state(&self) -> Option<Value<'_>> {
        self.params()?.get("requestState")
    }

    /// `params.inputResponses`.
    pub fn input_responses(&self) -> Option<Value<'_>> {
        self.params()?.get("inputResponses")
    }

    /// Whether it begins or goes on with what belongs to its caller: a task, or a call the server asked something in.
    pub fn needs_somebody(&self) -> bool {
        let holds = |name| self.params().is_some_and(|params| params.get(name).is_some());
        ["inputResponses", "requestState", "task"].into_iter().any(holds)
    }

    /// The extensions a client of 2026-07-28 declares.
    pub fn extensions(&self) -> Option<Value<'_>> {
        self.meta()?.get(META_CAPABILITIES)?.get("extensions")
    }

    /// The version an `initialize` asks for.
    pub fn requested_version(&self) -> Option<Cow<'_, str>> {
        self.params()?.get("protocolVersion")?.as_str()
    }

    /// Name and version the client says it has; nothing vouches for them.
    pub fn client_info(&self) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
        let info = self.meta().and_then(|meta| meta.get(META_CLIENT)).or_else(|| self.params()?.get("clientInfo"))?;
        Some((info.get("name")?.as_str()?, info.get("version")?.as_str()?))
    }

    /// Name and version the client says it has, to be kept: unless they are long, and without a copy where they have no escapes.
    pub(crate) fn kept_client(&self) -> Option<ClientSaid> {
        let info = self.meta().and_then(|meta| meta.get(META_CLIENT)).or_else(|| self.params()?.get("clientInfo"))?;
        let kept = |name| {
            let value = info.get(name)?;
            let text = value.plain_bytes().or_else(|| Some(Bytes::from(value.as_str()?.into_owned())))?;
            (text.len() <= LONGEST_KEPT).then_some(text)
        };
        Some(ClientSaid { name: kept("name")?, version: kept("version")? })
    }

    /// What the client declares to be able to do, in `_meta` or in `initialize`.
    pub fn client_capabilities(&self) -> Capabilities {
        let stated = self.meta().and_then(|meta| meta.get(META_CAPABILITIES));
        let declared = stated.or_else(|| self.params()?.get("capabilities"));
        declared.map_or_else(Capabilities::default, Capabilities::of)
    }

    /// Whether the client declares an extension, as 2026-07-28 has it.
    pub fn declares_extension(&self, name: &str) -> bool {
        let stated = self.extensions().and_then(|extensions| extensions.get(name));
        stated.is_some_and(|settings| settings.kind() == Kind::Object)
    }

    /// Every resource a `subscriptions/listen` asks to hear about.
    pub fn subscribed_resources(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.listened("resourceSubscriptions")
    }

    /// Every task a `subscriptions/listen` asks to hear about.
    pub fn subscribed_tasks(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.listened("taskIds")
    }

    fn listened(&self, list: &str) -> impl Iterator<Item = Cow<'_, str>> {
        let filter = self.params().and_then(|params| params.get("notifications"));
        let items = filter.and_then(|filter| filter.get(list)).map(|list| list.items());
        items.into_iter().flatten().filter_map(|item| item.as_str())
    }

    /// Every `Mcp-Param-*` header, decoded; none outside 2026-07-28.
    pub fn param_headers(&self) -> &[ParamHeader] {
        &self.params
    }

    /// Checks that the headers repeat the arguments its tool's schema wants repeated (2026-07-28 "Custom Parameter
    /// Headers"). Where the argument is absent or null no header is expected, and one that is there lies.
    pub fn mirrored_by(&mut self, mirrors: Arc<[Mirror]>) -> Result<(), AdmitError> {
        mirrors
            .iter()
            .try_for_each(|mirror| self.check_param(&mirror.header, &mirror.pointer))
            .map_err(|flaw| AdmitError::new(Refusal::Header(flaw), self.id().cloned()))?;
        self.mirrors = Some(mirrors);
        Ok(())
    }

    /// Where the argument stands that this header repeats, if the tool's schema says so.
    pub fn mirrored_argument(&self, param: &ParamHeader) -> Option<&str> {
        let name = param.name.as_str().strip_prefix(headers::PARAM_PREFIX)?;
        let mirror = self.mirrors.iter().flat_map(|all| all.iter()).find(|one| one.header.eq_ignore_ascii_case(name));
        mirror.map(|mirror| &*mirror.pointer)
    }

    /// Whether a header says what stood in the message before `value` was put back.
    fn stood_for(&self, header: &str, value: Value<'_>) -> bool {
        self.restored().iter().any(|restored| *restored.pseudonym == *header && restored.span == value.span())
    }

    fn check_param(&self, header: &str, pointer: &str) -> Result<(), HeaderFlaw> {
        let is_it = |param: &&ParamHeader| {
            param
                .name
                .as_str()
                .strip_prefix(headers::PARAM_PREFIX)
                .is_some_and(|name| name.eq_ignore_ascii_case(header))
        };
        let found = self.params.iter().find(is_it);
        let value = self.arguments().and_then(|arguments| arguments.pointer(pointer));
        match (found, value.filter(|value| value.kind() != Kind::Null)) {
            (None, None) => Ok(()),
            // What no header can say is the schema's to refuse.
            (None, Some(value)) if headers::mirrored(value).is_none() => Ok(()),
            (None, Some(_)) => Err(HeaderFlaw::Missing(HeaderKind::Param)),
            (Some(param), Some(value)) if headers::mirrors(&param.value, value) => Ok(()),
            (Some(param), Some(value)) if self.stood_for(&param.value, value) => Ok(()),
            (Some(_), _) => Err(HeaderFlaw::Differs(HeaderKind::Param)),
        }
    }
}
