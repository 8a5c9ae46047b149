use super::{Error, ErrorKind};

/// An error of that kind at that offset.
pub(super) const fn fail<T>(kind: ErrorKind, offset: usize) -> Result<T, Error> {
    Err(Error { kind, offset })
}

/// Checks the escape whose backslash is at `at`; returns the position after it.
pub(super) fn escape(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let Some(letter) = bytes.get(at + 1) else { return fail(ErrorKind::End, at + 1) };
    match letter {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
        b'u' => match unit(bytes, at + 1)? {
            0xdc00..0xe000 => fail(ErrorKind::LoneSurrogate, at + 6),
            0xd800..0xdc00 => low_surrogate(bytes, at + 6),
            _ => Ok(at + 6),
        },
        _ => fail(ErrorKind::Escape, at + 1),
    }
}

/// Checks the escape at `at`, which must be a low surrogate; returns the position after it.
fn low_surrogate(bytes: &[u8], at: usize) -> Result<usize, Error> {
    if bytes.get(at..at + 2) != Some(b"\\u") {
        return fail(ErrorKind::LoneSurrogate, at);
    }
    match unit(bytes, at + 1)? {
        0xdc00..0xe000 => Ok(at + 6),
        _ => fail(ErrorKind::LoneSurrogate, at + 6),
    }
}

/// The UTF-16 code unit of the `uXXXX` at `at`.
fn unit(bytes: &[u8], at: usize) -> Result<u32, Error> {
    let Some(digits) = bytes.get(at + 1..at + 5) else { return fail(ErrorKind::End, at) };
    hex(digits).map_or(fail(ErrorKind::Escape, at), Ok)
}

/// Checks the number at `at` (RFC 8259 section 6); returns the position after it.
pub(super) fn number(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let start = at + usize::from(bytes[at] == b'-');
    let mut end = match bytes.get(start) {
        None => return fail(ErrorKind::End, start),
        Some(b'0') => start + 1,
        Some(_) => digits(bytes, start)?,
    };
    if bytes.get(end) == Some(&b'.') {
        end = digits(bytes, end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(bytes, end + 1 + usize::from(sign))?;
    }
    Ok(end)
}

/// Skips one or more digits; returns the position after them.
fn digits(bytes: &[u8], from: usize) -> Result<usize, Error> {
    let count = bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { fail(ErrorKind::Number, from) } else { Ok(from + count) }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// Decodes a validated string literal; `inner` is what is between its quotes.
pub(super) fn unescape(inner: &[u8]) -> String {
    let mut out = Vec::with_capacity(inner.len());
    let mut at = 0;
    while at < inner.len() {
        let run = memchr::memchr(b'\\', &inner[at..]).unwrap_or(inner.len() - at);
        out.extend_from_slice(&inner[at..at + run]);
        at += run;
        let Some(letter) = inner.get(at + 1) else { break };
        at += 2;
        let plain = match letter {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let high = inner.get(at..at + 4).and_then(hex).unwrap_or(0xfffd);
                at += 4;
                let scalar = if (0xd800..0xdc00).contains(&high) {
                    let low = inner.get(at + 2..at + 6).and_then(hex).unwrap_or(0xdc00);
                    at += 6;
                    0x1_0000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00)
                } else {
                    high
                };
                let c = char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => *other,
        };
        out.push(plain);
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
