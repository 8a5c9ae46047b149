//! The configurable members of the metadata document of one server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

/// `servers.NAME.metadata` (RFC 9728 section 2).
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Metadata {
    pub documentation: Option<Url>,
    pub policy_uri: Option<Url>,
    pub tos_uri: Option<Url>,
    pub authorization_details_types: Vec<String>,
    /// `languages`: what people read, by language tag (RFC 9728 section 2.1).
    pub languages: BTreeMap<String, Localized>,
    /// Who vouches for the document.
    pub signed: Option<SignedMetadata>,
}

/// `servers.NAME.metadata.languages.TAG`: members of the metadata document in one language.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Localized {
    pub resource_name: Option<String>,
    pub documentation: Option<Url>,
    pub policy_uri: Option<Url>,
    pub tos_uri: Option<Url>,
}

/// Where `signed_metadata` comes from (RFC 9728 section 2.2).
#[derive(Clone, Debug)]
pub enum SignedMetadata {
    /// `signed_metadata_file`: a JWT of whoever vouches for this server.
    Given(PathBuf),
    /// `signing_key_file`: the proxy's own PEM private key.
    Own(PathBuf),
}

impl SignedMetadata {
    /// The file that is read.
    pub fn file(&self) -> &Path {
        match self {
            Self::Given(file) | Self::Own(file) => file,
        }
    }
}
