//! What the demo prints about itself: for people, for programs, and as the configuration it runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::crm::TOOLS;
use super::issuer::USERS;
use crate::secret::Secret;

/// Path of the sample server on the proxy.
const MCP_PATH: &str = "/crm/mcp";
/// Where the policy lies, seen from `proxy.toml`.
const POLICY_FILE: &str = "policies/crm.toml";

/// Where everything listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The admin listener.
    pub admin: SocketAddr,
    /// Where certificates, the audit and `demo.json` are kept.
    pub directory: PathBuf,
    /// The proxy's plain listener.
    pub http: SocketAddr,
    /// The proxy's TLS listener; none with `--no-tls`.
    pub https: Option<SocketAddr>,
    /// The issuer.
    pub issuer: SocketAddr,
    /// The sample CRM.
    pub upstream: SocketAddr,
}

/// A user with a token to try things with.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Short name.
    pub name: String,
    /// What the token allows.
    pub scopes: Vec<String>,
    /// The access token, for [`Addresses::mcp_url`].
    pub token: Secret<String>,
}

/// Which of the two configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP on loopback.
    Http,
    /// TLS with the certificate of this run.
    Https,
}

impl Addresses {
    /// The protected server, over plain HTTP; also its resource identifier.
    pub fn mcp_url(&self) -> String {
        format!("http://{}{MCP_PATH}", self.http)
    }

    /// The protected server over TLS; a resource of its own.
    pub fn mcp_url_tls(&self) -> Option<String> {
        self.https.map(|https| format!("https://localhost:{}{MCP_PATH}", https.port()))
    }

    /// The issuer identifier.
    pub fn issuer_url(&self) -> String {
        format!("http://{}", self.issuer)
    }

    /// The sample CRM's MCP endpoint.
    pub fn upstream_url(&self) -> String {
        format!("http://{}/mcp", self.upstream)
    }

    /// The admin listener's origin.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// The authority that vouches for the TLS listener.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Certificate and key of the TLS listener.
    pub fn cert_files(&self) -> (PathBuf, PathBuf) {
        (self.directory.join("cert.pem"), self.directory.join("key.pem"))
    }

    /// What the issuer may issue tokens for, the default first.
    pub fn resources(&self) -> Vec<String> {
        [self.mcp_url()].into_iter().chain(self.mcp_url_tls()).collect()
    }
}

/// For people: what runs where, and the next command to type; `program` is how to call this one.
pub fn text(addresses: &Addresses, program: &str) -> String {
    let users: Vec<String> = USERS.iter().map(|user| format!("{} ({})", user.name, user.scopes.join(" "))).collect();
    let mcp = addresses.mcp_url();
    let mint = if addresses.directory.ends_with(".portcullis") {
        format!("{program} token mint --user ana")
    } else {
        format!("{program} token mint --directory {} --user ana", addresses.directory.display())
    };
    let mut rows = vec![
        ("issuer", addresses.issuer_url(), format!("users: {}", users.join(", "))),
        ("upstream", addresses.upstream_url(), format!("sample CRM, {} tools, made-up PII", TOOLS.len())),
        ("proxy", mcp.clone(), "plain HTTP on loopback: every client accepts it".to_owned()),
    ];
    if let Some(url) = addresses.mcp_url_tls() {
        rows.push(("", url, format!("CA: {}", addresses.ca_file().display())));
    }
    rows.push(("admin", addresses.admin_url(), "/metrics /readyz".to_owned()));
    let widest = rows.iter().map(|(_, url, _)| url.len()).max().unwrap_or_default();
    let rows: Vec<String> =
        rows.iter().map(|(name, url, note)| format!("  {name:<8}  {url:<widest$}   {note}\n")).collect();
    format!(
        "portcullis {} demo   (in-memory keys, fake data, loopback only: not for production)\n\n{}\nTry it\n  \
         curl     curl -i {mcp}\n  \
         inspect  npx @modelcontextprotocol/inspector@latest --cli {mcp} \\\n             \
         --transport http --method tools/list --header \"Authorization: Bearer $({mint})\"\n  \
         claude   claude mcp add --transport http crm {mcp}   then /mcp\n  \
         watch    {program} top --admin {}\n\nEvery decision appears below; Ctrl-C ends it\n",
        env!("CARGO_PKG_VERSION"),
        rows.concat(),
        addresses.admin,
    )
}

/// For programs: one line, tokens included.
pub fn json_line(addresses: &Addresses, users: &[Holder]) -> String {
    document(addresses, users).to_string()
}

