//! Messages between a client of 2026-07-28 and an upstream of an older revision. Pure.
//!
//! Version, capabilities and log level, which the newer revision states in every message, belong to the session in an older
//! one: they are removed toward the upstream, and the required members of results are added toward the client. Everything else
//! is kept byte for byte.

use bytes::Bytes;

use super::task;
use crate::json::{Document, Kind, Limits, Member, Splice, Value, quoted};
use crate::mcp::Revision;
use crate::mcp::admit::{META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_SUBSCRIPTION};
use crate::mcp::asked::{ASKED_OF_CLIENTS, WANTS_PAGES};
use crate::mcp::handle::TASKS_EXTENSION;
use crate::mcp::lists;
use crate::mcp::methods::{self, Method, News};

/// Members of `params` that only the newer revision has, or that belong to features that are not translated.
const NEWER_PARAMS: [&str; 3] = ["inputResponses", "requestState", "task"];
/// Prefix of the protocol's own `_meta` keys.
const OWN_META: &str = "io.modelcontextprotocol/";
/// The error code "resource not found" before 2026-07-28.
const NOT_FOUND: i64 = -32_002;

/// The most bytes of a client's capabilities and information that are kept with its session.
pub(super) const KEPT: usize = 64 * 1024;

/// What a request states about its client.
#[derive(Clone, Debug)]
pub(super) struct Stated {
    /// A JSON object.
    pub(super) capabilities: Bytes,
    /// The same as a set: which requests the server may send.
    pub(super) able: Able,
    /// The client's information, a JSON object, if stated.
    pub(super) client: Option<Bytes>,
    /// The least severe level of log messages that the client wants.
    pub(super) log_level: Option<Box<str>>,
    /// As written.
    pub(super) progress_token: Option<Bytes>,
}

impl Stated {
    pub(super) fn of(params: Option<Value<'_>>) -> Self {
        let meta = params.and_then(|params| params.get("_meta"));
        let get = |key: &str| meta.and_then(|meta| meta.get(key));
        let object = |key: &str| get(key).filter(|value| value.kind() == Kind::Object);
        let (able, capabilities) = object(META_CAPABILITIES).map_or_else(Able::nothing, Able::of);
        Self {
            capabilities,
            able,
            client: object(META_CLIENT).map(|client| client.raw_bytes()),
            log_level: get(META_LOG_LEVEL).and_then(|level| level.as_str()).map(Into::into),
            progress_token: get("progressToken").map(|token| token.raw_bytes()),
        }
    }

    /// A copy that does not keep the message alive that it was read from.
    pub(super) fn kept(self) -> Self {
        let copy = |part: Bytes| Bytes::copy_from_slice(&part);
        Self {
            capabilities: copy(self.capabilities),
            client: self.client.map(copy),
            progress_token: self.progress_token.map(copy),
            ..self
        }
    }

    /// Whether it is too long to be kept with a session.
    pub(super) fn is_too_long(&self) -> bool {
        self.capabilities.len() + self.client.as_ref().map_or(0, Bytes::len) > KEPT
    }
}

/// The client capabilities that both eras have; extensions are not translated.
const CAPABILITIES: [&str; 3] = ["elicitation", "roots", "sampling"];

/// Which of [`CAPABILITIES`] a client has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Able([bool; CAPABILITIES.len()]);

impl Able {
    fn nothing() -> (Self, Bytes) {
        (Self::default(), Bytes::from_static(b"{}"))
    }

    /// The set for `stated`, and those members of it, in a canonical form.
    fn of(stated: Value<'_>) -> (Self, Bytes) {
        let settings = CAPABILITIES.map(|name| stated.get(name));
        if settings.iter().all(Option::is_none) {
            return Self::nothing();
        }
        let able = Self(settings.map(|settings| settings.is_some()));
        let said = || CAPABILITIES.iter().zip(settings).filter_map(|(name, settings)| Some((name, settings?)));
        // Quotes, a colon, and a comma or a brace.
        let length = said().fold(1, |length, (name, settings)| length + name.len() + settings.raw().len() + 4);
        if length == stated.raw().len() && said().is_sorted_by_key(|(_, settings)| settings.span().start) {
            return (able, stated.raw_bytes());
        }
        let mut text = Vec::with_capacity(length);
        text.push(b'{');
        for (name, settings) in said() {
            if text.len() > 1 {
                text.push(b',');
            }
            for part in [b"\"", name.as_bytes(), b"\":", settings.raw()] {
                text.extend_from_slice(part);
            }
        }
        text.push(b'}');
        (able, text.into())
    }

