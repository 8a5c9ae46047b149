//! `generate` for who deploys: manifests and units are made from `proxy.toml`, and never hold what is secret.

use super::{Folder, GOOD, POLICY};

const CONFIG: &str = r#"[server]
public_url = "https://mcp.example.com"
listen = ["0.0.0.0:8443"]
tls = { cert_file = "/etc/portcullis/tls/tls.crt", key_file = "/etc/portcullis/tls/tls.key" }
[server.drain]
delay = "3s"
timeout = "10s"
[admin]
listen = "127.0.0.1:9901"
[issuers.corp]
issuer = "https://login.example.com/realms/acme"
[servers.crm]
path = "/crm/mcp"
upstream = "http://crm.internal:3001/mcp"
policies = ["policies/crm.toml"]
[servers.crm.upstream_auth]
type = "bearer"
token = { credential = "crm-token" }
[servers.wiki]
path = "/wiki/mcp"
upstream = "http://wiki.internal:3001/mcp"
policies = ["policies/crm.toml"]
[servers.wiki.upstream_auth]
type = "basic"
username = "portcullis"
password = { env = "WIKI_PASSWORD" }
[state.redis]
url = { env = "REDIS_URL" }
[[sealing.keys]]
id = "k1"
file = "keys/k1"
"#;

fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.file("proxy.toml", CONFIG);
    std::fs::create_dir_all(folder.0.join("keys")).unwrap();
    folder.file("keys/k1", "f00dfeedf00dfeed");
    folder
}

