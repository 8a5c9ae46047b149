//! Messages between a client of an older revision and an upstream of 2026-07-28. Pure.
//!
//! Toward the upstream, the parameters of the client's `initialize` are added to every request; toward the client, members that
//! only the newer revision has are removed. Everything else is kept byte for byte.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::answer::Rewritten;
use super::content;
use super::older::{KEPT, NOTHING};
use crate::json::{Document, Kind, Limits, Member, Splice, Value, quoted};
use crate::mcp::admit::{META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_SERVER, META_SUBSCRIPTION, META_VERSION};
use crate::mcp::headers::{METHOD, NAME, PARAM_PREFIX, encode_string, encode_value, mirrored};
use crate::mcp::methods::{self, Method};
use crate::mcp::{Era, OWN_INFO, Revision, RpcId, SubjectKind};
use crate::policy::tools::Tool;

/// Members of a result that only the newer revision has.
const NEWER_RESULT: [&str; 3] = ["cacheScope", "resultType", "ttlMs"];

/// The parameters of an older client's `initialize`.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// The members of `_meta` that every request states, serialized once.
    stated: Bytes,
    /// A JSON object, a slice of `stated`.
    pub(super) capabilities: Bytes,
    /// `clientInfo`, likewise; `None` if the client did not send it.
    client: Option<Bytes>,
    /// The negotiated revision.
    pub(super) revision: Revision,
}

