//! Buffers reused from text to text. They are cleared before each use.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use super::found::Match;
use crate::json::Span;
use crate::mask::gate::Survey;

/// The buffers of one search.
#[derive(Debug, Default)]
pub(in crate::mask) struct Scratch {
    pub(super) survey: Survey,
    pub(super) spans: Vec<Span>,
    pub(super) urls: Vec<Span>,
    /// Values that do not start from digits, in order, each with the index of its entity.
    pub(super) words: Vec<(Span, usize)>,
    pub(super) matches: Vec<Match>,
}

impl Scratch {
    /// The most bytes kept for reuse.
    const MOST: usize = 1 << 20;

    /// Bytes allocated.
    const fn size(&self) -> usize {
        let spans = self.spans.capacity() + self.urls.capacity() + self.survey.capacity();
        spans * size_of::<Span>()
            + self.words.capacity() * size_of::<(Span, usize)>()
            + self.matches.capacity() * size_of::<Match>()
    }
}

thread_local! {
    /// The buffers used last. If they were freed, memory for the next long text would have to be faulted in page by page.
    static SPARE: Cell<Scratch> = Cell::default();
}

/// Buffers on loan from the thread, returned when dropped.
#[derive(Debug)]
pub(in crate::mask) struct Lent(Scratch);

impl Lent {
    /// The spare buffers of the thread, or new ones.
    pub(in crate::mask) fn new() -> Self {
        Self(SPARE.try_with(Cell::take).unwrap_or_default())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut scratch = std::mem::take(&mut self.0);
        scratch.matches.clear();
        if scratch.size() <= Scratch::MOST {
            // Fails while the thread ends, where nothing needs to be kept.
            let _ = SPARE.try_with(|spare| spare.set(scratch));
        }
    }
}

impl Deref for Lent {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Scratch {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Lent, Scratch};
    use crate::json::Span;

    #[test]
    fn keeps_memory_but_not_without_bound() {
        let span = Span { start: 0, end: 1 };
        for (length, is_kept) in [(100, true), (Scratch::MOST, false), (100, true)] {
            let mut lent = Lent::new();
            lent.spans.extend(std::iter::repeat_n(span, length));
            let held = lent.spans.capacity();
            drop(lent);
            let (first, second) = (Lent::new(), Lent::new());
            assert_eq!(first.spans.capacity() >= held, is_kept, "{length}");
            assert_eq!(second.spans.capacity(), 0);
            drop((first, second));
            drop(Lent::new());
        }
    }
}
