use std::path::{Path, PathBuf};

use super::super::{Operation, load};
use super::{from_texts, load_read};
use crate::config::Problems;
use crate::mask::{Action, Directions, Entity, What};

/// A file, and what its rendered problems must contain: place, message and advice.
const REFUSED: &[(&str, &[&str])] = &[
    ("[[rule]", &["0.toml:1:", "not TOML"]),
    ("a = 1\na = 2", &["0.toml:2:1", "not TOML", "duplicate key"]),
    ("[[rule]]\ntools = [\"x\"]", &["0.toml:1:", "a rule needs an `id`", "id = \"crm-read\""]),
    ("[[rule]]\nid = \"a b\"\ntools = [\"x\"]", &["0.toml:2:6", "cannot be the `id`", "digits"]),
    ("[[rule]]\nid = \"a\"", &["0.toml:1:", "must say what it is about", "lists nothing", "add `tools`"]),
    ("[[rule]]\nid = \"a\"\nscopes = [\"s\"]\neffect = \"deny\"", &["must say what it is about"]),
    ("[[rule]]\nid = \"a\"\ntools = []", &["0.toml:3:9", "`tools` is empty", "take the key out"]),
    ("[[rule]]\nid = \"a\"\ntools = [\"\"]", &["0.toml:3:10", "empty string"]),
    (
        "[[rule]]\nid = \"a\"\ntools = \"x\"",
        &["0.toml:3:9", "a list of strings", "this is a string", "write `[\"x\"]`"],
    ),
    ("[[rule]]\nid = \"a\"\ntools = [1]", &["0.toml:3:10", "`tools` must be a string", "this is a number"]),
    ("[[rule]]\nid = \"a\"\ntool = [\"x\"]", &["0.toml:3:1", "unknown key `tool`", "did you mean `tools`?"]),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nzebra = 1", &["unknown key `zebra`", "the keys of `[[rule]]` are `id`"]),
    ("[[rules]]\nid = \"a\"", &["0.toml:1:3", "unknown key `rules`", "did you mean `rule`?"]),
    ("[rule]\nid = \"a\"", &["`rule` must be a list of tables, each under `[[rule]]`", "this is a table"]),
    (
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\neffect = \"forbid\"",
        &["0.toml:4:10", "`effect` cannot be `forbid`", "known are `allow` and `deny`"],
    ),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\neffect = \"Deny\"", &["did you mean `deny`?"]),
    (
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\n[rule.args]\nowner = 1",
        &["0.toml:5:9", "what must `owner` be?", "write `owner = { equals"],
    ),
    (
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\nmode = \"shadow\"",
        &["every rule is in shadow", "baseline = \"allow_listed\"", "shadow_until"],
    ),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nstep_up = \"no\"", &["`step_up` must be `true` or `false`"]),
    (
        "[[rule]]\nid = \"a\"\neffect = \"deny\"\ntools = [\"x\"]\nstep_up = false",
        &["0.toml:5:11", "never asks for wider scopes"],
    ),
    ("[[rule]]\nid = \"a\"\neffect = \"deny\"\ntools = [\"x\"]\nreason = \"a\\nb\"", &["0.toml:5:10", "one line"]),
    ("[[rule]]\nid = \"a\"\ntools = [\"get_{a\"]", &["0.toml:3:15", "`{` without `}`", "write `\\{`"]),
    (
        "[[rule]]\nid = \"a\"\nresources = [\"crm://x/{id}\"]",
        &["0.toml:3:23", "single word", "`*` for what a template leaves open"],
    ),
    ("[[rule]]\nid = \"a\"\ntools = ['''\n[x]''']", &["0.toml:3:10", "`[` has no meaning"]),
    (
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\nscopes = [\"a b\"]",
        &["0.toml:4:11", "cannot be a scope", "one scope a string"],
    ),
    (
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\n[[rule]]\nid = \"a\"\ntools = [\"y\"]",
        &["0.toml:5:6", "the rule `a` is there twice", "the first is at 0.toml:2"],
    ),
    ("[policy]\nmode = \"shadows\"", &["0.toml:2:8", "did you mean `shadow`?"]),
    (
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\nlimit = { rate = \"5 a minute\" }",
        &["0.toml:4:18", "this is not a rate", "\"5/min\""],
    ),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nlimit = { rate = \"0/min\" }", &["this is not a rate"]),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nlimit = { per = \"subject\" }", &["a limit must say of what"]),
    (
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\nlimit = { concurrency = 0, per = [\"subjects\"] }",
        &["`concurrency` must be a whole number from 1", "did you mean `subject`?"],
    ),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nlimit = { concurrency = 1, burst = 1 }", &["`burst` belongs to a `rate`"]),
    (
        "[[rule]]\nid = \"a\"\neffect = \"deny\"\ntools = [\"x\"]\nlimit = { concurrency = 1 }\ntimeout = \"5s\"",
        &["`limit` means nothing in a deny rule", "`timeout` means nothing in a deny rule"],
    ),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\ntimeout = \"5\"", &["0.toml:4:11", "the number has no unit"]),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\ntimeout = \"2h\"", &["between 1 ms and 1 h"]),
    (
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\nanonymous = true\nscopes = [\"s\"]\nissuer = [\"i\"]\n[rule.args]\no = { equals = \"${claims.sub}\" }",
        &["`scopes` means nothing in a rule for callers without a token", "`issuer` means nothing", "has no claims"],
    ),
    (
        "[[rule]]\nid = \"a\"\nmethods = [\"tasks/list\", \"prompts/get\", \"x/y\"]\nanonymous = true",
        &["0.toml:3:12", "`tasks/list` is not for callers without a token"],
    ),
    (
        "[[rule]]\nid = \"a\"\neffect = \"deny\"\ntools = [\"x\"]\nanonymous = true",
        &["0.toml:5:1", "`anonymous` means nothing in a deny rule"],
    ),
    ("[[rule]]\nid = \"a\"\ntools = [\"x\"]\nanonymous = \"yes\"", &["`anonymous` must be `true` or `false`"]),
    ("[policy]\nshadow_until = \"tomorrow\"", &["0.toml:2:16", "not a date and time in UTC"]),
    ("[policy]\nbaseline = \"allow_all\"", &["0.toml:2:12", "known are `allow_listed`"]),
    (
        "[policy]\nmode = \"shadow\"\nbaseline = \"allow_listed\"\n[[rule]]\nid = \"a\"\ntools = [\"x\"]",
        &["0.toml:3:1", "`baseline` needs an end", "shadow_until"],
    ),
    (
        "[policy]\nmode = \"shadow\"\nbaseline = \"allow_listed\"\nshadow_until = 2026-02-01T00:00:00Z\n[[rule]]\nid = \"a\"\ntools = [\"x\"]\nmode = \"enforce\"",
        &["0.toml:3:1", "every rule is in shadow", "take it out"],
    ),
    (
        "[policy]\nlist = \"everything\"",
        &["`list` cannot be `everything`", "known are `acquirable`, `allowed` and `all`"],
    ),
    ("[policy]\ndefault = \"allow\"", &["0.toml:2:1", "unknown key `default`"]),
    ("[scopes]\na = [\"b\"]\nb = [\"c\"]\nc = [\"a\"]", &["0.toml:4:6", "in a circle: `c` > `a` > `b` > `c`"]),
    ("[scopes]\na = \"b\"", &["`a` must be a list of strings"]),
    ("[[describe]]\ntool = \"x\"", &["0.toml:1:", "must say something", "add a `title`"]),
    ("[[describe]]\ntitle = \"x\"", &["0.toml:1:", "must say of which tool"]),
    ("[[describe]]\ntool = \"get_*\"\ntitle = \"x\"", &["0.toml:2:8", "of one tool", "exact name"]),
    (
        "[[describe]]\ntool = \"x\"\ntitle = \"x\"\n[[describe]]\ntool = \"x\"\ndescription = \"x\"",
        &["0.toml:5:8", "the tool `x` is described twice"],
    ),
    (
        "[[describe]]\ntool = \"x\"\ndescriptions = \"x\"",
        &["unknown key `descriptions`", "did you mean `description`?"],
    ),
    ("[[describe]]\ntool = \"x\"\nargs = {}", &["`args` is not supported by this version"]),
    ("[[test]]\ncall = {}", &["0.toml:1:", "a test needs a `name`"]),
    ("[[mask]]\nid = \"m\"\nentities = [\"SECRET\"]", &["must say where it looks"]),
    ("[[mask]]\nid = \"m\"\non = [\"results\"]\nentities = [\"SECRET\"]", &["0.toml:3:7", "did you mean `result`?"]),
    ("[[mask]]\nid = \"m\"\non = [\"result\"]", &["must say what it looks for", "each pattern is a mask"]),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADRESS\"]",
        &["0.toml:4:13", "no entity `EMAIL_ADRESS`", "did you mean `EMAIL_ADDRESS`?"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\npattern = 'x'\nentities = [\"SECRET\"]",
        &["either `entities` or a `pattern`"],
    ),
    ("[[mask]]\nid = \"m\"\non = [\"result\"]\npattern = 'x'", &["0.toml:4:11", "a `pattern` needs a `label`"]),
    ("[[mask]]\nid = \"m\"\non = [\"result\"]\npattern = 'x'\nlabel = \"x y\"", &["0.toml:5:9", "cannot be a `label`"]),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"hsah\"",
        &["0.toml:5:10", "did you mean `hash`?"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nscope = \"server\"",
        &["0.toml:5:9", "`scope` belongs to `action = \"hash\"`"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"hash\"\nscope = \"world\"",
        &["0.toml:6:9", "known are `principal` and `server`"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nrestore = [{ tool = \"x\", args = [\"/to\"] }]",
        &["0.toml:5:21", "`restore` belongs to `action = \"tokenize\"`"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"tokenize\"\nrestore = [{ tool = \"x*\", args = [\"to\"], entities = [\"SECRET\"], when = \"x\" }]",
        &["without wildcards", "`to` is no JSON Pointer", "no pseudonyms of `SECRET`", "unknown key `when`"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"tokenize\"\nrestore = [{ tool = \"x\" }, { args = [\"/to\"] }]",
        &["grant needs `args`", "grant needs `tool`"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nexcept = [{}]",
        &["0.toml:5:", "an exception must say what it is about"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nexcept = [{ fields = [\"url\"] }]",
        &["`url` is no JSON Pointer"],
    ),
    ("[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\ntools = [\"a[\"]", &["0.toml:5:"]),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nunless_scopes = [\"a b\"]",
        &["0.toml:5:18"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nkeys = \"hide\"",
        &["`keys` cannot be `hide`"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nblobs = \"mask\"",
        &["`blobs` cannot be `mask`"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"SECRET\"]\nkeep_last = 4",
        &["0.toml:5:13", "`keep_last` belongs to `action = \"mask\"`"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"SECRET\"]\naction = \"mask\"\nkeep_last = -1",
        &["0.toml:6:13", "a whole number from 0 to 64"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"SECRET\"]\naction = \"mask\"\nchar = \"**\"",
        &["0.toml:6:8", "one printable character"],
    ),
    (
        "[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\nwhen = \"x\"",
        &["0.toml:5:1", "`when` is not supported by this version"],
    ),
];

/// The content of `[rule.args]`, in a rule that begins with four lines, and what its problems must contain.
const REFUSED_ARGS: &[(&str, &[&str])] = &[
    ("", &["`[rule.args]` says nothing"]),
    ("a = {}", &["0.toml:5:1", "this argument has no words", "words are `equals`"]),
    ("a = { equal = 5 }", &["0.toml:5:7", "unknown word `equal`", "did you mean `equals`?"]),
    ("a = { zebra = 5 }", &["unknown word `zebra`", "known are `equals`"]),
    ("a = { maximum = \"5\" }", &["0.toml:5:17", "`maximum` must be a number"]),
    ("a = { maximum = 9007199254740993 }", &["within ±2^53"]),
    ("a = { maximum = inf }", &["within ±2^53"]),
    ("a = { maximum = nan }", &["within ±2^53"]),
    ("a = { min_length = -1 }", &["a whole number, not negative"]),
    ("a = { min_length = 1.5 }", &["a whole number, not negative"]),
    ("a = { enum = [] }", &["`enum` must be a list of 1 to 256"]),
    ("a = { enum = [[1]] }", &["`enum` must be a list"]),
    ("a = { equals = [1] }", &["`equals` must be a string"]),
    ("a = { equals = 2026-01-05 }", &["`equals` must be a string"]),
    ("a = { equals = \"${args.b}\" }", &["0.toml:5:16", "names no claim", "`${claims.email}`"]),
    ("a = { equals = \"${claims.x\" }", &["names no claim"]),
    ("a = { pattern = '(' }", &["0.toml:5:17", "not a regular expression: unclosed group"]),
    ("a = { pattern = '' }", &["must be a regular expression"]),
    ("a = { pattern = '(?!x)' }", &["look-around is not supported"]),
    ("a = { pattern = '(?:a{1,1000}){1,1000}' }", &["more than 1 MiB", "repeat less"]),
    ("a = { pattern = '\\p{L}{1000}{1000}' }", &["more than 1 MiB"]),
    ("a = { required = 1 }", &["`required` must be `true` or `false`"]),
    ("a = { forbidden = false }", &["`forbidden` must be `true`", "take it out"]),
    ("a = { forbidden = true, maximum = 5 }", &["`forbidden` can have no other word"]),
    ("a = { minimum = 5, maximum = 4 }", &["`minimum` is above `maximum`", "nothing fits"]),
    ("a = { min_length = 5, max_length = 4 }", &["`min_length` is above"]),
    ("a = { pattern = 'x', maximum = 4 }", &["`pattern` is of text and `maximum` of numbers"]),
    ("\"\" = { maximum = 5 }", &["names no argument", "JSON Pointer"]),
    ("\"a..b\" = { maximum = 5 }", &["names no argument"]),
    ("\"a.b\" = { maximum = 5 }\n\"/a/b\" = { minimum = 1 }", &["0.toml:6:", "the argument `/a/b` is there twice"]),
    ("a = { maximum = 5 }\n\"a.b\" = { maximum = 5 }", &["`/a/b` cannot be inside `/a`", "only `required`"]),
];

#[test]
fn refuses_arguments_with_place_and_advice() {
    for (args, expected) in REFUSED_ARGS {
        let text = format!("[[rule]]\nid = \"a\"\ntools = [\"x\"]\n[rule.args]\n{args}");
        refuses(&text, expected);
    }
    refuses(
        "[[rule]]\nid = \"a\"\ntools = [\"x\"]\neffect = \"deny\"\n[rule.args]\nadditional = true\na = { maximum = 5 }",
        &["0.toml:6:14", "`additional` means nothing in a deny rule"],
    );
    refuses(
        "[[rule]]\nid = \"a\"\nresources = [\"x\"]\n[rule.args]\na = { maximum = 5 }",
        &["0.toml:4:7", "only tools and prompts have arguments", "a rule of its own"],
    );
    let many = (0..300).map(|at| format!("a{at} = {{ maximum = 5 }}")).collect::<Vec<_>>().join("\n");
    refuses(&format!("[[rule]]\nid = \"a\"\ntools = [\"x\"]\n[rule.args]\n{many}"), &["more than 256 arguments"]);
}

#[test]
fn refuses_with_place_and_advice() {
    for (text, expected) in REFUSED {
        refuses(text, expected);
    }
}

fn refuses(text: &str, expected: &[&str]) {
    let mut problems = Problems::new();
    let loaded = from_texts(&[text], &mut problems);
    let shown = problems.render(false);
    assert!(problems.has_errors(), "{text}");
    assert!(loaded.policy.is_empty() && loaded.masks.is_empty());
    for part in expected {
        assert!(shown.contains(part), "no {part:?} for\n{text}\nin\n{shown}");
    }
}

#[test]
fn finds_everything_wrong_at_once() {
    let first = "[policy]\nmode = \"shadows\"\n[[rule]]\nid = \"a\"\ntool = [\"x\"]\n[[rule]]\nid = \"b\"\ntools = [\"[\"]\nwhen = \"x\"\n";
    let second = "[[rule]]\nid = \"b\"\ntools = [\"x\"]\n[[mask]]\non = [\"result\"]\nentities = [\"X\"]\n[oops]\n";
    let mut problems = Problems::new();
    let loaded = from_texts(&[first, second], &mut problems);
    let shown = problems.render(false);
    for part in [
        "0.toml:2:8",
        "unknown key `tool`",
        "0.toml:8:11",
        "there is no `x`",
        "the rule `b` is there twice",
        "a mask needs an `id`",
        "unknown key `oops`",
    ] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    assert!(loaded.policy.is_empty());
}

/// Files that exhaust the stack of parsers, or have very many errors: refused, with a bounded report.
#[test]
fn survives_files_made_to_exhaust() {
    for text in [
        format!("x = {}", "[".repeat(20_000)),
        format!("x = {}", "{a=".repeat(10_000)),
        format!("a{} = 1", ".a".repeat(10_000)),
        format!("[{}a]", "a.".repeat(10_000)),
        format!("[[rule]]\nid = \"a\"\ntools = [\"{}\"]", "{".repeat(20_000)),
        format!("[[rule]]\nid = \"{}\"\ntools = [\"x\"]", "a".repeat(20_000)),
        format!(
            "[scopes]\n{}",
            (0..500).map(|at| format!("s{at} = [\"s{}\"]\n", (at + 1) % 500)).collect::<Vec<_>>().concat()
        ),
    ] {
        let mut problems = Problems::new();
        let loaded = from_texts(&[&text], &mut problems);
        assert!(problems.has_errors() && loaded.policy.is_empty(), "{text:.80}");
        let shown = problems.render(false);
        assert!(!shown.is_empty() && shown.len() < 1_000_000, "{text:.80}: {}", shown.len());
    }
    let rules: Vec<_> = (0..2_000).map(|at| format!("[[rule]]\nid = \"r{at}\"\ntool = [\"x\"]\n")).collect();
    let mut problems = Problems::new();
    let loaded = from_texts(&[&rules.concat()], &mut problems);
    assert!(loaded.policy.is_empty());
    let shown = problems.render(false);
    assert!(shown.matches("error: ").count() == 100 && shown.contains(" more problems"), "{}", shown.len());
    assert!(problems.to_json()["errors"].as_u64().unwrap() >= 2_000);
}

#[test]
fn warns_where_a_key_does_nothing() {
    let mut problems = Problems::new();
    let text = "[[rule]]\nid = \"a\"\ntools = [\"x\"]\nreason = \"r\"\nscopes = [\"offline_access\"]";
    let loaded = from_texts(&[text], &mut problems);
    let shown = problems.render(false);
    assert!(!problems.has_errors() && loaded.policy.len() == 1);
    assert!(shown.contains("`reason` has no effect in an allow rule") && shown.contains("refresh token"), "{shown}");
}

#[test]
fn what_is_wrong_with_a_pattern_is_shown_at_the_pattern() {
    let text = "[[mask]]\nid = \"ids\"\non = [\"result\"]\nlabel = \"ID\"\npattern = '(a'\n\
                [[mask]]\nid = \"mails\"\non = [\"arguments\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"tokenize\"\n";
    let mut problems = Problems::new();
    let mut loaded = from_texts(&[text], &mut problems);
    assert!(problems.is_empty() && loaded.compile_masks(&mut problems).is_none());
    let said = problems.to_string();
    assert!(said.contains("0.toml:5:11: error: pattern `(a` cannot be used: unclosed group"), "{said}");
    assert!(said.contains("0.toml:7:6: error: pseudonyms are for results"), "{said}");
}

#[test]
fn a_file_of_another_encoding_is_refused_for_that_alone() {
    let wide = |mark: &[u8], unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        mark.iter().copied().chain("[[rule]]\nid = \"a\"\n".encode_utf16().flat_map(unit)).collect()
    };
    for (bytes, told, help) in [
        (
            wide(&[0xff, 0xfe], u16::to_le_bytes),
            "the policy file is UTF-16, not UTF-8",
            "iconv -f UTF-16 -t UTF-8 a.toml",
        ),
        (wide(&[], u16::to_le_bytes), "the policy file is UTF-16LE, not UTF-8", "iconv -f UTF-16LE -t UTF-8 a.toml"),
        (b"[[rule]]\nid = \"\xe9\"\n".to_vec(), "^ not UTF-8 from here", "save it as UTF-8"),
        (b"[[rule]]\0\0\n".to_vec(), "the policy file has a NUL byte in line 1", "save it as UTF-8"),
    ] {
        let mut problems = Problems::new();
        let loaded = load_read(Path::new("a.toml"), bytes, &mut problems);
        assert_eq!(problems.iter().count(), 1, "{problems}");
        let said = problems.render(false);
        assert!(said.contains(told) && said.contains(help), "{said}");
        assert!(loaded.masks.is_empty());
    }
}

#[test]
fn makes_masks() {
    let text = r#"
        [[mask]]
        id = "pii"
        on = ["result"]
        entities = ["EMAIL_ADDRESS", "US_SSN"]
        [[mask]]
        id = "cards"
        on = ["result", "arguments"]
        entities = ["CREDIT_CARD"]
        action = "mask"
        keep_first = 2
        keep_last = 4
        char = "•"
        [[mask]]
        id = "ids"
        on = ["arguments"]
        pattern = '\bEMP-\d{6}\b'
        label = "EMPLOYEE_ID"
        action = "report"
    "#;
    let mut problems = Problems::new();
    let loaded = from_texts(&[text], &mut problems);
    assert!(problems.is_empty(), "{}", problems.render(false));
    let [pii, cards, ids] = loaded.masks.as_slice() else { panic!("{:?}", loaded.masks) };
    let entity = |name| Entity::parse(name).unwrap();
    assert_eq!(&*pii.id, "pii");
    assert_eq!(pii.on, Directions { arguments: false, result: true });
    assert_eq!(pii.what, What::Entities(vec![entity("EMAIL_ADDRESS"), entity("US_SSN")]));
    assert_eq!(pii.action, Action::Redact);
    assert_eq!(cards.on, Directions { arguments: true, result: true });
    assert_eq!(cards.action, Action::Mask { keep_first: 2, keep_last: 4, char: '•' });
    assert_eq!(ids.what, What::Pattern { regex: r"\bEMP-\d{6}\b".into(), label: "EMPLOYEE_ID".into() });
    assert_eq!(ids.action, Action::Report);
    let (source, span) = loaded.mask_place("cards").unwrap();
    assert_eq!(source.text.get(span), Some("\"cards\""));
    assert!(loaded.mask_place("other").is_none());
}

#[test]
fn compares_rules_with_the_servers_issuers() {
    let text = "[[rule]]\nid = \"a\"\ntools = [\"x\"]\n[[rule]]\nid = \"b\"\ntools = [\"x\"]\nissuer = [\"corq\"]\n\
                [[rule]]\nid = \"c\"\neffect = \"deny\"\ntools = [\"x\"]";
    for (issuers, expected) in [
        (&["corq"][..], &[][..]),
        (&["corp"], &["0.toml:7:11", "no callers from an issuer `corq`", "did you mean `corp`?"]),
        (&["corq", "guest"], &["0.toml:2:6", "rule `a` does not say", "issuer = [\"corq\", \"guest\"]"]),
    ] {
        let mut problems = Problems::new();
        let mut loaded = from_texts(&[text], &mut problems);
        loaded.check_issuers(&issuers.iter().map(|name| (*name).into()).collect::<Vec<_>>(), &mut problems);
        let shown = problems.render(false);
        assert_eq!(problems.has_errors(), !expected.is_empty(), "{shown}");
        assert_eq!(loaded.policy.is_empty(), !expected.is_empty());
        for part in expected {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
        assert!(!shown.contains("rule `c`"));
    }
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)
}

#[test]
fn the_version_is_of_the_files_and_their_order() {
    let version = |files: &[&str]| {
        let files: Vec<PathBuf> = files.iter().map(|name| shipped(name)).collect();
        load(&files, &mut Problems::new()).version
    };
    let both = version(&["crm.toml", "filesystem.toml"]);
    assert!(both.len() == 71 && both.starts_with("sha256:"), "{both}");
    assert_eq!(both, version(&["crm.toml", "filesystem.toml"]));
    assert_ne!(both, version(&["filesystem.toml", "crm.toml"]));
    assert_ne!(both, version(&["crm.toml"]));
}

#[test]
fn a_file_that_cannot_be_read_denies_everything() {
    let mut problems = Problems::new();
    let loaded = load(&[shipped("crm.toml"), shipped("absent.toml")], &mut problems);
    assert!(problems.has_errors() && problems.render(false).contains("cannot read the policy file"));
    assert!(loaded.policy.is_empty());
    let operation = Operation { method: "tasks/get", kind: None, name: "" };
    assert!(!loaded.policy.names_method(operation.method));
}

#[test]
fn names_that_are_hardly_meant_are_warned_of() {
    for (globs, told) in [
        (r#"["get_*", "a.b-c/d", "{get,put}_x", "a:b", "crm\\*x"]"#, None),
        (r#"["^get_.*$"]"#, Some("no regular expression")),
        (r#"["get_*, search_*"]"#, Some("a string of its own")),
        (r#"[" get_*"]"#, Some("take the blank out")),
        (r#"["{get, put}_x"]"#, Some("take the blank out")),
    ] {
        let mut problems = Problems::new();
        let mask = format!("[[mask]]\nid = \"m\"\non = [\"result\"]\nentities = [\"SECRET\"]\ntools = {globs}\n");
        from_texts(&[&format!("[[rule]]\nid = \"a\"\neffect = \"deny\"\ntools = {globs}\n{mask}")], &mut problems);
        assert!(!problems.has_errors(), "{problems}");
        let said = problems.render(false);
        assert_eq!(problems.iter().count(), if told.is_some() { 2 } else { 0 }, "{globs}: {said}");
        assert!(told.is_none_or(|told| said.contains(told)), "{globs}: {said}");
    }
    let mut problems = Problems::new();
    from_texts(&["[[rule]]\nid = \"a\"\ntools = [\"x\"]\nscopes = [\"crm:read,crm:write\"]\n"], &mut problems);
    assert!(problems.render(false).contains("one scope with a comma in it"), "{problems}");
}
