//! What a server may have its client ask a user, where a rule lets it ask at all (2025-11-25 and 2026-07-28, "Elicitation"):
//! pages are opened over https only, and forms ask for no secrets.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::config::{Elicitation, SecretFields};
use crate::json::{Value, fold};
use crate::mcp::asked::{ELICITATION, asked_by_error};
use crate::policy::{Denial, OnDeny};

/// The longest URL of a page, in bytes.
const LONGEST: usize = 2048;

/// Names of secrets, found anywhere in the name of a field that is written without separators and in lower case.
const SECRETS: [&str; 15] = [
    "accesskey",
    "accesstoken",
    "apikey",
    "apitoken",
    "cardnumber",
    "clientsecret",
    "credential",
    "creditcard",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secretkey",
    "seedphrase",
];

/// The same, found only as a word of their own.
const SECRET_WORDS: [&str; 11] =
    ["cvc", "cvc2", "cvv", "cvv2", "otp", "pin", "pwd", "secret", "secrets", "token", "totp"];

/// Why a server may not ask this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// Neither a form nor a page.
    Mode,
    /// A page that is not on https, has credentials in its URL, or is on a host that is not allowed.
    Page,
    /// A form that asks for a secret, which forms must not.
    Secret,
}

impl Unfit {
    const fn text(self) -> &'static str {
        match self {
            Self::Mode => "the server asks in a way that is neither a form nor a page",
            Self::Page => "the server sends to a page that is not allowed",
            Self::Secret => "the server asks for a secret in a form",
        }
    }
}

impl From<Unfit> for Denial {
    fn from(unfit: Unfit) -> Self {
        Self::Refused { rule: None, reason: Some(unfit.text().into()), on_deny: OnDeny::default(), argument: None }
    }
}

/// Checks the server requests inside a result or a notification (`inputRequests`). Errs with the first that is unfit.
pub(super) fn in_requests(rules: &Elicitation, requests: Value<'_>) -> Result<(), Denial> {
    for member in requests.members() {
        let method = member.value.get("method").and_then(|method| method.as_str());
        in_request(rules, &method.unwrap_or_default(), member.value.get("params"))?;
    }
    Ok(())
}

/// Checks the pages of an error that has them opened first.
pub(super) fn in_error(rules: &Elicitation, error: Value<'_>) -> Result<(), Denial> {
    let asks = error.get("code").and_then(|code| code.as_i64()).and_then(asked_by_error).is_some();
    let pages = asks.then(|| error.pointer("/data/elicitations")).flatten();
    pages.iter().flat_map(Value::items).try_for_each(|page| check(rules, page).map_err(Denial::from))
}

/// Checks one server request.
pub(super) fn in_request(rules: &Elicitation, method: &str, params: Option<Value<'_>>) -> Result<(), Denial> {
    if method != ELICITATION {
        return Ok(());
    }
    params.map_or(Err(Unfit::Mode), |params| check(rules, params)).map_err(Denial::from)
}

fn check(rules: &Elicitation, params: Value<'_>) -> Result<(), Unfit> {
    match params.get("mode").map(|mode| mode.as_str()) {
        None => form(rules, params),
        Some(Some(mode)) if mode == "form" => form(rules, params),
        Some(Some(mode)) if mode == "url" => page(rules, params),
        Some(_) => Err(Unfit::Mode),
    }
}

fn page(rules: &Elicitation, params: Value<'_>) -> Result<(), Unfit> {
    let written = params.get("url").and_then(|url| url.as_str()).ok_or(Unfit::Page)?;
    // Spaces, controls and backslashes are read differently by different parsers.
    let is_plain = written.len() <= LONGEST && written.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let url = Url::parse(&written).ok().filter(|_| is_plain).ok_or(Unfit::Page)?;
    let host = url.host().ok_or(Unfit::Page)?;
    if authority(&written).contains('@') {
        return Err(Unfit::Page);
    }
    let name = host.to_string();
    let is_named = rules.url_hosts.iter().any(|pattern| pattern.names(&name));
    let is_allowed = is_named || rules.url_hosts.is_empty() && is_public(&host);
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_named && is_loopback(&host);
    if is_allowed && is_safe { Ok(()) } else { Err(Unfit::Page) }
}

