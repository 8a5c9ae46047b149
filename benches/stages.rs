//! The stages of a call by themselves, on one thread, with what they take from the heap: `cargo bench --bench stages`.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to go on with")]

#[path = "path/issuer.rs"]
mod issuer;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use http::{HeaderMap, HeaderValue, header};
use portcullis::audit::{self, Audit, Client, Lane, Record, Subject};
use portcullis::auth::{Acceptance, Bearer, Issuers, Memo, Verifier};
use portcullis::clock::Timestamp;
use portcullis::config::{self, Problems};
use portcullis::json::{Document, Limits, Splice};
use portcullis::mask::{self, Direction, Findings, Masks, View};
use portcullis::mcp::{self, Head, Known, Revision, SubjectKind};
use portcullis::policy::{self, Context, Operation};

const REQUEST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_contacts","arguments":{"query":"open tickets of the northern region, newest first","limit":20}}}"#;
const CLEAN: &str = "Quarterly review of the northern region: revenue and pipeline are ahead of the forecast, two open \
                     tickets are with the vendor, the renewal of the contract will be decided on Monday. ";
const DENSE: &str =
    "Jane Roe, jane.roe@example.com, +1 415 555 0132, card 4111 1111 1111 1111, DE89370400440532013000; ";
const AUDIENCE: &str = "https://bench.example.com/mcp";

#[global_allocator]
static HEAP: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

fn example() -> (policy::Loaded, Masks) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/crm.toml");
    let mut problems = Problems::default();
    let mut loaded = policy::load(&[file], &mut problems);
    let masks = loaded.compile_masks(&mut problems).unwrap();
    (loaded, masks)
}

#[divan::bench]
fn admit(bencher: Bencher<'_, '_>) {
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
    let known =
        Known { bytes: 1 << 20, limits: Limits::REQUEST, names_method: &|_| false, supported: &Revision::ALL[1..] };
    let head = Head { headers: &headers, session: None };
    let body = Bytes::from_static(REQUEST.as_bytes());
    bencher.counter(BytesCount::of_str(REQUEST)).bench(|| mcp::admit(black_box(&head), body.clone(), &known).unwrap());
}

#[divan::bench(args = ["search_contacts", "delete_contact", "unheard_of"])]
fn decide(bencher: Bencher<'_, '_>, name: &str) {
    let signed_in = SignedIn::new();
    let caller = signed_in.verify();
    let (loaded, _) = example();
    let operation = Operation { method: "tools/call", kind: Some(SubjectKind::Tool), name };
    let context = Context::at(Timestamp::now());
    bencher.bench(|| loaded.policy.decide(black_box(&caller), black_box(&operation), &context));
}

/// The longest is an answer of 1 MB.
#[divan::bench(args = [1, 400, 5_600])]
fn mask_clean(bencher: Bencher<'_, '_>, times: usize) {
    masked(bencher, &CLEAN.repeat(times));
}

#[divan::bench(args = [1, 400, 10_000])]
fn mask_dense(bencher: Bencher<'_, '_>, times: usize) {
    masked(bencher, &DENSE.repeat(times));
}

fn masked(bencher: Bencher<'_, '_>, text: &str) {
    let (_, masks) = example();
    let source = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
    let document = Document::parse(source.clone().into(), &Limits::ANSWER).unwrap();
    bencher.counter(BytesCount::of_str(&source)).bench(|| {
        let (mut splice, mut findings) = (Splice::new(), Findings::default());
        masks
            .rewrite(&View::default(), Direction::Result, black_box(document.root()), &[], &mut splice, &mut findings)
            .unwrap();
        splice.apply(document.bytes())
    });
}

#[divan::bench]
fn verify_known_token(bencher: Bencher<'_, '_>) {
    let signed_in = SignedIn::new();
    signed_in.verify();
    bencher.bench(|| signed_in.verify());
}

/// Two lines of a call, each written to the null device.
#[divan::bench]
fn audit_lines(bencher: Bencher<'_, '_>) {
    let config = config::Audit::to(config::AuditSink::File(PathBuf::from("/dev/null")));
    let audit = Audit::open(&config, "bench/1", |text| mask::sanitize(text).into()).unwrap();
    let lane = Lane::new(audit.clone());
    let subject = Subject {
        issuer: "https://login.example.com",
        subject: "ana",
        client_id: Some("bench"),
        scopes: &["crm:read"],
        token_id: None,
        key_id: None,
        actors: &[],
    };
    let (name, version) = (Some("bench"), Some("1.0"));
    let client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: Some(b"bench/1.0"), name, version };
    let (subject, client) = (audit.subject(&subject), audit.client(&client));
    let now = Timestamp::now();
    bencher.bench(|| {
        for event in [audit::Event::Call, audit::Event::End] {
            let record = Record {
                decision: Some(audit::Decision::Allow),
                server: Some("crm"),
                method: Some("tools/call"),
                target: Some(audit::Target::Tool("search_contacts")),
                rpc_id: Some(b"1"),
                subject: Some(&subject),
                client: Some(&client),
                ..Record::new(event, now, uuid::Uuid::nil())
            };
            lane.record_now(black_box(&record)).unwrap();
        }
    });
}

/// A token whose issuer's keys are at hand.
struct SignedIn {
    runtime: tokio::runtime::Runtime,
    verifier: Verifier,
    memo: Memo,
    acceptance: Acceptance,
    token: String,
}

impl SignedIn {
    fn new() -> Self {
        let issuer = issuer::Issuer::start();
        let text = format!(
            r#"[server]
public_url = "http://127.0.0.1:8080"
[issuers.bench]
issuer = "{url}"
jwks_uri = "{url}/jwks"
insecure_loopback = true
[servers.crm]
path = "/mcp"
upstream = "http://127.0.0.1:1/mcp"
policies = ["{policy}"]
audiences = ["{AUDIENCE}"]
"#,
            url = issuer.url,
            policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/crm.toml"),
        );
        let (config, _) = config::parse(&text, Path::new("proxy.toml")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        portcullis::server::tls::install_default();
        let verifier = Verifier::new();
        let issuers = Issuers::new(runtime.handle().clone(), verifier.shared_epoch().clone());
        let started: Vec<Arc<_>> =
            config.issuers.values().map(|issuer| issuers.get_or_start(issuer).unwrap()).collect();
        runtime.block_on(async { started[0].settled().await });
        let acceptance = Acceptance::new(config.servers.values().next().unwrap(), started);
        Self { runtime, verifier, memo: Memo::new(), acceptance, token: issuer.token(AUDIENCE) }
    }

    fn verify(&self) -> Arc<portcullis::auth::Caller> {
        let bearer = Bearer::new(self.token.as_bytes());
        let verified = self.verifier.verify(&self.memo, &self.acceptance, bearer, Timestamp::now());
        self.runtime.block_on(verified).unwrap()
    }
}
