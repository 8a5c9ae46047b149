//! The admin listener: three paths, no browsers, no foreign names.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;

use super::exchange;
use crate::clock::Timestamp;
use crate::config::SecretSource;
use crate::secret::Secret;
use crate::server::admin::{Admin, Control, HealthcheckError, Place, Readiness, healthcheck, serve};
use crate::server::drain::Drain;
use crate::telemetry::metrics::Metrics;

async fn admin(readiness: &Arc<Readiness>) -> (SocketAddr, Drain) {
    admin_with(readiness, None).await
}

async fn admin_with(readiness: &Arc<Readiness>, token: Option<SecretSource>) -> (SocketAddr, Drain) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new("0.1.0", "abc"));
    let drain = Drain::new();
    let control = Control {
        config: Box::new(|| "{}\n".to_owned()),
        drain: drain.clone(),
        reload: Box::new(|| Ok("reloaded\n".to_owned())),
        token,
    };
    let (hosts, readiness) = (vec!["gw.internal".to_owned()], Arc::clone(readiness));
    let admin = Arc::new(Admin { hosts, metrics, readiness, control });
    let until = drain.clone();
    tokio::task::spawn(async move { serve(listener, admin, &until).await });
    (address, drain)
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    let answer = exchange(address, request.as_bytes()).await;
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).expect(&answer);
    (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

#[tokio::test]
async fn answers_three_paths_and_nothing_else() {
    let (address, _drain) = admin(&Arc::new(Readiness::new(Vec::new))).await;
    let host = format!("Host: {address}\r\n");
    assert_eq!(ask(address, "GET", "/livez", &host).await, (200, "ok\n".to_owned()));
    let (status, metrics) = ask(address, "GET", "/metrics", &host).await;
    assert!(status == 200 && metrics.contains("portcullis_build_info") && metrics.ends_with("# EOF\n"));
    for (method, path, headers, expected) in [
        ("GET", "/config", host.as_str(), 404),
        ("GET", "/", &host, 404),
        ("GET", "/livez/", &host, 404),
        ("GET", "//livez", &host, 404),
        ("POST", "/-/reload", &host, 404),
        ("POST", "/livez", &host, 405),
        ("HEAD", "/livez", &host, 405),
        ("DELETE", "/metrics", &host, 405),
        ("GET", "/livez", "Host: localhost\r\n", 200),
        ("GET", "/livez", "Host: LOCALHOST:1\r\n", 200),
        ("GET", "/livez", "Host: [::1]:9901\r\n", 200),
        ("GET", "/livez", "Host: gw.internal:9901\r\n", 200),
        ("GET", "/livez", "Host: evil.test\r\n", 421),
        ("GET", "/livez", "Host: localhost.evil.test\r\n", 421),
        ("GET", "/metrics", "Host: 127.0.0.1.evil.test:9901\r\n", 421),
        ("GET", "/livez", "Host: localhost\r\nOrigin: http://localhost\r\n", 403),
        ("GET", "/livez", "Host: localhost\r\nOrigin: null\r\n", 403),
        ("GET", "/livez", "Host: localhost\r\nHost: localhost\r\n", 400),
        ("GET", "/livez", "", 400),
    ] {
        assert_eq!(ask(address, method, path, headers).await.0, expected, "{method} {path} {headers:?}");
    }
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let waiting = Arc::new(Mutex::new(vec![(Arc::<str>::from("corp"), false), ("other".into(), true)]));
    let shared = Arc::clone(&waiting);
    let readiness = Arc::new(Readiness::new(move || shared.lock().unwrap().clone()));
    let (address, drain) = admin(&readiness).await;
    let host = "Host: localhost\r\n";
    readiness.set_configured("sha256:0123456789abcdef sha256:fedcba9876543210");
    let (status, text) = ask(address, "GET", "/readyz?verbose", host).await;
    assert_eq!(status, 503);
    let expected = "config 0123456789ab+fedcba987654\nissuers 1/2\nlisteners not bound\nissuer `corp` has no keys yet\n\
                    not ready\n";
    assert_eq!(text, expected);
    assert!(
        matches!(healthcheck(&Place::Address(address), true).await, Err(HealthcheckError::Unhealthy(text)) if text.contains("corp"))
    );
    readiness.set_listening(2);
    waiting.lock().unwrap().truncate(0);
    assert_eq!(ask(address, "GET", "/readyz", host).await, (200, "ready\n".to_owned()));
    assert_eq!(
        healthcheck(&Place::Address(address), true).await.unwrap(),
        "config 0123456789ab+fedcba987654\nissuers 0/0\nlisteners 2/2\nready"
    );
    readiness.set_reload(Some(Timestamp::from_unix_seconds(1_767_614_400)));
    readiness.set_reload(Some(Timestamp::from_unix_seconds(1_767_614_500)));
    let (status, text) = ask(address, "GET", "/readyz?verbose", host).await;
    assert!(status == 200 && text.contains("reloads fail since 2026-01-05T12:00:00.000Z"), "{text}");
    readiness.set_audit(|| Some("audit cannot be written: calls are refused"));
    let (status, text) = ask(address, "GET", "/readyz?verbose", host).await;
    assert!(status == 200 && text.contains("\naudit cannot be written: calls are refused\n"), "{text}");
    readiness.set_reload(None);
    readiness.set_draining();
    assert_eq!(ask(address, "GET", "/readyz", host).await, (503, "not ready\n".to_owned()));
    assert_eq!(healthcheck(&Place::Address(address), false).await.unwrap(), "ok");
    drain.aborting().cancel();
}

#[tokio::test]
async fn a_health_check_of_nobody_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(matches!(healthcheck(&Place::Address(address), false).await, Err(HealthcheckError::Connect { .. })));
}

