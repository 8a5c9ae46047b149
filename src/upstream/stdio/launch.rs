//! A child process: isolated from the proxy's other resources, monitored until it exits, and ended together with all its
//! descendants.
//!
//! The proxy starts itself as a small supervisor, the keeper (`portcullis child`), which starts the program, ends it when the
//! proxy ends, and exits last. The parent-death signal (`PR_SET_PDEATHSIG`) fires when the thread that forked the child exits,
//! so each child has a thread of its own that lives exactly as long.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::{oneshot, watch};

use crate::config;

/// The signal that makes a keeper end its program and all descendants at once.
pub(crate) const END_NOW: Signal = Signal::SIGUSR1;
/// How long a keeper may take for that before it is killed.
const LAST: Duration = Duration::from_secs(5);
/// Stack size in bytes of the thread that starts a process and waits for it.
const STACK: usize = 256 * 1024;

/// The proxy's ends of a child's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// A child process, running or ended.
#[derive(Clone, Debug)]
pub(super) struct Child(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pid: Pid,
    /// The exit status, as text. While this is `None` the process has not been reaped, so its pid cannot have been reused.
    ended: Mutex<Option<String>>,
    changed: Condvar,
    told: watch::Sender<bool>,
}

impl Child {
    /// Starts `command`. Errs if the keeper cannot be started.
    pub(super) async fn start(command: &config::Command) -> io::Result<(Self, Pipes)> {
        let launcher = launcher(command)?;
        let (tell, told) = oneshot::channel();
        let keeper = std::thread::Builder::new().name("child".to_owned()).stack_size(STACK);
        keeper.spawn(move || keep(launcher, tell))?;
        told.await.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it ended")))
    }

    pub(super) fn pid(&self) -> i32 {
        self.0.pid.as_raw()
    }

    /// The exit status, as text; `None` while it runs.
    pub(super) fn end(&self) -> Option<String> {
        self.0.lock().clone()
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        // The sender is in the same allocation, so it cannot be dropped first.
        let _ = self.0.told.subscribe().wait_for(|ended| *ended).await;
    }

    /// Ends it and all its descendants now.
    pub(super) fn kill(&self) {
        let shared = Arc::clone(&self.0);
        self.0.signal(END_NOW);
        self.wait(move || shared.end_now());
    }

    /// Ends a child whose standard input was just closed: waits for `grace`, sends SIGTERM, waits again, then kills it.
    pub(super) fn stop(&self, grace: Duration) {
        let shared = Arc::clone(&self.0);
        let ladder = move || {
            if shared.ends_within(grace) {
                return;
            }
            shared.signal(Signal::SIGTERM);
            if !shared.ends_within(grace) {
                shared.end_now();
            }
        };
        self.wait(ladder);
    }

    fn wait(&self, ladder: impl FnOnce() + Send + 'static) {
        let waiting = std::thread::Builder::new().name("child-end".to_owned()).stack_size(STACK).spawn(ladder);
        if waiting.is_err() {
            self.0.signal(END_NOW);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals the keeper, which acts on the program and its descendants.
    fn signal(&self, signal: Signal) {
        let ended = self.lock();
        if ended.is_none() {
            let _ = kill(self.pid, signal);
        }
    }

    /// Makes the keeper end everything; a keeper that does not within [`LAST`] is killed, and its program with it.
    fn end_now(&self) {
        self.signal(END_NOW);
        if !self.ends_within(LAST) {
            self.signal(Signal::SIGKILL);
        }
    }

    fn ends_within(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |ended| ended.is_none());
        waited.map_or(true, |(ended, _)| ended.is_some())
    }
}

/// The body of a child's thread.
fn keep(mut launcher: Command, tell: oneshot::Sender<io::Result<(Child, Pipes)>>) {
    let mut process = match launcher.spawn() {
        Ok(process) => process,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let pid = Pid::from_raw(process.id().cast_signed());
    let pipes = match (process.stdin.take(), process.stdout.take(), process.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => {
            Pipes { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() }
        }
        _ => return,
    };
    let (ended, changed, told) = (Mutex::default(), Condvar::new(), watch::Sender::new(false));
    let shared = Arc::new(Shared { pid, ended, changed, told });
    let wanted = tell.send(Ok((Child(Arc::clone(&shared)), pipes))).is_ok();
    if !wanted {
        shared.signal(END_NOW);
    }
    // Waits without reaping, so that the pid is not reused until no more signals are sent to it.
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
    let mut ended = shared.lock();
    let how = process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    *ended = Some(how);
    drop(ended);
    shared.changed.notify_all();
    shared.told.send_replace(true);
}

/// The command `portcullis child … -- PROGRAM ARGUMENTS`, which inherits only the few environment variables that programs
/// need. Errs if the path of this executable is unknown.
fn launcher(command: &config::Command) -> io::Result<Command> {
    let mut launcher = Command::new(std::env::current_exe()?);
    launcher.arg("child").arg("--parent").arg(std::process::id().to_string());
    let limits = &command.limits;
    let sizes = [
        ("--memory", limits.memory_bytes),
        ("--open-files", limits.open_files),
        ("--tasks", limits.tasks),
        ("--cpu-seconds", limits.cpu_seconds),
    ];
    for (name, limit) in sizes {
        if let Some(limit) = limit {
            launcher.arg(name).arg(limit.to_string());
        }
    }
    launcher.arg("--").arg(&command.program).args(&command.arguments);
    launcher.env_clear();
    for name in ["PATH", "HOME", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            launcher.env(name, value);
        }
    }
    for (name, value) in &command.env {
        launcher.env(name, value.expose());
    }
    if let Some(directory) = &command.cwd {
        launcher.current_dir(directory);
    }
    if let Some(user) = command.user {
        launcher.uid(user.uid).gid(user.gid);
    }
    launcher.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(launcher)
}
