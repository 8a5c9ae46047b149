//! As much of HTTP/1.1 as a load needs.

use memchr::memmem;

/// Whether a response has come to its end.
pub(crate) fn is_whole(read: &[u8]) -> bool {
    let Some(head) = memmem::find(read, b"\r\n\r\n") else { return false };
    let head = head + 4;
    match content_length(&read[..head]) {
        Some(length) => read.len() >= head + length,
        None if read.starts_with(b"HTTP/1.1 204") => true,
        None => read.ends_with(b"0\r\n\r\n"),
    }
}

/// As hyper writes it.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    let rest = &head[memmem::find(head, b"content-length: ")? + 16..];
    let digits = rest.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
