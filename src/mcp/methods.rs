//! The table of methods: what each is, who sends it, what its subject is, and which places are not text.
//! No other file spells a method name.

mod opaque;

use std::fmt;

use super::{ListKind, Revision};
use Access::{Completion, Free, Named, Subject, Subscriptions, Task};
use Revision::{V2024_11_05 as L0, V2025_06_18 as L2, V2025_11_25 as L3, V2026_07_28 as N};
use Sender::{Both, BothUntil, Client, Server};
use SubjectKind::{Prompt, Resource, ResourceTemplate, Tool};

/// What kind of thing a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum SubjectKind {
    Prompt,
    Resource,
    ResourceTemplate,
    Tool,
}

/// Who may send a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Either side, in every revision that has it.
    Both,
    /// Either side up to that revision, the server alone after it.
    BothUntil(Revision),
    /// The client.
    Client,
    /// The server; from 2026-07-28 only inside `inputRequests`.
    Server,
}

/// Whether an answer is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Shape {
    Notification,
    Request,
}

/// What a rule is asked before the method passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The prompt or resource in `params.ref`.
    Completion,
    /// Nothing: life cycle, lists (which are filtered), ping.
    Free,
    /// Refused unless a rule names the method itself.
    Named,
    /// The thing at `pointer` below `params`.
    Subject {
        /// What it is.
        kind: SubjectKind,
        /// RFC 6901, below `params`.
        pointer: &'static str,
    },
    /// Every resource and task a `subscriptions/listen` asks for.
    Subscriptions,
    /// The tool of the task in `params.taskId`; of a task the client keeps itself, a rule that names the method.
    Task,
}

/// The list inside a result that is filtered by policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// Member of the result that holds the items.
    pub items: &'static str,
    /// Member of an item a rule is asked about.
    pub key: &'static str,
    /// What the items are.
    pub kind: SubjectKind,
}

/// One row of the table.
///
/// Opaque and binary places are RFC 6901 pointers below `params` or `result`; `*` stands for one token, `**` for any
/// number, none included. What is in no such place is text.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// As sent.
    pub name: &'static str,
    /// Who sends it.
    pub sender: Sender,
    /// Whether it has an answer.
    pub shape: Shape,
    /// First revision that has it.
    pub first: Revision,
    /// Last revision that has it.
    pub last: Revision,
    /// What a rule is asked.
    pub access: Access,
    /// Pointer to what `Mcp-Name` must equal (2026-07-28 "Request Metadata Headers").
    pub header: Option<&'static str>,
    /// What policy filters in the result.
    pub list: Option<List>,
    /// Whether its result may be a question, with a state to bring back (2026-07-28 "Multi Round-Trip Requests").
    pub asks: bool,
    /// Whether its result is a page of a list (2025-11-25 "Pagination").
    pub pages: bool,
    /// Places in `params` that are never rewritten.
    pub opaque_params: &'static [&'static str],
    /// Places in `result` that are never rewritten.
    pub opaque_result: &'static [&'static str],
    /// Places in `params` that hold base64.
    pub binary_params: &'static [&'static str],
    /// Places in `result` that hold base64.
    pub binary_result: &'static [&'static str],
}

impl Method {
    /// Whether that revision has the method.
    pub fn is_in(&self, revision: Revision) -> bool {
        (self.first..=self.last).contains(&revision)
    }

