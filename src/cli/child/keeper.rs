//! The process between the proxy and a program it started: it waits, forwards signals, and ends what is left.

use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd as _;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, close, getpid};

use super::{Failure, told};
use crate::upstream::END_NOW;

/// What is added to the number of the signal that ended the program, as shells do.
const BY_SIGNAL: i32 = 128;

fn awaited() -> SigSet {
    [END_NOW, Signal::SIGCHLD, Signal::SIGTERM].into_iter().collect()
}

/// Blocks signals until they are waited for. The program does not inherit that.
pub(super) fn listen() -> Result<(), Errno> {
    awaited().thread_block()
}

/// Starts the program, and waits until it and all its descendants have ended. Returns the program's exit status.
pub(super) fn keep(mut program: Command) -> Result<i32, Failure> {
    // Descendants that lose their parent become children of this process.
    prctl::set_child_subreaper(true).map_err(told("keep what the program starts"))?;
    let started = program.spawn().map_err(|error| ("start the program", error))?;
    let program = Pid::from_raw(started.id().cast_signed());
    // The pipes are closed here, so that the proxy notices when the program closes one.
    let apart = let_go();
    while apart.is_ok() {
        match awaited().wait() {
            Ok(Signal::SIGCHLD) if reap(program) => break,
            Ok(Signal::SIGCHLD) => {}
            Ok(Signal::SIGTERM) => drop(killpg(program, Signal::SIGTERM)),
            Ok(_) | Err(_) => break,
        }
    }
    let code = end_all(program);
    apart.map(|()| code).map_err(|error| ("let go of its pipes", error))
}

fn let_go() -> io::Result<()> {
    for standard in 0..=2 {
        close(standard)?;
        // It gets the lowest free number, which is the one just closed.
        let nothing = File::options().read(true).write(true).open("/dev/null")?.into_raw_fd();
        if nothing != standard {
            return Err(io::Error::other("something else was let go of"));
        }
    }
    Ok(())
}

/// Reaps children that have ended, except for the program, and returns whether that has ended. Until it is reaped, its
/// process and group ids are not reused.
fn reap(program: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(Some(ended)) = waitid(Id::All, look).map(|status| status.pid()) {
        if ended == program {
            return true;
        }
        let _ = waitpid(ended, None);
    }
    false
}

/// Kills the program and all its descendants, until none are left.
fn end_all(program: Pid) -> i32 {
    let _ = killpg(program, Signal::SIGKILL);
    let mut code = BY_SIGNAL + Signal::SIGKILL as i32;
    loop {
        // Only children are killed: their ids are not reused until they are reaped. A descendant whose parent ends becomes a
        // child.
        for child in children(getpid()) {
            let _ = kill(child, Signal::SIGKILL);
        }
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, with)) if pid == program => code = with,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => code = BY_SIGNAL + signal as i32,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return code,
        }
    }
}

/// All processes with a given parent (proc(5), `/proc/pid/stat`).
fn children(of: Pid) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").into_iter().flatten();
    let child = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read(entry.path().join("stat")).ok()?;
        (parent(&stat)? == of.as_raw()).then(|| Pid::from_raw(id))
    };
    all.filter_map(child).collect()
}

/// The fourth field, after a name that may contain anything.
fn parent(stat: &[u8]) -> Option<i32> {
    let behind = stat.get(memchr::memrchr(b')', stat)? + 1..)?;
    std::str::from_utf8(behind).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent(b"7 (sh) S 3 7 7 0 -1"), Some(3));
        assert_eq!(parent(b"7 (a) R 9 (b) S 3 7"), Some(3));
        assert_eq!(parent(b"7 (\xff)) Z 1 7"), Some(1));
        assert_eq!(parent(b"7 (sh"), None);
        assert_eq!(parent(b"7 (sh) S"), None);
        assert!(children(nix::unistd::getppid()).contains(&getpid()));
    }
}