impl Declared {
    /// Reads the `params` of `initialize`; the revision is the requested one if it is served and older than 2026-07-28.
    pub(super) fn of(params: Option<Value<'_>>) -> Self {
        let get = |name: &str| params.and_then(|params| params.get(name));
        let object = |name: &str| get(name).filter(|value| value.kind() == Kind::Object).map(|value| value.raw());
        let asked = get("protocolVersion").and_then(|version| Revision::parse(&version.as_str()?));
        let served = asked.filter(|revision| revision.era() == Era::Legacy);
        // Copied, since a slice would keep the whole message alive for as long as the session.
        let mut stated = format!(r#""{META_VERSION}":"{}","{META_CAPABILITIES}":"#, Revision::V2026_07_28).into_bytes();
        let mut append = |text: &[u8]| {
            let start = stated.len();
            stated.extend_from_slice(text);
            start..stated.len()
        };
        let capabilities = append(object("capabilities").unwrap_or(b"{}"));
        let client = object("clientInfo").map(|client| {
            append(format!(r#","{META_CLIENT}":"#).as_bytes());
            append(client)
        });
        let stated = Bytes::from(stated);
        Self {
            capabilities: stated.slice(capabilities),
            client: client.map(|client| stated.slice(client)),
            stated,
            revision: served.unwrap_or(Revision::V2025_11_25),
        }
    }

    /// What the proxy says where it asks for itself.
    pub(super) fn own() -> Self {
        let params = Document::parse(format!(r#"{{"clientInfo":{OWN_INFO}}}"#).into(), &Limits::ANSWER);
        Self::of(params.as_ref().ok().map(Document::root))
    }

    /// Whether it is too long to be kept with a session.
    pub(super) fn is_too_long(&self) -> bool {
        self.capabilities.len() + self.client.as_ref().map_or(0, Bytes::len) > KEPT
    }

    /// The members of `_meta` for every request.
    fn stated(&self, level: Option<&str>) -> Vec<u8> {
        let level = level.map(|level| format!(r#","{META_LOG_LEVEL}":{}"#, quoted(level))).unwrap_or_default();
        // One byte of spare capacity, for a comma before further members.
        let mut stated = Vec::with_capacity(self.stated.len() + level.len() + 1);
        stated.extend_from_slice(&self.stated);
        stated.extend_from_slice(level.as_bytes());
        stated
    }

    /// Whether a member of `_meta` is one of those that every request states.
    fn states(&self, member: &Member<'_>, level: Option<&str>) -> bool {
        member.name_is(META_VERSION)
            || member.name_is(META_CAPABILITIES)
            || self.client.is_some() && member.name_is(META_CLIENT)
            || level.is_some() && member.name_is(META_LOG_LEVEL)
    }
}

/// The input for a server that answered `input_required`.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// By key, as JSON.
    pub(super) responses: Vec<(String, Bytes)>,
    /// As JSON.
    pub(super) state: Option<Bytes>,
}

impl Input {
    /// The input as members of `params`.
    fn members(&self) -> Vec<u8> {
        let mut members = Vec::new();
        if !self.responses.is_empty() {
            let responses = self.responses.iter();
            let responses = responses.map(|(key, said)| format!("{}:{}", quoted(key), String::from_utf8_lossy(said)));
            let responses = responses.collect::<Vec<_>>().join(",");
            members.extend_from_slice(format!(r#""inputResponses":{{{responses}}}"#).as_bytes());
        }
        if let Some(state) = &self.state {
            if !members.is_empty() {
                members.push(b',');
            }
            members.extend_from_slice(b"\"requestState\":");
            members.extend_from_slice(state);
        }
        members
    }
}

/// Translates a request for the newer upstream, with the id `own`.
pub(super) fn request(
    document: &Document,
    own: &Bytes,
    declared: &Declared,
    level: Option<&str>,
    input: &Input,
) -> Bytes {
    let root = document.root();
    let mut splice = Splice::new();
    if let Some(id) = root.get("id") {
        splice.replace(id.span(), own.clone());
    }
    let added = input.members();
    let stated = declared.stated(level);
    let params = root.get("params").filter(|params| params.kind() == Kind::Object);
    let meta = params.and_then(|params| params.get("_meta")).filter(|meta| meta.kind() == Kind::Object);
    match (params, meta) {
        (None, _) => {
            let params = [b"\"params\":{\"_meta\":{".as_slice(), &stated, b"}}"].concat();
            splice.put_in_front(root, |member| !member.name_is("params"), params);
        }
        (Some(params), None) => {
            let comma = if added.is_empty() { "" } else { "," };
            let added = [&added, comma.as_bytes(), b"\"_meta\":{", &stated, b"}"].concat();
            splice.put_in_front(params, |member| !member.name_is("task") && !member.name_is("_meta"), added);
        }
        (Some(params), Some(meta)) => {
            splice.put_in_front(params, |member| !member.name_is("task"), added);
            splice.put_in_front(meta, |member| !declared.states(member, level), stated);
        }
    }
    splice.apply(document.bytes())
}

/// Whether a message is the response to the request `own`, or an error response without an id.
pub(super) fn is_answer(document: &Document, own: &RpcId) -> bool {
    match document.root().get("id") {
        Some(id) if id.kind() != Kind::Null => own.is(id),
        _ => document.root().get("error").is_some(),
    }
}

/// Translates a response for the client of that revision, whose request had the id `id`.
pub(super) fn response(document: &Document, id: &Bytes, method: Option<&Method>, revision: Revision) -> Rewritten {
    let root = document.root();
    // A result of unknown `resultType` is an error (2026-07-28), and tasks need a client that declares them.
    let (result, own) = (root.get("result"), root.get("id"));
    let kind = result.and_then(|result| result.get("resultType"));
    if kind.is_some_and(|kind| kind.as_str().as_deref() != Some("complete")) {
        let text = "The server answered with what a client of an older revision cannot follow, such as a task";
        let id = String::from_utf8_lossy(id);
        let error = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"{text}"}}}}"#);
        return Rewritten::Anew(error.into());
    }
    let (mut splice, mut is_framed) = (Splice::new(), true);
    if let Some(own) = own {
        splice.replace(own.span(), id.clone());
    }
    if let Some(result) = result.filter(|result| result.kind() == Kind::Object) {
        // Before 2026-07-28 structured content must be an object; its content is also in a text block.
        let structured = result.get("structuredContent").is_none_or(|content| content.kind() == Kind::Object);
        let keeps = |member: &Member<'_>| {
            !NEWER_RESULT.iter().any(|name| member.name_is(name))
                && (structured || !member.name_is("structuredContent"))
        };
        splice.rewrite_object(result, keeps, NOTHING);
        let frames = splice.len();
        if let Some(meta) = result.get("_meta").filter(|meta| meta.kind() == Kind::Object) {
            splice.rewrite_object(meta, |member| !member.name_is(META_SERVER), NOTHING);
        }
        content::known_to(revision, result, &mut splice);
        let lists_tools = method.and_then(|method| method.list).is_some_and(|list| list.kind == SubjectKind::Tool);
        for tool in result.get("tools").filter(|_| lists_tools).iter().flat_map(Value::items) {
            older_tool(tool, &mut splice);
        }
        is_framed = structured && splice.len() == frames;
    }
    if is_framed { Rewritten::Framed(splice) } else { Rewritten::Edited(splice) }
}

/// Removes an output schema that is not one of an object, as it must be before 2026-07-28.
fn older_tool(tool: Value<'_>, splice: &mut Splice) {
    let Some(schema) = tool.get("outputSchema") else { return };
    if schema.get("type").and_then(|kind| kind.as_str()).as_deref() != Some("object") {
        splice.rewrite_object(tool, |member| !member.name_is("outputSchema"), NOTHING);
    }
}

/// Translates the answer to `server/discover` to one to `initialize` (2025-11-25, "Initialization").
pub(super) fn initialized(discovered: &Document, id: &[u8], revision: Revision) -> Bytes {
    let result = discovered.root().get("result");
    let part = |pointer: &str| result.and_then(|result| result.pointer(pointer)).map(|value| value.raw());
    let server = part("/_meta/io.modelcontextprotocol~1serverInfo").or_else(|| part("/serverInfo"));
    let mut out = br#"{"jsonrpc":"2.0","id":"#.to_vec();
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":{"protocolVersion":"#);
    out.extend_from_slice(quoted(revision.as_str()).as_bytes());
    out.extend_from_slice(br#","capabilities":"#);
    out.extend_from_slice(&known_capabilities(result.and_then(|result| result.get("capabilities"))));
    out.extend_from_slice(br#","serverInfo":"#);
    out.extend_from_slice(server.unwrap_or(br#"{"name":"upstream","version":"0"}"#));
    if let Some(instructions) = part("/instructions") {
        out.extend_from_slice(br#","instructions":"#);
        out.extend_from_slice(instructions);
    }
    out.extend_from_slice(b"}}");
    out.into()
}

/// The server capabilities that an older client can use.
fn known_capabilities(stated: Option<Value<'_>>) -> Vec<u8> {
    let mut members = Vec::new();
    for member in stated.iter().flat_map(Value::members) {
        if member.name_is("extensions") || member.name_is("tasks") {
            continue;
        }
        members.push(format!("{}:{}", quoted(&member.name()), String::from_utf8_lossy(member.value.raw())));
    }
    format!("{{{}}}", members.join(",")).into_bytes()
}

/// A server's input request, to be sent to an older client as a request with an id of the proxy's own.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) key: String,
    pub(super) method: String,
    pub(super) params: Bytes,
}

/// The input requests and the request state of an `input_required` result; `None` for other messages.
pub(super) fn questions(document: &Document) -> Option<(Vec<Question>, Option<Bytes>)> {
    let result = document.root().get("result")?;
    (result.get("resultType")?.as_str()? == "input_required").then_some(())?;
    let mut questions = Vec::new();
    for member in result.get("inputRequests").iter().flat_map(Value::members) {
        let params = member.value.get("params").map_or_else(|| Bytes::from_static(b"{}"), |params| params.raw_bytes());
        let method = member.value.get("method")?.as_str()?.into_owned();
        questions.push(Question { key: member.name().into_owned(), method, params });
    }
    Some((questions, result.get("requestState").map(|state| state.raw_bytes())))
}

impl Question {
    /// The JSON-RPC request to the client.
    pub(super) fn request(&self, id: &str) -> Bytes {
        let params = String::from_utf8_lossy(&self.params);
        format!(r#"{{"jsonrpc":"2.0","id":{},"method":{},"params":{params}}}"#, quoted(id), quoted(&self.method)).into()
    }
}

/// Translates a notification of a subscription for an older client; `None` for one that is unknown to older revisions.
pub(super) fn news(document: &Document) -> Option<Bytes> {
    let root = document.root();
    methods::news(&root.get("method")?.as_str()?)?;
    let mut splice = Splice::new();
    if let Some(meta) = root.pointer("/params/_meta").filter(|meta| meta.kind() == Kind::Object) {
        splice.rewrite_object(meta, |member| !member.name_is(META_SUBSCRIPTION), NOTHING);
    }
    Some(splice.apply(document.bytes()))
}

/// A `subscriptions/listen` request with the id `own`, for all list changes and for the resources `uris`.
pub(super) fn listen(own: &Bytes, declared: &Declared, uris: &[Box<str>]) -> Bytes {
    let uris: Vec<String> = uris.iter().map(|uri| quoted(uri)).collect();
    let wanted = format!(
        r#""notifications":{{"promptsListChanged":true,"resourcesListChanged":true,"toolsListChanged":true,"resourceSubscriptions":[{}]}},"#,
        uris.join(",")
    );
    own_request(own, methods::LISTEN, &wanted, declared)
}

/// A `server/discover` request with the id `own`.
pub(super) fn discover(own: &Bytes, declared: &Declared) -> Bytes {
    own_request(own, methods::DISCOVER, "", declared)
}

/// A request of the proxy's own; `params` are members to put before `_meta`.
fn own_request(own: &Bytes, method: &str, params: &str, declared: &Declared) -> Bytes {
    let (own, stated) = (String::from_utf8_lossy(own), declared.stated(None));
    let stated = String::from_utf8_lossy(&stated);
    format!(r#"{{"jsonrpc":"2.0","id":{own},"method":"{method}","params":{{{params}"_meta":{{{stated}}}}}}}"#).into()
}

/// The headers that mirror the request's body (2026-07-28, "Request Metadata Headers"); translation does not change these
/// members.
pub(super) fn headers(
    request: &Document,
    method: Option<&'static Method>,
    tool: Option<&Tool>,
) -> Vec<(HeaderName, HeaderValue)> {
    let root = request.root();
    let mut headers = Vec::with_capacity(2);
    let unlisted = || Some((METHOD.clone(), HeaderValue::from_str(&root.get("method")?.as_str()?).ok()?));
    headers.extend(method.map_or_else(unlisted, |method| Some(method_header(method.name))));
    let params = root.get("params");
    let place = method.and_then(|method| method.header);
    let named = place.zip(params).and_then(|(place, params)| encode_string(params.pointer(place)?));
    headers.extend(named.map(|named| (NAME.clone(), named)));
    let arguments = params.and_then(|params| params.get("arguments"));
    for mirror in tool.and_then(Tool::mirrors).iter().flat_map(|mirrors| mirrors.iter()) {
        let value = arguments.and_then(|arguments| arguments.pointer(&mirror.pointer)).and_then(mirrored);
        let header = HeaderName::try_from(format!("{PARAM_PREFIX}{}", mirror.header));
        if let (Some(value), Ok(header)) = (value, header) {
            headers.push((header, encode_value(&value)));
        }
    }
    headers
}

/// The `Mcp-Method` header, the only one that requests of the proxy's own need.
pub(super) fn method_header(name: &'static str) -> (HeaderName, HeaderValue) {
    (METHOD.clone(), HeaderValue::from_static(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::ANSWER).unwrap()
    }

    fn declared() -> Declared {
        let params =
            document(r#"{"protocolVersion":"2025-06-18","capabilities":{"roots":{}},"clientInfo":{"name":"c"}}"#);
        Declared::of(Some(params.root()))
    }

    const META: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/clientInfo":{"name":"c"}"#;

    #[test]
    fn requests_say_again_what_the_session_was_told() {
        assert_eq!(declared().revision, Revision::V2025_06_18);
        let cases = [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#,
                format!(r#"{{"params":{{"_meta":{{{META}}}}},"jsonrpc":"2.0","id":"o","method":"m"}}"#),
            ),
            (r#"{"id":1,"params":{}}"#, format!(r#"{{"id":"o","params":{{"_meta":{{{META}}}}}}}"#)),
            (
                r#"{"id":1,"params":{"task":{},"name":"x","_meta":{"progressToken":1.0,"io.modelcontextprotocol/protocolVersion":"x"}}}"#,
                format!(r#"{{"id":"o","params":{{"name":"x","_meta":{{{META},"progressToken":1.0}}}}}}"#),
            ),
        ];
        for (before, after) in cases {
            let written =
                request(&document(before), &Bytes::from_static(b"\"o\""), &declared(), None, &Input::default());
            assert_eq!(written, after);
            Document::parse(written, &Limits::ANSWER).unwrap();
        }
        let input = Input {
            responses: vec![("k".into(), Bytes::from_static(b"{}"))],
            state: Some(Bytes::from_static(b"\"s\"")),
        };
        let written = request(
            &document(r#"{"id":1,"params":{"_meta":{}}}"#),
            &Bytes::from_static(b"2"),
            &declared(),
            Some("info"),
            &input,
        );
        let level = r#","io.modelcontextprotocol/logLevel":"info""#;
        assert_eq!(
            written,
            format!(
                r#"{{"id":2,"params":{{"inputResponses":{{"k":{{}}}},"requestState":"s","_meta":{{{META}{level}}}}}}}"#
            )
        );
    }

    #[test]
    fn results_lose_what_older_clients_do_not_know() {
        let list = methods::find("tools/list");
        let cases = [
            (
                None,
                r#"{"id":"o","result":{"resultType":"complete","content":[],"ttlMs":0,"structuredContent":[1],"_meta":{"io.modelcontextprotocol/serverInfo":{}}}}"#,
                r#"{"id":7,"result":{"content":[],"_meta":{}}}"#,
            ),
            (
                list,
                r#"{"id":"o","result":{"tools":[{"name":"a","outputSchema":{"type":"array"}},{"name":"b","outputSchema":{"type":"object"}}],"cacheScope":"public"}}"#,
                r#"{"id":7,"result":{"tools":[{"name":"a"},{"name":"b","outputSchema":{"type":"object"}}]}}"#,
            ),
            (None, r#"{"id":"o","error":{"code":-32602}}"#, r#"{"id":7,"error":{"code":-32602}}"#),
            (
                methods::find("tools/call"),
                r#"{"id":"o","result":{"resultType":"task","taskId":"t","status":"working"}}"#,
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"The server answered with what a client of an older revision cannot follow, such as a task"}}"#,
            ),
        ];
        for (method, before, after) in cases {
            let before = document(before);
            assert_eq!(
                response(&before, &Bytes::from_static(b"7"), method, Revision::V2025_11_25).bytes(&before),
                after
            );
        }
    }

    #[test]
    fn questions_are_read_and_asked() {
        let text = r#"{"id":1,"result":{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}},"requestState":"s"}}"#;
        let (asked, state) = questions(&document(text)).unwrap();
        assert_eq!(state.as_deref(), Some(b"\"s\"".as_slice()));
        assert_eq!(asked[0].key, "k");
        assert_eq!(asked[0].request("i"), r#"{"jsonrpc":"2.0","id":"i","method":"roots/list","params":{}}"#);
        assert!(questions(&document(r#"{"id":1,"result":{}}"#)).is_none());
    }
}
