//! How existing clients behave: how they find the issuer, how they register, and what they reject.

use std::net::IpAddr;

use clap::ValueEnum;
use url::{Host, Url};

use super::issuer::Issuer;
use super::metadata::covers;
use super::report::{Report, Step};
use super::server::Server;

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// claude.ai, and Claude on desktops and phones.
    Claude,
    /// Claude Code.
    ClaudeCode,
    /// Connectors of `ChatGPT`.
    Chatgpt,
    /// Codex, and others on the Rust SDK.
    Codex,
    /// Cursor.
    Cursor,
    /// Gemini CLI.
    GeminiCli,
    /// The web page of the MCP Inspector.
    Inspector,
    /// mcp-remote.
    McpRemote,
    /// The Python SDK.
    PythonSdk,
    /// The TypeScript SDK.
    TypescriptSdk,
    /// Visual Studio Code.
    Vscode,
    /// Zed.
    Zed,
}

/// How a client comes by a client id.
#[derive(Clone, Copy, Debug)]
enum Registers {
    /// A client id metadata document.
    Document,
    /// RFC 7591.
    Dynamic,
    /// By hand; says where the id goes.
    Beforehand(&'static str),
}

/// What a client minds besides what all mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Minds {
    /// It runs in a browser.
    Browser,
    /// It asks for every scope of `scopes_supported`.
    EveryScope,
    /// It probes with GET, and wants 401.
    Get,
    /// It runs in somebody's cloud.
    Hosted,
    /// It looks only where the challenge says.
    Named,
    /// It looks only where the path says.
    Path,
    /// It takes client id metadata documents only where public clients are allowed too.
    PublicClients,
    /// `resource` must be the URL to the byte.
    Resource,
}

struct Profile {
    registers: &'static [Registers],
    redirect: &'static str,
    minds: &'static [Minds],
}

use Minds::{Browser, EveryScope, Get, Hosted, Named, Path, PublicClients, Resource};
use Registers::{Beforehand, Document, Dynamic};

impl Client {
    const fn profile(self) -> Profile {
        let (registers, redirect, minds): (&[Registers], _, &[Minds]) = match self {
            Self::Chatgpt => (
                &[Document, Beforehand("the connector's settings"), Dynamic],
                "shown in the connector's settings",
                &[Hosted, Named],
            ),
            Self::Claude => {
                (&[Document, Dynamic], "https://claude.ai/api/mcp/auth_callback", &[Hosted, Named, PublicClients])
            }
            Self::ClaudeCode => (
                &[Document, Dynamic, Beforehand("--client-id")],
                "http://localhost:PORT/callback (--callback-port)",
                &[],
            ),
            Self::Codex => {
                (&[Document, Dynamic, Beforehand("its config.toml")], "http://127.0.0.1:PORT/callback", &[Get])
            }
            Self::Cursor => {
                (&[Dynamic, Beforehand("`auth` in mcp.json")], "http://localhost:8787/callback", &[EveryScope, Path])
            }
            Self::GeminiCli => (
                &[Dynamic, Beforehand("`oauth.clientId` in settings.json")],
                "http://localhost:PORT/oauth/callback",
                &[Resource],
            ),
            Self::Inspector => (
                &[Document, Dynamic, Beforehand("its OAuth settings")],
                "http://localhost:6274/oauth/callback",
                &[Browser],
            ),
            Self::McpRemote => {
                (&[Dynamic, Beforehand("--static-oauth-client-info")], "http://localhost:PORT/oauth/callback", &[Get])
            }
            Self::PythonSdk => {
                (&[Document, Dynamic, Beforehand("the provider's client information")], "the program's own", &[])
            }
            Self::TypescriptSdk => {
                (&[Beforehand("the provider's client information"), Document, Dynamic], "the program's own", &[])
            }
            Self::Vscode => (
                &[Document, Dynamic, Beforehand("the prompt it shows")],
                "http://127.0.0.1:33418/ and https://vscode.dev/redirect",
                &[EveryScope],
            ),
            Self::Zed => (&[Document, Dynamic, Beforehand("its settings")], "http://127.0.0.1:PORT/callback", &[]),
        };
        Profile { registers, redirect, minds }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Chatgpt => "chatgpt",
            Self::Claude => "claude",
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Cursor => "cursor",
            Self::GeminiCli => "gemini-cli",
            Self::Inspector => "inspector",
            Self::McpRemote => "mcp-remote",
            Self::PythonSdk => "python-sdk",
            Self::TypescriptSdk => "typescript-sdk",
            Self::Vscode => "vscode",
            Self::Zed => "zed",
        }
    }

    /// Adds what this client would make of them.
    pub(super) fn walk(self, server: Option<&Server>, issuer: Option<&Issuer>, report: &mut Report) {
        let (name, profile) = (self.title(), self.profile());
        let mut steps = Vec::new();
        if let Some(server) = server {
            steps.extend(reads(name, server));
            steps.extend(profile.minds.iter().filter_map(|minds| minds.met(name, server)));
        }
        match issuer {
            Some(issuer) if issuer.document.is_some() => steps.extend(registers(name, &profile, issuer)),
            Some(_) => {
                steps.push(Step::failed(name, "finds no authorization server it could use", "see the issuer above"));
            }
            // A server that is open asks nobody to sign in.
            None if server.is_some_and(|server| server.metadata.is_none() && server.post != 401) => {
                steps.push(Step::good(name, "calls without signing in"));
            }
            None => {}
        }
        for step in steps {
            report.add(step);
        }
    }
}

