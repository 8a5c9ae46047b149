use super::{Audit, Fragment, escape};
use crate::auth::Claimed;

/// The `unverified` member: what a refused token says of itself, masked and cut like everything that a stranger writes. Only
/// the name of a configured issuer, and its identifier, are our own words.
pub(super) fn render(claimed: &Claimed, audit: &Audit) -> Fragment {
    let mut out = b",\"unverified\":{".to_vec();
    let Claimed { issuer, iss, kid, token_id, digest } = claimed;
    if let Some(issuer) = issuer {
        out.extend_from_slice(b"\"issuer\":");
        escape::own(&mut out, issuer);
        out.push(b',');
    }
    match iss {
        Some(iss) if issuer.is_some() => {
            out.extend_from_slice(b"\"iss\":");
            escape::own(&mut out, iss);
            out.push(b',');
        }
        iss => foreign(&mut out, b"\"iss\":", iss.as_deref(), audit),
    }
    foreign(&mut out, b"\"kid\":", kid.as_deref(), audit);
    // Whose token it is nobody knows yet but its issuer, which knows it by this.
    let token_id = token_id.as_deref().filter(|_| audit.subjects.is_none());
    foreign(&mut out, b"\"jti\":", token_id, audit);
    out.extend_from_slice(format!("\"token\":\"sha256:{digest}\"}}").as_bytes());
    Fragment::kept(out)
}

fn foreign(out: &mut Vec<u8>, key: &[u8], text: Option<&str>, audit: &Audit) {
    if let Some(text) = text {
        out.extend_from_slice(key);
        escape::foreign(out, text, audit.sanitize);
        out.push(b',');
    }
}
