//! An issuer on loopback: discovery, rotation, outage, hostile answers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::runtime::Handle;

use crate::auth::VerifyError;
use crate::auth::issuer::reader::Patience;
use crate::auth::issuer::{Epoch, Issuer, Issuers, StartError, TokenEndpoint};
use crate::auth::keys::Algorithm;
use crate::auth::tests::support::{Answer, Fake, NOW, Signer, issuer_config, jwks};
use crate::{clock, config};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const HOUR: Duration = Duration::from_hours(1);

struct Rig {
    fake: Fake,
    epoch: Epoch,
    issuer: std::sync::Arc<Issuer>,
}

/// An issuer at the fake's origin whose metadata is where RFC 8414 has it.
async fn rig(keys: Answer) -> Rig {
    let fake = Fake::start().await;
    fake.set(OAUTH, fake.metadata(&fake.url("")));
    fake.set("/keys", keys);
    start(fake, "", |_| {}).await
}

async fn start(fake: Fake, path: &str, change: impl Fn(&mut config::Issuer)) -> Rig {
    let mut config = issuer_config(&fake.url(path));
    change(&mut config);
    let epoch = Epoch::default();
    let issuer = Issuer::start(&config, epoch.clone(), &Handle::current()).unwrap();
    issuer.settled().await;
    Rig { fake, epoch, issuer }
}

impl Rig {
    async fn find(&self, kid: &str) -> Result<usize, VerifyError> {
        self.find_at(kid, clock::monotonic()).await
    }

    async fn find_at(&self, kid: &str, now: Instant) -> Result<usize, VerifyError> {
        self.issuer.keys(Some(kid), Algorithm::Es256, now).await.map(|keys| keys.len())
    }

    fn last_error(&self) -> String {
        self.issuer.status().last_error.unwrap_or_default().to_string()
    }
}

fn es256(kids: &[&str]) -> Answer {
    Answer::ok(jwks(&kids.iter().map(|kid| Signer::p256().jwk(kid)).collect::<Vec<_>>()))
}

fn is_unavailable(result: Result<usize, VerifyError>) -> bool {
    result.is_err_and(|error| error.is_unavailable())
}

#[tokio::test]
async fn keys_are_there_before_they_are_needed() {
    let rig = rig(es256(&["a", "b"])).await;
    assert_eq!(rig.find("a").await, Ok(1));
    let status = rig.issuer.status();
    assert_eq!((status.keys, status.succeeded, status.failed, status.last_error), (2, 1, 0, None));
    assert!(status.last_success.is_some());
    assert_eq!(rig.fake.seen(), [OAUTH, OPENID, "/keys"]);
    assert_eq!(rig.epoch.now(), 1);
}

/// K2.
#[tokio::test]
async fn forty_unknown_kids_in_a_row_cause_at_most_five_fetches() {
    let rig = rig(es256(&["a"])).await;
    for number in 0..40 {
        assert_eq!(rig.find(&format!("unknown-{number}")).await, Err(VerifyError::UnknownKey));
        assert_eq!(rig.find("a").await, Ok(1));
    }
    assert_eq!(rig.fake.count("/keys"), 6, "the first one and the burst");
    assert_eq!(rig.fake.count(OAUTH), 1);
    assert_eq!(rig.epoch.now(), 1, "nothing changed");
}

/// K6.
#[tokio::test]
async fn forty_unknown_kids_at_once_share_one_fetch() {
    let rig = rig(es256(&["a"])).await;
    rig.fake.hold();
    rig.fake.arrival().await;
    let kids: Vec<_> = (0..40).map(|number| format!("unknown-{number}")).collect();
    let asked = join_all(kids.iter().map(|kid| rig.find(kid)));
    let answer = async {
        while rig.fake.count("/keys") < 2 {
            rig.fake.arrival().await;
        }
        rig.fake.release();
    };
    let (results, ()) = tokio::join!(asked, answer);
    assert!(results.iter().all(|result| *result == Err(VerifyError::UnknownKey)));
    assert_eq!(rig.fake.count("/keys"), 2);
}

