//! Proof that a request is masked: a [`Masked`] exists only where every mask has run.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{Blocked, Cause, Direction, Findings, Masks, Said, View};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::json::{Document, Kind, Limits, Splice, Value};
use crate::mcp::headers::{encode_value, mirrored};
use crate::mcp::methods::{ERROR_PLACES, Method, is_reserved_meta};
use crate::mcp::session::{EventId, Session};
use crate::mcp::{Message, MessageShape};
use crate::opened::{Ask, Handles, Opened};
use crate::policy::Permit;
use crate::policy::tools::Tool;
use crate::telemetry::traces::Context;

/// A permitted request after masking. Only [`mask`] makes one.
///
/// Recording a request that was not masked does not compile:
///
/// ```compile_fail,E0308
/// async fn skip(trail: &mut portcullis::trail::Trail, permit: portcullis::policy::Permit) {
///     let _ = portcullis::audit::decided(trail, permit).await;
/// }
/// ```
#[derive(Debug)]
pub struct Masked {
    opened: Box<Opened>,
    bytes: Bytes,
    /// Whether `bytes` are unchanged.
    is_as_read: bool,
    params: Vec<(HeaderName, HeaderValue)>,
    findings: Findings,
    rule: Option<Arc<str>>,
    said: Option<Arc<Said>>,
    tool: Option<Arc<str>>,
}

impl Masked {
    /// What the client requests, as it was decided on.
    pub const fn ask(&self) -> &Ask {
        &self.opened.ask
    }

    /// The message as it will be sent; empty if there is none.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The caller.
    pub const fn caller(&self) -> &Arc<Caller> {
        &self.opened.caller
    }

    /// The counts of values found.
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The opened handles of the message.
    pub const fn handles(&self) -> &Handles {
        &self.opened.handles
    }

    /// The parsed message, if nothing in it has changed.
    pub(crate) fn into_document(self) -> Option<Document> {
        match self.opened.ask {
            Ask::Message(message) if self.is_as_read => Some(message.into_document()),
            Ask::Close | Ask::Listen | Ask::Message(_) => None,
        }
    }

    /// Every `Mcp-Param-*` header, masked like the argument it mirrors.
    pub fn param_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.params
    }

    /// The event after which a broken stream is to be resumed.
    pub const fn resumed(&self) -> Option<&EventId> {
        self.opened.resumed.as_ref()
    }

    /// The rule that allowed it.
    pub const fn rule(&self) -> Option<&Arc<str>> {
        self.rule.as_ref()
    }

    /// What the caller said, if masking the answer depends on that.
    pub const fn said(&self) -> Option<&Arc<Said>> {
        self.said.as_ref()
    }

    /// The digest of its tool's definition, where definitions are approved.
    pub(crate) const fn tool(&self) -> Option<&Arc<str>> {
        self.tool.as_ref()
    }

    /// The caller's session.
    pub const fn session(&self) -> Option<&Session> {
        self.opened.session.as_ref()
    }
}

/// Masks a request, or the answer to a server's request, on its way up, and drops the `_meta` keys that are neither reserved
/// nor in `meta`.
///
/// Arguments that were valid under the input schema of `tool` still are. Errs if the message must be refused.
pub fn mask(
    masks: &Masks,
    meta: &[Box<str>],
    permit: Permit,
    tool: Option<&Tool>,
    now: Timestamp,
) -> Result<Masked, Blocked> {
    let (mut opened, rule) = permit.into_parts();
    let (mut splice, mut findings) = (std::mem::take(&mut opened.splice), Findings::default());
    let said = match &opened.ask {
        Ask::Close | Ask::Listen => None,
        Ask::Message(message) => masks.listen(message).map(Arc::new),
    };
    let (bytes, is_as_read, params) = match &opened.ask {
        Ask::Close | Ask::Listen => (Bytes::new(), true, Vec::new()),
        Ask::Message(message) => {
            let view = View {
                caller: opened.caller.principal(),
                subject: message.subject(),
                now,
                said: said.as_deref(),
                tool,
            };
            if let Some(pause) = masks.pause(&opened.caller, now) {
                return Err(Blocked { mask: "".into(), entity: "".into(), cause: Cause::Often(pause) });
            }
            opened.handles.put_back(message.document(), &mut splice);
            let answers = opened.answers.as_ref().map(|asked| asked.method);
            mask_message(masks, &view, meta, message, answers, &mut splice, &mut findings)?;
            let is_as_read = splice.is_empty();
            let bytes = splice.apply(message.document().bytes());
            let params = mask_headers(masks, &view, message, &bytes, &mut findings)?;
            (bytes, is_as_read, params)
        }
    };
    let tool = tool.and_then(Tool::fingerprint).cloned();
    Ok(Masked { opened, bytes, is_as_read, params, findings, rule, said, tool })
}

