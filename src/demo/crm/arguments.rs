//! Tool parameters: one table makes the published schema and checks the arguments, so the two cannot differ.

use serde_json::{Map, Value, json};

use super::rpc::Revision;

/// One parameter of a tool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) kind: Kind,
    pub(super) need: Need,
    /// `x-mcp-header`: the value is mirrored in `Mcp-Param-{this}` (2026-07-28).
    pub(super) header: Option<&'static str>,
}

/// Whether a parameter may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Optional,
    Required,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Choice(&'static [&'static str]),
    ContactId,
    Email,
    Integer { least: i64, most: i64 },
    Text { most: usize },
}

impl Param {
    pub(super) const fn required(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self { name, description, kind, need: Need::Required, header: None }
    }

    pub(super) const fn optional(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self { name, description, kind, need: Need::Optional, header: None }
    }

    pub(super) const fn mirrored(self, header: &'static str) -> Self {
        Self { header: Some(header), ..self }
    }

    fn schema(&self, revision: Revision) -> Value {
        let mut schema = match self.kind {
            Kind::Choice(choices) => json!({ "type": "string", "enum": choices }),
            Kind::ContactId => json!({ "type": "string", "pattern": "^c-[0-9]{3,6}$" }),
            Kind::Email => json!({ "type": "string", "format": "email", "maxLength": 254 }),
            Kind::Integer { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::Text { most } => json!({ "type": "string", "minLength": 1, "maxLength": most }),
        };
        schema["description"] = json!(self.description);
        if let Some(header) = self.header.filter(|_| revision >= Revision::V2026_07_28) {
            schema["x-mcp-header"] = json!(header);
        }
        schema
    }

    fn fits(&self, value: &Value) -> bool {
        match self.kind {
            Kind::Choice(choices) => value.as_str().is_some_and(|text| choices.contains(&text)),
            Kind::ContactId => value.as_str().is_some_and(is_contact_id),
            Kind::Email => value.as_str().is_some_and(is_email),
            Kind::Integer { least, most } => value.as_i64().is_some_and(|number| (least..=most).contains(&number)),
            Kind::Text { most } => value.as_str().is_some_and(|text| (1..=most).contains(&text.chars().count())),
        }
    }

    fn wants(&self) -> String {
        match self.kind {
            Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
            Kind::ContactId => "a contact id such as c-001".to_owned(),
            Kind::Email => "an e-mail address".to_owned(),
            Kind::Integer { least, most } => format!("a whole number from {least} to {most}"),
            Kind::Text { most } => format!("text of 1 to {most} characters"),
        }
    }
}

pub(super) fn is_contact_id(text: &str) -> bool {
    text.strip_prefix("c-")
        .is_some_and(|digits| (3..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_email(text: &str) -> bool {
    let parts = text.split_once('@').filter(|(local, domain)| !local.is_empty() && domain.contains('.'));
    text.len() <= 254 && parts.is_some() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The `inputSchema` of a tool with these parameters.
pub(super) fn schema(params: &[Param], revision: Revision) -> Value {
    let properties: Map<String, Value> =
        params.iter().map(|param| (param.name.to_owned(), param.schema(revision))).collect();
    let required: Vec<&str> =
        params.iter().filter(|param| param.need == Need::Required).map(|param| param.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Checks `arguments` against the schema made from `params`; the error is a sentence for the model.
pub(super) fn check(params: &[Param], arguments: &Map<String, Value>) -> Result<(), String> {
    if let Some(name) = arguments.keys().find(|name| params.iter().all(|param| param.name != name.as_str())) {
        let known: Vec<&str> = params.iter().map(|param| param.name).collect();
        return Err(format!("There is no argument \"{name}\"; there are {}.", known.join(", ")));
    }
    for param in params {
        match arguments.get(param.name) {
            None if param.need == Need::Required => {
                return Err(format!("The argument \"{}\" is missing: {}.", param.name, param.wants()));
            }
            Some(value) if !param.fits(value) => {
                return Err(format!("The argument \"{}\" must be {}.", param.name, param.wants()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: [Param; 4] = [
        Param::required("id", Kind::ContactId, "Who"),
        Param::optional("email", Kind::Email, "Where"),
        Param::optional("limit", Kind::Integer { least: 1, most: 5 }, "How many").mirrored("Limit"),
        Param::optional("region", Kind::Choice(&["emea", "amer"]), "Which"),
    ];

    #[test]
    fn arguments_fit_the_table_or_are_refused() {
        for (arguments, good) in [
            (json!({ "id": "c-001" }), true),
            (json!({ "id": "c-001", "email": "a@b.example", "limit": 5, "region": "emea" }), true),
            (json!({}), false),
            (json!({ "id": 1 }), false),
            (json!({ "id": "c-1" }), false),
            (json!({ "id": "C-001" }), false),
            (json!({ "id": "c-001", "email": "a b@c.example" }), false),
            (json!({ "id": "c-001", "limit": 0 }), false),
            (json!({ "id": "c-001", "limit": 6 }), false),
            (json!({ "id": "c-001", "limit": 2.5 }), false),
            (json!({ "id": "c-001", "region": "EMEA" }), false),
            (json!({ "id": "c-001", "region": null }), false),
            (json!({ "id": "c-001", "other": 1 }), false),
        ] {
            assert_eq!(check(&PARAMS, arguments.as_object().unwrap()).is_ok(), good, "{arguments}");
        }
    }

    #[test]
    fn schemas_are_closed_and_name_headers_where_they_exist() {
        let old = schema(&PARAMS, Revision::V2025_11_25);
        assert_eq!(old["required"], json!(["id"]));
        assert_eq!(old["additionalProperties"], false);
        assert!(old["properties"]["limit"].get("x-mcp-header").is_none());
        assert_eq!(schema(&PARAMS, Revision::V2026_07_28)["properties"]["limit"]["x-mcp-header"], "Limit");
    }
}
