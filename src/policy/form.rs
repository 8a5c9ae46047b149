//! The JSON Schema (2020-12) of policy files, for editors. The keys come from the tables the reader checks with; their values
//! are described here.

use serde_json::{Map, Value, json};

use super::cases::{CALL, CLIENT, EXPECT, HEADERS, TEST, UNTRUSTED, WOULD};
use super::describe::DESCRIBE;
use super::limit::LIMIT;
use super::raw::{EXCEPT, FILE, GRANT, MASK, POLICY, RULE};
use super::table::Keys;
use crate::mask::Entity;
use crate::mcp::Revision;

/// A key of a table, the schema of its value, and its description.
type Row = (&'static str, fn() -> Value, &'static str);

const FILE_ROWS: &[Row] = &[
    ("policy", || table(&POLICY, POLICY_ROWS, &[]), "What holds for the rules of this file."),
    (
        "scopes",
        || json!({ "type": "object", "additionalProperties": texts() }),
        "A broader scope, and the scopes holding it includes.",
    ),
    ("rule", || list(&rule()), "Who may do what. What no rule allows is denied, and a deny wins over every allow."),
    ("mask", || list(&mask()), "What is taken out of arguments and results."),
    (
        "describe",
        || list(&table(&DESCRIBE, DESCRIBE_ROWS, &["tool"])),
        "Words of your own in place of what the upstream says of a tool.",
    ),
    ("test", || list(&table(&TEST, TEST_ROWS, &["name", "call", "expect"])), "A call, and what is to become of it."),
];

const POLICY_ROWS: &[Row] = &[
    ("name", text, "A name for people."),
    (
        "mode",
        || words(&["enforce", "shadow"], "enforce"),
        "Whether rules take effect, or only record what they would do.",
    ),
    ("shadow_until", || json!({ "type": "string" }), "When rules in shadow come into force."),
    ("baseline", || json!({ "enum": ["allow_listed"] }), "What passes while every rule of the server is in shadow."),
    (
        "list",
        || words(&["acquirable", "allowed", "all"], "acquirable"),
        "What lists show: what a caller could call, now or with wider scopes; only what it may call now; or everything no rule denies.",
    ),
    ("on_deny", on_deny, "How a denial is answered that does not hide the tool."),
];

const RULE_ROWS: &[Row] = &[
    ("id", id, "Unique per server; named in denials, metrics and audit."),
    ("effect", || words(&["allow", "deny"], "allow"), "What it does where everything in it holds."),
    ("tools", texts, "Tools by name, with `*`, `?` and `{a,b}`."),
    ("resources", texts, "Resources by URI; `*` does not cross a `/`, `**` does."),
    ("resource_templates", texts, "Resource templates by their URI template, as for resources."),
    ("prompts", texts, "Prompts by name, as for tools."),
    ("methods", texts, "JSON-RPC methods the rule is for; alone, it opens methods that are closed otherwise."),
    ("scopes", texts, "Scopes the caller must all hold; who lacks one is asked for all of them at once."),
    ("scopes_any", texts, "Scopes of which the caller must hold one."),
    ("issuer", texts, "Names of issuers in proxy.toml; with several issuers every allow rule needs it."),
    ("step_up", || flag(true), "Whether a caller may be asked for wider scopes because of this rule."),
    ("on_deny", on_deny, "How this deny rule answers where it does not hide the tool."),
    ("reason", || json!({ "type": "string", "minLength": 1, "maxLength": 500 }), "Your words in a denial."),
    (
        "args",
        any_object,
        "What arguments must be, by name, dotted path or JSON Pointer; `additional = true` lets others pass.",
    ),
    ("when", || json!({ "type": "string", "minLength": 1, "maxLength": 4096 }), "A CEL expression that must be true."),
    (
        "limit",
        || table(&LIMIT, LIMIT_ROWS, &[]),
        "How often and how many at once it lets pass; more is answered with 429.",
    ),
    ("timeout", text, "How long the upstream may take for a call it allows, as in \"10s\"."),
    ("anonymous", || flag(false), "Whether it also lets pass who has no token."),
    (
        "mode",
        || words(&["enforce", "shadow"], "enforce"),
        "Whether the rule takes effect, or only records what it would do.",
    ),
];

