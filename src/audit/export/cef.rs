//! Common Event Format, revision 0: a header of seven fields, and an extension of keys and values.
//!
//! Keys of the format's dictionary are used where there is one; what it has none for has a key that begins with `portcullis`.

use std::net::IpAddr;

use serde_json::Value;

use super::parts::Parts;
use crate::audit::escape::shown;
use crate::audit::subjects::PREFIX;

/// The event of a record.
pub(super) fn event(mut parts: Parts) -> String {
    // From 0 to 10: up to 3 is low, from 7 on high.
    let severity = [1, 4, 6, 9][usize::try_from(parts.severity() - 1).unwrap_or_default().min(3)];
    let outcome = parts.succeeded().map_or("unknown", |succeeded| if succeeded { "success" } else { "failure" });
    let (decision, method) = (parts.text("decision"), parts.text("method"));
    let said = |first: &str, between: &str| {
        decision.as_ref().map_or_else(|| first.to_owned(), |decision| format!("{first}{between}{decision}"))
    };
    let mut out = Line { text: "CEF:0|Portcullis|Portcullis|1|".to_owned(), begun: false };
    out.header(&said(&parts.event, ":"));
    out.header(&said(method.as_deref().unwrap_or(&parts.event), " "));
    out.header(&severity.to_string());
    out.put("rt", Some(parts.time.unix_millis().to_string()));
    out.put("cat", Some(parts.event.clone()));
    out.put("outcome", Some(outcome.to_owned()));
    out.put("act", decision);
    out.put("externalId", parts.text("id"));
    out.put("deviceExternalId", parts.text("instance"));
    out.put("app", Some("MCP".to_owned()).filter(|_| method.is_some()));
    out.put("requestMethod", method);
    out.put("dhost", parts.text("server"));
    who(&mut out, &mut parts);
    why(&mut out, &mut parts);
    for (key, value) in parts.left() {
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        out.put(&own(&key), Some(text));
    }
    out.text
}

fn who(out: &mut Line, parts: &mut Parts) {
    let sub = parts.text("subject/sub");
    out.put("suid", sub.clone());
    out.put("suser", sub.filter(|sub| !sub.starts_with(PREFIX)));
    out.labelled("cs4", "issuer", parts.text("subject/iss"));
    out.labelled("cs5", "client id", parts.text("subject/client_id"));
    match parts.address("client/ip") {
        Some(IpAddr::V4(address)) => out.put("src", Some(address.to_string())),
        Some(IpAddr::V6(address)) => out.labelled("c6a2", "Source IPv6 Address", Some(address.to_string())),
        None => {}
    }
    out.put("requestClientApplication", parts.text("client/user_agent"));
}

fn why(out: &mut Line, parts: &mut Parts) {
    if let Some((kind, name)) = parts.target() {
        out.labelled("cs1", kind, Some(name));
    }
    out.labelled("cs2", "rule", parts.text("policy/rule"));
    out.labelled("cs3", "policy version", parts.text("policy/version"));
    out.labelled("cs6", "request id", parts.text("request_id"));
    out.labelled("cn1", "HTTP status", parts.whole("http").map(|status| status.to_string()));
    let (code, word) = parts.error();
    out.put("reason", word.or_else(|| code.map(|code| code.to_string())));
    let masked = parts.peek("masked").and_then(Value::as_array);
    let masked = masked.map(|all| all.iter().filter_map(|one| one.get("count")?.as_u64()).fold(0, u64::saturating_add));
    out.put("cnt", parts.whole("count").map(|count| count.to_string()).or(masked.map(|count| count.to_string())));
}

/// A key of our own, in the letters and digits a key is of: `key_refresh` is `portcullisKeyRefresh`.
fn own(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold("portcullis".to_owned(), |mut key, word| {
        key.extend(word.chars().take(1).map(|c| c.to_ascii_uppercase()));
        key.extend(word.chars().skip(1));
        key
    })
}

/// A line being written.
struct Line {
    text: String,
    /// Whether the extension has begun.
    begun: bool,
}

impl Line {
    fn header(&mut self, text: &str) {
        for c in shown(text).chars() {
            if matches!(c, '\\' | '|') {
                self.text.push('\\');
            }
            self.text.push(c);
        }
        self.text.push('|');
    }

    fn put(&mut self, key: &str, value: Option<String>) {
        let Some(value) = value else { return };
        if std::mem::replace(&mut self.begun, true) {
            self.text.push(' ');
        }
        self.text.push_str(key);
        self.text.push('=');
        for line in value.split_inclusive('\n') {
            let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\\n"));
            for c in shown(text).chars() {
                if matches!(c, '\\' | '=') {
                    self.text.push('\\');
                }
                self.text.push(c);
            }
            self.text.push_str(end);
        }
    }

    /// A value in one of the fields that are for any purpose, and what it is.
    fn labelled(&mut self, key: &str, label: &str, value: Option<String>) {
        if value.is_some() {
            self.put(&format!("{key}Label"), Some(label.to_owned()));
        }
        self.put(key, value);
    }
}
