use thiserror::Error;

/// Why a text is not one strict JSON value, and at which byte.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{kind} at byte {offset}")]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where, in bytes from the start.
    pub offset: usize,
}

/// What can be wrong with a JSON text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ErrorKind {
    #[error("byte order mark")]
    ByteOrderMark,
    #[error("raw control character in a string")]
    ControlCharacter,
    #[error("duplicate key")]
    DuplicateKey,
    #[error("unfinished value")]
    End,
    #[error("invalid escape")]
    Escape,
    #[error("lone surrogate")]
    LoneSurrogate,
    #[error("invalid number")]
    Number,
    #[error("unexpected character")]
    Syntax,
    #[error("nested too deeply")]
    TooDeep,
    #[error("text too long")]
    TooLong,
    #[error("too many members")]
    TooMany,
    #[error("more than one value")]
    Trailing,
    #[error("invalid UTF-8")]
    Utf8,
}
