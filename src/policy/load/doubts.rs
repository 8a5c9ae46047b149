//! Valid but probably mistaken: names no tool has, and scopes that look like two.

use std::sync::Arc;

use super::Text;
use crate::config::{Problem, Source};

/// A warning about a glob over names with characters that are rather from another pattern language.
pub(super) fn glob(glob: &Text, source: &Arc<Source>) -> Option<Problem> {
    let (mut depth, mut escaped) = (0_usize, false);
    let odd = glob.get_ref().chars().find(|&char| {
        let literal = escaped;
        escaped = char == '\\' && !literal;
        match char {
            '{' if !literal => depth += 1,
            '}' if !literal => depth = depth.saturating_sub(1),
            _ => {}
        }
        let separates = char == ',' && depth > 0;
        !literal && !separates && (char.is_whitespace() || ",^$()|+[]".contains(char))
    })?;
    let help = match odd {
        ',' => "write each name as a string of its own: `[\"get_*\", \"search_*\"]`",
        odd if odd.is_whitespace() => "take the blank out: it counts as a part of the name",
        _ => "a glob is no regular expression: `*` stands for any text, and `{a,b}` for either",
    };
    let message = format!("`{odd}` is a part of the name here, and hardly any name has it");
    Some(Problem::warning(source, glob.span(), message, "most likely nothing is called so").help(help).code("odd-name"))
}

/// A warning about two scopes in one string.
pub(super) fn scope(scope: &Text, source: &Arc<Source>) -> Option<Problem> {
    scope.get_ref().contains(',').then(|| {
        let problem = Problem::warning(source, scope.span(), "this is one scope with a comma in it", "one scope");
        problem.help("write each scope as a string of its own").code("odd-name")
    })
}
