//! An authenticating, policy-deciding, masking reverse proxy for MCP servers that already exist.
//!
//! # The path of a request
//!
//! A request is a value that changes its type as it earns trust. [`proxy`] is the file to read first: one function calls
//! the stages below in this order, and leaving one out or swapping two does not compile.
//!
//! 1. [`server`] accepts the connection, refuses bytes that two parsers could frame differently, and hands over a head.
//! 2. [`snapshot`] finds the [`route`] by host, path and origin: one immutable configuration, held to the end.
//! 3. [`auth::credential`] reads the token, [`auth::Verifier`] makes it a [`auth::Caller`].
//! 4. [`body::read`] takes the body within its limits, [`mcp::admit()`] makes it a [`mcp::Message`] or refuses it.
//! 5. [`opened::open`] opens what travels sealed with the client ([`seal`]): sessions, event ids, answered requests.
//! 6. [`policy::authorize`] decides. Only it makes a [`policy::Permit`].
//! 7. [`mask::mask()`] takes out what must not go up: [`mask::Masked`].
//! 8. [`audit::decided`] writes the decision down before it takes effect: [`audit::Recorded`].
//! 9. [`upstream::outbound()`] writes the request anew, [`upstream::Pool`] sends it and brings the [`upstream::Answer`].
//! 10. [`reply`] admits, filters and masks the answer, message by message, before a byte of it reaches the client.
//! 11. [`trail`] ends the request: audit, metrics and log are told one outcome, by [`telemetry`] and [`audit`].
//! 12. Whatever fails on the way is a [`reject::Reject`], the one place that knows statuses and challenges.
//!
//! [`bridge`] translates between step 9 and 10 where client and upstream are of different eras; [`http_sse`] leads clients of
//! the oldest transport to step 4, and their answers back.
//!
//! Around it: [`config`] says what `proxy.toml` means, [`instance`] runs and reloads, [`cli`] is the command line,
//! [`demo`] is an issuer and a sample server to try and test with, [`json`] finds and replaces text in bytes, `trial`
//! decides one call without a network, for the commands that prove a policy.
//!
//! # What always holds
//!
//! - **I1** Nothing goes upstream undecided, unmasked or unrecorded: each stage takes what only the one before it makes.
//! - **I2** Nothing of the client's head is copied upstream. Headers are written from the route and the masked message.
//! - **I3** What is decided on is what is sent: what two parsers could read differently is refused, both ways.
//! - **I4** One snapshot a request. A long stream asks the newer policy after a reload, and ends with the token.
//! - **I5** Every request ends in exactly one outcome, from which audit, metrics and log are drawn.
//! - **I6** No table remembers clients. What must be remembered travels sealed with the client, bound to who it is.
//! - **I7** Bytes in, bytes out: a message is kept as bytes and spans, and unchanged parts stay as they were.
//!
//! # Words
//!
//! One word for one thing, in code, configuration, log, metrics and audit.
//!
//! - **caller**: who calls, established by an access token. **client**: the program it calls with.
//! - **issuer**: who signs access tokens. **resource**: what a token is for, `public_url` and `path` together.
//! - **server**: one protected MCP server of `proxy.toml`. **upstream**: where it really is. **route**: it, compiled.
//! - **method**: of JSON-RPC. **subject**: the tool, resource, template or prompt a method is about; in the audit, `sub`.
//! - **rule**, **mask**: one table of a policy file. **policy**: all rules of a server.
//! - **step-up**: the refusal that names the scopes a wider token would need.
//! - **entity**: a kind of value masks find. **finding**: that one was found.
//! - **seal**: to encrypt for ourselves what a client carries for us.
//! - **era**: with `initialize` (up to 2025-11-25) or stateless (2026-07-28). **revision**: one dated protocol version.
//! - **record**: one line of the audit. **trail**: what one request leaves behind while it runs.
//! - **snapshot**: everything that runs from one loaded configuration. **generation**: its number.
//! - **problem**: something wrong with a file, with its place. **reject**: why a request is refused.

pub mod audit;
pub mod auth;
pub mod body;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cors;
pub mod demo;
pub mod http_sse;
pub mod instance;
pub mod json;
pub mod mask;
pub mod mcp;
pub mod opened;
pub mod policy;
pub mod proxy;
pub mod reject;
pub mod reply;
pub mod route;
pub mod seal;
pub mod secret;
pub mod server;
pub mod snapshot;
pub mod state;
pub mod telemetry;
mod tls_fault;
pub mod trail;
mod trial;
pub mod upstream;
