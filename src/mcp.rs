//! The Model Context Protocol as the proxy reads it: one table of methods, strict admission in both directions, headers,
//! event streams and what travels sealed with the client. No I/O, no clock, no HTTP status.

pub mod sse;
