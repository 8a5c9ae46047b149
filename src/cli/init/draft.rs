//! The text of `proxy.toml`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;
use url::{Host, Url};

use super::files::Files;
use super::{Init, issuer};
use crate::cli::doctor::report::Step;

/// What the issuer is called.
const ISSUER: &str = "corp";
/// Where the admin listener is.
const ADMIN: &str = "127.0.0.1:9901";

/// The configuration to be written.
pub(super) struct Draft {
    pub(super) text: String,
    /// The listener's address, if tokens reach it unencrypted from something in front.
    behind: Option<SocketAddr>,
}

/// What the server is called, and where its files are.
pub(super) struct Names<'a> {
    pub(super) name: &'a str,
    pub(super) files: &'a Files,
}

/// `proxy.toml`, in the order it is read in.
#[derive(Serialize)]
struct Proxy<'a> {
    server: Listener,
    admin: Admin,
    issuers: BTreeMap<&'a str, Issuer<'a>>,
    servers: BTreeMap<&'a str, Server>,
}

#[derive(Serialize)]
struct Listener {
    public_url: String,
    listen: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
}

#[derive(Serialize)]
struct Tls {
    cert_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Serialize)]
struct Admin {
    listen: &'static str,
}

#[derive(Serialize)]
struct Issuer<'a> {
    #[serde(rename = "issuer")]
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    insecure_loopback: Option<bool>,
}

#[derive(Serialize)]
struct Server {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    policies: Vec<String>,
    lock: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_auth: Option<UpstreamAuth>,
}

#[derive(Serialize)]
struct UpstreamAuth {
    r#type: &'static str,
    token: Secret,
}

#[derive(Serialize)]
struct Secret {
    file: PathBuf,
}

impl Draft {
    /// What `proxy.toml` should say. Values are written as data: none of them becomes a key, a table or a variable.
    pub(super) fn new(asked: &Init, Names { name, files }: Names<'_>) -> Self {
        let listen = listen(&asked.public_url, asked.cert.is_some());
        // Relative paths of the command line start at the current folder, those of the file at its own.
        let elsewhere = files.config.parent().is_some_and(|folder| !folder.as_os_str().is_empty());
        let path = |path: &Path| match std::path::absolute(path) {
            Ok(path) if elsewhere => path,
            _ => path.to_owned(),
        };
        let is_encrypted = |url: &str| url.starts_with("https:");
        let ca_file = |url: &str| asked.ca_file.as_deref().filter(|_| is_encrypted(url)).map(path);
        let tls = asked.cert.as_deref().zip(asked.key.as_deref());
        let issuer = Issuer {
            url: &asked.issuer,
            profile: issuer::profile(&asked.issuer),
            ca_file: ca_file(&asked.issuer),
            insecure_loopback: asked.issuer.starts_with("http:").then_some(true),
        };
        let token = asked.token.as_deref().map(|file| Secret { file: path(file) });
        let server = Server {
            path: format!("/{name}/mcp"),
            upstream: asked.upstream.clone(),
            command: asked.command.clone(),
            policies: vec![format!("policies/{name}.toml")],
            lock: format!("policies/{name}.lock"),
            upstream_ca_file: asked.upstream.as_deref().and_then(ca_file),
            upstream_auth: token.map(|token| UpstreamAuth { r#type: "bearer", token }),
        };
        let file = Proxy {
            server: Listener {
                public_url: asked.public_url.origin().ascii_serialization(),
                listen: vec![listen],
                tls: tls.map(|(cert, key)| Tls { cert_file: path(cert), key_file: path(key) }),
            },
            admin: Admin { listen: ADMIN },
            issuers: BTreeMap::from([(ISSUER, issuer)]),
            servers: BTreeMap::from([(name, server)]),
        };
        let text = toml::to_string_pretty(&file).unwrap_or_default().replace("${", "$${");
        let is_behind = asked.public_url.scheme() == "https" && tls.is_none();
        Self {
            text: format!("# Every key there is: proxy.toml.example. What is wrong: `portcullis check`.\n\n{text}"),
            behind: is_behind.then_some(listen),
        }
    }

    /// A remark on a public URL by https where the listener has no certificate.
    pub(super) fn unencrypted(&self) -> Option<Step> {
        let listen = self.behind?;
        let text = format!("no certificate: it will listen on {listen} without TLS");
        Some(Step::doubtful("tls", text, "let what terminates TLS forward to it, or name files with --cert and --key"))
    }
}

/// Where to listen for clients that type `public`.
fn listen(public: &Url, encrypted: bool) -> SocketAddr {
    let loopback: Option<IpAddr> = match public.host() {
        Some(Host::Ipv4(ip)) if ip.is_loopback() => Some(ip.into()),
        Some(Host::Ipv6(ip)) if ip.is_loopback() => Some(Ipv6Addr::LOCALHOST.into()),
        Some(Host::Domain("localhost")) => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    };
    match (encrypted, public.scheme(), loopback) {
        (true, _, Some(ip)) => SocketAddr::new(ip, public.port_or_known_default().unwrap_or(8443)),
        (true, _, None) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), public.port().unwrap_or(8443)),
        (false, "http", Some(ip)) => SocketAddr::new(ip, public.port_or_known_default().unwrap_or(8080)),
        (false, ..) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080),
    }
}

/// A name for a server: the first label of its host, or its program's.
pub(super) fn name_of(upstream: Option<&str>, command: &[String]) -> String {
    let url = upstream.and_then(|url| Url::parse(url).ok());
    let label = match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(host)) if host != "localhost" => {
            host.split('.').find(|label| !matches!(*label, "mcp" | "www"))
        }
        _ => command.first().and_then(|program| Path::new(program).file_stem()?.to_str()),
    };
    let fits = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    label.filter(fits).filter(|name| (1..=64).contains(&name.len())).unwrap_or("main").to_owned()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{listen, name_of};

    #[test]
    fn listens_where_the_public_url_leads() {
        for (public, encrypted, address) in [
            ("https://mcp.example.com", true, "0.0.0.0:8443"),
            ("https://mcp.example.com:9443", true, "0.0.0.0:9443"),
            ("https://localhost:9443", true, "127.0.0.1:9443"),
            ("https://mcp.example.com", false, "127.0.0.1:8080"),
            ("http://127.0.0.1:8081", false, "127.0.0.1:8081"),
            ("http://localhost", false, "127.0.0.1:80"),
            ("http://[::1]:8081", false, "[::1]:8081"),
            // Refused later, by the rule for every proxy.toml.
            ("http://mcp.example.com", false, "127.0.0.1:8080"),
        ] {
            assert_eq!(listen(&Url::parse(public).unwrap(), encrypted).to_string(), address, "{public}");
        }
    }

    #[test]
    fn names_a_server_by_its_host_or_program() {
        let program = |program: &str| name_of(None, &[program.to_owned(), "x".to_owned()]);
        assert_eq!(name_of(Some("https://crm.internal/mcp"), &[]), "crm");
        assert_eq!(name_of(Some("https://mcp.acme.example/mcp"), &[]), "acme");
        assert_eq!(name_of(Some("http://127.0.0.1:3001/mcp"), &[]), "main");
        assert_eq!(name_of(Some("http://localhost:3001/mcp"), &[]), "main");
        assert_eq!(program("/opt/files-server.py"), "files-server");
        assert_eq!(program("my server"), "main");
    }
}
