//! The trace context that an upstream is given.

use super::Outbound;
use crate::telemetry::traces::Trace;
use crate::upstream::Backend;

impl Outbound {
    /// This request with the client span as its parent, if tracing is on: in a header, and also in the message if that has a
    /// parent already or `backend` is a program.
    pub(crate) fn traced(mut self, trace: Option<&mut Trace>, backend: &Backend) -> Self {
        let Some(trace) = trace else { return self };
        if trace.is_in_message() || !backend.is_http() {
            let written = self.document().and_then(|message| Some(trace.rewrites(&message)?.apply(message.bytes())));
            if let Some(message) = written {
                (self.said.request.content, self.said.document) = (message, None);
            }
        }
        self.said.passenger.traceparent = trace.header().map(Box::new);
        trace.told();
        self
    }
}
