//! `portcullis audit erase`: a person's lines become those of anybody.

use clap::Args;

use super::super::{Exit, Global, Streams};
use super::person::{Persons, Whose};
use crate::audit::subjects::Keys;

/// Arguments of `audit erase`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis audit erase --subject ana                       say what would be done
  portcullis audit erase --subject ana --yes                 do it
  portcullis audit erase --subject ana --issuer https://login.example.com --key audit-subjects.key --yes",
    after_help = "Erases the key of one subject from the file of `audit.subjects_key_file`; audit files stay as they are, and verify.\n\
                  Lines from before `subjects = \"keyed\"` name people: delete these files when their time is over.\n\
                  Whoever still has an older copy of the key file can find the lines: put the new file wherever there is one.\n\
                  Exit codes: 0 erased, 1 not without --yes, 2 wrong arguments, 69 the file cannot be replaced,\n\
                  78 the configuration is refused"
)]
pub(super) struct Erase {
    #[command(flatten)]
    whose: Whose,
    /// Do it: nobody can undo it.
    #[arg(long)]
    yes: bool,
}

impl Erase {
    /// Erases one key.
    pub(super) fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let Persons { all, key, .. } = match self.whose.persons(false, global, streams) {
            Ok(persons) => persons,
            Err(exit) => return exit,
        };
        let Some(key) = key else {
            streams
                .message("error: there is no key to erase: `audit.subjects_key_file` is not set, and --key not given");
            return Exit::Usage;
        };
        let [person] = &all[..] else {
            streams.message("error: whose? There is more than one issuer: name one with --issuer");
            return Exit::Usage;
        };
        let issuer = person.issuer.as_deref().unwrap_or_default();
        if !self.yes {
            streams.message(format_args!(
                "error: nothing was erased. With --yes the key is taken from {}, and nobody can find these lines again",
                key.display()
            ));
            return Exit::No;
        }
        match Keys::erase(&key, issuer, &person.subject) {
            Ok(digest) => {
                streams.print(format_args!("erased: nobody can tell any more whose lines are those of {digest}"));
                streams.message(
                    "note: a running proxy reads the file again by itself, if this is the one it has; put it in place of every copy",
                );
                Exit::Done
            }
            Err(error) => {
                streams.message(format_args!("error: nothing was erased: {error}"));
                Exit::Unavailable
            }
        }
    }
}
