//! `token verify` on tokens of the shape each known issuer gives them, with `profile = "…"` and nothing else.

use std::process::{Command, Stdio};

use portcullis::clock::Timestamp;
use serde_json::{Value, json};

use crate::hostile::Signer;
use crate::support::{Folder, Upstream, json_answer};

/// Recorded shapes, with what comes of each.
const FIXTURES: [(&str, &str); 9] = [
    ("auth0", include_str!("../../src/auth/tests/profiles/auth0.json")),
    ("authentik", include_str!("../../src/auth/tests/profiles/authentik.json")),
    ("cognito", include_str!("../../src/auth/tests/profiles/cognito.json")),
    ("entra", include_str!("../../src/auth/tests/profiles/entra.json")),
    ("google", include_str!("../../src/auth/tests/profiles/google.json")),
    ("keycloak", include_str!("../../src/auth/tests/profiles/keycloak.json")),
    ("okta", include_str!("../../src/auth/tests/profiles/okta.json")),
    ("ping", include_str!("../../src/auth/tests/profiles/ping.json")),
    ("rfc9068", include_str!("../../src/auth/tests/profiles/rfc9068.json")),
];

/// The claims of a case, issued a moment ago.
fn claims(case: &Value, issuer: &str) -> Value {
    let (mut claims, now) = (case["claims"].clone(), Timestamp::now().unix_seconds());
    for value in claims.as_object_mut().unwrap().values_mut().filter(|value| **value == "$IAT") {
        *value = json!(now - 10);
    }
    claims["iss"] = json!(issuer);
    claims["exp"] = json!(now + 600);
    claims
}

#[tokio::test]
async fn token_verify_knows_the_tokens_of_every_profile() {
    let signer = Signer::rsa();
    let keys = json!({ "keys": [signer.jwk("k1")] }).to_string();
    let published = Upstream::answering(move |_| json_answer(200, &keys)).await;
    let folder = Folder::new();
    folder.write("crm.toml", "[[rule]]\nid = \"all\"\ntools = [\"*\"]\n");
    let mut verdicts = [0, 0];
    for (profile, fixture) in FIXTURES {
        let fixture: Value = serde_json::from_str(fixture).unwrap();
        let (issuer, audience) = (fixture["issuer"].as_str().unwrap(), fixture["audience"].as_str().unwrap());
        let config = format!(
            "[server]\npublic_url = \"http://127.0.0.1:8080\"\nlisten = [\"127.0.0.1:0\"]\n[issuers.corp]\nissuer = \"{issuer}\"\n\
             profile = \"{profile}\"\njwks_uri = \"{}\"\ninsecure_loopback = true\n[servers.crm]\npath = \"/mcp\"\n\
             upstream = \"http://127.0.0.1:1/mcp\"\naudiences = [\"{audience}\"]\npolicies = [\"crm.toml\"]\n",
            published.url()
        );
        folder.write("proxy.toml", &config);
        for case in fixture["cases"].as_array().unwrap() {
            folder.write("token.txt", signer.token(&case["header"], &claims(case, issuer)));
            let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
            command.current_dir(folder.path(".")).stdin(Stdio::null());
            command.args(["-c", "proxy.toml", "token", "verify", "token.txt", "--format", "json"]);
            let said = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let name = format!("{profile}: {} {}", case["name"], String::from_utf8_lossy(&said.stderr));
            let report: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{name}"));
            let refused = case["refused"].is_string();
            assert_eq!(said.status.code(), Some(i32::from(refused)), "{name} {report:#}");
            let caller = &report["caller"];
            if refused {
                assert!(caller.is_null(), "{name}");
            } else {
                let expected = &case["caller"];
                let found = [&caller["subject"], &caller["client_id"], &caller["scopes"]];
                assert_eq!(found, [&expected["subject"], &expected["client"], &expected["scopes"]], "{name}");
            }
            verdicts[usize::from(refused)] += 1;
        }
    }
    assert!(verdicts[0] >= 15 && verdicts[1] >= 15, "{verdicts:?}");
}
