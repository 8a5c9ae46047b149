//! The programs of this package share nothing but their version of rmcp; the fixture is a library so that the
//! server stays short.

#![expect(deprecated, reason = "older revisions sample and log; their clients are tried too")]

pub mod fixture;
