//! An authenticating reverse proxy for existing MCP servers that decides by policy and masks data.
//!
//! # The path of a request
//!
//! A request is a value whose type changes at each stage. [`proxy`] is the file to read first: one function calls the
//! stages below in this order, and leaving one out or swapping two does not compile.
//!
//! 1. [`server`] accepts the connection, refuses bytes that two parsers could frame differently, and hands over a request head.
//! 2. [`snapshot`] finds the [`route`] by host, path and origin: one immutable configuration, held until the request ends.
//! 3. [`auth::credential`] reads the token, [`auth::Verifier`] verifies it and makes an [`auth::Caller`].
//! 4. [`body::read`] reads the body within its limits, [`mcp::admit()`] parses it into a [`mcp::Message`] or refuses it.
//! 5. [`opened::open`] opens the sealed state the client carries ([`seal`]): sessions, event ids, answered requests.
//! 6. [`policy::authorize`] decides. Only it makes a [`policy::Permit`].
//! 7. [`mask::mask()`] removes what must not go upstream: [`mask::Masked`].
//! 8. [`audit::decided`] records the decision before it takes effect: [`audit::Recorded`].
//! 9. [`upstream::outbound()`] writes a new request, [`upstream::Pool`] sends it and returns the [`upstream::Answer`].
//! 10. [`reply`] admits, filters and masks the answer, message by message, before a byte of it reaches the client.
//! 11. [`trail`] ends the request: audit, metrics, spans and log are drawn from one outcome, by [`telemetry`] and [`audit`].
//! 12. Every failure on the way is a [`reject::Reject`], the only place that knows statuses and challenges.
//!
//! [`bridge`] translates between steps 9 and 10 where client and upstream are of different eras; [`http_sse`] brings clients of
//! the oldest transport to step 4, and their answers back.
//!
//! Around it: [`config`] says what `proxy.toml` means, [`instance`] runs and reloads, [`cli`] is the command line,
//! [`demo`] is an issuer and a sample server for trying and testing, [`json`] finds and replaces text in bytes, `trial`
//! decides one call without a network, for the commands that prove a policy.
//!
//! # Invariants
//!
//! - **I1** Nothing goes upstream undecided, unmasked or unrecorded: each stage takes a value that only the one before it makes.
//! - **I2** Nothing of the client's head is copied upstream. Headers are written from the route and the masked message.
//! - **I3** What is decided on is what is sent: whatever two parsers could read differently is refused, in both directions.
//! - **I4** One snapshot per request. A long stream is checked against the new policy after a reload, and ends with the token.
//! - **I5** Every request ends in exactly one outcome, from which audit, metrics, spans and log are drawn.
//! - **I6** State about a client travels with the client, sealed and bound to its identity. What memory holds of clients
//!   ([`state`], [`bridge`], [`http_sse`], counts of limits) is bounded and of this process alone.
//! - **I7** Bytes in, bytes out: a message is kept as bytes and spans, and unchanged parts keep their bytes.
//!
//! # Glossary
//!
//! One word for one thing, in code, configuration, log, metrics and audit.
//!
//! - **caller**: the party an access token identifies. **client**: the program it calls with.
//! - **principal**: issuer, tenant, subject and client together, to which seals and pseudonyms are bound.
//! - **issuer**: the authorization server that signs access tokens. **resource**: what a token is for, `public_url` and `path`.
//! - **server**: one protected MCP server of `proxy.toml`. **upstream**: its real endpoints. **route**: a server, compiled.
//! - **method**: of JSON-RPC. **subject**: the tool, resource, template or prompt a method is about; in the audit, `sub`.
//! - **rule**, **mask**: one table of a policy file. **policy**: all rules of a server.
//! - **step-up**: a refusal that names the scopes a token would need.
//! - **entity**: a kind of value masks find. **finding**: one match of an entity.
//! - **seal**: to encrypt, for the proxy itself, state that a client carries.
//! - **era**: with `initialize` (up to 2025-11-25) or stateless (2026-07-28). **revision**: one dated protocol version.
//! - **record**: one line of the audit. **trail**: the log of one request while it runs.
//! - **snapshot**: everything that runs from one loaded configuration. **generation**: its number.
//! - **problem**: something wrong with a file, with its place. **reject**: why a request is refused.

pub mod audit;
pub mod auth;
pub mod body;
pub mod bridge;
mod byte_set;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cors;
pub mod demo;
mod document;
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
