//! `application/x-www-form-urlencoded` parameters, each at most once (RFC 6749 sections 3.1 and 3.2).

use std::collections::BTreeMap;

use http::header::{self, HeaderMap};

use super::error::{Code, OauthError};

/// Parameters of one request. Those without a value count as left out (RFC 6749 3.1).
#[derive(Debug, Default)]
pub(super) struct Form {
    values: BTreeMap<String, String>,
    repeated: Vec<String>,
}

impl Form {
    /// The parameters of a query or body.
    pub(super) fn parse(encoded: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(encoded) {
            if value.is_empty() {
                continue;
            }
            if form.values.contains_key(&*name) {
                form.repeated.push(name.into_owned());
            } else {
                form.values.insert(name.into_owned(), value.into_owned());
            }
        }
        form
    }

    /// The parameters of a POST; errs when the body is something else.
    pub(super) fn posted(headers: &HeaderMap, body: &[u8]) -> Result<Self, OauthError> {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(OauthError::new(Code::InvalidRequest, "the body must be application/x-www-form-urlencoded"));
        }
        Ok(Self::parse(body))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn is_repeated(&self, name: &str) -> bool {
        self.repeated.iter().any(|repeated| repeated == name)
    }

    /// Errs when any parameter came twice.
    pub(super) fn each_once(&self) -> Result<(), OauthError> {
        match self.repeated.first().map(String::as_str) {
            None => Ok(()),
            Some("resource") => Err(OauthError::new(Code::InvalidTarget, "only one resource can be asked for")),
            Some(_) => Err(OauthError::new(Code::InvalidRequest, "a parameter was given twice")),
        }
    }
}
