//! One process with its pipes, and the switchboard between it and the clients.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::launch::{Child, Pipes};
use crate::clock;
use crate::config;
use crate::mask;
use crate::mcp::sse::Line;
use crate::upstream::losses::{Loss, Losses};
use crate::upstream::switchboard::{Outcome, Switchboard};

/// The most bytes of one line of a process's output.
const LINE_BYTES: usize = 16 * 1024 * 1024;
/// The most bytes that are read from one process per second. A process that writes more blocks.
const SECOND_BYTES: usize = 64 * 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);
/// The most lines queued to be written.
const LINES: usize = 256;
/// Number of lines that are not valid MCP messages, without a delivered one between, after which a process is killed.
const REFUSED: u32 = 100;
/// Number of answers to requests that were never sent after which a process is killed.
const UNASKED: u32 = 2;
/// The most bytes of a line of standard error, and the most lines per second.
const ERROR_BYTES: usize = 4 * 1024;
const ERROR_LINES: u32 = 50;

/// A running process.
#[derive(Debug)]
pub(in crate::upstream) struct Process {
    server: Arc<str>,
    child: Child,
    board: Mutex<Switchboard>,
    /// `None` once its standard input is closed.
    stdin: Mutex<Option<mpsc::Sender<Line>>>,
    refused: AtomicU32,
    unasked: AtomicU32,
    losses: Arc<Losses>,
    grace: Duration,
}

impl Process {
    /// Starts a process, and spawns its tasks on the current runtime. Errs if it cannot be started.
    pub(super) async fn start(
        server: &Arc<str>,
        command: &config::Command,
        (is_shared, losses): (bool, &Arc<Losses>),
        patience: Duration,
    ) -> std::io::Result<Arc<Self>> {
        let (child, Pipes { stdin, stdout, stderr }) = Child::start(command).await?;
        let (lines, waiting) = mpsc::channel(LINES);
        let process = Arc::new(Self {
            server: Arc::clone(server),
            child,
            board: Mutex::new(Switchboard::new(is_shared)),
            stdin: Mutex::new(Some(lines)),
            refused: AtomicU32::new(0),
            unasked: AtomicU32::new(0),
            losses: Arc::clone(losses),
            grace: command.grace,
        });
        let pipes = (|| {
            Ok::<_, std::io::Error>((
                pipe::Sender::from_owned_fd(stdin)?,
                pipe::Receiver::from_owned_fd(stdout)?,
                pipe::Receiver::from_owned_fd(stderr)?,
            ))
        })();
        let (stdin, stdout, stderr) = pipes.inspect_err(|_| process.child.kill())?;
        tracing::info!(server = %server, pid = process.child.pid(), "child started");
        spawn(write(waiting, stdin, process.child.clone(), patience));
        spawn(read(Arc::downgrade(&process), stdout));
        spawn(log(Arc::clone(server), process.child.pid(), stderr));
        spawn(watch_exit(Arc::clone(server), process.child.clone(), Arc::downgrade(&process)));
        Ok(process)
    }

    pub(in crate::upstream) fn board(&self) -> MutexGuard<'_, Switchboard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is not known to have stopped accepting lines.
    pub(super) fn is_alive(&self) -> bool {
        self.child.end().is_none() && self.stdin().as_ref().is_some_and(|stdin| !stdin.is_closed())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.child.end().is_some()
    }

    pub(super) async fn ended(&self) {
        self.child.ended().await;
    }

    /// Queues a line, and waits while the queue is full; false if the process no longer accepts lines.
    pub(super) async fn write(&self, line: Line) -> bool {
        let stdin = self.stdin().clone();
        match stdin {
            Some(stdin) => stdin.send(line).await.is_ok(),
            None => false,
        }
    }

    /// Queues a line; drops it if the queue is full.
    pub(in crate::upstream) fn write_now(&self, line: Line) {
        if let Some(stdin) = &*self.stdin() {
            let _ = stdin.try_send(line);
        }
    }

    /// Closes its standard input, and ends it if it does not exit by itself (2025-11-25, "Shutdown", stdio).
    pub(super) fn stop(&self) {
        if self.stdin().take().is_some() {
            self.child.stop(self.grace);
        }
    }

    pub(super) fn kill(&self) {
        self.child.kill();
    }

