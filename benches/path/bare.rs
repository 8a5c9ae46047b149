//! The least a hyper proxy can do: one thread, `hyper::server` and `hyper::client::conn`, a pool of its own, nothing looked
//! at. What Portcullis costs above this is what it does.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Idle connections, the newest first to go.
type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

pub(crate) fn run(listen: &str, upstream: &str) {
    let upstream: Rc<str> = upstream.into();
    let pool = Pool::default();
    super::local::serve_local(async {
        let listener = TcpListener::bind(listen).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (upstream, pool) = (upstream.clone(), pool.clone());
            let service = service_fn(move |request| forward(request, upstream.clone(), pool.clone()));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::task::spawn_local(connection);
        }
    });
}

async fn forward(mut request: Request<Incoming>, upstream: Rc<str>, pool: Pool) -> Result<Response<Kept>, Infallible> {
    request.headers_mut().remove(header::CONNECTION);
    let kept = std::iter::from_fn(|| pool.borrow_mut().pop()).find(SendRequest::is_ready);
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(&upstream).await,
    };
    let response = sender.send_request(request).await.unwrap();
    Ok(response.map(|incoming| Kept { incoming, held: Some((sender, pool)) }))
}

async fn connect(upstream: &str) -> SendRequest<Incoming> {
    let stream = TcpStream::connect(upstream).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}

/// An answer's body that gives its connection back at the end.
struct Kept {
    incoming: Incoming,
    held: Option<(SendRequest<Incoming>, Pool)>,
}

impl Body for Kept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if (matches!(polled, Poll::Ready(None)) || polled.is_ready() && self.incoming.is_end_stream())
            && let Some((sender, pool)) = self.held.take()
        {
            pool.borrow_mut().push(sender);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream() && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
