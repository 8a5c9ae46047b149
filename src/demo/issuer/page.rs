//! The pages people see. Everything a client wrote is escaped; nothing is loaded from anywhere.

use std::borrow::Cow;

use aws_lc_rs::digest;
use data_encoding::BASE64;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use url::Url;

use super::client::is_loopback;
use super::grants::Asked;
use super::users::{self, User};
use super::{SCOPES, Shared, USERS};
use crate::demo::web::{self, Body};

const FRAME: &str = include_str!("frame.html");
const LOGIN: &str = include_str!("login.html");
const STYLE: &str = include_str!("style.css");

/// The page on which one of two people is picked.
pub(super) fn login(shared: &Shared, asked: &Asked, name: &str) -> Response<Body> {
    let redirect = Url::parse(&asked.redirect_uri).ok();
    let people: String = USERS.iter().map(|user| person(user, &asked.scopes)).collect();
    let body = fill(
        LOGIN,
        &[
            ("client", &escape(&asked.client.name)),
            ("back", &escape(&destination(redirect.as_ref()))),
            ("document", &document_row(&asked.client.id)),
            ("resource", &escape(&asked.audience)),
            ("scopes", &scopes(&asked.scopes)),
            ("people", &people),
            ("login", name),
        ],
    );
    // The answer to the form is a redirect to the client, which form-action must therefore allow.
    let origin = redirect.map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    page(StatusCode::OK, "Sign in", &body, &format!("'self' {origin}"), &shared.url)
}

/// Why there is nothing to sign in to.
pub(super) fn error(status: StatusCode, why: &str) -> Response<Body> {
    let body =
        format!("<h1><strong>That did not work</strong></h1><p class=\"lead\">{}.</p>", escape(&capitalised(why)));
    page(status, "That did not work", &body, "'none'", "")
}

/// What this server is, for whoever opens its address.
pub(super) fn home(shared: &Shared) -> Response<Body> {
    let body = "<h1><strong>This is the demo&#8217;s issuer</strong></h1>\
        <p class=\"lead\">MCP clients find it through the proxy and send you here to sign in. \
        There is nothing to do on this page.</p>\
        <ul class=\"links\">\
        <li><a href=\"/.well-known/oauth-authorization-server\">Metadata</a></li>\
        <li><a href=\"/jwks\">Public keys</a></li></ul>";
    page(StatusCode::OK, "Portcullis demo issuer", body, "'none'", &shared.url)
}

fn destination(redirect: Option<&Url>) -> Cow<'static, str> {
    let Some(url) = redirect else { return Cow::Borrowed("an address that cannot be read") };
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Cow::Owned(if is_loopback(url) { format!("{host} (this computer)") } else { host })
}

/// For a client that is a document, whose document it is.
fn document_row(client_id: &str) -> String {
    let host = Url::parse(client_id).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.map_or_else(String::new, |host| format!("<div><dt>Described at</dt><dd>{}</dd></div>", escape(&host)))
}

fn scopes(requested: &[&'static str]) -> String {
    let rows = SCOPES.iter().filter(|(name, _)| requested.contains(name));
    rows.flat_map(|(name, meaning)| ["<li><code>", name, "</code><span>", meaning, "</span></li>"]).collect()
}

fn person(user: &User, requested: &[&'static str]) -> String {
    let granted = users::limit(requested, user.grantable);
    let more: Vec<&str> = granted.iter().copied().filter(|scope| !user.scopes.contains(scope)).collect();
    let note = if more.is_empty() {
        format!("allows {}", granted.join(" and "))
    } else {
        format!("usually {}, now also {}", user.scopes.join(" and "), more.join(" and "))
    };
    format!(
        "<button class=\"person\" name=\"user\" value=\"{}\"><span class=\"face {}\" aria-hidden=\"true\">{}</span>\
         <span class=\"who\"><strong>{}</strong><small>{} &#183; {note}</small></span></button>",
        user.name,
        user.name,
        initials(user.display_name),
        user.display_name,
        capitalised(user.department),
    )
}

fn initials(name: &str) -> String {
    name.split(' ').filter_map(|word| word.chars().next()).collect()
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn page(status: StatusCode, title: &str, body: &str, form_action: &str, issuer: &str) -> Response<Body> {
    let parts = [("title", title), ("style", STYLE), ("body", body), ("issuer", &escape(issuer))];
    let mut response = web::html(status, fill(FRAME, &parts));
    let style = BASE64.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()).as_ref());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action {form_action}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // `no-referrer` would turn the Origin of our own form into `null`.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    response
}

/// `template` with each `{{name}}` replaced, in one pass: what a value holds is never a placeholder.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut pieces = template.split("{{");
    filled.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or(("", piece));
        let value = values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
        filled.push_str(value);
        filled.push_str(rest);
    }
    filled
}

/// Text for element content and quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(one),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_known_and_values_are_not_templates() {
        assert_eq!(fill("a {{x}} b {{y}}{{z}}", &[("x", "{{y}}"), ("y", "1")]), "a {{y}} b 1");
    }

    #[test]
    fn escapes_what_html_reads() {
        assert_eq!(escape("<img src='x' onerror=\"1\">&"), "&lt;img src=&#39;x&#39; onerror=&quot;1&quot;&gt;&amp;");
    }

    #[test]
    fn people_say_what_they_allow() {
        let [ana, max] = &USERS;
        assert!(person(ana, &["crm:read"]).contains("Sales &#183; allows crm:read"));
        assert!(person(ana, &["crm:read", "crm:write"]).contains("usually crm:read, now also crm:write"));
        assert!(person(max, &["crm:read", "crm:write"]).contains("allows crm:read and crm:write"));
    }

    #[test]
    fn the_style_has_no_outside() {
        for text in [FRAME, LOGIN, STYLE] {
            for outside in ["http:", "https:", "url(", "@import", "<script", "style=", "onclick"] {
                assert!(!text.contains(outside), "{outside}");
            }
        }
    }
}