    /// Where the task stands that a method of [`Access::Task`] is about, below `params`.
    pub const fn task_pointer(&self) -> &'static str {
        "/taskId"
    }

    /// Whether a client of that revision may send it as a message of its own.
    pub fn is_from_client(&self, revision: Revision) -> bool {
        match self.sender {
            Sender::Both | Sender::Client => true,
            Sender::BothUntil(last) => revision <= last,
            Sender::Server => false,
        }
    }

    /// Whether a server of that revision may send it as a message of its own; in 2026-07-28 servers send no requests.
    pub fn is_from_server(&self, revision: Revision) -> bool {
        let sends = match self.sender {
            Sender::Both | Sender::BothUntil(_) | Sender::Server => true,
            Sender::Client => false,
        };
        sends && (self.shape == Shape::Notification || revision < Revision::V2026_07_28)
    }

    const fn new(name: &'static str, shape: Shape, sender: Sender, revisions: [Revision; 2], access: Access) -> Self {
        let [first, last] = revisions;
        Self {
            name,
            sender,
            shape,
            first,
            last,
            access,
            header: None,
            list: None,
            asks: false,
            pages: false,
            opaque_params: opaque::ANY_PARAMS,
            opaque_result: opaque::ANY_RESULT,
            binary_params: &[],
            binary_result: &[],
        }
    }

    const fn header(mut self, pointer: &'static str) -> Self {
        self.header = Some(pointer);
        self
    }

    const fn asking(mut self) -> Self {
        self.asks = true;
        self
    }

    /// One that lists, page by page.
    const fn paged(mut self) -> Self {
        self.pages = true;
        self.opaque_params = opaque::PAGE;
        self
    }

    const fn list(mut self, items: &'static str, key: &'static str, kind: SubjectKind) -> Self {
        self.list = Some(List { items, key, kind });
        self
    }

    const fn params(mut self, opaque: &'static [&'static str]) -> Self {
        self.opaque_params = opaque;
        self
    }

    const fn result(mut self, opaque: &'static [&'static str]) -> Self {
        self.opaque_result = opaque;
        self
    }

    const fn binary(mut self, params: &'static [&'static str], result: &'static [&'static str]) -> Self {
        self.binary_params = params;
        self.binary_result = result;
        self
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Method {}

/// The method of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MethodRef<'a> {
    /// A row of the table.
    Listed(&'static Method),
    /// One that is not in the table and that a rule names.
    Unlisted(&'a str),
}

impl<'a> MethodRef<'a> {
    /// As sent.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Listed(method) => method.name,
            Self::Unlisted(name) => name,
        }
    }

    /// The row, if there is one.
    pub fn listed(&self) -> Option<&'static Method> {
        match self {
            Self::Listed(method) => Some(method),
            Self::Unlisted(_) => None,
        }
    }
}

impl fmt::Debug for MethodRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The row of that exact name.
pub fn find(name: &str) -> Option<&'static Method> {
    spelled(name.as_bytes())
}

/// The row of the name with those bytes.
pub(super) fn spelled(name: &[u8]) -> Option<&'static Method> {
    let at = METHODS.binary_search_by(|method| method.name.as_bytes().cmp(name)).ok()?;
    METHODS.get(at)
}

/// Whether a method by its name expects no answer; for methods that are not in the table.
pub(super) fn is_notification_name(name: &str) -> bool {
    name.starts_with("notifications/")
}

/// What reads a resource, and what every other use of one is decided like.
pub const RESOURCES_READ: &str = "resources/read";

/// What asks after a task, and what news of one is decided like.
pub const TASKS_GET: &str = "tasks/get";

/// What takes a task back.
pub(crate) const TASKS_CANCEL: &str = "tasks/cancel";

/// What asks for the outcome of a task (2025-11-25 "Tasks").
pub(crate) const TASKS_RESULT: &str = "tasks/result";

/// What brings answers to what a task asks (the extension's "Task Update Requests").
pub(crate) const TASKS_UPDATE: &str = "tasks/update";

/// How a task stands (2025-11-25 "Tasks").
pub(crate) const TASK_STATUS: &str = "notifications/tasks/status";

/// The same in the extension of 2026-07-28.
pub(crate) const TASK_NEWS: &str = "notifications/tasks";

/// What opens a session (2025-11-25 "Lifecycle").
pub const INITIALIZE: &str = "initialize";

/// What tells the server that the session is open.
pub const INITIALIZED: &str = "notifications/initialized";

/// What lists an upstream's tools.
pub const TOOLS_LIST: &str = "tools/list";

/// What tells which revisions a server speaks (2026-07-28 "Discovery").
pub const DISCOVER: &str = "server/discover";

/// What opens a stream of news (2026-07-28 "Subscriptions").
pub const LISTEN: &str = "subscriptions/listen";

/// What tells which news such a stream will have.
pub const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// What asks for news of a resource (2025-11-25 "Resources"), and what takes that back.
pub const SUBSCRIBE: [&str; 2] = ["resources/subscribe", "resources/unsubscribe"];

/// What takes a request back.
pub const CANCELLED: &str = "notifications/cancelled";

/// How far a request is.
pub(crate) const PROGRESS: &str = "notifications/progress";

/// The client's roots are others.
pub(crate) const ROOTS_CHANGED: &str = "notifications/roots/list_changed";

