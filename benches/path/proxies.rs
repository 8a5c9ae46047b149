//! The processes of a measurement.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis::clock::monotonic;

use super::cases::{CASES, Case};
use super::counter::{self, Counter};
use super::issuer::Issuer;
use super::load;
use super::measure;
use super::wire::is_whole;

const AUDIENCE: &str = "https://bench.example.com/mcp";

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    Portcullis,
}

/// What all measurements share.
pub(crate) struct Bench {
    issuer: Issuer,
    token: String,
    upstream: Process,
    directory: PathBuf,
    pinned: bool,
}

/// A process that ends with this value.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
    out: PathBuf,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One run of the load.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Thousands a request.
    pub(crate) instructions: f64,
    /// Microseconds a request.
    pub(crate) cpu: f64,
    pub(crate) rate: f64,
    /// Microseconds.
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// A fresh Portcullis.
pub(crate) struct First {
    pub(crate) millis: f64,
    pub(crate) resident: f64,
}

impl Bench {
    /// Starts what stays up: issuer and upstream.
    pub(crate) fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("portcullis-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let issuer = Issuer::start();
        let token = issuer.token(AUDIENCE);
        let pinned = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1) && counter::has("taskset");
        let address = free_address();
        let child = own(pinned).args(["upstream", &address]).spawn().unwrap();
        let upstream = Process { child, address, out: PathBuf::new() };
        Self { issuer, token, upstream, directory, pinned }
    }

    /// A proxy that has answered.
    pub(crate) fn proxy(&self, kind: Kind, workers: usize, callgrind: bool) -> Process {
        let process = self.spawn(kind, workers, callgrind);
        while !self.answers(&process.address, &CASES[0]) {
            std::thread::sleep(Duration::from_millis(20));
        }
        if kind == Kind::Portcullis {
            for case in &CASES {
                assert!(self.answers(&process.address, case), "{} is not answered as it should be", case.name);
            }
        }
        process
    }

    fn spawn(&self, kind: Kind, workers: usize, callgrind: bool) -> Process {
        let address = free_address();
        let out = self.directory.join(format!("callgrind-{}", address.replace(['.', ':'], "-")));
        let mut words = Vec::new();
        if self.pinned && !callgrind {
            words.extend(["taskset", "-c", "0"].map(String::from));
        }
        if callgrind {
            words.extend(["valgrind", "--tool=callgrind", "-q"].map(String::from));
            words.push(format!("--callgrind-out-file={}", out.display()));
        }
        match kind {
            Kind::Bare => words.extend([bench_path(), "bare".into(), address.clone(), self.upstream.address.clone()]),
            Kind::Portcullis => {
                let config = self.configure(&address, workers);
                words.extend([env!("CARGO_BIN_EXE_portcullis").into(), "serve".into(), "--config".into()]);
                words.push(config.display().to_string());
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        if callgrind {
            command.stderr(Stdio::null());
        }
        command.env("RUST_LOG", "warn");
        Process { child: command.spawn().unwrap(), address, out }
    }

    /// The shipped example policy, audit to a file, metrics on.
    fn configure(&self, address: &str, workers: usize) -> PathBuf {
        let file = self.directory.join("proxy.toml");
        // In a folder of its own: the one the configuration lies in is watched, and each line would be news of a change.
        let audit = self.directory.join("audit");
        std::fs::create_dir_all(&audit).unwrap();
        let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/crm.toml");
        let text = format!(
            r#"[server]
public_url = "http://{address}"
listen = ["{address}"]
workers = {workers}
[admin]
listen = "127.0.0.1:0"
[issuers.bench]
issuer = "{issuer}"
jwks_uri = "{issuer}/jwks"
insecure_loopback = true
[servers.crm]
path = "/mcp"
upstream = "http://{upstream}/mcp"
policies = ["{policy}"]
audiences = ["{AUDIENCE}"]
[audit]
sinks = [{{ type = "file", path = "{audit}" }}]
on_error = "block"
"#,
            issuer = self.issuer.url,
            upstream = self.upstream.address,
            audit = audit.join("audit.jsonl").display(),
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Whether one call on a connection of its own is answered as the case expects.
    fn answers(&self, address: &str, case: &Case) -> bool {
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        stream.write_all(&load::request(address, case, &self.token)).unwrap();
        let mut read = Vec::new();
        let mut piece = [0; 16 * 1024];
        while !is_whole(&read) {
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => read.extend_from_slice(&piece[..count]),
                _ => return false,
            }
        }
        let text = String::from_utf8_lossy(&read);
        text.starts_with("HTTP/1.1 200") && text.contains(case.expect) && !text.contains(case.reject)
    }

    /// From the start of a process with two workers to its first answer to an authenticated call, several times.
    pub(crate) fn first_answers(&self, times: usize) -> Vec<First> {
        let one = || {
            let started = monotonic();
            let process = self.spawn(Kind::Portcullis, 2, false);
            while !self.answers(&process.address, &CASES[0]) {
                std::thread::sleep(Duration::from_millis(1));
            }
            First { millis: started.elapsed().as_secs_f64() * 1000.0, resident: measure::resident(process.id()) }
        };
        (0..times).map(|_| one()).collect()
    }

    /// What a process with two workers holds that listens, has its keys and has not been asked anything, in megabytes.
    pub(crate) fn idle(&self) -> f64 {
        let process = self.spawn(Kind::Portcullis, 2, false);
        while TcpStream::connect(&process.address).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_secs(1));
        measure::resident(process.id())
    }

    /// Runs the load against `proxy` and measures it.
    pub(crate) fn load(
        &self,
        proxy: &Process,
        case: &Case,
        connections: usize,
        seconds: f64,
        counter: Counter,
    ) -> Round {
        let counts = self.directory.join("perf.txt");
        let mut words: Vec<String> = Vec::new();
        if counter == Counter::Perf {
            words.extend(["perf", "stat", "-x,", "-e", "instructions", "-o"].map(String::from));
            words.extend([counts.display().to_string(), "-p".into(), proxy.id().to_string()]);
        }
        if self.pinned {
            words.extend(["taskset", "-c", "1"].map(String::from));
        }
        words.extend([bench_path(), "load".into(), proxy.address.clone(), case.name.into()]);
        words.extend([connections.to_string(), seconds.to_string(), self.token.clone()]);
        if counter == Counter::Callgrind {
            counter::callgrind_reset(proxy.id());
        }
        let before = measure::cpu_micros(proxy.id());
        let output = Command::new(&words[0]).args(&words[1..]).stderr(Stdio::inherit()).output().unwrap();
        let cpu = measure::cpu_micros(proxy.id()) - before;
        let text = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [count, elapsed, median, p99] = numbers[..] else { panic!("the load has failed") };
        let instructions = match counter {
            Counter::Callgrind => counter::callgrind_count(proxy.id(), &proxy.out),
            Counter::None => f64::NAN,
            Counter::Perf => counter::perf_count(&std::fs::read_to_string(&counts).unwrap()).unwrap_or(f64::NAN),
        };
        Round { instructions: instructions / count / 1000.0, cpu: cpu / count, rate: count / elapsed, median, p99 }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn bench_path() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

/// This program in another role, beside the proxy rather than on its processor.
fn own(pinned: bool) -> Command {
    if !pinned {
        return Command::new(bench_path());
    }
    let mut command = Command::new("taskset");
    command.args(["-c", "1", &bench_path()]);
    command
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
