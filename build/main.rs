//! Has the linker put together what every process runs: its start first, then its first answers.
//!
//! The system maps code in blocks of 64 KB, and what a start runs stands in most blocks of the program, a little in each.
//! `order.txt` names those functions, as `build/record` has seen them run. A program linked without it is the same and
//! holds more memory. The names are without the compiler's own hashes, so that the list outlives a new version of it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

const ORDER: &str = "build/order.txt";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build/main.rs");
    println!("cargo::rerun-if-changed={ORDER}");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
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
