//! Places in messages that are identifiers, structure or discriminators: never rewritten, never searched.
//!
//! Only names the proxy or a peer acts on belong here. A place that is missing is masked, which is the safe mistake.

/// Expands groups of places at a prefix into one list of pointers.
macro_rules! places {
    (@ [$($done:expr,)*]) => { &[$($done),*] };
    (@ [$($done:expr,)*] at $($at:literal),+; $($rest:tt)*) => {
        places!(@ [$($done,)* $($at,)+] $($rest)*)
    };
    // A content block of a tool result or prompt message.
    (@ [$($done:expr,)*] block $at:literal; $($rest:tt)*) => {
        places!(@ [$($done,)*
            concat!($at, "/type"), concat!($at, "/mimeType"), concat!($at, "/uri"), concat!($at, "/size"),
            concat!($at, "/resource/uri"), concat!($at, "/resource/mimeType"),
        ] hints $at; icons $at; $($rest)*)
    };
    // A content block of a sampling message, where tools are used and answered too.
    (@ [$($done:expr,)*] sampled $at:literal; $($rest:tt)*) => {
        places!(@ [$($done,)* concat!($at, "/name"), concat!($at, "/id"), concat!($at, "/toolUseId"),
            concat!($at, "/content/*/type"), concat!($at, "/content/*/mimeType"), concat!($at, "/content/*/uri"),
            concat!($at, "/content/*/resource/uri"), concat!($at, "/content/*/resource/mimeType"),
        ] block $at; $($rest)*)
    };
    (@ [$($done:expr,)*] hints $at:literal; $($rest:tt)*) => {
        places!(@ [$($done,)*
            concat!($at, "/annotations/audience/*"), concat!($at, "/annotations/lastModified"),
            concat!($at, "/annotations/priority"),
        ] $($rest)*)
    };
    (@ [$($done:expr,)*] icons $at:literal; $($rest:tt)*) => {
        places!(@ [$($done,)*
            concat!($at, "/icons/*/mimeType"), concat!($at, "/icons/*/sizes/*"), concat!($at, "/icons/*/theme"),
        ] $($rest)*)
    };
    // JSON Schema keywords; title, description, default and examples are text.
    (@ [$($done:expr,)*] schema $at:literal; $($rest:tt)*) => {
        places!(@ [$($done,)*
            concat!($at, "/**/$anchor"), concat!($at, "/**/$defs/*"), concat!($at, "/**/$dynamicAnchor"),
            concat!($at, "/**/$dynamicRef"), concat!($at, "/**/$id"), concat!($at, "/**/$ref"),
            concat!($at, "/**/$schema"), concat!($at, "/**/$vocabulary/*"), concat!($at, "/**/const/**"),
            concat!($at, "/**/contentEncoding"), concat!($at, "/**/contentMediaType"), concat!($at, "/**/definitions/*"),
            concat!($at, "/**/dependentRequired/*/*"), concat!($at, "/**/enum/**"),
            concat!($at, "/**/exclusiveMaximum"), concat!($at, "/**/exclusiveMinimum"), concat!($at, "/**/format"),
            concat!($at, "/**/maximum"), concat!($at, "/**/minimum"), concat!($at, "/**/multipleOf"),
            concat!($at, "/**/pattern"), concat!($at, "/**/patternProperties/*"), concat!($at, "/**/properties/*"),
            concat!($at, "/**/required/*"), concat!($at, "/**/type"), concat!($at, "/**/type/*"),
            concat!($at, "/**/x-mcp-header"),
        ] $($rest)*)
    };
    (@ [$($done:expr,)*] task $at:literal; $($rest:tt)*) => {
        places!(@ [$($done,)*
            concat!($at, "/taskId"), concat!($at, "/status"), concat!($at, "/createdAt"),
            concat!($at, "/lastUpdatedAt"), concat!($at, "/ttl"),
            concat!($at, "/pollInterval"), concat!($at, "/pollIntervalMs"),
        ] $($rest)*)
    };
    // Messages of a sampling request.
    (@ [$($done:expr,)*] sampling $at:literal; $($rest:tt)*) => {
        places!(@ [$($done,)*
            concat!($at, "/messages/*/role"), concat!($at, "/includeContext"), concat!($at, "/maxTokens"),
            concat!($at, "/modelPreferences/hints/*/name"), concat!($at, "/tools/*/name"), concat!($at, "/toolChoice/mode"),
            concat!($at, "/messages/*/content/type"), concat!($at, "/messages/*/content/mimeType"),
            concat!($at, "/messages/*/content/id"), concat!($at, "/messages/*/content/name"),
            concat!($at, "/messages/*/content/toolUseId"), concat!($at, "/messages/*/content/*/type"),
            concat!($at, "/messages/*/content/*/mimeType"), concat!($at, "/messages/*/content/*/id"),
            concat!($at, "/messages/*/content/*/name"), concat!($at, "/messages/*/content/*/toolUseId"),
            concat!($at, "/messages/*/content/*/content/*/type"),
            concat!($at, "/messages/*/content/*/content/*/mimeType"),
            concat!($at, "/messages/*/content/*/content/*/uri"),
        ] $($rest)*)
    };
    // `inputRequests` of 2026-07-28 and the state that goes with them.
    (@ [$($done:expr,)*] asks; $($rest:tt)*) => {
        places!(@ [$($done,)* "/requestState", "/inputRequests/*/method", "/inputRequests/*/params/mode",]
            schema "/inputRequests/*/params/requestedSchema"; sampling "/inputRequests/*/params"; $($rest)*)
    };
    // `inputResponses`; their content is what a person or model wrote, whatever its members are called.
    (@ [$($done:expr,)*] answers; $($rest:tt)*) => {
        places!(@ [$($done,)* "/requestState", "/inputResponses/*/action", "/inputResponses/*/role",
            "/inputResponses/*/stopReason",] $($rest)*)
    };
    // A task of the extension, with what came of it or what it waits for.
    (@ [$($done:expr,)*] detailed; $($rest:tt)*) => {
        places!(@ [$($done,)* "/result/resultType", "/result/isError", "/result/contents/*/uri",
            "/result/contents/*/mimeType", "/result/messages/*/role", "/result/action", "/error/code",]
            asks; task ""; block "/result/content/*"; block "/result/messages/*/content"; $($rest)*)
    };
    (@ [$($done:expr,)*] params; $($rest:tt)*) => {
        places!(@ [$($done,)*
            "/_meta/io.modelcontextprotocol~1clientCapabilities/extensions/**",
            "/_meta/io.modelcontextprotocol~1clientInfo/version", "/_meta/io.modelcontextprotocol~1logLevel",
            "/_meta/io.modelcontextprotocol~1protocolVersion", "/_meta/io.modelcontextprotocol~1related-task/taskId",
            "/_meta/io.modelcontextprotocol~1subscriptionId", "/_meta/progressToken", "/_meta/traceparent",
        ] $($rest)*)
    };
    (@ [$($done:expr,)*] result; $($rest:tt)*) => {
        places!(@ [$($done,)* "/resultType", "/cacheScope", "/ttlMs", "/nextCursor",
            "/_meta/io.modelcontextprotocol~1related-task/taskId", "/_meta/io.modelcontextprotocol~1serverInfo/version",
            "/_meta/io.modelcontextprotocol~1subscriptionId", "/_meta/traceparent",
        ] $($rest)*)
    };
    ($first:ident $($rest:tt)*) => { places!(@ [] $first $($rest)*) };
}

