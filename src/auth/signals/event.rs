//! Which security events revoke access, and whose (CAEP 1.0, RISC 1.0, RFC 9493).

use crate::auth::revocation::Revoked;
use crate::clock::Timestamp;
use crate::json::{Kind, Value};

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";

/// Which events of a type revoke access.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// Those with one of these values in that member.
    Is(&'static str, &'static [&'static str]),
}

/// The events, by their URI's prefix and the rest of it.
const EVENTS: &[(&str, &str, When)] = &[
    (CAEP, "assurance-level-change", When::Is("change_direction", &["decrease"])),
    (CAEP, "credential-change", When::Is("change_type", &["delete", "revoke", "update"])),
    (CAEP, "device-compliance-change", When::Is("current_status", &["not-compliant"])),
    (CAEP, "risk-level-change", When::Is("current_level", &["HIGH"])),
    (CAEP, "session-revoked", When::Always),
    (CAEP, "token-claims-change", When::Always),
    (RISC, "account-credential-change-required", When::Always),
    (RISC, "account-disabled", When::Always),
    (RISC, "account-purged", When::Always),
    (RISC, "credential-compromise", When::Always),
    (RISC, "sessions-revoked", When::Always),
];

/// The revocations in a token: the event type, what is revoked, and the last time of issue it applies to.
pub(super) fn revoked(claims: Value<'_>, iss: &str, now: Timestamp) -> Vec<(&'static str, Vec<Revoked>, Timestamp)> {
    let mut all = Vec::new();
    let Some(events) = claims.get("events") else { return all };
    for event in events.members() {
        let (uri, body) = (event.name(), event.value);
        let row = EVENTS.iter().find(|(prefix, name, _)| uri.strip_prefix(prefix) == Some(name));
        let Some((_, kind, _)) = row.filter(|(_, _, when)| when.holds(body)) else { continue };
        // Before `sub_id`, the subject was in the event.
        let subject = claims.get("sub_id").or_else(|| body.get("subject"));
        let mut revoked = Vec::new();
        if let Some(subject) = subject {
            named(subject, iss, &mut revoked);
        }
        if !revoked.is_empty() {
            all.push((*kind, revoked, last(claims, body, now)));
        }
    }
    all
}

impl When {
    /// Whether the event revokes access. A missing or unreadable value counts as the worst.
    fn holds(self, body: Value<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Is(member, values) => match body.get(member).map(|value| value.as_str()) {
                Some(Some(value)) => values.iter().any(|wanted| value.eq_ignore_ascii_case(wanted)),
                Some(None) | None => true,
            },
        }
    }
}

/// The time of the event, at most `now`: `event_timestamp`, else `toe`, else `iat`.
fn last(claims: Value<'_>, body: Value<'_>, now: Timestamp) -> Timestamp {
    /// Larger values are in milliseconds, as some transmitters send them.
    const MILLIS: i64 = 100_000_000_000;
    let times = [body.get("event_timestamp"), claims.get("toe"), claims.get("iat")];
    let seconds = times.into_iter().flatten().find_map(|time| {
        let whole = time.as_i64().or_else(|| std::str::from_utf8(time.raw()).ok()?.split('.').next()?.parse().ok());
        whole.filter(|seconds| *seconds > 0)
    });
    let seconds = seconds.map(|seconds| if seconds > MILLIS { seconds / 1000 } else { seconds });
    seconds.map_or(now, |seconds| Timestamp::from_unix_seconds(seconds).min(now))
}

/// Adds what a subject identifier names (RFC 9493 section 3; CAEP complex subjects). Subjects of other issuers are ignored.
fn named(subject: Value<'_>, iss: &str, revoked: &mut Vec<Revoked>) {
    let text = |name| subject.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
    let is_ours = || text("iss").as_deref() == Some(iss);
    match text("format").as_deref() {
        Some("iss_sub") if is_ours() => revoked.extend(text("sub").map(|sub| Revoked::Subject(sub.into()))),
        Some("jwt_id") if is_ours() => revoked.extend(text("jti").map(|jti| Revoked::Token(jti.into()))),
        Some("opaque") => revoked.extend(text("id").map(|id| Revoked::Subject(id.into()))),
        Some("email") => revoked.extend(text("email").map(|email| Revoked::Email(email.to_lowercase().into()))),
        Some("aliases") => {
            for identifier in subject.get("identifiers").into_iter().flat_map(|list| list.items()).take(16) {
                named(identifier, iss, revoked);
            }
        }
        Some("complex") | None => complex(subject, iss, revoked),
        Some(_) => {}
    }
}