    /// Whether a server may send the client a request of this method.
    pub(super) fn answers(self, method: &str) -> bool {
        let capability = method.split_once('/').map_or(method, |(capability, _)| capability);
        CAPABILITIES.iter().zip(self.0).any(|(name, able)| able && *name == capability)
    }

    /// Whether a server may send the client any request.
    pub(super) fn answers_any(self) -> bool {
        self.0.contains(&true)
    }
}

/// Whether a request declares the tasks extension.
pub(super) fn declares_tasks(params: Option<Value<'_>>) -> bool {
    let declared = params.and_then(|params| params.get("_meta")?.get(META_CAPABILITIES)?.get("extensions"));
    declared.is_some_and(|extensions| extensions.get(TASKS_EXTENSION).is_some())
}

/// Translates a message for the older upstream. A request gets the id `own`, also as its progress token, and with `as_task` it
/// asks to run as a task.
pub(super) fn message(document: &Document, own: Option<u64>, as_task: bool) -> Bytes {
    let root = document.root();
    let mut splice = Splice::new();
    if let (Some(own), Some(id)) = (own, root.get("id")) {
        splice.replace(id.span(), own.to_string());
    }
    if let Some(params) = root.get("params").filter(|params| params.kind() == Kind::Object) {
        // Without a `ttl`, which is left to the server (2025-11-25, "Tasks").
        let added: &[(&str, &str)] = if as_task { &[("task", "{}")] } else { NOTHING };
        splice.rewrite_object(params, |member| !NEWER_PARAMS.iter().any(|name| member.name_is(name)), added);
        if let Some(meta) = params.get("_meta").filter(|meta| meta.kind() == Kind::Object) {
            splice.rewrite_object(meta, |member| !member.name_starts_with(OWN_META), NOTHING);
            if let (Some(own), Some(token)) = (own, meta.get("progressToken")) {
                splice.replace(token.span(), own.to_string());
            }
        }
    }
    splice.apply(document.bytes())
}

/// A request of a client of the upstream's era, with the id `own`, also as its progress token.
pub(super) fn renumbered(document: &Document, own: u64) -> Bytes {
    let mut splice = Splice::new();
    for place in ["/id", "/params/_meta/progressToken"] {
        if let Some(value) = document.pointer(place) {
            splice.replace(value.span(), own.to_string());
        }
    }
    splice.apply(document.bytes())
}

/// The edit that sets the id of a response to the client's.
pub(super) fn renamed(document: &Document, id: &Bytes) -> Splice {
    let mut splice = Splice::new();
    if let Some(own) = document.root().get("id") {
        splice.replace(own.span(), id.clone());
    }
    splice
}

/// Whether a message is the response to the request `own`, or an error response without an id.
pub(super) fn is_answer(document: &Document, own: u64) -> bool {
    match document.root().get("id") {
        Some(id) if id.kind() != Kind::Null => id.as_i64() == i64::try_from(own).ok(),
        _ => document.root().get("error").is_some(),
    }
}

/// No members to be added.
pub(super) const NOTHING: &[(&str, &str)] = &[];

/// The edits that translate a response for the client, whose request had the id `id`.
pub(super) fn response(document: &Document, id: &Bytes, method: Option<&Method>) -> Splice {
    let root = document.root();
    let mut splice = Splice::new();
    if let Some(own) = root.get("id") {
        splice.replace(own.span(), id.clone());
    }
    if let Some(result) = root.get("result").filter(|result| result.kind() == Kind::Object) {
        let cached: &[_] = if method.is_some_and(methods::is_cached) { &CACHED_RESULT } else { &[] };
        let must = NEWER_RESULT.iter().chain(cached).filter(|(name, _)| result.get(name).is_none());
        splice.add_members(result, must.map(|(name, value)| (*name, value.as_bytes())));
    }
    if let Some(code) = root.get("error").and_then(|error| error.get("code"))
        && code.as_i64() == Some(NOT_FOUND)
    {
        splice.replace(code.span(), "-32602");
    }
    splice
}

