//! `portcullis generate k8s`: manifests that run the proxy in Kubernetes, beside a server or in front of others.

mod mounts;
mod network;
mod pod;

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};
use url::Host;

use self::mounts::Mounts;
use super::deployed::{Deployed, Refusal};
use super::yaml;
use crate::cli::{Exit, Global, Streams};
use crate::config::Backend;

/// Where `proxy.toml` is in the container.
const CONFIG: &str = "/etc/portcullis/proxy.toml";
/// Where credentials are in the container.
const CREDENTIALS: &str = "/run/credentials/portcullis";

/// Arguments of `generate k8s`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate k8s --image registry.example.com/portcullis:0.1.0 | kubectl apply -f -
  portcullis generate k8s --server-image registry.example.com/crm-mcp:7 > crm.yaml    in one pod with the server
  portcullis generate k8s --upstream-labels app=crm-mcp > portcullis.yaml             in front of another deployment")]
pub(super) struct Kubernetes {
    /// The image of portcullis, as `generate docker` makes it.
    #[arg(long, value_name = "IMAGE", default_value = concat!("portcullis:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// The image of the MCP server, to run it in the same pod; its upstream is then on 127.0.0.1.
    #[arg(long, value_name = "IMAGE")]
    server_image: Option<String>,
    /// The name of everything [default: that of the only server, else portcullis].
    #[arg(long, value_name = "NAME", value_parser = name, help = "The name of everything [default: that of the only server, else portcullis]")]
    name: Option<String>,
    /// The namespace.
    #[arg(long, value_name = "NAME", value_parser = name)]
    namespace: Option<String>,
    /// How many pods; more than one need [[sealing.keys]] and [state.redis].
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    replicas: u16,
    /// Let nobody but the proxy reach pods with these labels, which are the upstream's.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label, value_delimiter = ',', conflicts_with = "server_image")]
    upstream_labels: Vec<(String, String)>,
}

/// The names and labels that every manifest has.
struct Names<'a> {
    name: &'a str,
    namespace: Option<&'a str>,
}

impl Names<'_> {
    /// `metadata` of an object.
    fn metadata(&self, suffix: &str) -> Value {
        let name = format!("{}{suffix}", self.name);
        let labels =
            json!({ "app.kubernetes.io/name": self.name, "app.kubernetes.io/version": env!("CARGO_PKG_VERSION") });
        match self.namespace {
            Some(namespace) => json!({ "labels": labels, "name": name, "namespace": namespace }),
            None => json!({ "labels": labels, "name": name }),
        }
    }

    /// The labels that find the pods.
    fn selector(&self) -> Value {
        json!({ "app.kubernetes.io/name": self.name })
    }
}

