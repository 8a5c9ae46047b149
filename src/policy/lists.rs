//! What the lists shown to callers depend on, as digests: where they are the same before and after a reload, so are the lists.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use super::lock::Lock;
use super::raw::{File, Rule};
use crate::config;
use crate::mask;
use crate::mcp::{ListKind, ListKinds, SubjectKind};

/// Keys of a rule that only concern calls.
const OF_CALLS: [&str; 4] = ["limit", "on_deny", "reason", "timeout"];

/// One digest for each kind of list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListVersions([Box<[u8]>; ListKind::ALL.len()]);

impl ListVersions {
    /// The digests over what policy files say.
    pub(super) fn of(files: &[File], masks: &[mask::Spec]) -> Self {
        let mut versions = Self::default();
        for file in files {
            let settings = &file.settings;
            let mut all = format!("{:?} {:?}", settings.list, settings.mode);
            // Writing to a string does not fail.
            let _ = write!(all, "{:?} {}", settings.shadow_until, settings.baseline.is_some());
            for (broad, narrow) in &file.scopes {
                let narrow: Vec<_> = narrow.iter().map(toml::Spanned::get_ref).collect();
                let _ = write!(all, "{:?}{narrow:?}", broad.get_ref());
            }
            versions.add(ListKinds::ALL, &all);
            for rule in &file.rules {
                versions.add(listed(rule), &written(file, rule));
            }
            for described in &file.described {
                versions.add([ListKind::Tools].into_iter().collect(), &described.said());
            }
        }
        for mask in masks.iter().filter(|mask| mask.on.result) {
            versions.add(ListKinds::ALL, &format!("{mask:?}"));
        }
        versions
    }

    /// The same with what `[servers.NAME]` says of tools and of `_meta`, and the approved definitions.
    #[must_use]
    pub fn with(mut self, tools: &config::Tools, meta: &[String], lock: Option<&Lock>) -> Self {
        self.add(ListKinds::ALL, &format!("{:?}{meta:?}", tools.lint));
        let mut of_tools = format!("{:?}{:?}", tools.schema, tools.on_drift);
        for (name, fingerprint) in lock.into_iter().flat_map(Lock::fingerprints) {
            let _ = write!(of_tools, "{name:?}{fingerprint}");
        }
        self.add([ListKind::Tools].into_iter().collect(), &of_tools);
        self
    }

    /// The lists that may differ.
    pub fn changed(&self, other: &Self) -> ListKinds {
        let pairs = ListKind::ALL.into_iter().zip(self.0.iter().zip(&other.0));
        pairs.filter(|(_, (one, other))| one != other).map(|(kind, _)| kind).collect()
    }

    fn add(&mut self, kinds: ListKinds, part: &str) {
        for (kind, version) in ListKind::ALL.into_iter().zip(&mut self.0) {
            if kinds.has(kind) {
                // The version before has a fixed length.
                *version = digest(&SHA256, &[version, part.as_bytes()].concat()).as_ref().into();
            }
        }
    }
}

/// The lists that a rule may change; every list, where it is about methods only.
fn listed(rule: &Rule) -> ListKinds {
    if rule.subjects.is_empty() {
        return ListKinds::ALL;
    }
    let kind = |kind: &SubjectKind| match kind {
        SubjectKind::Prompt => ListKind::Prompts,
        SubjectKind::Resource | SubjectKind::ResourceTemplate => ListKind::Resources,
        SubjectKind::Tool => ListKind::Tools,
    };
    rule.subjects.iter().map(|(subject, _)| kind(subject)).collect()
}

/// What the file says in a rule, as far as lists depend on it.
fn written(file: &File, rule: &Rule) -> String {
    let keys = rule.place.keys.iter().filter(|(key, _)| !OF_CALLS.contains(&&**key));
    let texts = keys.filter_map(|(_, span)| file.source.text.get(span.clone()));
    let mut text: String = texts.flat_map(|text| [text, "\n"]).collect();
    // A table of its own does not stand in the span of its key.
    if let Some(args) = &rule.args {
        let _ = write!(text, "{}", args.additional());
        for argument in args.arguments() {
            let _ = write!(text, "{}{:?}", argument.pointer(), argument.words().collect::<Vec<_>>());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::config::Problems;
    use crate::mcp::{ListKind, ListKinds};
    use crate::policy::load::from_texts;

    const BASE: &str = "[policy]\nname = \"x\"\n[[rule]]\nid = \"a\"\ntools = [\"get_*\"]\nlimit = { rate = \"5/min\" }\n\
                        [[rule]]\nid = \"b\"\nprompts = [\"*\"]\nresources = [\"crm://*\"]\n\
                        [rule.args]\nregion = { equals = \"eu\" }\n[[describe]]\ntool = \"b\"\ntitle = \"B\"\n";

    #[test]
    fn a_list_changes_with_what_it_depends_on_and_not_otherwise() {
        use ListKind::{Prompts, Resources, Tools};
        let base = BASE.replace("resources = [\"crm://*\"]\n", "");
        let versions = |text: &str| {
            let mut problems = Problems::default();
            let loaded = from_texts(&[text], &mut problems);
            assert!(!problems.has_errors(), "{problems:?}");
            loaded.lists
        };
        let before = versions(&base);
        let rule = |more: &str| format!("{base}[[rule]]\nid = \"c\"\n{more}\n");
        let mask = |on: &str| {
            format!("{base}[[mask]]\nid = \"m\"\non = [\"{on}\"]\nentities = [\"IBAN_CODE\"]\naction = \"mask\"\n")
        };
        let cases = [
            (format!("# a comment\n\n{base}"), &[][..]),
            (base.replace("5/min", "6/min"), &[]),
            (base.replace("name = \"x\"", "name = \"y\""), &[]),
            (
                format!(
                    "{base}[[test]]\nname = \"t\"\nscopes = [\"a\"]\ncall = {{ tool = \"get_a\" }}\nexpect = {{ decision = \"allow\" }}\n"
                ),
                &[],
            ),
            (mask("arguments"), &[]),
            (base.replace("get_*", "put_*"), &[Tools]),
            (base.replace("\"eu\"", "\"us\""), &[Prompts]),
            (rule("resource_templates = [\"crm://*\"]"), &[Resources]),
            (rule("effect = \"deny\"\ntools = [\"x\"]\nprompts = [\"x\"]"), &[Prompts, Tools]),
            (rule("methods = [\"tools/call\"]"), &[Prompts, Resources, Tools]),
            (mask("result"), &[Prompts, Resources, Tools]),
            (base.replace("[policy]", "[policy]\nlist = \"all\""), &[Prompts, Resources, Tools]),
            (format!("{base}[scopes]\nwrite = [\"read\"]\n"), &[Prompts, Resources, Tools]),
            (format!("{base}[[describe]]\ntool = \"get_a\"\ntitle = \"A\"\n"), &[Tools]),
        ];
        for (text, kinds) in cases {
            let expected: ListKinds = kinds.iter().copied().collect();
            assert_eq!(before.changed(&versions(&text)), expected, "{text}");
        }
    }
}
