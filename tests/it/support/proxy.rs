use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::config;
use portcullis::demo::issuer::{self, Issuer};
use portcullis::instance::Instance;
use portcullis::server::drain::{Drain, Signal};
use portcullis::server::{self, tls};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::check::check;
use super::{Answer, Ask, CRM_POLICY, Client, Folder, until, within};

/// What a proxy is to be started with.
pub(crate) struct Setup {
    upstream: String,
    policy: String,
    server: String,
    listener: String,
    issuer_keys: String,
    tables: String,
    audit: String,
    drain: &'static str,
    issuer: Option<Issuer>,
    folder: Folder,
}

impl Setup {
    /// The sample server in front of that upstream, with the policy the product ships for it.
    pub(crate) fn new(upstream: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            policy: CRM_POLICY.to_owned(),
            server: String::new(),
            listener: String::new(),
            issuer_keys: String::new(),
            tables: String::new(),
            audit: "sinks = [{ type = \"file\", path = \"audit.jsonl\" }]\n".to_owned(),
            drain: "100ms",
            issuer: None,
            folder: Folder::new(),
        }
    }

    pub(crate) fn policy(self, policy: impl Into<String>) -> Self {
        Self { policy: policy.into(), ..self }
    }

    /// More keys of `[servers.crm]`.
    pub(crate) fn server(mut self, keys: &str) -> Self {
        self.server.push_str(keys);
        self.server.push('\n');
        self
    }

    /// More keys of `[server]`.
    pub(crate) fn listener(mut self, keys: &str) -> Self {
        self.listener.push_str(keys);
        self.listener.push('\n');
        self
    }

    /// More keys of `[issuers.corp]`.
    pub(crate) fn issuer_keys(mut self, keys: &str) -> Self {
        self.issuer_keys.push_str(keys);
        self.issuer_keys.push('\n');
        self
    }

    /// More tables.
    pub(crate) fn tables(mut self, tables: &str) -> Self {
        self.tables.push_str(tables);
        self.tables.push('\n');
        self
    }

    /// The keys of `[audit]`.
    pub(crate) fn audit(self, keys: &str) -> Self {
        Self { audit: keys.to_owned(), ..self }
    }

    /// How long running calls get when it ends.
    pub(crate) fn drain(self, drain: &'static str) -> Self {
        Self { drain, ..self }
    }

    /// Behind an issuer that runs already.
    pub(crate) fn issuer(self, issuer: &Issuer) -> Self {
        Self { issuer: Some(issuer.clone()), ..self }
    }

    /// With a file beside `proxy.toml`.
    pub(crate) fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.folder.write(name, bytes);
        self
    }

    fn text(&self, issuer: &str, listen: &str, admin: &str) -> String {
        let Self { upstream, server, listener, issuer_keys, tables, audit, drain, .. } = self;
        let upstream = match upstream.as_str() {
            // A program, which the server's own keys name.
            "" => String::new(),
            list if list.starts_with('[') => format!("upstream = {list}"),
            one => format!("upstream = \"{one}\""),
        };
        format!(
            "[server]\npublic_url = \"https://gw.test\"\nlisten = [\"{listen}\"]\nworkers = 1\n{listener}\n\
             [server.drain]\ndelay = \"0s\"\ntimeout = \"{drain}\"\n\
             [admin]\nlisten = \"{admin}\"\n\
             [issuers.corp]\nissuer = \"{issuer}\"\ninsecure_loopback = true\n{issuer_keys}\n\
             [audit]\n{audit}\n\
             [servers.crm]\npath = \"/crm/mcp\"\n{upstream}\npolicies = [\"crm.toml\"]\nissuers = [\"corp\"]\n{server}\n\
             {tables}\n"
        )
    }

    /// An issuer on a port of its own.
    pub(crate) async fn new_issuer() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = issuer::Settings {
            login: issuer::Login::Hint,
            resources: vec!["https://gw.test/crm/mcp".to_owned()],
            ..issuer::Settings::default()
        };
        Issuer::start(listener, settings).unwrap()
    }

    /// Only the files, for a process of its own; says where `proxy.toml` is.
    pub(crate) async fn write(self, listen: &str, admin: &str) -> (Folder, Issuer) {
        let issuer = match &self.issuer {
            Some(issuer) => issuer.clone(),
            None => Self::new_issuer().await,
        };
        self.folder.write("proxy.toml", self.text(issuer.url(), listen, admin));
        self.folder.write("crm.toml", &self.policy);
        (self.folder, issuer)
    }

    /// Starts it and waits until its issuer has answered.
    pub(crate) async fn start(self) -> Proxy {
        let proxy = self.start_without_keys().await;
        within("the issuer", proxy.instance.settled()).await;
        proxy
    }

    /// Starts it, whatever its issuer says.
    pub(crate) async fn start_without_keys(self) -> Proxy {
        tls::install_default();
        let upstream = self.upstream.split("//").nth(1).unwrap_or_default().trim_end_matches("/mcp").to_owned();
        let (folder, issuer) = self.write("127.0.0.1:0", "127.0.0.1:0").await;
        let path = folder.path("proxy.toml");
        let (config, _) = config::load(&path).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let bound = server::bind(&config.server).unwrap();
        let drain = Drain::new();
        let background = tokio::runtime::Handle::current();
        let (instance, _) = match Instance::start(config, Some(path), bound, &background, drain.clone()).await {
            Ok(started) => started,
            Err(error) => panic!("{error:?}"),
        };
        let instance = Arc::new(instance);
        let (signals, mut received) = mpsc::channel(4);
        let running = instance.clone();
        let ended = tokio::spawn(async move {
            running.run(&mut received).await;
        });
        let (address, admin) = (instance.addresses()[0], instance.admin().unwrap());
        let secrets = Mutex::new(vec![upstream]);
        Proxy { address, admin, folder, issuer, instance, drain, signals, ended, secrets }
    }
}

