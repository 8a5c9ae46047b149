//! The orderly end, step by step, driven by signals from a channel.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::{answer, limits, listener, read_until, start};
use crate::server::admin::Readiness;
use crate::server::bind;
use crate::server::drain::{Drain, Signal, Stream, Summary, Times, supervise};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn ready() -> Arc<Readiness> {
    let readiness = Readiness::new(Vec::new);
    readiness.set_configured("sha256:ab");
    readiness.set_listening(1);
    assert!(readiness.is_ready());
    Arc::new(readiness)
}

/// Supervises `drain` in the background; the way to send signals, and its summary.
fn supervised(
    drain: &Drain,
    readiness: &Arc<Readiness>,
    timeout: Duration,
) -> (mpsc::Sender<Signal>, tokio::task::JoinHandle<(Summary, usize)>) {
    let (sender, mut signals) = mpsc::channel(4);
    let (drain, readiness) = (drain.clone(), Arc::clone(readiness));
    let times = Times { delay: Duration::ZERO, timeout };
    let supervising = tokio::task::spawn(async move {
        let mut reloads = 0;
        let summary = supervise(&mut signals, &drain, &readiness, times, || reloads += 1).await;
        (summary, reloads)
    });
    (sender, supervising)
}

#[tokio::test]
async fn calls_finish_and_connections_say_goodbye() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let (release, released) = watch::channel(false);
    let server = start(&listener(limits(), 1), None, move |_, _| {
        let (started, mut released) = (started.clone(), released.clone());
        async move {
            started.send(()).unwrap();
            released.wait_for(|go| *go).await.unwrap();
            answer(StatusCode::OK, "done")
        }
    });
    let readiness = ready();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(GET).await.unwrap();
        starts.recv().await.unwrap();
        calls.push(stream);
    }
    assert_eq!(server.drain.active(), 3);
    let (signals, supervising) = supervised(&server.drain, &readiness, Duration::from_mins(1));
    signals.send(Signal::Reload).await.unwrap();
    signals.send(Signal::Terminate).await.unwrap();
    // An idle connection is closed at once; by then its worker has told all the others.
    assert_eq!(idle.read(&mut [0; 64]).await.unwrap(), 0);
    assert!(!readiness.is_ready());
    assert!(!supervising.is_finished());
    release.send(true).unwrap();
    for mut stream in calls {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("done") && text.contains("connection: close\r\n"), "{text}");
    }
    let (summary, reloads) = supervising.await.unwrap();
    assert_eq!((summary.calls, summary.streams, summary.forced, reloads), (3, 0, false, 1));
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// An event stream: one event, then silence until told to end.
struct Events {
    first: bool,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Events {
    fn new(stream: Stream) -> Self {
        Self { first: true, ended: Box::pin(async move { stream.ended().await }) }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::take(&mut self.first) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b": open\n\n")))));
        }
        self.ended.as_mut().poll(cx).map(|()| None)
    }
}

#[tokio::test]
async fn streams_end_cleanly_after_the_timeout() {
    let drain = Drain::new();
    let bound = bind(&listener(limits(), 1)).unwrap();
    let address = bound.addresses()[0];
    let streams = drain.clone();
    bound
        .serve(None, &drain, move |_| {
            let streams = streams.clone();
            move |_, _: Request<Incoming>| std::future::ready(Response::new(Events::new(streams.stream())))
        })
        .unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    read_until(&mut stream, ": open\n\n").await;
    let (signals, supervising) = supervised(&drain, &ready(), Duration::ZERO);
    signals.send(Signal::Terminate).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "a stream is ended, not cut: {rest:?}");
    let (summary, _) = supervising.await.unwrap();
    assert_eq!((summary.calls, summary.streams, summary.forced), (0, 1, false));
}

#[tokio::test]
async fn a_second_signal_ends_it_now() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let server = start(&listener(limits(), 1), None, move |_, _| {
        started.send(()).unwrap();
        std::future::pending()
    });
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    starts.recv().await.unwrap();
    let (signals, supervising) = supervised(&server.drain, &ready(), Duration::from_mins(1));
    signals.send(Signal::Terminate).await.unwrap();
    signals.send(Signal::Reload).await.unwrap();
    signals.send(Signal::Terminate).await.unwrap();
    let (summary, reloads) = supervising.await.unwrap();
    assert!(summary.forced && reloads == 0);
    assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn http2_connections_are_told_to_go_away() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let (release, released) = watch::channel(false);
    let server = start(&listener(limits(), 1), None, move |_, _| {
        let (started, mut released) = (started.clone(), released.clone());
        async move {
            started.send(()).unwrap();
            released.wait_for(|go| *go).await.unwrap();
            answer(StatusCode::OK, "done")
        }
    });
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::task::spawn(connection);
    let request = Request::builder().uri("http://a/").body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let call = tokio::task::spawn(client.send_request(request));
    starts.recv().await.unwrap();
    let (signals, supervising) = supervised(&server.drain, &ready(), Duration::from_mins(1));
    signals.send(Signal::Terminate).await.unwrap();
    server.drain.closing().cancelled().await;
    release.send(true).unwrap();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    let (summary, _) = supervising.await.unwrap();
    assert_eq!((summary.calls, summary.forced), (1, false));
    connection.await.unwrap().unwrap();
}

#[test]
fn a_summary_reads_well() {
    let summary = Summary { calls: 12, elapsed: Duration::from_millis(1840), forced: false, streams: 3 };
    assert_eq!(summary.to_string(), "drained: 12 calls finished, 3 streams closed in 1.8 s");
    let summary = Summary { calls: 1, streams: 0, forced: true, ..summary };
    assert_eq!(summary.to_string(), "drain cut short: 1 call finished, 0 streams closed in 1.8 s");
}
