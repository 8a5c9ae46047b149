//! Instructions of a process, as the tools of the system count them.

use std::path::Path;
use std::process::{Command, Stdio};

/// Where instructions are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    Callgrind,
    None,
    Perf,
}

impl Counter {
    /// The best there is; callgrind only if asked for, as nothing else can be measured under it.
    pub(crate) fn choose(callgrind: bool) -> Self {
        if callgrind {
            assert!(has("valgrind"), "valgrind is not installed");
            return Self::Callgrind;
        }
        let probe = Command::new("perf").args(["stat", "-x,", "-e", "instructions", "true"]).output();
        let counts = probe.is_ok_and(|probe| perf_count(&String::from_utf8_lossy(&probe.stderr)).is_some());
        if counts { Self::Perf } else { Self::None }
    }
}

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// The count in the output of `perf stat -x,`, if it counted.
pub(crate) fn perf_count(output: &str) -> Option<f64> {
    output.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()
}

/// The counters of a process under callgrind set to zero.
pub(crate) fn callgrind_reset(pid: u32) {
    callgrind_control("-z", pid);
}

/// Instructions since [`callgrind_reset`]; dumps are named after `out`.
pub(crate) fn callgrind_count(pid: u32, out: &Path) -> f64 {
    let dump = (1..).map(|number| out.with_extension(format!("{number}")));
    let before = dump.take_while(|file| file.exists()).count();
    callgrind_control("-d", pid);
    let file = out.with_extension(format!("{}", before + 1));
    let text = std::fs::read_to_string(file).unwrap();
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    totals.and_then(|totals| totals.trim().parse().ok()).unwrap_or(f64::NAN)
}

fn callgrind_control(flag: &str, pid: u32) {
    let status = Command::new("callgrind_control")
        .args([flag, &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "callgrind_control");
}