const LIMIT_ROWS: &[Row] = &[
    ("rate", text, "Calls in a time, as in \"5/min\"."),
    ("burst", || json!({ "type": "integer", "minimum": 1 }), "How many of them may come at once; all, if not said."),
    ("concurrency", || json!({ "type": "integer", "minimum": 1 }), "How many may run at the same time."),
    (
        "per",
        || json!({ "type": ["string", "array"] }),
        "Whose calls are counted together: `subject`, `client`, `tool`, or several of them.",
    ),
];

const DESCRIBE_ROWS: &[Row] = &[
    ("tool", text, "The tool's exact name."),
    ("title", || json!({ "type": "string", "minLength": 1, "maxLength": 200 }), "What is shown as its title."),
    (
        "description",
        || json!({ "type": "string", "minLength": 1, "maxLength": 8192 }),
        "What is shown as its description.",
    ),
];

const MASK_ROWS: &[Row] = &[
    ("id", id, "Unique per server; named in refusals, metrics and audit."),
    (
        "on",
        || json!({ "type": "array", "minItems": 1, "items": { "enum": ["arguments", "result"] } }),
        "Which way it looks: on the way up, on the way back, or both.",
    ),
    (
        "entities",
        || {
            let names: Vec<&str> = Entity::ALL.iter().map(|entity| entity.name()).collect();
            json!({ "type": "array", "minItems": 1, "items": { "enum": names } })
        },
        "Values with a shape of their own.",
    ),
    ("pattern", text, "A regular expression of the Rust `regex` crate, instead of entities; it needs a `label`."),
    (
        "label",
        || json!({ "type": "string", "pattern": "^[A-Z][A-Z0-9_]{0,63}$" }),
        "What stands in place of a match of the pattern.",
    ),
    ("near", texts, "Words one of which must stand before a match of the pattern, on the line or in the JSON key."),
    ("validate", text, "The check digit a match of the pattern must have."),
    ("allow", texts, "Values that are left alone."),
    (
        "action",
        || words(&["redact", "mask", "hash", "tokenize", "block", "report"], "redact"),
        "Write the entity's name, keep some characters, write a keyed hash or a pseudonym that opens again, refuse the message, or only record.",
    ),
    ("keep_first", kept, "Characters to keep at the start, with `action = \"mask\"`."),
    ("keep_last", kept, "Characters to keep at the end, with `action = \"mask\"`."),
    ("char", || json!({ "type": "string", "minLength": 1, "maxLength": 1, "default": "*" }), "The mask character."),
    (
        "scope",
        || words(&["principal", "server"], "principal"),
        "Among whom the same value has the same hash, with `action = \"hash\"`.",
    ),
    (
        "restore",
        || list(&table(&GRANT, GRANT_ROWS, &["tool", "args"])),
        "Where pseudonyms open again, with `action = \"tokenize\"`.",
    ),
    ("tools", texts, "Calls of these tools alone are masked, with `*`, `?` and `{a,b}`."),
    ("prompts", texts, "Uses of these prompts alone are masked, as for tools."),
    ("resources", texts, "Uses of these resources alone are masked; `*` does not cross a `/`, `**` does."),
    ("unless_scopes", texts, "A caller that holds all of these scopes itself sees the values."),
    ("unless_groups", texts, "A caller in one of these groups (claim `groups`) sees the values."),
    ("except", || list(&table(&EXCEPT, EXCEPT_ROWS, &[])), "What is left alone."),
    ("keys", treatment, "What happens to a value in a key of an object."),
    ("numbers", treatment, "What happens to a value in a JSON number."),
    (
        "uris",
        || words(&["seal", "refuse", "pass"], "seal"),
        "What happens to the URI of a resource or link that holds a value.",
    ),
    ("blobs", || words(&["pass", "block"], "pass"), "What happens to binary data, which nothing is found in."),
];

const EXCEPT_ROWS: &[Row] = &[
    ("tools", texts, "In calls of these tools, byte for byte."),
    ("prompts", texts, "In uses of these prompts."),
    ("resources", texts, "In uses of these resources."),
    (
        "fields",
        texts,
        "JSON Pointers into the data of a call; `*` is any one member or item. All of it if there is none.",
    ),
];

