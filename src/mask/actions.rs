//! The replacements that actions write.

use super::Action;
use crate::json::Span;

/// The number of mask characters, the same for every value, so that its length is not revealed.
pub(super) const WIDTH: usize = 12;

/// What `action` writes for a `value` of the entity `name`, without keys; `None` for actions that replace nothing.
pub(super) fn replacement(action: &Action, name: &str, value: &str) -> Option<String> {
    match action {
        Action::Hash { .. } | Action::Redact | Action::Tokenize => {
            let mut token = String::with_capacity(name.len() + 2);
            token.push('[');
            token.push_str(name);
            token.push(']');
            Some(token)
        }
        Action::Mask { keep_first, keep_last, char } => Some(masked(value, *keep_first, *keep_last, *char)),
        Action::Block | Action::Report => None,
    }
}

fn masked(value: &str, keep_first: usize, keep_last: usize, mask: char) -> String {
    let length = value.chars().count();
    // A value that would be kept whole is masked whole.
    let (first, last) = if keep_first.saturating_add(keep_last) < length { (keep_first, keep_last) } else { (0, 0) };
    let head = value.chars().take(first);
    let tail = value.chars().skip(length - last);
    head.chain(std::iter::repeat_n(mask, WIDTH)).chain(tail).collect()
}

/// Whether the bytes at `span` of `text` are kept characters of a value that `action` masked before.
#[inline]
pub(super) fn is_masked(action: &Action, text: &str, span: Span) -> bool {
    let Action::Mask { keep_first, keep_last, char } = action else { return false };
    is_left_over(text, span, (*keep_first, *keep_last), *char)
}

fn is_left_over(text: &str, Span { start, end }: Span, (keep_first, keep_last): (usize, usize), mask: char) -> bool {
    let (Some(head), Some(value), Some(tail)) = (text.get(..start), text.get(start..end), text.get(end..)) else {
        return false;
    };
    let run = |characters: &mut dyn Iterator<Item = char>| characters.take_while(|c| *c == mask).count();
    let length = value.chars().count();
    let kept_behind = length <= keep_last && run(&mut head.chars().rev()) >= WIDTH;
    let kept_before = length <= keep_first && run(&mut tail.chars()) >= WIDTH;
    kept_behind || kept_before || is_whole(value, keep_first, keep_last, mask)
}

/// Whether `value` is a whole replacement: kept characters, the mask, kept characters.
fn is_whole(value: &str, keep_first: usize, keep_last: usize, mask: char) -> bool {
    let wall: String = std::iter::repeat_n(mask, WIDTH).collect();
    let Some((first, rest)) = value.split_once(wall.as_str()) else { return false };
    first.chars().count() <= keep_first && rest.trim_start_matches(mask).chars().count() <= keep_last
}

#[cfg(test)]
mod tests {
    use super::{is_masked, replacement};
    use crate::json::Span;
    use crate::mask::Action;

    fn mask(keep_first: usize, keep_last: usize) -> Action {
        Action::Mask { keep_first, keep_last, char: '*' }
    }

    #[test]
    fn writes_the_same_width_for_every_length() {
        let cases = [
            (mask(0, 4), "4111111111111111", "************1111"),
            (mask(0, 4), "41111", "************1111"),
            (mask(0, 4), "1111", "************"),
            (mask(0, 0), "x", "************"),
            (mask(2, 3), "añana@example.com", "añ************com"),
            (mask(usize::MAX, 4), "abc", "************"),
            (Action::Mask { keep_first: 1, keep_last: 0, char: '•' }, "abc", "a••••••••••••"),
            (Action::Redact, "abc", "[X]"),
        ];
        for (action, value, written) in cases {
            assert_eq!(replacement(&action, "X", value).as_deref(), Some(written));
        }
        assert_eq!(replacement(&Action::Block, "X", "abc"), None);
        assert_eq!(replacement(&Action::Report, "X", "abc"), None);
    }

    #[test]
    fn knows_its_own_writing() {
        let text = "n ************1111";
        assert!(is_masked(&mask(0, 4), text, Span { start: 14, end: 18 }));
        assert!(is_masked(&mask(0, 4), text, Span { start: 2, end: 18 }));
        assert!(!is_masked(&mask(0, 3), text, Span { start: 14, end: 18 }));
        assert!(!is_masked(&mask(0, 4), "***********1111", Span { start: 11, end: 15 }));
        assert!(is_masked(&mask(2, 0), "ab************", Span { start: 0, end: 2 }));
        assert!(!is_masked(&Action::Redact, text, Span { start: 14, end: 18 }));
    }
}
