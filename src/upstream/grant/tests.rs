//! When tokens are asked for, by a clock that is moved.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::{Broker, Credential, GrantError, Held, Holder, Moment};
use crate::auth::{Bearer, Epoch};
use crate::clock::{Timestamp, monotonic};
use crate::config::{self, UpstreamAuth};
use crate::policy::tests::caller;
use crate::telemetry::metrics::Metrics;

const LIFETIME: u64 = 100;

/// A token endpoint that numbers what it gives out, or fails.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

impl Server {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (server, address) = (Self::default(), listener.local_addr().unwrap());
        let serving = server.clone();
        Handle::current().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut heard = Vec::new();
                // The form ends with what is asked for last.
                while !heard.ends_with(b"scope=last") {
                    let _ = stream.read_buf(&mut heard).await.unwrap();
                }
                let at = serving.asked.fetch_add(1, Ordering::SeqCst) + 1;
                let (status, body) = if serving.fails.load(Ordering::SeqCst) {
                    ("503 Away", String::new())
                } else {
                    let text = format!("{{\"access_token\":\"issued-{at}\",\"token_type\":\"Bearer\",\"expires_in\":{LIFETIME},\"issued_token_type\":\"urn:ietf:params:oauth:token-type:access_token\"}}");
                    ("200 OK", text)
                };
                let length = body.len();
                let start = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all((start + &body).as_bytes()).await.unwrap();
            }
        });
        (server, format!("http://{address}/token"))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A broker as `proxy.toml` would have it.
fn broker(kind: &str, endpoint: &str) -> Arc<Broker> {
    let text = format!(
        "[server]\npublic_url = \"https://mcp.example.com\"\nlisten = \"127.0.0.1:0\"\n\
         [issuers.corp]\nissuer = \"https://login.example.com\"\n\
         [servers.crm]\npath = \"/mcp\"\nupstream = \"http://127.0.0.1:1/mcp\"\npolicies = [\"crm.toml\"]\n\
         upstream_auth = {{ type = \"{kind}\", token_endpoint = \"{endpoint}\", client_id = \"gate\", client_secret = {{ env = \"PATH\" }}, scopes = [\"last\"] }}\n"
    );
    let (config, _) = config::parse(&text, std::path::Path::new("proxy.toml")).unwrap();
    let UpstreamAuth::Granted(grant) = &config.servers["crm"].upstream_auth else { panic!() };
    let metrics = Arc::new(Metrics::new("0", ""));
    Arc::new(Broker::new(&"crm".into(), grant, [0; 32], &Handle::current(), &metrics, &Epoch::default()).unwrap())
}

/// What the upstream is shown by a call so many seconds after the first.
struct Calls {
    broker: Arc<Broker>,
    first: Moment,
}

impl Calls {
    fn of(kind: &str, endpoint: &str) -> Self {
        Self { broker: broker(kind, endpoint), first: Moment { wall: Timestamp::now(), monotonic: monotonic() } }
    }

    /// A call of somebody else's, with the first.
    async fn of_another(&self, name: &str) -> Result<String, GrantError> {
        let mut other = caller("");
        other.subject = name.into();
        other.expires = self.first.wall.plus(Duration::from_hours(1));
        let token = Some(Bearer::new(name.as_bytes()));
        let granted = self.broker.credential_at(&Arc::new(other), token, self.first).await?;
        Ok(granted.credential().token().unwrap().expose().clone())
    }

    async fn at(&self, seconds: u64) -> Result<String, GrantError> {
        let moved = Duration::from_secs(seconds);
        let moment = Moment { wall: self.first.wall.plus(moved), monotonic: self.first.monotonic + moved };
        let mut ana = caller("");
        ana.expires = self.first.wall.plus(Duration::from_hours(1));
        let granted = self.broker.credential_at(&Arc::new(ana), Some(Bearer::new(b"anas")), moment).await?;
        Ok(granted.credential().token().unwrap().expose().clone())
    }

    /// The same until another token than `old` is shown, which is asked for beside the calls.
    async fn after(&self, seconds: u64, old: &str) -> String {
        for _ in 0..10_000 {
            let shown = self.at(seconds).await.unwrap();
            if shown != old {
                return shown;
            }
            tokio::task::yield_now().await;
            let _ = tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
        }
        panic!("{old} is still shown");
    }
}

