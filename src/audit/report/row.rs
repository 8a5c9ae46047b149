use std::borrow::Cow;

use serde::Deserialize;

/// The members of a record that are counted; others are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'l> {
    pub(super) v: u32,
    #[serde(borrow)]
    pub(super) time: Cow<'l, str>,
    #[serde(borrow)]
    pub(super) event: Cow<'l, str>,
    pub(super) decision: Option<Cow<'l, str>>,
    #[serde(default)]
    pub(super) shadow: bool,
    pub(super) server: Option<Cow<'l, str>>,
    pub(super) method: Option<Cow<'l, str>>,
    pub(super) tool: Option<Cow<'l, str>>,
    pub(super) subject: Option<Subject<'l>>,
    pub(super) policy: Option<Policy<'l>>,
    #[serde(default)]
    pub(super) masked: Vec<Masked<'l>>,
    pub(super) http: Option<u16>,
    pub(super) error: Option<Failure<'l>>,
    /// How many failures a summary stands for.
    pub(super) count: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Subject<'l> {
    #[serde(default)]
    pub(super) anonymous: bool,
    #[serde(borrow, default)]
    pub(super) iss: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(super) sub: Cow<'l, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Policy<'l> {
    #[serde(borrow)]
    pub(super) version: Cow<'l, str>,
    pub(super) rule: Option<Cow<'l, str>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Masked<'l> {
    #[serde(borrow)]
    pub(super) entity: Cow<'l, str>,
    #[serde(borrow)]
    pub(super) action: Cow<'l, str>,
    #[serde(borrow)]
    pub(super) direction: Cow<'l, str>,
    pub(super) count: u64,
}

/// Why an answer is an error: a code of JSON-RPC, or a word.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Failure<'l> {
    Code(i64),
    Word(Cow<'l, str>),
}

impl Failure<'_> {
    pub(super) fn text(&self) -> Box<str> {
        match self {
            Self::Code(code) => code.to_string().into(),
            Self::Word(word) => word.as_ref().into(),
        }
    }

    /// Whether a mask did not let the answer pass.
    pub(super) fn is_block(&self) -> bool {
        matches!(self, Self::Word(word) if word.starts_with("blocked"))
    }
}
