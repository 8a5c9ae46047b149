use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::VerifyError;
use crate::json::{self, Kind};

/// The claims set of an accepted token (RFC 7519 section 7.2). It is kept as the bytes it was read from and parsed on demand,
/// as most requests do not need it.
#[derive(Clone, Default)]
pub struct ClaimsSet {
    /// The token, which is shared, or the JSON of the claims. They are told apart by the opening brace, with which no token
    /// begins.
    source: Arc<[u8]>,
    read: OnceLock<Box<Map<String, Value>>>,
}

impl ClaimsSet {
    /// The claims in a JSON object. Errs if they cannot be parsed.
    pub(super) fn new(claims: json::Value<'_>) -> Result<Self, VerifyError> {
        readable(claims)?;
        Ok(Self { source: claims.raw().into(), read: OnceLock::new() })
    }

    /// The same for the payload of a token in compact serialisation, from which `claims` were read.
    pub(super) fn of_token(claims: json::Value<'_>, token: Arc<[u8]>) -> Result<Self, VerifyError> {
        readable(claims)?;
        Ok(Self { source: token, read: OnceLock::new() })
    }

    /// The token with these claims; `None` if they come from introspection.
    pub(super) fn token(&self) -> Option<&Arc<[u8]>> {
        Some(&self.source).filter(|source| !source.starts_with(b"{"))
    }

    /// The JSON of claims that come from introspection.
    pub(super) fn told(&self) -> Bytes {
        Bytes::copy_from_slice(&self.source)
    }

    /// The claims for occasional use: if they are not parsed yet, the result is not kept.
    pub(super) fn glance(&self) -> Cow<'_, Map<String, Value>> {
        self.read.get().map_or_else(|| Cow::Owned(self.parsed()), |read| Cow::Borrowed(&**read))
    }

    /// Parses the claims, which does not fail, since they were checked at construction.
    fn parsed(&self) -> Map<String, Value> {
        if self.source.starts_with(b"{") {
            return serde_json::from_slice(&self.source).unwrap_or_default();
        }
        let payload = self.source.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
        let payload = BASE64URL_NOPAD.decode(payload).unwrap_or_default();
        serde_json::from_slice(&payload).unwrap_or_default()
    }
}

fn readable(claims: json::Value<'_>) -> Result<(), VerifyError> {
    if claims.kind() == Kind::Object && claims.numbers_fit() {
        Ok(())
    } else {
        Err(VerifyError::Malformed("a claim is out of range"))
    }
}

impl From<Map<String, Value>> for ClaimsSet {
    fn from(claims: Map<String, Value>) -> Self {
        Self { source: Arc::default(), read: Box::new(claims).into() }
    }
}

impl Deref for ClaimsSet {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Map<String, Value> {
        self.read.get_or_init(|| Box::new(self.parsed()))
    }
}

impl fmt::Debug for ClaimsSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::DerefMut;

    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use data_encoding::BASE64URL_NOPAD;

    use super::ClaimsSet;
    use crate::auth::VerifyError;
    use crate::json::{Document, Limits};

    impl DerefMut for ClaimsSet {
        fn deref_mut(&mut self) -> &mut Map<String, Value> {
            *self = Self::from((**self).clone());
            self.read.get_mut().unwrap()
        }
    }

    fn set(text: &str) -> Result<ClaimsSet, VerifyError> {
        let document = Document::parse(text.to_owned().into(), &Limits::REQUEST).unwrap();
        let token = format!("eyJ9.{}.c2ln", BASE64URL_NOPAD.encode(text.as_bytes()));
        let payload = ClaimsSet::of_token(document.root(), token.into_bytes().into());
        let said = ClaimsSet::new(document.root());
        assert_eq!(payload.is_ok(), said.is_ok());
        if let (Ok(payload), Ok(said)) = (payload, &said) {
            assert_eq!(*payload.glance(), *said.glance());
            assert!(payload.read.get().is_none(), "nothing is kept of a glance");
            assert_eq!(*payload, **said);
            assert_eq!(*payload.glance(), **said);
        }
        said
    }

    #[test]
    fn reads_what_the_text_says() {
        let text = r#" {"sub":"a\u006ea","n":[1,-0.5,1e300,18446744073709551615],"act":{"sub":"x"}} "#;
        assert_eq!(json!(*set(text).unwrap()), serde_json::from_str::<serde_json::Value>(text).unwrap());
        assert!(set("{}").unwrap().is_empty() && ClaimsSet::default().is_empty());
    }

    #[test]
    fn what_could_not_be_read_later_is_refused_now() {
        for text in
            ["{\"a\":1e309}", "{\"a\":[{\"b\":-1e999}]}", &format!("{{\"a\":{}}}", "9".repeat(400)), "[]", "1", "null"]
        {
            assert!(set(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// Claims that could not be read would be none, and a rule that refuses by them would not.
        #[test]
        fn what_is_taken_can_be_read(text in r#"\{"a":[\[\]{}",:0-9eE.+\-a-fnrtu\\lsd8cD]{0,24}\}"#) {
            if Document::parse(text.clone().into(), &Limits::REQUEST).is_ok() && set(&text).is_ok() {
                prop_assert!(serde_json::from_str::<Map<String, Value>>(&text).is_ok(), "{}", text);
            }
        }
    }
}