impl Kubernetes {
    pub(super) fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let deployed = match Deployed::read(global, Path::new(CONFIG), CREDENTIALS, streams) {
            Ok(deployed) => deployed,
            Err(exit) => return exit,
        };
        let own = self.name.clone().unwrap_or_else(|| default_name(&deployed));
        let names = Names { name: &own, namespace: self.namespace.as_deref() };
        let made = self.fits(&deployed).and_then(|()| Mounts::new(&deployed, &own));
        let mounts = match made {
            Ok(mounts) => mounts,
            Err(refusal) => return refusal.tell(streams),
        };
        self.tell(&deployed, streams);
        let mut text = self.head(&deployed, &mounts, &own);
        for manifest in self.manifests(&deployed, &mounts, &names) {
            text.push_str("---\n");
            text.push_str(&yaml::document(&manifest));
        }
        streams.write(text.as_bytes());
        Exit::Done
    }

    /// Whether the configuration can run in a pod as it is.
    fn fits(&self, deployed: &Deployed) -> Result<(), Refusal> {
        let config = &deployed.config;
        if config.server.is_loopback() {
            let why = "`server.listen` has loopback addresses only, which nothing outside of the pod reaches";
            return Err(Refusal::new(why, "for example `listen = [\"0.0.0.0:8443\"]`"));
        }
        if config.admin.is_none() {
            let why = "without `[admin]` a pod cannot be asked whether it is ready";
            return Err(Refusal::new(why, "write `[admin]` and below it `listen = \"127.0.0.1:9901\"`"));
        }
        let beside = config.servers.values().find(|server| is_loopback(&server.backend));
        match (beside, &self.server_image) {
            (Some(server), None) => {
                let why =
                    format_args!("the upstream of `{}` is on loopback, which in a pod is the pod itself", server.name);
                return Err(Refusal::new(
                    why,
                    "run it in the same pod with `--server-image IMAGE`, or name its service in `upstream`",
                ));
            }
            (None, Some(_)) => {
                let why = "with `--server-image` the server is in the same pod, and no `upstream` is on 127.0.0.1";
                return Err(Refusal::new(
                    why,
                    "for example `upstream = \"http://127.0.0.1:3001/mcp\"`, and have the server listen only there",
                ));
            }
            _ => {}
        }
        if self.replicas > 1 && config.sealing.keys.is_empty() {
            let why = "several replicas without `[[sealing.keys]]` would not know each other's sessions";
            return Err(Refusal::new(why, "give all of them the same keys, or leave `--replicas` out"));
        }
        if self.replicas > 1 && config.state.is_none() {
            let why = "several replicas without `[state.redis]` would each take what may be used once, and each allow the whole rate";
            return Err(Refusal::new(why, "let them share a Redis or Valkey, or leave `--replicas` out"));
        }
        if self.replicas > 1 && deployed.audit_file().is_some() {
            let why = "several replicas would write the same audit file";
            return Err(Refusal::new(why, "record to standard output: `sinks = [{ type = \"stdout\" }]`"));
        }
        if let Some((server, _)) = deployed.programs().find(|(_, command)| command.user.is_some()) {
            let why = format_args!("`servers.{server}.user` needs rights that the container does not have");
            return Err(Refusal::new(why, "take it out: in a pod the program runs as user 65532"));
        }
        Ok(())
    }

    /// What somebody should know who applies this.
    fn tell(&self, deployed: &Deployed, streams: &mut Streams<'_>) {
        for (server, command) in deployed.programs() {
            let program = &command.program;
            streams.message(format_args!("note: `{server}` is a program: the image must contain `{program}`"));
        }
        if deployed.config.admin.as_ref().is_some_and(|admin| admin.listen.ip().is_loopback()) {
            streams.message("note: /metrics answers on loopback only: for Prometheus, `admin.listen = \"0.0.0.0:9901\"` and `beyond_loopback = true`");
        }
        let others = self.server_image.is_none() && self.upstream_labels.is_empty();
        if others && deployed.config.servers.values().any(|server| matches!(server.backend, Backend::Http(_))) {
            streams.message("note: nothing here keeps others from the upstream: see `--upstream-labels`");
        }
    }

    fn manifests(&self, deployed: &Deployed, mounts: &Mounts, names: &Names<'_>) -> Vec<Value> {
        let mut all = vec![mounts.config_map(names)];
        if deployed.audit_file().is_some() {
            all.push(pod::audit_claim(names));
        }
        let pod = pod::Pod {
            deployed,
            image: &self.image,
            mounts,
            name: names.name,
            server_image: self.server_image.as_deref(),
        };
        all.push(pod.deployment(names, self.replicas));
        all.extend(network::all(deployed, names, &self.upstream_labels));
        all
    }

    /// A comment with the Secrets that must be there, and how they are made.
    fn head(&self, deployed: &Deployed, mounts: &Mounts, name: &str) -> String {
        let mut lines = vec![format!("Made by portcullis {} from proxy.toml.", env!("CARGO_PKG_VERSION"))];
        if self.server_image.is_some() {
            lines.push(
                "Kubernetes 1.30 or newer: the proxy is a sidecar, and the server sleeps before it stops.".to_owned(),
            );
        }
        let namespace = self.namespace.as_ref().map_or_else(String::new, |namespace| format!(" -n {namespace}"));
        let mut secrets = mounts.secrets(name);
        if !deployed.variables.is_empty() {
            let variables: Vec<&str> = deployed.variables.iter().map(String::as_str).collect();
            secrets.push(format!("generic {name}-env --from-env-file=FILE   with {}", variables.join(", ")));
        }
        if !secrets.is_empty() {
            lines.push("The Secrets it reads, which are not in here:".to_owned());
            lines.extend(secrets.iter().map(|secret| format!("  kubectl create secret{namespace} {secret}")));
        }
        format!("# {}\n", lines.join("\n# "))
    }
}

/// Whether an upstream is on the proxy's own machine.
fn is_loopback(backend: &Backend) -> bool {
    let Backend::Http(urls) = backend else { return false };
    urls.iter().any(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    })
}

fn default_name(deployed: &Deployed) -> String {
    let mut servers = deployed.config.servers.keys();
    let only = servers.next().filter(|_| servers.next().is_none());
    let name = only.map(|name| name.to_ascii_lowercase().replace('_', "-"));
    name.filter(|wanted| name_fits(wanted)).unwrap_or_else(|| "portcullis".to_owned())
}

/// A name of RFC 1035 that leaves room for what is put behind it.
fn name_fits(text: &str) -> bool {
    text.len() <= 45
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn name(text: &str) -> Result<String, String> {
    let wanted = "write up to 45 lower-case letters, digits and hyphens, a letter first";
    if name_fits(text) { Ok(text.to_owned()) } else { Err(wanted.to_owned()) }
}

fn label(text: &str) -> Result<(String, String), String> {
    let fits = |part: &str| {
        let is = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        !part.is_empty() && part.len() <= 253 && part.bytes().all(is)
    };
    match text.split_once('=') {
        Some((name, value)) if fits(name) && fits(value) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write a label as `app=crm-mcp`".to_owned()),
    }
}
