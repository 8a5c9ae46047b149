//! What an operator is told of the state that processes share.

use std::fmt::Write as _;

use crate::state::{Shared, Standing};

/// Whether calls can have been served, and a line on what is shared, with one more where something is wrong.
pub(super) fn describe(shared: Option<&Shared>) -> (bool, String) {
    let Some(shared) = shared else { return (true, "state in memory, not shared\n".to_owned()) };
    let (place, revoked) = (shared.place(), shared.revocations());
    let mut text =
        format!("state redis {place}: rate limits, used proofs and states, revocations shared ({revoked} revoked)\n");
    let standing = shared.standing();
    if let Standing::Down(since, why) = &standing {
        let since = since.rfc3339();
        let since = String::from_utf8_lossy(&since);
        let limits = if shared.counts_locally() { "counted here alone" } else { "refuse" };
        let _ = writeln!(text, "shared state not connected since {since}: {why}");
        let _ = writeln!(text, "rate limits {limits}, proofs and states refused");
    }
    if !shared.is_current() {
        text.push_str("revocations not known: tokens refused\n");
    }
    (shared.was_up(), text)
}
