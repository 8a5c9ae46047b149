use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::sync::mpsc;

use super::{Answer, Ask, Client, Folder, until, within};

/// `portcullis serve` in a process of its own; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: mpsc::UnboundedReceiver<String>,
    /// What of the log was read on the way.
    said: String,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Serves the `proxy.toml` of `folder`; waits until it listens.
    pub(crate) async fn serve(folder: &Folder) -> Self {
        Self::serve_at(folder, "info").await
    }

    /// As [`Self::serve`], with that much in the log.
    pub(crate) async fn serve_at(folder: &Folder, level: &str) -> Self {
        Self::serve_with(folder, level, |_| ()).await
    }

    /// As [`Self::serve_at`], with what else the process is started with.
    pub(crate) async fn serve_with(folder: &Folder, level: &str, with: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("--config").arg(folder.path("proxy.toml")).args([
            "--log-format",
            "json",
            "--log-level",
            level,
            "serve",
        ]);
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        with(&mut command);
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, log, said: String::new(), address: nowhere, admin: nowhere };
        process.address = process.address_of("listening").await;
        process.admin = process.address_of("admin listening").await;
        process
    }

    async fn address_of(&mut self, message: &str) -> SocketAddr {
        let line = self.log_line(message).await;
        let start = line.find("127.0.0.1:").unwrap_or_else(|| panic!("{line}"));
        let digits = line[start..].chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'));
        digits.collect::<String>().parse().unwrap()
    }

    /// The next line of the log with that message.
    pub(crate) async fn log_line(&mut self, message: &str) -> String {
        let wanted = format!("\"{message}");
        let mut before = String::new();
        loop {
            match within(message, self.log.recv()).await {
                Some(line) if line.contains(&wanted) => {
                    self.said.extend([&before, &line, "\n"]);
                    return line;
                }
                Some(line) => before.extend([&line, "\n"]),
                None => panic!("ended before `{message}`: {before}"),
            }
        }
    }

    /// All that is left of the log, once the process has ended.
    pub(crate) async fn log_to_the_end(&mut self) -> String {
        let mut all = std::mem::take(&mut self.said);
        while let Some(line) = within("the end of the log", self.log.recv()).await {
            all.push_str(&line);
            all.push('\n');
        }
        all
    }

    pub(crate) async fn ask(&self, ask: &Ask) -> Answer {
        let mut client = Client::connect(self.address).await;
        client.send(&ask.bytes()).await;
        client.answer().await.unwrap()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end; the exit code, if it was not killed.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        until("the process to end", async || self.child.try_wait().unwrap()).await.code()
    }
}
