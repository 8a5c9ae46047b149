//! What an authorization server offers to MCP clients (RFC 8414, `OpenID` Connect Discovery 1.0).

use http::Method;
use http::header::ACCEPT;
use serde_json::{Map, Value};
use url::Url;

use super::clock;
use super::report::{Report, Step, foreign};
use super::server::{Server, headers};
use super::vendor::{self, Vendor};
use crate::auth::explorer::{Explorer, Unseen, locations, published};
use crate::clock::Timestamp;

/// What clients go by.
#[derive(Debug)]
pub(in crate::cli) struct Issuer {
    pub(in crate::cli) name: String,
    /// Its metadata, if clients find any that they take.
    pub(in crate::cli) document: Option<Map<String, Value>>,
    pub(in crate::cli) vendor: Option<&'static Vendor>,
}

impl Issuer {
    /// Whether a list in the metadata names `word`; `default` where there is no list.
    pub(in crate::cli) fn lists(&self, member: &str, word: &str, default: bool) -> bool {
        let list = self.document.as_ref().and_then(|document| document.get(member)).and_then(Value::as_array);
        list.map_or(default, |list| list.iter().any(|item| item == word))
    }

    pub(in crate::cli) fn says(&self, member: &str) -> bool {
        self.document.as_ref().and_then(|document| document.get(member)) == Some(&Value::Bool(true))
    }

    pub(in crate::cli) fn has(&self, member: &str) -> bool {
        self.text(member).is_some()
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.document.as_ref()?.get(member)?.as_str()
    }
}

/// Looks at the issuer of that name, before there is a server it issues tokens for.
pub(in crate::cli) async fn alone(explorer: &Explorer, name: &str, report: &mut Report) -> Issuer {
    look(explorer, name, None, report).await
}

/// Looks at the issuer of that name; `server` is what it issues tokens for, if that was looked at.
pub(super) async fn look(explorer: &Explorer, name: &str, server: Option<&Server>, report: &mut Report) -> Issuer {
    report.section(format!("issuer {}", foreign(name)));
    let vendor = vendor::of(name);
    let mut issuer = Issuer { name: name.to_owned(), document: None, vendor };
    let Ok(url) = Url::parse(name) else {
        report.add(Step::failed(
            "identifier",
            "it is not a URL",
            "write the issuer's own name, as its metadata has it in `issuer`",
        ));
        return issuer;
    };
    if let Some(reason) = explorer.refuses(&url) {
        report.add(Step::failed(
            "identifier",
            format!("not asked: {reason}"),
            format!("if that is right, type it yourself: `--issuer {}`", foreign(name)),
        ));
        return issuer;
    }
    issuer.document = discover(explorer, name, &url, report).await;
    if issuer.document.is_none() {
        return issuer;
    }
    report.add(endpoints(&issuer));
    report.add(code_challenges(&issuer));
    report.add(registration(&issuer));
    report.add(public_clients(&issuer));
    report.add(grants(&issuer));
    report.add(answers_name_issuer(&issuer));
    report.add(keys(explorer, &issuer).await);
    report.add(resource(&issuer, server));
    report.add(audience(&issuer));
    if let Some(step) = proofs(&issuer, server) {
        report.add(step);
    }
    issuer
}

/// The metadata in each of its places; the first that is there and names the issuer is what clients take.
async fn discover(explorer: &Explorer, name: &str, url: &Url, report: &mut Report) -> Option<Map<String, Value>> {
    let (mut taken, mut is_answered, mut is_there, mut time) = (None::<Map<String, Value>>, false, false, None);
    for place in locations(url) {
        let before = Timestamp::now();
        let seen = explorer.ask(Method::GET, &place, headers([(ACCEPT, "application/json")]), None).await;
        let shown = foreign(place.path());
        let seen = match seen {
            Ok(seen) => seen,
            Err(reason) => {
                let is_large = matches!(reason, Unseen::TooLarge);
                let fix = if is_large {
                    "publish metadata that fits, or correct the issuer; the proxy reads no more"
                } else {
                    "let it be reached from here; for a private authority give --ca-file"
                };
                report.add(Step::failed("metadata", foreign(&format!("{shown}: {reason}")), fix));
                (is_answered, is_there) = (is_answered || is_large, is_there || is_large);
                continue;
            }
        };
        is_answered = true;
        time.get_or_insert_with(|| clock::compared(&seen.headers, before, Timestamp::now()));
        if seen.status != 200 {
            report.add(Step::unseen("metadata", format!("{} at {shown}", seen.status)));
            continue;
        }
        is_there = true;
        let document = serde_json::from_slice::<Map<String, Value>>(&seen.body).ok();
        report.add(document_step(name, &shown, document.as_ref(), taken.as_ref()));
        let document = document.filter(|document| document.get("issuer").is_some_and(|issuer| issuer == name));
        taken = taken.or(document);
    }
    if taken.is_none() && is_answered && !is_there {
        report.add(Step::failed(
            "metadata",
            "in none of the places clients look",
            "publish RFC 8414 or OpenID Connect Discovery metadata under exactly this issuer",
        ));
    }
    report.is_away |= !is_answered;
    if let Some(step) = time {
        report.add(step);
    }
    taken
}

