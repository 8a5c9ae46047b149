//! Writes a first policy file. Of what an upstream says, only tool names get into it.

use serde::Serialize;

use crate::mcp::SubjectKind;
use crate::mcp::names::is_odd;

/// The file, as the TOML serialiser writes it.
#[derive(Serialize)]
struct File<'a> {
    policy: Head<'a>,
    rule: Vec<Rule<'a>>,
    test: Vec<toml::Table>,
}

#[derive(Serialize)]
struct Head<'a> {
    name: &'a str,
    list: &'a str,
}

#[derive(Serialize)]
struct Rule<'a> {
    id: String,
    tools: Vec<&'a str>,
    scopes: Vec<String>,
}

/// The scope of a server, where nobody says another.
pub(in crate::cli) fn scope_of(server: &str) -> String {
    format!("{server}:use")
}

/// A policy that lets callers with one scope use every tool, for somebody to take apart; and the names that were left out.
///
/// What a tool says of itself (`readOnlyHint`) chooses no scope: an upstream would write its own policy.
pub(in crate::cli) fn policy<'a>(
    server: &'a str,
    scope: &str,
    names: impl Iterator<Item = &'a str>,
) -> (String, Vec<String>) {
    let (mut tools, mut left_out): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    for name in names {
        // Names without odd characters have none that mean something in a pattern either.
        if is_odd(SubjectKind::Tool, name) {
            left_out.push(name.to_owned());
        } else if !tools.contains(&name) {
            tools.push(name);
        }
    }
    let case = |name: &str, scope: &str, tool: &str, decision: &str| {
        let claims = toml::Table::from_iter([("sub".to_owned(), "ana".into()), ("scope".to_owned(), scope.into())]);
        let call = toml::Table::from_iter([("tool".to_owned(), tool.into())]);
        let expect = toml::Table::from_iter([("decision".to_owned(), toml::Value::from(decision))]);
        toml::Table::from_iter([
            ("name".to_owned(), toml::Value::from(name)),
            ("claims".to_owned(), claims.into()),
            ("call".to_owned(), call.into()),
            ("expect".to_owned(), expect.into()),
        ])
    };
    let cases = tools.first().map_or_else(Vec::new, |tool| {
        vec![
            case("who has the scope may call", scope, tool, "allow"),
            case("who has none is asked for it", "", tool, "step_up"),
        ]
    });
    let rule = Rule { id: format!("{server}-use"), tools, scopes: vec![scope.to_owned()] };
    let rules = if rule.tools.is_empty() { Vec::new() } else { vec![rule] };
    let file = File { policy: Head { name: server, list: "acquirable" }, rule: rules, test: cases };
    let text = toml::to_string_pretty(&file).unwrap_or_default();
    (
        format!(
            "# Every tool there is, for one scope: take the rule apart into those that read and those that write.\n{text}"
        ),
        left_out,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::policy;

    fn tools(text: &str) -> Vec<String> {
        let table: toml::Table = text.parse().unwrap();
        let rules = table.get("rule").and_then(|rules| rules.as_array()).cloned().unwrap_or_default();
        assert!(rules.len() <= 1);
        rules
            .iter()
            .flat_map(|rule| rule["tools"].as_array().unwrap())
            .map(|name| name.as_str().unwrap().into())
            .collect()
    }

    #[test]
    fn holds_exactly_the_plain_names() {
        let names = ["get_a", "get_a", "put/b", "*", "a\"]\n[[rule]]\nid = \"x\"", "get_\u{200b}a", "{a,b}", ""];
        let (text, left_out) = policy("crm", "crm:use", names.into_iter());
        assert_eq!(tools(&text), ["get_a", "put/b"]);
        assert_eq!(left_out.len(), 5);
        assert!(crate::policy::tests::policy(&text).len() == 1);
        assert_eq!(tools(&policy("crm", "crm:use", std::iter::empty()).0), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_name_becomes_anything_else(names in prop::collection::vec("\\PC{0,12}|[a-z_*\"\\n\\]\\[]{1,12}", 0..6)) {
            let (text, left_out) = policy("s", "s:use", names.iter().map(String::as_str));
            for tool in tools(&text) {
                let odd = tool.contains(['*', '?', '{', '"', '\n']);
                prop_assert!(names.contains(&tool) && !odd);
            }
            prop_assert!(left_out.iter().all(|name| names.contains(name)));
        }
    }
}