#[tokio::test]
async fn a_first_request_waits_for_the_first_fetch() {
    let fake = Fake::start().await;
    fake.set(OAUTH, fake.metadata(&fake.url("")));
    fake.set("/keys", es256(&["a"]));
    fake.hold();
    let issuer = Issuer::start(&issuer_config(&fake.url("")), Epoch::default(), &Handle::current()).unwrap();
    let release = async {
        fake.arrival().await;
        fake.release();
    };
    let (keys, ()) = tokio::join!(issuer.keys(Some("a"), Algorithm::Es256, clock::monotonic()), release);
    assert_eq!(keys.unwrap().len(), 1);
}

/// K4.
#[tokio::test]
async fn rfc_7517_rotation_brings_the_new_key_and_takes_the_old_one() {
    let rig = rig(es256(&["old"])).await;
    rig.fake.set("/keys", es256(&["new"]));
    assert_eq!(rig.find("old").await, Ok(1), "nobody has asked yet");
    assert_eq!(rig.find("new").await, Ok(1));
    assert_eq!(rig.epoch.now(), 2);
    assert_eq!(rig.find("old").await, Err(VerifyError::UnknownKey));
}

#[tokio::test]
async fn the_same_keys_in_another_order_change_nothing() {
    let (one, two) = (Signer::p256().jwk("a"), Signer::p256().jwk("b"));
    let rig = rig(Answer::ok(jwks(&[one.clone(), two.clone()]))).await;
    rig.fake.set("/keys", Answer::ok(jwks(&[two, one])));
    assert_eq!(rig.find("c").await, Err(VerifyError::UnknownKey));
    assert_eq!((rig.fake.count("/keys"), rig.epoch.now()), (2, 1));
}

/// K5.
#[tokio::test]
async fn an_outage_keeps_known_keys_and_refuses_nobody() {
    let rig = rig(es256(&["a"])).await;
    rig.fake.set("/keys", Answer::status(500));
    rig.fake.set(OAUTH, Answer::status(500));
    for _ in 0..10 {
        assert!(is_unavailable(rig.find("b").await), "nobody can say whether there is such a key");
        assert_eq!(rig.find("a").await, Ok(1));
    }
    assert!(rig.last_error().contains("500"), "{}", rig.last_error());
    let now = clock::monotonic();
    assert_eq!(rig.find_at("a", now + 23 * HOUR).await, Ok(1));
    assert!(is_unavailable(rig.find_at("a", now + 25 * HOUR).await), "too old to be believed");
    assert_eq!(rig.issuer.status().keys, 1);
}

#[tokio::test]
async fn keys_past_max_stale_are_dropped_and_verdicts_with_them() {
    let fake = Fake::start().await;
    fake.set("/jwks", es256(&["a"]));
    let url: url::Url = fake.url("/jwks").parse().unwrap();
    let rig = start(fake, "", |config| {
        config.jwks_uri = Some(url.clone());
        config.max_stale = Duration::ZERO;
    })
    .await;
    assert!(is_unavailable(rig.find("a").await));
    assert_eq!((rig.issuer.status().keys, rig.epoch.now()), (1, 1));
    rig.fake.set("/jwks", Answer::status(503));
    rig.issuer.ring.refresh().await;
    assert_eq!((rig.issuer.status().keys, rig.epoch.now()), (0, 2));
}

#[tokio::test]
async fn an_issuer_that_is_away_at_first_is_found_later() {
    let fake = Fake::start().await;
    let rig = start(fake, "", |_| {}).await;
    assert!(is_unavailable(rig.find("a").await));
    rig.fake.set(OAUTH, rig.fake.metadata(&rig.fake.url("")));
    rig.fake.set("/keys", es256(&["a"]));
    rig.issuer.ring.refresh().await;
    assert_eq!(rig.find("a").await, Ok(1));
}

