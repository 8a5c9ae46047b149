//! Rewrites one message for the client: admits, filters and masks it, and seals its handles. Pure.

use std::time::Duration;

use bytes::Bytes;

use super::{InboundError, ReplyError, Way, elicited, handles, list, tidy};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::config::Elicitation;
use crate::json::{Document, Splice, Value, quoted};
use crate::mask::{Direction, Findings, Masks, View, drop_foreign_meta};
use crate::mcp::lists;
use crate::mcp::methods::{self, ERROR_PLACES, Method};
use crate::mcp::session::ServerRequest;
use crate::mcp::{Access, Era, Inbound, ListKind, ListKinds, Revision, admit_answer, admit_streamed};
use crate::opened::{binding, session_key};
use crate::policy::tools::Tools;
use crate::policy::{Asker, Context, Policy};
use crate::reject::Reject;
use crate::seal::looks_sealed;
use crate::trial::Rules;

/// The longest time for which a client may cache a result.
const FRESH: Duration = Duration::from_mins(1);

/// A rewritten response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) bytes: Bytes,
    /// The JSON-RPC error code, if it is an error.
    pub(super) code: Option<i32>,
    /// What an `initialize` result settles.
    pub(super) settled: Settled,
    /// Whether it is a tool result with `isError`.
    pub(super) tool_error: bool,
}

/// What an `initialize` result settles for the session it opens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// The revision negotiated.
    pub(super) revision: Option<Revision>,
    /// The lists of which the client will be told that they have changed.
    pub(super) lists: ListKinds,
}

/// What becomes of a message from a stream.
#[derive(Debug)]
pub(super) enum Passed {
    /// A notification to be sent on.
    Notification(Bytes),
    /// One that tells which lists a subscription covers.
    Acknowledged(Bytes, ListKinds),
    /// One that tells that a list has changed.
    Changed(Bytes, ListKind),
    /// A server request to be sent on, with the server's id and the sealed one.
    Request { message: Bytes, id: Bytes, sealed: String },
    /// Dropped: unknown, not allowed for this client, or not allowed here.
    Dropped,
    /// A server request that the policy denies; the bytes are the error response to the server.
    Refused(Bytes),
    /// The response to the request.
    Response(Response),
    /// The server cancels a request of its own.
    Cancelled(Document),
}

/// The message of a JSON body.
#[derive(Debug)]
pub(super) enum Whole {
    Bytes(Bytes),
    /// One that the bridge has already parsed, with the edits that translate it: its id and result members.
    Parsed(Document, Splice),
}

/// Rewrites the message of a JSON body. Errs unless it is the response to the request, and is allowed.
pub(super) fn answer(way: &Way, whole: Whole, findings: &mut Findings) -> Result<Response, Reject> {
    let (admitted, edits) = match whole {
        Whole::Bytes(bytes) => (admit_streamed(bytes, way.id.as_ref(), way.revision), Splice::new()),
        Whole::Parsed(document, edits) => (admit_answer(document), edits),
    };
    match rewritten(way, admitted, edits, findings)? {
        Passed::Response(response) => Ok(response),
        Passed::Notification(_)
        | Passed::Acknowledged(..)
        | Passed::Changed(..)
        | Passed::Request { .. }
        | Passed::Dropped
        | Passed::Refused(_)
        | Passed::Cancelled(_) => Err(ReplyError::Missing.into()),
    }
}

/// Rewrites one message from a stream. Errs if the stream must end.
pub(super) fn passed(way: &Way, bytes: Bytes, findings: &mut Findings) -> Result<Passed, Reject> {
    rewritten(way, admit_streamed(bytes, way.id.as_ref(), way.revision), Splice::new(), findings)
}

fn rewritten(
    way: &Way,
    admitted: Result<Inbound, InboundError>,
    edits: Splice,
    findings: &mut Findings,
) -> Result<Passed, Reject> {
    let inbound = match admitted {
        Ok(inbound) => inbound,
        Err(error) if error.is_dropped() => return Ok(Passed::Dropped),
        Err(error) => return Err(ReplyError::from(error).into()),
    };
    match &inbound {
        Inbound::Response { document } => response(way, document, edits, findings).map(Passed::Response),
        Inbound::Notification { document, method } => notification(way, document, method, findings),
        Inbound::Request { document, method, .. } => request(way, document, method, findings),
    }
}

