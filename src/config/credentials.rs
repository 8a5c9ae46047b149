//! What a configuration reads from elsewhere to show itself with, and to know others by.

use std::path::{Path, PathBuf};

use super::grant::{AuthorizationServer, GrantKind, UpstreamAuth};
use super::issuer::{ClientAuthMethod, Issuer};
use super::{Config, Redis, SecretSource, Server};

/// One key, certificate or secret that is not in `proxy.toml`.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// A key or a certificate, read from this file.
    File(&'a Path),
    /// A secret, read from its source.
    Secret(&'a SecretSource),
}

impl Credential<'_> {
    /// The file it is read from, if it is read from one.
    fn file(self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.to_owned()),
            Self::Secret(source) => source.file(),
        }
    }
}

impl Config {
    /// What the proxy shows issuers, upstreams and the shared store, and knows them by.
    pub fn credentials(&self) -> Vec<Credential<'_>> {
        let servers = self.servers.values().flat_map(of_server);
        let store = self.state.iter().flat_map(of_store);
        servers.chain(self.issuers.values().flat_map(of_issuer)).chain(store).collect()
    }

    /// Tokens of parties that act for callers; they are read again for every use.
    pub fn actor_tokens(&self) -> impl Iterator<Item = &SecretSource> {
        self.servers.values().flat_map(every_auth).filter_map(|auth| match auth {
            UpstreamAuth::Granted(grant) => match &grant.kind {
                GrantKind::TokenExchange { actor: Some((token, _)), .. } => Some(token),
                _ => None,
            },
            _ => None,
        })
    }

    /// The files that [`Self::credentials`] are read from.
    pub fn credential_files(&self) -> Vec<PathBuf> {
        self.credentials().into_iter().filter_map(Credential::file).collect()
    }
}

/// The ways of one server and of its tools.
fn every_auth(server: &Server) -> impl Iterator<Item = &UpstreamAuth> {
    std::iter::once(&server.upstream_auth).chain(server.tool_auth.values())
}

fn of_server(server: &Server) -> Vec<Credential<'_>> {
    let mut all: Vec<Credential<'_>> = every_auth(server).flat_map(of_auth).collect();
    if let Some(pair) = &server.upstream_client_certificate {
        all.extend([Credential::File(&pair.cert_file), Credential::File(&pair.key_file)]);
    }
    all.extend(server.upstream_ca_file.as_deref().map(Credential::File));
    all.extend(server.identity.jwt.iter().map(|jwt| Credential::File(&jwt.key_file)));
    all.extend(server.access.metadata.signed.iter().map(|signed| Credential::File(signed.file())));
    all
}

fn of_auth(auth: &UpstreamAuth) -> Vec<Credential<'_>> {
    match auth {
        UpstreamAuth::Basic { password: secret, .. }
        | UpstreamAuth::Bearer(secret)
        | UpstreamAuth::Header { value: secret, .. } => vec![Credential::Secret(secret)],
        UpstreamAuth::None => Vec::new(),
        UpstreamAuth::Granted(grant) => {
            let mut all = of_authorization_server(&grant.server);
            if let GrantKind::IdJag { server, .. } = &grant.kind {
                all.extend(of_authorization_server(server));
            }
            all
        }
    }
}

fn of_authorization_server(server: &AuthorizationServer) -> Vec<Credential<'_>> {
    server.ca_file.as_deref().map(Credential::File).into_iter().chain(of_client(&server.client.auth)).collect()
}

fn of_client(auth: &ClientAuthMethod) -> Vec<Credential<'_>> {
    match auth {
        ClientAuthMethod::Basic(secret) | ClientAuthMethod::Post(secret) => vec![Credential::Secret(secret)],
        ClientAuthMethod::PrivateKeyJwt { file, .. } => vec![Credential::File(file)],
        ClientAuthMethod::Tls(pair) => vec![Credential::File(&pair.cert_file), Credential::File(&pair.key_file)],
    }
}

fn of_issuer(issuer: &Issuer) -> Vec<Credential<'_>> {
    let mut all: Vec<Credential<'_>> = issuer.ca_file.as_deref().map(Credential::File).into_iter().collect();
    all.extend(issuer.introspection.iter().flat_map(|asked| of_client(&asked.client.auth)));
    if let Some(signals) = &issuer.signals {
        all.extend(signals.push.iter().map(|(_, token)| Credential::Secret(token)));
        all.extend(signals.poll.iter().filter_map(|(_, token)| token.as_ref()).map(Credential::Secret));
    }
    all
}

fn of_store(store: &Redis) -> Vec<Credential<'_>> {
    let authorities = store.ca_file.as_deref().map(Credential::File);
    std::iter::once(Credential::Secret(&store.url)).chain(authorities).collect()
}
