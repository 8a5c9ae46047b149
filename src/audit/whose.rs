//! Whether a record is about one person.

use serde_json::Value;

/// The last character of a truncated text.
const CUT: char = '…';

/// One person, by name or by digest, as callers of one issuer or of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// As tokens name it; `None` for any.
    pub(crate) issuer: Option<Box<str>>,
    /// As tokens name the person.
    pub(crate) subject: Box<str>,
    /// What stands in place of it in lines with keyed subjects.
    pub(crate) digest: Option<String>,
}

impl Person {
    /// Whether the record names the person: as the caller, as one who acts for the caller, or as one whose tokens were revoked.
    pub(crate) fn is_in(&self, record: &Value) -> bool {
        let (subject, revoked) = (&record["subject"], &record["revoked"]);
        let all = |list: &Value, is: &dyn Fn(&Value) -> bool| list.as_array().is_some_and(|list| list.iter().any(is));
        self.is_of(subject) && (self.is(&subject["sub"]) || all(&subject["act"], &|actor| self.is(actor)))
            || self.is_of(revoked) && all(&revoked["of"], &|one| self.is(&one["sub"]))
    }

    fn is_of(&self, named: &Value) -> bool {
        let Some(issuer) = named["iss"].as_str() else { return false };
        self.issuer.as_deref().is_none_or(|wanted| is_text(issuer, wanted))
    }

    fn is(&self, name: &Value) -> bool {
        let Some(name) = name.as_str() else { return false };
        self.digest.as_deref() == Some(name) || is_text(name, &self.subject)
    }
}

/// Whether `told` is that text, which a record may have cut.
fn is_text(told: &str, text: &str) -> bool {
    told == text || told.strip_suffix(CUT).is_some_and(|begin| begin.len() > 100 && text.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Person;

    #[test]
    fn a_person_is_found_wherever_a_record_names_one() {
        let long = "x".repeat(300);
        let ana = |issuer: Option<&str>| Person {
            issuer: issuer.map(Into::into),
            subject: "ana".into(),
            digest: Some("keyed:1".into()),
        };
        let corp = "https://i";
        for (record, found) in [
            (json!({ "subject": { "iss": corp, "sub": "ana" } }), true),
            (json!({ "subject": { "iss": corp, "sub": "keyed:1" } }), true),
            (json!({ "subject": { "iss": corp, "sub": "max", "act": ["agent", "ana"] } }), true),
            (json!({ "subject": { "iss": corp, "sub": "keyed:2", "act": ["keyed:1"] } }), true),
            (json!({ "revoked": { "iss": corp, "of": [{ "sid": "ana" }, { "sub": "ana" }] } }), true),
            (json!({ "revoked": { "iss": corp, "of": [{ "sid": "ana" }] } }), false),
            (json!({ "subject": { "iss": corp, "sub": "max" }, "tool": "ana" }), false),
            (json!({ "subject": { "anonymous": true } }), false),
            (json!({}), false),
        ] {
            assert_eq!(ana(None).is_in(&record), found, "{record}");
            assert_eq!(ana(Some(corp)).is_in(&record), found, "{record}");
            assert!(!ana(Some("https://other")).is_in(&record), "{record}");
        }
        let cut = json!({ "subject": { "iss": corp, "sub": format!("{}…", "x".repeat(197)) } });
        assert!(Person { subject: long.into(), ..ana(None) }.is_in(&cut));
        assert!(!Person { subject: "x".into(), ..ana(None) }.is_in(&cut));
    }
}