/// The members that 2026-07-28 requires of every result, and of cacheable results.
const NEWER_RESULT: [(&str, &str); 1] = [("resultType", "\"complete\"")];
const CACHED_RESULT: [(&str, &str); 2] = [("ttlMs", "0"), ("cacheScope", "\"private\"")];

/// Translates a notification that belongs to the request `own`: progress, and log messages if the client wants them; `None`
/// for others.
pub(super) fn aside(document: &Document, own: u64, stated: &Stated) -> Option<Bytes> {
    let root = document.root();
    let kind = methods::news(&root.get("method")?.as_str()?)?;
    match (kind, &stated.progress_token, &stated.log_level) {
        (News::Progress, Some(token), _) => {
            let told = root.pointer("/params/progressToken")?;
            (told.as_i64() == i64::try_from(own).ok()).then_some(())?;
            let mut splice = Splice::new();
            splice.replace(told.span(), token.clone());
            Some(splice.apply(document.bytes()))
        }
        (News::Log, _, Some(least)) if logs(&root, least) => Some(document.bytes().clone()),
        _ => None,
    }
}

/// The severities of RFC 5424 section 6.2.1, least severe first.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// Whether it is a known level.
pub(super) fn is_level(level: &str) -> bool {
    rank(level).is_some()
}

/// Whether `level` is at most as severe as `other`, so that logging from `level` on includes logging from `other` on.
pub(super) fn is_at_most(level: &str, other: &str) -> bool {
    rank(level) <= rank(other)
}

fn logs(root: &Value<'_>, least: &str) -> bool {
    let level = root.pointer("/params/level").and_then(|level| level.as_str());
    level.and_then(|level| rank(&level)) >= rank(least)
}

/// Adds the subscription `id` to a notification.
pub(super) fn news(document: &Document, id: &[u8]) -> Bytes {
    let root = document.root();
    let mut splice = Splice::new();
    let subscription = format!("{}:{}", quoted(META_SUBSCRIPTION), String::from_utf8_lossy(id));
    match root.get("params").filter(|params| params.kind() == Kind::Object) {
        None => splice.rewrite_object(root, |_| true, &[("params", format!("{{\"_meta\":{{{subscription}}}}}"))]),
        Some(params) => match params.get("_meta").filter(|meta| meta.kind() == Kind::Object) {
            None => splice.rewrite_object(params, |_| true, &[("_meta", format!("{{{subscription}}}"))]),
            Some(meta) => {
                splice.rewrite_object(meta, |member| !member.name_is(META_SUBSCRIPTION), &[(META_SUBSCRIPTION, id)]);
            }
        },
    }
    splice.apply(document.bytes())
}

