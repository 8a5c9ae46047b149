//! Resources, the prompt, and completion.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use super::arguments::is_contact_id;
use super::data::{Contact, Store};
use super::rpc::{INVALID_PARAMS, RESOURCE_NOT_FOUND, Revision, RpcError};

const PAGE: usize = 5;
const TEMPLATE: &str = "crm://contacts/{id}";
const PROMPT: &str = "summarise_contact";
const TONES: [&str; 3] = ["brief", "formal", "friendly"];
/// The most values a completion may have.
const MOST_VALUES: usize = 100;

fn invalid(why: &str) -> RpcError {
    RpcError::new(INVALID_PARAMS, why)
}

fn text<'a>(params: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    params.get(name).and_then(Value::as_str)
}

/// One page of `resources/list`.
pub(super) fn resources(store: &Store, params: &Map<String, Value>) -> Result<Value, RpcError> {
    let after = match params.get("cursor") {
        None => String::new(),
        Some(cursor) => cursor.as_str().and_then(opened).ok_or(invalid("the cursor is not one of ours"))?,
    };
    let rest: Vec<&Contact> = store.contacts().filter(|contact| contact.id > after).collect();
    let page = &rest[..rest.len().min(PAGE)];
    let described: Vec<Value> = page.iter().map(|contact| describe(contact)).collect();
    let mut result = json!({ "resources": described });
    if let Some(last) = page.last().filter(|_| rest.len() > page.len()) {
        result["nextCursor"] = json!(BASE64URL_NOPAD.encode(last.id.as_bytes()));
    }
    Ok(result)
}

fn opened(cursor: &str) -> Option<String> {
    let id = String::from_utf8(BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()?;
    is_contact_id(&id).then_some(id)
}

fn describe(contact: &Contact) -> Value {
    json!({
        "uri": contact.uri(),
        "name": contact.id,
        "description": format!("{} at {}, {}", contact.name, contact.company, contact.email),
        "mimeType": "application/json",
    })
}

/// `resources/templates/list`.
pub(super) fn templates() -> Value {
    json!({ "resourceTemplates": [{
        "uriTemplate": TEMPLATE,
        "name": "contact",
        "description": "One contact, with payment details",
        "mimeType": "application/json",
    }] })
}

/// `resources/read`.
pub(super) fn read(store: &Store, params: &Map<String, Value>, revision: Revision) -> Result<Value, RpcError> {
    let uri = text(params, "uri").ok_or(invalid("uri is missing"))?;
    let contact = contact_at(store, uri).ok_or_else(|| {
        let code = if revision >= Revision::V2026_07_28 { INVALID_PARAMS } else { RESOURCE_NOT_FOUND };
        RpcError::new(code, "Resource not found").with_data(json!({ "uri": uri }))
    })?;
    let contents = json!({ "uri": uri, "mimeType": "application/json", "text": json!(contact).to_string() });
    Ok(json!({ "contents": [contents] }))
}

fn contact_at<'a>(store: &'a Store, uri: &str) -> Option<&'a Contact> {
    store.find(uri.strip_prefix("crm://contacts/")?)
}

/// `prompts/list`.
pub(super) fn prompts() -> Value {
    json!({ "prompts": [{
        "name": PROMPT,
        "description": "Sums up what is known about a contact",
        "arguments": [
            { "name": "contact_id", "description": "Whose", "required": true },
            { "name": "tone", "description": "How it should sound", "required": false },
        ],
    }] })
}

/// `prompts/get`.
pub(super) fn prompt(store: &Store, params: &Map<String, Value>) -> Result<Value, RpcError> {
    if text(params, "name") != Some(PROMPT) {
        return Err(invalid("Unknown prompt"));
    }
    let none = Map::new();
    let given = params.get("arguments").and_then(Value::as_object).unwrap_or(&none);
    let id = text(given, "contact_id").ok_or(invalid("contact_id is missing"))?;
    let contact = store.find(id).ok_or(invalid("there is no such contact"))?;
    let tone = text(given, "tone").unwrap_or(TONES[0]);
    let ask = format!(
        "Write a {tone} summary of this contact for a colleague.\n\n{}\nOwner: {}\nOpen deal: {} EUR\nNotes: {}",
        contact.line(),
        contact.owner,
        contact.amount,
        contact.notes
    );
    let resource = json!({ "uri": contact.uri(), "mimeType": "application/json", "text": json!(contact).to_string() });
    Ok(json!({
        "description": format!("Summary of {}", contact.name),
        "messages": [
            { "role": "user", "content": { "type": "text", "text": ask } },
            { "role": "user", "content": { "type": "resource", "resource": resource } },
        ],
    }))
}

/// `completion/complete`: contact ids by id or name, and tones.
pub(super) fn complete(store: &Store, params: &Map<String, Value>) -> Result<Value, RpcError> {
    let reference = params.get("ref").and_then(Value::as_object).ok_or(invalid("ref is missing"))?;
    let argument = params.get("argument").and_then(Value::as_object).ok_or(invalid("argument is missing"))?;
    let (name, value) = text(argument, "name").zip(text(argument, "value")).ok_or(invalid("argument is not whole"))?;
    let known = match text(reference, "type") {
        Some("ref/prompt") => text(reference, "name") == Some(PROMPT),
        Some("ref/resource") => text(reference, "uri") == Some(TEMPLATE),
        _ => false,
    };
    let values: Vec<String> = match name {
        _ if !known => return Err(invalid("there is nothing of that name to complete")),
        "contact_id" | "id" => ids(store, value),
        "tone" => TONES.iter().filter(|tone| tone.starts_with(value)).map(|&tone| tone.to_owned()).collect(),
        _ => Vec::new(),
    };
    let shown = &values[..values.len().min(MOST_VALUES)];
    Ok(json!({ "completion": { "values": shown, "total": values.len(), "hasMore": values.len() > shown.len() } }))
}

fn ids(store: &Store, value: &str) -> Vec<String> {
    let value = value.to_lowercase();
    let fits = |contact: &&Contact| contact.id.starts_with(&value) || contact.name.to_lowercase().contains(&value);
    store.contacts().filter(fits).map(|contact| contact.id.clone()).collect()
}
