//! A call with a token, which goes only to the server that was typed.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use serde_json::Value;

use super::challenge::challenges;
use super::report::{Report, Step, foreign};
use super::server::{Server, leave, message_headers, opening};
use crate::auth;
use crate::auth::explorer::Explorer;
use crate::secret::Secret;

/// Looks into the token, and calls with it.
pub(super) async fn present(explorer: &Explorer, server: &Server, token: &Secret<String>, report: &mut Report) {
    report.section("token");
    for step in claims(server, token) {
        report.add(step);
    }
    report.add(call(explorer, server, token).await);
}

fn claims(server: &Server, token: &Secret<String>) -> Vec<Step> {
    let decoded = auth::decode(token.expose().as_bytes()).ok();
    let Some(claims) = decoded.and_then(|decoded| serde_json::from_str::<Value>(&decoded.claims).ok()) else {
        return vec![Step::doubtful(
            "form",
            "not a JWT: it can only be asked about",
            "let the issuer give JWT access tokens, or set `[issuers.NAME.introspection]`",
        )];
    };
    let Some(metadata) = &server.metadata else { return Vec::new() };
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is_for_it =
        audiences.iter().any(|audience| audience.trim_end_matches('/') == metadata.resource.trim_end_matches('/'));
    vec![
        if metadata.authorization_servers.iter().any(|known| known == issuer) {
            Step::good("issuer", foreign(issuer))
        } else {
            Step::failed(
                "issuer",
                format!("`{}` is not among the server's issuers", foreign(issuer)),
                "configure the issuer exactly as tokens name it",
            )
        },
        if is_for_it {
            Step::good("audience", "names the server's URL")
        } else {
            let shown = if audiences.is_empty() { "missing".to_owned() } else { foreign(&audiences.join(" ")) };
            Step::doubtful(
                "audience",
                format!("`aud` is {shown}"),
                "let the issuer put the server's URL into `aud`, or add what it puts there to `audiences`",
            )
        },
    ]
}

async fn call(explorer: &Explorer, server: &Server, token: &Secret<String>) -> Step {
    const NAME: &str = "POST, with it";
    let mut headers = message_headers();
    let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose())) else {
        return Step::failed(NAME, "it is no token: a header cannot hold it", "give a file with nothing but the token");
    };
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    let seen = match explorer.ask(Method::POST, &server.url, headers, Some(opening())).await {
        Ok(seen) => seen,
        Err(reason) => return Step::failed(NAME, foreign(&reason.to_string()), "try again"),
    };
    leave(explorer, &server.url, &seen).await;
    let challenges = challenges(&seen.headers);
    let said = challenges.iter().find_map(|challenge| {
        Some((challenge.parameter("error")?, challenge.parameter("error_description").unwrap_or_default()))
    });
    match (seen.status, said) {
        (200..=299, _) => Step::good(NAME, format!("{}", seen.status)),
        (status, Some((error, description))) => Step::failed(
            NAME,
            // An echo of the token would be the server's doing, and is cut out.
            foreign(&format!("{status} {error}: {description}").replace(token.expose().as_str(), "(token)")),
            "`portcullis token verify FILE` says which check it fails",
        ),
        (status, None) => Step::failed(NAME, format!("{status}"), "look into the server's log"),
    }
}
