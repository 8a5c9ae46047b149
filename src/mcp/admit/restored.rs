//! A message in which sealed values and pseudonyms have been replaced by what they stand for, before anything is decided.

use std::sync::Arc;

use bytes::Bytes;

use super::{Message, Params, is_odd};
use crate::json::{self, Document, Span, Splice, quoted};

/// A value put back into a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where it stands, quotes included.
    pub span: Span,
    /// The value.
    pub value: Box<str>,
    /// What the client wrote.
    pub pseudonym: Box<str>,
}

/// All that was put back into a message.
#[derive(Debug)]
pub(super) struct PutBack {
    values: Box<[Restored]>,
    /// The subject as the client wrote it, where it was sealed.
    subject: Option<Box<str>>,
}

impl Message {
    /// What was put back, in order.
    pub fn restored(&self) -> &[Restored] {
        self.put_back.as_ref().map_or(&[], |put_back| &put_back.values)
    }

    /// The subject as the client wrote it, where something else was put back in its place.
    pub(crate) fn written_subject(&self) -> Option<&str> {
        self.put_back.as_ref()?.subject.as_deref()
    }

    /// Puts `values` where their spans in the present document are; the error says why that is no message.
    pub(crate) fn restore(&mut self, mut values: Vec<Restored>) -> Result<(), json::Error> {
        values.sort_by_key(|restored| restored.span);
        let mut splice = Splice::new();
        let mut grown = 0_usize;
        let mut shrunk = 0_usize;
        for restored in &mut values {
            let literal = quoted(&restored.value);
            let (before, after) = (restored.span, literal.len());
            splice.replace(before, literal);
            let start = before.start + grown - shrunk;
            restored.span = Span { start, end: start + after };
            grown += after;
            shrunk += before.end - before.start;
        }
        let mut written_subject = None;
        if let Some((_, name)) = &mut self.subject
            && let Some(restored) = values.iter().find(|restored| *restored.pseudonym == **name)
        {
            written_subject = Some(Box::from(&**name));
            *name = Arc::from(&*restored.value);
        }
        self.odd = is_odd(self.subject.as_ref());
        let bytes: Bytes = splice.apply(self.document.bytes());
        self.document = Document::parse(bytes, &json::Limits::REQUEST)?;
        self.places = Params::of(self.document.root().get("params")).places();
        self.put_back = Some(Box::new(PutBack { values: values.into(), subject: written_subject }));
        Ok(())
    }
}
