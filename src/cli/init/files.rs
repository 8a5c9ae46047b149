//! The three files, and whether they may be written.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Streams};

/// The longest answer to a question.
const ANSWER_BYTES: usize = 64;

/// Where everything is written.
pub(super) struct Files {
    pub(super) config: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) policy: PathBuf,
}

impl Files {
    /// `proxy.toml` there, the others in `policies` beside it.
    pub(super) fn at(config: &Path, name: &str) -> Self {
        let policies = config.parent().unwrap_or(Path::new("")).join("policies");
        Self {
            config: config.to_owned(),
            lock: policies.join(format!("{name}.lock")),
            policy: policies.join(format!("{name}.toml")),
        }
    }

    /// Errs if one is there, and nobody says that it may be overwritten.
    pub(super) fn permitted(&self, yes: bool, streams: &mut Streams<'_>) -> Result<(), Exit> {
        let there = [&self.config, &self.policy, &self.lock].into_iter().filter(|path| path.symlink_metadata().is_ok());
        let there: Vec<String> = there.map(|path| path.display().to_string()).collect();
        if there.is_empty() || yes {
            return Ok(());
        }
        let (there, verb) = (there.join(", "), if there.len() == 1 { "is" } else { "are" });
        if streams.can_ask {
            let _ = write!(streams.err, "{there} {verb} there already. Overwrite? [y/N] ");
            let _ = streams.err.flush();
            if matches!(line(streams).trim(), "y" | "Y" | "yes") {
                return Ok(());
            }
            streams.message("nothing was written");
            return Err(Exit::Usage);
        }
        streams.message(format_args!(
            "error: {there} {verb} there already; overwrite with --yes, or write elsewhere with --config FILE"
        ));
        Err(Exit::Usage)
    }

    /// Says that a file was written.
    pub(super) fn told(&self, path: &Path, what: fmt::Arguments<'_>, streams: &mut Streams<'_>) {
        let all = [&self.config, &self.policy, &self.lock];
        let width = all.map(|path| path.display().to_string().chars().count()).into_iter().max().unwrap_or_default();
        streams.print(format_args!("wrote {:width$}  {what}", path.display().to_string()));
    }

    /// The option with which other commands find the configuration.
    pub(super) fn option(&self) -> String {
        match self.config.to_str() {
            Some("proxy.toml") => String::new(),
            _ => format!(" -c {}", self.config.display()),
        }
    }
}

/// Writes the whole file beside its place and moves it there, so that nobody reads half of it.
pub(super) fn write(path: &Path, text: &str, streams: &mut Streams<'_>) -> Result<(), Exit> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = folder.map_or(Ok(()), fs::create_dir_all).and_then(|()| fresh(&beside, text));
    let written = written.and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        streams.message(format_args!("error: cannot write `{}`: {error}", path.display()));
        Exit::Unavailable
    })
}

fn fresh(path: &Path, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// The next line of standard input, and no byte after it.
fn line(streams: &mut Streams<'_>) -> String {
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while answer.len() < ANSWER_BYTES && matches!(streams.input.read(&mut byte), Ok(1)) && byte != *b"\n" {
        answer.extend(byte);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Files;
    use crate::cli::{Exit, Streams};

    /// What came of it, what was asked, and what of the input is left.
    fn permitted(path: &std::path::Path, answer: &str, can_ask: bool, yes: bool) -> (Result<(), Exit>, String, String) {
        let (mut input, mut out, mut err) = (answer.as_bytes(), Vec::new(), Vec::new());
        let streams = &mut Streams {
            input: &mut input,
            out: &mut out,
            err: &mut err,
            out_color: false,
            err_color: false,
            can_ask,
        };
        let permitted = Files::at(path, "crm").permitted(yes, streams);
        assert!(out.is_empty());
        (permitted, String::from_utf8(err).unwrap(), String::from_utf8(input.to_vec()).unwrap())
    }

    #[test]
    fn only_a_yes_overwrites_and_only_who_can_answer_is_asked() {
        let there = std::path::Path::new(file!());
        for (answer, overwritten) in
            [("y\nmore", true), ("yes\n", true), ("\n", false), ("n\n", false), ("", false), ("yellow\n", false)]
        {
            let (permitted, asked, _) = permitted(there, answer, true, false);
            assert_eq!(permitted.is_ok(), overwritten, "{answer:?}");
            assert!(asked.starts_with(&format!("{} is there already. Overwrite? [y/N] ", file!())), "{asked}");
        }
        assert_eq!(permitted(there, "y\nmore", true, false).2, "more");
        let (refused, said, left) = permitted(there, "y\n", false, false);
        assert_eq!((refused, &*left), (Err(Exit::Usage), "y\n"), "nobody is asked, and nothing is read");
        assert!(said.contains("overwrite with --yes"), "{said}");
        assert_eq!(permitted(there, "", false, true), (Ok(()), String::new(), String::new()));
        let absent = std::path::Path::new("/nowhere/proxy.toml");
        assert_eq!(permitted(absent, "", true, false), (Ok(()), String::new(), String::new()));
    }
}