/// What stands between `//` and the path.
fn authority(url: &str) -> &str {
    let rest = url.split_once("//").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Whether it is a name on the internet rather than an address, or a name of the user's own machine or network.
fn is_public(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            let last = name.rsplit('.').next().unwrap_or_default();
            name.contains('.') && !["internal", "lan", "local", "localhost"].contains(&last)
        }
        Host::Ipv4(_) | Host::Ipv6(_) => false,
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => Ipv4Addr::is_loopback(address),
        Host::Ipv6(address) => Ipv6Addr::is_loopback(address),
    }
}

fn form(rules: &Elicitation, params: Value<'_>) -> Result<(), Unfit> {
    if rules.secrets == SecretFields::Pass {
        return Ok(());
    }
    let fields = params.pointer("/requestedSchema/properties");
    for field in fields.iter().flat_map(Value::members) {
        let title = field.value.get("title").and_then(|title| title.as_str());
        if takes_text(field.value) && (is_secret(&field.name()) || title.is_some_and(|title| is_secret(&title))) {
            return Err(Unfit::Secret);
        }
    }
    Ok(())
}

/// Whether a user could write anything into the field; a choice or a yes or no has no room for a secret.
fn takes_text(field: Value<'_>) -> bool {
    let kind = field.get("type").and_then(|kind| kind.as_str());
    match kind.as_deref() {
        Some("array") => field.get("items").is_none_or(|items| !is_choice(items)),
        Some("boolean") => false,
        _ => !is_choice(field),
    }
}

/// Whether each value the field may have is written in it. A client that finds none may let its user write one.
fn is_choice(field: Value<'_>) -> bool {
    let lists = |name: &str| field.get(name).is_some_and(|values| values.items().next().is_some());
    let names_each = |name: &str| lists(name) && field.get(name).iter().flat_map(Value::items).all(is_constant);
    lists("enum") || names_each("oneOf") || names_each("anyOf")
}

fn is_constant(option: Value<'_>) -> bool {
    option.get("const").is_some()
}

fn is_secret(name: &str) -> bool {
    let words = words(name);
    let joined = words.concat();
    words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
        || SECRETS.iter().any(|secret| joined.contains(secret))
}

