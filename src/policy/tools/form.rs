use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// A definition as some callers are shown it.
#[derive(Debug)]
pub(crate) struct Form {
    /// What stands in the definition's place; `None` where it is shown as it is.
    text: Option<Bytes>,
    looked: OnceLock<(Arc<()>, Looked)>,
}

/// What masks make of a form.
#[derive(Clone, Debug)]
pub(crate) enum Looked {
    /// They find nothing in it, whoever it is for: this is what lists show, or the definition as it is.
    Clean(Option<Bytes>),
    /// They find something, so that it depends on whom it is for.
    Found,
}

impl Form {
    pub(super) fn of(text: Option<Bytes>) -> Self {
        Self { text, looked: OnceLock::new() }
    }

    /// What stands in the definition's place; `None` where it is shown as it is.
    pub(crate) const fn text(&self) -> Option<&Bytes> {
        self.text.as_ref()
    }

    /// What the masks of that [identity](crate::mask::Masks::identity) make of it: `look` is asked once.
    pub(crate) fn looked(&self, masks: &Arc<()>, look: impl Fn() -> Looked) -> Looked {
        let (known, looked) = self.looked.get_or_init(|| (Arc::clone(masks), look()));
        // What other masks make of it is not remembered: a server has one set of them.
        if Arc::ptr_eq(known, masks) { looked.clone() } else { look() }
    }
}
