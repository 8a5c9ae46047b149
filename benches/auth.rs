//! What a token costs when it is first seen, when it is known, when it is bound to a key, and when there are many:
//! `cargo bench --bench auth`. Medians of single calls on one thread, beside the bare verification of as many other
//! signatures, taken in turn: one signature again and again is verified faster than any token ever is.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to go on with")]

#[path = "path/issuer.rs"]
mod issuer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey, Signature,
};
use data_encoding::BASE64URL_NOPAD;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, header};
use portcullis::auth::{Acceptance, Bearer, Issuers, Memo, Shown, Strangers, Verifier, credential};
use portcullis::clock::{Timestamp, monotonic};
use portcullis::config;
use portcullis::seal::Seals;
use portcullis::server::Peer;
use portcullis::state::{Failures, Once};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

const AUDIENCE: &str = "https://bench.example.com/mcp";
const SAMPLES: usize = 2000;
const LIVE: usize = 200_000;
const BURST: u32 = 10_000;
/// Hits before each of which the processor's caches are filled with something else.
const COLD_SAMPLES: usize = 500;
/// More than caches hold.
const SWEEP_BYTES: usize = 32 << 20;

fn main() {
    let rig = Rig::new();
    let (first, bare) = rig.first_sight(&Bare::new());
    println!("one ES256 verification alone          {}", shown(bare));
    println!(
        "first sight of a token                {}  (over the verification: {})",
        shown(first),
        shown(first.saturating_sub(bare))
    );
    let token = rig.issuer.token(AUDIENCE);
    rig.verify(&rig.memo, &token);
    println!(
        "known token, this worker's            {}",
        shown(median((0..SAMPLES).map(|_| rig.hit(&rig.memo, &token))))
    );
    let few: Vec<String> = (0..SAMPLES).map(|_| rig.issuer.token(AUDIENCE)).collect();
    let known = rig.shared_hits(&few);
    println!("known token, another worker's         {}", shown(known));
    let proof = proofs(&rig);
    println!(
        "DPoP proof of a known token           {}  (over the verification: {})",
        shown(proof),
        shown(proof.saturating_sub(bare))
    );
    many(&rig, &few, known);
    burst(&rig);
}

struct Rig {
    issuer: issuer::Issuer,
    runtime: Runtime,
    verifier: Verifier,
    memo: Memo,
    acceptance: Acceptance,
}

impl Rig {
    fn new() -> Self {
        let issuer = issuer::Issuer::start();
        let text = format!(
            "[server]\npublic_url = \"https://bench.example.com\"\nplain_http = true\nlisten = [\"127.0.0.1:0\"]\n\
             [issuers.bench]\nissuer = \"{url}\"\njwks_uri = \"{url}/jwks\"\ninsecure_loopback = true\n\
             [servers.crm]\npath = \"/mcp\"\nupstream = \"http://127.0.0.1:1/mcp\"\npolicies = [\"none.toml\"]\ndpop = {{}}\n",
            url = issuer.url,
        );
        let (config, _) = config::parse(&text, Path::new("proxy.toml")).unwrap_or_else(|problems| {
            eprintln!("{}", problems.render(false));
            std::process::exit(1)
        });
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        portcullis::server::tls::install_default();
        let verifier = Verifier::new();
        let issuers = Issuers::new(runtime.handle().clone(), verifier.shared_epoch().clone());
        let started: Vec<Arc<_>> =
            config.issuers.values().map(|issuer| issuers.get_or_start(issuer).unwrap()).collect();
        runtime.block_on(async { started[0].settled().await });
        let acceptance = Acceptance::new(config.servers.values().next().unwrap(), started);
        Self { issuer, runtime, verifier, memo: Memo::new(), acceptance }
    }

    fn verify(&self, memo: &Memo, token: &str) {
        let bearer = Bearer::new(token.as_bytes());
        self.runtime.block_on(self.verifier.verify(memo, &self.acceptance, bearer, Timestamp::now())).unwrap();
    }