type Places = &'static [&'static str];

pub(super) const ANY_PARAMS: Places = places![params;];
pub(super) const ANY_RESULT: Places = places![result;];

pub(super) const CALL: Places = places![params; answers; at "/name", "/task/ttl";];
pub(super) const CALLED: Places = places![result; asks; block "/content/*"; at "/isError"; task ""; task "/task";];
pub(super) const CALLED_BINARY: Places = &["/content/*/data", "/content/*/resource/blob"];
pub(super) const CANCELLED: Places = places![params; at "/requestId";];
pub(super) const COMPLETE: Places = places![params; at "/ref/type", "/ref/name", "/ref/uri", "/argument/name";];
pub(super) const COMPLETED: Places = places![result; at "/completion/total", "/completion/hasMore";];
pub(super) const CONTENTS: Places = places![result; asks; at "/contents/*/uri", "/contents/*/mimeType";];
pub(super) const CONTENTS_BINARY: Places = &["/contents/*/blob"];
pub(super) const DETAILED_TASK: Places = places![result; detailed;];
pub(super) const DETAILED_TASK_NOTICE: Places = places![params; detailed; at "/ttlMs";];
pub(super) const DETAILED_TASK_BINARY: Places = &[
    "/result/content/*/data",
    "/result/content/*/resource/blob",
    "/result/contents/*/blob",
    "/result/messages/*/content/data",
    "/result/messages/*/content/resource/blob",
];
pub(super) const DISCOVERED: Places =
    places![result; at "/supportedVersions/*", "/capabilities/extensions/**", "/serverInfo/version";];
