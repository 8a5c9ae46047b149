//! `tools --scaffold`: the first command of who has no policy yet.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use super::{Folder, GOOD};

/// An upstream that answers one request with a list of two tools; its URL.
fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(request["method"], "tools/list");
        let tools = json!([
            { "name": "get_contact", "inputSchema": { "type": "object" } },
            { "name": "update_contact", "inputSchema": { "type": "object" } },
        ]);
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": { "tools": tools } }).to_string();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
            answer.len()
        )
        .unwrap();
    });
    url
}

/// A folder with that upstream, in which nobody has written a policy.
fn without_policy(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.file("proxy.toml", &GOOD.replace("http://127.0.0.1:3001/mcp", &upstream()));
    std::fs::remove_dir_all(folder.0.join("policies")).unwrap();
    folder
}

/// What is printed, once it stands where proxy.toml looks for it, is a policy that passes its own tests.
#[test]
fn a_policy_begins_before_there_is_one() {
    let folder = without_policy("scaffold");
    let said = folder.run("-c @/proxy.toml tools crm --scaffold");
    let (out, err) =
        said.strip_prefix("exit 0\n--- out\n").unwrap_or_else(|| panic!("{said}")).split_once("--- err\n").unwrap();
    assert!(err.is_empty() && out.contains("get_contact") && out.contains("update_contact"), "{said}");
    std::fs::create_dir(folder.0.join("policies")).unwrap();
    folder.file("policies/crm.toml", out);
    let checked = folder.run("-c @/proxy.toml check --offline");
    assert!(checked.starts_with("exit 0\n"), "{checked}");
    let tested = folder.run("-c @/proxy.toml test");
    assert!(tested.starts_with("exit 0\n") && tested.contains("2 passed"), "{tested}");
}

/// Only a policy file may be missing, only by not being there, and only for the command that begins one.
#[test]
fn nothing_else_begins_before_there_is_a_policy() {
    let folder = without_policy("scaffold-only");
    for command in [
        "tools crm",
        "tools crm --lock",
        "tools crm --verify",
        "tools crm --approve get_contact",
        "tools crm --tokens",
        "check --offline",
        "serve",
        "test",
    ] {
        let said = folder.run(&format!("-c @/proxy.toml {command}"));
        assert!(said.starts_with("exit 78\n"), "{command}: {said}");
        assert!(said.contains("`policies`: cannot read `@/policies/crm.toml`"), "{command}: {said}");
    }
    let refused = |what: &str| {
        let said = folder.run("-c @/proxy.toml tools crm --scaffold");
        assert!(said.starts_with("exit 78\n") && said.contains(what), "{what}: {said}");
    };
    std::fs::create_dir_all(folder.0.join("policies/crm.toml")).unwrap();
    refused("it is not a file");
    std::fs::remove_dir(folder.0.join("policies/crm.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere.toml", folder.0.join("policies/crm.toml")).unwrap();
    refused("`policies`: cannot read");
    std::fs::remove_file(folder.0.join("policies/crm.toml")).unwrap();
    std::fs::remove_file(folder.0.join("tls.crt")).unwrap();
    refused("tls.crt");
}
