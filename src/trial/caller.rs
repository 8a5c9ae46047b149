//! Somebody who might call, made of the claims a token would have.

use serde_json::{Map, Value};

use crate::auth::{Caller, Scopes};

/// Claims scopes are read from where no issuer says otherwise.
const SCOPE_CLAIMS: [&str; 2] = ["scope", "scp"];

/// The caller a verified token with these claims would make; the error says what is wrong with them.
pub(crate) fn caller(
    claims: Map<String, Value>,
    issuer_name: &str,
    scope_claims: Option<&[String]>,
) -> Result<Caller, String> {
    let text = |names: &[&str]| -> Result<(), String> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, claims.get(*name)?))) else {
            return Ok(());
        };
        match value.as_str() {
            Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => Ok(()),
            _ => Err(format!("`{name}` must be text without control characters")),
        }
    };
    text(&["client_id", "azp", "cid", "appid"])?;
    let mut scopes: Vec<Box<str>> = Vec::new();
    match scope_claims {
        Some(names) => names.iter().try_for_each(|name| add(&claims, name, &mut scopes))?,
        None => SCOPE_CLAIMS.iter().try_for_each(|name| add(&claims, name, &mut scopes))?,
    }
    for names in [&["sub"][..], &["iss"], &["tid", "org_id", "hd"], &["jti", "uti"]] {
        text(names)?;
    }
    Ok(Caller { scopes: scopes.into_iter().collect::<Scopes>(), ..Caller::unverified(issuer_name, claims) })
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