#[tokio::test]
async fn the_next_token_is_asked_for_while_the_old_one_serves() {
    for kind in ["client_credentials", "token_exchange"] {
        let (server, endpoint) = Server::start().await;
        let calls = Calls::of(kind, &endpoint);
        for seconds in [0, 1, 50, 74] {
            assert_eq!(calls.at(seconds).await.unwrap(), "issued-1", "{kind} {seconds}");
        }
        assert_eq!(server.asked(), 1, "{kind}");
        // Between three quarters and 85 hundredths of its life; nobody waits for it.
        assert_eq!(calls.at(86).await.unwrap(), "issued-1", "{kind}");
        assert_eq!(calls.after(86, "issued-1").await, "issued-2", "{kind}");
        for seconds in [87, 100, 150, 160] {
            assert_eq!(calls.at(seconds).await.unwrap(), "issued-2", "{kind} {seconds}");
        }
        assert_eq!(server.asked(), 2, "{kind}");
        // Long after both there is one more request, which the call waits for.
        assert_eq!(calls.at(1000).await.unwrap(), "issued-3", "{kind}");
        assert_eq!(server.asked(), 3, "{kind}");
    }
}

#[tokio::test]
async fn an_early_request_that_fails_costs_nobody_anything_until_the_old_token_is_over() {
    let (server, endpoint) = Server::start().await;
    let calls = Calls::of("client_credentials", &endpoint);
    assert_eq!(calls.at(0).await.unwrap(), "issued-1");
    server.fails.store(true, Ordering::SeqCst);
    for seconds in 80..90 {
        assert_eq!(calls.at(seconds).await.unwrap(), "issued-1", "{seconds}");
    }
    // A tenth of its life before the end it is not shown any more.
    assert!(matches!(calls.at(91).await, Err(GrantError::Unavailable { .. })));
    server.fails.store(false, Ordering::SeqCst);
    assert!(calls.at(400).await.unwrap().starts_with("issued-"));
}

#[tokio::test]
async fn many_callers_at_once_wait_for_their_turn_and_have_a_token_each() {
    let (server, endpoint) = Server::start().await;
    let calls = Calls::of("token_exchange", &endpoint);
    let names: Vec<_> = (0..300).map(|at| format!("caller-{at}")).collect();
    let tokens = futures_util::future::join_all(names.iter().map(|name| calls.of_another(name))).await;
    let tokens: HashSet<_> = tokens.into_iter().map(Result::unwrap).collect();
    assert_eq!((tokens.len(), server.asked()), (300, 300), "to each its own");
}

#[tokio::test]
async fn who_waits_while_the_server_begins_to_fail_is_told_so_and_does_not_ask() {
    let (server, endpoint) = Server::start().await;
    server.fails.store(true, Ordering::SeqCst);
    let calls = Calls::of("token_exchange", &endpoint);
    let names: Vec<_> = (0..300).map(|at| format!("caller-{at}")).collect();
    let tokens = futures_util::future::join_all(names.iter().map(|name| calls.of_another(name))).await;
    let away =
        |result: &Result<_, GrantError>| matches!(result, Err(GrantError::Unavailable { reason: "server_error", .. }));
    assert!(tokens.iter().all(away), "{tokens:?}");
    assert!(server.asked() < 80, "{}", server.asked());
}

#[tokio::test]
async fn a_new_callers_token_is_held_however_full_it_is() {
    let (room, now) = (super::held(10), monotonic());
    let token = || {
        Arc::new(Held {
            credential: Credential::NONE,
            caller: None,
            bytes: 100,
            asked: now,
            refresh: now + Duration::from_mins(1),
            until: now + Duration::from_mins(2),
            refreshing: AtomicBool::new(false),
            taken: AtomicBool::new(false),
        })
    };
    for number in 0..10 {
        room.insert(Holder([number; 32]), token()).await;
    }
    for number in (0..10).cycle().take(1000) {
        assert!(room.get(&Holder([number; 32])).await.is_some(), "used often");
    }
    for number in 10..20 {
        room.insert(Holder([number; 32]), token()).await;
        room.run_pending_tasks().await;
        assert!(room.get(&Holder([number; 32])).await.is_some(), "{number}");
        assert_eq!(room.entry_count(), 10);
    }
}
