use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// A definition as shown to certain callers.
#[derive(Debug)]
pub(crate) struct Form {
    /// The text shown in place of the definition; `None` if it is shown unchanged.
    text: Option<Bytes>,
    looked: OnceLock<(Arc<()>, Looked)>,
}

/// The result of masking a form.
#[derive(Clone, Debug)]
pub(crate) enum Looked {
    /// Masks find nothing, whoever the caller is. Lists show this text, or the definition unchanged.
    Clean(Option<Bytes>),
    /// Masks find something, so that the result depends on the caller.
    Found,
}

impl Form {
    pub(super) fn of(text: Option<Bytes>) -> Self {
        Self { text, looked: OnceLock::new() }
    }

    /// The text shown in place of the definition; `None` if it is shown unchanged.
    pub(crate) const fn text(&self) -> Option<&Bytes> {
        self.text.as_ref()
    }

    /// The result of the masks with that [identity](crate::mask::Masks::identity); `look` is called once.
    pub(crate) fn looked(&self, masks: &Arc<()>, look: impl Fn() -> Looked) -> Looked {
        let (known, looked) = self.looked.get_or_init(|| (Arc::clone(masks), look()));
        // Only one result is kept, as a server has one set of masks.
        if Arc::ptr_eq(known, masks) { looked.clone() } else { look() }
    }
}
