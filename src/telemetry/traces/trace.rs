//! The trace context of one request.

use http::HeaderValue;
use http::Version;
use http::request::Parts;

use super::context::{Context, SpanId, TRACEPARENT, TraceId};
use super::sampler::Sampler;
use crate::json::{Document, Kind, Splice, Value};

/// The trace a request belongs to, and the ids of its two spans: the server span, and within it the client span for the
/// upstream.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(super) id: TraceId,
    pub(super) server: SpanId,
    pub(super) client: SpanId,
    pub(super) parent: Option<Context>,
    /// The context in the HTTP header, if the message states another one.
    pub(super) link: Option<Context>,
    pub(super) sampled: bool,
    said: Said,
    /// Whether the upstream was given the client span.
    pub(super) told: bool,
    pub(super) version: Version,
}

/// Whether the client's message states a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Parent,
    Unreadable,
}

impl Trace {
    /// The trace context of a request with this head; `None` if the system provides no random bytes.
    pub(super) fn begin(sampler: Sampler, head: &Parts) -> Option<Box<Self>> {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).ok()?;
        let (mut id, mut server, mut client) = ([0; 16], [0; 8], [0; 8]);
        id.copy_from_slice(&random[..16]);
        server.copy_from_slice(&random[16..24]);
        client.copy_from_slice(&random[24..]);
        let parent = Context::of_headers(&head.headers);
        let id = parent.map_or(TraceId(id), |parent| parent.trace);
        Some(Box::new(Self {
            id,
            server: SpanId(server),
            client: SpanId(client),
            parent,
            link: None,
            sampled: sampler.samples(id, parent),
            said: Said::Nothing,
            told: false,
            version: head.version,
        }))
    }

    /// Reads the parent from `_meta` of the message, which takes precedence over the HTTP header (SEP-414).
    pub(super) fn read(&mut self, sampler: Sampler, meta: Option<Value<'_>>) {
        let Some(written) = meta.and_then(|meta| meta.get(TRACEPARENT.as_str())) else { return };
        self.said = Said::Unreadable;
        if let Some(parent) = Context::of_meta(written) {
            self.said = Said::Parent;
            self.link = self.parent.filter(|link| *link != parent);
            (self.parent, self.id) = (Some(parent), parent.trace);
            self.sampled = sampler.samples(self.id, self.parent);
        }
    }

    /// The ids of the server span, if it is sampled.
    pub(crate) fn sampled(&self) -> Option<(TraceId, SpanId)> {
        self.sampled.then_some((self.id, self.server))
    }

    /// The context for the upstream.
    fn outward(&self) -> Context {
        Context { trace: self.id, span: self.client, sampled: self.sampled }
    }

    /// The `traceparent` header for the upstream.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.outward().header()
    }

    /// Notes that the upstream is given the client span.
    pub(crate) const fn told(&mut self) {
        self.told = true;
    }

    /// Whether the client's message has a `traceparent`, which must be replaced.
    pub(crate) fn is_in_message(&self) -> bool {
        self.said != Said::Nothing
    }

    /// The edits that set `_meta.traceparent` to the client span; `None` if the message has no `params` object.
    pub(crate) fn rewrites(&self, message: &Document) -> Option<Splice> {
        let params = message.root().get("params").filter(|params| params.kind() == Kind::Object)?;
        let value = format!("\"{}\"", self.outward().write());
        let mut splice = Splice::new();
        match params.get("_meta") {
            Some(meta) if meta.kind() == Kind::Object => {
                // Without a valid `traceparent`, `tracestate` must be dropped (W3C Trace Context, "tracestate Header").
                let is_kept = |name: &str| match name {
                    "traceparent" => false,
                    "tracestate" => self.said == Said::Parent,
                    _ => true,
                };
                splice.rewrite_object(meta, |member| is_kept(&member.name()), &[(TRACEPARENT.as_str(), value)]);
            }
            Some(_) => return None,
            None => {
                let meta = format!("{{\"{TRACEPARENT}\":{value}}}");
                splice.rewrite_object(params, |_| true, &[("_meta", meta)]);
            }
        }
        Some(splice)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::Trace;
    use crate::config::Sampling;
    use crate::json::{Document, Limits};
    use crate::telemetry::traces::sampler::Sampler;

    const HEADER: &str = "00-11111111111111111111111111111111-2222222222222222-01";
    const META: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn trace(header: Option<&str>, message: &Document) -> Trace {
        let mut request = Request::post("/");
        if let Some(header) = header {
            request = request.header("traceparent", header);
        }
        let sampler = Sampler::new(Sampling::default());
        let mut trace = Trace::begin(sampler, &request.body(()).unwrap().into_parts().0).unwrap();
        trace.read(sampler, message.pointer("/params/_meta"));
        *trace
    }

    fn document(text: &str) -> Document {
        Document::parse(text.to_owned().into(), &Limits::REQUEST).unwrap()
    }

    #[test]
    fn the_message_goes_before_the_header() {
        let with = document(&format!(r#"{{"params":{{"_meta":{{"traceparent":"{META}"}}}}}}"#));
        let (bad, without) = (document(r#"{"params":{"_meta":{"traceparent":7}}}"#), document(r#"{"params":{}}"#));
        let spans = |header, message| {
            let trace = trace(header, message);
            [trace.parent, trace.link].map(|context| context.map(|context| context.span.to_string()))
        };
        let (header, meta) = (Some("2222222222222222".to_owned()), Some("00f067aa0ba902b7".to_owned()));
        assert_eq!(spans(Some(HEADER), &with), [meta.clone(), header.clone()]);
        assert_eq!(spans(Some(META), &with), [meta.clone(), None]);
        assert_eq!(spans(None, &with), [meta, None]);
        assert_eq!(spans(Some(HEADER), &without), [header.clone(), None]);
        assert_eq!(spans(Some(HEADER), &bad), [header, None]);
        assert_eq!(spans(Some("nonsense"), &bad), [None, None]);
        let (one, other) = (trace(None, &without), trace(None, &without));
        assert!(one.id != other.id && one.server != one.client && one.sampled().is_some());
    }

    #[test]
    fn the_upstream_is_told_of_our_span() {
        for (before, after) in [
            (
                format!(
                    r#"{{"params":{{"_meta":{{"a":1,"traceparent":"{META}","tracestate":"x=1","baggage":"b"}}}}}}"#
                ),
                r#"{"params":{"_meta":{"traceparent":OURS,"a":1,"tracestate":"x=1","baggage":"b"}}}"#,
            ),
            (
                r#"{"params":{"_meta":{"traceparent":"x","tracestate":"x=1"}}}"#.to_owned(),
                r#"{"params":{"_meta":{"traceparent":OURS}}}"#,
            ),
            (r#"{"params":{"_meta":{}}}"#.to_owned(), r#"{"params":{"_meta":{"traceparent":OURS}}}"#),
            (r#"{"params":{"n":1}}"#.to_owned(), r#"{"params":{"_meta":{"traceparent":OURS},"n":1}}"#),
        ] {
            let message = document(&before);
            let trace = trace(None, &message);
            let written = trace.rewrites(&message).unwrap().apply(message.bytes());
            let ours = trace.header().unwrap();
            assert!(ours.to_str().unwrap().starts_with(&format!("00-{}-", trace.id)));
            let expected = after.replace("OURS", &format!("\"{}\"", ours.to_str().unwrap()));
            assert_eq!(String::from_utf8(written.to_vec()).unwrap(), expected);
        }
        for nowhere in ["{}", r#"{"params":[]}"#, r#"{"params":{"_meta":[]}}"#] {
            let message = document(nowhere);
            assert!(trace(None, &message).rewrites(&message).is_none(), "{nowhere}");
        }
    }
}
