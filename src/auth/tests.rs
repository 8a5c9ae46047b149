pub(in crate::auth) mod support;
mod tokens;
mod verifier;
