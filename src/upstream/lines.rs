//! The output of a process or channel, as the event stream of an answer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use super::UpstreamError;
use super::sse::Channel;
use super::stdio::Process;
use super::switchboard::Heard;
use crate::mcp::sse::{Line, Outgoing};

/// The server end that a call was sent to.
#[derive(Debug)]
pub(super) enum Peer {
    Channel(Arc<Channel>),
    Process(Arc<Process>),
}

impl Peer {
    /// Sends a cancellation of the call.
    fn abandon(&self, number: u64) {
        match self {
            Self::Channel(channel) => {
                let line = channel.board().abandon(number);
                if let Some(line) = line {
                    channel.say(line);
                }
            }
            Self::Process(process) => {
                let line = process.board().abandon(number);
                if let Some(line) = line {
                    process.write_now(line);
                }
            }
        }
    }

    /// The error for an output that ended early.
    fn gone(&self) -> UpstreamError {
        match self {
            Self::Channel(_) => UpstreamError::StreamEnded,
            Self::Process(_) => UpstreamError::Exited,
        }
    }
}

/// A pending call, or a stream. It keeps its peer alive; if it is dropped early, the call is cancelled.
#[derive(Debug)]
pub(super) struct Asked {
    peer: Peer,
    number: Option<u64>,
}

impl Asked {
    pub(super) fn new(peer: Peer, number: Option<u64>) -> Self {
        Self { peer, number }
    }

    /// The call was answered or will not be: nothing is to be cancelled.
    pub(super) fn done(mut self) {
        self.number = None;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.peer.abandon(number);
        }
    }
}

/// Turns messages into events.
#[derive(Debug)]
pub(super) struct Lines {
    first: VecDeque<Bytes>,
    heard: mpsc::Receiver<Heard>,
    asked: Option<Asked>,
    /// Whether the last message has come, or is not required.
    is_complete: bool,
    idle: Option<Duration>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Lines {
    pub(super) fn new(
        first: Option<Bytes>,
        heard: mpsc::Receiver<Heard>,
        asked: Asked,
        idle: Option<Duration>,
    ) -> Self {
        let is_complete = asked.number.is_none();
        Self { first: first.into_iter().collect(), heard, asked: Some(asked), is_complete, idle, pause: None }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        if let Some(text) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(event(text))));
        }
        if self.asked.is_none() {
            return Poll::Ready(None);
        }
        match self.heard.poll_recv(cx) {
            Poll::Ready(Some(Heard::Aside(text))) => {
                self.pause = None;
                Poll::Ready(Some(Ok(event(text))))
            }
            Poll::Ready(Some(Heard::Last(text))) => {
                self.is_complete = true;
                self.end();
                Poll::Ready(Some(Ok(event(text))))
            }
            Poll::Ready(None) => {
                let gone = self.asked.as_ref().filter(|_| !self.is_complete).map(|asked| Err(asked.peer.gone()));
                self.end();
                Poll::Ready(gone)
            }
            Poll::Pending => self.poll_idle(cx),
        }
    }

    /// Whether there are no more events.
    pub(super) fn is_ended(&self) -> bool {
        self.asked.is_none() && self.first.is_empty()
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        let Some(idle) = self.idle else { return Poll::Pending };
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(idle)));
        std::task::ready!(pause.as_mut().poll(cx));
        // Dropping it cancels the call.
        self.asked = None;
        Poll::Ready(Some(Err(UpstreamError::Idle(idle))))
    }

    fn end(&mut self) {
        if let Some(asked) = self.asked.take() {
            asked.done();
        }
    }
}

fn event(text: Bytes) -> Bytes {
    Outgoing::message(&Line::of_json(text)).encode()
}
