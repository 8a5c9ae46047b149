//! Requests and results as a client and a server would write them, for testing a policy without either.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::admit::{META_CAPABILITIES, META_VERSION};
use super::headers::{METHOD, NAME, PROTOCOL_VERSION, encode_value};
use super::methods::{self, METHODS, Method, SubjectKind};
use super::{Era, Revision};

/// The JSON-RPC id of every composed request.
pub(crate) const ID: i64 = 1;

/// What uses a thing of that kind: a call, a reading, and for a template the completion of what it leaves open.
pub(crate) fn use_of(kind: SubjectKind) -> Option<&'static Method> {
    methods::find(match kind {
        SubjectKind::ResourceTemplate => "completion/complete",
        _ => methods::use_of(kind),
    })
}

/// What lists the things of a kind.
pub(crate) fn list_of(kind: SubjectKind) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.list.is_some_and(|list| list.kind == kind))
}

/// Head and body of a request: the use of `name` with `args`, or one without a subject.
pub(crate) fn request(
    revision: Revision,
    method: &Method,
    subject: Option<(SubjectKind, &str)>,
    args: Option<&Map<String, Value>>,
) -> (HeaderMap, Bytes) {
    let mut params = subject.map_or_else(Map::new, |(kind, name)| params(kind, name, args));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(&PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
    if revision.era() == Era::Modern {
        headers.insert(&METHOD, HeaderValue::from_static(method.name));
        if let (Some(_), Some((_, name))) = (method.header, subject) {
            headers.insert(&NAME, encode_value(name));
        }
        params.insert("_meta".into(), json!({ META_VERSION: revision.as_str(), META_CAPABILITIES: {} }));
    }
    let body = json!({ "jsonrpc": "2.0", "id": ID, "method": method.name, "params": params });
    (headers, body.to_string().into())
}

fn params(kind: SubjectKind, name: &str, args: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut params = Map::new();
    match kind {
        SubjectKind::Tool | SubjectKind::Prompt => {
            params.insert("name".into(), name.into());
            if let Some(args) = args {
                params.insert("arguments".into(), Value::Object(args.clone()));
            }
        }
        SubjectKind::Resource => {
            params.insert("uri".into(), name.into());
        }
        SubjectKind::ResourceTemplate => {
            params.insert("ref".into(), json!({ "type": "ref/resource", "uri": name }));
            params.insert("argument".into(), json!({ "name": "", "value": "" }));
        }
    }
    params
}

/// A tool of which nothing is said but its name.
pub(crate) fn named(tool: &str) -> Value {
    json!({ "name": tool, "inputSchema": { "type": "object" } })
}

/// A result that holds nothing but `text`.
pub(crate) fn text_result(kind: SubjectKind, name: &str, text: &str) -> Value {
    match kind {
        SubjectKind::Tool => json!({ "content": [{ "type": "text", "text": text }] }),
        SubjectKind::Prompt => {
            json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] })
        }
        SubjectKind::Resource => json!({ "contents": [{ "uri": name, "text": text }] }),
        SubjectKind::ResourceTemplate => json!({ "completion": { "values": [text] } }),
    }
}

/// The text of such a result.
pub(crate) fn text_of(kind: SubjectKind, result: &Value) -> Option<&str> {
    let pointer = match kind {
        SubjectKind::Tool => "/content/0/text",
        SubjectKind::Prompt => "/messages/0/content/text",
        SubjectKind::Resource => "/contents/0/text",
        SubjectKind::ResourceTemplate => "/completion/values/0",
    };
    result.pointer(pointer)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::{SubjectKind, list_of, request, text_of, text_result, use_of};
    use crate::json;
    use crate::mcp::{Head, Known, Revision, admit};

    const KINDS: [SubjectKind; 4] =
        [SubjectKind::Tool, SubjectKind::Prompt, SubjectKind::Resource, SubjectKind::ResourceTemplate];

    #[test]
    fn what_is_composed_is_admitted_in_every_revision() {
        for revision in Revision::SERVED {
            for kind in KINDS {
                let name = if kind == SubjectKind::ResourceTemplate { "crm://{id}" } else { "crm://grün" };
                for (method, subject) in [(use_of(kind), Some((kind, name))), (list_of(kind), None)] {
                    let (headers, body) = request(revision, method.unwrap(), subject, None);
                    let known = Known {
                        bytes: 4096,
                        limits: json::Limits::REQUEST,
                        names_method: &|_| false,
                        supported: &Revision::SERVED,
                    };
                    let message = admit(&Head { headers: &headers, session: None }, body, &known).unwrap();
                    assert_eq!((message.subject(), message.revision()), (subject, revision));
                }
            }
        }
    }

    #[test]
    fn a_text_is_found_where_it_was_put() {
        for kind in KINDS {
            assert_eq!(text_of(kind, &text_result(kind, "crm://a", "hello")), Some("hello"));
        }
    }
}
