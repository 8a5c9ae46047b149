//! The splitter on any stream: its events do not depend on how the bytes were cut.

#![cfg_attr(feature = "libfuzzer", no_main)]

#[macro_use]
mod driver;

use bytes::Bytes;
use portcullis::mcp::sse::{Event, Splitter, SseError};

fn events(chunks: impl Iterator<Item = Bytes>) -> Vec<Result<Event, SseError>> {
    const LIMIT: usize = 256;
    let (mut splitter, mut events) = (Splitter::new(LIMIT), Vec::new());
    for chunk in chunks {
        splitter.feed(chunk);
        while let Some(event) = splitter.next_event() {
            events.push(event);
        }
    }
    events
}

fn stream(input: &[u8]) {
    let whole = events(std::iter::once(Bytes::copy_from_slice(input)));
    for length in [1, 2, 3, 7] {
        assert_eq!(events(input.chunks(length).map(Bytes::copy_from_slice)), whole, "{input:?} by {length}");
    }
}

target!(
    stream,
    [
        b"data: x\n".as_slice(),
        b"data:",
        b"\n",
        b"\r",
        b"\r\n",
        b"id: 1\n",
        b"event: message\n",
        b"retry: 10\n",
        b": c\n",
        b"\n\n",
        "\u{feff}".as_bytes(),
        b"data: {\"a\":1}\n\n",
        b"dat",
        b"a",
        b" ",
    ]
);
