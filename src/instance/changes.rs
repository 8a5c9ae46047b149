//! What a configuration changes of the one before it, for the log and the audit.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::audit::{Changes, Versions};
use crate::config::Config;
use crate::snapshot::Snapshot;

/// What `new` changes of `old`.
pub(super) fn between(old: (&Config, &Snapshot), new: (&Config, &Snapshot)) -> Changes {
    let mut changes = Changes { servers: versions(Some(old.1), new.1), ..Changes::default() };
    tables("server", &old.0.servers, &new.0.servers, &mut changes);
    tables("issuer", &old.0.issuers, &new.0.issuers, &mut changes);
    let settings = |config: &Config| {
        [
            ("[server]", format!("{:?}", config.server)),
            ("[admin]", format!("{:?}", config.admin)),
            ("[audit]", format!("{:?}", config.audit)),
            ("[cors]", format!("{:?}", config.cors)),
            ("[sealing]", format!("{:?}", config.sealing)),
            ("[state]", format!("{:?}", config.state)),
            ("[telemetry]", format!("{:?}", config.telemetry)),
        ]
    };
    for ((name, old), (_, new)) in settings(old.0).into_iter().zip(settings(new.0)) {
        if old != new {
            changes.changed.push(name.into());
        }
    }
    changes
}

/// What is in force and stays so, where a configuration is refused.
pub(super) fn none(current: &Snapshot) -> Changes {
    Changes { servers: versions(Some(current), current), ..Changes::default() }
}

/// What a first configuration brings.
pub(super) fn first(snapshot: &Snapshot) -> Changes {
    Changes { servers: versions(None, snapshot), ..Changes::default() }
}

/// The tables of a kind that are only in one of the two, or are not the same in both. Inline secrets all look the same.
fn tables<T: Debug>(
    kind: &str,
    old: &BTreeMap<Arc<str>, T>,
    new: &BTreeMap<Arc<str>, T>,
    Changes { added, changed, removed, .. }: &mut Changes,
) {
    for (name, table) in new {
        match old.get(name) {
            None => added.push(format!("{kind} {name}").into()),
            Some(before) if format!("{before:?}") != format!("{table:?}") => {
                changed.push(format!("{kind} {name}").into());
            }
            Some(_) => {}
        }
    }
    removed.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{kind} {name}").into()));
}

fn versions(old: Option<&Snapshot>, new: &Snapshot) -> Vec<Versions> {
    let mut all: BTreeMap<Arc<str>, Versions> = BTreeMap::new();
    for route in old.into_iter().flat_map(Snapshot::servers) {
        let versions = Versions { server: route.name.clone(), old: Some(route.policy_version.clone()), new: None };
        all.insert(route.name.clone(), versions);
    }
    for route in new.servers() {
        let versions = Versions { server: route.name.clone(), old: None, new: None };
        all.entry(route.name.clone()).or_insert(versions).new = Some(route.policy_version.clone());
    }
    all.into_values().collect()
}

/// Logs the changes, with the policies of `snapshot`.
pub(super) fn tell(changes: &Changes, snapshot: &Snapshot) {
    let Changes { added, changed, removed, .. } = changes;
    for (names, change) in [(added, "added"), (changed, "changed"), (removed, "removed")] {
        for name in names {
            tracing::info!(table = &**name, change, "configuration changed");
        }
    }
    for Versions { server, old, new } in changes.servers.iter().filter(|versions| versions.old != versions.new) {
        let Some(route) = snapshot.servers().find(|route| route.name == *server) else {
            tracing::info!(server = &**server, old = old.as_deref(), "policy no longer in force");
            continue;
        };
        let masks: usize = route.policy_files.iter().map(|file| file.masks).sum();
        tracing::info!(
            server = &**server,
            version = new.as_deref(),
            old = old.as_deref(),
            rules = route.policy.len(),
            masks,
            mode = route.policy.mode(),
            "policy loaded"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::tables;
    use crate::audit::Changes;
    use crate::config::{Config, parse};

    fn config(tables: &str) -> Config {
        let text = format!(
            "[server]\npublic_url = \"https://mcp.example.com\"\nlisten = [\"127.0.0.1:8080\"]\nplain_http = true\n{tables}"
        );
        parse(&text, Path::new("proxy.toml")).map_err(|problems| problems.render(false)).unwrap().0
    }

    fn server(name: &str, upstream: &str) -> String {
        format!(
            "[servers.{name}]\npath = \"/{name}\"\nupstream = \"{upstream}\"\npolicies = [\"x.toml\"]\nissuers = [\"corp\"]\n"
        )
    }

    #[test]
    fn tables_that_came_went_or_are_others_are_named() {
        let issuer = |name: &str| format!("[issuers.{name}]\nissuer = \"https://{name}.example.com\"\n");
        let (one, two) = ("http://127.0.0.1:3001/mcp", "http://127.0.0.1:3002/mcp");
        let old = config(&[issuer("corp"), server("crm", one), server("old", one), server("same", one)].concat());
        let more = [issuer("corp"), issuer("guests"), server("crm", two), server("new", one), server("same", one)];
        // That lines stand elsewhere is no change.
        let new = config(&format!("\n# moved\n{}", more.concat()));
        let mut changes = Changes::default();
        tables("server", &old.servers, &new.servers, &mut changes);
        tables("issuer", &old.issuers, &new.issuers, &mut changes);
        let names = |names: &[Box<str>]| names.join(", ");
        assert_eq!(names(&changes.added), "server new, issuer guests");
        assert_eq!(names(&changes.changed), "server crm");
        assert_eq!(names(&changes.removed), "server old");
    }
}
