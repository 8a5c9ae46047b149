use std::collections::BTreeMap;
use std::path::Path;

use super::{Access, METHODS, Method, Sender, Shape, find};
use crate::mcp::Revision;

#[test]
fn is_sorted_and_unique_and_found() {
    assert!(METHODS.is_sorted_by(|one, other| one.name < other.name));
    for method in METHODS {
        assert_eq!(find(method.name), Some(method));
        assert_eq!(super::is_notification_name(method.name), method.shape == Shape::Notification, "{}", method.name);
        assert!(method.first <= method.last, "{}", method.name);
    }
    for name in ["", "tools", "Tools/call", "tools/call ", "tools\\/call", "zzz"] {
        assert_eq!(find(name), None);
    }
}

#[test]
fn every_pointer_parses() {
    let is_token = |token: &str| !token.replace("~0", "").replace("~1", "").contains('~');
    let is_pointer = |text: &str| text.strip_prefix('/').is_some_and(|tokens| tokens.split('/').all(is_token));
    for method in METHODS {
        for place in places(method) {
            assert!(is_pointer(place), "{}: {place}", method.name);
            assert!(!place.contains("//") && !place.ends_with('/'), "{}: {place}", method.name);
        }
        for list in [method.opaque_params, method.opaque_result] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len(), "{} lists a place twice", method.name);
        }
        if let Access::Subject { pointer, .. } = method.access {
            assert!(is_pointer(pointer));
            assert!(
                method.opaque_params.contains(&pointer),
                "{}: what a rule is asked about is not rewritten",
                method.name
            );
        }
        if let Some(pointer) = method.header {
            assert!(method.opaque_params.contains(&pointer), "{}: what a header repeats is not rewritten", method.name);
        }
        if let Some(list) = method.list {
            let key = format!("/{}/*/{}", list.items, list.key);
            assert!(method.opaque_result.contains(&key.as_str()), "{}: {key}", method.name);
        }
    }
}

fn places(method: &Method) -> impl Iterator<Item = &'static str> {
    [method.opaque_params, method.opaque_result, method.binary_params, method.binary_result]
        .into_iter()
        .flatten()
        .copied()
}

#[test]
fn arguments_and_text_are_nowhere_opaque() {
    for method in METHODS {
        for place in places(method) {
            for text in
                ["/arguments", "/structuredContent", "/text", "/description", "/title", "/default", "/instructions"]
            {
                let is_a_name = place == "/prompts/*/arguments/*/name";
                assert!(is_a_name || !place.contains(text), "{}: {place}", method.name);
            }
        }
    }
}

/// Who sends what in one revision, from its published schema.
fn published(schema: &serde_json::Value) -> BTreeMap<String, Vec<&'static str>> {
    let definitions = schema.get("$defs").or_else(|| schema.get("definitions")).unwrap();
    let mut methods: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    let name =
        |definition: &serde_json::Value| Some(definition.pointer("/properties/method/const")?.as_str()?.to_owned());
    for (union, side) in [
        ("ClientRequest", "client"),
        ("ClientNotification", "client"),
        ("ServerRequest", "server"),
        ("ServerNotification", "server"),
    ] {
        let Some(union) = definitions.get(union) else { continue };
        let members = union.get("anyOf").and_then(|members| members.as_array().cloned()).unwrap_or_default();
        let members = members.iter().filter_map(|member| definitions.get(member["$ref"].as_str()?.rsplit('/').next()?));
        for method in members.chain([union]).filter_map(name) {
            methods.entry(method).or_default().push(side);
        }
    }
    for method in definitions.as_object().unwrap().values().filter_map(name) {
        methods.entry(method).or_default();
    }
    methods
}

#[test]
fn agrees_with_every_published_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/mcp-traffic/schema");
    for revision in Revision::ALL {
        let Ok(text) = std::fs::read(folder.join(format!("{revision}.schema.json"))) else {
            println!("skipped: no schema of {revision}");
            continue;
        };
        let published = published(&serde_json::from_slice(&text).unwrap());
        for (name, sides) in &published {
            let method = find(name).unwrap_or_else(|| panic!("{name} of {revision} is not in the table"));
            assert!(method.is_in(revision), "{name} is in {revision}");
            assert_eq!(method.is_from_client(revision), sides.contains(&"client"), "{name} from clients in {revision}");
            assert_eq!(method.is_from_server(revision), sides.contains(&"server"), "{name} from servers in {revision}");
        }
        let missing = METHODS.iter().filter(|method| method.is_in(revision) && !published.contains_key(method.name));
        let missing: Vec<_> = missing.map(|method| method.name).collect();
        // The tasks extension of 2026-07-28 has a schema of its own.
        let extension: &[&str] = match revision {
            Revision::V2026_07_28 => &["notifications/tasks", "tasks/cancel", "tasks/get", "tasks/update"],
            _ => &[],
        };
        assert_eq!(missing, extension, "{revision}");
        println!("{} methods of {revision}", published.len());
    }
}

#[test]
fn what_a_server_asks_of_a_client_needs_a_rule() {
    for method in METHODS.iter().filter(|method| method.shape == Shape::Request && method.sender == Sender::Server) {
        assert_eq!(method.access, Access::Named, "{}", method.name);
    }
    for method in METHODS.iter().filter(|method| method.name.contains("tasks")) {
        let wanted = if super::lists_tasks(method) { Access::Named } else { Access::Task };
        assert_eq!(method.access, wanted, "{}", method.name);
    }
}