/// Adds the narrowest part of a complex subject: a session of a user is not all of the user's sessions.
fn complex(subject: Value<'_>, iss: &str, revoked: &mut Vec<Revoked>) {
    let part = |name| subject.get(name).filter(|part| part.kind() == Kind::Object);
    let id = |part: Value<'_>| {
        ["id", "sid", "sub"].iter().find_map(|name| part.get(name)).and_then(|id| id.as_str()).map(Box::<str>::from)
    };
    if let Some(session) = part("session") {
        revoked.extend(id(session).map(Revoked::Session));
    } else if let Some(user) = part("user") {
        // Nested complex subjects are ignored, to bound the recursion.
        if user.get("format").is_some_and(|format| format.as_str().as_deref() != Some("complex")) {
            named(user, iss, revoked);
        }
    } else if let Some(tenant) = part("tenant") {
        revoked.extend(id(tenant).map(Revoked::Tenant));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CAEP, EVENTS, RISC, revoked};
    use crate::auth::revocation::Revoked;
    use crate::clock::Timestamp;
    use crate::json::{Document, Limits};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_614_400);
    const ISS: &str = "https://login.example.com";

    fn read(claims: &Value) -> Vec<(&'static str, Vec<Revoked>, i64)> {
        let document = Document::parse(claims.to_string().into(), &Limits::REQUEST).unwrap();
        let all = revoked(document.root(), ISS, NOW);
        all.into_iter().map(|(kind, revoked, last)| (kind, revoked, last.unix_seconds())).collect()
    }

    fn of(subject: &Value) -> Vec<Revoked> {
        let events = json!({ format!("{CAEP}session-revoked"): {"event_timestamp": 1_767_614_000} });
        read(&json!({"iat": 1, "sub_id": subject, "events": events})).pop().map(|(_, all, _)| all).unwrap_or_default()
    }

    #[test]
    fn reads_every_kind_of_subject() {
        let user = json!({"format": "iss_sub", "iss": ISS, "sub": "ana"});
        for (subject, expected) in [
            (user.clone(), vec![Revoked::Subject("ana".into())]),
            (json!({"format": "iss_sub", "iss": "https://other", "sub": "ana"}), vec![]),
            (json!({"format": "opaque", "id": "ana"}), vec![Revoked::Subject("ana".into())]),
            (json!({"format": "email", "email": "Ana@Example.com"}), vec![Revoked::Email("ana@example.com".into())]),
            (json!({"format": "jwt_id", "iss": ISS, "jti": "t"}), vec![Revoked::Token("t".into())]),
            (json!({"format": "jwt_id", "iss": "x", "jti": "t"}), vec![]),
            (
                json!({"format": "aliases", "identifiers": [user, {"format": "email", "email": "a@b.c"}]}),
                vec![Revoked::Subject("ana".into()), Revoked::Email("a@b.c".into())],
            ),
            (
                json!({"format": "complex", "user": user, "session": {"format": "opaque", "id": "s"}}),
                vec![Revoked::Session("s".into())],
            ),
            (json!({"format": "complex", "user": user}), vec![Revoked::Subject("ana".into())]),
            (json!({"user": user}), vec![Revoked::Subject("ana".into())]),
            (
                json!({"format": "complex", "tenant": {"format": "opaque", "id": "acme"}}),
                vec![Revoked::Tenant("acme".into())],
            ),
            (json!({"format": "complex", "user": {"format": "complex", "user": user}}), vec![]),
            (json!({"format": "phone_number", "phone_number": "+1"}), vec![]),
            (json!({"format": "opaque", "id": ""}), vec![]),
            (json!("ana"), vec![]),
        ] {
            assert_eq!(of(&subject), expected, "{subject}");
        }
    }

    #[test]
    fn acts_on_what_takes_access_away() {
        let subject = json!({"format": "opaque", "id": "ana"});
        let kinds =
            |uri: String, body: Value| read(&json!({"iat": 5, "sub_id": subject, "events": { uri: body }})).len();
        for (prefix, name, when) in EVENTS {
            let worst = match when {
                super::When::Always => json!({}),
                super::When::Is(member, values) => json!({ *member: values[0] }),
            };
            assert_eq!(kinds(format!("{prefix}{name}"), worst), 1, "{name}");
        }
        for (uri, body) in [
            (format!("{CAEP}assurance-level-change"), json!({"change_direction": "increase"})),
            (format!("{CAEP}credential-change"), json!({"change_type": "create"})),
            (format!("{CAEP}device-compliance-change"), json!({"current_status": "compliant"})),
            (format!("{CAEP}risk-level-change"), json!({"current_level": "LOW"})),
            (format!("{CAEP}session-established"), json!({})),
            (format!("{RISC}account-enabled"), json!({})),
            (format!("{RISC}session-revoked"), json!({})),
            ("https://schemas.openid.net/secevent/ssf/event-type/verification".into(), json!({"state": "x"})),
            ("session-revoked".into(), json!({})),
        ] {
            assert_eq!(kinds(uri.clone(), body), 0, "{uri}");
        }
    }

    #[test]
    fn the_time_of_the_event_counts_and_never_the_future() {
        let subject = json!({"format": "opaque", "id": "ana"});
        let at = |body: Value, toe: Value| {
            let events = json!({ format!("{CAEP}session-revoked"): body });
            read(&json!({"iat": 1_767_614_300, "toe": toe, "sub_id": subject, "events": events}))[0].2
        };
        assert_eq!(at(json!({"event_timestamp": 1_767_614_000}), json!(null)), 1_767_614_000);
        assert_eq!(at(json!({"event_timestamp": 1_767_614_000_123_i64}), json!(null)), 1_767_614_000);
        assert_eq!(at(json!({"event_timestamp": 1_767_614_000.7}), json!(null)), 1_767_614_000);
        assert_eq!(at(json!({}), json!(1_767_614_100)), 1_767_614_100);
        assert_eq!(at(json!({}), json!(null)), 1_767_614_300);
        assert_eq!(at(json!({"event_timestamp": 4_102_444_800_i64}), json!(null)), NOW.unix_seconds());
    }
}
