use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

/// Bytes read without a pause before the task yields to other connections: more than almost any answer, and no more than a few
/// milliseconds of work even if it is a thousand interim responses.
const TURN: usize = 256 * 1024;

/// A stream whose peer cannot monopolise the thread. tokio's cooperative budget counts reads, each of which may be large.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    /// Bytes read since a read was last pending, or since the last yield.
    read: usize,
}

impl<S> Paced<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read >= TURN {
            self.read = 0;
            // A plain `wake_by_ref` could run this task again before the runtime polls I/O.
            return pin!(yield_now()).poll(cx).map(Ok);
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read = if read.is_pending() { 0 } else { self.read + (buf.filled().len() - before) };
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::{AsyncRead, ReadBuf};

    use super::{Paced, TURN};

    /// Bytes read until it pauses.
    fn turn(paced: &mut Paced<impl AsyncRead + Unpin>, cx: &mut Context<'_>) -> usize {
        let (mut memory, mut total) = (vec![0; TURN / 4 + 1], 0);
        loop {
            let mut buf = ReadBuf::new(&mut memory);
            match Pin::new(&mut *paced).poll_read(cx, &mut buf) {
                Poll::Ready(read) => read.unwrap(),
                Poll::Pending => return total,
            }
            total += buf.filled().len();
        }
    }

    #[tokio::test]
    async fn a_side_that_never_pauses_is_paused_for() {
        let mut paced = Paced::new(tokio::io::repeat(7));
        for _ in 0..3 {
            let mut was_paused = false;
            poll_fn(|cx| {
                if was_paused {
                    return Poll::Ready(());
                }
                was_paused = true;
                let read = turn(&mut paced, cx);
                assert!((TURN..TURN * 2).contains(&read), "{read}");
                // It has asked for its next turn itself, or this would wait for ever.
                Poll::Pending
            })
            .await;
        }
    }

    #[test]
    fn what_comes_bit_by_bit_is_never_paused_for() {
        let mut cx = Context::from_waker(Waker::noop());
        let (near, far) = tokio::io::duplex(TURN);
        let (mut paced, mut far) = (Paced::new(near), far);
        for _ in 0..10 {
            let sent = Pin::new(&mut far);
            let written = tokio::io::AsyncWrite::poll_write(sent, &mut cx, &vec![7; TURN / 2]);
            assert!(matches!(written, Poll::Ready(Ok(count)) if count == TURN / 2));
            assert_eq!(turn(&mut paced, &mut cx), TURN / 2, "all that is there");
        }
    }
}
