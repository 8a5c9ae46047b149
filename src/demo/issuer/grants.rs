//! Open logins, authorization codes and refresh token families.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::error::Unspecified;

use super::client::Client;
use super::error::{Code, OauthError};
use super::users::User;
use crate::clock::Timestamp;
use crate::demo::random_text;

const LOGIN_LIFETIME: Duration = Duration::from_mins(10);
const REFRESH_LIFETIME: Duration = Duration::from_hours(8);
/// How long a spent code is remembered so that a second use is noticed.
const CODE_MEMORY: Duration = Duration::from_mins(10);
/// Of each table; a demo that sees more forgets what expires first.
const MOST_ENTRIES: usize = 10_000;

/// A checked authorization request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) client: Arc<Client>,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) challenge: String,
    pub(super) scopes: Vec<&'static str>,
    pub(super) audience: String,
}

/// What a user allowed a client.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    pub(super) client: Arc<Client>,
    pub(super) user: &'static User,
    pub(super) scopes: Vec<&'static str>,
    pub(super) audience: String,
}

/// A code as `/token` gets it back.
#[derive(Clone, Debug)]
pub(super) struct Redeemed {
    pub(super) asked: Asked,
    pub(super) allowed: Allowed,
    pub(super) family: String,
}

#[derive(Debug)]
struct IssuedCode {
    redeemed: Redeemed,
    expires: Timestamp,
    use_: Use,
}

#[derive(Debug, PartialEq, Eq)]
enum Use {
    Open,
    Spent,
}

/// The refresh tokens that descend from one login; only the newest is good.
#[derive(Debug)]
struct Family {
    allowed: Allowed,
    newest: String,
    expires: Timestamp,
}

/// All open logins, codes and refresh tokens.
#[derive(Debug, Default)]
pub(super) struct Grants {
    logins: HashMap<String, (Asked, Timestamp)>,
    codes: HashMap<String, IssuedCode>,
    families: HashMap<String, Family>,
}

impl Grants {
    /// Keeps `asked` until the user has decided; the name is known to that one page only.
    pub(super) fn open_login(&mut self, asked: Asked, now: Timestamp) -> Result<String, Unspecified> {
        self.forget(now);
        let name = random_text()?;
        self.logins.insert(name.clone(), (asked, now.plus(LOGIN_LIFETIME)));
        Ok(name)
    }

    /// What was asked under `name`; works once.
    pub(super) fn close_login(&mut self, name: &str, now: Timestamp) -> Option<Asked> {
        let (asked, expires) = self.logins.remove(name)?;
        (now < expires).then_some(asked)
    }

    /// An authorization code for what `user` allowed.
    pub(super) fn issue_code(
        &mut self,
        asked: Asked,
        user: &'static User,
        scopes: Vec<&'static str>,
        expires: Timestamp,
    ) -> Result<String, Unspecified> {
        let code = random_text()?;
        let allowed = Allowed { client: asked.client.clone(), user, scopes, audience: asked.audience.clone() };
        let redeemed = Redeemed { asked, allowed, family: random_text()? };
        self.codes.insert(code.clone(), IssuedCode { redeemed, expires, use_: Use::Open });
        Ok(code)
    }

    /// Spends `code`, whatever comes of it. A second use ends the refresh tokens of the first (OAuth 2.1 4.1.3).
    pub(super) fn redeem(&mut self, code: &str, now: Timestamp) -> Result<Redeemed, OauthError> {
        let refuse = |why| OauthError::new(Code::InvalidGrant, why);
        let issued = self.codes.get_mut(code).ok_or(refuse("the code is unknown"))?;
        if issued.use_ == Use::Spent {
            self.families.remove(&issued.redeemed.family);
            return Err(refuse("the code was used before; its refresh tokens are void"));
        }
        issued.use_ = Use::Spent;
        if now >= issued.expires {
            return Err(refuse("the code has expired"));
        }
        Ok(issued.redeemed.clone())
    }

    /// The first refresh token of a login.
    pub(super) fn start_family(
        &mut self,
        family: &str,
        allowed: Allowed,
        now: Timestamp,
    ) -> Result<String, Unspecified> {
        self.forget(now);
        let newest = format!("{family}.{}", random_text()?);
        let expires = now.plus(REFRESH_LIFETIME);
        self.families.insert(family.to_owned(), Family { allowed, newest: newest.clone(), expires });
        Ok(newest)
    }

    /// What the login behind `token` allowed. An old token means that two parties hold the family, so it ends
    /// (OAuth 2.1 4.3.1).
    pub(super) fn refreshable(&mut self, token: &str, now: Timestamp) -> Result<Allowed, OauthError> {
        let refuse = |why| OauthError::new(Code::InvalidGrant, why);
        let name = token.split('.').next().unwrap_or_default();
        let family = self.families.get(name).ok_or(refuse("the refresh token is unknown"))?;
        if !super::client::same_secret(&family.newest, token) {
            self.families.remove(name);
            return Err(refuse("the refresh token was used before; the login is void"));
        }
        if now >= family.expires {
            return Err(refuse("the refresh token has expired"));
        }
        Ok(family.allowed.clone())
    }

    /// The refresh token that takes the place of `token`, which must be refreshable.
    pub(super) fn rotate(&mut self, token: &str) -> Result<String, OauthError> {
        let name = token.split('.').next().unwrap_or_default();
        let unknown = OauthError::new(Code::InvalidGrant, "the refresh token is unknown");
        let family = self.families.get_mut(name).filter(|family| family.newest == token).ok_or(unknown)?;
        family.newest = format!("{name}.{}", random_text()?);
        Ok(family.newest.clone())
    }

    fn forget(&mut self, now: Timestamp) {
        self.logins.retain(|_, (_, expires)| now < *expires);
        self.codes.retain(|_, code| now < code.expires.plus(CODE_MEMORY));
        self.families.retain(|_, family| now < family.expires);
        if self.logins.len() + self.codes.len() + self.families.len() > MOST_ENTRIES {
            *self = Self::default();
        }
    }
}