const GRANT_ROWS: &[Row] = &[
    ("tool", text, "The one tool."),
    ("args", texts, "JSON Pointers into its arguments; `*` is any one member or item."),
    ("entities", texts, "Whose pseudonyms open there; those of the mask if there is none."),
];

const TEST_ROWS: &[Row] = &[
    ("name", text, "A sentence that is true while the test passes."),
    ("claims", any_object, "The claims of the caller's token, `sub` and `scope` among them."),
    ("issuer", text, "The caller's issuer by its name in proxy.toml; needed where a server has several."),
    ("scopes", any_texts, "The caller's scopes, instead of `claims.scope`."),
    ("anonymous", || flag(false), "Whether the caller has no token, instead of `claims` and `scopes`."),
    ("client", || table(&CLIENT, CLIENT_ROWS, &["ip"]), "The client that connects."),
    ("untrusted", untrusted, "What the client says of itself; nothing but the protocol revision if it is not here."),
    ("now", || json!({ "type": "string", "default": "2026-01-05T12:00:00Z" }), "When the call happens."),
    (
        "approved",
        || json!({ "type": "array", "items": { "type": "object", "required": ["name"] } }),
        "Definitions of tools that count as approved, in place of the server's lock.",
    ),
    ("call", || one_of_call(table(&CALL, CALL_ROWS, &[])), "What is asked for."),
    (
        "definitions",
        || json!({ "type": "array", "items": { "type": ["string", "object"] } }),
        "What the upstream lists, by name or in full, for `call = { list = … }`.",
    ),
    ("result", || json!({ "type": ["string", "object"] }), "What the upstream answers: a text, or the whole result."),
    ("expect", || table(&EXPECT, EXPECT_ROWS, &[]), "What is to become of it."),
];

const CLIENT_ROWS: &[Row] = &[("ip", text, "Its address.")];

const UNTRUSTED_ROWS: &[Row] = &[
    ("name", text, "The name in its `clientInfo`."),
    ("version", text, "The version in its `clientInfo`."),
    ("protocol_version", revision, "The protocol revision of its request."),
    ("headers", || table(&HEADERS, HEADER_ROWS, &[]), "The headers of its request that rules see."),
];

const HEADER_ROWS: &[Row] = &[
    ("accept-language", text, "`Accept-Language`."),
    ("origin", text, "`Origin`."),
    ("referer", text, "`Referer`."),
    ("user-agent", text, "`User-Agent`."),
];

const CALL_ROWS: &[Row] = &[
    ("tool", text, "The tool that is called."),
    ("resource", text, "The resource that is read."),
    ("resource_template", text, "The resource template that is completed."),
    ("prompt", text, "The prompt that is fetched."),
    ("method", text, "A method that is about no subject, such as what a server asks of its client."),
    ("list", || json!({ "enum": ["tools", "resources", "resource_templates", "prompts"] }), "What is listed."),
    ("args", any_object, "The arguments of the tool or prompt."),
];

const EXPECT_ROWS: &[Row] = &[
    ("decision", || json!({ "enum": ["allow", "deny", "step_up"] }), "What is decided."),
    ("rule", text, "The rule that decides, or the mask that blocks."),
    ("scopes", any_texts, "Every scope a step-up asks for."),
    ("arguments", any_object, "The arguments as the upstream gets them."),
    ("result", || json!({ "type": ["string", "object"] }), "The result as the caller gets it."),
    ("listed", any_texts, "The names a list shows."),
    ("would", || table(&WOULD, WOULD_ROWS, &["decision"]), "What is decided once rules in shadow are enforced."),
];

const WOULD_ROWS: &[Row] = &[
    ("decision", || json!({ "enum": ["allow", "deny", "step_up"] }), "What would be decided."),
    ("rule", text, "The rule that would decide."),
];

/// The schema.
pub(crate) fn schema() -> Value {
    let mut schema = table(&FILE, FILE_ROWS, &[]);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Portcullis: policy file".into();
    schema
}

/// The schema of a table with exactly the keys its reader knows.
fn table(keys: &Keys, rows: &[Row], required: &[&str]) -> Value {
    let property = |key: &&'static str| {
        let row = rows.iter().find(|(name, ..)| name == key);
        let schema = row.map_or(Value::Bool(true), |(_, schema, sentence)| {
            let mut schema = schema();
            schema["description"] = (*sentence).into();
            schema
        });
        ((*key).to_owned(), schema)
    };
    let properties: Map<String, Value> = keys.known.iter().map(property).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The schema of a rule, which lists at least one thing.
