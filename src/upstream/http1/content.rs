//! Decodes the content of an HTTP/1.1 answer from its framing.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::SizeHint;
use memchr::memchr;

use super::Broken;

/// The most bytes of the line with a chunk's size, extensions included, and of the line end after its data.
const LINE_BYTES: usize = 1024;
/// The most bytes of a trailer section.
const TRAILER_BYTES: usize = 8 * 1024;

/// How much of the content is still to come, by its framing (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Content {
    /// With `Content-Length`, or without any: so many bytes.
    Length(u64),
    /// In chunks.
    Chunked(Chunk),
    /// Until the connection is closed.
    ToClose,
}

/// The place in a chunked body (RFC 9112 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Chunk {
    /// Before the line with a size.
    Size,
    /// Within a chunk, so many bytes before its end.
    Data(u64),
    /// Before the line break after a chunk's data.
    DataEnd,
    /// In the trailer section, of which so many bytes have been passed over.
    Trailer(usize),
}

impl Content {
    /// None at all.
    pub(super) const NONE: Self = Self::Length(0);
    /// The beginning of a chunked body.
    pub(super) const CHUNKED: Self = Self::Chunked(Chunk::Size);

    /// Whether nothing is to come.
    pub(in crate::upstream) const fn is_complete(self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// The least number of bytes that are to come.
    pub(super) const fn at_least(self) -> u64 {
        match self {
            Self::Length(left) | Self::Chunked(Chunk::Data(left)) => left,
            Self::Chunked(_) | Self::ToClose => 0,
        }
    }

    /// Whether it is known how many bytes are to come.
    pub(super) const fn is_exact(self) -> bool {
        matches!(self, Self::Length(_))
    }

    /// How many bytes are to come, as far as that is known.
    pub(in crate::upstream) fn size_hint(self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(left),
            Self::Chunked(_) | Self::ToClose => SizeHint::new(),
        }
    }

    /// Takes what there is of the content from the front of `received`; nothing if that is only framing, or not yet
    /// enough. What several chunks hold is one piece. Errs if the chunks are malformed or a limit is exceeded.
    pub(super) fn take(&mut self, received: &mut BytesMut) -> Result<Bytes, Broken> {
        match self {
            Self::Length(left) => Ok(cut(left, received).freeze()),
            Self::ToClose => Ok(received.split().freeze()),
            Self::Chunked(chunk) => {
                let (piece, next) = chunk.take(received)?;
                *self = next.map_or(Self::NONE, Self::Chunked);
                Ok(piece)
            }
        }
    }

    /// The connection was closed. Errs if the content was not complete (RFC 9112 section 8).
    pub(super) fn close(&mut self) -> Result<(), Broken> {
        match self {
            Self::ToClose => {
                *self = Self::NONE;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Broken::Ended),
        }
    }
}

impl Chunk {
    /// Like [`Content::take`]; the place after it is `None` behind the trailer section.
    fn take(mut self, received: &mut BytesMut) -> Result<(Bytes, Option<Self>), Broken> {
        let mut piece = BytesMut::new();
        loop {
            self = match self {
                Self::Data(_) if received.is_empty() => break,
                Self::Data(mut left) => {
                    let part = cut(&mut left, received);
                    if piece.is_empty() {
                        piece = part;
                    } else {
                        piece.extend_from_slice(&part);
                    }
                    if left == 0 { Self::DataEnd } else { Self::Data(left) }
                }
                Self::DataEnd => match line(received, LINE_BYTES)? {
                    None => break,
                    Some(([], length)) => pass(received, length, Self::Size),
                    Some(_) => return Err(Broken::Chunk),
                },
                Self::Size => match line(received, LINE_BYTES)? {
                    None => break,
                    Some((line, length)) => match size(line)? {
                        0 => pass(received, length, Self::Trailer(0)),
                        size => pass(received, length, Self::Data(size)),
                    },
                },
                // What the fields say is not needed.
                Self::Trailer(seen) => match line(received, TRAILER_BYTES.saturating_sub(seen))? {
                    None => break,
                    Some(([], length)) => {
                        received.advance(length);
                        return Ok((piece.freeze(), None));
                    }
                    Some((_, length)) => pass(received, length, Self::Trailer(seen + length)),
                },
            }
        }
        Ok((piece.freeze(), Some(self)))
    }
}

/// Takes at most `left` bytes.
fn cut(left: &mut u64, received: &mut BytesMut) -> BytesMut {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(received.len());
    *left -= count as u64;
    received.split_to(count)
}

/// Passes over `length` bytes to `next`.
fn pass(received: &mut BytesMut, length: usize, next: Chunk) -> Chunk {
    received.advance(length);
    next
}

