//! Names the commit, and has the linker put together what every process runs: its start first, then its first answers.
//!
//! The system maps code in blocks of 64 KB, and what a start runs stands in most blocks of the program, a little in each.
//! `order.txt` names those functions, as `build/record` has seen them run. A program linked without it is the same and
//! holds more memory. The names are without the compiler's own hashes, so that the list outlives a new version of it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

const ORDER: &str = "build/order.txt";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build/main.rs");
    println!("cargo::rerun-if-changed={ORDER}");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    name_commit();
    if !is_ordered() {
        return Ok(());
    }
    let script = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("order.ld");
    fs::write(&script, commands(&fs::read_to_string(ORDER)?))?;
    // Two arguments, as a comma in the path would part one for the linker.
    println!("cargo::rustc-link-arg-bins=-T");
    println!("cargo::rustc-link-arg-bins={}", script.display());
    Ok(())
}

/// Has the program say which commit it is of, `+` behind it where files differ from it: what `PORTCULLIS_COMMIT` says, else
/// what git does, if the sources are a repository of their own. Not in development, as each commit would compile it anew.
fn name_commit() {
    println!("cargo::rerun-if-env-changed=PORTCULLIS_COMMIT");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if !is_release
        || env::var_os("PORTCULLIS_COMMIT").is_some()
        || git(&["rev-parse", "--show-prefix"]) != Some(String::new())
    {
        return;
    }
    let moved = ["HEAD", "logs/HEAD"].into_iter().filter_map(|file| git(&["rev-parse", "--git-path", file]));
    for path in moved.filter(|path| Path::new(path).exists()).chain(["src".to_owned()]) {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Some(commit) = git(&["describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]) {
        println!("cargo::rustc-env=PORTCULLIS_COMMIT={commit}");
    }
}

/// What git answers, without the line's end; `None` if it cannot or is not there.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
}

/// Whether this is a program people run, and its linker one that takes commands beside its own, as GNU ld and LLD do.
fn is_ordered() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && env::var_os("RUSTC_LINKER").is_none()
        && !["linker=", "fuse-ld"].iter().any(|flag| flags.contains(flag))
}

/// Linker commands: a section for what is named, in front of all other code.
fn commands(order: &str) -> String {
    let mut commands =
        String::from("/* Made of build/order.txt by build/main.rs. */\nSECTIONS\n{\n  .text.early :\n  {\n");
    for name in order.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // What is seldom called has been marked so.
        let _ = writeln!(commands, "    *(.text.{name} .text.unlikely.{name})");
    }
    commands.push_str("  }\n}\nINSERT BEFORE .text;\n");
    commands
}
