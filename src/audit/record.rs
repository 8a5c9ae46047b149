use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use super::{Event, Sanitize, escape};
use crate::clock::Timestamp;
use crate::trail::RequestId;

/// The most items of a list in a record: scopes, missing scopes, actors.
const SCOPES: usize = 64;

/// One line of the log. Unknown members are `None` and left out of the line.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Record<'a> {
    pub event: Event,
    pub time: Timestamp,
    /// The same for all lines of one request.
    pub request_id: RequestId,
    pub decision: Option<Decision>,
    /// Whether rules in shadow would have decided something else.
    pub shadow: bool,
    /// From [`Audit::about`](super::Audit::about); the fields `server` to `arguments` are then ignored.
    pub about: Option<&'a Fragment>,
    /// Name in the configuration.
    pub server: Option<&'a str>,
    pub method: Option<&'a str>,
    /// The subject of the method.
    pub target: Option<Target<'a>>,
    /// Protocol revision.
    pub protocol: Option<&'static str>,
    /// The JSON-RPC id, as JSON text.
    pub rpc_id: Option<&'a [u8]>,
    pub session: Option<Session>,
    /// From [`Audit::subject`](super::Audit::subject).
    pub subject: Option<&'a Fragment>,
    /// From [`Audit::client`](super::Audit::client).
    pub client: Option<&'a Fragment>,
    pub policy: Option<Policy<'a>>,
    pub arguments: Option<Arguments>,
    /// What a token that was refused says of itself; for an allowed call, what was called and with what.
    pub told: Option<&'a Fragment>,
    /// How a tool's definition differs from the approved one.
    pub drift: Option<&'static str>,
    pub masked: &'a [Masked<'a>],
    /// HTTP status of the response.
    pub status: Option<u16>,
    pub error: Option<ErrorCode>,
    /// From the request's head to the end of the response.
    pub duration: Option<Duration>,
    /// The credential sent upstream, if the upstream was called; from `render_credential`.
    pub credential: Option<&'a Fragment>,
    /// The part of `duration` spent waiting for the upstream.
    pub upstream: Option<Duration>,
    /// The trace id of a sampled request.
    pub trace: Option<[u8; 32]>,
}

impl Record<'_> {
    /// A record with nothing but an event, its time and its request.
    pub fn new(event: Event, time: Timestamp, request_id: impl Into<RequestId>) -> Self {
        Self {
            event,
            time,
            request_id: request_id.into(),
            decision: None,
            shadow: false,
            about: None,
            server: None,
            method: None,
            target: None,
            protocol: None,
            rpc_id: None,
            session: None,
            subject: None,
            client: None,
            policy: None,
            arguments: None,
            told: None,
            drift: None,
            masked: &[],
            status: None,
            error: None,
            duration: None,
            credential: None,
            upstream: None,
            trace: None,
        }
    }
}

/// The decision of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A rule allowed it.
    Allow,
    /// A rule denied it or none allowed it, its limit was used up, or a mask blocked it.
    Deny,
    /// Refused for another reason, usually before the rules were evaluated.
    Refused,
    /// Denied, and more scopes would allow it.
    StepUp,
}

impl Decision {
    const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Refused => "refused",
            Self::StepUp => "step_up",
        }
    }
}

/// The subject of a method, by the name the caller used.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Target<'a> {
    Prompt(&'a str),
    Resource(&'a str),
    ResourceTemplate(&'a str),
    Tool(&'a str),
}

/// Why an answer is an error: the JSON-RPC code of the upstream's answer, or a name the proxy gives the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ErrorCode {
    Code(i32),
    Name(&'static str),
}

/// The policy and the rule that decided.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Policy<'a> {
    /// The digest of the policy file, which needs no escaping.
    pub version: &'a str,
    pub rule: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub missing_scopes: &'a [Box<str>],
}

/// How often one mask acted on one entity in one direction.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Masked<'a> {
    pub mask: &'a str,
    pub entity: &'a str,
    pub action: &'static str,
    pub direction: &'static str,
    pub count: u64,
}

/// A truncated hash of a session id: enough to compare, not enough to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session([u8; 16]);

impl Session {
    /// The first 64 bits of the id's SHA-256, in hexadecimal.
    pub fn of(id: &str) -> Self {
        let mut text = [0; 16];
        let hash = digest::digest(&digest::SHA256, id.as_bytes());
        for (pair, byte) in text.chunks_exact_mut(2).zip(hash.as_ref()) {
            pair.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| escape::HEX[usize::from(digit)]));
        }
        Self(text)
    }

    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The HMAC-SHA-256 of a call's arguments, byte by byte as the client wrote them: before what it got sealed or as a pseudonym