/// `demo.json`: the same, and the secret with which `token mint` asks for more. Readable by its owner only.
pub fn demo_file(addresses: &Addresses, users: &[Holder], mint_secret: &Secret<String>) -> Secret<String> {
    let mut document = document(addresses, users);
    document["mint_secret"] = json!(mint_secret.expose());
    Secret::new(document.to_string())
}

fn document(addresses: &Addresses, users: &[Holder]) -> Value {
    let users: Vec<Value> = users
        .iter()
        .map(|user| json!({ "name": user.name, "scopes": user.scopes, "token": user.token.expose() }))
        .collect();
    json!({
        "schema_version": 1,
        "mcp_url": addresses.mcp_url(),
        "mcp_url_tls": addresses.mcp_url_tls(),
        "issuer": addresses.issuer_url(),
        "upstream": addresses.upstream_url(),
        "admin": addresses.admin_url(),
        "ca_file": addresses.https.map(|_| addresses.ca_file()),
        "users": users,
    })
}

/// One of the two configurations as `proxy.toml`; `None` for TLS without a TLS listener.
pub fn config_text(addresses: &Addresses, scheme: Scheme) -> Option<String> {
    let (listen, public_url, tls, admin) = match scheme {
        Scheme::Http => {
            let admin = format!("\n[admin]\nlisten = {}\n", quoted(&addresses.admin.to_string()));
            (addresses.http, format!("http://{}", addresses.http), String::new(), admin)
        }
        Scheme::Https => {
            let https = addresses.https?;
            let (cert, key) = addresses.cert_files();
            let tls = format!("tls        = {{ cert_file = {}, key_file = {} }}\n", path(&cert), path(&key));
            (https, format!("https://localhost:{}", https.port()), tls, String::new())
        }
    };
    let audit = match scheme {
        Scheme::Http => "audit.jsonl",
        Scheme::Https => "audit-tls.jsonl",
    };
    Some(format!(
        "version = 1\n\n\
         [server]\nlisten     = [{}]\npublic_url = {}\n{tls}drain      = {{ delay = \"0s\", timeout = \"2s\" }}\n{admin}\n\
         [issuers.demo]\nissuer            = {}\ninsecure_loopback = true   # plain http, this machine only\n\n\
         [servers.crm]\npath     = {}\nupstream = {}\nissuers  = [\"demo\"]\npolicies = [{}]\n\n\
         [cors]\nallow_origins = [\"http://localhost:6274\", \"http://127.0.0.1:6274\"]   # MCP Inspector\n\n\
         [audit]\nsinks = [{{ type = \"file\", path = {} }}]\n",
        quoted(&listen.to_string()),
        quoted(&public_url),
        quoted(&addresses.issuer_url()),
        quoted(MCP_PATH),
        quoted(&addresses.upstream_url()),
        quoted(POLICY_FILE),
        path(&addresses.directory.join(audit)),
    ))
}

/// What `--print-config` prints: a `proxy.toml` that `serve` runs, with the TLS one and the policy as comments below.
pub fn print_config(addresses: &Addresses, policy: &str) -> String {
    let mut printed = config_text(addresses, Scheme::Http).unwrap_or_default();
    let https = config_text(addresses, Scheme::Https);
    let others = https.iter().map(|text| ("The same over TLS:", text.as_str()));
    for (title, text) in others.chain([("policies/crm.toml:", policy)]) {
        printed.push_str("\n# ");
        printed.push_str(title);
        printed.push('\n');
        for line in text.lines() {
            printed.push_str(if line.is_empty() { "#" } else { "#   " });
            printed.push_str(line);
            printed.push('\n');
        }
    }
    printed
}

