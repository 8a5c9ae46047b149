//! Makes text from outside safe for a log, a metric or an audit record.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::applied::Applied;
use super::engine::{Plan, Spot, apply};
use super::own::Own;
use super::walk::Walk;
use super::{Action, Direction, Directions, Entity, Findings, Spec, What, spec};

pub(super) static SANITIZER: LazyLock<Plan> = LazyLock::new(|| {
    let on = Directions { arguments: false, result: true };
    let spec = Spec::new("sanitize", on, What::Entities(Entity::ALL.to_vec()), Action::Redact);
    // INVARIANT: a mask of all entities that redacts compiles.
    let rules = spec::rule(&spec).into_iter().collect();
    Plan::new(Direction::Result, rules, Own::of(&[]).into())
});

/// `text` for use in a log, a metric or an audit record: every entity redacted, control and format characters escaped,
/// truncated to 200 bytes.
pub fn sanitize(text: &str) -> String {
    const LONGEST: usize = 200;
    const LOOKED_AT: usize = 64 * 1024;
    let head = text.get(..text.floor_char_boundary(LOOKED_AT)).unwrap_or_default();
    // A truncated value might not be recognised, so the last word of a truncated text is dropped.
    let head = if head.len() < text.len() {
        head.rsplit_once(char::is_whitespace).map_or("", |(whole, _)| whole)
    } else {
        head
    };
    let masked =
        match Walk::new(&SANITIZER, &Applied::default(), &mut Findings::default()).text(head, Spot::default(), 0) {
            Ok(mut edits) => {
                edits.sort_by_key(|edit| edit.start);
                apply(head, &edits)
            }
            Err(_) => "[REFUSED]".to_owned(),
        };
    let mut out = String::new();
    for c in masked.chars() {
        let before = out.len();
        if c.is_control() || is_unseen(c) {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
        if out.len() > LONGEST {
            out.truncate(before.min(out.floor_char_boundary(LONGEST - '…'.len_utf8())));
            out.push('…');
            break;
        }
    }
    out
}

/// Whether a character is invisible or reorders its neighbours.
const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}