/// was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arguments(pub(super) [u8; 32]);

/// The authenticated caller.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Subject<'a> {
    pub issuer: &'a str,
    pub subject: &'a str,
    pub client_id: Option<&'a str>,
    /// In the order of the record.
    pub scopes: &'a [&'a str],
    pub token_id: Option<&'a str>,
    pub key_id: Option<&'a str>,
    /// The actors of the `act` claim, the current one first (RFC 8693 section 4.1).
    pub actors: &'a [&'a str],
}

/// The client's address, and what the client says of itself, which nobody verified.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Client<'a> {
    pub address: IpAddr,
    pub user_agent: Option<&'a [u8]>,
    pub name: Option<&'a str>,
    pub version: Option<&'a str>,
}

/// A rendered part of a record, for use in many lines: JSON members, each with a leading comma.
#[derive(Clone, Debug)]
pub struct Fragment(pub(super) Cow<'static, [u8]>);

impl Fragment {
    /// One that lives long: in no more memory than it needs.
    pub(super) fn kept(mut rendered: Vec<u8>) -> Self {
        rendered.shrink_to_fit();
        Self(rendered.into())
    }
}

/// Authentication failures of one kind that were counted instead of written.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) error: Option<ErrorCode>,
    pub(super) server: Option<Box<str>>,
    pub(super) since: Timestamp,
}

/// Appends `record` as an unfinished JSON object, to which `instance` and `seq` are added.
pub(super) fn render(out: &mut Vec<u8>, record: &Record<'_>, sanitize: Sanitize) {
    let mut line = Line { out, sanitize };
    line.head(record.event, record.time);
    line.ids(&record.request_id, record.event);
    if let Some(decision) = record.decision {
        line.word(",\"decision\":\"", decision.name());
        line.raw(if record.shadow { ",\"shadow\":true" } else { ",\"shadow\":false" });
    }
    match record.about {
        None => line.about(record),
        Some(Fragment(bytes)) => line.out.extend_from_slice(bytes),
    }
    if let Some(Fragment(bytes)) = record.told {
        line.out.extend_from_slice(bytes);
    }
    if let Some(drift) = record.drift {
        line.word(",\"drift\":\"", drift);
    }
    line.masked(record.masked);
    if let Some(Fragment(bytes)) = record.credential {
        line.out.extend_from_slice(bytes);
    }
    line.number(",\"http\":", record.status);
    line.error(record.error);
    line.millis(",\"duration_ms\":", record.duration);
    line.millis(",\"upstream_ms\":", record.upstream);
    if let Some(trace) = &record.trace {
        line.raw(",\"trace_id\":\"");
        line.out.extend_from_slice(trace);
        line.raw("\"");
    }
}

/// Appends the summary of counted failures, unfinished in the same way.
pub(super) fn render_summary(out: &mut Vec<u8>, summary: &Summary, now: Timestamp) {
    let mut line = Line { out, sanitize: |text| text.into() };
    line.head(Event::AuthFailed, now);
    line.word(",\"decision\":\"", Decision::Refused.name());
    line.raw(",\"shadow\":false");
    line.own(",\"server\":", summary.server.as_deref());
    line.error(summary.error);
    line.number(",\"count\":", Some(summary.count));
    line.raw(",\"since\":\"");
    line.out.extend_from_slice(&summary.since.rfc3339());
    line.raw("\"");
}