/// `text` as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            admin: "127.0.0.1:9901".parse().unwrap(),
            directory: PathBuf::from(".portcullis"),
            http: "127.0.0.1:8080".parse().unwrap(),
            https: Some("127.0.0.1:8443".parse().unwrap()),
            issuer: "127.0.0.1:9000".parse().unwrap(),
            upstream: "127.0.0.1:9001".parse().unwrap(),
        }
    }

    #[test]
    fn tells_people_what_runs_where() {
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            r#"portcullis {version} demo   (in-memory keys, fake data, loopback only: not for production)

  issuer    http://127.0.0.1:9000            users: ana (crm:read), max (crm:read crm:write)
  upstream  http://127.0.0.1:9001/mcp        sample CRM, 8 tools, made-up PII
  proxy     http://127.0.0.1:8080/crm/mcp    plain HTTP on loopback: every client accepts it
            https://localhost:8443/crm/mcp   CA: .portcullis/ca.pem
  admin     http://127.0.0.1:9901            /metrics /readyz

Try it
  curl     curl -i http://127.0.0.1:8080/crm/mcp
  inspect  npx @modelcontextprotocol/inspector@latest --cli http://127.0.0.1:8080/crm/mcp \
             --transport http --method tools/list --header "Authorization: Bearer $(portcullis token mint --user ana)"
  claude   claude mcp add --transport http crm http://127.0.0.1:8080/crm/mcp   then /mcp
  watch    portcullis top --admin 127.0.0.1:9901

Every decision appears below; Ctrl-C ends it
"#
        );
        assert_eq!(text(&addresses(), "portcullis"), expected);
        let elsewhere =
            text(&Addresses { directory: PathBuf::from("/tmp/x"), ..addresses() }, "target/debug/portcullis");
        assert!(
            elsewhere.contains("$(target/debug/portcullis token mint --directory /tmp/x --user ana)"),
            "{elsewhere}"
        );
        let plain = text(&Addresses { https: None, ..addresses() }, "portcullis");
        assert!(!plain.contains("https://") && !plain.contains("CA:"));
    }

    #[test]
    fn tells_programs_in_one_line() {
        let token = Secret::new("ey.x.y".to_owned());
        let users = [Holder { name: "ana".to_owned(), scopes: vec!["crm:read".to_owned()], token }];
        let line = json_line(&addresses(), &users);
        assert!(!line.contains('\n'));
        let expected = json!({
            "schema_version": 1,
            "mcp_url": "http://127.0.0.1:8080/crm/mcp",
            "mcp_url_tls": "https://localhost:8443/crm/mcp",
            "issuer": "http://127.0.0.1:9000",
            "upstream": "http://127.0.0.1:9001/mcp",
            "admin": "http://127.0.0.1:9901",
            "ca_file": ".portcullis/ca.pem",
            "users": [{ "name": "ana", "scopes": ["crm:read"], "token": "ey.x.y" }],
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        let file = demo_file(&addresses(), &users, &Secret::new("s".to_owned()));
        assert_eq!(serde_json::from_str::<Value>(file.expose()).unwrap()["mint_secret"], "s");
        let plain: Value = serde_json::from_str(&json_line(&Addresses { https: None, ..addresses() }, &[])).unwrap();
        assert_eq!((&plain["mcp_url_tls"], &plain["ca_file"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn configurations_differ_in_listener_and_name_only() {
        let read = |scheme| config_text(&addresses(), scheme).unwrap().parse::<toml::Table>().unwrap();
        let (http, https) = (read(Scheme::Http), read(Scheme::Https));
        assert_eq!(http["server"]["public_url"].as_str(), Some("http://127.0.0.1:8080"));
        assert_eq!(https["server"]["public_url"].as_str(), Some("https://localhost:8443"));
        assert_eq!(https["server"]["tls"]["key_file"].as_str(), Some(".portcullis/key.pem"));
        for same in ["issuers", "servers", "cors", "version"] {
            assert_eq!(http[same], https[same], "{same}");
        }
        assert_eq!(http["issuers"]["demo"]["insecure_loopback"].as_bool(), Some(true));
        assert_eq!(http["servers"]["crm"]["policies"][0].as_str(), Some("policies/crm.toml"));
        assert!(config_text(&Addresses { https: None, ..addresses() }, Scheme::Https).is_none());
        let odd = Addresses { directory: PathBuf::from("C:\\a \"b\""), ..addresses() };
        let odd = config_text(&odd, Scheme::Https).unwrap().parse::<toml::Table>().unwrap();
        assert!(odd["server"]["tls"]["cert_file"].as_str().unwrap().starts_with("C:\\a \"b\""));
    }

    #[test]
    fn the_printed_configuration_is_a_configuration() {
        let printed = print_config(&addresses(), "[policy]\nname = \"crm\"\n\n[[rule]]\n");
        let whole = printed.parse::<toml::Table>().unwrap();
        let http = config_text(&addresses(), Scheme::Http).unwrap().parse::<toml::Table>().unwrap();
        assert_eq!(whole, http);
        assert!(printed.contains("#   name = \"crm\"\n#\n#   [[rule]]\n"));
    }
}
