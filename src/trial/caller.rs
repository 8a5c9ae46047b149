//! A hypothetical caller, made from the claims of a token.

use serde_json::{Map, Value};

use crate::auth::{Caller, Scopes};
use crate::config;
use crate::config::profiles::GENERIC;

/// The issuer a caller made of claims comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IssuedBy<'a> {
    /// One of `proxy.toml`: claims are read as those of its tokens.
    Configured(&'a config::Issuer),
    /// One of which only the name is known, if that.
    Named(&'a str),
}

/// The caller a verified token with these claims would make; the error says what is wrong with them.
pub(crate) fn caller(claims: Map<String, Value>, issuer: IssuedBy<'_>) -> Result<Caller, String> {
    match issuer {
        IssuedBy::Configured(issuer) => {
            let tokens = &issuer.tokens;
            let names = [&*tokens.client_claims, &tokens.subject_claims, &tokens.tenant_claims];
            readable(&claims, &tokens.scope_claims, names)?;
            Caller::stated(issuer, claims).map_err(|error| error.to_string())
        }
        IssuedBy::Named(name) => {
            let names = [GENERIC.client_claim, GENERIC.subject_claim, GENERIC.tenant_claim];
            let scopes = readable(&claims, GENERIC.scope_claim, names)?.into_iter().collect::<Scopes>();
            Ok(Caller { scopes, ..Caller::unverified(name, claims) })
        }
    }
}

/// The scopes of claims in which whatever is read from has a value that can be read.
fn readable<S: AsRef<str>>(
    claims: &Map<String, Value>,
    scope_claims: &[S],
    names: [&[S]; 3],
) -> Result<Vec<Box<str>>, String> {
    let mut scopes: Vec<Box<str>> = Vec::new();
    scope_claims.iter().try_for_each(|name| add(claims, name.as_ref(), &mut scopes))?;
    names.into_iter().try_for_each(|names| text(claims, names))?;
    text(claims, &["iss"])?;
    text(claims, &["jti", "uti"])?;
    Ok(scopes)
}

/// The first of `names` that is there must be a name.
fn text(claims: &Map<String, Value>, names: &[impl AsRef<str>]) -> Result<(), String> {
    let Some((name, value)) = names.iter().find_map(|name| Some((name.as_ref(), claims.get(name.as_ref())?))) else {
        return Ok(());
    };
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => Ok(()),
        _ => Err(format!("`{name}` must be text without control characters")),
    }
}

/// A string of scopes parted by spaces (RFC 6749 section 3.3), or a list.
fn add(claims: &Map<String, Value>, name: &str, scopes: &mut Vec<Box<str>>) -> Result<(), String> {
    let wrong = || format!("`{name}` must be a string of scopes or a list of strings");
    match claims.get(name) {
        None => {}
        Some(Value::String(text)) => {
            scopes.extend(text.split(' ').filter(|scope| !scope.is_empty()).map(Into::into));
        }
        Some(Value::Array(items)) => {
            for item in items {
                scopes.push(item.as_str().ok_or_else(wrong)?.into());
            }
        }
        Some(_) => return Err(wrong()),
    }
    Ok(())
}