/// The members that all lines of one call share.
pub(super) fn render_about(record: &Record<'_>, sanitize: Sanitize) -> Fragment {
    let mut out = Vec::with_capacity(640);
    Line { out: &mut out, sanitize }.about(record);
    Fragment(out.into())
}

/// The kind of the credential sent upstream and its issuer, never its value.
pub(crate) fn render_credential(kind: &'static str, issuer: Option<&str>) -> Fragment {
    let mut out = Vec::with_capacity(96);
    let mut line = Line { out: &mut out, sanitize: |text| text.into() };
    line.word(",\"credential\":{\"type\":\"", kind);
    line.own(",\"iss\":", issuer);
    line.raw("}");
    Fragment::kept(out)
}

/// The `subject` member. Claims are signed by the issuer, not chosen by the caller: they are escaped and truncated but not
/// masked, or the audit could not tell who called.
pub(super) fn render_subject(subject: &Subject<'_>) -> Fragment {
    let mut out = Vec::with_capacity(256);
    // Nothing here is foreign.
    let mut line = Line { out: &mut out, sanitize: |text| text.into() };
    line.own(",\"subject\":{\"iss\":", Some(subject.issuer));
    line.own(",\"sub\":", Some(subject.subject));
    line.own(",\"client_id\":", subject.client_id);
    if !subject.actors.is_empty() {
        line.raw(",\"act\":");
        line.list(subject.actors.iter().copied());
    }
    line.raw(",\"scopes\":");
    line.list(subject.scopes.iter().copied());
    line.own(",\"jti\":", subject.token_id);
    line.own(",\"kid\":", subject.key_id);
    line.raw("}");
    Fragment::kept(out)
}

/// The `subject` member of a caller without a token, whose address is in `client`.
pub(crate) fn render_anonymous() -> Fragment {
    Fragment(Cow::Borrowed(b",\"subject\":{\"anonymous\":true}"))
}

pub(super) fn render_client(client: &Client<'_>, address: &str, sanitize: Sanitize) -> Fragment {
    let mut out = Vec::with_capacity(128);
    let mut line = Line { out: &mut out, sanitize };
    line.own(",\"client\":{\"ip\":", Some(address));
    line.foreign(",\"user_agent\":", client.user_agent.map(String::from_utf8_lossy).as_deref());
    line.foreign(",\"name\":", client.name);
    line.foreign(",\"version\":", client.version);
    line.raw("}");
    Fragment::kept(out)
}

/// A line being written. A `key` is everything between the previous value and the next: comma, name and colon, and where
/// needed an opening bracket or quote.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    sanitize: Sanitize,
}

