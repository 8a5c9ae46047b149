mod claims;
mod shapes;
pub(in crate::auth) mod support;
mod tokens;
mod verifier;
