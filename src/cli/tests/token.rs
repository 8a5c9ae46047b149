//! `token` against an issuer in this process.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Folder, GOOD};
use crate::clock::Timestamp;
use crate::demo::Fault;
use crate::demo::issuer::{Issuer, Retired, Settings};

const RESOURCE: &str = "http://127.0.0.1:8080/crm/mcp";

/// An issuer and a folder whose proxy.toml trusts it.
async fn rig(name: &str) -> (Folder, Issuer) {
    let folder = Folder::new(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings { resources: vec![RESOURCE.to_owned()], ..Settings::default() };
    let issuer = Issuer::start(listener, settings).unwrap();
    let text = format!(
        "[server]\npublic_url = \"http://127.0.0.1:8080\"\n[issuers.corp]\nissuer = \"{}\"\n\
         insecure_loopback = true\n[servers.crm]\npath = \"/crm/mcp\"\nupstream = \"http://127.0.0.1:3001/mcp\"\n\
         policies = [\"policies/crm.toml\"]\n",
        issuer.url()
    );
    folder.file("proxy.toml", &text);
    (folder, issuer)
}

/// Everything said, after checking that no part of the token is in it.
fn run(folder: &Folder, arguments: &str, token: &str) -> String {
    let said = tokio::task::block_in_place(|| folder.run_with(arguments, token));
    for segment in token.trim().split('.').filter(|segment| segment.len() > 8) {
        assert!(!said.contains(segment), "{said}");
    }
    said
}

const VERIFY: &str = "-c @/proxy.toml token verify -";

#[tokio::test(flavor = "multi_thread")]
async fn verify_knows_what_the_operator_revoked() {
    let (folder, issuer) = rig("revoked").await;
    let text = std::fs::read_to_string(folder.0.join("proxy.toml")).unwrap();
    folder.file("proxy.toml", &text.replace("[servers.crm]", "revocation_file = \"revoked.jsonl\"\n[servers.crm]"));
    let token = issuer.mint("ana", &[], &[RESOURCE]).unwrap();
    for (list, exit, part) in [
        ("", 0, "✓ revocation"),
        ("{\"sub\":\"max\"}\n", 0, "✓ revocation"),
        ("{\"sub\":\"ana\"}\n", 1, "✗ revocation"),
        ("{\"sub\":\n", 78, "revoked.jsonl"),
    ] {
        folder.file("revoked.jsonl", list);
        let said = run(&folder, VERIFY, &token);
        assert!(said.starts_with(&format!("exit {exit}\n")) && said.contains(part), "{list}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_which_check_fails() {
    let (folder, issuer) = rig("verify").await;
    let good = issuer.mint("ana", &[], &[RESOURCE]).unwrap();
    for text in [good.clone(), format!("Bearer {good}\n"), format!("\n {good}\r\n")] {
        let said = run(&folder, VERIFY, &text);
        assert!(said.starts_with("exit 0\n") && !said.contains('✗') && said.contains("✓ signature"), "{said}");
        assert!(said.contains("accepted by `crm`: ana of issuer `corp`, scopes: crm:read; expires 2"), "{said}");
    }
    let now = Timestamp::now().unix_seconds();
    let claims = |change: Value| {
        let mut claims = json!({ "iss": issuer.url(), "aud": RESOURCE, "sub": "ana", "client_id": "c", "scope": "crm:read",
            "iat": now, "exp": now + 600, "jti": "1" });
        change.as_object().unwrap().iter().for_each(|(name, value)| claims[name] = value.clone());
        issuer.mint_claims(claims.as_object().unwrap()).unwrap()
    };
    let expired = claims(json!({ "exp": now - 600 }));
    let foreign = claims(json!({ "iss": "https://elsewhere.example" }));
    let elsewhere = claims(json!({ "aud": "https://elsewhere.example/mcp" }));
    let early = claims(json!({ "nbf": now + 600 }));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let other = claims(json!({ "jti": "2" }));
    let tampered = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
    for (token, check, why, expected) in [
        (expired.as_str(), "expiry", "token expired", "expected: "),
        (&foreign, "issuer", "token is from an issuer this server does not accept", issuer.url()),
        (&elsewhere, "audience", "token is for another audience", RESOURCE),
        (&early, "not before", "token is not valid yet", "expected: "),
        (&tampered, "signature", "signature does not verify", "made by that key"),
        ("not-a-token", "shape", "malformed token", "three base64url segments"),
        ("a.b.c", "shape", "malformed token", "three base64url segments"),
    ] {
        let said = run(&folder, VERIFY, token);
        assert!(said.starts_with("exit 1\n"), "{check}: {said}");
        let failed: Vec<&str> = said.lines().filter(|line| line.starts_with('✗')).collect();
        assert!(failed.len() == 1 && failed[0].starts_with(&format!("✗ {check} ")), "{check}: {said}");
        assert!(said.contains(why) && said.contains(expected), "{check}: {said}");
        assert!(said.contains("refused by `crm` with 401: \"The access token "), "{check}: {said}");
        let object = said_json(&run(&folder, &format!("{VERIFY} --format json"), token));
        assert_eq!((&object["accepted"], &object["caller"]), (&json!(false), &Value::Null), "{check}");
        let failed: Vec<&Value> =
            object["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "failed").collect();
        assert!(failed.len() == 1 && failed[0]["name"] == check, "{object}");
    }
}

/// The object on standard output.
fn said_json(said: &str) -> Value {
    let (_, rest) = said.split_once("--- out\n").unwrap();
    serde_json::from_str(rest.split_once("\n--- err\n").unwrap().0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_a_bad_token_from_an_issuer_that_is_away() {
    let (folder, issuer) = rig("away").await;
    let token = issuer.mint("ana", &[], &[RESOURCE]).unwrap();
    let object = said_json(&run(&folder, &format!("{VERIFY} --format json"), &token));
    assert_eq!((&object["schema_version"], &object["result"]), (&json!(1), &json!("ok")));
    assert_eq!(object["caller"]["subject"], "ana");
    issuer.set_fault(Fault::Down);
    let said = run(&folder, VERIFY, &token);
    assert!(said.starts_with("exit 69\n"), "{said}");
    assert!(said.contains("✗ key ") && said.contains("warning: no keys from the issuer `corp`: "), "{said}");
    assert!(said.contains("refused by `crm` with 503"), "{said}");
    issuer.set_fault(Fault::None);
    issuer.rotate(Retired::Dropped).unwrap();
    let said = run(&folder, VERIFY, &token);
    assert!(
        said.starts_with("exit 1\n") && said.contains("✗ key ") && said.contains("unknown to its issuer"),
        "{said}"
    );
}

#[test]
fn verify_needs_to_know_the_server_and_the_token() {
    let folder = Folder::new("which");
    let two = format!(
        "{GOOD}[servers.wiki]\npath = \"/wiki\"\nupstream = \"http://127.0.0.1:3002/mcp\"\npolicies = [\"policies/crm.toml\"]\n"
    );
    folder.file("two.toml", &two);
    folder.file("empty", " \n");
    for (arguments, expected) in [
        ("-c @/two.toml token verify -", "error: which server is it for? choose one with --server: `crm`, `wiki`\n"),
        (
            "-c @/two.toml token verify - --server cmr",
            "error: there is no server `cmr` in @/two.toml; configured: `crm`, `wiki`\n",
        ),
        ("-c @/proxy.toml token verify @/empty", "error: no token in `@/empty`: it is empty\n"),
        (
            "-c @/proxy.toml token verify @/absent",
            "error: no token in `@/absent`: No such file or directory (os error 2)\n",
        ),
        (
            "token decode eyJhbGciOiJub25lIn0.e30.x",
            "error: this is a token; give a file that holds it, or `-` and the token on standard input\n",
        ),
    ] {
        let said = folder.run_with(arguments, "a.b.c");
        assert_eq!(said, format!("exit 2\n--- out\n--- err\n{expected}"), "{arguments}");
    }
    assert!(folder.run("-c @/absent.toml token verify -").starts_with("exit 78\n--- out\n--- err\nerror: cannot read"));
}

#[tokio::test(flavor = "multi_thread")]
async fn decode_shows_claims_and_believes_nothing() {
    let (folder, issuer) = rig("decode").await;
    let claims = json!({ "sub": "a\u{1b}[2J", "exp": 0, "aud": ["x"] });
    let token = issuer.mint_claims(claims.as_object().unwrap()).unwrap();
    let said = run(&folder, "token decode -", &token);
    for part in [
        "exit 0\n--- out\nheader {\n  \"alg\": \"ES256\",",
        "claims {\n",
        "\"sub\": \"a\\u001b[2J\"",
        "expires     1970-01-01T00:00:00Z, ",
        "--- err\nnone of this is verified; ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(said_json(&run(&folder, "token decode - --format json", &token))["claims"], claims);
    let expected = "exit 1\n--- out\n--- err\nerror: malformed token: not three segments\n";
    assert_eq!(run(&folder, "token decode -", "opaque"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn mint_prints_the_token_alone() {
    let (folder, issuer) = rig("mint").await;
    let demo = |issuer: &str, secret: &str| {
        folder.file("demo.json", &json!({ "issuer": issuer, "mint_secret": secret }).to_string());
    };
    let mint = |more: &str| {
        let arguments = format!("token mint --directory @/ --user {more}");
        tokio::task::block_in_place(|| folder.run(&arguments))
    };
    assert_eq!(
        mint("ana"),
        "exit 69\n--- out\n--- err\nerror: no demo is running here: there is no `@/demo.json`; start one with \
         `portcullis demo`, or name its folder with --directory\n"
    );
    demo(issuer.url(), issuer.mint_secret().expose());
    for (user, scope) in [("ana", "crm:read"), ("max", "crm:read crm:write"), ("max --scope crm:write", "crm:write")] {
        let said = mint(user);
        let token = said.strip_prefix("exit 0\n--- out\n").and_then(|said| said.strip_suffix("\n--- err\n")).unwrap();
        assert!(!token.contains('\n'));
        let verified = run(&folder, VERIFY, token);
        assert!(verified.contains(&format!("scopes: {scope};")), "{verified}");
    }
    for (wanted, expected) in [
        ("eve", "exit 1\n--- out\n--- err\nerror: the demo refuses: no such user; there are ana and max\n"),
        ("ana --scope root", "exit 1\n--- out\n--- err\nerror: the demo refuses: the user cannot grant that scope\n"),
        (
            "ana --audience https://elsewhere.example",
            "exit 1\n--- out\n--- err\nerror: the demo refuses: audience is not a resource of this demo\n",
        ),
    ] {
        assert_eq!(mint(wanted), expected);
    }
    demo(issuer.url(), "another");
    let said = mint("ana");
    assert!(said.starts_with("exit 69\n") && said.contains("another demo answers at "), "{said}");
    for elsewhere in ["https://127.0.0.1", "http://192.0.2.1", "http://localhost.example", "file:///x", "x"] {
        demo(elsewhere, "s");
        let said = mint("ana");
        assert!(said.starts_with("exit 69\n") && said.contains("`@/demo.json` was not written by a demo"), "{said}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    demo(&format!("http://{closed}"), "s");
    let said = mint("ana");
    assert!(
        said.starts_with(&format!("exit 69\n--- out\n--- err\nerror: no demo answers at http://{closed}/")),
        "{said}"
    );
}
