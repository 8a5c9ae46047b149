//! The two people, what they may do, and what each scope means.

use super::error::{Code, OauthError};

/// A made-up person who can log in.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// Short name: `login_hint`, `token mint --user`, and `sub`.
    pub name: &'static str,
    /// Name on the login page.
    pub display_name: &'static str,
    /// `department` claim.
    pub department: &'static str,
    /// `email` claim.
    pub email: &'static str,
    /// Scopes held without being asked for more.
    pub scopes: &'static [&'static str],
    /// Scopes the person can grant when a client asks.
    pub grantable: &'static [&'static str],
}

/// Everybody who can log in.
pub const USERS: [User; 2] = [
    User {
        name: "ana",
        display_name: "Ana Pereira",
        department: "sales",
        email: "ana@example.com",
        scopes: &["crm:read"],
        grantable: &["crm:read", "crm:write"],
    },
    User {
        name: "max",
        display_name: "Max Okafor",
        department: "support",
        email: "max@example.com",
        scopes: &["crm:read", "crm:write"],
        grantable: &["crm:read", "crm:write"],
    },
];

/// Every scope with what the login page says about it.
pub const SCOPES: [(&str, &str); 2] =
    [("crm:read", "See contacts and invoices"), ("crm:write", "Add and change contacts")];

/// What a client gets that asks for nothing in particular.
const BASE_SCOPE: &str = "crm:read";

/// The user of that name.
pub(super) fn find(name: &str) -> Option<&'static User> {
    USERS.iter().find(|user| user.name == name)
}

/// What of `requested` is known here, in our order (RFC 6749 3.3: the rest is ignored, and the answer says what was
/// granted). Errs when nothing is left.
pub(super) fn known_scopes(requested: Option<&str>) -> Result<Vec<&'static str>, OauthError> {
    let Some(requested) = requested else { return Ok(vec![BASE_SCOPE]) };
    let wanted: Vec<&str> = requested.split(' ').collect();
    let known: Vec<_> = SCOPES.iter().map(|(name, _)| *name).filter(|name| wanted.contains(name)).collect();
    if known.is_empty() {
        return Err(OauthError::new(Code::InvalidScope, "none of the scopes is known here"));
    }
    Ok(known)
}

/// `requested` as far as `allowed` goes.
pub(super) fn limit(requested: &[&'static str], allowed: &[&str]) -> Vec<&'static str> {
    requested.iter().copied().filter(|scope| allowed.contains(scope)).collect()
}
