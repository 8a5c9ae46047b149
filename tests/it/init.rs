//! `init`: what it writes is accepted, starts and answers, and what it cannot use it does not write for.

use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::demo::crm::{self, Crm};
use portcullis::demo::issuer::{self, Issuer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::support::{Answer, Ask, Folder, Process, Upstream, json_answer, until};

/// The address in `--public-url`; what really listens has a port of its own.
const PUBLIC: &str = "127.0.0.1:8080";

async fn issuer() -> Issuer {
    let settings = issuer::Settings { resources: vec![format!("http://{PUBLIC}/crm/mcp")], ..Default::default() };
    Issuer::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), settings).unwrap()
}

async fn crm() -> Crm {
    crm::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), crm::Settings::default()).unwrap()
}

/// Exit code, standard output and standard error.
async fn run(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(folder.path(".")).args(arguments).env_remove("PORTCULLIS_CONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The arguments every case has.
fn asked<'a>(issuer: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let public = "http://127.0.0.1:8080";
    [&["init", "--issuer", issuer, "--public-url", public, "--name", "crm", "--scope", "crm:read"], more].concat()
}

fn token(issuer: &Issuer, scope: &str) -> String {
    let now = Timestamp::now();
    let claims = json!({ "iss": issuer.url(), "sub": "ana", "aud": format!("http://{PUBLIC}/crm/mcp"), "client_id": "it",
        "scope": scope, "iat": now.unix_seconds(), "exp": now.plus(Duration::from_hours(1)).unix_seconds() });
    let claims: Map<String, Value> = claims.as_object().unwrap().clone();
    issuer.mint_claims(&claims).unwrap()
}

/// Serves what was written, on free ports.
async fn serve(folder: &Folder) -> Process {
    let text = folder.read("proxy.toml");
    assert!(text.contains("listen = [\"127.0.0.1:8080\"]") && text.contains("listen = \"127.0.0.1:9901\""), "{text}");
    folder.write("proxy.toml", text.replace("[\"127.0.0.1:8080\"]", "[\"127.0.0.1:0\"]").replace(":9901", ":0"));
    Process::serve(folder).await
}

/// The answer to a call, once the issuer's keys are there.
async fn call(process: &Process, token: &str, tool: &str, arguments: &Value) -> Answer {
    let ask = Ask::call("2026-07-28", tool, arguments).with("Host", PUBLIC).token(token);
    until("the issuer's keys", async || {
        let answer = process.ask(&ask).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

fn calls_of(crm: &Crm) -> Vec<Value> {
    let messages = crm.journal().requests().into_iter().map(|received| received.json());
    messages.filter(|message| message["method"] == "tools/call").collect()
}

/// A program that knows sessions only, and offers one tool.
const PROGRAM: &str = r#"
while IFS= read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case $opened$line in
    *'"method":"initialize"'*)
        opened=yes
        result='"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    yes*'"method":"tools/list"'*) result='"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}' ;;
    *) result='"error":{"code":-32601,"message":"no such method"}' ;;
    esac
    [ -z "$id" ] || printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$result"
done
"#;

#[tokio::test]
async fn what_it_writes_is_accepted_starts_and_answers() {
    let (folder, issuer, crm) = (Folder::new(), issuer().await, crm().await);
    let arguments = asked(issuer.url(), &["--upstream", crm.url()]);
    let (code, out, err) = run(&folder, &arguments).await;
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    for said in [
        "✓ upstream            Streamable HTTP, 2026-07-28, 8 tools\n",
        "! definitions         suspicious and left out: `sync_contacts`\n",
        "✓ metadata ",
        "✓ registration        dynamic registration",
        "✓ keys                1 to verify tokens with\n",
        "wrote proxy.toml         1 server, 1 issuer, listens on 127.0.0.1:8080\n",
        "wrote policies/crm.toml  7 tools for the scope crm:read\n",
        "wrote policies/crm.lock  7 definitions approved\n",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
    assert!(out.ends_with("\nNext: portcullis check && portcullis serve\n"), "{out}");
    let (code, checked, _) = run(&folder, &["check"]).await;
    assert_eq!(code, Some(0), "{checked}");
    assert!(checked.contains("2 tests passed") && checked.contains("✓ issuer corp"), "{checked}");

    let process = serve(&folder).await;
    let arguments = json!({ "id": "c-001" });
    let refused = call(&process, &token(&issuer, "other"), "get_contact", &arguments).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.header("www-authenticate").unwrap().contains("scope=\"crm:read\""), "{refused:?}");
    let allowed = call(&process, &token(&issuer, "crm:read"), "get_contact", &arguments).await;
    assert!(allowed.status == 200 && allowed.text().contains("c-001"), "{allowed:?}");
    let unapproved = call(&process, &token(&issuer, "crm:read"), "sync_contacts", &json!({})).await;
    assert!(unapproved.text().contains("sync_contacts"), "{unapproved:?}");
    let heard = calls_of(&crm);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0]["params"]["arguments"], arguments);
}