    fn stdin(&self) -> MutexGuard<'_, Option<mpsc::Sender<Line>>> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a line of output.
    fn hear(&self, line: Bytes) {
        let outcome = self.board().hear(line);
        match outcome {
            Outcome::Passed => self.refused.store(0, Ordering::Relaxed),
            Outcome::Reply(answer) => self.write_now(Line::of_json(answer)),
            Outcome::Dropped(why) => {
                self.losses.count(why);
                tracing::debug!(server = %self.server, why = why.word(), "message of a child dropped");
            }
            Outcome::Unasked => {
                self.losses.count(Loss::Unasked);
                tracing::warn!(server = %self.server, "a child answered what nobody asked");
                if self.unasked.fetch_add(1, Ordering::Relaxed) + 1 >= UNASKED {
                    self.kill();
                }
            }
            Outcome::Unreadable(error) => {
                self.losses.count(Loss::NotMcp);
                let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
                if refused == 1 || refused == REFUSED {
                    tracing::warn!(server = %self.server, %error, "a line of a child is no message and is refused");
                }
                if refused >= REFUSED {
                    self.kill();
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes queued lines until the queue is closed or the process accepts no more.
async fn write(mut lines: mpsc::Receiver<Line>, mut stdin: pipe::Sender, child: Child, patience: Duration) {
    while let Some(line) = lines.recv().await {
        let whole = [line.as_bytes(), b"\n".as_slice()].concat();
        match timeout(patience, stdin.write_all(&whole)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            // A process that has read nothing for so long will not read the rest of this line.
            Err(_) => return child.kill(),
        }
    }
}

/// Reads lines until the process closes its standard output, after which it is of no use.
async fn read(process: Weak<Process>, mut stdout: pipe::Receiver) {
    let mut read = BytesMut::with_capacity(16 * 1024);
    let mut searched = 0;
    let (mut since, mut count) = (clock::monotonic(), 0);
    loop {
        match stdout.read_buf(&mut read).await {
            Ok(0) | Err(_) => break,
            Ok(more) => count += more,
        }
        let Some(process) = process.upgrade() else { return };
        while let Some(end) = memchr::memchr(b'\n', read.get(searched..).unwrap_or_default()) {
            let mut line = read.split_to(searched + end + 1);
            line.truncate(searched + end);
            searched = 0;
            if !line.trim_ascii().is_empty() {
                process.hear(line.freeze());
            }
        }
        searched = read.len();
        if read.len() > LINE_BYTES {
            process.losses.count(Loss::TooLong);
            tracing::warn!(server = %process.server, "a line of a child is too long");
            process.kill();
            break;
        }
        if count > SECOND_BYTES {
            sleep(SECOND.saturating_sub(since.elapsed())).await;
            (since, count) = (clock::monotonic(), 0);
        } else if since.elapsed() > SECOND {
            (since, count) = (clock::monotonic(), 0);
        }
    }
    if let Some(process) = process.upgrade() {
        process.board().clear();
        process.stop();
    }
}

/// Writes standard error to the log, masked, truncated and rate-limited.
async fn log(server: Arc<str>, pid: i32, mut stderr: pipe::Receiver) {
    let mut read = BytesMut::with_capacity(ERROR_BYTES);
    let (mut since, mut lines) = (clock::monotonic(), 0);
    while matches!(stderr.read_buf(&mut read).await, Ok(1..)) {
        while let Some(end) = memchr::memchr(b'\n', &read).or((read.len() >= ERROR_BYTES).then_some(ERROR_BYTES)) {
            let line = read.split_to((end + 1).min(read.len()));
            if since.elapsed() > SECOND {
                (since, lines) = (clock::monotonic(), 0);
            }
            lines += 1;
            if lines <= ERROR_LINES {
                let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
                tracing::info!(server = %server, pid, text = %mask::sanitize(&text), "child says");
            }
        }
    }
}

/// Waits until the process has ended, and then ends all pending calls.
async fn watch_exit(server: Arc<str>, child: Child, process: Weak<Process>) {
    child.ended().await;
    let how = child.end().unwrap_or_default();
    tracing::info!(server = %server, pid = child.pid(), how, "child ended");
    if let Some(process) = process.upgrade() {
        process.stdin().take();
        process.board().clear();
    }
}

#[expect(clippy::disallowed_methods, reason = "ends with the process, which ends with its last user")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
