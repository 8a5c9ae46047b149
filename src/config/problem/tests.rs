use super::*;

fn file(text: &str) -> Arc<Source> {
    Arc::new(Source::new("proxy.toml", text))
}

#[test]
fn points_at_the_bytes() {
    let file = file("[server]\npublic_ulr = \"x\"\n");
    let problem = Problem::error(&file, 9..19, "unknown key `public_ulr`", "not a key of `[server]`")
        .help("the keys here are `listen`, `public_url`")
        .suggest(9..19, "public_url", "did you mean `public_url`?");
    let expected = "\
error: unknown key `public_ulr`
 --> proxy.toml:2:1
  |
2 | public_ulr = \"x\"
  | ^^^^^^^^^^ not a key of `[server]`
  |
  = help: the keys here are `listen`, `public_url`
help: did you mean `public_url`?
  |
2 - public_ulr = \"x\"
2 + public_url = \"x\"
  |";
    assert_eq!(problem.render(false), expected);
    assert!(!problem.render(false).contains('\x1b'));
    assert!(problem.render(true).contains('\x1b'));
}

#[test]
fn says_the_path_of_a_file_without_text() {
    let problem = Problem::error(&file(""), 0..0, "cannot read the file", "").help("pass `--config`");
    assert_eq!(problem.render(false), "error: cannot read the file\n--> proxy.toml\n = help: pass `--config`");
}

#[test]
fn survives_spans_outside_the_text_and_inside_characters() {
    let file = file("a = \"é\"");
    for span in [0..0, 5..6, 6..6, 7..700, 900..901, 8..8] {
        let problem = Problem::warning(&file, span.clone(), "m", "l").suggest(span, "x", "t");
        assert!(problem.render(false).starts_with("warning: m"));
        let _ = (problem.to_json(), problem.to_github());
    }
}

#[test]
fn writes_json_with_positions() {
    let mut problems = Problems::new();
    problems.push(Problem::warning(&file("é = 1\nb = 2"), 8..9, "message", "label").help("help"));
    let expected = json!({
        "schema_version": 1, "errors": 0, "warnings": 1,
        "problems": [{
            "severity": "warning", "file": "proxy.toml", "line": 2, "column": 2, "end_line": 2, "end_column": 3,
            "start": 8, "end": 9, "message": "message", "label": "label", "help": ["help"], "suggestion": null,
        }],
    });
    assert_eq!(problems.to_json(), expected);
}

#[test]
fn escapes_github_commands() {
    let file = Arc::new(Source::new("a,b:c.toml", "key = 1\n"));
    let problem = Problem::error(&file, 0..3, "100% wrong\n::set-env", "here").help("stop");
    assert_eq!(
        problem.to_github(),
        "::error file=a%2Cb%3Ac.toml,line=1,endLine=1,col=1,endColumn=4::100%25 wrong%0A::set-env%0Ahere%0Ahelp: stop"
    );
}

#[test]
fn shows_files_as_met_and_places_in_order_and_everything_once() {
    let (first, second) = (file("abc"), Arc::new(Source::new("b.toml", "abc")));
    let mut problems = Problems::new();
    for (file, at) in [(&first, 2), (&second, 1), (&first, 0), (&first, 0), (&second, 0)] {
        problems.push(Problem::error(file, at..at, format!("at {at}"), ""));
    }
    let shown =
        "proxy.toml:1:1: error: at 0\nproxy.toml:1:3: error: at 2\nb.toml:1:1: error: at 0\nb.toml:1:2: error: at 1";
    assert_eq!(problems.to_string(), shown);
    assert_eq!(problems.count(Severity::Error), 4);
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    let file = file("key = \"\x1b[31m\"");
    let problem = Problem::error(&file, 0..3, "bad \x1b[31m", "bad \x1b[31m").help("bad \x1b[31m\u{202e}");
    let shown = problem.render(false);
    assert!(!shown.contains(['\x1b', '\u{202e}']), "{shown:?}");
}
