//! The estimated cost of a tool list in tokens, in full and for each set of scopes of a policy.

use serde_json::{Map, Value, json};

use super::super::{Exit, Streams};
use super::Listed;
use crate::clock::Timestamp;
use crate::config::{Config, Problems, Server};
use crate::mcp::SubjectKind;
use crate::policy::{self, Context};
use crate::trial;

/// Bytes of compact JSON to one token, as a rule of thumb for English and schemas.
const BYTES_PER_TOKEN: usize = 4;

const HOW: &str = "estimated as one token for every 4 bytes of name, title, description and input schema in compact JSON; \
                   tokenizers differ by a third or so either way";

/// What a model reads of a definition, in tokens.
fn tokens(tool: &Listed) -> usize {
    let read = ["name", "title", "description", "inputSchema"];
    let root = tool.document.root();
    let parts = read.iter().filter_map(|part| Some((*part, root.get(part)?.to_value())));
    let compact = Value::Object(parts.map(|(part, value)| (part.to_owned(), value)).collect::<Map<_, _>>());
    compact.to_string().len().div_ceil(BYTES_PER_TOKEN)
}

pub(super) fn print(
    config: &Config,
    server: &Server,
    tools: &[Listed],
    as_json: bool,
    streams: &mut Streams<'_>,
) -> Result<Exit, Exit> {
    let mut problems = Problems::new();
    let loaded = policy::load(&config.policy_files(server), &mut problems);
    if problems.has_errors() {
        streams.problems(&problems);
        return Err(Exit::Config);
    }
    let issuer = server.issuers.first().map(AsRef::as_ref).unwrap_or_default();
    let context = Context { server: &server.name, ..Context::at(Timestamp::now()) };
    let mut rows = vec![("everything".to_owned(), tools.len(), tools.iter().map(tokens).sum::<usize>())];
    for scopes in loaded.policy.roles() {
        let scopes = scopes.join(" ");
        let claims = json!({ "sub": "someone", "scope": scopes });
        let claims = claims.as_object().cloned().unwrap_or_default();
        let Ok(caller) = trial::caller(claims, trial::IssuedBy::Named(issuer)) else { continue };
        let shown: Vec<&Listed> =
            tools.iter().filter(|tool| loaded.policy.lists(&caller, SubjectKind::Tool, &tool.name, &context)).collect();
        let name = if scopes.is_empty() { "no scope".to_owned() } else { scopes };
        rows.push((name, shown.len(), shown.into_iter().map(tokens).sum()));
    }
    if as_json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|(role, tools, tokens)| json!({ "role": role, "tools": tools, "tokens": tokens }))
            .collect();
        streams.print(json!({ "schema_version": 1, "server": server.name, "estimate": HOW, "roles": rows }));
        return Ok(Exit::Done);
    }
    let width = rows.iter().map(|(role, ..)| role.len()).max().unwrap_or_default();
    for (role, tools, tokens) in rows {
        streams.print(format_args!("{role:width$}  {tools:>4} tools  {tokens:>7} tokens"));
    }
    streams.message(HOW);
    Ok(Exit::Done)
}
