//! Follows the chunked transfer coding: its framing byte by byte, its data by length.

use super::Refusal;

/// The most bytes of a trailer section.
const TRAILER_BYTES: usize = 8 * 1024;
/// The most digits of a chunk size; seven are enough for 256 MiB, far above any body limit.
const SIZE_DIGITS: u8 = 7;

/// The state of the parser of a chunked body (RFC 9112 section 7.1). Chunk extensions are refused: nobody sends them, and
/// parsers disagree on where they end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunks {
    Size { digits: u8, value: u64 },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart { seen: usize },
    Trailer { seen: usize },
    TrailerLf { seen: usize },
    EndLf,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self::Size { digits: 0, value: 0 }
    }

    /// Follows `bytes`; returns how many belong to the body if it ends within them. Errs if the framing is malformed or a
    /// limit is exceeded.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if let Self::Data { left } = self {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += take;
                *left -= take as u64;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            match self.step(byte)? {
                Some(next) => *self = next,
                None => return Ok(Some(at)),
            }
        }
        Ok(None)
    }

    /// The state after `byte`; `None` after the last one.
    fn step(self, byte: u8) -> Result<Option<Self>, Refusal> {
        let next = match (self, byte) {
            (Self::Size { digits, value }, _) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Self::Size { digits: digits + 1, value: value * 16 + u64::from(digit) }
            }
            (Self::Size { digits: 1.., value }, b'\r') => Self::SizeLf { value },
            (Self::SizeLf { value: 0 }, b'\n') => Self::TrailerStart { seen: 0 },
            (Self::SizeLf { value }, b'\n') => Self::Data { left: value },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::new(),
            (Self::TrailerStart { .. }, b'\r') => Self::EndLf,
            (Self::TrailerStart { seen } | Self::Trailer { seen }, _) if trailer_byte(self, byte) => {
                if seen >= TRAILER_BYTES {
                    return Err(Refusal::TooLarge);
                }
                Self::Trailer { seen: seen + 1 }
            }
            (Self::Trailer { seen }, b'\r') => Self::TrailerLf { seen },
            (Self::TrailerLf { seen }, b'\n') => Self::TrailerStart { seen },
            (Self::EndLf, b'\n') => return Ok(None),
            _ => return Err(Refusal::Malformed),
        };
        Ok(Some(next))
    }
}

const fn trailer_byte(place: Chunks, byte: u8) -> bool {
    match byte {
        b'\r' | b'\n' | 0 => false,
        b' ' | b'\t' => !matches!(place, Chunks::TrailerStart { .. }),
        _ => true,
    }
}