#[tokio::test]
async fn rfc_8414_metadata_is_looked_for_in_order_and_must_name_the_issuer() {
    let inserted = [format!("{OAUTH}/realms/acme"), format!("{OPENID}/realms/acme"), format!("/realms/acme{OPENID}")];
    for served in 0..3 {
        let fake = Fake::start().await;
        let issuer = fake.url("/realms/acme");
        // Everything before the right one is there, but of another issuer: with a slash, of the origin, without a name.
        let wrong = [format!("{issuer}/"), fake.url("")];
        for (path, name) in inserted.iter().zip(&wrong).take(served) {
            fake.set(path, fake.metadata(name));
        }
        fake.set(&inserted[served], fake.metadata(&issuer));
        fake.set("/keys", es256(&["a"]));
        let rig = start(fake, "/realms/acme", |_| {}).await;
        assert_eq!(rig.find("a").await, Ok(1), "{served}");
        let mut expected = inserted.to_vec();
        expected.push("/keys".into());
        assert_eq!(rig.fake.seen(), expected, "the rest is asked for whether it disagrees");
    }
}

#[tokio::test]
async fn openid_connect_discovery_and_rfc_8414_must_agree() {
    for agree in [true, false] {
        let fake = Fake::start().await;
        fake.set(OAUTH, fake.metadata(&fake.url("")));
        let other = if agree { "/keys" } else { "/other" };
        let document = json!({"issuer": fake.url(""), "jwks_uri": fake.url(other)});
        fake.set(OPENID, Answer::ok(document.to_string()));
        fake.set("/keys", es256(&["a"]));
        fake.set("/other", es256(&["a"]));
        let rig = start(fake, "", |_| {}).await;
        assert_eq!(rig.find("a").await.is_ok(), agree);
        assert_eq!(rig.last_error().contains("names another `jwks_uri`"), !agree, "{}", rig.last_error());
        assert_eq!(rig.fake.count("/other"), 0);
    }
}

#[tokio::test]
async fn discovery_asks_only_for_the_documents_it_may() {
    for (discovery, expected) in
        [(config::Discovery::OAuth, [OAUTH, "/keys"]), (config::Discovery::OpenId, [OPENID, "/keys"])]
    {
        let fake = Fake::start().await;
        fake.set(OAUTH, fake.metadata(&fake.url("")));
        fake.set(OPENID, fake.metadata(&fake.url("")));
        fake.set("/keys", es256(&["a"]));
        let rig = start(fake, "", |config| config.discovery = discovery).await;
        assert_eq!(rig.find("a").await, Ok(1));
        assert_eq!(rig.fake.seen(), expected);
    }
}

/// The issuer still publishes it, and nobody is asked about it again.
#[tokio::test]
async fn a_denied_key_is_refused_without_a_fetch() {
    let fake = Fake::start().await;
    fake.set(OAUTH, fake.metadata(&fake.url("")));
    fake.set("/keys", es256(&["a", "stolen"]));
    let rig = start(fake, "", |config| config.deny_kids = vec!["stolen".into(), "gone".into()]).await;
    let fetched = rig.fake.seen().len();
    for kid in ["stolen", "gone", "stolen"] {
        assert_eq!(rig.find(kid).await, Err(VerifyError::UnknownKey));
    }
    assert_eq!((rig.find("a").await, rig.issuer.status().keys), (Ok(1), 1));
    assert_eq!(rig.fake.seen().len(), fetched);
    let only = Fake::start().await;
    only.set(OAUTH, only.metadata(&only.url("")));
    only.set("/keys", es256(&["stolen"]));
    let rig = start(only, "", |config| config.deny_kids = vec!["stolen".into()]).await;
    assert_eq!(rig.find("stolen").await, Err(VerifyError::UnknownKey), "not merely unavailable");
}

#[tokio::test]
async fn metadata_of_another_issuer_alone_brings_no_keys() {
    for issuer in ["https://evil.example", ""] {
        let fake = Fake::start().await;
        fake.set(OPENID, fake.metadata(issuer));
        fake.set("/keys", es256(&["a"]));
        let rig = start(fake, "", |_| {}).await;
        assert!(is_unavailable(rig.find("a").await));
        assert!(rig.last_error().contains("names issuer"), "{}", rig.last_error());
        assert_eq!(rig.fake.count("/keys"), 0);
    }
}

