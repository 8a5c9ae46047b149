//! `portcullis child`: the process that `serve` starts for a program, so that the program ends with the proxy.
//!
//! It is started twice. The first, the `keeper`, leaves the proxy's session, closes every descriptor but the standard ones and
//! gives up ever gaining privileges. It adopts orphans of the program, and ends with all of them when the program or the proxy
//! ends, however that happens. The second applies the limits it was given and executes the program.

mod keeper;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{close, getppid, setsid};

use super::{Exit, Streams};
use crate::upstream::END_NOW;

/// What could not be done, and why.
type Failure = (&'static str, std::io::Error);

/// Arguments of `child`.
#[derive(Args, Debug)]
pub struct Child {
    /// The process that must be the parent.
    #[arg(long)]
    parent: i32,
    /// Become the program at once; for the keeper's own use.
    #[arg(long)]
    kept: bool,
    /// The most bytes of data.
    #[arg(long)]
    memory: Option<u64>,
    /// The most open files.
    #[arg(long)]
    open_files: Option<u64>,
    /// The most processes and threads of its user.
    #[arg(long)]
    tasks: Option<u64>,
    /// The most seconds on a processor.
    #[arg(long)]
    cpu_seconds: Option<u64>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

impl Child {
    /// Keeps the program, or becomes it; then it returns only if that cannot be.
    pub fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let Some((program, arguments)) = self.program.split_first() else { return Exit::Usage };
        let done = if self.kept { self.take_limits() } else { self.keep() };
        if let Err((what, error)) = done {
            streams.message(format_args!("cannot {what}: {error}"));
            return Exit::Unavailable;
        }
        let error = Command::new(program).args(arguments).exec();
        streams.message(format_args!("cannot start `{}`: {error}", program.display()));
        Exit::Unavailable
    }

    /// Keeps the program, and ends as it does.
    fn keep(&self) -> Result<(), Failure> {
        keeper::listen().map_err(told("listen for signals"))?;
        tie(END_NOW, self.parent)?;
        setsid().map_err(told("leave the proxy's session"))?;
        close_inherited().map_err(|error| ("see what is open", error))?;
        prctl::set_no_new_privs().map_err(told("give up privileges"))?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(told("take a limit"))?;
        let mut again = Command::new(std::env::current_exe().map_err(|error| ("find itself", error))?);
        again.arg("child").arg("--kept").arg("--parent").arg(std::process::id().to_string());
        for (name, _, limit) in self.limits() {
            if let Some(limit) = limit {
                again.arg(name).arg(limit.to_string());
            }
        }
        again.arg("--").args(&self.program);
        std::process::exit(keeper::keep(again)?)
    }

    fn take_limits(&self) -> Result<(), Failure> {
        tie(Signal::SIGKILL, self.parent)?;
        setsid().map_err(told("leave its keeper's session"))?;
        for (_, resource, limit) in self.limits() {
            if let Some(limit) = limit {
                setrlimit(resource, limit, limit).map_err(told("take a limit"))?;
            }
        }
        Ok(())
    }

    /// What the program alone is limited by.
    fn limits(&self) -> [(&'static str, Resource, Option<u64>); 4] {
        [
            ("--memory", Resource::RLIMIT_DATA, self.memory),
            ("--open-files", Resource::RLIMIT_NOFILE, self.open_files),
            ("--tasks", Resource::RLIMIT_NPROC, self.tasks),
            ("--cpu-seconds", Resource::RLIMIT_CPU, self.cpu_seconds),
        ]
    }
}

fn told(what: &'static str) -> impl Fn(nix::errno::Errno) -> Failure {
    move |error| (what, error.into())
}

/// Has the kernel send `signal` when the parent ends.
fn tie(signal: Signal, parent: i32) -> Result<(), Failure> {
    prctl::set_pdeathsig(signal).map_err(told("be tied to the proxy's life"))?;
    // If the parent has already ended, the signal would never be sent.
    if getppid().as_raw() == parent { Ok(()) } else { Err(("go on", std::io::Error::other("the proxy has ended"))) }
}

/// Closes every descriptor behind the three standard ones. The proxy's own close by themselves; what it was started with
/// itself may not.
fn close_inherited() -> std::io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in open {
        // The descriptor of the directory itself is already closed.
        let _ = close(descriptor);
    }
    Ok(())
}
