use std::sync::Arc;

use super::{Audit, Event, Fragment, Lane, Record, Sanitize, escape};
use crate::clock::Timestamp;

/// The most servers, and tables of each kind of change, that one line names.
const MOST: usize = 100;

/// What a configuration changes, by the tables of `proxy.toml`, and the policies of all servers before and after.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) struct Changes {
    pub(crate) added: Vec<Box<str>>,
    pub(crate) changed: Vec<Box<str>>,
    pub(crate) removed: Vec<Box<str>>,
    pub(crate) servers: Vec<Versions>,
}

impl Changes {
    /// The number of tables and policies that are not what they were.
    pub(crate) fn count(&self) -> usize {
        let policies = self.servers.iter().filter(|versions| versions.old != versions.new).count();
        self.added.len() + self.changed.len() + self.removed.len() + policies
    }
}

/// The versions of one server's policy; `None` where there is no such server.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) struct Versions {
    pub(crate) server: Arc<str>,
    pub(crate) old: Option<Arc<str>>,
    pub(crate) new: Option<Arc<str>>,
}

/// What caused a configuration to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Somebody at the admin endpoints.
    Admin,
    /// A file changed.
    Files,
    /// SIGHUP.
    Signal,
    /// The start of the process.
    Start,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Files => "files",
            Self::Signal => "signal",
            Self::Start => "start",
        }
    }
}

/// Writes which configuration is in force; `refused` says why a newer one is not.
///
/// It is in force, or not, whether the line can be written or not: if not, that is logged, and calls are refused for the
/// same reason.
pub(crate) fn configured(audit: &Arc<Audit>, by: By, changes: &Changes, refused: Option<&str>) {
    let event = if by == By::Start { Event::Start } else { Event::ConfigReload };
    let about = render(by, changes, refused, audit.sanitize);
    let mut record = Record::new(event, Timestamp::now(), uuid::Uuid::now_v7());
    record.about = Some(&about);
    if Lane::new(Arc::clone(audit)).record_now(&record).is_err() {
        tracing::error!("audit log cannot be written");
    }
}

fn render(by: By, changes: &Changes, refused: Option<&str>, sanitize: Sanitize) -> Fragment {
    let Changes { added, changed, removed, servers } = changes;
    let result = if refused.is_some() { "refused" } else { "loaded" };
    let mut out = format!(",\"config\":{{\"by\":\"{}\",\"result\":\"{result}\"", by.name()).into_bytes();
    if let Some(reason) = refused {
        out.extend_from_slice(b",\"reason\":");
        escape::foreign(&mut out, reason, sanitize);
    }
    for (key, names) in [("added", added), ("changed", changed), ("removed", removed)] {
        if !names.is_empty() {
            list(&mut out, key, names, |out, name| escape::own(out, name));
        }
    }
    list(&mut out, "servers", servers, versions);
    let more = servers.len().saturating_sub(MOST);
    if more > 0 {
        out.extend_from_slice(format!(",\"more\":{more}").as_bytes());
    }
    out.push(b'}');
    Fragment::kept(out)
}

fn versions(out: &mut Vec<u8>, versions: &Versions) {
    out.extend_from_slice(b"{\"server\":");
    escape::own(out, &versions.server);
    for (key, version) in [("old", &versions.old), ("new", &versions.new)] {
        if let Some(version) = version {
            out.extend_from_slice(format!(",\"{key}\":").as_bytes());
            escape::own(out, version);
        }
    }
    out.push(b'}');
}

fn list<T>(out: &mut Vec<u8>, key: &str, items: &[T], one: impl Fn(&mut Vec<u8>, &T)) {
    out.extend_from_slice(format!(",\"{key}\":[").as_bytes());
    for (at, item) in items.iter().take(MOST).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        one(out, item);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{By, Changes, MOST, Versions, render};
    use crate::audit::Fragment;

    fn rendered(by: By, changes: &Changes, refused: Option<&str>) -> Value {
        let Fragment(bytes) = render(by, changes, refused, |text| text.replace("ana@", "***@").into());
        let line: Value = serde_json::from_slice(&[b"{\"v\":1", &*bytes, b"}"].concat()).unwrap();
        line["config"].clone()
    }

    #[test]
    fn what_came_went_and_changed_is_told_and_nothing_breaks_out() {
        let versions = |old: Option<&str>, new: Option<&str>| Versions {
            server: "crm".into(),
            old: old.map(Into::into),
            new: new.map(Into::into),
        };
        let changes = Changes {
            added: vec!["server \"\n".into()],
            changed: vec!["issuer corp".into()],
            servers: vec![versions(Some("sha256:1"), Some("sha256:2"))],
            ..Changes::default()
        };
        assert_eq!(
            rendered(By::Files, &changes, None),
            json!({
                "by": "files", "result": "loaded", "added": ["server \"\n"], "changed": ["issuer corp"],
                "servers": [{ "server": "crm", "old": "sha256:1", "new": "sha256:2" }],
            })
        );
        let first = Changes { servers: vec![versions(None, Some("sha256:1"))], ..Changes::default() };
        assert_eq!(
            rendered(By::Signal, &first, Some("ana@example.com\nwas here")),
            json!({
                "by": "signal", "result": "refused", "reason": "***@example.com\nwas here",
                "servers": [{ "server": "crm", "new": "sha256:1" }],
            })
        );
    }

    #[test]
    fn a_line_is_bounded() {
        let one = |at: usize| Versions { server: format!("s{at}").into(), old: None, new: Some("sha256:1".into()) };
        let changes = Changes { servers: (0..MOST + 7).map(one).collect(), ..Changes::default() };
        let told = rendered(By::Start, &changes, None);
        assert_eq!((told["servers"].as_array().unwrap().len(), &told["more"]), (MOST, &json!(7)));
    }
}