/// The server's lists are others.
pub(super) const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
pub(super) const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";
pub(super) const TOOLS_CHANGED: &str = "notifications/tools/list_changed";

/// What asks whether somebody is there.
pub const PING: &str = "ping";

/// What says from which level on a session is told what a server logs (2025-11-25 "Logging").
pub const SET_LEVEL: &str = "logging/setLevel";

/// What a bridge does with news of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Of a list.
    List(ListKind),
    /// Something logged.
    Log,
    /// How far a request is.
    Progress,
    /// Of a resource.
    Resource,
    /// Of a task.
    Task,
}

/// What kind of news a notification is; `None` for those of one era alone.
pub(crate) fn news(name: &str) -> Option<News> {
    Some(match name {
        "notifications/message" => News::Log,
        "notifications/progress" => News::Progress,
        "notifications/resources/updated" => News::Resource,
        name => return ListKind::of(name).map(News::List),
    })
}

/// Whether a result says how long it may be kept and by whom (2026-07-28 "Caching").
pub(crate) fn is_cached(method: &Method) -> bool {
    method.list.is_some() || matches!(method.name, DISCOVER | RESOURCES_READ)
}

/// What uses a thing of that kind: the question a list is filtered by.
pub(crate) const fn use_of(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Prompt => "prompts/get",
        SubjectKind::Resource | SubjectKind::ResourceTemplate => RESOURCES_READ,
        SubjectKind::Tool => "tools/call",
    }
}

/// Places in an `error` object that are never rewritten.
pub const ERROR_PLACES: &[&str] = &["/code"];

/// Whether the message takes a request of its sender back.
pub fn is_cancelled(method: &Method) -> bool {
    method.name == CANCELLED
}

/// Whether the answer may tell a model about the server.
pub fn has_instructions(method: &Method) -> bool {
    is_initialize(method) || method.name == DISCOVER
}

/// Whether the message tells which news a subscription has.
pub(crate) fn is_acknowledged(method: &Method) -> bool {
    method.name == ACKNOWLEDGED
}

/// The request that news of what was asked is decided like; `None` for what is news of its own.
pub fn news_of(notice: &Method) -> Option<&'static str> {
    (notice.name == "notifications/elicitation/complete").then_some("elicitation/create")
}

/// Whether a caller without a token may send it, where a rule lets such callers do something: what finds out about a
/// server, and what uses a thing without keeping anything.
pub fn is_for_anyone(method: &Method) -> bool {
    let uses = matches!(method.name, "completion/complete" | "prompts/get" | RESOURCES_READ | "tools/call");
    uses || method.list.is_some() || matches!(method.name, DISCOVER | INITIALIZE | INITIALIZED | PING)
}

/// Whether the answer tells how a task stands and not what came of it.
pub fn is_status(method: &Method) -> bool {
    matches!(method.name, "tasks/cancel" | TASKS_GET)
}

/// Whether the result lists tasks.
pub fn lists_tasks(method: &Method) -> bool {
    method.name == "tasks/list"
}

/// Whether a `_meta` key is the protocol's own (2026-07-28, "Reserved `_meta` keys") or W3C Trace Context's (SEP-414).
pub fn is_reserved_meta(key: &str) -> bool {
    key.starts_with("io.modelcontextprotocol/")
        || matches!(key, "progressToken" | "traceparent" | "tracestate" | "baggage")
}

/// Whether the method opens a session (2025-11-25 "Lifecycle").
pub fn is_initialize(method: &Method) -> bool {
    method.name == "initialize"
}

const fn request(name: &'static str, sender: Sender, revisions: [Revision; 2], access: Access) -> Method {
    Method::new(name, Shape::Request, sender, revisions, access)
}

const fn notice(name: &'static str, sender: Sender, revisions: [Revision; 2], access: Access) -> Method {
    Method::new(name, Shape::Notification, sender, revisions, access)
}

const fn subject(kind: SubjectKind, pointer: &'static str) -> Access {
    Subject { kind, pointer }
}