#[tokio::test]
async fn over_tcp_nothing_changes_the_process_without_the_token() {
    let token = SecretSource::Value(Secret::new("s3cret".to_owned()));
    let (address, drain) = admin_with(&Arc::new(Readiness::new(Vec::new)), Some(token)).await;
    let closing = || drain.closing().is_cancelled();
    for (method, path, headers, expected) in [
        ("POST", "/-/reload", "", 401),
        ("GET", "/config", "", 401),
        ("GET", "/config", "Authorization: Bearer s3cret\r\n", 200),
        ("POST", "/-/drain", "Authorization: Bearer s3cre\r\n", 401),
        ("POST", "/-/drain", "Authorization: Bearer \r\n", 401),
        ("POST", "/-/drain", "Authorization: Basic s3cret\r\n", 401),
        ("POST", "/-/drain", "Authorization: Bearer s3cret\r\nAuthorization: Bearer s3cret\r\n", 401),
        ("POST", "/-/drain", "Authorization: Bearer s3cret\r\nOrigin: http://localhost\r\n", 403),
        ("GET", "/-/drain", "", 401),
        ("GET", "/-/drain", "Authorization: Bearer s3cret\r\n", 405),
        ("POST", "/-/log?level=debug", "", 401),
        ("POST", "/-/log?level=a=b=c", "Authorization: Bearer s3cret\r\n", 400),
        ("POST", "/-/log", "Authorization: Bearer s3cret\r\n", 400),
        ("POST", "/-/reload", "Authorization: Bearer s3cret\r\n", 200),
        ("GET", "/livez", "", 200),
    ] {
        let headers = format!("Host: localhost\r\n{headers}");
        assert_eq!(ask(address, method, path, &headers).await.0, expected, "{method} {path} {headers:?}");
        assert!(!closing());
    }
}

#[tokio::test]
async fn readiness_asks_for_upstreams_only_where_that_is_wanted() {
    let readiness = Arc::new(Readiness::new(Vec::new));
    readiness.set_configured("sha256:ab");
    readiness.set_listening(1);
    let (address, _drain) = admin(&readiness).await;
    let verbose = async || ask(address, "GET", "/readyz?verbose", "Host: localhost\r\n").await;
    assert_eq!(verbose().await.0, 200);
    readiness.require_upstreams();
    let (status, text) = verbose().await;
    assert!(status == 503 && text.contains("\nupstreams not tried yet\n"), "{text}");
    readiness.set_upstreams(vec![("crm".into(), true), ("wiki".into(), false)]);
    let (status, text) = verbose().await;
    assert!(status == 503 && text.contains("\nupstream of `wiki` is not reached\n") && !text.contains("crm"), "{text}");
    readiness.set_upstreams(vec![("crm".into(), true), ("wiki".into(), true)]);
    assert_eq!(verbose().await.0, 200);
}