impl Line<'_> {
    /// The members of the fields `server` to `arguments`.
    fn about(&mut self, record: &Record<'_>) {
        self.own(",\"server\":", record.server);
        self.foreign(",\"method\":", record.method);
        match record.target {
            None => {}
            Some(Target::Prompt(name)) => self.foreign(",\"prompt\":", Some(name)),
            Some(Target::Resource(uri)) => self.foreign(",\"resource\":", Some(uri)),
            Some(Target::ResourceTemplate(uri)) => self.foreign(",\"resource_template\":", Some(uri)),
            Some(Target::Tool(name)) => self.foreign(",\"tool\":", Some(name)),
        }
        if let Some(protocol) = record.protocol {
            self.word(",\"protocol\":\"", protocol);
        }
        if let Some(id) = record.rpc_id {
            self.rpc_id(id);
        }
        if let Some(Session(prefix)) = record.session {
            self.raw(",\"session\":\"sha256:");
            self.out.extend_from_slice(&prefix);
            self.raw("\"");
        }
        for Fragment(bytes) in [record.subject, record.client].into_iter().flatten() {
            self.out.extend_from_slice(bytes);
        }
        if let Some(policy) = &record.policy {
            self.policy(policy);
        }
        if let Some(Arguments(tag)) = record.arguments {
            self.word(",\"args_hash\":\"hmac-sha256:", &HEXLOWER.encode(&tag));
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn head(&mut self, event: Event, time: Timestamp) {
        self.raw("{\"v\":1,\"time\":\"");
        self.out.extend_from_slice(&time.rfc3339());
        self.word("\",\"event\":\"", event.name());
    }

    /// The record's id differs from the request id in its last bit at most, so one rendering serves for both.
    fn ids(&mut self, request: &RequestId, event: Event) {
        let text = request.text();
        let last = usize::from((request.uuid.as_bytes()[15] ^ event.id_bit()) & 15);
        self.raw(",\"id\":\"");
        self.out.extend_from_slice(&text[..text.len() - 1]);
        self.out.push(escape::HEX[last]);
        self.raw("\",\"request_id\":\"");
        self.out.extend_from_slice(text);
        self.raw("\"");
    }

    /// A word that needs no escaping; `key` ends with its opening quote.
    fn word(&mut self, key: &'static str, word: &str) {
        self.raw(key);
        self.raw(word);
        self.raw("\"");
    }

    fn own(&mut self, key: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.raw(key);
            escape::own(self.out, text);
        }
    }

    fn foreign(&mut self, key: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.raw(key);
            escape::foreign(self.out, text, self.sanitize);
        }
    }

    fn number(&mut self, key: &'static str, number: Option<impl itoa::Integer>) {
        if let Some(number) = number {
            self.raw(key);
            self.raw(itoa::Buffer::new().format(number));
        }
    }

    /// Milliseconds, with three decimals.
    fn millis(&mut self, key: &'static str, duration: Option<Duration>) {
        let Some(duration) = duration else {
            return;
        };
        self.number(key, Some(duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis().into())));
        let micros = duration.subsec_micros() % 1000;
        let digit = |place: u32| b'0' + (micros / place % 10).to_le_bytes()[0];
        self.out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    }

    fn list<'a>(&mut self, texts: impl Iterator<Item = &'a str>) {
        self.raw("[");
        for (index, text) in texts.take(SCOPES).enumerate() {
            if index > 0 {
                self.raw(",");
            }
            escape::own(self.out, text);
        }
        self.raw("]");
    }

    /// The JSON-RPC id, which the client chooses: strings are sanitised, everything but strings and integers becomes `null`.
    fn rpc_id(&mut self, id: &[u8]) {
        self.raw(",\"rpc_id\":");
        let text = id.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        let is_number = id.len() <= 20 && id.strip_prefix(b"-").unwrap_or(id).iter().all(u8::is_ascii_digit);
        match text {
            Some(name) if escape::is_name(name) => self.out.extend_from_slice(id),
            None if is_number && !id.is_empty() => self.out.extend_from_slice(id),
            _ => match serde_json::from_slice::<String>(id) {
                Ok(text) => escape::foreign(self.out, &text, self.sanitize),
                Err(_) => self.raw("null"),
            },
        }
    }

    fn policy(&mut self, policy: &Policy<'_>) {
        self.word(",\"policy\":{\"version\":\"", policy.version);
        for (key, text) in [(",\"rule\":", policy.rule), (",\"reason\":", policy.reason)] {
            self.own(key, text);
            if text.is_none() {
                self.raw(key);
                self.raw("null");
            }
        }
        self.raw(",\"missing_scopes\":");
        self.list(policy.missing_scopes.iter().map(Box::as_ref));
        self.raw("}");
    }

    fn masked(&mut self, masked: &[Masked<'_>]) {
        for (index, one) in masked.iter().enumerate() {
            self.own(if index == 0 { ",\"masked\":[{\"mask\":" } else { ",{\"mask\":" }, Some(one.mask));
            self.own(",\"entity\":", Some(one.entity));
            self.word(",\"action\":\"", one.action);
            self.word(",\"direction\":\"", one.direction);
            self.number(",\"count\":", Some(one.count));
            self.raw("}");
        }
        if !masked.is_empty() {
            self.raw("]");
        }
    }

    fn error(&mut self, error: Option<ErrorCode>) {
        match error {
            None => {}
            Some(ErrorCode::Code(code)) => self.number(",\"error\":", Some(code)),
            Some(ErrorCode::Name(name)) => self.word(",\"error\":\"", name),
        }
    }
}