fn document_step(
    name: &str,
    place: &str,
    document: Option<&Map<String, Value>>,
    first: Option<&Map<String, Value>>,
) -> Step {
    const NAME: &str = "metadata";
    let Some(document) = document else {
        return Step::failed(NAME, format!("200 at {place}, but no JSON object"), "serve the metadata there, or 404");
    };
    let issuer = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if issuer != name {
        let slash = issuer.trim_end_matches('/') == name.trim_end_matches('/');
        let why =
            if slash { "a slash at the end makes it another" } else { "clients refuse it (RFC 8414 section 3.3)" };
        let fix = format!("use `{}` as the issuer everywhere, or correct the metadata", foreign(issuer));
        return Step::failed(NAME, format!("{place} names the issuer `{}`: {why}", foreign(issuer)), fix);
    }
    let differs = ["authorization_endpoint", "token_endpoint", "jwks_uri"]
        .into_iter()
        .find(|member| first.is_some_and(|first| first.get(*member) != document.get(*member)));
    match differs {
        Some(member) => Step::failed(
            NAME,
            format!("{place} has another {member} than the document before it"),
            "let both documents say the same; clients read either",
        ),
        None => Step::good(NAME, format!("200 at {place}, issuer identical")),
    }
}

fn endpoints(issuer: &Issuer) -> Step {
    const NAME: &str = "endpoints";
    for member in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        let Some(text) = issuer.text(member) else {
            return Step::failed(
                NAME,
                format!("{member} is missing"),
                "clients and the proxy need all three: authorization_endpoint, token_endpoint, jwks_uri",
            );
        };
        let plain_issuer = issuer.name.starts_with("http://");
        match Url::parse(text) {
            Ok(url) if url.scheme() == "https" || (plain_issuer && url.scheme() == "http") => {}
            _ => return Step::failed(NAME, format!("{member} is not https"), "serve every endpoint by https"),
        }
    }
    Step::good(NAME, "authorization, token and keys, by the issuer's scheme")
}

fn code_challenges(issuer: &Issuer) -> Step {
    if issuer.lists("code_challenge_methods_supported", "S256", false) {
        return Step::good("PKCE", "S256");
    }
    let fix = "let the metadata say `code_challenge_methods_supported: [\"S256\"]`: clients must refuse without it (MCP 2025-11-25)";
    match issuer.vendor {
        // It does S256 and does not say so, which clients know.
        Some(vendor) if vendor.is_silent_about_pkce => {
            Step::doubtful("PKCE", "not said in the metadata; strict clients refuse", fix)
        }
        _ => Step::failed("PKCE", "S256 is not in the metadata", fix),
    }
}

fn registration(issuer: &Issuer) -> Step {
    const NAME: &str = "registration";
    match (issuer.says("client_id_metadata_document_supported"), issuer.has("registration_endpoint")) {
        (true, true) => Step::good(NAME, "client id metadata documents, and dynamic registration"),
        (true, false) => Step::good(NAME, "client id metadata documents"),
        (false, true) => Step::good(NAME, "dynamic registration (RFC 7591)"),
        (false, false) => Step::doubtful(
            NAME,
            "neither client id metadata documents nor dynamic registration",
            "register each client beforehand, or switch one of the two on",
        ),
    }
}

fn public_clients(issuer: &Issuer) -> Step {
    const NAME: &str = "public clients";
    // RFC 8414 section 2: what holds where the metadata says nothing is client_secret_basic.
    if issuer.lists("token_endpoint_auth_methods_supported", "none", false) {
        return Step::good(NAME, "`none` among token_endpoint_auth_methods_supported");
    }
    Step::doubtful(
        NAME,
        "`none` is not among token_endpoint_auth_methods_supported",
        "allow public clients, which programs on a desk are, and say so",
    )
}

