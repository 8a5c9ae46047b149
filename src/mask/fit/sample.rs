//! The plainest text a regular expression matches.

use regex_syntax::hir::{Class, Hir, HirKind};

/// The longest sample, in bytes.
const LONGEST: usize = 4096;
/// The deepest nesting of a pattern.
const DEEPEST: u32 = 50;
/// The characters preferred where a class allows them, in order.
const PLAIN: [char; 8] = ['x', 'X', '0', '1', '_', '-', '.', ' '];

/// A text that `pattern` matches, with each repetition up to `more` times above its minimum; `None` if the pattern cannot be
/// parsed, or the sample would be too long.
pub(super) fn sample(pattern: &str, more: usize) -> Option<String> {
    let hir = regex_syntax::ParserBuilder::new().nest_limit(DEEPEST).build().parse(pattern).ok()?;
    let mut out = String::new();
    write(&hir, u32::try_from(more).unwrap_or(u32::MAX), &mut out)?;
    Some(out)
}

fn write(hir: &Hir, more: u32, out: &mut String) -> Option<()> {
    if out.len() > LONGEST {
        return None;
    }
    match hir.kind() {
        HirKind::Alternation(parts) => write(parts.first()?, more, out),
        HirKind::Capture(capture) => write(&capture.sub, more, out),
        HirKind::Class(class) => {
            out.push(plainest(class)?);
            Some(())
        }
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, more, out)),
        HirKind::Empty | HirKind::Look(_) => Some(()),
        HirKind::Literal(literal) => {
            out.push_str(std::str::from_utf8(&literal.0).ok()?);
            Some(())
        }
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX);
            let times = repetition.min.saturating_add(more).min(most);
            (0..times).try_for_each(|_| write(&repetition.sub, more, out))
        }
    }
}

fn plainest(class: &Class) -> Option<char> {
    let first = match class {
        Class::Bytes(bytes) => bytes.ranges().first().map(|range| char::from(range.start()))?,
        Class::Unicode(unicode) => unicode.ranges().first().map(regex_syntax::hir::ClassUnicodeRange::start)?,
    };
    let holds = |c: &char| match class {
        Class::Bytes(bytes) => u8::try_from(*c)
            .is_ok_and(|b| bytes.ranges().iter().any(|range| (range.start()..=range.end()).contains(&b))),
        Class::Unicode(unicode) => unicode.ranges().iter().any(|range| (range.start()..=range.end()).contains(c)),
    };
    Some(PLAIN.into_iter().find(holds).unwrap_or(first))
}
