//! The inputs of a decision besides caller and operation.

use std::net::IpAddr;

use http::HeaderMap;

use super::lock::Lock;
use super::tools::Tool;
use crate::clock::Timestamp;
use crate::json::Value;
use crate::mcp::Message;

/// The circumstances of one decision. Calls, the filtering of lists, and the commands that explain, test and replay are all
/// decided by the same rules; only the context differs.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Whether this is for a call or for a list.
    pub phase: Phase,
    /// The arguments of the call.
    pub arguments: Arguments<'a>,
    /// Whether all claims of the caller are known.
    pub claims: Claims,
    /// What is known about the tool.
    pub definition: Definition<'a>,
    /// The approved definitions, for tools whose upstream definition is unknown.
    pub approved: Option<&'a Lock>,
    /// The client's address, if known.
    pub ip: Option<IpAddr>,
    /// The time of the decision.
    pub now: Timestamp,
    /// The server's name in `proxy.toml`.
    pub server: &'a str,
    /// What the client says of itself.
    pub untrusted: Option<&'a Untrusted>,
}

impl<'a> Context<'a> {
    /// A call at that time about which nothing else is known.
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

    /// The same for a call with these arguments; `None` for a call without any.
    pub const fn with_arguments(self, arguments: Option<Value<'a>>) -> Self {
        Self { arguments: Arguments::Known(arguments), ..self }
    }

    /// The annotations of the tool with that name: those of its definition, else of the approved one, else the worst.
    pub(crate) fn annotations(&self, tool: &str) -> Annotations {
        let approved = || self.approved.and_then(|lock| lock.annotations(tool));
        self.definition.annotations.or_else(approved).unwrap_or(Annotations::WORST)
    }

    /// The same for a list, where the arguments of a later call are unknown.
    pub const fn listing(self) -> Self {
        Self { phase: Phase::List, arguments: Arguments::Unknown, ..self }
    }
}

/// How conditions count whose result is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Unknown never satisfies an allow rule and always satisfies a deny rule.
    Call,
    /// Some call could meet the condition: unknown satisfies an allow rule and no deny rule. Arguments and time of the call are
    /// unknown.
    List,
    /// As for a list, but with the time known: a recorded call of which not everything was recorded.
    Past,
}

/// The arguments of a call.
#[derive(Clone, Copy, Debug)]
pub enum Arguments<'a> {
    /// Those of the call; `None` if it has none.
    Known(Option<Value<'a>>),
    /// There is no call yet, or its arguments were not recorded.
    Unknown,
}

/// How many claims of the caller's token are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    /// All: a missing claim is not in the token.
    All,
    /// The recorded ones but those that name the caller and its client, whose id is not known either.
    Nameless,
    /// The recorded ones: the token may have had others.
    Recorded,
}

/// What is known about a tool besides its name.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    /// Its `inputSchema`, if known.
    pub schema: Option<&'a serde_json::Value>,
    /// Its annotations if the definition is the approved one, else the worst; `None` if the definition is unknown.
    pub annotations: Option<Annotations>,
}

impl<'a> Definition<'a> {
    /// The definition of a tool by its upstream; with the worst annotations if there is none.
    pub(crate) fn of(tool: Option<&'a Tool>) -> Self {
        let annotations = tool.map_or(Annotations::WORST, Tool::annotations);
        Self { schema: tool.and_then(Tool::schema_value), annotations: Some(annotations) }
    }
}

/// A tool's annotations (MCP 2025-11-25, `ToolAnnotations`). They are only trusted from an approved definition; otherwise they
/// are [`Annotations::WORST`].
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
    /// The annotations in a definition, with the worst value for each that is missing (MCP 2025-11-25, `ToolAnnotations`).
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

    /// The specification's defaults, which are the worst case of each hint.
    pub const WORST: Self = Self { destructive: true, idempotent: false, open_world: true, read_only: false };
}

/// What a client asserts about itself, unverified. Only deny rules may read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Untrusted {
    /// `name` of the client's `clientInfo`.
    pub name: Option<Box<str>>,
    /// `version` of the client's `clientInfo`.
    pub version: Option<Box<str>>,
    /// The protocol revision of the request.
    pub protocol_version: Option<Box<str>>,
    /// The headers that rules may read, by lower-case name.
    pub headers: Vec<(Box<str>, Box<str>)>,
}

impl Untrusted {
    /// Headers that describe a client and are no credentials.
    pub(crate) const HEADERS: [&str; 4] = ["accept-language", "origin", "referer", "user-agent"];

    /// Reads what a request says about its client.
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
