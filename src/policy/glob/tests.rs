use proptest::prelude::*;

use super::parse::{ALTERNATIVES, LENGTH};
use super::{GlobErrorKind, Pattern, Room, Separator};
use crate::json::fold;

const NAME: Separator = Separator::None;
const URI: Separator = Separator::Slash;

fn matches(glob: &str, separator: Separator, name: &str) -> bool {
    Pattern::parse(glob, separator).unwrap().iter().any(|pattern| pattern.matches(name))
}

#[test]
fn matches_whole_names() {
    for (glob, separator, yes, no) in [
        ("get_contact", NAME, &["get_contact"][..], &["get_contacts", "Get_contact", "get_contact ", ""][..]),
        ("get_*", NAME, &["get_", "get_a", "get_a/b"], &["get", "xget_a", "GET_a"]),
        ("*", NAME, &["", "a", "a/b"], &[]),
        ("*_contact", NAME, &["_contact", "get_contact"], &["get_contact_", "contact"]),
        ("a*b*c", NAME, &["abc", "a1b2c", "abbcc"], &["ab", "acb", "abcd"]),
        ("a?c", NAME, &["abc", "a/c", "aéc"], &["ac", "abbc"]),
        ("{get,search}_{a,b}", NAME, &["get_a", "search_b"], &["get_c", "get_", "{get,search}_a"]),
        ("get{,_all}", NAME, &["get", "get_all"], &["get_"]),
        ("x{a*,b?}y", NAME, &["xay", "xa--y", "xbby"], &["xby", "xy"]),
        (r"a\*b", NAME, &["a*b"], &["aab", r"a\*b"]),
        (r"\{id\}\\", NAME, &[r"{id}\"], &["id"]),
        (r"\!a!", NAME, &["!a!"], &["a"]),
        ("a,b", NAME, &["a,b"], &["a", "b"]),
        (
            "crm://contacts/*",
            URI,
            &["crm://contacts/7", "crm://contacts/"],
            &["crm://contacts/7/notes", "crm://contacts"],
        ),
        ("crm://contacts/**", URI, &["crm://contacts/7", "crm://contacts/7/notes"], &["crm://contact"]),
        ("file:///**/*.md", URI, &["file:///a/b/c.md", "file:///c.md"], &["file:///c.txt", "file:///.md/x"]),
        (
            "file:///**/secret/**",
            URI,
            &["file:///secret/x", "file:///a/secret/"],
            &["file:///secrets/x", "file:///a/secret"],
        ),
        ("a/**b", URI, &["a/b", "a/x/b", "a/xb"], &["ab"]),
        ("a/?/c", URI, &["a/b/c"], &["a///c", "a/bb/c", "a//c"]),
        ("**", URI, &["", "a://b/c"], &[]),
        ("***", URI, &["a/b"], &[]),
        ("*", URI, &["", "ab"], &["a/b"]),
        ("{a,b}/**", URI, &["a/", "b/c/d"], &["c/d"]),
    ] {
        for name in yes {
            assert!(matches(glob, separator, name), "{glob} should match {name:?}");
        }
        for name in no {
            assert!(!matches(glob, separator, name), "{glob} should not match {name:?}");
        }
    }
}

#[test]
fn refuses_what_is_no_glob() {
    use GlobErrorKind::{Bracket, Empty, Escape, Negation, Nested, Single, TooLong, TooMany, Unclosed, Unopened};
    for (glob, kind, span) in [
        ("", Empty, 0..0),
        ("{,a}", Empty, 0..4),
        ("a[bc]", Bracket, 1..2),
        ("{a,[}", Bracket, 3..4),
        ("!a", Negation, 0..1),
        (r"a\", Escape, 1..2),
        ("a{b,{c,d}}", Nested, 4..5),
        ("a/{id}", Single, 2..6),
        ("a{}", Single, 1..3),
        ("a{b,c", Unclosed, 1..5),
        ("a}", Unopened, 1..2),
    ] {
        let error = Pattern::parse(glob, NAME).unwrap_err();
        assert_eq!((error.kind, error.span), (kind, span), "{glob}");
        assert!(!kind.help().is_empty());
    }
    assert_eq!(Pattern::parse(&"a".repeat(LENGTH + 1), NAME).unwrap_err().kind, TooLong);
    assert_eq!(Pattern::parse(&"{a,b}".repeat(7), NAME).unwrap_err().kind, TooMany);
    assert_eq!(Pattern::parse(&"{a,b}".repeat(6), NAME).unwrap().len(), ALTERNATIVES);
}

/// Every step visits each position once, so patterns that are exponential in a backtracking matcher finish here.
#[test]
fn takes_no_longer_for_hostile_patterns() {
    let name = "a".repeat(4000);
    for glob in ["*a".repeat(LENGTH / 2 - 1) + "b", "?*".repeat(LENGTH / 2), "/**".repeat(LENGTH / 3)] {
        assert!(!matches(&glob, URI, &format!("{name}/c")), "{glob}");
    }
    assert!(matches(&"/**".repeat(LENGTH / 3), URI, &"/a".repeat(LENGTH)));
    assert!(matches(&("/**".repeat(LENGTH / 3) + "/"), URI, &"/".repeat(LENGTH)));
}

#[test]
fn folds_patterns_and_names_alike() {
    for (glob, name) in [
        ("delete_*", "DELETE_contact"),
        ("Delete_*", "delete_contact"),
        ("delete_contact", "ｄｅｌｅｔｅ_contact"),
        ("delete_contact", "delete_con\u{200b}tact"),
        ("delete_contact", " delete_contact\u{a0}"),
        ("*_contact\u{17f}", "delete_contacts"),
        ("drop_?", "DROP_X"),
        ("x*Y*z", "X--y--Z"),
    ] {
        let pattern = Pattern::parse(glob, NAME).unwrap().remove(0);
        assert!(!pattern.matches(name), "{glob} {name}");
        assert!(pattern.folded().matches(&Room::new().fold(name)), "{glob} {name}");
    }
}

/// The textbook definition, exponential and obviously correct.
fn naive(glob: &[char], name: &[char], separator: Separator) -> bool {
    let separates = separator == Separator::Slash;
    match glob {
        [] => name.is_empty(),
        ['/', '*', '*', '/', ..] if separates && name.first() == Some(&'/') => {
            (0..name.len()).any(|at| naive(&glob[3..], &name[at..], separator))
        }
        ['*', '*', rest @ ..] => (0..=name.len()).any(|at| naive(rest, &name[at..], separator)),
        ['*', rest @ ..] => {
            let end = name.iter().position(|char| separates && *char == '/').unwrap_or(name.len());
            (0..=end).any(|at| naive(rest, &name[at..], separator))
        }
        ['?', rest @ ..] => {
            name.split_first().is_some_and(|(char, left)| !(separates && *char == '/') && naive(rest, left, separator))
        }
        [char, rest @ ..] => {
            name.split_first().is_some_and(|(first, left)| first == char && naive(rest, left, separator))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_the_definition(glob in "(a|b|/|\\*|\\*\\*|\\?|/\\*\\*/){1,7}", name in "[ab/]{0,9}") {
        // Runs of three and more stars are one `**`; the definition knows two.
        let mut normal = glob.clone();
        while normal.contains("***") {
            normal = normal.replace("***", "**");
        }
        let (glob_chars, name_chars): (Vec<char>, Vec<char>) = (normal.chars().collect(), name.chars().collect());
        for separator in [NAME, URI] {
            prop_assert_eq!(matches(&glob, separator, &name), naive(&glob_chars, &name_chars, separator), "{} {}", glob, name);
        }
    }

    #[test]
    fn braces_are_their_words(
        words in prop::collection::vec("[ab*]{1,3}", 2..5),
        start in "[ab*]{0,2}",
        name in "[ab]{0,6}",
    ) {
        let glob = format!("{start}{{{}}}", words.join(","));
        let any = words.iter().any(|word| matches(&format!("{start}{word}"), NAME, &name));
        prop_assert_eq!(matches(&glob, NAME, &name), any);
    }

    #[test]
    fn escaped_text_matches_itself_only(text in "\\PC{1,20}", other in "\\PC{0,20}") {
        let glob: String = text.chars().flat_map(|char| ['\\', char]).collect();
        prop_assert!(matches(&glob, URI, &text));
        prop_assert_eq!(matches(&glob, URI, &other), text == other);
    }

    #[test]
    fn never_fails_otherwise_than_by_an_error(glob in "\\PC{0,40}", name in "\\PC{0,40}") {
        if let Ok(patterns) = Pattern::parse(&glob, URI) {
            for pattern in patterns {
                pattern.matches(&name);
                pattern.folded().matches(&name);
            }
        }
    }

    #[test]
    fn folds_as_json_does(name in "[ -~\t\u{7f}]{0,140}|\\PC{0,20}") {
        let mut room = Room::new();
        let (quick, slow) = (room.fold(&name), fold(&name));
        prop_assert_eq!(&*quick, slow.trim());
    }
}
