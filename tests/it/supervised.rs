//! Under systemd: what the service manager is told, by a real process on a real socket.

use tokio::net::UnixDatagram;

use crate::support::{Folder, Process, within};

const CONFIG: &str = "[server]\npublic_url = \"http://127.0.0.1:8080\"\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n\
    drain = { delay = \"0s\", timeout = \"1s\" }\n[admin]\nlisten = \"127.0.0.1:0\"\n[issuers.corp]\n\
    issuer = \"http://127.0.0.1:1\"\ninsecure_loopback = true\n[servers.crm]\npath = \"/mcp\"\n\
    upstream = \"http://127.0.0.1:1/mcp\"\npolicies = [\"crm.toml\"]\n";

const POLICY: &str = "[[rule]]\nid = \"all\"\ntools = [\"*\"]\n";

/// What a service manager hears.
struct Manager(UnixDatagram);

impl Manager {
    /// The next message with that line.
    async fn hears(&self, wanted: &str) -> Vec<String> {
        loop {
            let mut bytes = [0; 4096];
            let length = within(wanted, self.0.recv(&mut bytes)).await.unwrap();
            let lines: Vec<String> = std::str::from_utf8(&bytes[..length]).unwrap().lines().map(Into::into).collect();
            if lines.iter().any(|line| line.starts_with(wanted)) {
                return lines;
            }
        }
    }
}

fn value<'a>(lines: &'a [String], name: &str) -> &'a str {
    let found = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
}

#[tokio::test]
async fn the_service_manager_is_told_how_it_is() {
    let folder = Folder::new();
    folder.write("crm.toml", POLICY);
    folder.write("proxy.toml", CONFIG);
    let manager = Manager(UnixDatagram::bind(folder.path("notify")).unwrap());
    let mut process = Process::serve_with(&folder, "info", |command| {
        command.env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", "3000000");
    })
    .await;

    // Listening is enough: while an issuer is not reached, its callers are told so.
    let lines = manager.hears("READY=1").await;
    let status = value(&lines, "STATUS");
    assert!(status.starts_with("not ready: config ") && status.contains("issuer `corp` has no keys yet"), "{status}");
    manager.hears("WATCHDOG=1").await;
    manager.hears("WATCHDOG=1").await;

    process.signal("HUP");
    let first: u64 = value(&manager.hears("RELOADING=1").await, "MONOTONIC_USEC").parse().unwrap();
    manager.hears("READY=1").await;
    folder.write("crm.toml", "[[rule]]\nid = 7\n");
    let second: u64 = value(&manager.hears("RELOADING=1").await, "MONOTONIC_USEC").parse().unwrap();
    assert!(second > first);
    let lines = manager.hears("READY=1").await;
    assert!(value(&lines, "STATUS").contains("reloads fail since "), "{lines:?}");

    process.signal("TERM");
    assert_eq!(value(&manager.hears("STOPPING=1").await, "STATUS"), "draining");
    assert_eq!(process.ended().await, Some(0));
}

#[tokio::test]
async fn a_watchdog_of_another_process_is_not_fed() {
    let folder = Folder::new();
    folder.write("crm.toml", POLICY);
    folder.write("proxy.toml", CONFIG);
    let manager = Manager(UnixDatagram::bind(folder.path("notify")).unwrap());
    let socket = folder.path("notify");
    let mut process = Process::serve_with(&folder, "info", |command| {
        // A watchdog of another process is none of ours.
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1");
    })
    .await;
    manager.hears("READY=1").await;
    process.signal("TERM");
    loop {
        let mut bytes = [0; 4096];
        let length = within("a message", manager.0.recv(&mut bytes)).await.unwrap();
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        assert!(!text.contains("WATCHDOG"), "{text}");
        if text.contains("STOPPING=1") {
            break;
        }
    }
    assert_eq!(process.ended().await, Some(0));
}
