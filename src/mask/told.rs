//! The arguments of a call as a record may tell them: as the upstream gets them, but for what nobody should read there.

use super::applied::Applied;
use super::engine::apply;
use super::recognisers::secret::is_secret;
use super::sanitize::SANITIZER;
use super::walk::Walk;
use super::{Findings, Masked};
use crate::json::{Document, Kind, Limits, Splice, Value, quoted};
use crate::mcp::Restored;
use crate::opened::Ask;

/// In place of what is under a name for a secret, whatever it looks like.
const SECRET: &[u8] = b"\"[SECRET]\"";

/// The arguments of a masked request, with what the client has a pseudonym for as that pseudonym, nothing under names of
/// secrets, and every entity redacted that is left; `None` if it has none.
pub(crate) fn told(masked: &Masked) -> Option<String> {
    let Ask::Message(message) = masked.ask() else { return None };
    message.arguments()?;
    let document = Document::parse(masked.bytes().clone(), &Limits::ANSWER).ok()?;
    Some(safe(document.pointer("/params/arguments")?, message.restored()))
}

fn safe(arguments: Value<'_>, restored: &[Restored]) -> String {
    let refused = || "[REFUSED]".to_owned();
    let Ok(document) = Document::parse(arguments.raw_bytes(), &Limits::ANSWER) else { return refused() };
    let mut splice = Splice::new();
    hide(document.root(), restored, &mut splice);
    let Ok(document) = Document::parse(splice.apply(document.bytes()), &Limits::ANSWER) else { return refused() };
    let mut findings = Findings::default();
    let Ok(mut edits) = Walk::new(&SANITIZER, &Applied::default(), &mut findings).value(document.root(), &[]) else {
        return refused();
    };
    edits.sort_by_key(|edit| edit.start);
    std::str::from_utf8(document.bytes()).map_or_else(|_| refused(), |text| apply(text, &edits))
}

fn hide(value: Value<'_>, restored: &[Restored], splice: &mut Splice) {
    match value.kind() {
        Kind::Array => value.items().for_each(|item| hide(item, restored, splice)),
        Kind::Object => {
            for member in value.members() {
                if is_secret(member.name().as_bytes()) && !matches!(member.value.kind(), Kind::Bool | Kind::Null) {
                    splice.replace(member.value.span(), SECRET);
                } else {
                    hide(member.value, restored, splice);
                }
            }
        }
        Kind::String => {
            let Some(text) = value.as_str().filter(|_| !restored.is_empty()) else { return };
            let written = restored.iter().filter(|one| !one.value.is_empty());
            let told = written.fold(text.clone(), |text, one| {
                if text.contains(&*one.value) { text.replace(&*one.value, &one.pseudonym).into() } else { text }
            });
            if told != text {
                splice.replace(value.span(), quoted(&told));
            }
        }
        Kind::Bool | Kind::Key | Kind::Null | Kind::Number => {}
    }
}

#[cfg(test)]
mod tests {
    use super::safe;
    use crate::json::{Document, Limits, Span};
    use crate::mcp::Restored;

    #[test]
    fn nothing_is_told_that_nobody_should_read() {
        let restored = [Restored {
            span: Span { start: 0, end: 0 },
            value: "Ana Lopez, room 7".into(),
            pseudonym: "PERSON_x1".into(),
        }];
        for (arguments, told) in [
            (r#"{"query":"x","limit":3}"#, r#"{"query":"x","limit":3}"#),
            (
                r#"{"password":"hunter2","user":{"api_key":7}}"#,
                r#"{"password":"[SECRET]","user":{"api_key":"[SECRET]"}}"#,
            ),
            (
                r#"{"passwords":["hunter2"],"password":{"old":"hunter2"},"secret":null}"#,
                r#"{"passwords":"[SECRET]","password":"[SECRET]","secret":null}"#,
            ),
            (r#"{"to":"\u0061na@example.com"}"#, r#"{"to":"[EMAIL_ADDRESS]"}"#),
            (r#"{"note":"a\nana@example.com\n"}"#, r#"{"note":"a\n[EMAIL_ADDRESS]\n"}"#),
            (r#"{"pan":4111111111111111}"#, r#"{"pan":0}"#),
            (r#"{"json":"{\"mail\":\"ana@example.com\"}"}"#, r#"{"json":"{\"mail\":\"[EMAIL_ADDRESS]\"}"}"#),
            (
                r#"{"to":["Ana Lopez, room 7"],"x":"for Ana Lopez, room 7!"}"#,
                r#"{"to":["PERSON_x1"],"x":"for PERSON_x1!"}"#,
            ),
            (r#"{"ana@example.com":1}"#, r#"{"[EMAIL_ADDRESS]":1}"#),
        ] {
            let document = Document::parse(arguments.into(), &Limits::ANSWER).unwrap();
            assert_eq!(safe(document.root(), &restored), told);
        }
    }
}
