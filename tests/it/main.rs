//! The proxy as its peers see it: a real listener, raw bytes in and out, and an upstream that writes down what it got.
#![expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it cannot go on")]
#![expect(clippy::too_many_lines, reason = "tables of cases")]
#![expect(clippy::string_slice, reason = "tests cut text of their own")]
#![expect(clippy::similar_names, reason = "a head is heard, and notes are noted")]

mod support;

mod agree;
mod anonymous;
mod approved;
mod argued;
mod asked;
mod asks_back;
mod audit;
mod auditor;
mod bad_input;
mod bridge;
mod browser;
mod carried;
mod certificates;
mod chain;
mod commands;
mod corpora;
mod crm;
mod crowded;
mod definitions;
mod doctor;
mod erased;
mod exchange;
mod faults;
mod fitting;
mod given_back;
mod handles;
mod hostile;
mod house;
mod http2;
mod identity;
mod index;
mod init;
mod left_behind;
mod lists;
mod map;
mod masking;
mod metadata;
mod operate;
mod outcomes;
mod possession;
mod principals;
mod promises;
mod proxied;
mod pseudonyms;
mod relisted;
mod reload;
mod reported;
mod retention;
mod revoked;
mod rules;
mod sessionless;
mod sessions;
mod shared;
mod specifications;
mod spoken;
mod sse_client;
mod sse_upstream;
mod stdio;
mod streams;
mod supervised;
mod table;
mod tasks;
mod tokens;
mod traces;
mod upstream;
mod verify;
mod waited;
