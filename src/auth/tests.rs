mod claims;
mod opaque;
mod profiles;
mod readmit;
mod shapes;
pub(in crate::auth) mod support;
mod tokens;
mod verifier;
