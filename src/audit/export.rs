//! Records in the formats of other systems, one event for each. Whatever a format has no place for goes along under a name of
//! its own: nothing of a record is left out.

mod cef;
mod ecs;
mod ocsf;
mod parts;

use std::borrow::Cow;

use clap::ValueEnum;

use self::parts::Parts;

/// A format of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Common Event Format, revision 0.
    Cef,
    /// Elastic Common Schema 9.
    Ecs,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
}

/// A line of the audit as an event, without a newline; errs with why it is no record.
pub(crate) fn event(line: &[u8], format: Format) -> Result<String, Cow<'static, str>> {
    let parts = Parts::read(line)?;
    Ok(match format {
        Format::Cef => cef::event(parts),
        Format::Ecs => ecs::event(parts).to_string(),
        Format::Ocsf => ocsf::event(parts).to_string(),
    })
}

#[cfg(test)]
mod tests;
