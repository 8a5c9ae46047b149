//! The inputs of a decision besides caller and operation.

use std::net::IpAddr;

use http::HeaderMap;

use super::lock::Lock;
use super::tools::Tool;
use crate::clock::Timestamp;
use crate::json::Value;
use crate::mcp::Message;

/// The circumstances of one decision. The same rules are asked when a call is decided, when a list is filtered, and by the
/// commands that explain, test and replay; only what stands here differs.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Whether something is called or listed.
    pub phase: Phase,
    /// What the call is made with.
    pub arguments: Arguments<'a>,
    /// Which of the caller's claims are at hand.
    pub claims: Claims,
    /// What is known of the tool that is asked about.
    pub definition: Definition<'a>,
    /// The approved definitions, for tools whose own is not at hand.
    pub approved: Option<&'a Lock>,
    /// The caller's address, where it is known.
    pub ip: Option<IpAddr>,
    /// The moment of the decision.
    pub now: Timestamp,
    /// The server's name in `proxy.toml`.
    pub server: &'a str,
    /// What the client says of itself.
    pub untrusted: Option<&'a Untrusted>,
}

impl<'a> Context<'a> {
    /// A call at that moment of which nothing else is known: what rules ask of it is unknown.
    pub const fn at(now: Timestamp) -> Self {
        Self {
            phase: Phase::Call,
            arguments: Arguments::Unknown,
            claims: Claims::All,
            definition: Definition { schema: None, annotations: None },
            approved: None,
            ip: None,
            now,
            server: "",
            untrusted: None,
        }
    }

    /// The same for a call with these arguments; `None` is a call without any.
    pub const fn with_arguments(self, arguments: Option<Value<'a>>) -> Self {
        Self { arguments: Arguments::Known(arguments), ..self }
    }

    /// What the tool of that name does, as far as anybody vouches for it: by its definition, else by the approved one.
    pub(crate) fn annotations(&self, tool: &str) -> Annotations {
        let approved = || self.approved.and_then(|lock| lock.annotations(tool));
        self.definition.annotations.or_else(approved).unwrap_or(Annotations::WORST)
    }

    /// The same for a list: what depends on the call is not known yet.
    pub const fn listing(self) -> Self {
        Self { phase: Phase::List, arguments: Arguments::Unknown, ..self }
    }
}

/// What becomes of a condition that is neither met nor unmet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It never satisfies an allow rule and always satisfies a deny rule.
    Call,
    /// It could be met by some call: it satisfies an allow rule and no deny rule. Arguments and the time of the call are
    /// not known.
    List,
    /// As for a list, but the time is known: a call of the past of which not everything was kept.
    Past,
}

/// The arguments a rule may ask about.
#[derive(Clone, Copy, Debug)]
pub enum Arguments<'a> {
    /// Those of the call; `None` if it has none.
    Known(Option<Value<'a>>),
    /// There is no call yet, or its arguments are not at hand.
    Unknown,
}

/// Which claims of the caller's token are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    /// All: one that is not there was not in the token.
    All,
    /// Those that were written down: whether the token had others cannot be told.
    Recorded,
}

/// What is known of a tool besides its name.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    /// Its `inputSchema`, where the proxy has it.
    pub schema: Option<&'a serde_json::Value>,
    /// What it says it does, if it is the approved one, else the worst; `None` where it is not at hand.
    pub annotations: Option<Annotations>,
}

impl<'a> Definition<'a> {
    /// Of a tool as its upstream defines it; the worst of one it does not.
    pub(crate) fn of(tool: Option<&'a Tool>) -> Self {
        let annotations = tool.map_or(Annotations::WORST, Tool::annotations);
        Self { schema: tool.and_then(Tool::schema_value), annotations: Some(annotations) }
    }
}

/// A tool's annotations (MCP 2025-11-25, `ToolAnnotations`). Only a locked definition may make them better than
/// [`Annotations::WORST`]: an upstream's own word loosens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the four hints of the specification")]
pub struct Annotations {
    /// `destructiveHint`.
    pub destructive: bool,
    /// `idempotentHint`.
    pub idempotent: bool,
    /// `openWorldHint`.
    pub open_world: bool,
    /// `readOnlyHint`.
    pub read_only: bool,
}

impl Annotations {
    /// Those a definition states (MCP 2025-11-25, `ToolAnnotations`): what is not said is the worst.
    pub(super) fn stated(definition: Value<'_>) -> Self {
        let said = definition.get("annotations");
        let hint = |name: &str, worst: bool| said.and_then(|said| said.get(name)?.as_bool()).unwrap_or(worst);
        let worst = Self::WORST;
        Self {
            destructive: hint("destructiveHint", worst.destructive),
            idempotent: hint("idempotentHint", worst.idempotent),
            open_world: hint("openWorldHint", worst.open_world),
            read_only: hint("readOnlyHint", worst.read_only),
        }
    }

    /// The specification's defaults, which are the worst case of each.
    pub const WORST: Self = Self { destructive: true, idempotent: false, open_world: true, read_only: false };
}

/// What a client asserts of itself and nothing vouches for; deny rules alone may look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Untrusted {
    /// `name` of the client's `clientInfo`.
    pub name: Option<Box<str>>,
    /// `version` of the client's `clientInfo`.
    pub version: Option<Box<str>>,
    /// The protocol revision of the request.
    pub protocol_version: Option<Box<str>>,
    /// Headers rules may look at, by lower-case name.
    pub headers: Vec<(Box<str>, Box<str>)>,
}

impl Untrusted {
    /// Headers that say something of a client and are no credential.
    pub(crate) const HEADERS: [&str; 4] = ["accept-language", "origin", "referer", "user-agent"];

    /// What a request says of its client.
    pub(crate) fn of(headers: &HeaderMap, message: Option<&Message>) -> Self {
        let info = message.and_then(Message::client_info);
        let (name, version) = info.map(|(name, version)| (name.into(), version.into())).unzip();
        let header = |name: &str| Some((name.into(), headers.get(name)?.to_str().ok()?.into()));
        Self {
            name,
            version,
            protocol_version: message.map(|message| message.revision().as_str().into()),
            headers: Self::HEADERS.iter().filter_map(|name| header(name)).collect(),
        }
    }
}
