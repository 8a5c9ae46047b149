//! What the record tells of people where subjects are keyed, who can find their lines, and that nobody can once their key is
//! erased.

use std::process::{Command, Output};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::support::{Ask, Folder, Process, Setup, Upstream, token_of, until};

const KEYED: &str = "sinks = [{ type = \"file\", path = \"audit.jsonl\", chain = true }]\nsubjects = \"keyed\"\n\
                     subjects_key_file = \"subjects.key\"\n";
const KEY: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";

fn run(folder: &Folder, arguments: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let Output { status, stdout, stderr } =
        command.current_dir(folder.path(".")).args(arguments.split(' ')).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The digests in place of `sub`, each once.
fn subjects(text: &str) -> Vec<String> {
    let mut all: Vec<String> =
        lines(text).iter().filter_map(|line| line["subject"]["sub"].as_str().map(Into::into)).collect();
    all.dedup();
    all
}

#[tokio::test]
async fn a_person_is_found_with_the_key_and_by_nobody_once_it_is_erased() {
    let upstream = Upstream::plain().await;
    let setup = Setup::new(upstream.url()).audit(KEYED).file("subjects.key", HEXLOWER.encode(&KEY));
    let (folder, issuer) = setup.write("127.0.0.1:0", "127.0.0.1:0").await;
    let proxy = Process::serve(&folder).await;
    let token = |user: &str| {
        let mut claims = token_of(&issuer, user);
        claims.insert("jti".to_owned(), json!(format!("token-of-{user}")));
        claims.insert("act".to_owned(), json!({ "sub": "agent-of-ana" }));
        issuer.mint_claims(&claims).unwrap()
    };
    let search = |user: &str| Ask::call("2026-07-28", "search_contacts", &json!({ "query": "x" })).token(&token(user));
    until("keys", async || (proxy.ask(&search("ana")).await.status == 200).then_some(())).await;
    assert_eq!(proxy.ask(&search("max")).await.status, 200);
    let mut late = token_of(&issuer, "ana");
    late.extend([("jti".to_owned(), json!("token-of-ana")), ("exp".to_owned(), json!(1_000_000_000))]);
    let late = Ask::call("2026-07-28", "search_contacts", &json!({})).token(&issuer.mint_claims(&late).unwrap());
    assert_eq!(proxy.ask(&late).await.status, 401);

    // Nothing names either, not even what only the issuer could look up; and the upstream has seen no difference.
    let log = folder.read("audit.jsonl");
    let clients: Vec<Value> = lines(&log).iter().map(|line| line["client"]["ip"].clone()).collect();
    assert!(clients.iter().all(|ip| ip.is_null() || ip == "127.0.0.0/24"), "{clients:?}");
    for name in ["ana", "max", "token-of", token_of(&issuer, "ana")["client_id"].as_str().unwrap(), "127.0.0.1/"] {
        assert!(!log.contains(&format!("\"{name}")) && !log.contains(&format!("-{name}")), "{name}: {log}");
    }
    assert_eq!(lines(&log).last().unwrap()["event"], "auth_failed");

    let (code, of_ana, said) = run(&folder, "audit find --subject ana");
    assert_eq!(code, Some(0), "{said}");
    let [ana] = &subjects(&of_ana)[..] else { panic!("{of_ana}") };
    assert!(said.contains(&format!("note: ana of {} is {ana}\n", issuer.url())), "{said}");
    let (code, of_max, _) = run(&folder, "audit find --subject max audit.jsonl --key subjects.key --issuer corp");
    assert_eq!((code, of_max.lines().count()), (Some(0), 2), "{of_max}");
    assert!(!of_max.contains(ana.as_str()));
    let (code, of_agent, _) = run(&folder, "audit find --subject agent-of-ana");
    assert_eq!((code, of_agent.lines().count()), (Some(0), of_ana.lines().count() + 2));
    let (code, none, said) = run(&folder, "audit find --subject zoe");
    assert_eq!((code, none.as_str()), (Some(1), ""), "{said}");

    let (code, _, said) = run(&folder, "audit erase --subject ana");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing was erased"), "{said}");
    let (code, out, said) = run(&folder, "audit erase --subject ana --yes");
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains(ana.as_str()), "{out}");
    until("the proxy to read the keys again", async || {
        folder.read("audit.jsonl").contains("\"event\":\"subjects_erased\"").then_some(())
    })
    .await;
    let (code, none, said) = run(&folder, "audit find --subject ana");
    assert_eq!((code, none.as_str()), (Some(1), ""));
    assert!(said.contains("that key was erased once: lines from before can be found by nobody"), "{said}");
    let (_, others, _) = run(&folder, "audit find --subject max");
    assert_eq!(others, of_max, "another person's lines are found as before");

    // Who calls again is somebody else.
    until("the new configuration", async || {
        proxy.ask(&search("ana")).await;
        (run(&folder, "audit find --subject ana").0 == Some(0)).then_some(())
    })
    .await;
    let (_, again, _) = run(&folder, "audit find --subject ana");
    assert!(!again.contains(ana.as_str()) && subjects(&again).len() == 1, "{again}");
    let (code, out, said) = run(&folder, "audit verify audit.jsonl");
    assert_eq!(code, Some(0), "{out}{said}");
    let (code, told, said) = run(&folder, "audit report audit.jsonl --format json");
    assert_eq!(code, Some(0), "{said}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["by_caller"].as_array().unwrap().len(), 3, "{told}");
    assert_eq!(told["events"]["subjects_erased"], 1);
    for format in ["ocsf", "ecs", "cef"] {
        let (code, _, said) = run(&folder, &format!("audit export audit.jsonl --format {format}"));
        assert_eq!((code, said.as_str()), (Some(0), ""), "{format}");
    }
}

/// Rules that ask who calls cannot be asked again; those that do not can.
#[tokio::test]
async fn what_depends_on_who_called_is_not_guessed_by_replay() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).audit(KEYED).file("subjects.key", HEXLOWER.encode(&KEY)).start().await;
    let search = Ask::call("2026-07-28", "search_contacts", &json!({ "query": "x" })).token(&proxy.token("ana"));
    proxy.ask(&search).await;
    let folder = &proxy.folder;
    let replayed = |rule: &str| {
        let policy = format!("[[rule]]\nid = \"use\"\ntools = [\"*\"]\n{rule}\n");
        folder.write("next.toml", policy);
        std::fs::create_dir_all(folder.path("next")).unwrap();
        std::fs::rename(folder.path("next.toml"), folder.path("next/crm.toml")).unwrap();
        let (_, out, said) = run(folder, "replay audit.jsonl --policies next --format json");
        let told: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{said}"));
        (told["decisions"].as_u64().unwrap(), told["not_replayed"]["unknown_arguments_or_claims"].as_u64().unwrap())
    };
    assert_eq!(replayed(""), (1, 0));
    for rule in ["when = 'claims.sub == \"ana\"'", "when = 'client.id == \"x\"'", "when = 'has(client.id)'"] {
        assert_eq!(replayed(rule), (0, 1), "{rule}");
    }
    let (code, learned, said) = run(folder, "learn audit.jsonl");
    assert_eq!(code, Some(0), "{said}");
    assert!(learned.contains("search_contacts") && !learned.contains("keyed:"), "{learned}");
}
