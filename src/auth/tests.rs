mod claims;
mod profiles;
mod shapes;
pub(in crate::auth) mod support;
mod tokens;
mod verifier;
