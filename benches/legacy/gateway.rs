//! The processes of a measurement.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::issuer::Issuer;
use super::{counter, measure};

const AUDIENCE: &str = "https://bench.example.com/mcp";
const POLICY: &str = "[policy]\nname = \"bench\"\n[[rule]]\nid = \"read\"\ntools = [\"search\"]\nscopes = [\"crm:read\"]\n\
                      [[mask]]\nid = \"mail\"\non = [\"arguments\", \"result\"]\nentities = [\"EMAIL_ADDRESS\", \"CREDIT_CARD\"]\n";

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    /// Portcullis, whose instructions are counted.
    Callgrind,
    Portcullis,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper",
            Self::Callgrind | Self::Portcullis => "portcullis",
        }
    }
}

/// A proxy that listens, with the servers behind it; they end with this value.
pub(crate) struct Gateway {
    children: Vec<Child>,
    folder: PathBuf,
    /// Where its instructions are written down.
    counts: Option<PathBuf>,
    pub(crate) address: String,
    pub(crate) token: String,
}

impl Gateway {
    pub(crate) fn start(kind: Kind) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("portcullis-bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("audit")).unwrap();
        let (address, upstream, issuer) = (free_address(), free_address(), Issuer::start());
        let servers = Command::new(own()).args(["servers", &upstream]).spawn().unwrap();
        let token = issuer.token(AUDIENCE);
        let counts = (kind == Kind::Callgrind).then(|| folder.join("callgrind"));
        let proxy = match kind {
            Kind::Bare => Command::new(own()).args(["bare", &address, &upstream]).spawn(),
            Kind::Callgrind | Kind::Portcullis => {
                std::fs::write(folder.join("policy.toml"), POLICY).unwrap();
                std::fs::write(folder.join("proxy.toml"), configuration(&folder, &address, &upstream, &issuer))
                    .unwrap();
                let mut command = program(counts.as_deref());
                command.args(["serve", "--config"]).arg(folder.join("proxy.toml")).env("RUST_LOG", "error");
                command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
            }
        };
        let gateway = Self { children: vec![proxy.unwrap(), servers], folder, counts, address, token };
        for address in [&gateway.address, &upstream] {
            while !answers(address) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        gateway
    }

    /// The proxy's process.
    pub(crate) fn id(&self) -> u32 {
        self.children[0].id()
    }

    /// What the proxy spends on some work: microseconds of CPU, or thousands of instructions in user space.
    pub(crate) fn spent(&self, work: impl FnOnce()) -> f64 {
        let before = measure::cpu_micros(self.id());
        if self.counts.is_some() {
            counter::callgrind_reset(self.id());
        }
        work();
        match &self.counts {
            Some(counts) => counter::callgrind_count(self.id(), counts) / 1e3,
            None => measure::cpu_micros(self.id()) - before,
        }
    }

    /// Its audit log.
    pub(crate) fn audit(&self) -> PathBuf {
        self.folder.join("audit/audit.jsonl")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn program(counts: Option<&Path>) -> Command {
    let binary = env!("CARGO_BIN_EXE_portcullis");
    let Some(counts) = counts else { return Command::new(binary) };
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "-q", &format!("--callgrind-out-file={}", counts.display()), binary]);
    command.stderr(Stdio::null());
    command
}

fn configuration(folder: &Path, address: &str, upstream: &str, issuer: &Issuer) -> String {
    let folder = folder.display();
    let server = |name: &str, of: &str| {
        format!(
            "[servers.{name}]\npath = \"/{name}\"\npolicies = [\"{folder}/policy.toml\"]\naudiences = [\"{AUDIENCE}\"]\ntimeouts = {{ first_byte = \"4s\" }}\n{of}\n"
        )
    };
    let at = |path: &str, era: &str| format!("upstream = \"http://{upstream}/{path}\"\nera = \"{era}\"");
    let servers = [
        server("older", &at("older", "pass")),
        server("newer", &at("newer", "pass")),
        server("older-for-newer", &at("older", "legacy")),
        server("newer-for-older", &at("newer", "modern")),
        server("program", &format!("command = [\"{}\", \"program\"]", own().display())),
    ];
    format!(
        "[server]\npublic_url = \"http://{address}\"\nlisten = [\"{address}\"]\nworkers = 1\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [issuers.bench]\nissuer = \"{url}\"\njwks_uri = \"{url}/jwks\"\ninsecure_loopback = true\n\
         {}[audit]\nsinks = [{{ type = \"file\", path = \"{folder}/audit/audit.jsonl\" }}]\non_error = \"block\"\n",
        servers.concat(),
        url = issuer.url,
    )
}

/// Whether somebody answers there in HTTP: a connection to a port that is free can become one with itself.
fn answers(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut start = [0; 8];
    let asked = stream.write_all(format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes());
    asked.and_then(|()| stream.read_exact(&mut start)).is_ok() && start == *b"HTTP/1.1"
}

/// This program.
fn own() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
