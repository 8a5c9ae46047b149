use crate::audit::checkpoint::{CheckpointKey, PublicKey};

/// The key of RFC 8032 section 7.1, test 1, which is that of RFC 8037 appendix A too.
pub(in crate::audit) const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
pub(in crate::audit) const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

pub(in crate::audit) fn key() -> CheckpointKey {
    CheckpointKey::from_pem(PRIVATE.as_bytes()).unwrap()
}

pub(in crate::audit) fn public() -> PublicKey {
    PublicKey::from_pem(PUBLIC.as_bytes()).unwrap()
}