#[test]
fn manifests_have_files_and_name_secrets() {
    let folder = folder("k8s");
    let said =
        folder.run("generate k8s -c @/proxy.toml --replicas 2 --namespace mcp --upstream-labels app=crm,tier=mcp");
    assert!(said.starts_with("exit 0\n"), "{said}");
    for expected in [
        "\n  policies.crm.toml: |\n    [policy]\n    name = \"crm\"\n",
        "\n  proxy.toml: |\n    [server]\n    public_url = \"https://mcp.example.com\"\n",
        "kind: ConfigMap\nmetadata:\n  labels:\n    app.kubernetes.io/name: portcullis\n",
        "\n  namespace: mcp\n",
        "\n  replicas: 2\n",
        "\n      terminationGracePeriodSeconds: 23\n",
        "\n              - key: policies.crm.toml\n                path: policies/crm.toml\n",
        "\n              - key: tls.key\n                path: tls/tls.key\n              name: portcullis-tls\n",
        "\n              - key: keys.k1\n                path: keys/k1\n              name: portcullis-secrets\n",
        "\n              - key: crm-token\n                path: crm-token\n              name: portcullis-secrets\n",
        "\n        - name: CREDENTIALS_DIRECTORY\n          value: \"/run/credentials/portcullis\"\n",
        "\n        - name: WIKI_PASSWORD\n          valueFrom:\n            secretKeyRef:\n              key: WIKI_PASSWORD\n              name: portcullis-env\n",
        "\n  - name: mcp\n    port: 443\n    targetPort: mcp\n",
        "\n  podSelector:\n    matchLabels:\n      app: crm\n      tier: mcp\n",
        "create secret -n mcp generic portcullis-secrets --from-file=keys.k1=FILE --from-file=crm-token=FILE\n",
        "--- err\nnote: /metrics answers on loopback only",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(!said.contains("f00dfeed"), "{said}");
}

#[test]
fn a_server_in_the_same_pod_outlives_the_sidecar() {
    let folder = folder("sidecar");
    let config = CONFIG.replace("[admin]\n", "[admin]\nsocket = \"/run/portcullis/admin.sock\"\n");
    folder.file("proxy.toml", &config.replace("crm.internal", "127.0.0.1"));
    let said = folder.run("generate k8s -c @/proxy.toml --name crm --server-image crm:7");
    for expected in [
        "\n      containers:\n      - image: \"crm:7\"\n        lifecycle:\n          preStop:\n            sleep:\n              seconds: 3\n",
        "\n      initContainers:\n      - args:\n        - serve\n",
        "\n        restartPolicy: Always\n",
        "\n        - mountPath: \"/run/portcullis\"\n          name: run\n",
        "\n      - emptyDir:\n          medium: Memory\n          sizeLimit: \"1Mi\"\n        name: run\n",
        "\n      terminationGracePeriodSeconds: 26\n",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn what_would_not_run_in_a_pod_is_refused_with_the_remedy() {
    let file = |path: &str| CONFIG.replace("keys/k1", path);
    let audit = |path: &str| format!("{CONFIG}[audit]\nsinks = [{{ type = \"file\", path = \"{path}\" }}]\n");
    let socket = |path: &str| CONFIG.replace("[admin]\n", &format!("[admin]\nsocket = \"{path}\"\n"));
    let beside = CONFIG.replace("crm.internal", "localhost");
    let open = CONFIG.replace("{ env = \"WIKI_PASSWORD\" }", "{ value = \"hunter2\" }");
    for (config, more, why) in [
        (CONFIG.replace("0.0.0.0", "127.0.0.1"), "", "`server.listen` has loopback addresses only"),
        (CONFIG.replace("[admin]\nlisten = \"127.0.0.1:9901\"\n", ""), "", "without `[admin]` a pod cannot be asked"),
        (beside, "", "the upstream of `crm` is on loopback"),
        (CONFIG.to_owned(), "--server-image crm:7", "no `upstream` is on 127.0.0.1"),
        (CONFIG.split("[state.redis]").next().unwrap().to_owned(), "--replicas 2", "without `[[sealing.keys]]`"),
        (
            CONFIG.replace("[state.redis]\nurl = { env = \"REDIS_URL\" }\n", ""),
            "--replicas 2",
            "without `[state.redis]`",
        ),
        (audit("/var/log/portcullis/audit.jsonl"), "--replicas 2", "would write the same audit file"),
        (audit("audit.jsonl"), "", "is in a folder that a pod mounts read-only"),
        (audit("/var/lib/audit.jsonl"), "", "is in a folder that a pod mounts read-only"),
        (socket("admin.sock"), "", "the admin socket is in `/etc/portcullis`"),
        (open, "", "has secrets written into it"),
        (file("../k1"), "", "leaves the folder of proxy.toml"),
        (file("/etc/k1"), "", "is in a folder of the system"),
        (CONFIG.replace("policies/crm.toml", "policies/none.toml"), "", "cannot read `@/policies/none.toml`"),
        (CONFIG.replace("public_url", "public_ulr"), "", "unknown key `public_ulr`"),
    ] {
        let folder = folder("k8s-refused");
        folder.file("proxy.toml", &config);
        let said = folder.run(format!("generate k8s -c @/proxy.toml {more}").trim_end());
        let (head, message) = said.split_once("--- err\n").unwrap();
        assert_eq!(head, "exit 78\n--- out\n", "{why}: {said}");
        assert!(message.contains(why) && !message.contains("hunter2"), "{why}: {message}");
        assert!(why.contains("unknown key") || message.contains("\n  fix: "), "{message}");
    }
}

#[test]
fn a_unit_loads_credentials_and_has_no_right_it_does_not_use() {
    let folder = folder("unit");
    let tls = "${CREDENTIALS_DIRECTORY}/tls.key";
    let config = CONFIG.replace("/etc/portcullis/tls/tls.key", tls).replace("8443", "443");
    let config = config.replace("[admin]\n", "[admin]\nsocket = \"/run/portcullis/admin.sock\"\n");
    folder.file(
        "proxy.toml",
        &format!("{config}[audit]\nsinks = [{{ type = \"file\", path = \"/var/log/portcullis/audit.jsonl\" }}]\n"),
    );
    let said = folder
        .run("generate systemd -c @/proxy.toml --config-at /etc/portcullis/proxy.toml --binary /opt/100%/portcullis");
    for expected in [
        "exit 0\n",
        "\nExecStart=/opt/100%%/portcullis serve -c /etc/portcullis/proxy.toml\n",
        "\nExecReload=/opt/100%%/portcullis check --offline -c /etc/portcullis/proxy.toml\nExecReload=/bin/kill -HUP $MAINPID\n",
        "\nRestartPreventExitStatus=2 78\n",
        "\nType=notify\n",
        "\nTimeoutStopSec=23\nWatchdogSec=30\n",
        "\nLoadCredential=crm-token:/etc/portcullis/credentials/crm-token\n",
        "\nLoadCredential=tls.key:/etc/portcullis/credentials/tls.key\n",
        "\n# With REDIS_URL, WIKI_PASSWORD.\nEnvironmentFile=/etc/portcullis/environment\n",
        "\nLogsDirectory=portcullis\nLogsDirectoryMode=0700\n",
        "\nRuntimeDirectory=portcullis\nRuntimeDirectoryMode=0700\n",
        "\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n",
        "\nMemoryDenyWriteExecute=yes\n",
        "note: `/etc/portcullis/keys/k1` must be readable",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(!said.contains("note: `/run/credentials"), "{said}");
    folder.file("proxy.toml", &format!("{CONFIG}[audit]\nsinks = [{{ type = \"file\", path = \"audit.jsonl\" }}]\n"));
    let said = folder.run("generate systemd -c @/proxy.toml");
    assert!(said.starts_with("exit 78\n--- out\n--- err\nerror: the audit file"), "{said}");
    let said = folder.run("generate systemd -c @/proxy.toml --config-at /etc/a;b/proxy.toml");
    assert!(said.contains("error: `/etc/a;b/proxy.toml` cannot be written into a unit"), "{said}");
}

#[test]
fn first_files_can_be_used_as_they_are() {
    let folder = Folder::new("first");
    let printed = |arguments: &str| {
        let said = folder.run(arguments);
        let said = said.strip_prefix("exit 0\n--- out\n").unwrap_or_else(|| panic!("{said}"));
        said.strip_suffix("--- err\n").unwrap().to_owned()
    };
    assert_eq!(printed("generate config"), include_str!("../../../proxy.toml.example"));
    let mut names = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policies")).unwrap() {
        let path = file.unwrap().path();
        let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".toml") else { continue };
        let policy = printed(&format!("generate policy {name}"));
        assert_eq!(policy, std::fs::read_to_string(&path).unwrap(), "{name}");
        folder.file("policies/crm.toml", &policy);
        let said = folder.run("check --offline -c @/proxy.toml");
        assert!(said.starts_with("exit 0\n"), "{name}: {said}");
        names += 1;
    }
    assert!(names >= 7, "{names}");
    folder.file("policies/crm.toml", POLICY);
    folder.file("proxy.toml", GOOD);
    assert!(printed("generate docker").contains("\nUSER 65532:65532\n"));
    let dashboard: serde_json::Value = serde_json::from_str(&printed("generate grafana")).unwrap();
    let ids: std::collections::BTreeSet<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len());
}