/// K1.
#[tokio::test]
async fn a_learned_location_elsewhere_is_not_visited() {
    let elsewhere = Fake::start().await;
    elsewhere.set("/keys", es256(&["a"]));
    let port = elsewhere.address.port();
    for location in [
        format!("http://localhost:{port}/keys"),
        format!("https://127.0.0.2:{port}/keys"),
        "file:///etc/passwd".into(),
        "http://169.254.169.254/latest".into(),
        "/keys".into(),
        String::new(),
    ] {
        let fake = Fake::start().await;
        fake.set(OAUTH, Answer::ok(json!({"issuer": fake.url(""), "jwks_uri": location}).to_string()));
        let rig = start(fake, "", |_| {}).await;
        assert!(is_unavailable(rig.find("a").await), "{location}");
        assert!(rig.last_error().contains("`jwks_uri`"), "{}", rig.last_error());
    }
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn a_learned_name_that_is_not_public_is_not_connected_to() {
    let fake = Fake::start().await;
    fake.set(OAUTH, Answer::ok(json!({"issuer": fake.url(""), "jwks_uri": "https://localhost/keys"}).to_string()));
    let rig = start(fake, "", |_| {}).await;
    assert!(is_unavailable(rig.find("a").await));
    assert!(rig.last_error().contains("not a public address"), "{}", rig.last_error());
}

/// K3, and what else an answer can be.
#[tokio::test]
async fn a_hostile_answer_never_replaces_good_keys() {
    let elsewhere = Fake::start().await;
    elsewhere.set("/keys", es256(&["evil"]));
    let keys = |count: usize| jwks(&vec![json!({"kty": "oct"}); count]);
    let answers = [
        ("refused redirect", Answer::status(302).with("location", elsewhere.url("/keys")), "302"),
        ("permanent redirect", Answer::status(308).with("location", elsewhere.url("/keys")), "308"),
        ("no content", Answer::status(204), "204"),
        ("page", Answer::ok("<html>"), "strict JSON"),
        ("empty", Answer::ok(""), "strict JSON"),
        ("duplicate", Answer::ok(r#"{"keys":[],"keys":[]}"#), "strict JSON"),
        ("trailing", Answer::ok(r#"{"keys":[]}{"#), "strict JSON"),
        ("no keys", Answer::ok(r#"{"keys":{}}"#), "no array"),
        ("array", Answer::ok("[]"), "no array"),
        ("none", Answer::ok(r#"{"keys":[]}"#), "no usable"),
        ("all dropped", Answer::ok(keys(100)), "no usable"),
        ("too many", Answer::ok(keys(101)), "more than 100"),
        ("too long", Answer::ok(" ".repeat(256 * 1024 + 1)), "answers with more than 256 KiB"),
        ("coded", Answer::ok(jwks(&[Signer::p256().jwk("evil")])).with("content-encoding", "gzip"), "content coding"),
    ];
    for (name, answer, error) in answers {
        let rig = rig(es256(&["a"])).await;
        rig.fake.set("/keys", answer);
        assert!(is_unavailable(rig.find("evil").await), "{name}");
        assert!(rig.last_error().contains(error), "{name}: {}", rig.last_error());
        assert_eq!((rig.find("a").await, rig.epoch.now()), (Ok(1), 1), "{name}");
    }
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn rfc_7517_one_bad_key_does_not_spoil_the_set() {
    let good = Signer::p256().jwk("good");
    let mut private = Signer::p256().jwk("private");
    private["d"] = json!("AAAA");
    let mut enc = Signer::p256().jwk("enc");
    enc["use"] = json!("enc");
    let mut ops = Signer::p256().jwk("ops");
    ops["key_ops"] = json!(["encrypt"]);
    let mut other_alg = Signer::p256().jwk("alg");
    other_alg["alg"] = json!("ES384");
    let mut off_curve = Signer::p256().jwk("off");
    off_curve["x"] = off_curve["y"].clone();
    let mut padded = Signer::p256().jwk("padded");
    padded["x"] = json!(format!("{}=", padded["x"].as_str().unwrap()));
    let set = [
        json!(null),
        json!(1),
        json!([]),
        json!({}),
        json!({"kty": 1}),
        json!({"kty": "oct", "k": "AAAA", "kid": "oct"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44"}),
        json!({"kty": "OKP", "crv": "Ed448", "x": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "small"}),
        json!({"kty": "RSA", "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "kid": "small-order"}),
        private,
        enc,
        ops,
        other_alg,
        off_curve,
        padded,
        json!({"kty": "EC", "kid": 7}),
        Signer::p256().jwk(&"k".repeat(257)),
        Signer::p256().jwk("twin"),
        Signer::p256().jwk("twin"),
        good.clone(),
        good,
    ];
    let rig = rig(Answer::ok(jwks(&set))).await;
    assert_eq!(rig.find("good").await, Ok(1));
    assert_eq!(rig.issuer.status().keys, 1);
    assert_eq!(rig.find("twin").await, Err(VerifyError::UnknownKey));
}

/// K6.
#[tokio::test]
async fn a_slow_issuer_holds_up_only_its_own_unknown_keys() {
    let (slow, quick) = (rig(es256(&["a"])).await, rig(es256(&["b"])).await);
    slow.fake.hold();
    let waiting = slow.find("unknown");
    tokio::pin!(waiting);
    tokio::select! {
        biased;
        result = &mut waiting => panic!("{result:?}"),
        () = async { while slow.fake.count("/keys") < 2 { slow.fake.arrival().await; } } => {}
    }
    assert_eq!(slow.find("a").await, Ok(1));
    assert_eq!(quick.find("b").await, Ok(1));
    assert_eq!(quick.find("c").await, Err(VerifyError::UnknownKey));
    slow.fake.release();
    assert_eq!(waiting.await, Err(VerifyError::UnknownKey));
}

#[tokio::test]
async fn an_issuer_that_never_answers_is_given_up_on() {
    let fake = Fake::start().await;
    fake.hold();
    let patience = Patience { connect: HOUR, request: HOUR, fetch: Duration::from_millis(20) };
    let config = issuer_config(&fake.url(""));
    let revocations = std::sync::Arc::new(crate::auth::Revocations::new(Epoch::default()));
    let issuer =
        Issuer::start_with(&config, Epoch::default(), &Handle::current(), patience, revocations, None).unwrap();
    issuer.settled().await;
    assert!(issuer.status().last_error.unwrap().contains("no answer within"));
}

#[tokio::test]
async fn waiting_requests_are_sent_home_when_the_runtime_ends() {
    let fake = Fake::start().await;
    fake.hold();
    let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let issuer = Issuer::start(&issuer_config(&fake.url("")), Epoch::default(), background.handle()).unwrap();
    fake.arrival().await;
    let waiting = issuer.keys(Some("a"), Algorithm::Es256, clock::monotonic());
    let (result, ()) = tokio::join!(waiting, async { background.shutdown_background() });
    assert!(result.is_err_and(|error| error.is_unavailable()));
}

#[tokio::test]
async fn the_registry_keeps_what_a_reload_does_not_touch() {
    let fake = Fake::start().await;
    fake.set(OAUTH, fake.metadata(&fake.url("")));
    fake.set("/keys", es256(&["a"]));
    let issuers = Issuers::new(Handle::current(), Epoch::default());
    assert!(issuers.ready());
    let config = issuer_config(&fake.url(""));
    let one = issuers.get_or_start(&config).unwrap();
    assert!(!issuers.ready());
    one.settled().await;
    assert!(issuers.ready());
    assert!(std::sync::Arc::ptr_eq(&one, &issuers.get_or_start(&config).unwrap()));
    let mut changed = config.clone();
    changed.tokens.tenants = vec!["acme".into()];
    let two = issuers.get_or_start(&changed).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&one, &two));
    issuers.retain(std::slice::from_ref(&two), &[]);
    assert_eq!(issuers.all().len(), 1);
}

#[tokio::test]
async fn an_issuer_of_a_private_authority_needs_its_ca_file() {
    let (fake, pem) = Fake::start_tls().await;
    let (_other, other_pem) = Fake::start_tls().await;
    let origin = format!("https://localhost:{}", fake.address.port());
    let folder = std::env::temp_dir().join(format!("portcullis-auth-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    fake.set(OAUTH, Answer::ok(json!({"issuer": origin, "jwks_uri": format!("{origin}/keys")}).to_string()));
    fake.set("/keys", es256(&["a"]));
    let issuers = Issuers::new(Handle::current(), Epoch::default());
    let mut config = issuer_config(&origin);
    config.insecure_loopback = false;
    config.ca_file = Some(folder.join("ca.pem"));
    // The same file with other contents is another client: no TLS session from before is resumed.
    for (pem, trusted) in [(pem, true), (other_pem, false)] {
        std::fs::write(folder.join("ca.pem"), pem).unwrap();
        let issuer = issuers.get_or_start(&config).unwrap();
        issuer.settled().await;
        assert_eq!(issuer.status().last_error.is_none(), trusted, "{:?}", issuer.status());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn mistakes_are_told_at_start() {
    let started = |change: &dyn Fn(&mut config::Issuer)| {
        let mut config = issuer_config("http://127.0.0.1:1");
        change(&mut config);
        Issuer::start(&config, Epoch::default(), &Handle::current()).map(drop)
    };
    assert!(started(&|_| {}).is_ok());
    assert!(
        matches!(started(&|config| config.tokens.algorithms.push("HS256".into())), Err(StartError::Algorithm(name)) if name == "HS256")
    );
    assert!(matches!(started(&|config| config.tokens.algorithms.push("none".into())), Err(StartError::Algorithm(_))));
    assert!(matches!(started(&|config| config.issuer = "corp".into()), Err(StartError::Issuer)));
    assert!(matches!(started(&|config| config.issuer = "https://h/?x".into()), Err(StartError::Issuer)));
    assert!(matches!(started(&|config| config.insecure_loopback = false), Err(StartError::Location { .. })));
    assert!(matches!(
        started(&|config| config.jwks_uri = Some("http://h/keys".parse().unwrap())),
        Err(StartError::Location { .. })
    ));
    assert!(matches!(
        started(&|config| config.ca_file = Some("/nonexistent/ca.pem".into())),
        Err(StartError::CaFileUnread { .. })
    ));
    assert!(matches!(started(&|config| config.ca_file = Some("Cargo.toml".into())), Err(StartError::CaFile)));
}

/// However many calls need a token at once, its issuer is not asked for each where to get one.
#[tokio::test]
async fn an_endpoint_that_is_not_found_is_looked_for_once_by_all_who_wait() {
    let fake = Fake::start().await;
    let text = format!(
        "[server]\npublic_url = \"https://mcp.example.com\"\nlisten = \"127.0.0.1:0\"\n\
         [issuers.corp]\nissuer = \"https://login.example.com\"\n\
         [servers.crm]\npath = \"/mcp\"\nupstream = \"http://127.0.0.1:1/mcp\"\npolicies = [\"crm.toml\"]\n\
         upstream_auth = {{ type = \"client_credentials\", issuer = \"{}\", client_id = \"gate\", client_secret = {{ env = \"PATH\" }} }}\n",
        fake.url("")
    );
    let (config, _) = config::parse(&text, std::path::Path::new("proxy.toml")).unwrap();
    let config::UpstreamAuth::Granted(grant) = &config.servers["crm"].upstream_auth else { panic!() };
    let endpoint = TokenEndpoint::new(&grant.server, &Handle::current()).unwrap();
    let answers = join_all((0..20).map(|_| endpoint.ask(&[], NOW, clock::monotonic()))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(fake.seen().len(), 2, "both documents: {:?}", fake.seen());
    assert!(endpoint.ask(&[], NOW, clock::monotonic()).await.is_err());
    assert_eq!(fake.seen().len(), 4, "who comes later asks anew");
}
