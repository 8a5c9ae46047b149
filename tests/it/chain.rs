//! The audit log can be verified: by the command, and by nothing but SHA-256 and Ed25519.

use std::process::{Command, Output};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

use crate::support::{Ask, Folder, Process, Setup, Upstream, token_of, until};

/// The key of RFC 8037 appendix A.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const KID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

/// A log of a process that started, took calls, had its file rotated, was killed, and started and stopped again.
async fn record() -> Folder {
    let upstream = Upstream::plain().await;
    let keys = "sinks = [{ type = \"file\", path = \"audit.jsonl\" }]\nsigning_key_file = \"audit.pem\"\n";
    let (folder, issuer) = Setup::new(upstream.url()).audit(keys).write("127.0.0.1:0", "127.0.0.1:0").await;
    folder.write("audit.pem", PRIVATE);
    folder.write("audit.pub", format!("-----BEGIN PUBLIC KEY-----\n{PUBLIC}\n-----END PUBLIC KEY-----\n"));
    let token = issuer.mint_claims(&token_of(&issuer, "ana")).unwrap();
    let search = Ask::call("2026-07-28", "search_contacts", &json!({ "query": "x" })).token(&token);
    for end in ["KILL", "TERM"] {
        let mut process = Process::serve(&folder).await;
        until("keys", async || (process.ask(&search).await.status == 200).then_some(())).await;
        if end == "KILL" {
            std::fs::rename(folder.path("audit.jsonl"), folder.path("audit.jsonl.1")).unwrap();
            process.signal("HUP");
            process.log_line("configuration reloaded").await;
            assert_eq!(process.ask(&search).await.status, 200);
        }
        process.signal(end);
        process.ended().await;
    }
    folder
}

fn verify(folder: &Folder, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(folder.path(".")).args(["audit", "verify"]).args(arguments.split(' ')).output().unwrap()
}

fn report(folder: &Folder, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(folder.path(".")).args(["audit", "report", "audit.jsonl.1", "audit.jsonl", "--html", "-"]);
    command.args(arguments.split_whitespace()).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Every line of the files, oldest first, by the rule in README and nothing of the proxy's own.
fn by_hand(folder: &Folder) -> Vec<Value> {
    let mut prev = Value::Null;
    let mut lines = Vec::new();
    for line in ["audit.jsonl.1", "audit.jsonl"].map(|name| folder.read(name)).concat().lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let (hashed, _) = line.rsplit_once(",\"hash\"").unwrap();
        let hash = format!("sha256:{}", HEXLOWER.encode(digest(&SHA256, hashed.as_bytes()).as_ref()));
        assert_eq!(value["hash"], hash, "{line}");
        assert_eq!(value["prev"], prev, "{line}");
        if let Some(signature) = value["signature"].as_str() {
            assert_eq!((&value["event"], &value["kid"]), (&json!("checkpoint"), &json!(KID)));
            let (signed, _) = line.rsplit_once(",\"signature\"").unwrap();
            let key = BASE64.decode(PUBLIC.as_bytes()).unwrap().split_off(12);
            let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
            UnparsedPublicKey::new(&ED25519, key).verify(signed.as_bytes(), &signature).unwrap();
        }
        prev = value["hash"].clone();
        lines.push(value);
    }
    lines
}

#[tokio::test]
async fn the_log_verifies_over_rotation_kills_and_starts_and_nothing_else_does() {
    let folder = record().await;
    let lines = by_hand(&folder);
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events.iter().filter(|event| **event == "start").count(), 2, "{events:?}");
    assert_eq!(events.iter().filter(|event| **event == "opened").count(), 1, "{events:?}");
    assert_eq!(events.last(), Some(&"checkpoint"), "a stop is signed for");
    let numbers: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=lines.len() as u64).collect::<Vec<_>>());

    let both = "audit.jsonl.1 audit.jsonl --key audit.pub";
    let (code, out, err) = said(&verify(&folder, &format!("{both} --at-least {}", lines.len())));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let newest = folder.read("audit.jsonl").lines().count();
    assert!(out.contains(&format!("proven  up to audit.jsonl:{newest}, seq {}, ", lines.len())), "{out}");

    let told: Value = serde_json::from_slice(&verify(&folder, &format!("{both} --format json")).stdout).unwrap();
    assert_eq!((&told["verified"], &told["lines"]), (&json!(true), &json!(lines.len())), "{told}");
    assert_eq!(told["proven"]["seq"], lines.len());

    let (code, out, err) = said(&verify(&folder, "audit.jsonl.1 audit.jsonl"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("proven  nothing: give --key"), "{out}");

    let (code, _, err) = said(&verify(&folder, &format!("{both} --at-least {}", lines.len() + 1)));
    assert_eq!(code, Some(1));
    assert!(err.contains("the end is missing"), "{err}");

    let (code, _, err) = said(&verify(&folder, "audit.jsonl audit.jsonl.1 --key audit.pub"));
    assert_eq!(code, Some(0), "the first begins a chain of its own, and is told of: {err}");
    assert!(err.contains("continues one that was not given") && err.contains("a new chain begins"), "{err}");

    let whole = folder.read("audit.jsonl");
    folder.write("audit.jsonl", whole.replacen("\"sub\":\"ana\"", "\"sub\":\"max\"", 1));
    let at = 1 + whole.lines().position(|line| line.contains("\"sub\":\"ana\"")).unwrap();
    let (code, _, err) = said(&verify(&folder, both));
    assert_eq!(code, Some(1));
    assert!(err.contains("this line was changed") && err.contains(&format!(" --> audit.jsonl:{at}\n")), "{err}");

    let (code, page, _) = said(&report(&folder, "--key audit.pub"));
    assert_eq!(code, Some(1));
    assert!(page.contains(&format!("<div class=\"broken\">\naudit.jsonl:{at}: this line was changed: ")), "{page}");

    let without: Vec<&str> =
        whole.lines().enumerate().filter(|(line, _)| line + 1 != at).map(|(_, line)| line).collect();
    folder.write("audit.jsonl", &(without.join("\n") + "\n"));
    let (code, _, err) = said(&verify(&folder, both));
    assert_eq!(code, Some(1));
    assert!(err.contains("does not follow") && err.contains(&format!(" --> audit.jsonl:{at}\n")), "{err}");

    for (arguments, expected) in [
        ("missing.jsonl", "cannot read missing.jsonl"),
        ("audit.jsonl --key missing.pub", "`missing.pub` cannot be used as a key: it cannot be read"),
        ("audit.jsonl --key audit.pem", "it has no Ed25519 public key in PEM"),
    ] {
        let (code, _, err) = said(&verify(&folder, arguments));
        assert_eq!(code, Some(2), "{arguments}");
        assert!(err.contains(expected), "{err}");
    }
}
