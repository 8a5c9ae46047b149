//! The lists of a server, of which it may say that they have changed.

use super::methods::{PROMPTS_CHANGED, RESOURCES_CHANGED, TOOLS_CHANGED};
use crate::json::{Kind, Splice, Value};

/// A list that clients may be told of when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ListKind {
    Prompts,
    /// Of resources and of resource templates.
    Resources,
    Tools,
}

impl ListKind {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Prompts, Self::Resources, Self::Tools];

    /// The list that a notification of that method is about.
    pub fn of(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.notification() == method)
    }

    /// The notification of a change.
    pub const fn notification(self) -> &'static str {
        match self {
            Self::Prompts => PROMPTS_CHANGED,
            Self::Resources => RESOURCES_CHANGED,
            Self::Tools => TOOLS_CHANGED,
        }
    }

    /// The server capability that has `listChanged`.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Tools => "tools",
        }
    }

    /// The member of a subscription's filter (2026-07-28, "Subscriptions").
    pub const fn filter(self) -> &'static str {
        match self {
            Self::Prompts => "promptsListChanged",
            Self::Resources => "resourcesListChanged",
            Self::Tools => "toolsListChanged",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Prompts => 1,
            Self::Resources => 2,
            Self::Tools => 4,
        }
    }
}

/// A set of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListKinds(u8);

impl ListKinds {
    /// Every list.
    pub const ALL: Self = Self(7);

    /// The set with those bits.
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// One bit for each list.
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Whether the list is in the set.
    pub const fn has(self, kind: ListKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether no list is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a list.
    pub const fn add(&mut self, kind: ListKind) {
        self.0 |= kind.bit();
    }

    /// Removes a list; returns whether it was in the set.
    pub const fn take(&mut self, kind: ListKind) -> bool {
        let had = self.has(kind);
        self.0 &= !kind.bit();
        had
    }

    /// The lists of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The lists in the set.
    pub fn iter(self) -> impl Iterator<Item = ListKind> {
        ListKind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// Those that the acknowledgement of a subscription has.
    pub fn acknowledged(params: Value<'_>) -> Self {
        let covers = |kind: ListKind| params.get("notifications")?.get(kind.filter())?.as_bool();
        ListKind::ALL.into_iter().filter(|kind| covers(*kind) == Some(true)).collect()
    }
}

impl FromIterator<ListKind> for ListKinds {
    fn from_iter<T: IntoIterator<Item = ListKind>>(kinds: T) -> Self {
        let mut all = Self::default();
        kinds.into_iter().for_each(|kind| all.add(kind));
        all
    }
}

/// Declares in an `initialize` result that changes of every list the server has are told of. Returns those lists.
///
/// What a caller sees of a list changes with the policy, whether or not the server's own list ever does.
pub fn declare(result: Value<'_>, splice: &mut Splice) -> ListKinds {
    let Some(capabilities) = result.get("capabilities") else { return ListKinds::default() };
    let mut declared = |kind: ListKind| {
        let own = capabilities.get(kind.capability()).filter(|own| own.kind() == Kind::Object)?;
        match own.get("listChanged") {
            Some(said) if said.as_bool() == Some(true) => {}
            Some(said) => splice.replace(said.span(), "true"),
            None => splice.add_members(own, [("listChanged", &b"true"[..])].into_iter()),
        }
        Some(kind)
    };
    ListKind::ALL.into_iter().filter_map(&mut declared).collect()
}

/// A notification that a list has changed; on a subscription's stream with the `id` of its request, as written.
pub fn changed(kind: ListKind, subscription: Option<&[u8]>) -> String {
    let method = kind.notification();
    let params = subscription.map_or_else(String::new, |id| {
        format!(r#","params":{{"_meta":{{"{}":{}}}}}"#, super::admit::META_SUBSCRIPTION, String::from_utf8_lossy(id))
    });
    format!(r#"{{"jsonrpc":"2.0","method":"{method}"{params}}}"#)
}

#[cfg(test)]
mod tests {
    use super::{ListKind, ListKinds, changed, declare};
    use crate::json::{Document, Limits, Splice};
    use crate::mcp::find;

    fn declared(capabilities: &str) -> (String, ListKinds) {
        let text = format!(r#"{{"capabilities":{capabilities}}}"#);
        let document = Document::parse(text.into(), &Limits::ANSWER).unwrap();
        let mut splice = Splice::new();
        let lists = declare(document.root(), &mut splice);
        (String::from_utf8(splice.apply(document.bytes()).to_vec()).unwrap(), lists)
    }

    #[test]
    fn what_a_server_has_is_declared_to_change_and_nothing_else() {
        let cases = [
            ("{}", "{}", &[][..]),
            (r#"{"tools":{}}"#, r#"{"tools":{"listChanged":true}}"#, &[ListKind::Tools]),
            (r#"{"tools":{"listChanged":true}}"#, r#"{"tools":{"listChanged":true}}"#, &[ListKind::Tools]),
            (r#"{"tools":{"listChanged":"x"}}"#, r#"{"tools":{"listChanged":true}}"#, &[ListKind::Tools]),
            (
                r#"{"prompts":{"listChanged":false},"resources":{"subscribe":true},"tools":null}"#,
                r#"{"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"tools":null}"#,
                &[ListKind::Prompts, ListKind::Resources],
            ),
        ];
        for (before, after, lists) in cases {
            let expected = (format!(r#"{{"capabilities":{after}}}"#), lists.iter().copied().collect());
            assert_eq!(declared(before), expected, "{before}");
        }
    }

    #[test]
    fn each_is_told_by_a_notification_of_the_table() {
        for kind in ListKind::ALL {
            assert_eq!(ListKind::of(find(kind.notification()).unwrap().name), Some(kind));
            assert_eq!(ListKinds::from_iter([kind]).iter().collect::<Vec<_>>(), [kind]);
        }
        let subscribed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"7"}}}"#;
        assert_eq!(changed(ListKind::Tools, Some(b"\"7\"")), subscribed);
        let plain = r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#;
        assert_eq!(changed(ListKind::Prompts, None), plain);
    }
}