/// The words of a name in any of the usual spellings, folded.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let starts = before.is_lowercase() && letter.is_uppercase();
        if !letter.is_alphanumeric() || starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.push(letter);
        }
        before = letter;
    }
    words.iter().map(|word| fold(word)).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Elicitation, Unfit, check, in_error};
    use crate::config::{HostPattern, SecretFields};
    use crate::json::{Document, Limits};

    fn hosts(patterns: &[&str]) -> Elicitation {
        let url_hosts = patterns.iter().map(|pattern| HostPattern::parse(pattern).unwrap()).collect();
        Elicitation { url_hosts, ..Elicitation::default() }
    }

    fn asked(rules: &Elicitation, params: &serde_json::Value) -> Result<(), Unfit> {
        check(rules, Document::parse(params.to_string().into(), &Limits::ANSWER).unwrap().root())
    }

    #[test]
    fn pages_are_on_https_and_on_hosts_that_may_be() {
        for (url, public, named) in [
            ("https://login.example.com/start?x=1#y", true, true),
            ("https://LOGIN.example.com/", true, true),
            ("https://elsewhere.test/", true, false),
            ("https://example.com/", true, false),
            ("https://login.example.com:8443/", true, true),
            ("https://login.example.com/@a", true, true),
            ("http://login.example.com/", false, false),
            ("https://localhost/", false, true),
            ("http://localhost:3000/cb", false, true),
            ("http://127.0.0.1/", false, false),
            ("https://10.0.0.1/", false, false),
            ("https://[::1]/", false, false),
            ("https://0x7f.1/", false, false),
            ("https://printer.local/", false, false),
            ("https://intranet/", false, false),
            ("https://login.example.com@evil.test/", false, false),
            ("https://user:pw@login.example.com/", false, false),
            ("https://@login.example.com", false, false),
            ("javascript:alert(1)", false, false),
            ("data:text/html,x", false, false),
            ("file:///etc/passwd", false, false),
            ("https:\\\\login.example.com", false, false),
            ("https://login.example.com/ x", false, false),
            ("https://login.example.com/\u{202e}x", false, false),
            ("https://login.example.com/\u{0}", false, false),
            ("//login.example.com/", false, false),
            ("", false, false),
        ] {
            let params = json!({ "mode": "url", "message": "m", "elicitationId": "e", "url": url });
            assert_eq!(asked(&hosts(&[]), &params).is_ok(), public, "{url}");
            assert_eq!(asked(&hosts(&["*.example.com", "localhost"]), &params).is_ok(), named, "{url}");
        }
        let long = format!("https://a.test/{}", "x".repeat(2048));
        for url in [json!(long), json!(1), json!(null)] {
            assert_eq!(asked(&hosts(&[]), &json!({ "mode": "url", "url": url })), Err(Unfit::Page));
        }
        assert_eq!(asked(&hosts(&[]), &json!({ "mode": "url" })), Err(Unfit::Page));
        for mode in [json!("URL"), json!("popup"), json!(null), json!(["url"])] {
            assert_eq!(asked(&hosts(&[]), &json!({ "mode": mode, "url": "https://a.test/" })), Err(Unfit::Mode));
        }
    }

    #[test]
    fn forms_ask_for_no_secrets() {
        let text = json!({ "type": "string" });
        let flag = json!({ "type": "boolean" });
        let choice = json!({ "type": "string", "enum": ["a", "b"] });
        for (name, field, is_secret) in [
            ("password", &text, true),
            ("newPassword", &text, true),
            ("user_passwd", &text, true),
            ("API key", &text, true),
            ("apikey", &text, true),
            ("GITHUB_TOKEN", &text, true),
            ("accessToken", &text, true),
            ("\u{ff50}assword", &text, true),
            ("pass\u{200b}word", &text, true),
            ("pin", &json!({ "type": "integer" }), true),
            ("cvv", &json!({ "type": "number" }), true),
            ("cardNumber", &text, true),
            ("secret", &json!({}), true),
            ("label", &json!({ "type": "string", "title": "Your password" }), true),
            ("resetPassword", &flag, false),
            ("token", &choice, false),
            ("token", &json!({ "type": "string", "oneOf": [{ "const": "a", "title": "A" }] }), false),
            ("tokens and secrets", &json!({ "type": "array", "items": { "type": "string", "enum": ["a"] } }), false),
            ("secrets", &json!({ "type": "array", "items": { "anyOf": [{ "const": "a", "title": "A" }] } }), false),
            ("token", &json!({ "type": "string", "enum": [] }), true),
            ("token", &json!({ "type": "string", "enum": "a" }), true),
            ("token", &json!({ "type": "string", "oneOf": [{ "const": "a" }, { "type": "string" }] }), true),
            ("passwords", &json!({ "type": "array", "items": { "type": "string" } }), true),
            ("passwords", &json!({ "type": "array" }), true),
            ("password", &json!(true), true),
            ("email", &text, false),
            ("max_tokens", &json!({ "type": "integer" }), false),
            ("shipping", &text, false),
            ("tokenizer", &text, false),
            ("secretary", &text, false),
            ("opinion", &text, false),
        ] {
            let params =
                json!({ "message": "m", "requestedSchema": { "type": "object", "properties": { name: field } } });
            let expected = if is_secret { Err(Unfit::Secret) } else { Ok(()) };
            assert_eq!(asked(&Elicitation::default(), &params), expected, "{name} {field}");
            let open = Elicitation { secrets: SecretFields::Pass, ..Elicitation::default() };
            assert_eq!(asked(&open, &params), Ok(()), "{name}");
        }
        assert_eq!(asked(&Elicitation::default(), &json!({ "mode": "form", "message": "m" })), Ok(()));
    }

    #[test]
    fn each_page_of_an_error_is_looked_at() {
        let error = |code: i64, url: &str| {
            let pages = json!([{ "mode": "url", "url": "https://a.test/" }, { "mode": "url", "url": url }]);
            let error = json!({ "code": code, "message": "m", "data": { "elicitations": pages } });
            in_error(
                &Elicitation::default(),
                Document::parse(error.to_string().into(), &Limits::ANSWER).unwrap().root(),
            )
            .is_ok()
        };
        assert!(error(-32042, "https://b.test/"));
        assert!(!error(-32042, "http://b.test/"));
        // Not asked of anybody.
        assert!(error(-32000, "http://b.test/"));
    }
}