    fn timed(&self, memo: &Memo, token: &str) -> Duration {
        let began = monotonic();
        self.verify(memo, token);
        began.elapsed()
    }

    /// A token that is known: nothing is waited for, so that a worker, which runs already, has its answer with one poll.
    fn hit(&self, memo: &Memo, token: &str) -> Duration {
        let began = monotonic();
        let bearer = Bearer::new(token.as_bytes());
        let known = self.verifier.verify(memo, &self.acceptance, bearer, Timestamp::now()).now_or_never();
        let took = began.elapsed();
        known.unwrap().unwrap();
        took
    }

    /// Tokens that nobody knows, and signatures without a token, in turn.
    fn first_sight(&self, bare: &Bare) -> (Duration, Duration) {
        let tokens: Vec<String> = (0..SAMPLES).map(|_| self.issuer.token(AUDIENCE)).collect();
        let times = tokens.iter().zip(&bare.signed);
        let (first, alone) = times.map(|(token, signed)| (self.timed(&self.memo, token), bare.timed(signed))).unzip();
        (quantile(first, 50), quantile(alone, 50))
    }

    /// The same where nothing of it is in the processor's caches but the request's own token, as one was just read.
    fn cold_hits(&self, tokens: &[String]) -> Duration {
        let mut other = vec![0_u64; SWEEP_BYTES / size_of::<u64>()];
        let mut read = 0;
        let fresh = Memo::new();
        let times = tokens.iter().map(|token| {
            for word in &mut other {
                *word = word.wrapping_add(1);
            }
            read += std::hint::black_box(token).bytes().map(usize::from).sum::<usize>();
            self.hit(&fresh, token)
        });
        let cold = median(times);
        std::hint::black_box((read, other));
        cold
    }

    /// Tokens the process knows and this worker does not.
    fn shared_hits(&self, tokens: &[String]) -> Duration {
        for token in tokens {
            self.verify(&Memo::new(), token);
        }
        let fresh = Memo::new();
        median(tokens.iter().map(|token| self.hit(&fresh, token)))
    }
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    quantile(times.collect(), 50)
}

fn quantile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    format!("{:8.2} us", time.as_secs_f64() * 1e6)
}

/// Messages of a token's length, each signed.
struct Bare {
    key: ParsedPublicKey,
    signed: Vec<(Vec<u8>, Signature)>,
}

impl Bare {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()).unwrap();
        let signed = |at: usize| {
            let message = [&at.to_be_bytes()[..], &[b'x'; 392]].concat();
            let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
            (message, signature)
        };
        Self { key, signed: (0..SAMPLES).map(signed).collect() }
    }

    fn timed(&self, (message, signature): &(Vec<u8>, Signature)) -> Duration {
        let began = monotonic();
        self.key.verify_sig(message, signature.as_ref()).unwrap();
        began.elapsed()
    }
}

/// The whole check of a request with a bound token that is known, and a proof that is new.
fn proofs(rig: &Rig) -> Duration {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let [x, y] = [&point[..32], &point[32..]].map(|half| BASE64URL_NOPAD.encode(half));
    let jwk = json!({"crv": "P-256", "kty": "EC", "x": x, "y": y});
    let thumbprint = BASE64URL_NOPAD.encode(digest(&SHA256, jwk.to_string().as_bytes()).as_ref());
    let mut claims = rig.issuer.claims(AUDIENCE);
    claims["cnf"] = json!({ "jkt": thumbprint });
    let token = rig.issuer.signed(&claims);
    let ath = BASE64URL_NOPAD.encode(digest(&SHA256, token.as_bytes()).as_ref());
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let fields = |_| {
        let claims = json!({"jti": uuid::Uuid::now_v7().to_string(), "htm": "POST", "htu": AUDIENCE,
            "iat": Timestamp::now().unix_seconds(), "ath": ath});
        let signed = format!("{}.{}", part(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk})), part(&claims));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let proof = format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()));
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("DPoP {token}")).unwrap());
        headers.insert("dpop", HeaderValue::try_from(proof).unwrap());
        headers
    };
    let requests: Vec<HeaderMap> = (0..SAMPLES).map(fields).collect();
    let (seals, proofs) = (Seals::random().unwrap(), Once::with_room(1_000_000));
    let peer = Peer::new(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
    let (failures, proxies) = (Failures::default(), config::Proxies::default());
    median(requests.iter().map(|headers| {
        let strangers = Strangers { failures: &failures, limit: None, proxies: &proxies };
        let shown = Shown { peer: &peer, method: &Method::POST, headers, seals: &seals, proofs: &proofs, strangers };
        let began = monotonic();
        let presented = credential(headers, None).unwrap();
        let checked = rig.verifier.authenticate(&rig.memo, &rig.acceptance, &presented, &shown, Timestamp::now());
        rig.runtime.block_on(checked).unwrap();
        began.elapsed()
    }))
}