/// Every method and notification of the revisions 2024-11-05 to 2026-07-28 and of the tasks extension, by name.
pub static METHODS: &[Method] = &[
    request("completion/complete", Client, [L0, N], Completion).params(opaque::COMPLETE).result(opaque::COMPLETED),
    request("elicitation/create", Server, [L2, N], Named).params(opaque::ELICIT).result(opaque::ELICITED),
    request("initialize", Client, [L0, L3], Free).params(opaque::INITIALIZE).result(opaque::INITIALIZED),
    request("logging/setLevel", Client, [L0, L3], Free).params(opaque::SET_LEVEL),
    notice("notifications/cancelled", Both, [L0, N], Free).params(opaque::CANCELLED),
    notice("notifications/elicitation/complete", Server, [L3, L3], Named).params(opaque::ELICITATION_COMPLETE),
    notice("notifications/initialized", Client, [L0, L3], Free),
    notice("notifications/message", Server, [L0, N], Free).params(opaque::LOGGED),
    notice("notifications/progress", BothUntil(L3), [L0, N], Free).params(opaque::PROGRESS),
    notice(PROMPTS_CHANGED, Server, [L0, N], Free),
    notice(RESOURCES_CHANGED, Server, [L0, N], Free),
    notice("notifications/resources/updated", Server, [L0, N], subject(Resource, "/uri")).params(opaque::UPDATED),
    notice("notifications/roots/list_changed", Client, [L0, L3], Free),
    notice("notifications/subscriptions/acknowledged", Server, [N, N], Free).params(opaque::LISTEN),
    notice("notifications/tasks", Server, [N, N], Task)
        .params(opaque::DETAILED_TASK_NOTICE)
        .binary(opaque::DETAILED_TASK_BINARY, &[]),
    notice("notifications/tasks/status", Both, [L3, L3], Task).params(opaque::TASK_NOTICE),
    notice(TOOLS_CHANGED, Server, [L0, N], Free),
    request("ping", Both, [L0, L3], Free),
    request("prompts/get", Client, [L0, N], subject(Prompt, "/name"))
        .header("/name")
        .asking()
        .params(opaque::CALL)
        .result(opaque::PROMPT)
        .binary(&[], opaque::PROMPT_BINARY),
    request("prompts/list", Client, [L0, N], Free).list("prompts", "name", Prompt).paged().result(opaque::PROMPTS),
    request("resources/list", Client, [L0, N], Free)
        .list("resources", "uri", Resource)
        .paged()
        .result(opaque::RESOURCES),
    request("resources/read", Client, [L0, N], subject(Resource, "/uri"))
        .header("/uri")
        .asking()
        .params(opaque::READ)
        .result(opaque::CONTENTS)
        .binary(&[], opaque::CONTENTS_BINARY),
    request("resources/subscribe", Client, [L0, L3], subject(Resource, "/uri")).params(opaque::READ),
    request("resources/templates/list", Client, [L0, N], Free)
        .list("resourceTemplates", "uriTemplate", ResourceTemplate)
        .paged()
        .result(opaque::TEMPLATES),
    request("resources/unsubscribe", Client, [L0, L3], subject(Resource, "/uri")).params(opaque::READ),
    request("roots/list", Server, [L0, N], Named),
    request("sampling/createMessage", Server, [L0, N], Named)
        .params(opaque::SAMPLE)
        .result(opaque::SAMPLED)
        .binary(opaque::SAMPLE_BINARY, opaque::SAMPLED_BINARY),
    request("server/discover", Client, [N, N], Free).result(opaque::DISCOVERED),
    request("subscriptions/listen", Client, [N, N], Subscriptions).params(opaque::LISTEN),
    request("tasks/cancel", Both, [L3, N], Task).header("/taskId").params(opaque::TASK_ID).result(opaque::TASK),
    request("tasks/get", Both, [L3, N], Task)
        .header("/taskId")
        .params(opaque::TASK_ID)
        .result(opaque::DETAILED_TASK)
        .binary(&[], opaque::DETAILED_TASK_BINARY),
    request("tasks/list", Both, [L3, L3], Named).paged().result(opaque::TASKS),
    request("tasks/result", Both, [L3, L3], Task)
        .params(opaque::TASK_ID)
        .result(opaque::CALLED)
        .binary(&[], opaque::CALLED_BINARY),
    request("tasks/update", Client, [N, N], Task).header("/taskId").params(opaque::TASK_UPDATE),
    request("tools/call", Client, [L0, N], subject(Tool, "/name"))
        .header("/name")
        .asking()
        .params(opaque::CALL)
        .result(opaque::CALLED)
        .binary(&[], opaque::CALLED_BINARY),
    request("tools/list", Client, [L0, N], Free).list("tools", "name", Tool).paged().result(opaque::TOOLS),
];

#[cfg(test)]
mod tests;
