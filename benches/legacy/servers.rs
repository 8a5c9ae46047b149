//! Two MCP servers that do as little as they can: one that wants sessions at `/older`, one that knows none at `/newer`.

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::local::serve_local;
use super::wire::content_length;

pub(crate) fn run(listen: &str) {
    serve_local(async {
        let listener = TcpListener::bind(listen).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(connection(stream));
        }
    });
}

async fn connection(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    // Thousands of these are idle.
    let mut read = Vec::with_capacity(1024);
    loop {
        let Some((head, length)) = request(&read) else {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let body = &read[head..head + length];
        if memmem::find(body, b"\"hang\"").is_some() {
            return std::future::pending().await;
        }
        let mut answer = answer(&read[..head], body);
        if memmem::find(body, b"\"cut\"").is_some() {
            answer.truncate(answer.len() / 2);
            let _ = stream.write_all(answer.as_bytes()).await;
            return;
        }
        read.drain(..head + length);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Where the body of a whole request begins, and its length.
fn request(read: &[u8]) -> Option<(usize, usize)> {
    let head = memmem::find(read, b"\r\n\r\n")? + 4;
    let length = content_length(&read[..head]).unwrap_or(0);
    (read.len() >= head + length).then_some((head, length))
}

fn answer(head: &[u8], body: &[u8]) -> String {
    let has = |text: &str| memmem::find(body, text.as_bytes()).is_some();
    if head.starts_with(b"GET") {
        return "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n3\r\n:\n\n\r\n".into();
    }
    let newer = head.starts_with(b"POST /newer");
    let (fields, result) = if has("\"initialize\"") {
        if newer {
            let error = "\"error\":{\"code\":-32601,\"message\":\"no such method\"}";
            return json("", &format!("{{\"jsonrpc\":\"2.0\",\"id\":{},{error}}}", id(body).unwrap_or("null")));
        }
        let capabilities = "\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}}";
        (
            "mcp-session-id: s1\r\n",
            format!("{{{capabilities},\"serverInfo\":{{\"name\":\"older\",\"version\":\"1\"}}}}"),
        )
    } else if has("\"server/discover\"") && newer {
        let info = "\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"newer\",\"version\":\"1\"}";
        (
            "",
            format!(
                "{{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],{info},\"ttlMs\":0,\"cacheScope\":\"private\"}}"
            ),
        )
    } else if has("\"tools/list\"") {
        let more = if newer { ",\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"private\"" } else { "" };
        ("", format!("{{\"tools\":[{}]{more}}}", super::program::TOOL))
    } else {
        let more = if newer { ",\"resultType\":\"complete\"" } else { "" };
        ("", format!("{{\"content\":[{{\"type\":\"text\",\"text\":\"{}\"}}]{more}}}", super::program::TEXT))
    };
    match id(body) {
        Some(id) => json(fields, &format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")),
        None => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".into(),
    }
}

fn json(fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{fields}content-length: {length}\r\n\r\n{body}")
}

/// The id of a request as it is written.
pub(crate) fn id(request: &[u8]) -> Option<&str> {
    let rest = &request[memmem::find(request, b"\"id\":")? + 5..];
    let end = rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
    std::str::from_utf8(&rest[..end]).ok()
}