/// A running proxy; it ends when dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: Folder,
    pub(crate) issuer: Issuer,
    pub(crate) instance: Arc<Instance>,
    drain: Drain,
    signals: mpsc::Sender<Signal>,
    ended: tokio::task::JoinHandle<()>,
    secrets: Mutex<Vec<String>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.abort();
        self.drain.closing().cancel();
        self.drain.ending().cancel();
    }
}

impl Proxy {
    /// A token of ana (crm:read) or max (both) for the sample server.
    pub(crate) fn token(&self, user: &str) -> String {
        self.mint(&token_of(&self.issuer, user))
    }

    /// A token with exactly these claims.
    pub(crate) fn mint(&self, claims: &Map<String, Value>) -> String {
        self.keep_secret(self.issuer.mint_claims(claims).unwrap())
    }

    /// No answer may hold this from now on.
    pub(crate) fn keep_secret(&self, secret: String) -> String {
        self.secrets.lock().unwrap().push(secret.clone());
        secret
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// The answer to `ask` on a connection of its own, checked for what holds of every answer.
    pub(crate) async fn ask(&self, ask: &Ask) -> Answer {
        let mut client = self.client().await;
        client.send(&ask.bytes()).await;
        let answer = if ask.method == "HEAD" { client.head().await } else { client.answer().await };
        let answer = answer.unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(&ask.bytes())));
        let mut checked = answer.clone();
        if ask.method == "HEAD" {
            checked.headers.retain(|(name, _)| name != "content-type");
        }
        self.check(&checked);
        answer
    }

    /// Fails if the answer holds what none may.
    pub(crate) fn check(&self, answer: &Answer) {
        check(answer, &self.secrets.lock().unwrap());
    }

    /// Opens a session of 2025-11-25; gives its id as the client has it.
    pub(crate) async fn open_session(&self, token: &str) -> String {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": { "sampling": {}, "elicitation": {} },
            "clientInfo": { "name": "it", "version": "1" } });
        let answer = self.ask(&Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(token)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("mcp-session-id").expect("no session").to_owned()
    }

    /// A public document.
    pub(crate) async fn ask_raw(&self, target: &str) -> Value {
        let mut client = self.client().await;
        client.send(&Ask::new("GET").target(target).bytes()).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        answer.json()
    }

    /// The audit log so far, line by line, without what the process says of itself.
    pub(crate) fn audit(&self) -> Vec<Value> {
        decisions(&self.folder.read("audit.jsonl"))
    }

    /// Whether the secret is in the audit log or in the metrics.
    pub(crate) async fn assert_not_kept(&self, secret: &str) {
        assert!(!self.folder.read("audit.jsonl").contains(secret), "`{secret}` in the audit log");
        let metrics = self.admin("/metrics").await;
        assert!(!metrics.text().contains(secret), "`{secret}` in the metrics");
    }

    pub(crate) async fn admin(&self, target: &str) -> Answer {
        let mut client = Client::connect(self.admin).await;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        client.answer().await.unwrap()
    }

    pub(crate) async fn signal(&self, signal: Signal) {
        self.signals.send(signal).await.unwrap();
    }

    /// Writes the configuration anew, with `change`, and waits until it is in force.
    pub(crate) async fn reload(&self, change: (&str, &str)) {
        let version = async || {
            let metrics = self.admin("/metrics").await;
            metrics.text().lines().find(|line| line.starts_with("portcullis_config_info")).unwrap().to_owned()
        };
        let before = version().await;
        let text = self.folder.read("proxy.toml");
        let changed = text.replace(change.0, change.1);
        assert_ne!(text, changed);
        self.folder.write("proxy.toml", changed);
        // What says that it is in force is the version of its policy.
        self.folder.write("crm.toml", self.folder.read("crm.toml") + "#\n");
        self.signal(Signal::Reload).await;
        until("the reload", async || (version().await != before).then_some(())).await;
    }

    /// Waits until it has drained.
    pub(crate) async fn ended(&mut self) {
        within("the drain", &mut self.ended).await.unwrap();
    }
}

/// The lines of an audit log that tell of requests. What does not end yet is none: a reader may come by while it is written.
pub(crate) fn decisions(log: &str) -> Vec<Value> {
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")));
    lines.filter(|line: &Value| line.get("decision").is_some()).collect()
}

/// The claims of a token of ana (crm:read), max (crm:read and crm:write) or anyone else (none) for the sample server.
pub(crate) fn token_of(issuer: &Issuer, user: &str) -> Map<String, Value> {
    let scope = match user {
        "ana" => "crm:read",
        "max" => "crm:read crm:write",
        _ => "",
    };
    let now = portcullis::clock::Timestamp::now();
    let claims: BTreeMap<&str, Value> = BTreeMap::from([
        ("iss", json!(issuer.url())),
        ("sub", json!(user)),
        ("aud", json!("https://gw.test/crm/mcp")),
        ("client_id", json!("it")),
        ("scope", json!(scope)),
        ("jti", json!(format!("{user}-{}", now.unix_millis()))),
        ("iat", json!(now.unix_seconds())),
        ("exp", json!(now.plus(Duration::from_hours(1)).unix_seconds())),
    ]);
    claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
