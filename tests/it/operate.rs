//! What operators do to a running process, through the Unix socket of its admin endpoints.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use portcullis::demo::issuer::Issuer;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use crate::relisted;
use crate::support::{Ask, CRM_POLICY, Client, Folder, Process, Setup, Upstream, token_of, until, within};

/// A process of its own with a socket, and more keys of `[admin]`.
async fn serve(upstream: &str, keys: &str) -> (Process, Folder, Issuer) {
    serve_with(Setup::new(upstream), keys).await
}

async fn serve_with(setup: Setup, keys: &str) -> (Process, Folder, Issuer) {
    let (folder, issuer) = setup.write("127.0.0.1:0", "127.0.0.1:0").await;
    let text = folder.read("proxy.toml");
    folder.write("proxy.toml", text.replace("[admin]\n", &format!("[admin]\nsocket = \"admin.sock\"\n{keys}")));
    let mut process = Process::serve(&folder).await;
    process.log_line("admin socket listening").await;
    (process, folder, issuer)
}

/// Status and body of the answer on the socket.
async fn ask(folder: &Folder, method: &str, target: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(folder.path("admin.sock")).await.unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn a_reload_says_what_has_changed_or_all_that_is_wrong() {
    let secret = "upstream_auth = { type = \"bearer\", token = { value = \"t0ps3cret\" } }";
    let (process, folder, _issuer) = serve_with(Setup::new(Upstream::plain().await.url()).server(secret), "").await;
    let mode = std::fs::metadata(folder.path("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (status, text) = ask(&folder, "POST", "/-/reload").await;
    assert!(status == 200 && text.starts_with("nothing has changed\n"), "{text}");
    let (status, text) = ask(&folder, "GET", "/config").await;
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &shown["generation"], &shown["schema_version"]), (200, &json!(2), &json!(1)));
    assert_eq!(shown["listen"][0], process.address.to_string(), "the port that was chosen");
    assert_eq!(shown["config"]["servers"]["crm"]["path"], "/crm/mcp");
    assert_eq!(shown["config"]["servers"]["crm"]["upstream_auth"]["token"]["value"], "***", "{text}");
    assert!(shown["policies"]["crm"].as_str().unwrap().starts_with("sha256:") && !text.contains("t0ps3cret"), "{text}");
    let good = folder.read("proxy.toml");
    folder.write("crm.toml", CRM_POLICY.replace("\"search_*\"", "\"find_*\""));
    folder.write(
        "proxy.toml",
        good.replace("delay = \"0s\"", "delay = \"1s\"") + "[cors]\nallow_origins = [\"http://a.test\"]\n",
    );
    // The watch may come first with the one file or the other.
    let mut said = String::new();
    until("the change", async || {
        said.push_str(&ask(&folder, "POST", "/-/reload").await.1);
        said.contains("needs a restart: server.drain.delay").then_some(())
    })
    .await;
    folder.write(
        "crm.toml",
        "[[rule]]\nid = \"a\"\neffect = \"perhaps\"\n[[rule]]\nid = \"a\"\ntools = [\"x\"]\ncolour = 1\n",
    );
    let (status, text) = ask(&folder, "POST", "/-/reload").await;
    assert_eq!(status, 422, "{text}");
    for wrong in ["perhaps", "colour", "crm.toml:3:10", "not reloaded: the configuration before stays in force\n"] {
        assert!(text.contains(wrong), "{wrong}: {text}");
    }
    until("the issuer's keys", async || {
        let (status, ready) = ask(&folder, "GET", "/readyz?verbose").await;
        assert!(ready.contains("\nreloads fail since "), "{ready}");
        (status == 200).then_some(())
    })
    .await;
    let records = folder.read("audit.jsonl");
    assert!(records.contains(r#""config":{"by":"admin","result":"loaded""#), "{records}");
    assert!(records.contains(r#""config":{"by":"admin","result":"refused""#), "{records}");
}

#[tokio::test]
async fn the_level_of_the_log_changes_while_it_runs_and_a_drain_ends_it() {
    let (mut process, folder, issuer) = serve(&Upstream::plain().await.url(), "").await;
    let token = issuer.mint_claims(&token_of(&issuer, "ana")).unwrap();
    let call = Ask::call("2025-11-25", "search_contacts", &json!({})).token(&token);
    let (status, text) = ask(&folder, "POST", "/-/log?level=portcullis%3Dloud").await;
    assert!(status == 400 && text.contains("portcullis=loud"), "{text}");
    assert_eq!(ask(&folder, "POST", "/-/log?level=debug").await, (200, "log level debug\n".to_owned()));
    until("the issuer's keys", async || (process.ask(&call).await.status != 503).then_some(())).await;
    process.log_line("request\"").await;
    let health = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let output = command.args(["healthcheck", "--ready", "--admin"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let socket = folder.path("admin.sock");
    let (code, said) = health(&[socket.to_str().unwrap()]);
    assert!(code == Some(0) && said.starts_with("ready: config "), "{said}");
    // None of this is on the listener that everybody can reach.
    for target in ["/-/drain", "/-/reload", "/-/log?level=trace", "/config"] {
        let mut client = Client::connect(process.admin).await;
        client.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        assert_eq!(client.answer().await.unwrap().status, 404, "{target}");
    }
    assert_eq!(ask(&folder, "GET", "/-/drain").await.0, 405);
    assert_eq!(ask(&folder, "POST", "/-/drain").await, (202, "draining\n".to_owned()));
    assert_eq!(process.ended().await, Some(0));
    assert!(!socket.exists(), "nobody listens there any more");
    assert!(process.log_to_the_end().await.contains("drained: "));
}

#[tokio::test]
async fn where_upstreams_are_required_one_that_is_away_makes_it_unready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let (_process, folder, _issuer) = serve(&upstream, "readyz = { upstreams = true }\n").await;
    until("the first try", async || {
        let (status, text) = ask(&folder, "GET", "/readyz?verbose").await;
        assert_eq!(status, 503);
        text.contains("\nupstream of `crm` is not reached\n").then_some(())
    })
    .await;
}

/// The process itself, asked on its socket: clients with an open stream hear of it, and of nothing where nothing has changed.
#[tokio::test]
async fn a_reload_is_told_to_clients_whose_lists_it_changes() {
    let (upstream, _pieces) = relisted::upstream(relisted::CAPABILITIES).await;
    let (process, folder, issuer) = serve(&upstream.url(), "").await;
    let token = issuer.mint_claims(&token_of(&issuer, "ana")).unwrap();
    until("the issuer's keys", async || (ask(&folder, "GET", "/readyz").await.0 == 200).then_some(())).await;
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} });
    let mut client = Client::connect(process.address).await;
    client.send(&Ask::legacy("initialize", &params).token(&token).bytes()).await;
    let session = client.answer().await.unwrap().header("mcp-session-id").unwrap().to_owned();
    let mut client = relisted::standing(Client::connect(process.address).await, &token, &session).await;
    folder.write("crm.toml", format!("{CRM_POLICY}\n# a remark\n"));
    assert_eq!(ask(&folder, "POST", "/-/reload").await.0, 200);
    folder.write("crm.toml", relisted::narrower());
    assert_eq!(ask(&folder, "POST", "/-/reload").await.0, 200);
    assert_eq!(client.message().await.unwrap(), relisted::told("tools"));
}