fn grants(issuer: &Issuer) -> Step {
    const NAME: &str = "grants";
    // RFC 8414 section 2: authorization_code and implicit, where the metadata says nothing.
    if !issuer.lists("grant_types_supported", "authorization_code", true) {
        return Step::failed(
            NAME,
            "authorization_code is not among grant_types_supported",
            "switch the authorization code flow on",
        );
    }
    if issuer.lists("grant_types_supported", "refresh_token", false) {
        Step::good(NAME, "authorization_code, refresh_token")
    } else {
        Step::unseen(NAME, "authorization_code; refresh_token is not said, so users may have to sign in again")
    }
}

fn answers_name_issuer(issuer: &Issuer) -> Step {
    if issuer.says("authorization_response_iss_parameter_supported") {
        Step::good("mix-up", "answers name the issuer (RFC 9207)")
    } else {
        Step::unseen("mix-up", "answers need not name the issuer (RFC 9207), which MCP 2026-07-28 recommends")
    }
}

async fn keys(explorer: &Explorer, issuer: &Issuer) -> Step {
    const NAME: &str = "keys";
    let fix = "publish the public keys that sign access tokens: RSA of 2048 bits or more, P-256, P-384 or Ed25519";
    let Some(url) = issuer.text("jwks_uri").and_then(|text| Url::parse(text).ok()) else {
        return Step::failed(NAME, "there is no jwks_uri", fix);
    };
    let seen = match explorer.ask(Method::GET, &url, headers([(ACCEPT, "application/json")]), None).await {
        Ok(seen) if seen.status == 200 => seen,
        Ok(seen) => return Step::failed(NAME, format!("{} at {}", seen.status, foreign(url.path())), fix),
        Err(reason) => {
            let fix = match reason {
                Unseen::TooLarge => "publish a key set that fits; the proxy reads no more",
                _ => "serve jwks_uri on the issuer's own host, or on port 443 of a public one",
            };
            return Step::failed(NAME, foreign(&reason.to_string()), fix);
        }
    };
    match published(seen.body) {
        Err(error) => Step::failed(NAME, foreign(&error), fix),
        Ok(keys) if keys.dropped.is_empty() => Step::good(NAME, format!("{} to verify tokens with", keys.usable)),
        Ok(keys) => {
            let mut reasons = keys.dropped;
            reasons.sort_unstable();
            reasons.dedup();
            Step::good(
                NAME,
                format!("{} to verify tokens with; others are left out: {}", keys.usable, foreign(&reasons.join("; "))),
            )
        }
    }
}

/// Whether clients may say what a token is for (RFC 8707), which every MCP client does.
fn resource(issuer: &Issuer, server: Option<&Server>) -> Step {
    const NAME: &str = "resource";
    if let Some(vendor) = issuer.vendor.filter(|vendor| vendor.refuses_resource) {
        return Step::failed(
            NAME,
            format!("{} refuses requests that name a resource, as every MCP client's do", vendor.title),
            vendor.fix,
        );
    }
    let listed =
        issuer.document.as_ref().and_then(|document| document.get("protected_resources")).and_then(Value::as_array);
    let named = server.and_then(|server| server.metadata.as_ref()).map(|metadata| metadata.resource.as_str());
    match (listed, named) {
        (Some(listed), Some(named)) if listed.iter().any(|item| item == named) => {
            Step::good(NAME, "the issuer lists this server among its protected_resources (RFC 9728 section 4)")
        }
        (Some(_), Some(_)) => Step::doubtful(
            NAME,
            "the issuer's protected_resources do not list this server",
            "register the server with the issuer under exactly its URL",
        ),
        _ => Step::unseen(NAME, "metadata cannot say whether `resource` is understood (RFC 8707)"),
    }
}

fn audience(issuer: &Issuer) -> Step {
    match issuer.vendor {
        Some(vendor) => {
            Step::doubtful("audience", format!("this is {}: {}", vendor.title, vendor.audience), vendor.fix)
        }
        None => Step::unseen(
            "audience",
            "access tokens must be signed JWTs with the server's URL in `aud`; try one with --token",
        ),
    }
}

fn proofs(issuer: &Issuer, server: Option<&Server>) -> Option<Step> {
    let is_required = server?.metadata.as_ref()?.is_proof_required;
    let is_offered = issuer.document.as_ref()?.contains_key("dpop_signing_alg_values_supported");
    is_required.then(|| {
        if is_offered {
            Step::good("DPoP", "the server takes bound tokens only, and the issuer binds them (RFC 9449)")
        } else {
            Step::failed(
                "DPoP",
                "the server takes bound tokens only, and the issuer does not say that it binds any",
                "switch DPoP on at the issuer, or do not require it",
            )
        }
    })
}
