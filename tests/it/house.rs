//! The house rules that a compiler does not hold: sizes, and which file may name what.

use std::collections::BTreeMap;
use std::path::Path;

/// Most lines of a file without its tests.
const FILE_LINES: usize = 500;
/// Most lines of a function.
const FUNCTION_LINES: usize = 80;

/// A source file: its path below `src/`, and its lines before the tests.
struct Source {
    path: String,
    lines: Vec<String>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if name.ends_with("tests.rs") || name.contains("/tests/") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            sources.push(Source { path: name, lines: without_tests(&text) });
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(sources.len() > 100, "sources are not where they were");
    sources
}

/// The lines of a file without its items that are for tests; those of an item end with the first line that ends it.
fn without_tests(text: &str) -> Vec<String> {
    let mut lines = text.lines();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            lines.find(|line| *line == "}" || line.ends_with(';') && !line.starts_with(' '));
        } else {
            kept.push(line.to_owned());
        }
    }
    kept
}

/// The lines that are code, not comment.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.lines.iter().enumerate().map(|(at, line)| (at + 1, line.as_str()));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Where `wanted` stands in code, by file, but for the files that may.
fn found(wanted: &[&str], may: &[(&str, &str)]) -> Vec<String> {
    let sources = sources();
    for (path, _) in may {
        let exists = sources.iter().any(|source| source.path.starts_with(path));
        assert!(exists, "`{path}` is excused and does not exist");
    }
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !may.iter().any(|(path, _)| source.path.starts_with(path))) {
        for (at, line) in code(source) {
            if wanted.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{at}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

#[test]
fn files_are_one_noun_long() {
    for Source { path, lines } in sources() {
        assert!(lines.len() <= FILE_LINES, "{path} has {} lines", lines.len());
    }
}

#[test]
fn functions_fit_a_screen() {
    let mut long = Vec::new();
    for source in sources() {
        let mut open: Option<(usize, usize, String)> = None;
        for (at, line) in source.lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.trim_start().split(' ').take_while(|word| *word != "let").any(|word| word == "fn");
            if open.is_none() && is_function && !line.trim_start().starts_with("//") && !line.ends_with(';') {
                open = Some((at, indent, line.trim().to_owned()));
            }
            if let Some((start, indent, name)) = &open
                && (line.as_str() == format!("{}}}", " ".repeat(*indent)) || (at == *start && line.ends_with('}')))
            {
                let length = at - start + 1;
                if length > FUNCTION_LINES {
                    long.push(format!("{} {name}: {length} lines", source.path));
                }
                open = None;
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn only_one_file_reads_clocks() {
    let elsewhere = found(&["SystemTime::now", "Instant::now", "Utc::now"], &[("clock.rs", "the one")]);
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn statuses_are_known_where_answers_are_made() {
    let may = [
        ("reject/", "every refusal"),
        ("bridge/answer.rs", "what is answered in an upstream's place"),
        ("server/", "what is answered before and beside the proxy"),
        ("upstream/", "what an upstream answered"),
        ("demo", "servers of their own"),
        ("auth/issuer/exchange.rs", "what an issuer answered"),
        ("auth/issuer/reader.rs", "what an issuer answered"),
        ("cors.rs", "a preflight has no content"),
        ("reply.rs", "an upstream's own status that is passed on"),
    ];
    let elsewhere = found(&["StatusCode"], &may);
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

/// Each place where a secret becomes text is on this list, with how often.
#[test]
fn secrets_are_exposed_in_known_places() {
    let known: BTreeMap<&str, usize> = BTreeMap::from([
        // The proxy's own credential at an issuer, and what signals are pushed with.
        ("auth/issuer/client.rs", 4),
        ("auth/issuer/exchange.rs", 1),
        ("auth/issuer/registry.rs", 1),
        ("auth/signals.rs", 1),
        // Demo: keys and tokens of one run, for its own files; tokens somebody asked to look into.
        ("cli/demo.rs", 2),
        ("cli/doctor/token.rs", 3),
        ("cli/token.rs", 1),
        ("cli/token/decode.rs", 1),
        ("cli/token/mint.rs", 3),
        ("cli/token/verify.rs", 1),
        ("demo/banner.rs", 2),
        ("demo/issuer/mint.rs", 1),
        ("demo/issuer/register.rs", 1),
        ("demo/issuer/token.rs", 2),
        // What an operator shows is compared with it.
        ("server/admin.rs", 1),
        // Checks of what was read, and keys derived from it.
        ("config/secret_source.rs", 7),
        ("seal/keys.rs", 3),
        ("mask/pseudonym.rs", 3),
        // The URL of the shared store, and whether it is another one.
        ("state/address.rs", 1),
        ("state/shared.rs", 1),
        // The credential header.
        ("upstream/credential.rs", 8),
        // What programs are started with, and which of them are the same.
        ("upstream/backend.rs", 1),
        ("upstream/stdio/launch.rs", 1),
        // Tokens on their way between authorization servers.
        ("upstream/grant.rs", 2),
        ("upstream/grant/answer.rs", 2),
        ("upstream/grant/ask.rs", 3),
    ]);
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources() {
        let count = code(&source).map(|(_, line)| line.matches(".expose()").count()).sum();
        if count > 0 {
            places.insert(source.path, count);
        }
    }
    let places: BTreeMap<&str, usize> = places.iter().map(|(path, count)| (path.as_str(), *count)).collect();
    assert_eq!(places, known);
}

#[test]
fn no_file_is_named_for_what_it_is_not() {
    for Source { path, .. } in sources() {
        for part in path.trim_end_matches(".rs").split('/') {
            let empty = ["util", "utils", "common", "helper", "helpers", "types", "core", "manager", "misc", "mod"];
            assert!(!empty.contains(&part), "{path}");
        }
    }
}

/// The table of methods is the only place that knows their names; the demo is a server of its own.
#[test]
fn method_names_are_spelled_once() {
    let methods: Vec<String> =
        portcullis::mcp::methods::METHODS.iter().map(|method| format!("\"{}\"", method.name)).collect();
    let words: Vec<&str> = methods.iter().map(String::as_str).collect();
    let may = [
        ("mcp/", "the table"),
        ("demo", "a server of its own"),
        ("config/", "an issuer has the name of a method"),
        ("cli/doctor/vendor.rs", "an issuer has the name of a method"),
    ];
    let elsewhere = found(&words, &may);
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn nothing_is_left_to_do() {
    let elsewhere = found(&["todo!", "unimplemented!", "dbg!", "println!", "eprintln!"], &[]);
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    for Source { path, lines } in sources() {
        let marked = lines.iter().find(|line| line.contains("TODO") || line.contains("FIXME"));
        assert!(marked.is_none(), "{path}: {marked:?}");
    }
}
