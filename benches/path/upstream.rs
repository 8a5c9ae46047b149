//! An MCP server that does as little as it can: canned answers, written in one piece.

use std::cell::RefCell;
use std::rc::Rc;

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::cases::{CASES, Case};
use super::local::serve_local;
use super::wire::content_length;

/// Answers of one case, around the id.
struct Canned {
    stream: bool,
    messages: Vec<String>,
}

pub(crate) fn run(listen: &str) {
    let canned: Rc<Vec<Canned>> =
        Rc::new(CASES.iter().map(Case::answer).map(|(stream, messages)| Canned { stream, messages }).collect());
    serve_local(async {
        let listener = TcpListener::bind(listen).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(connection(stream, canned.clone()));
        }
    });
}

async fn connection(mut stream: TcpStream, canned: Rc<Vec<Canned>>) {
    stream.set_nodelay(true).unwrap();
    let mut read = Vec::with_capacity(16 * 1024);
    let out = RefCell::new(Vec::with_capacity(128 * 1024));
    loop {
        let Some((head, length)) = request(&read) else {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        answer(&read[head..head + length], &canned, &mut out.borrow_mut());
        read.drain(..head + length);
        let bytes = std::mem::take(&mut *out.borrow_mut());
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        *out.borrow_mut() = bytes;
    }
}

/// Where the body of a whole request begins, and its length.
fn request(read: &[u8]) -> Option<(usize, usize)> {
    let head = memmem::find(read, b"\r\n\r\n")? + 4;
    let length = content_length(&read[..head]).unwrap_or(0);
    (read.len() >= head + length).then_some((head, length))
}

fn answer(request: &[u8], canned: &[Canned], out: &mut Vec<u8>) {
    out.clear();
    let (Some(case), Some(id)) = (Case::of(request), id(request)) else {
        return out.extend_from_slice(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
    };
    let Canned { stream, messages } = &canned[case];
    if !stream {
        let message = message(&messages[0], id);
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
        out.extend_from_slice(format!("content-length: {}\r\n\r\n{message}", message.len()).as_bytes());
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    for body in messages {
        let event = format!("event: message\ndata: {}\n\n", message(body, id));
        out.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
    }
    out.extend_from_slice(b"0\r\n\r\n");
}

fn message(body: &str, id: &str) -> String {
    if body.starts_with("\"method\"") {
        return format!(r#"{{"jsonrpc":"2.0",{body}}}"#);
    }
    format!(r#"{{"jsonrpc":"2.0","id":{id},{body}}}"#)
}

fn id(request: &[u8]) -> Option<&str> {
    let rest = &request[memmem::find(request, b"\"id\":")? + 5..];
    let end = rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
    std::str::from_utf8(&rest[..end]).ok()
}