/// Resident bytes of this process.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// As many live tokens as the cache holds: what they take, and what a hit then costs, with what it needs in the
/// processor's caches and without. Among few tokens everything is, as a matter of course.
fn many(rig: &Rig, few: &[String], known: Duration) {
    let cold_among_few = rig.cold_hits(&few[..COLD_SAMPLES]);
    let before = resident();
    let mut sampled = Vec::new();
    for at in 0..LIVE {
        let token = rig.issuer.token(AUDIENCE);
        rig.verify(&rig.memo, &token);
        if at % (LIVE / SAMPLES) == 0 && at > LIVE / 10 {
            sampled.push(token);
        }
    }
    let grown = resident().saturating_sub(before);
    println!("{LIVE} live tokens                    {:8} MB", grown / 1_000_000);
    let cold = rig.cold_hits(&sampled[..COLD_SAMPLES]);
    // Once to have them at hand, once to measure.
    rig.shared_hits(&sampled);
    let warm = rig.shared_hits(&sampled);
    println!("a hit among them, at hand             {}  (with few: {})", shown(warm), shown(known));
    println!("a hit among them, from memory         {}  (with few: {})", shown(cold), shown(cold_among_few));
}

/// First-seen tokens on another worker, and known ones on this one meanwhile.
fn burst(rig: &Rig) {
    let (known, tokens) =
        (rig.issuer.token(AUDIENCE), (0..BURST).map(|_| rig.issuer.token(AUDIENCE)).collect::<Vec<_>>());
    rig.verify(&rig.memo, &known);
    let runs = |stop: &dyn Fn(usize) -> bool| {
        let mut times = Vec::new();
        while !stop(times.len()) {
            times.push(rig.hit(&rig.memo, &known));
        }
        times
    };
    let alone = runs(&|done| done >= 100_000);
    let done = AtomicBool::new(false);
    let (verifier, acceptance) = (&rig.verifier, &rig.acceptance);
    let (took, beside) = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let (runtime, memo) = (Builder::new_current_thread().build().unwrap(), Memo::new());
            let began = monotonic();
            for token in &tokens {
                let bearer = Bearer::new(token.as_bytes());
                runtime.block_on(verifier.verify(&memo, acceptance, bearer, Timestamp::now())).unwrap();
            }
            done.store(true, Ordering::Relaxed);
            began.elapsed()
        });
        let beside = runs(&|_| done.load(Ordering::Relaxed));
        (worker.join().unwrap(), beside)
    });
    println!("{BURST} first-seen tokens in a row      {:8} ms, {} each", took.as_millis(), shown(took / BURST));
    let quantiles =
        |times: &[Duration]| [50, 99].map(|percent| shown(quantile(times.to_vec(), percent))).join(", 99 %");
    println!("a known token alone                   50 %{}", quantiles(&alone));
    println!("a known token beside them             50 %{}  ({} of them)", quantiles(&beside), beside.len());
}
