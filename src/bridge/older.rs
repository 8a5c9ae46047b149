//! Messages between a client of 2026-07-28 and an upstream of an older revision. Pure.
//!
//! What the newer revision says in every message belongs to the session in an older one: version, capabilities and log level
//! are removed on the way up, the required members of every result are added on the way down. Everything else keeps its bytes.

use bytes::Bytes;

use super::task;
use crate::json::{Document, Kind, Member, Splice, Value, quoted};
use crate::mcp::Revision;
use crate::mcp::admit::{META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_SUBSCRIPTION};
use crate::mcp::asked::{ASKED_OF_CLIENTS, WANTS_PAGES};
use crate::mcp::handle::TASKS_EXTENSION;
use crate::mcp::methods::{self, Method, News};

/// Members of `params` that only the newer revision has, or that open what is not bridged.
const NEWER_PARAMS: [&str; 3] = ["inputResponses", "requestState", "task"];
/// `_meta` keys of the protocol itself.
const OWN_META: &str = "io.modelcontextprotocol/";
/// Resource not found, before 2026-07-28.
const NOT_FOUND: i64 = -32_002;

/// The most bytes of what a client says of itself that are kept with its session.
pub(super) const KEPT: usize = 64 * 1024;

/// What a request says of its client.
#[derive(Clone, Debug)]
pub(super) struct Stated {
    /// A JSON object.
    pub(super) capabilities: Bytes,
    /// The same: what its server may ask it.
    pub(super) able: Able,
    /// A JSON object, where the client names itself.
    pub(super) client: Option<Bytes>,
    /// From which level on what is logged may be told.
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

    /// The same without the message it was read from, for who keeps it for longer than that.
    pub(super) fn kept(self) -> Self {
        let copy = |part: Bytes| Bytes::copy_from_slice(&part);
        Self {
            capabilities: copy(self.capabilities),
            client: self.client.map(copy),
            progress_token: self.progress_token.map(copy),
            ..self
        }
    }

    /// Whether it is too long to be kept as long as a session is.
    pub(super) fn is_too_long(&self) -> bool {
        self.capabilities.len() + self.client.as_ref().map_or(0, Bytes::len) > KEPT
    }
}

/// The capabilities that both eras have, by name; extensions are not bridged.
const CAPABILITIES: [&str; 3] = ["elicitation", "roots", "sampling"];

/// Which of [`CAPABILITIES`] a client has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Able([bool; CAPABILITIES.len()]);

impl Able {
    fn nothing() -> (Self, Bytes) {
        (Self::default(), Bytes::from_static(b"{}"))
    }

    /// With what of `stated` says so, always written the same.
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

    /// Whether a server may ask this of the client.
    pub(super) fn answers(self, method: &str) -> bool {
        let capability = method.split_once('/').map_or(method, |(capability, _)| capability);
        CAPABILITIES.iter().zip(self.0).any(|(name, able)| able && *name == capability)
    }

    /// Whether a server may ask anything of it.
    pub(super) fn answers_any(self) -> bool {
        self.0.contains(&true)
    }
}

/// Whether a request says that its client can follow tasks.
pub(super) fn declares_tasks(params: Option<Value<'_>>) -> bool {
    let declared = params.and_then(|params| params.get("_meta")?.get(META_CAPABILITIES)?.get("extensions"));
    declared.is_some_and(|extensions| extensions.get(TASKS_EXTENSION).is_some())
}

/// A message as the older upstream takes it; a request under the id `own`, which its progress is reported by too, and which
/// goes on as a task where that is said.
pub(super) fn message(document: &Document, own: Option<u64>, as_task: bool) -> Bytes {
    let root = document.root();
    let mut splice = Splice::new();
    if let (Some(own), Some(id)) = (own, root.get("id")) {
        splice.replace(id.span(), own.to_string());
    }
    if let Some(params) = root.get("params").filter(|params| params.kind() == Kind::Object) {
        // How long it is kept is left to the server (2025-11-25 "Tasks").
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

/// A request of a client as old as the upstream, under the id `own`, which its progress is reported by too.
pub(super) fn renumbered(document: &Document, own: u64) -> Bytes {
    let mut splice = Splice::new();
    for place in ["/id", "/params/_meta/progressToken"] {
        if let Some(value) = document.pointer(place) {
            splice.replace(value.span(), own.to_string());
        }
    }
    splice.apply(document.bytes())
}

/// What makes it the answer to it, under the id its client gave it.
pub(super) fn renamed(document: &Document, id: &Bytes) -> Splice {
    let mut splice = Splice::new();
    if let Some(own) = document.root().get("id") {
        splice.replace(own.span(), id.clone());
    }
    splice
}

/// Whether a message is the answer to the request `own`, or an error about no request that could be told apart.
pub(super) fn is_answer(document: &Document, own: u64) -> bool {
    match document.root().get("id") {
        Some(id) if id.kind() != Kind::Null => id.as_i64() == i64::try_from(own).ok(),
        _ => document.root().get("error").is_some(),
    }
}

/// No members to be added.
pub(super) const NOTHING: &[(&str, &str)] = &[];

/// What makes it the answer to a request as its client, who asked it under the id `id`, knows one.
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

/// What every result of the newer revision says, and those that may be kept.
const NEWER_RESULT: [(&str, &str); 1] = [("resultType", "\"complete\"")];
const CACHED_RESULT: [(&str, &str); 2] = [("ttlMs", "0"), ("cacheScope", "\"private\"")];

/// What a server tells beside the request it knows as `own`, to the client that asked it: how far that is, and what is logged
/// if it wants that.
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

/// Severities of RFC 5424 section 6.2.1, from the least.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// Whether it is one of the levels.
pub(super) fn is_level(level: &str) -> bool {
    rank(level).is_some()
}

/// Whether who logs from `level` on logs all that one does who logs from `other` on.
pub(super) fn is_at_most(level: &str, other: &str) -> bool {
    rank(level) <= rank(other)
}

fn logs(root: &Value<'_>, least: &str) -> bool {
    let level = root.pointer("/params/level").and_then(|level| level.as_str());
    level.and_then(|level| rank(&level)) >= rank(least)
}

/// News for a subscription under the id `id`.
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

/// The answer to `server/discover` that an `initialize` gave (2026-07-28 "Discovery").
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

/// What an older server can do, as the newer revision says it: tasks are an extension there.
fn capabilities_of(opened: &Document) -> String {
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

/// A question inside the answer to a request: what the server asks by itself before it answers.
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

/// The addresses an error of 2025-11-25 wants opened, as questions ("URL Mode With Elicitation Required Error Flow").
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
        asked.push((key, Document::parse(request.into(), &crate::json::Limits::ANSWER).ok()?));
    }
    (!asked.is_empty()).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Limits;

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
