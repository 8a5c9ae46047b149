//! The variables of `when`, their fields, and the functions.

/// The variables with their fields; empty if the fields are not fixed.
pub(super) const VARIABLES: &[(&str, &[&str])] = &[
    ("args", &[]),
    ("claims", &[]),
    ("client", &["ip", "id"]),
    ("now", &["unix", "hour", "weekday"]),
    ("request", &["method"]),
    ("server", &[]),
    ("tool", &["name", "annotations"]),
    ("untrusted", &["name", "version", "protocol_version", "headers"]),
];

/// Fields of `tool.annotations` (MCP 2025-11-25, `ToolAnnotations`).
pub(super) const ANNOTATIONS: &[&str] = &["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];

/// The functions.
pub(super) const FUNCTIONS: &[&str] =
    &["contains", "double", "endsWith", "int", "matches", "size", "startsWith", "string", "type"];

/// The macros, which are written like functions.
pub(super) const MACROS: &[&str] = &["all", "exists", "exists_one", "has"];

/// The fields of a variable; `None` if there is no such variable.
pub(super) fn fields(variable: &str) -> Option<&'static [&'static str]> {
    VARIABLES.iter().find(|(name, _)| *name == variable).map(|(_, fields)| *fields)
}
