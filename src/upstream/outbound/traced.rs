//! The trace context that an upstream is given.

use http::Request;

use super::{Outbound, Passenger};
use crate::telemetry::traces::{TRACEPARENT, Trace};
use crate::upstream::Backend;

impl Outbound {
    /// This request with the client span as its parent, if tracing is on: in a header, and also in the message if that has a
    /// parent already or `backend` is a program.
    pub(crate) fn traced(mut self, trace: Option<&mut Trace>, backend: &Backend) -> Self {
        let Some(trace) = trace else { return self };
        if trace.is_in_message() || !backend.is_http() {
            let written = self.document().and_then(|message| Some(trace.rewrites(&message)?.apply(message.bytes())));
            if let Some(message) = written {
                (self.said.message, self.said.document) = (message, None);
            }
        }
        self.said.passenger.traceparent = trace.header().map(Box::new);
        trace.told();
        self
    }
}

impl Passenger {
    /// Adds the `traceparent` header, if tracing is on.
    pub(super) fn tell<B>(&self, request: &mut Request<B>) {
        if let Some(traceparent) = &self.traceparent {
            request.headers_mut().insert(TRACEPARENT, (**traceparent).clone());
        }
    }
}
