use bytes::{BufMut as _, Bytes, BytesMut};

use crate::json::Document;

/// A comment that keeps idle connections open.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Longest pause before reconnecting a server may ask for, in milliseconds.
const LONGEST_RETRY: u64 = 60_000;

/// The names of events MCP has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventName {
    /// Where to post, in 2024-11-05.
    Endpoint,
    /// A JSON-RPC message.
    Message,
}

/// Text without any line break, as every line-framed peer sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(Bytes);

impl Line {
    /// The data of a priming event.
    pub const fn empty() -> Self {
        Self(Bytes::new())
    }

    /// A message on one line.
    pub fn of(document: &Document) -> Self {
        Self::of_json(document.bytes().clone())
    }

    /// JSON on one line: CR and LF become spaces, U+0085, U+2028 and U+2029 become escapes; untouched where there are none.
    ///
    /// `json` must be a JSON text: outside of strings such a text has no other line break than CR and LF, and inside of
    /// strings it has neither of those, so the bytes can be told apart without reading it again.
    pub fn of_json(json: Bytes) -> Self {
        if is_one_line(&json) {
            return Self(json);
        }
        let mut out = BytesMut::with_capacity(json.len() + 64);
        let mut rest: &[u8] = &json;
        while let Some((first, tail)) = rest.split_first() {
            rest = match (first, tail) {
                (b'\r' | b'\n', _) => {
                    out.put_u8(b' ');
                    tail
                }
                (0xc2, [0x85, tail @ ..]) => {
                    out.put_slice(b"\\u0085");
                    tail
                }
                (0xe2, [0x80, last @ (0xa8 | 0xa9), tail @ ..]) => {
                    out.put_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    tail
                }
                _ => {
                    out.put_u8(*first);
                    tail
                }
            };
        }
        Self(out.freeze())
    }

    /// A relative or absolute URI; `None` if it holds anything but visible ASCII.
    pub fn of_uri(uri: &str) -> Option<Self> {
        uri.bytes().all(|byte| byte.is_ascii_graphic()).then(|| Self(Bytes::copy_from_slice(uri.as_bytes())))
    }

    /// The bytes of the line, for good.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The bytes of the line.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

fn is_one_line(json: &[u8]) -> bool {
    memchr::memchr2(b'\r', b'\n', json).is_none()
        && memchr::memchr2_iter(0xc2, 0xe2, json)
            .all(|at| !matches!(json.get(at..), Some([0xc2, 0x85, ..] | [0xe2, 0x80, 0xa8 | 0xa9, ..])))
}

/// An event as it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Written only where it is not the default.
    pub name: EventName,
    /// Sealed by us; left out if it is not base64url.
    pub id: Option<&'a str>,
    /// Milliseconds; at most one minute is written.
    pub retry: Option<u64>,
    /// `None` for a block that only carries an id or a pause.
    pub data: Option<&'a Line>,
}

impl<'a> Outgoing<'a> {
    /// A message without an id.
    pub const fn message(data: &'a Line) -> Self {
        Self { name: EventName::Message, id: None, retry: None, data: Some(data) }
    }

    /// The block with the blank line behind it.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode_to(&mut out);
        out.freeze()
    }

    /// Appends the same to `out`.
    pub fn encode_to(&self, out: &mut BytesMut) {
        out.reserve(self.data.map_or(0, |line| line.0.len()) + self.id.map_or(0, str::len) + 64);
        if self.name == EventName::Endpoint {
            out.put_slice(b"event: endpoint\n");
        }
        if let Some(id) = self.id.filter(|id| id.bytes().all(is_base64url)) {
            out.put_slice(b"id: ");
            out.put_slice(id.as_bytes());
            out.put_u8(b'\n');
        }
        if let Some(retry) = self.retry {
            out.put_slice(b"retry: ");
            out.put_slice(itoa::Buffer::new().format(retry.min(LONGEST_RETRY)).as_bytes());
            out.put_u8(b'\n');
        }
        if let Some(line) = self.data {
            out.put_slice(if line.0.is_empty() { b"data:" } else { b"data: " });
            out.put_slice(&line.0);
            out.put_u8(b'\n');
        }
        out.put_u8(b'\n');
    }
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
