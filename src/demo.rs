//! What `portcullis demo` runs besides the proxy: an OAuth issuer with new keys and a sample CRM with fictitious data that
//! speaks MCP, both on loopback. The tests use them too.

pub mod banner;
pub mod certificate;
pub mod crm;
pub mod issuer;
pub mod watch;
mod web;

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::error::Unspecified;
use data_encoding::BASE64URL_NOPAD;

pub use self::web::Fault;

/// Locks a mutex, poisoned or not: the data is consistent after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 256 random bits as text: codes, refresh tokens, session ids, secrets.
fn random_text() -> Result<String, Unspecified> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}
