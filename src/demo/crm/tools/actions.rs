//! What the tools do. Arguments have been checked against the tool's table.

use serde_json::{Map, Value, json};

use super::Outcome;
use crate::demo::crm::data::{Contact, INVOICES, Invoice, Store};
use crate::demo::crm::listen::Change;

/// The text argument of that name.
pub(super) fn text<'a>(given: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    given.get(name).and_then(Value::as_str)
}

fn limit(given: &Map<String, Value>) -> usize {
    given.get("limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(50)
}

fn missing(id: &str) -> Outcome {
    Outcome::failed(format!("There is no contact {id}."))
}

/// The same twice, as servers do: JSON in the text and in `structuredContent`.
fn whole(contact: &Contact) -> Outcome {
    let structured = json!(contact);
    Outcome::done(structured.to_string(), structured)
}

/// Contacts whose name, company or address holds `query`.
pub(super) fn search(store: &mut Store, given: &Map<String, Value>) -> Outcome {
    let (query, region) = (text(given, "query").unwrap_or_default().to_lowercase(), text(given, "region"));
    let holds = |field: &str| field.to_lowercase().contains(&query);
    let found: Vec<&Contact> = store
        .contacts()
        .filter(|contact| region.is_none_or(|region| contact.region == region))
        .filter(|contact| holds(&contact.name) || holds(&contact.company) || holds(&contact.email))
        .collect();
    let shown = &found[..found.len().min(limit(given))];
    let lines: Vec<String> = shown.iter().map(|contact| contact.line()).collect();
    let short: Vec<Value> = shown.iter().map(|contact| brief(contact)).collect();
    let text = if lines.is_empty() { "Nobody was found.".to_owned() } else { lines.join("\n") };
    Outcome::done(text, json!({ "contacts": short, "total": found.len() }))
}

fn brief(contact: &Contact) -> Value {
    json!({
        "id": contact.id,
        "name": contact.name,
        "company": contact.company,
        "email": contact.email,
        "phone": contact.phone,
        "region": contact.region,
    })
}

/// One contact, whole.
pub(super) fn get(store: &mut Store, given: &Map<String, Value>) -> Outcome {
    let id = text(given, "id").unwrap_or_default();
    store.find(id).map_or_else(|| missing(id), whole)
}

/// Invoices, filtered.
pub(super) fn invoices(_: &mut Store, given: &Map<String, Value>) -> Outcome {
    let (contact, status) = (text(given, "contact_id"), text(given, "status"));
    let found: Vec<Invoice> = INVOICES
        .into_iter()
        .filter(|invoice| contact.is_none_or(|contact| invoice.contact_id == contact))
        .filter(|invoice| status.is_none_or(|status| invoice.status == status))
        .collect();
    let total: i64 = found.iter().map(|invoice| invoice.amount).sum();
    let shown = &found[..found.len().min(limit(given))];
    let line = |invoice: &Invoice| {
        let Invoice { id, contact_id, amount, currency, status, due, memo } = invoice;
        format!("{id}  {contact_id}  {amount} {currency}, {status}, due {due}: {memo}")
    };
    let lines: Vec<String> = shown.iter().map(line).collect();
    let text = if lines.is_empty() { "There are no such invoices.".to_owned() } else { lines.join("\n") };
    Outcome::done(text, json!({ "invoices": shown, "total": found.len(), "amount": total }))
}

/// Changes what is given.
pub(super) fn update(store: &mut Store, given: &Map<String, Value>) -> Outcome {
    let id = text(given, "id").unwrap_or_default();
    let Some(contact) = store.find_mut(id) else { return missing(id) };
    if given.len() < 2 {
        return Outcome::failed("Nothing was given to change.");
    }
    change(contact, given);
    let contact = contact.clone();
    whole(&contact).changing([Change::Resource(contact.uri())])
}

fn change(contact: &mut Contact, given: &Map<String, Value>) {
    let fields = [
        ("name", &mut contact.name),
        ("company", &mut contact.company),
        ("email", &mut contact.email),
        ("phone", &mut contact.phone),
        ("owner", &mut contact.owner),
        ("region", &mut contact.region),
        ("notes", &mut contact.notes),
    ];
    for (name, field) in fields {
        if let Some(value) = text(given, name) {
            value.clone_into(field);
        }
    }
    if let Some(amount) = given.get("amount").and_then(Value::as_i64) {
        contact.amount = amount;
    }
}

/// A new contact.
pub(super) fn create(store: &mut Store, given: &Map<String, Value>) -> Outcome {
    let mut contact = Contact {
        id: String::new(),
        name: String::new(),
        company: String::new(),
        email: String::new(),
        phone: String::new(),
        region: "emea".to_owned(),
        owner: "ana@example.com".to_owned(),
        amount: 0,
        notes: String::new(),
        card: None,
        iban: None,
        ssn: None,
    };
    change(&mut contact, given);
    match store.add(contact) {
        Some(contact) => whole(&contact).changing([Change::Resources]),
        None => Outcome::failed("The CRM is full."),
    }
}

/// One contact less.
pub(super) fn delete(store: &mut Store, given: &Map<String, Value>) -> Outcome {
    let id = text(given, "id").unwrap_or_default();
    match store.remove(id) {
        Some(contact) => Outcome::text(format!("{} ({}) is gone.", contact.name, contact.email))
            .changing([Change::Resource(contact.uri()), Change::Resources]),
        None => missing(id),
    }
}

/// Nothing.
pub(super) fn sync(_: &mut Store, _: &Map<String, Value>) -> Outcome {
    Outcome::text("Nothing was sent anywhere: this tool only shows what a poisoned description looks like.".to_owned())
}