fn response(way: &Way, document: &Document, mut splice: Splice, findings: &mut Findings) -> Result<Response, Reject> {
    let root = document.root();
    if let Some(error) = root.get("error") {
        way.asker(&way.context(Timestamp::now())).may_ask_by_error(error)?;
        elicited::in_error(&way.route.elicitation, error)?;
        masked(way, error, ERROR_PLACES, &mut splice, findings)?;
        let code = error.get("code").and_then(|code| code.as_i64()).and_then(|code| i32::try_from(code).ok());
        return Ok(Response {
            bytes: splice.apply(document.bytes()),
            code,
            settled: Settled::default(),
            tool_error: false,
        });
    }
    let Some(result) = root.get("result") else { return Err(ReplyError::Missing.into()) };
    let now = Timestamp::now();
    let context = way.context(now);
    let rules = way.route.rules();
    handles::in_result(way, result, &mut splice)?;
    let asker = rules.asked_by(&way.caller, &context);
    rewrite_result(&asker, rules, &way.view(now), way.method, result, &mut splice, findings)?;
    let tool_error = result.get("isError").and_then(|flag| flag.as_bool()) == Some(true);
    let settled = match way.method {
        Some(method) if methods::has_instructions(method) => settled(way, method, result, &mut splice),
        _ => Settled::default(),
    };
    Ok(Response { bytes: splice.apply(document.bytes()), code: None, settled, tool_error })
}

/// What the result of an `initialize` settles, and nothing for that of a `server/discover`. Where a session is opened, the
/// result declares that changes of lists are told of: from the session the proxy knows later what it has declared.
fn settled(way: &Way, method: &Method, result: Value<'_>, splice: &mut Splice) -> Settled {
    if !methods::is_initialize(method) {
        way.route.bridge.advertises(result);
        return Settled::default();
    }
    let version = result.get("protocolVersion").and_then(|version| Revision::parse(&version.as_str()?));
    // Sessions exist in older revisions only: messages of one must not be parsed by the rules of 2026-07-28.
    let revision = version.filter(|revision| revision.era() == Era::Legacy);
    if let Some(revision) = revision {
        way.route.bridge.settles(revision);
    }
    let lists = if way.session.is_some() { lists::declare(result, splice) } else { ListKinds::default() };
    Settled { revision, lists }
}

/// Rewrites a result for its caller: filters lists, decides on input requests and masks the rest. Errs if an input request
/// is denied, or a mask blocks.
pub(crate) fn rewrite_result(
    asker: &Asker<'_>,
    rules: Rules<'_>,
    view: &View<'_>,
    method: Option<&Method>,
    result: Value<'_>,
    splice: &mut Splice,
    findings: &mut Findings,
) -> Result<(), Reject> {
    tidy::items(result, rules.meta, rules.origin, splice);
    let mut masked = None;
    if let Some(method) = method {
        list::instructions(&rules, view, method, result, splice)?;
        masked = list::filter(asker, &rules, view, method, result, splice, findings)?;
    }
    if let Some(requests) = asker.may_ask(result)? {
        elicited::in_requests(rules.elicitation, requests)?;
    }
    drop_foreign_meta(result, rules.meta, splice);
    keep_private(result, asker.caller.expires, asker.context.now, splice);
    let places = method.map_or(&[][..], |method| method.opaque_result);
    let rest = |value: Value<'_>, splice: &mut Splice, findings: &mut Findings| {
        let blocked = |blocked| Reject::Blocked { blocked, direction: Direction::Result };
        rules.masks.rewrite(view, Direction::Result, value, places, splice, findings).map_err(blocked)
    };
    match masked {
        None => rest(result, splice, findings),
        Some(items) => list::beside(result, items, splice, |value, splice| rest(value, splice, findings)),
    }
}

/// A list result as `caller` gets it, for benchmarks; `None` if it is refused.
pub fn shown_list(
    (policy, tools, masks): (&Policy, &Tools, &Masks),
    caller: &Caller,
    context: &Context<'_>,
    method: &Method,
    result: &Document,
) -> Option<Bytes> {
    let asker = Asker { policy, caller, context, enforced: false };
    let view = View { caller: Some(caller), now: context.now, ..View::default() };
    let elicitation = &Elicitation::default();
    let rules = Rules { policy, tools, masks, meta: &[], elicitation, origin: "", offered: None };
    let (mut splice, mut findings) = (Splice::new(), Findings::default());
    rewrite_result(&asker, rules, &view, Some(method), result.root(), &mut splice, &mut findings).ok()?;
    Some(splice.apply(result.bytes()))
}

/// Has a result that may be cached be cached for its caller only, and not for long (2026-07-28, "Caching"): it is filtered and
/// masked for one caller, ends with that caller's token, and changes with the policy, of which no client is told.
fn keep_private(result: Value<'_>, expires: Timestamp, now: Timestamp, splice: &mut Splice) {
    let Some(scope) = result.get("cacheScope") else { return };
    if scope.raw() != b"\"private\"" {
        splice.replace(scope.span(), "\"private\"");
    }
    if let Some(ttl) = result.get("ttlMs") {
        let longest = i64::try_from(FRESH.min(now.until(expires)).as_millis()).unwrap_or(0);
        if ttl.as_i64().is_none_or(|ttl| ttl > longest) {
            splice.replace(ttl.span(), longest.to_string());
        }
    }
}