/// Translates the answer to `initialize` to one to `server/discover` (2026-07-28, "Discovery").
pub(super) fn discovered(opened: &Document, id: &[u8]) -> Bytes {
    let result = opened.root().get("result");
    let part = |name: &str| result.and_then(|result| result.get(name)).map(|value| value.raw_bytes());
    let mut out = br#"{"jsonrpc":"2.0","id":"#.to_vec();
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":{"resultType":"complete","supportedVersions":["#);
    out.extend_from_slice(Revision::SERVED.map(|revision| quoted(revision.as_str())).join(",").as_bytes());
    out.extend_from_slice(br#"],"ttlMs":0,"cacheScope":"private","capabilities":"#);
    out.extend_from_slice(capabilities_of(opened).as_bytes());
    if let Some(instructions) = part("instructions") {
        out.extend_from_slice(br#","instructions":"#);
        out.extend_from_slice(&instructions);
    }
    if let Some(server) = part("serverInfo") {
        out.extend_from_slice(br#","_meta":{"io.modelcontextprotocol/serverInfo":"#);
        out.extend_from_slice(&server);
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
    out.into()
}

/// An older server's capabilities in the form of 2026-07-28, where tasks are an extension. The subscriptions of its clients are
/// served by the proxy, which tells of changes of every list.
fn capabilities_of(opened: &Document) -> String {
    let mut splice = Splice::new();
    opened.root().get("result").map(|result| lists::declare(result, &mut splice));
    let declared = Document::parse(splice.apply(opened.bytes()), &Limits::ANSWER);
    let opened = declared.as_ref().unwrap_or(opened);
    let stated = opened.pointer("/result/capabilities");
    let members = |object: Option<Value<'_>>, but: [&str; 2]| {
        let members = object.into_iter().flat_map(|object| object.members().collect::<Vec<_>>());
        let members = members.filter(|member| !but.iter().any(|name| member.name_is(name)));
        let written =
            |member: Member<'_>| format!("{}:{}", quoted(&member.name()), String::from_utf8_lossy(member.value.raw()));
        members.map(written).collect::<Vec<_>>()
    };
    let mut can = members(stated, ["extensions", "tasks"]);
    let mut extensions = members(stated.and_then(|stated| stated.get("extensions")), [TASKS_EXTENSION, ""]);
    if task::runs_tools(opened) {
        extensions.push(format!("\"{TASKS_EXTENSION}\":{{}}"));
    }
    if !extensions.is_empty() {
        can.push(format!(r#""extensions":{{{}}}"#, extensions.join(",")));
    }
    format!("{{{}}}", can.join(","))
}

/// The `input_required` result for requests that the server sent during a call.
pub(super) fn input_required(id: &[u8], asked: &[(u64, Document)], state: &str) -> Bytes {
    let requests: Vec<String> = asked
        .iter()
        .map(|(key, request)| {
            let root = request.root();
            let part = |name| root.get(name).map_or_else(|| "{}".into(), |value| String::from_utf8_lossy(value.raw()));
            format!(r#""{key}":{{"method":{},"params":{}}}"#, part("method"), part("params"))
        })
        .collect();
    let id = String::from_utf8_lossy(id);
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","inputRequests":{{{}}},"requestState":{}}}}}"#,
        requests.join(","),
        quoted(state)
    )
    .into()
}

/// The elicitations of a "URL elicitation required" error as requests (2025-11-25, "URL Mode With Elicitation Required Error
/// Flow"); `None` for other messages.
pub(super) fn elicitations(document: &Document) -> Option<Vec<(u64, Document)>> {
    let error = document
        .root()
        .get("error")
        .filter(|error| error.get("code").and_then(|code| code.as_i64()) == Some(WANTS_PAGES))?;
    let mut asked = Vec::new();
    for (key, elicitation) in (0..).zip(error.pointer("/data/elicitations")?.items()) {
        let request = format!(
            r#"{{"method":"{}","params":{}}}"#,
            ASKED_OF_CLIENTS[0].0,
            String::from_utf8_lossy(elicitation.raw())
        );
        asked.push((key, Document::parse(request.into(), &Limits::ANSWER).ok()?));
    }
    (!asked.is_empty()).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::ANSWER).unwrap()
    }

    #[test]
    fn what_a_client_can_is_written_the_same_however_it_says_it() {
        let both = r#"{"elicitation":{"form":{}},"sampling":{}}"#;
        let cases = [
            ("{}", "{}", [false; 3]),
            (r#"{"extensions":{"a":{}}}"#, "{}", [false; 3]),
            (r#"{"roots":{}}"#, r#"{"roots":{}}"#, [false, true, false]),
            (both, both, [true, false, true]),
            (r#"{"sampling":{},"elicitation":{"form":{}}}"#, both, [true, false, true]),
            (r#"{"elicitation":{"form":{}}, "sampling":{}}"#, both, [true, false, true]),
            (r#"{"elicitation":{"form":{}},"sampling":{},"x":1}"#, both, [true, false, true]),
            (r#"{"elicitatio\u006e":{"form":{}},"sampling":{}}"#, both, [true, false, true]),
        ];
        for (said, text, can) in cases {
            let document = document(said);
            let (able, capabilities) = Able::of(document.root());
            assert_eq!((&*capabilities, able.0), (text.as_bytes(), can), "{said}");
        }
    }

    #[test]
    fn requests_lose_what_only_the_newer_revision_has() {
        let cases = [
            (
                r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":"t","traceparent":"x","io.modelcontextprotocol/clientCapabilities":{}},"name":"x","arguments":{"n":1e400 , "inputResponses":1}}}"#,
                r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"_meta":{"progressToken":9,"traceparent":"x"},"name":"x","arguments":{"n":1e400 , "inputResponses":1}}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
                r#"{"jsonrpc":"2.0","id":9,"method":"tools/list","params":{"_meta":{}}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"requestState":"s","name":"x","inputResponses":{}}}"#,
                r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"x"}}"#,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#),
        ];
        for (before, after) in cases {
            assert_eq!(message(&document(before), Some(9), false), after);
        }
    }

    #[test]
    fn results_say_what_results_of_the_newer_revision_must() {
        let call = methods::find("tools/call");
        let list = methods::find("tools/list");
        let cases = [
            (
                call,
                r#"{"jsonrpc":"2.0","id":9,"result":{"content":[1.0]}}"#,
                r#"{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","content":[1.0]}}"#,
            ),
            (
                call,
                r#"{"jsonrpc":"2.0","id":9,"result":{}}"#,
                r#"{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete"}}"#,
            ),
            (
                list,
                r#"{"jsonrpc":"2.0","id":9,"result":{"tools":[]}}"#,
                r#"{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[]}}"#,
            ),
            (
                call,
                r#"{"jsonrpc":"2.0","id":9,"error":{"code":-32002,"message":"m"}}"#,
                r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32602,"message":"m"}}"#,
            ),
        ];
        for (method, before, after) in cases {
            let before = document(before);
            assert_eq!(response(&before, &Bytes::from_static(b"\"a\""), method).apply(before.bytes()), after);
        }
    }

    #[test]
    fn tells_of_its_own_progress_and_of_what_was_asked_to_be_logged() {
        let stated = |level: Option<&str>, token: Option<&'static str>| Stated {
            capabilities: Bytes::new(),
            able: Able::default(),
            client: None,
            log_level: level.map(Into::into),
            progress_token: token.map(|token| Bytes::from_static(token.as_bytes())),
        };
        let progress =
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":9,"progress":1}}"#;
        let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","data":1}}"#;
        let list = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        assert_eq!(
            aside(&document(progress), 9, &stated(None, Some("\"t\""))).unwrap(),
            progress.replace('9', "\"t\"")
        );
        assert!(aside(&document(progress), 9, &stated(None, None)).is_none());
        assert!(aside(&document(progress), 8, &stated(None, Some("1"))).is_none());
        assert!(aside(&document(log), 9, &stated(Some("info"), None)).is_some());
        assert!(aside(&document(log), 9, &stated(Some("error"), None)).is_none());
        assert!(aside(&document(log), 9, &stated(None, None)).is_none());
        assert!(aside(&document(list), 9, &stated(Some("debug"), Some("1"))).is_none());
    }

    #[test]
    fn news_name_their_subscription() {
        let meta = r#""_meta":{"io.modelcontextprotocol/subscriptionId":7}"#;
        let cases = [
            (r#"{"jsonrpc":"2.0","method":"m"}"#, format!(r#"{{"params":{{{meta}}},"jsonrpc":"2.0","method":"m"}}"#)),
            (r#"{"method":"m","params":{}}"#, format!(r#"{{"method":"m","params":{{{meta}}}}}"#)),
            (r#"{"method":"m","params":{"uri":"u"}}"#, format!(r#"{{"method":"m","params":{{{meta},"uri":"u"}}}}"#)),
            (r#"{"params":{"_meta":{}}}"#, format!(r#"{{"params":{{{meta}}}}}"#)),
        ];
        for (before, after) in cases {
            assert_eq!(news(&document(before), b"7"), after);
        }
    }
}
