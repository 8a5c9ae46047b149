//! What an audit file says of a period: figures for a page or for other programs, in bounded memory however long the file is.

mod chart;
mod duties;
mod figures;
mod page;
mod row;
mod tally;
mod timeline;

pub(crate) use figures::{Figures, Period};
pub(crate) use page::{Evidence, Integrity, Source, page};

#[cfg(test)]
mod tests;