/// The first line without its end, and its length with it; `None` if it has not arrived. Errs at a bare CR or LF, or if the
/// line is longer than `limit`.
fn line(received: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, Broken> {
    let Some(at) = memchr(b'\n', &received[..received.len().min(limit)]) else {
        return if received.len() < limit { Ok(None) } else { Err(Broken::Chunk) };
    };
    match received[..at].split_last() {
        Some((b'\r', line)) if memchr(b'\r', line).is_none() => Ok(Some((line, at + 1))),
        _ => Err(Broken::Chunk),
    }
}

/// The size of a chunk, in hexadecimal digits. Extensions are passed over, as a recipient must (RFC 9112 section 7.1.1).
fn size(line: &[u8]) -> Result<u64, Broken> {
    let end = line.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(line.len());
    let digits = line[..end].iter().map(|byte| char::from(*byte).to_digit(16));
    if end == 0 {
        return Err(Broken::Chunk);
    }
    let size = digits.into_iter().try_fold(0_u64, |size, digit| size.checked_mul(16)?.checked_add(u64::from(digit?)));
    size.ok_or(Broken::Chunk)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::{Broken, Content, TRAILER_BYTES};

    /// The content of `text`, which arrives in pieces of at most `size` bytes, and what is left behind it. Errs like
    /// [`Content::take`], or if more is to come.
    fn read(mut content: Content, text: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>), Broken> {
        let (mut received, mut read) = (BytesMut::new(), Vec::new());
        let mut parts = text.chunks(size);
        while !content.is_complete() {
            match parts.next() {
                Some(part) => received.extend_from_slice(part),
                None => content.close()?,
            }
            read.extend_from_slice(&content.take(&mut received)?);
        }
        received.extend(parts.flatten());
        Ok((read, received.to_vec()))
    }

    #[test]
    fn reads_each_framing_to_its_end() {
        for (content, text, expected, behind) in [
            (Content::Length(5), "abcdeNEXT", "abcde", "NEXT"),
            (Content::NONE, "NEXT", "", "NEXT"),
            (Content::ToClose, "abcde", "abcde", ""),
            (Content::ToClose, "", "", ""),
            (Content::CHUNKED, "0\r\n\r\nNEXT", "", "NEXT"),
            (Content::CHUNKED, "5\r\nabcde\r\n0\r\n\r\nNEXT", "abcde", "NEXT"),
            (Content::CHUNKED, "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", "abcde", ""),
            (Content::CHUNKED, "0000000000000000005\r\nabcde\r\n000\r\n\r\n", "abcde", ""),
            (Content::CHUNKED, "A\r\n0123456789\r\n1;a=\"b\"\r\nx\r\n0 ; y\r\n\r\n", "0123456789x", ""),
            (Content::CHUNKED, "2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""),
            (Content::CHUNKED, "1\r\na\r\n0\r\nx: 1\r\ny: 2\r\n\r\nNEXT", "a", "NEXT"),
        ] {
            for size in [1, 2, 3, 1000] {
                let (read, rest) = read(content, text.as_bytes(), size).unwrap();
                assert_eq!((&*read, &*rest), (expected.as_bytes(), behind.as_bytes()), "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn refuses_what_is_cut_or_malformed() {
        let long = |text: &str, count: usize| text.repeat(count);
        for text in [
            "",
            "5",
            "5\r\nabc",
            "5\r\nabcde",
            "5\r\nabcde\r\n",
            "5\r\nabcde\r\n0\r\n",
            "\r\n",
            ";a\r\n",
            " 5\r\nabcde\r\n0\r\n\r\n",
            "+5\r\nabcde\r\n0\r\n\r\n",
            "0x5\r\nabcde\r\n0\r\n\r\n",
            "5\nabcde\r\n0\r\n\r\n",
            "5\rx\r\nabcde\r\n0\r\n\r\n",
            "5\r\nabcdeX\r\n0\r\n\r\n",
            "5\r\nabcde\n0\r\n\r\n",
            "5\r\nabcde\r\n0\r\n\n",
            "10000000000000000\r\nabcde",
            &long("0", 2000),
            &format!("5;{}\r\nabcde\r\n0\r\n\r\n", long("x", 2000)),
            &format!("0\r\nx: {}\r\n\r\n", long("y", TRAILER_BYTES)),
            &format!("0\r\n{}\r\n", long("x: y\r\n", TRAILER_BYTES / 6 + 1)),
        ] {
            for size in [1, 7, 1 << 20] {
                assert!(read(Content::CHUNKED, text.as_bytes(), size).is_err(), "{text:?} by {size}");
            }
        }
        assert!(read(Content::Length(5), b"abcd", 9).is_err());
    }

    #[test]
    fn chunks_that_arrive_together_are_one_piece() {
        let mut content = Content::CHUNKED;
        let mut received = BytesMut::from(&b"2\r\nab\r\n2\r\ncd\r\n4\r\nef"[..]);
        assert_eq!(content.take(&mut received).unwrap(), "abcdef");
        assert_eq!(content.at_least(), 2);
        assert_eq!(content.take(&mut received).unwrap(), "");
    }

    proptest! {
        #[test]
        fn what_is_written_in_chunks_is_read(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            size in 1_usize..50,
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend(format!("{:x}\r\n", chunk.len()).bytes());
                text.extend(chunk);
                text.extend(b"\r\n");
            }
            text.extend(b"0\r\n\r\nNEXT");
            let (read, rest) = read(Content::CHUNKED, &text, size).unwrap();
            prop_assert_eq!(read, chunks.concat());
            prop_assert_eq!(rest, b"NEXT");
        }

        /// However the bytes are cut, the outcome is the same.
        #[test]
        fn is_read_alike_in_any_pieces(text in "[0-3a;\r\n]{0,40}", size in 1_usize..6) {
            let whole = read(Content::CHUNKED, text.as_bytes(), text.len().max(1));
            let cut = read(Content::CHUNKED, text.as_bytes(), size);
            prop_assert_eq!(whole.ok(), cut.ok());
        }
    }
}