fn rule() -> Value {
    let mut schema = table(&RULE, RULE_ROWS, &["id"]);
    let about = ["tools", "resources", "resource_templates", "prompts", "methods"];
    schema["anyOf"] = about.iter().map(|key| json!({ "required": [key] })).collect();
    schema
}

/// The schema of a mask, which has entities, or a pattern and its label.
fn mask() -> Value {
    let mut schema = table(&MASK, MASK_ROWS, &["id", "on"]);
    schema["oneOf"] = json!([{ "required": ["entities"] }, { "required": ["pattern", "label"] }]);
    schema
}

fn one_of_call(mut schema: Value) -> Value {
    let about = CALL.known.iter().filter(|key| **key != "args");
    schema["oneOf"] = about.map(|key| json!({ "required": [key] })).collect();
    schema
}

/// The schema of `untrusted`, with name and version together or not at all.
fn untrusted() -> Value {
    let mut schema = table(&UNTRUSTED, UNTRUSTED_ROWS, &[]);
    schema["dependentRequired"] = json!({ "name": ["version"], "version": ["name"] });
    schema
}

fn revision() -> Value {
    let [.., newest] = Revision::SERVED;
    words(&Revision::SERVED.map(Revision::as_str), newest.as_str())
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn id() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" })
}

fn texts() -> Value {
    json!({ "type": "array", "minItems": 1, "items": text() })
}

fn any_texts() -> Value {
    json!({ "type": "array", "items": text() })
}

fn any_object() -> Value {
    json!({ "type": "object" })
}

fn flag(default: bool) -> Value {
    json!({ "type": "boolean", "default": default })
}

fn kept() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": 64, "default": 0 })
}

fn treatment() -> Value {
    words(&["mask", "refuse", "pass"], "mask")
}

fn words(words: &[&str], default: &str) -> Value {
    json!({ "enum": words, "default": default })
}

