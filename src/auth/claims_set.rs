use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::VerifyError;
use crate::json::{self, Kind};

/// The claims set of an accepted token (RFC 7519 section 7.2): kept as text, and read into values when somebody asks, as
/// most requests are decided without.
#[derive(Clone, Default)]
pub struct ClaimsSet {
    text: Box<[u8]>,
    read: OnceLock<Map<String, Value>>,
}

impl ClaimsSet {
    /// The claims of an object, all of which can be read.
    pub(super) fn new(claims: json::Value<'_>) -> Result<Self, VerifyError> {
        if claims.kind() != Kind::Object || !claims.numbers_fit() {
            return Err(VerifyError::Malformed("a claim is out of range"));
        }
        Ok(Self { text: claims.raw().into(), read: OnceLock::new() })
    }
}

impl From<Map<String, Value>> for ClaimsSet {
    fn from(claims: Map<String, Value>) -> Self {
        Self { text: Box::default(), read: claims.into() }
    }
}

impl Deref for ClaimsSet {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Map<String, Value> {
        // The text was strict JSON with numbers in range: it reads.
        self.read.get_or_init(|| serde_json::from_slice(&self.text).unwrap_or_default())
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
        ClaimsSet::new(Document::parse(text.to_owned().into(), &Limits::REQUEST).unwrap().root())
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
            if let Ok(document) = Document::parse(text.clone().into(), &Limits::REQUEST)
                && ClaimsSet::new(document.root()).is_ok()
            {
                prop_assert!(serde_json::from_str::<Map<String, Value>>(&text).is_ok(), "{}", text);
            }
        }
    }
}
