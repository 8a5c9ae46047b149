//! The Model Context Protocol as the proxy reads it: one table of methods, strict parsing in both directions, headers,
//! event streams and sealed state. No I/O, no clock, no HTTP status.

pub mod admit;
pub mod asked;
mod client_said;
pub(crate) mod compose;
mod disguise;
pub mod envelope;
pub mod era;
pub mod error;
pub mod handle;
pub mod headers;
pub mod inbound;
pub mod lists;
pub mod methods;
pub mod mirror;
pub mod names;
pub mod session;
pub mod sse;

pub use admit::{Head, Known, Message, Restored, admit};
pub(crate) use client_said::ClientSaid;
pub use envelope::{MessageShape, RpcId};
pub use era::{Era, Revision};
pub use error::{AdmitError, Category};
pub(crate) use inbound::admit_answer;
pub use inbound::{Inbound, admit_reply, admit_streamed};
pub use lists::{ListKind, ListKinds};
pub use methods::{Access, Method, MethodRef, SubjectKind, find};

/// `clientInfo` of the requests that the proxy makes for itself.
pub(crate) const OWN_INFO: &str = concat!(r#"{"name":"portcullis","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
