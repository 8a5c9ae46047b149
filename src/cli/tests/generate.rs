//! `generate`: scripts and pages that name every command there is.

use clap::CommandFactory as _;

use super::{Cli, Folder};

/// The words after `portcullis` of every command, the outer ones before those below them.
fn commands() -> Vec<Vec<String>> {
    fn add(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            let words = [words, &[below.get_name().to_owned()]].concat();
            all.push(words.clone());
            add(below, &words, all);
        }
    }
    let mut all = Vec::new();
    add(&Cli::command(), &[], &mut all);
    assert!(all.len() >= 18 && all.contains(&vec!["generate".to_owned(), "man".to_owned()]), "{all:?}");
    all
}

/// What went to standard output, nothing having gone wrong.
fn printed(folder: &Folder, arguments: &str) -> String {
    let said = folder.run(arguments);
    let (out, err) =
        said.strip_prefix("exit 0\n--- out\n").unwrap_or_else(|| panic!("{said}")).rsplit_once("--- err\n").unwrap();
    assert_eq!(err, "", "{arguments}");
    out.to_owned()
}

#[test]
fn completions_know_every_command() {
    let folder = Folder::new("completions");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&folder, &format!("generate completions {shell}"));
        let words: Vec<&str> = script.split(|char: char| !char.is_alphanumeric() && char != '_').collect();
        for command in commands() {
            let name = command.last().unwrap();
            assert!(words.contains(&name.as_str()), "{shell}: {command:?}");
        }
        assert!(!words.contains(&"child"), "{shell}: what is hidden is not offered");
        for word in ["config", "scaffold"] {
            assert!(words.contains(&word), "{shell}: {word}");
        }
    }
    for wrong in ["", "tcsh"] {
        let words = ["portcullis", "generate", "completions", wrong].into_iter().filter(|word| !word.is_empty());
        let error = <Cli as clap::Parser>::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong}");
    }
}

#[test]
fn manual_pages_name_every_command() {
    let folder = Folder::new("man");
    let page = |words: &[String]| {
        let arguments = [&["generate".to_owned(), "man".to_owned()], words].concat().join(" ");
        printed(&folder, &arguments).replace("\\-", "-")
    };
    let everything = page(&[]);
    assert!(everything.contains(".TH portcullis 1"), "{everything}");
    for command in commands() {
        let (name, above) = command.split_last().unwrap();
        let full = format!("portcullis-{}", command.join("-"));
        let outer = page(above);
        assert!(outer.contains(&format!("{full}(1)")), "{name}: {outer}");
        let own = page(&command);
        assert!(own.contains(&format!(".TH {full} 1")) && own.contains("config"), "{command:?}: {own}");
        assert!(own.contains(concat!("\"portcullis ", env!("CARGO_PKG_VERSION"))), "{command:?}: {own}");
    }
    assert!(page(&["tools".to_owned()]).contains("--scaffold"));
}

#[test]
fn manual_pages_of_nothing_are_refused() {
    let folder = Folder::new("man-none");
    let said = folder.run("generate man token vrify");
    assert!(
        said.starts_with("exit 2\n--- out\n--- err\nerror: `vrify` is no command of `portcullis token`; there are "),
        "{said}"
    );
    assert!(said.contains("verify"), "{said}");
    let said = folder.run("generate man vrify");
    assert!(said.contains("error: `vrify` is no command of `portcullis`; there are audit, check, demo, "), "{said}");
    let expected = "exit 2\n--- out\n--- err\nerror: `portcullis serve` has no commands below it\n";
    assert_eq!(folder.run("generate man serve now"), expected);
}