/// What every client needs of a server that wants a token.
fn reads(name: &'static str, server: &Server) -> Option<Step> {
    match (&server.metadata, server.post) {
        (None, 401) => Some(Step::failed(
            name,
            "finds no metadata of the server, and guesses an issuer on its origin",
            "see the server above",
        )),
        (Some(metadata), _) if !covers(&metadata.resource, &server.url) => {
            Some(Step::failed(name, "refuses metadata of another resource", "see `resource` above"))
        }
        (Some(metadata), _) if metadata.authorization_servers.is_empty() => {
            Some(Step::failed(name, "is told of no issuer", "see `issuers` above"))
        }
        _ => None,
    }
}

impl Minds {
    fn met(self, name: &'static str, server: &Server) -> Option<Step> {
        let metadata = server.metadata.as_ref();
        match self {
            Self::Browser => server.browser.map(|problem| {
                Step::failed(
                    name,
                    format!("runs in a browser: {problem}"),
                    "allow its origin, http://localhost:6274, in `[cors] allow_origins`",
                )
            }),
            Self::EveryScope => metadata.filter(|metadata| metadata.scopes.len() > 1).map(|metadata| {
                Step::doubtful(
                    name,
                    format!("asks for all {} scopes of scopes_supported at once", metadata.scopes.len()),
                    "list only what a first call needs",
                )
            }),
            Self::Get => server.get.filter(|get| *get == 200 && server.post == 401).map(|_| {
                Step::failed(name, "takes the 200 of a GET for the metadata", "answer 401 before looking at the method")
            }),
            Self::Hosted => hosted(&server.url).map(|why| {
                Step::failed(
                    name,
                    format!("calls from its maker's network: {why}"),
                    "serve it on port 443 of a public IPv4 address",
                )
            }),
            Self::Named => (server.post == 401 && !server.is_named).then(|| {
                Step::failed(
                    name,
                    "follows the challenge only, which names no metadata",
                    "add resource_metadata to the challenge",
                )
            }),
            Self::Path => (metadata.is_some() && !server.is_at_path)
                .then(|| Step::failed(name, "looks for the metadata at the path form only", "serve it there as well")),
            Self::PublicClients => None,
            Self::Resource => metadata.filter(|metadata| metadata.resource != server.url.as_str()).map(|_| {
                Step::failed(name, "refuses a `resource` that is not the URL to the byte", "see `resource` above")
            }),
        }
    }
}

/// Why somebody on the Internet cannot reach it, as far as its URL says.
fn hosted(url: &Url) -> Option<&'static str> {
    let is_inside = match url.host() {
        Some(Host::Domain(name)) => {
            let last = name.rsplit('.').next().unwrap_or_default();
            !name.contains('.') || matches!(last, "internal" | "local" | "localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || !matches!(IpAddr::V6(address), IpAddr::V6(a) if a.segments()[0] & 0xe000 == 0x2000)
        }
        None => true,
    };
    match url.port_or_known_default() {
        _ if is_inside => Some("the address is not public"),
        Some(443) if url.scheme() == "https" => None,
        _ => Some("it takes https on port 443 only"),
    }
}

fn registers(name: &'static str, profile: &Profile, issuer: &Issuer) -> Vec<Step> {
    let mut steps = Vec::new();
    if !issuer.lists("code_challenge_methods_supported", "S256", false)
        && issuer.vendor.is_none_or(|vendor| !vendor.is_silent_about_pkce)
    {
        steps.push(Step::failed(
            name,
            "refuses an issuer that does not say it does PKCE with S256",
            "see `PKCE` above",
        ));
    }
    if issuer.vendor.is_some_and(|vendor| vendor.refuses_resource) && name != Client::McpRemote.title() {
        steps.push(Step::failed(name, "names the resource, which this issuer refuses", "see `resource` above"));
    }
    let is_public = issuer.lists("token_endpoint_auth_methods_supported", "none", false);
    let document =
        issuer.says("client_id_metadata_document_supported") && (is_public || !profile.minds.contains(&PublicClients));
    // What is set by hand is the way out, wherever a client looks for it first.
    let automatic = profile.registers.iter().find_map(|way| match way {
        Document if document => Some("registers by a client id metadata document"),
        Dynamic if issuer.has("registration_endpoint") => Some("registers itself (RFC 7591)"),
        _ => None,
    });
    let by_hand = profile.registers.iter().find_map(|way| match way {
        Beforehand(place) => Some(place),
        _ => None,
    });
    steps.push(match (automatic, by_hand) {
        (Some(way), _) => Step::good(name, way),
        (None, Some(place)) => Step::doubtful(
            name,
            "cannot register itself at this issuer",
            format!("register it there with the redirect URI {}, and put the id into {place}", profile.redirect),
        ),
        (None, None) => Step::failed(
            name,
            "cannot register itself at this issuer, and takes no client id",
            "switch client id metadata documents or dynamic registration on at the issuer",
        ),
    });
    steps
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use url::Url;

    use super::{Client, hosted};

    #[test]
    fn clients_are_called_what_they_are_asked_for_by() {
        for client in Client::value_variants() {
            assert_eq!(client.to_possible_value().unwrap().get_name(), client.title());
        }
    }

    #[test]
    fn a_cloud_reaches_public_addresses_on_443() {
        for (url, reached) in [
            ("https://mcp.example.com/mcp", true),
            ("https://mcp.example.com:8443/mcp", false),
            ("http://mcp.example.com/mcp", false),
            ("https://8.8.8.8/mcp", true),
            ("https://10.0.0.1/mcp", false),
            ("https://localhost/mcp", false),
            ("https://intranet/mcp", false),
            ("https://crm.internal/mcp", false),
            ("https://[::1]/mcp", false),
            ("https://[fd00::1]/mcp", false),
            ("https://[2606:4700::1111]/mcp", true),
        ] {
            assert_eq!(hosted(&Url::parse(url).unwrap()).is_none(), reached, "{url}");
        }
    }
}
