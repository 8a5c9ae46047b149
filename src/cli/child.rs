//! `portcullis child`: what `serve` starts instead of a program, to become that program with its life tied to `serve`'s.
//!
//! It makes its process end with the proxy whatever way that ends, leaves the proxy's session, drops every descriptor but the
//! standard ones, gives up ever gaining privileges, and takes the limits it is told.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{close, getppid, setsid};

use super::{Exit, Streams};

/// Arguments of `child`.
#[derive(Args, Debug)]
pub struct Child {
    /// The process that must be the parent.
    #[arg(long)]
    parent: i32,
    /// Most bytes of data.
    #[arg(long)]
    memory: Option<u64>,
    /// Most open files.
    #[arg(long)]
    open_files: Option<u64>,
    /// Most processes and threads of its user.
    #[arg(long)]
    tasks: Option<u64>,
    /// Most seconds on a processor.
    #[arg(long)]
    cpu_seconds: Option<u64>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

impl Child {
    /// Becomes the program; returns only if that cannot be.
    pub fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let Some((program, arguments)) = self.program.split_first() else { return Exit::Usage };
        if let Err((what, error)) = self.prepare() {
            streams.message(format_args!("cannot {what}: {error}"));
            return Exit::Unavailable;
        }
        let error = Command::new(program).args(arguments).exec();
        streams.message(format_args!("cannot start `{}`: {error}", program.display()));
        Exit::Unavailable
    }

    fn prepare(&self) -> Result<(), (&'static str, std::io::Error)> {
        let told = |what: &'static str| move |error: nix::errno::Errno| (what, std::io::Error::from(error));
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(told("be tied to the proxy's life"))?;
        // A proxy that ended before that is no parent any more, and would never be missed.
        if getppid().as_raw() != self.parent {
            return Err(("go on", std::io::Error::other("the proxy has ended")));
        }
        setsid().map_err(told("leave the proxy's session"))?;
        close_inherited().map_err(|error| ("see what is open", error))?;
        prctl::set_no_new_privs().map_err(told("give up privileges"))?;
        let limits = [
            (Resource::RLIMIT_CORE, Some(0)),
            (Resource::RLIMIT_DATA, self.memory),
            (Resource::RLIMIT_NOFILE, self.open_files),
            (Resource::RLIMIT_NPROC, self.tasks),
            (Resource::RLIMIT_CPU, self.cpu_seconds),
        ];
        for (resource, limit) in limits {
            if let Some(limit) = limit {
                setrlimit(resource, limit, limit).map_err(told("take a limit"))?;
            }
        }
        Ok(())
    }
}

/// Closes every descriptor behind the three standard ones. The proxy's own close by themselves; what it was started with
/// itself may not.
fn close_inherited() -> std::io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in open {
        // The one the folder was read by is closed already.
        let _ = close(descriptor);
    }
    Ok(())
}
