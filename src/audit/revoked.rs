use std::sync::Arc;

use super::subjects::{Subjects, WITHHELD};
use super::{Audit, Event, Fragment, Lane, Record, Sanitize, escape};
use crate::auth::Revoked;
use crate::clock::Timestamp;

/// Writes what an issuer revoked by a security event of type `event`: of tokens issued until `last`.
///
/// The revocation is already in force, so nothing depends on the line; if it cannot be written, that is logged.
pub(crate) fn revoked(
    audit: &Arc<Audit>,
    issuer: &str,
    event: &'static str,
    revoked: &[Revoked],
    last: Timestamp,
    now: Timestamp,
) {
    let about = render(issuer, event, revoked, last, audit.subjects.as_deref(), audit.sanitize);
    let mut record = Record::new(Event::Revoked, now, uuid::Uuid::now_v7());
    record.about = Some(&about);
    if Lane::new(Arc::clone(audit)).record_now(&record).is_err() {
        tracing::error!(issuer, event, "revocation is in force but not in the audit log");
    }
}

fn render(
    issuer: &str,
    event: &str,
    revoked: &[Revoked],
    last: Timestamp,
    keyed: Option<&Subjects>,
    sanitize: Sanitize,
) -> Fragment {
    let mut out = b",\"revoked\":{\"iss\":".to_vec();
    escape::own(&mut out, issuer);
    out.extend_from_slice(b",\"event\":");
    escape::own(&mut out, event);
    out.extend_from_slice(b",\"issued_until\":\"");
    out.extend_from_slice(&last.rfc3339());
    out.extend_from_slice(b"\",\"of\":[");
    for (at, one) in revoked.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        match one {
            Revoked::Email(mail) => {
                // The only identifier that is always personal data.
                out.extend_from_slice(b"\"email\":");
                escape::foreign(&mut out, if keyed.is_some() { WITHHELD } else { mail }, sanitize);
            }
            Revoked::Everyone => out.extend_from_slice(b"\"everyone\":true"),
            // Whose session or token it was only the issuer knows, by this.
            Revoked::Session(sid) => named(&mut out, b"\"sid\":", if keyed.is_some() { WITHHELD } else { sid }),
            Revoked::Subject(sub) => match keyed {
                Some(keyed) => named(&mut out, b"\"sub\":", &keyed.digest(issuer, sub)),
                None => named(&mut out, b"\"sub\":", sub),
            },
            Revoked::Tenant(tenant) => named(&mut out, b"\"tenant\":", tenant),
            Revoked::Token(jti) => named(&mut out, b"\"jti\":", if keyed.is_some() { WITHHELD } else { jti }),
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Fragment::kept(out)
}

/// The issuer signed these identifiers: they are escaped and truncated, not masked, as in the `subject` of callers.
fn named(out: &mut Vec<u8>, key: &[u8], name: &str) {
    out.extend_from_slice(key);
    escape::own(out, name);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::render;
    use crate::audit::Fragment;
    use crate::auth::Revoked;
    use crate::clock::Timestamp;

    #[test]
    fn every_kind_of_name_is_told_and_mail_is_masked() {
        let names = [
            Revoked::Email("ana@example.com".into()),
            Revoked::Everyone,
            Revoked::Session("s\"\n1".into()),
            Revoked::Subject("ana".into()),
            Revoked::Tenant("acme".into()),
            Revoked::Token("t".into()),
        ];
        let last = Timestamp::from_unix_seconds(1_767_614_400);
        let Fragment(bytes) = render("https://login.example.com", "session-revoked", &names, last, None, |text| {
            text.replace("ana@", "***@").into()
        });
        let line: Value = serde_json::from_slice(&[b"{\"v\":1", &*bytes, b"}"].concat()).unwrap();
        let expected = json!({
            "iss": "https://login.example.com", "event": "session-revoked", "issued_until": "2026-01-05T12:00:00.000Z",
            "of": [{"email": "***@example.com"}, {"everyone": true}, {"sid": "s\"\n1"}, {"sub": "ana"}, {"tenant": "acme"}, {"jti": "t"}],
        });
        assert_eq!(line["revoked"], expected);
    }
}
