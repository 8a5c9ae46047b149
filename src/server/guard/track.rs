//! Tracks where on a connection one message ends and the next begins.

use super::chunks::Chunks;
use super::head::{Framing, Head};
use super::{HeadLimits, Refusal};

/// Why bytes may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// All of them may.
    All,
    /// They break the framing of a body whose head has passed.
    Broken,
    /// They follow the last message of the connection, and are ignored.
    Ended,
    /// They begin an incomplete head.
    Partial,
    /// They begin a request that is refused.
    Refused(Refusal),
}

/// Tracks the messages of a connection.
#[derive(Debug)]
pub(super) struct Tracker {
    limits: HeadLimits,
    place: Place,
    last: bool,
}

#[derive(Debug)]
enum Place {
    Head(Head),
    Length(u64),
    Chunked(Chunks),
    Ended,
}

impl Tracker {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self { limits, place: Place::Head(Head::default()), last: false }
    }

    /// Whether no body is being received: the connection is between messages, or within a head.
    pub(super) const fn at_boundary(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// How many of `bytes` may pass, and why not the rest. After [`Admitted::Partial`] the next call must start with the
    /// bytes that did not pass.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> (usize, Admitted) {
        let mut at = 0;
        let mut head_at = None;
        loop {
            match &mut self.place {
                Place::Ended if at == bytes.len() => return (at, Admitted::All),
                Place::Ended => return (at, Admitted::Ended),
                _ if at == bytes.len() => return (at, Admitted::All),
                Place::Head(head) => match head.scan(&bytes[at..], self.limits) {
                    Ok(Some(verdict)) => {
                        head_at = Some(at);
                        at += verdict.length;
                        self.last = verdict.last;
                        self.body(verdict.framing);
                    }
                    Ok(None) => return (at, Admitted::Partial),
                    Err(refusal) => return (at, Admitted::Refused(refusal)),
                },
                Place::Length(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    at += take;
                    *left -= take as u64;
                    if *left == 0 {
                        self.next();
                    }
                }
                Place::Chunked(chunks) => match (chunks.feed(&bytes[at..]), head_at) {
                    (Ok(Some(length)), _) => {
                        at += length;
                        self.next();
                    }
                    (Ok(None), _) => return (bytes.len(), Admitted::All),
                    (Err(refusal), Some(head_at)) => return (head_at, Admitted::Refused(refusal)),
                    (Err(_), None) => return (0, Admitted::Broken),
                },
            }
        }
    }

    fn body(&mut self, framing: Framing) {
        match framing {
            Framing::Chunked => self.place = Place::Chunked(Chunks::new()),
            Framing::Length(0) => self.next(),
            Framing::Length(length) => self.place = Place::Length(length),
        }
    }

    fn next(&mut self) {
        self.place = if self.last { Place::Ended } else { Place::Head(Head::default()) };
    }
}
