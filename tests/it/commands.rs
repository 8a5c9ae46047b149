//! Commands as a shell starts them: what becomes of their results, and of files that are none.

use std::fs::{OpenOptions, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::support::{Folder, until};

fn portcullis(folder: &Folder, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(folder.path(".")).args(arguments.split(' ')).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

const CONFIG: &str = "[server]\npublic_url = \"http://127.0.0.1:8080\"\nlisten = [\"127.0.0.1:0\"]\n[issuers.corp]\n\
    issuer = \"http://127.0.0.1:1\"\ninsecure_loopback = true\n[servers.crm]\npath = \"/mcp\"\n\
    upstream = \"http://127.0.0.1:1/mcp\"\npolicies = [\"crm.toml\"]\n";

const POLICY: &str = "[[rule]]\nid = \"all\"\ntools = [\"*\"]\n[[test]]\nname = \"all\"\nclaims = { sub = \"ana\" }\n\
    call = { tool = \"get\" }\nexpect = { decision = \"allow\", rule = \"all\" }\n";

#[cfg(target_os = "linux")]
#[test]
fn results_that_a_full_disk_does_not_take_are_no_success() {
    let folder = Folder::new();
    folder.write("crm.toml", POLICY);
    folder.write("proxy.toml", CONFIG);
    for arguments in ["generate schema proxy", "test crm.toml", "check --offline", "version", "--help", "--version"] {
        let mut command = portcullis(&folder, arguments);
        let said = command.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap()).output().unwrap();
        let message = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(69), "{arguments}: {message}");
        assert!(message.contains("results cannot be written: No space left on device"), "{arguments}: {message}");
    }
}

#[test]
fn a_reader_that_wants_no_more_is_no_failure() {
    let folder = Folder::new();
    let mut child = portcullis(&folder, "generate schema proxy").spawn().unwrap();
    drop(child.stdout.take());
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*message), (Some(0), ""));
}

/// With an opener that only writes down what it is given.
#[tokio::test]
async fn the_demo_opens_its_page_where_it_is_asked_to() {
    let folder = Folder::new();
    let opener = folder.write("xdg-open", "#!/bin/sh\nprintf %s \"$1\" >opened.new && /bin/mv opened.new opened\n");
    std::fs::set_permissions(opener, Permissions::from_mode(0o700)).unwrap();
    let mut demo = portcullis(&folder, "demo --open --no-tls --format json --listen 127.0.0.1:0");
    let mut demo = demo.env("PATH", folder.path(".")).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(demo.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let opened = until("the page to open", async || Some(folder.read("opened")).filter(|url| !url.is_empty())).await;
    demo.kill().unwrap();
    demo.wait().unwrap();
    assert_eq!(told["issuer"], opened);
}
