//! Patterns written by the operator: regular expressions that match in linear time, with a bounded compiled size.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::ErrorKind as AstErrorKind;
use regex_syntax::hir::Hir;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

use super::literals::Literal;

const SIZE_LIMIT: usize = 1024 * 1024;
const NEST_LIMIT: u32 = 50;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// The literals with which matches begin; empty if a match can begin otherwise.
    pub(super) prefixes: Vec<Literal>,
}

/// Why a pattern was refused, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    pub(super) message: String,
    pub(super) help: &'static str,
}

impl Pattern {
    /// Compiles `source`. Errs if it needs backtracking, matches the empty string or exceeds 1 MiB when compiled.
    pub(super) fn new(source: &str) -> Result<Self, PatternError> {
        let hir = parse(source)?;
        if hir.properties().minimum_len().is_none_or(|length| length == 0) {
            return Err(PatternError {
                message: "pattern matches the empty string".into(),
                help: "ask for at least one character: `+` instead of `*`, no part that is optional as a whole",
            });
        }
        let regex = RegexBuilder::new(source)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .nest_limit(NEST_LIMIT)
            .build()
            .map_err(|_| PatternError {
                message: format!("pattern needs more than {} KiB when compiled", SIZE_LIMIT / 1024),
                help: "lower counted repetitions, or write `(?-u:\\w)` where ASCII is enough",
            })?;
        Ok(Self { regex, prefixes: prefixes(&hir) })
    }
}

fn parse(source: &str) -> Result<Hir, PatternError> {
    let error = match regex_syntax::ParserBuilder::new().nest_limit(NEST_LIMIT).build().parse(source) {
        Ok(hir) => return Ok(hir),
        Err(error) => error,
    };
    let (message, help) = match &error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), advice(error.kind())),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), SYNTAX),
        other => (other.to_string(), SYNTAX),
    };
    Err(PatternError { message: format!("pattern `{source}` cannot be used: {message}"), help })
}

const SYNTAX: &str = "the syntax is that of the Rust `regex` crate; in TOML write patterns in single quotes";

fn advice(kind: &AstErrorKind) -> &'static str {
    match kind {
        AstErrorKind::UnsupportedLookAround => {
            "look-around would need backtracking, which hostile text can make endless; use `\\b`, or match the surroundings too"
        }
        AstErrorKind::UnsupportedBackreference => {
            "back-references would need backtracking, which hostile text can make endless; write the alternatives out"
        }
        AstErrorKind::NestLimitExceeded(_) => "use fewer groups within groups",
        _ => SYNTAX,
    }
}

/// The literals with which matches begin, truncated before the first character that JSON can write in several ways.
fn prefixes(hir: &Hir) -> Vec<Literal> {
    const MOST: usize = 32;
    const SHORTEST: usize = 3;
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_total(MOST);
    let sequence = extractor.extract(hir);
    let cut = |bytes: &[u8]| {
        let plain = bytes.iter().take_while(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'/'));
        Literal { bytes: plain.copied().collect(), starts_word: false }
    };
    let literals: Vec<Literal> =
        sequence.literals().unwrap_or_default().iter().map(|literal| cut(literal.as_bytes())).collect();
    if literals.iter().any(|literal| literal.bytes.len() < SHORTEST) { Vec::new() } else { literals }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn explains_what_it_refuses() {
        let cases = [
            (r"(?<=x)\d+", "look-around", "\\b"),
            (r"\d+(?!x)", "look-around", "\\b"),
            (r"(a)\1", "backreference", "alternatives"),
            (r"\d*", "empty string", "`+`"),
            (r"a|", "empty string", "`+`"),
            (r"\b", "empty string", "`+`"),
            (r"(?:a{1,1000}){1,1000}", "1024 KiB", "repetitions"),
            (r"[a-", "unclosed", "syntax"),
            (r"*", "repetition", "syntax"),
        ];
        for (source, message, help) in cases {
            let error = Pattern::new(source).unwrap_err();
            assert!(error.message.contains(message), "{source}: {}", error.message);
            assert!(error.help.contains(help), "{source}: {}", error.help);
        }
        assert!(Pattern::new(&format!("{}a{}", "(".repeat(60), ")".repeat(60))).is_err());
    }

    #[test]
    fn knows_what_matches_begin_with() {
        let prefixes = |source: &str| -> Vec<String> {
            let pattern = Pattern::new(source).unwrap();
            pattern.prefixes.into_iter().map(|literal| String::from_utf8(literal.bytes).unwrap()).collect()
        };
        assert_eq!(prefixes(r"\bEMP-\d{6}\b"), ["EMP-"]);
        assert_eq!(prefixes(r"(?:CUST|ACCT)\d+"), ["CUST", "ACCT"]);
        assert!(prefixes(r"\d{6}").is_empty());
        assert!(prefixes(r"é\d{6}").is_empty());
        assert!(prefixes(r"a|EMP-\d").is_empty());
    }
}
