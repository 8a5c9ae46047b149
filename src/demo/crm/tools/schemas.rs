//! The output schemas of the tools.

use serde_json::{Value, json};

/// A whole contact.
pub(super) fn contact() -> Value {
    let text = || json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "id": text(), "name": text(), "company": text(), "email": text(), "phone": text(), "owner": text(),
            "notes": text(), "card": text(), "iban": text(), "ssn": text(),
            "region": { "type": "string", "enum": ["amer", "apac", "emea"] },
            "amount": { "type": "integer" },
        },
        "required": ["id", "name", "company", "email", "phone", "region", "owner", "amount", "notes"],
        "additionalProperties": false,
    })
}

/// What a search finds.
pub(super) fn found() -> Value {
    let text = || json!({ "type": "string" });
    let contact = json!({
        "type": "object",
        "properties": {
            "id": text(), "name": text(), "company": text(), "email": text(), "phone": text(), "region": text(),
        },
        "required": ["id", "name", "company", "email", "phone", "region"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": { "contacts": { "type": "array", "items": contact }, "total": { "type": "integer" } },
        "required": ["contacts", "total"],
        "additionalProperties": false,
    })
}

/// A list of invoices.
pub(super) fn invoices() -> Value {
    let text = || json!({ "type": "string" });
    let invoice = json!({
        "type": "object",
        "properties": {
            "id": text(), "contact_id": text(), "amount": { "type": "integer" }, "currency": text(),
            "status": { "type": "string", "enum": ["open", "overdue", "paid"] },
            "due": { "type": "string", "format": "date" }, "memo": text(),
        },
        "required": ["id", "contact_id", "amount", "currency", "status", "due", "memo"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {
            "invoices": { "type": "array", "items": invoice },
            "total": { "type": "integer" },
            "amount": { "type": "integer" },
        },
        "required": ["invoices", "total", "amount"],
        "additionalProperties": false,
    })
}
