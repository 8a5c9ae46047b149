//! The Model Context Protocol as the proxy reads it: one table of methods, strict admission in both directions, headers,
//! event streams and what travels sealed with the client. No I/O, no clock, no HTTP status.

pub mod era;
pub mod methods;
pub mod session;
pub mod sse;

pub use era::{Era, Revision};
pub use methods::{Access, Method, MethodRef, SubjectKind, find};