pub(super) const ELICIT: Places =
    places![params; at "/mode", "/elicitationId", "/task/ttl"; schema "/requestedSchema";];
pub(super) const ELICITATION_COMPLETE: Places = places![params; at "/elicitationId";];
pub(super) const ELICITED: Places = places![result; at "/action"; task "/task";];
pub(super) const INITIALIZE: Places =
    places![params; at "/protocolVersion", "/capabilities/extensions/**", "/clientInfo/version"; icons "/clientInfo";];
pub(super) const INITIALIZED: Places =
    places![result; at "/protocolVersion", "/capabilities/extensions/**", "/serverInfo/version"; icons "/serverInfo";];
pub(super) const LISTEN: Places =
    places![params; at "/notifications/resourceSubscriptions/*", "/notifications/taskIds/*";];
pub(super) const LOGGED: Places = places![params; at "/level";];
pub(super) const PAGE: Places = places![params; at "/cursor";];
pub(super) const PROGRESS: Places = places![params; at "/progressToken", "/progress", "/total";];
pub(super) const PROMPT: Places = places![result; asks; at "/messages/*/role"; block "/messages/*/content";];
pub(super) const PROMPT_BINARY: Places = &["/messages/*/content/data", "/messages/*/content/resource/blob"];
pub(super) const PROMPTS: Places =
    places![result; at "/prompts/*/name", "/prompts/*/arguments/*/name"; icons "/prompts/*";];
pub(super) const READ: Places = places![params; answers; at "/uri";];
pub(super) const RESOURCES: Places = places![result; at "/resources/*/uri", "/resources/*/mimeType", "/resources/*/size";
        hints "/resources/*"; icons "/resources/*";];
pub(super) const SAMPLE: Places = places![params; at "/task/ttl"; sampling ""; schema "/tools/*/inputSchema";];
pub(super) const SAMPLE_BINARY: Places = &[
    "/messages/*/content/data",
    "/messages/*/content/*/data",
    "/messages/*/content/*/content/*/data",
    "/messages/*/content/*/content/*/resource/blob",
];
pub(super) const SAMPLED: Places =
    places![result; at "/role", "/model", "/stopReason"; task "/task"; sampled "/content"; sampled "/content/*";];
pub(super) const SAMPLED_BINARY: Places = &["/content/data", "/content/*/data"];
pub(super) const SET_LEVEL: Places = places![params; at "/level";];
pub(super) const TASK: Places = places![result; task "";];
pub(super) const TASK_NOTICE: Places = places![params; task ""; at "/ttlMs";];
pub(super) const TASK_ID: Places = places![params; at "/taskId";];
pub(super) const TASK_UPDATE: Places = places![params; answers; at "/taskId";];
pub(super) const TASKS: Places = places![result; task "/tasks/*";];
pub(super) const TEMPLATES: Places = places![result; at "/resourceTemplates/*/uriTemplate", "/resourceTemplates/*/mimeType";
        hints "/resourceTemplates/*"; icons "/resourceTemplates/*";];
pub(super) const TOOLS: Places = places![result; at "/tools/*/name", "/tools/*/execution/taskSupport";
    icons "/tools/*"; schema "/tools/*/inputSchema"; schema "/tools/*/outputSchema";];
pub(super) const UPDATED: Places = places![params; at "/uri";];