fn mask_message(
    masks: &Masks,
    view: &View<'_>,
    meta: &[Box<str>],
    message: &Message,
    answers: Option<&'static Method>,
    splice: &mut Splice,
    findings: &mut Findings,
) -> Result<(), Blocked> {
    if let MessageShape::Response { .. } = message.shape() {
        let root = message.document().root();
        let places = answers.map_or(ERROR_PLACES, |method| method.opaque_result);
        for (name, opaque) in [("result", places), ("error", ERROR_PLACES)] {
            if let Some(value) = root.get(name) {
                drop_foreign_meta(value, meta, splice);
                masks.rewrite(view, Direction::Arguments, value, opaque, splice, findings)?;
            }
        }
        return Ok(());
    }
    let Some(params) = message.params() else { return Ok(()) };
    drop_foreign_meta(params, meta, splice);
    let places = message.listed().map_or(&[][..], |method| method.opaque_params);
    masks.rewrite(view, Direction::Arguments, params, places, splice, findings)
}

/// The headers that mirror arguments, with the values of the masked arguments.
fn mask_headers(
    masks: &Masks,
    view: &View<'_>,
    message: &Message,
    masked: &Bytes,
    findings: &mut Findings,
) -> Result<Vec<(HeaderName, HeaderValue)>, Blocked> {
    if message.param_headers().is_empty() {
        return Ok(Vec::new());
    }
    let masked = Document::parse(masked.clone(), &Limits::ANSWER).ok();
    let argument = |pointer: &str| masked.as_ref()?.pointer("/params/arguments")?.pointer(pointer);
    let headers = message.param_headers().iter().map(|param| {
        let repeated = message.mirrored_argument(param).and_then(argument).and_then(mirrored);
        let value = match repeated {
            Some(value) => value,
            None => masks.text(view, Direction::Arguments, &param.value, findings)?,
        };
        Ok((param.name.clone(), encode_value(&value)))
    });
    headers.collect()
}

/// Drops all members of `_meta` except keys reserved by the protocol, W3C trace keys, and those in the server's `meta`. A
/// `traceparent` that is none is dropped too (W3C Trace Context): no mask looks at it.
pub(crate) fn drop_foreign_meta(holder: Value<'_>, meta: &[Box<str>], splice: &mut Splice) {
    let Some(members) = holder.get("_meta") else { return };
    if members.kind() != Kind::Object {
        // The allow list cannot apply to anything but an object.
        return splice.replace(members.span(), "{}");
    }
    let kept: Vec<_> = members
        .members()
        .map(|member| {
            let name = member.name();
            let keep = match &*name {
                "traceparent" => member.value.as_str().is_some_and(|text| Context::is_current(&text)),
                name => is_reserved_meta(name) || meta.iter().any(|allowed| **allowed == *name),
            };
            (member, keep)
        })
        .collect();
    splice.remove_members(&kept);
}

#[cfg(test)]
mod tests {
    use super::drop_foreign_meta;
    use crate::json::{Document, Limits, Splice};

    #[test]
    fn meta_is_an_object_of_known_keys() {
        let cases = [
            (r#"{"_meta":{"a/b":1,"progressToken":2,"c/d":3}}"#, r#"{"_meta":{"a/b":1,"progressToken":2}}"#),
            (
                r#"{"_meta":{"traceparent":"mail ana@example.com","tracestate":"a=b"}}"#,
                r#"{"_meta":{"tracestate":"a=b"}}"#,
            ),
            (r#"{"_meta":{"traceparent":["00-1-1-01"]}}"#, r#"{"_meta":{}}"#),
            (r#"{"_meta":["c/d"],"x":1}"#, r#"{"_meta":{},"x":1}"#),
            (r#"{"_meta":"c/d"}"#, r#"{"_meta":{}}"#),
        ];
        for (before, after) in cases {
            let document = Document::parse(before.into(), &Limits::ANSWER).unwrap();
            let mut splice = Splice::new();
            drop_foreign_meta(document.root(), &["a/b".into()], &mut splice);
            assert_eq!(splice.apply(document.bytes()), after);
        }
    }
}
