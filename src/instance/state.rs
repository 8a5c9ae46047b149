//! What an operator is told of the state that processes share.

use std::fmt::Write as _;

use crate::state::{Shared, Standing};

/// A line on what is shared, and one more where something is wrong.
pub(super) fn describe(shared: Option<&Shared>) -> String {
    let Some(shared) = shared else { return "state in memory, not shared\n".to_owned() };
    let mut text = format!("state redis {}: rate limits, used proofs and states shared\n", shared.place());
    match shared.standing() {
        Standing::Up => {}
        Standing::New => text.push_str("shared state not connected yet\n"),
        Standing::Down(since, why) => {
            let since = since.rfc3339();
            let since = String::from_utf8_lossy(&since);
            let limits = if shared.counts_locally() { "counted here alone" } else { "refuse" };
            let _ = writeln!(
                text,
                "shared state not connected since {since}: {why}; rate limits {limits}, proofs and states refused"
            );
        }
    }
    text
}