fn notification(
    way: &Way,
    document: &Document,
    method: &'static Method,
    findings: &mut Findings,
) -> Result<Passed, Reject> {
    if methods::is_cancelled(method) {
        // It has the server's own id of the request; the stream that the request was sent on knows the client's.
        return Ok(Passed::Cancelled(document.clone()));
    }
    let changed = ListKind::of(method.name);
    if changed == Some(ListKind::Tools) {
        way.route.catalog.forget();
    }
    let context = way.context(Timestamp::now());
    let (asker, params) = (way.asker(&context), document.root().get("params"));
    let mut splice = Splice::new();
    let asks = params.map_or(Ok(()), |params| {
        let requests = asker.may_ask(params)?;
        requests.map_or(Ok(()), |requests| elicited::in_requests(&way.route.elicitation, requests))
    });
    let task = params.map_or(Ok(None), |params| handles::in_news(way, method, params, &mut splice));
    let (Ok(()), Ok(task)) = (asks, task) else { return Ok(Passed::Dropped) };
    if !asker.hears(method, params, task.as_ref()) {
        return Ok(Passed::Dropped);
    }
    if let Some(params) = params {
        drop_foreign_meta(params, &way.route.meta, &mut splice);
        masked(way, params, method.opaque_params, &mut splice, findings)?;
    }
    let bytes = splice.apply(document.bytes());
    Ok(match (changed, params) {
        (Some(kind), _) => Passed::Changed(bytes, kind),
        (None, Some(params)) if methods::is_acknowledged(method) => {
            Passed::Acknowledged(bytes, ListKinds::acknowledged(params))
        }
        _ => Passed::Notification(bytes),
    })
}

/// A server request to the client (older revisions): decided like a call of that method. Its id is sealed, so that only a
/// response to it is accepted as one.
fn request(way: &Way, document: &Document, method: &'static Method, findings: &mut Findings) -> Result<Passed, Reject> {
    let root = document.root();
    let Some(id) = root.get("id") else { return Ok(Passed::Dropped) };
    let may_ask =
        allowed(way, method) && elicited::in_request(&way.route.elicitation, method.name, root.get("params")).is_ok();
    let Some(sealed) = seal_request(way, method, id).filter(|_| may_ask) else {
        return Ok(Passed::Refused(refusal(id)));
    };
    let mut splice = Splice::new();
    splice.replace(id.span(), quoted(&sealed));
    if let Some(params) = root.get("params") {
        if handles::of_task(way, params, &mut splice).is_err() {
            return Ok(Passed::Refused(refusal(id)));
        }
        drop_foreign_meta(params, &way.route.meta, &mut splice);
        masked(way, params, method.opaque_params, &mut splice, findings)?;
    }
    let message = splice.apply(document.bytes());
    Ok(Passed::Request { message, id: id.raw_bytes(), sealed })
}

/// The cancellation of the server request that the client knows as `sealed`. Errs if a mask blocks.
pub(super) fn cancellation(
    way: &Way,
    document: &Document,
    sealed: &str,
    findings: &mut Findings,
) -> Result<Bytes, Reject> {
    let mut splice = Splice::new();
    let params = document.root().get("params");
    if let (Some(params), Some(method)) = (params, methods::find(methods::CANCELLED)) {
        drop_foreign_meta(params, &way.route.meta, &mut splice);
        masked(way, params, method.opaque_params, &mut splice, findings)?;
    }
    if let Some(id) = document.pointer("/params/requestId") {
        splice.replace(id.span(), quoted(sealed));
    }
    Ok(splice.apply(document.bytes()))
}

fn allowed(way: &Way, method: &'static Method) -> bool {
    method.access == Access::Free || way.asker(&way.context(Timestamp::now())).allows(method.name)
}

fn seal_request(way: &Way, method: &'static Method, id: Value<'_>) -> Option<String> {
    let raw_id = std::str::from_utf8(id.raw()).ok()?.into();
    let binding = binding(&way.route, &way.caller);
    let asked = ServerRequest { raw_id, method, origin: way.origin() };
    let sealed = asked.seal(session_key(way.session.as_ref()), &way.snapshot.seals, &binding, Timestamp::now()).ok();
    // A longer one would not be recognized in the response.
    sealed.filter(|sealed| looks_sealed(sealed))
}

fn refusal(id: Value<'_>) -> Bytes {
    let mut out = br#"{"jsonrpc":"2.0","id":"#.to_vec();
    out.extend_from_slice(id.raw());
    out.extend_from_slice(br#","error":{"code":-31403,"message":"Not allowed by policy"}}"#);
    out.into()
}

fn masked(
    way: &Way,
    value: Value<'_>,
    places: &'static [&'static str],
    splice: &mut Splice,
    findings: &mut Findings,
) -> Result<(), Reject> {
    way.route
        .masks
        .rewrite(&way.view(Timestamp::now()), Direction::Result, value, places, splice, findings)
        .map_err(|blocked| Reject::Blocked { blocked, direction: Direction::Result })
}
