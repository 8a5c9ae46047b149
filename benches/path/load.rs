//! A closed loop: as many connections as told, each with one request on the way at any time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use portcullis::clock::monotonic;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::cases::Case;
use super::local::serve_local;
use super::wire::is_whole;

/// Prints requests, seconds, and the median and 99th percentile of their time in microseconds.
pub(crate) fn run(address: &str, case: &str, connections: usize, seconds: f64, token: &str) {
    let request: Rc<[u8]> = request(address, Case::named(case), token).into();
    let times = Rc::new(RefCell::new(Vec::with_capacity(1 << 20)));
    let started = monotonic();
    let until = started + Duration::from_secs_f64(seconds);
    serve_local(async {
        let tasks = (0..connections).map(|_| {
            let (address, request, times) = (address.to_owned(), request.clone(), times.clone());
            tokio::task::spawn_local(async move { connection(&address, &request, until, &times).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    let elapsed = started.elapsed().as_secs_f64();
    let mut times = times.borrow_mut();
    times.sort_unstable();
    let at = |share: usize| f64::from(times[(times.len() - 1) * share / 100]) / 1000.0;
    println!("{} {elapsed} {} {}", times.len(), at(50), at(99));
}

/// A whole request.
pub(crate) fn request(address: &str, case: &Case, token: &str) -> Vec<u8> {
    let body = case.request();
    format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\nuser-agent: bench/1.0\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn connection(address: &str, request: &[u8], until: Instant, times: &RefCell<Vec<u32>>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut read = Vec::with_capacity(128 * 1024);
    loop {
        let sent = monotonic();
        if sent >= until {
            return;
        }
        stream.write_all(request).await.unwrap();
        read.clear();
        while !is_whole(&read) {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the proxy hung up");
        }
        assert!(read.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read));
        times.borrow_mut().push(u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
}
