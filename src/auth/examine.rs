use super::claims::{Facts, RULES};
use super::jws::Compact;
use super::{Acceptance, VerifyError, jwt};
use crate::clock::{self, Timestamp};
use crate::json::{Document, Value};

/// The outcome of one check of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It failed; a request would be refused with this error unless an earlier check fails.
    Failed(VerifyError),
    /// It passed.
    Passed,
}

/// One check of a token, for people. `expected` and `found` are escaped and truncated, and never have the token itself.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Its outcome.
    pub outcome: Outcome,
    /// What an accepted token has.
    pub expected: String,
    /// What this one has.
    pub found: String,
}

/// Makes every check of [`super::Verifier::verify`], with the keys loaded now. Stops early only if nothing more can be read.
pub fn examine(token: &[u8], acceptance: &Acceptance, now: Timestamp) -> Vec<Check> {
    let mut checks = Vec::new();
    let compact = match Compact::read(token) {
        Ok(compact) => compact,
        Err(error) => return vec![failed("shape", error, "three base64url segments, a JSON header, at most 16 KiB")],
    };
    let document = match compact.claims() {
        Ok(document) => document,
        Err(error) => return vec![failed("shape", error, "claims as one JSON object without repeated names")],
    };
    checks.push(check("shape", Ok(()), "a signed JWT".into(), "a signed JWT".into()));
    let names: Vec<_> = acceptance.issuers.iter().map(|issuer| &**issuer.issuer()).collect();
    let found = shown(document.root(), &["iss"]);
    let issuer = jwt::issuer(acceptance, &document);
    checks.push(check("issuer", issuer.as_ref().map(drop).map_err(Clone::clone), names.join(", "), found));
    let Ok(issuer) = issuer else { return checks };
    let facts = Facts {
        profile: issuer.profile(),
        audiences: &acceptance.audiences,
        authentication: &acceptance.authentication,
        header: Some(&compact.header),
        claims: document.root(),
        now,
    };
    for rule in RULES {
        let found = match rule.name {
            "algorithm" => cut(&compact.header.alg_name),
            "type" => compact.header.typ.as_deref().map_or_else(|| "none".into(), cut),
            "required claims" => {
                document.root().members().map(|member| cut(&member.name())).collect::<Vec<_>>().join(", ")
            }
            _ => shown(document.root(), rule.claims),
        };
        checks.push(check(rule.name, (rule.check)(&facts), (rule.expected)(&facts), found));
    }
    let Some(alg) = compact.header.alg else { return checks };
    let kid = compact.header.kid.as_deref();
    let keys = issuer.keys_held(kid, alg, clock::monotonic());
    let found = kid.map_or_else(|| "no `kid`".into(), |kid| format!("`kid` {}", cut(kid)));
    let expected = format!("one of the {} keys of {}", issuer.status().keys, issuer.name());
    checks.push(check("key", keys.as_ref().map(drop).map_err(Clone::clone), expected, found));
    if let Ok(keys) = keys {
        let signature = jwt::signed_by_one(&compact, &keys, alg);
        let found = if signature.is_ok() { "good" } else { "not made by this key, or claims changed" };
        checks.push(check("signature", signature, "made by that key".into(), found.into()));
    }
    checks
}

/// Decodes header and claims of a token into JSON text, without verifying anything. Errs if it is malformed.
pub fn decode(token: &[u8]) -> Result<Decoded, VerifyError> {
    let compact = Compact::read(token)?;
    let text = |document: &Document| String::from_utf8_lossy(document.root().raw()).into_owned();
    Ok(Decoded { header: text(compact.header_document()), claims: text(&compact.claims()?) })
}

/// The result of [`decode`].
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The JOSE header.
    pub header: String,
    /// The claims set.
    pub claims: String,
}

fn check(name: &'static str, result: Result<(), VerifyError>, expected: String, found: String) -> Check {
    let outcome = result.map_or_else(Outcome::Failed, |()| Outcome::Passed);
    Check { name, outcome, expected, found }
}

fn failed(name: &'static str, error: VerifyError, expected: &str) -> Check {
    let found = error.to_string();
    check(name, Err(error), expected.into(), found)
}

/// The claims of those names, as written.
fn shown(claims: Value<'_>, names: &[&str]) -> String {
    let found: Vec<_> = names
        .iter()
        .filter_map(|name| Some(format!("{name}={}", cut(&String::from_utf8_lossy(claims.get(name)?.raw())))))
        .collect();
    if found.is_empty() { "none".into() } else { found.join(" ") }
}

/// Text for a terminal: escaped, truncated to 200 characters.
fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(200).flat_map(char::escape_debug).collect();
    if text.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown.replace("\\\"", "\"")
}