fn on_deny() -> Value {
    words(&["tool_error", "error", "http_403"], "tool_error")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jsonschema::Validator;
    use serde_json::Value;
    use toml::de::DeTable;

    use super::{
        CALL, CALL_ROWS, CLIENT, CLIENT_ROWS, DESCRIBE, DESCRIBE_ROWS, EXCEPT, EXCEPT_ROWS, EXPECT, EXPECT_ROWS, FILE,
        FILE_ROWS, GRANT, GRANT_ROWS, HEADER_ROWS, HEADERS, LIMIT, LIMIT_ROWS, MASK, MASK_ROWS, POLICY, POLICY_ROWS,
        RULE, RULE_ROWS, TEST, TEST_ROWS, UNTRUSTED, UNTRUSTED_ROWS, WOULD, WOULD_ROWS, schema,
    };
    use crate::config::Problems;
    use crate::policy::load::from_texts;
    use crate::policy::table::json_of;

    fn validator() -> Validator {
        let schema = schema();
        assert!(jsonschema::meta::is_valid(&schema));
        jsonschema::validator_for(&schema).unwrap()
    }

    fn json(text: &str) -> Value {
        json_of(&toml::de::DeValue::Table(DeTable::parse(text).unwrap().into_inner())).unwrap()
    }

    #[test]
    fn accepts_the_shipped_policies() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let value = json(&std::fs::read_to_string(&path).unwrap());
            let validator = validator();
            let errors: Vec<String> =
                validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        }
    }

    /// Each is refused by the reader as well.
    #[test]
    fn refuses_what_the_reader_refuses() {
        let validator = validator();
        for wrong in [
            "rules = []",
            "policy = { mode = \"shadow?\" }",
            "policy = { list = \"everything\" }",
            "policy = { on_deny = 403 }",
            "scopes = { a = \"b\" }",
            "scopes = { a = [] }",
            "[[rule]]\ntools = [\"a\"]",
            "[[rule]]\nid = \"a b\"\ntools = [\"a\"]",
            "[[rule]]\nid = \"a\"",
            "[[rule]]\nid = \"a\"\ntools = []",
            "[[rule]]\nid = \"a\"\ntools = \"a\"",
            "[[rule]]\nid = \"a\"\ntools = [\"\"]",
            "[[rule]]\nid = \"a\"\ntools = [\"a\"]\neffect = \"permit\"",
            "[[rule]]\nid = \"a\"\ntools = [\"a\"]\nscope = [\"b\"]",
            "[[rule]]\nid = \"a\"\ntools = [\"a\"]\nstep_up = \"no\"",
            "[[mask]]\nid = \"a\"\nentities = [\"SECRET\"]",
            "[[mask]]\nid = \"a\"\non = [\"results\"]\nentities = [\"SECRET\"]",
            "[[mask]]\nid = \"a\"\non = [\"result\"]",
            "[[mask]]\nid = \"a\"\non = [\"result\"]\nentities = [\"EMAIL\"]",
            "[[mask]]\nid = \"a\"\non = [\"result\"]\npattern = 'a+'",
            "[[mask]]\nid = \"a\"\non = [\"result\"]\npattern = 'a+'\nlabel = \"a\"",
            "[[mask]]\nid = \"a\"\non = [\"result\"]\nentities = [\"SECRET\"]\naction = \"delete\"",
            "[[mask]]\nid = \"a\"\non = [\"result\"]\nentities = [\"SECRET\"]\nkeep_last = 99",
            "[[test]]\nname = \"a\"",
            "[[test]]\nname = \"a\"\nscopes = []\ncall = {}\nexpect = { decision = \"deny\" }",
            "[[test]]\nname = \"a\"\nscopes = []\ncall = { tool = \"a\", prompt = \"b\" }\nexpect = { decision = \"deny\" }",
            "[[test]]\nname = \"a\"\nscopes = []\ncall = { list = \"tool\" }\nexpect = { decision = \"deny\" }",
            "[[test]]\nname = \"a\"\nscopes = []\ncall = { tool = \"a\" }\nexpect = { decision = \"denied\" }",
            "[[test]]\nname = \"a\"\nscopes = []\nclient = \"10.2.3.4\"\ncall = { tool = \"a\" }\nexpect = { decision = \"deny\" }",
            "[[test]]\nname = \"a\"\nscopes = []\nclient = {}\ncall = { tool = \"a\" }\nexpect = { decision = \"deny\" }",
            "[[test]]\nname = \"a\"\nscopes = []\nuntrusted = { name = \"b\" }\ncall = { tool = \"a\" }\nexpect = { decision = \"deny\" }",
            "[[test]]\nname = \"a\"\nscopes = []\nuntrusted = { protocol_version = \"2024-11-05\" }\ncall = { tool = \"a\" }\nexpect = { decision = \"deny\" }",
            "[[test]]\nname = \"a\"\nscopes = []\nuntrusted = { headers = { cookie = \"a\" } }\ncall = { tool = \"a\" }\nexpect = { decision = \"deny\" }",
        ] {
            assert!(!validator.is_valid(&json(wrong)), "{wrong}");
            let mut problems = Problems::new();
            from_texts(&[wrong], &mut problems);
            assert!(problems.has_errors(), "{wrong}");
        }
    }

    /// A key that moves into a reader's table must be told of here.
    #[test]
    fn tells_of_every_key() {
        for (keys, rows) in [
            (&FILE, FILE_ROWS),
            (&POLICY, POLICY_ROWS),
            (&RULE, RULE_ROWS),
            (&MASK, MASK_ROWS),
            (&DESCRIBE, DESCRIBE_ROWS),
            (&EXCEPT, EXCEPT_ROWS),
            (&GRANT, GRANT_ROWS),
            (&TEST, TEST_ROWS),
            (&LIMIT, LIMIT_ROWS),
            (&CLIENT, CLIENT_ROWS),
            (&UNTRUSTED, UNTRUSTED_ROWS),
            (&HEADERS, HEADER_ROWS),
            (&CALL, CALL_ROWS),
            (&EXPECT, EXPECT_ROWS),
            (&WOULD, WOULD_ROWS),
        ] {
            for key in keys.known {
                assert!(rows.iter().any(|(name, ..)| name == key), "{}: `{key}`", keys.table);
            }
            for (name, ..) in rows {
                assert!(keys.known.contains(name), "{}: `{name}` is no key", keys.table);
            }
        }
    }
}
