//! Arguments that a tool's schema wants repeated in `Mcp-Param-*` headers (2026-07-28, "Custom Parameter Headers").

use crate::json::{Kind, Value};

/// The schema keyword that declares a mirrored argument.
const KEYWORD: &str = "x-mcp-header";
/// Most arguments one tool can mirror: a request has no more headers than this.
const MOST: usize = 100;
/// Longest pointer to one; those below a longer one are not reached.
const LONGEST: usize = 1024;

/// One mirrored argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// What follows `Mcp-Param-` in the field name.
    pub header: Box<str>,
    /// RFC 6901, below `arguments`.
    pub pointer: Box<str>,
}

/// A schema no client can follow: its tool must not be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mirrored parameter is declared where or how none can be")]
pub struct InvalidMirror;

/// Every mirrored argument of an input schema: named by a token, once, primitive, and reached through `properties` alone.
pub fn mirrors(schema: Value<'_>) -> Result<Vec<Mirror>, InvalidMirror> {
    let raw = schema.raw();
    if memchr::memmem::find(raw, KEYWORD.as_bytes()).is_none() && memchr::memchr(b'\\', raw).is_none() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    visit(schema, Some(""), &mut found)?;
    for (at, mirror) in found.iter().enumerate() {
        if found[..at].iter().any(|other| other.header.eq_ignore_ascii_case(&mirror.header)) {
            return Err(InvalidMirror);
        }
    }
    Ok(found)
}

/// Visits a schema at `pointer`, or one that no chain of `properties` leads to.
fn visit(schema: Value<'_>, pointer: Option<&str>, found: &mut Vec<Mirror>) -> Result<(), InvalidMirror> {
    for member in schema.members() {
        match (&*member.name(), pointer) {
            (KEYWORD, Some(pointer)) if found.len() < MOST => found.push(declared(schema, member.value, pointer)?),
            (KEYWORD, _) => return Err(InvalidMirror),
            ("const" | "default" | "enum" | "examples", _) => {}
            ("properties", pointer) => {
                for property in member.value.members() {
                    let name = property.name();
                    let near = pointer.filter(|pointer| pointer.len() + name.len() < LONGEST);
                    let below = near.map(|near| format!("{near}/{}", name.replace('~', "~0").replace('/', "~1")));
                    visit(property.value, below.as_deref(), found)?;
                }
            }
            ("$defs" | "definitions" | "dependentSchemas" | "patternProperties", _) => {
                for named in member.value.members() {
                    visit(named.value, None, found)?;
                }
            }
            _ => nested(member.value, found)?,
        }
    }
    Ok(())
}

/// Schemas that stand in other keywords, alone or in a list.
fn nested(value: Value<'_>, found: &mut Vec<Mirror>) -> Result<(), InvalidMirror> {
    match value.kind() {
        Kind::Object => visit(value, None, found),
        Kind::Array => value.items().try_for_each(|item| nested(item, found)),
        _ => Ok(()),
    }
}

fn declared(schema: Value<'_>, name: Value<'_>, pointer: &str) -> Result<Mirror, InvalidMirror> {
    let header = name.as_str().filter(|name| is_token(name)).ok_or(InvalidMirror)?;
    let kind = schema.get("type").and_then(|kind| kind.as_str()).ok_or(InvalidMirror)?;
    if pointer.is_empty() || !matches!(&*kind, "boolean" | "integer" | "string") {
        return Err(InvalidMirror);
    }
    Ok(Mirror { header: header.into(), pointer: pointer.into() })
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{InvalidMirror, Mirror, mirrors};
    use crate::json::{Document, Limits};

    fn read(schema: &'static str) -> Result<Vec<Mirror>, InvalidMirror> {
        mirrors(Document::parse(Bytes::from_static(schema.as_bytes()), &Limits::ANSWER).unwrap().root())
    }

    #[test]
    fn finds_primitive_arguments_reached_through_properties() {
        let schema = r#"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},
            "a/b":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
            "x-mcp-header":{"type":"string"}},"default":{"x-mcp-header":"no schema"}}"#;
        let found: Vec<_> = read(schema).unwrap().into_iter().map(|one| (one.header, one.pointer)).collect();
        assert_eq!(found, [("Region".into(), "/region".into()), ("N".into(), "/a~1b/n".into())]);
    }

    /// Before, each was found under a pointer of its own as long as all names above it: a schema of a few megabytes took
    /// all memory there is.
    #[test]
    fn refuses_more_than_headers_can_say() {
        let property = |n: usize| format!(r#""p{n}":{{"type":"string","x-mcp-header":"H{n}"}}"#);
        let schema = |name: &str, count: usize| {
            let all: Vec<_> = (0..count).map(property).collect();
            let below = format!(r#"{{"type":"object","properties":{{{}}}}}"#, all.join(","));
            Document::parse(format!(r#"{{"properties":{{"{name}":{below}}}}}"#).into(), &Limits::ANSWER).unwrap()
        };
        assert_eq!(mirrors(schema("a", 100).root()).unwrap().len(), 100);
        assert_eq!(mirrors(schema("a", 101).root()), Err(InvalidMirror));
        assert_eq!(mirrors(schema(&"a".repeat(2000), 1).root()), Err(InvalidMirror));
        assert_eq!(mirrors(schema(&"a".repeat(100_000), 50_000).root()), Err(InvalidMirror));
    }

    #[test]
    fn refuses_what_no_client_can_follow() {
        for schema in [
            r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"a b"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"Q\r\nAuthorization: x"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":7}}}"#,
            r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":["string","null"],"x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
            r#"{"type":"string","x-mcp-header":"Root"}"#,
            r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}"#,
            r#"{"properties":{"a":{"oneOf":[{"type":"string","x-mcp-header":"A"}]}}}"#,
            r##"{"$defs":{"d":{"type":"string","x-mcp-header":"A"}},"properties":{"a":{"$ref":"#/$defs/d"}}}"##,
            r#"{"if":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}"#,
        ] {
            assert_eq!(read(schema), Err(InvalidMirror), "{schema}");
        }
    }
}
