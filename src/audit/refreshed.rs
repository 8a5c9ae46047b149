use std::sync::Arc;

use super::{Audit, Event, Fragment, Lane, Record, Sanitize, escape};
use crate::clock::Timestamp;

/// A change in the state of an issuer's keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// Other keys are in force; `added` and `removed` are their `kid`s, `None` for a key without one.
    #[allow(missing_docs)]
    Changed { keys: usize, added: Vec<Option<Box<str>>>, removed: Vec<Option<Box<str>>> },
    /// The keys could not be fetched, for the first time in a row, and why; those already known stay in use.
    Failed(Box<str>),
    /// The keys could be fetched again, and are the same.
    Recovered,
    /// The keys could not be fetched for so long that the known ones are no longer used.
    TooOld,
}

/// Writes a change in the state of an issuer's keys; `issuer` is its name in `proxy.toml`, `iss` its identifier.
///
/// The change has already happened, so nothing depends on the line; if it cannot be written, that is logged.
pub(crate) fn refreshed(audit: &Arc<Audit>, issuer: &str, iss: &str, refresh: &Refresh, now: Timestamp) {
    let about = render(issuer, iss, refresh, audit.sanitize);
    let mut record = Record::new(Event::KeyRefresh, now, uuid::Uuid::now_v7());
    record.about = Some(&about);
    if Lane::new(Arc::clone(audit)).record_now(&record).is_err() {
        tracing::error!(issuer, "what became of its keys is not in the audit log");
    }
}

fn render(issuer: &str, iss: &str, refresh: &Refresh, sanitize: Sanitize) -> Fragment {
    let mut out = b",\"key_refresh\":{\"issuer\":".to_vec();
    escape::own(&mut out, issuer);
    out.extend_from_slice(b",\"iss\":");
    escape::own(&mut out, iss);
    out.extend_from_slice(b",\"result\":");
    match refresh {
        Refresh::Changed { keys, added, removed } => {
            out.extend_from_slice(format!("\"changed\",\"keys\":{keys},\"added\":").as_bytes());
            names(&mut out, added);
            out.extend_from_slice(b",\"removed\":");
            names(&mut out, removed);
        }
        Refresh::Failed(reason) => {
            out.extend_from_slice(b"\"failed\",\"reason\":");
            escape::foreign(&mut out, reason, sanitize);
        }
        Refresh::Recovered => out.extend_from_slice(b"\"recovered\""),
        Refresh::TooOld => out.extend_from_slice(b"\"too_old\""),
    }
    out.push(b'}');
    Fragment::kept(out)
}

/// Key ids come from the issuer: they are escaped and truncated, not masked.
fn names(out: &mut Vec<u8>, kids: &[Option<Box<str>>]) {
    out.push(b'[');
    for (at, kid) in kids.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match kid {
            Some(kid) => escape::own(out, kid),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Refresh, render};
    use crate::audit::Fragment;

    #[test]
    fn every_turn_is_told_and_nothing_breaks_out() {
        let changed = Refresh::Changed { keys: 2, added: vec![Some("k\"\n2".into()), None], removed: vec![] };
        for (refresh, expected) in [
            (changed, json!({"result": "changed", "keys": 2, "added": ["k\"\n2", null], "removed": []})),
            (
                Refresh::Failed("no answer, said ana@x".into()),
                json!({"result": "failed", "reason": "no answer, said ***@x"}),
            ),
            (Refresh::Recovered, json!({"result": "recovered"})),
            (Refresh::TooOld, json!({"result": "too_old"})),
        ] {
            let Fragment(bytes) =
                render("corp", "https://login.example.com", &refresh, |text| text.replace("ana@", "***@").into());
            let mut line: Value = serde_json::from_slice(&[b"{\"v\":1", &*bytes, b"}"].concat()).unwrap();
            let told = line["key_refresh"].as_object_mut().unwrap();
            assert_eq!(
                [told.remove("issuer"), told.remove("iss")],
                [Some(json!("corp")), Some(json!("https://login.example.com"))]
            );
            assert_eq!(line["key_refresh"], expected);
        }
    }
}