#[tokio::test]
async fn an_upstream_with_sessions_and_a_program_are_asked_too() {
    let (folder, issuer) = (Folder::new(), issuer().await);
    folder.write("server.sh", PROGRAM);
    let upstream = Upstream::unaided(|heard, mut connection| async move {
        let result = match heard.json()["method"].as_str() {
            Some("initialize") => json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
                "serverInfo": { "name": "it", "version": "1" } }),
            Some("tools/list") if heard.header("mcp-protocol-version").as_deref() == Some("2025-06-18") => {
                json!({ "tools": [{ "name": "old", "inputSchema": { "type": "object" } }] })
            }
            _ => Value::Null,
        };
        let status = if result.is_null() { 400 } else { 200 };
        let message = json!({ "jsonrpc": "2.0", "id": heard.json()["id"], "result": result });
        connection.send(json_answer(status, &message.to_string())).await;
        Some(connection)
    })
    .await;
    let url = upstream.url();
    for (place, tool, said) in [
        (vec!["--upstream", &*url], "\"old\"", "✓ upstream            Streamable HTTP, 2025-06-18, 1 tool\n"),
        (vec!["--", "sh", "server.sh", "${HOME}"], "\"echo\"", "✓ upstream            a program, 2025-11-25, "),
    ] {
        let (code, out, err) = run(&folder, &asked(issuer.url(), &[&["--yes"], &*place].concat())).await;
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.contains(said), "{out}");
        let policy = folder.read("policies/crm.toml");
        assert!(policy.contains(tool), "{policy}");
        let (code, out, err) = run(&folder, &["check"]).await;
        assert_eq!(code, Some(0), "{out}{err}");
    }
}

/// Without what is needed nothing is written, and each cause is said with its remedy.
#[tokio::test]
async fn nothing_is_written_for_what_cannot_be_used() {
    let (folder, issuer, crm) = (Folder::new(), issuer().await, crm().await);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let endpoint = format!("{nowhere}/mcp");
    for (arguments, code, said) in [
        (asked(issuer.url(), &["--upstream", &endpoint]), 69, "✗ upstream            cannot connect"),
        (asked(&nowhere, &["--upstream", crm.url()]), 69, "✗ metadata "),
        (asked(crm.url(), &["--upstream", crm.url()]), 1, "publish RFC 8414 or OpenID Connect Discovery metadata"),
        (asked(issuer.url(), &["--upstream", "ftp://127.0.0.1/mcp"]), 2, "nothing was written"),
        (asked(issuer.url(), &["--", "not-a-program-anywhere"]), 2, "✗ upstream "),
    ] {
        let (exit, out, err) = run(&folder, &arguments).await;
        assert_eq!(exit, Some(code), "{out}{err}");
        assert!(format!("{out}{err}").contains(said), "{said}: {out}{err}");
        assert!(err.contains("nothing was written"), "{err}");
        assert!(!folder.path("proxy.toml").exists() && !folder.path("policies").exists());
    }
    folder.write("proxy.toml", "mine");
    let (exit, out, err) = run(&folder, &asked(issuer.url(), &["--upstream", crm.url()])).await;
    assert_eq!((exit, &*out), (Some(2), ""), "{err}");
    assert!(err.contains("proxy.toml is there already; overwrite with --yes"), "{err}");
    assert!(folder.read("proxy.toml") == "mine" && !folder.path("policies").exists());
}
