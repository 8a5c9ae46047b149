//! Lint of texts a model reads: hidden characters, escapes, instructions to the model, lures.
//!
//! This finds what has a fixed form. It does not judge whether a sentence means harm, and a patient author gets past it: the
//! lock is what keeps a definition from changing after somebody has read it.

pub mod definition;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

/// A kind of finding in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Terminal escapes (ECMA-48) and other control characters.
    Escape,
    /// Invisible characters: tags, bidirectional controls, zero-width characters and others.
    Hidden,
    /// Instructions to the model.
    Instruction,
    /// A `data:` URI.
    Data,
    /// Base64 of at least 200 characters.
    Base64,
    /// A link to another host than the server's own.
    Link,
    /// The name of another tool.
    Reference,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Escape, Self::Hidden, Self::Instruction, Self::Data, Self::Base64, Self::Link, Self::Reference];

    /// Whether honest text hardly ever has it. Findings that are not suspicious are only reported.
    pub const fn is_suspicious(self) -> bool {
        match self {
            Self::Escape | Self::Hidden | Self::Instruction | Self::Data | Self::Base64 => true,
            Self::Link | Self::Reference => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base64 => "long base64",
            Self::Data => "a data: URI",
            Self::Escape => "control characters",
            Self::Hidden => "hidden characters",
            Self::Instruction => "orders to the model",
            Self::Link => "a link elsewhere",
            Self::Reference => "the name of another tool",
        })
    }
}

/// What replaces text that is removed.
const REMOVED: &str = "[removed]";
/// The shortest base64 that is found, in characters.
const LONG: usize = 200;
/// The shortest tool name that is searched for, in bytes: shorter ones are often words.
const NAME: usize = 5;

/// The context of a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting<'a> {
    /// The server's own host, to which links are allowed.
    pub host: &'a str,
    /// Names of the server's other tools.
    pub others: &'a [&'a str],
}

/// The kinds of findings in `text`, each once, in order.
pub fn find(text: &str, setting: &Setting<'_>) -> Vec<Kind> {
    let mut found = Vec::new();
    let clean = cleaned(text, &mut found);
    if INSTRUCTION.as_ref().is_some_and(|pattern| pattern.is_match(&clean)) {
        found.push(Kind::Instruction);
    }
    if !data_uris(&clean).is_empty() {
        found.push(Kind::Data);
    }
    if !base64(&clean).is_empty() {
        found.push(Kind::Base64);
    }
    if links(&clean, setting.host) {
        found.push(Kind::Link);
    }
    if setting.others.iter().any(|name| mentions(&clean, name)) {
        found.push(Kind::Reference);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The text without suspicious findings: characters are dropped, sentences and encoded data replaced.
pub fn strip(text: &str) -> Cow<'_, str> {
    let mut found = Vec::new();
    let mut clean = cleaned(text, &mut found);
    // A removal may join parts that then match.
    for _ in 0..4 {
        let mut spans = data_uris(&clean);
        spans.extend(base64(&clean));
        if let Some(pattern) = INSTRUCTION.as_ref() {
            spans.extend(pattern.find_iter(&clean).map(|found| sentence(&clean, found.start(), found.end())));
        }
        if spans.is_empty() {
            break;
        }
        spans.sort_unstable_by_key(|span| span.start);
        clean = Cow::Owned(without(&clean, &spans));
    }
    clean
}

fn without(text: &str, spans: &[std::ops::Range<usize>]) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for span in spans {
        if span.start >= at {
            out.push_str(text.get(at..span.start).unwrap_or_default());
            out.push_str(REMOVED);
        }
        at = at.max(span.end);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// The sentence around `start..end`.
fn sentence(text: &str, start: usize, end: usize) -> std::ops::Range<usize> {
    let ends = |char: char| matches!(char, '.' | '!' | '?' | '\n' | '。');
    let before = text.get(..start).unwrap_or_default();
    let begin = before
        .rfind(ends)
        .map_or(0, |at| at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
    let behind = text.get(end..).unwrap_or_default();
    let stop = behind.find(ends).map_or(text.len(), |at| end + at);
    begin..stop
}

/// The text without invisible characters and terminal escapes, which are added to `found`.
fn cleaned<'t>(text: &'t str, found: &mut Vec<Kind>) -> Cow<'t, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t' | b'\r')) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars().peekable());
    let mut previous = ' ';
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' | '\u{9b}' => {
                found.push(Kind::Escape);
                if char == '\u{9b}' || chars.peek() == Some(&'[') {
                    chars.next_if(|char| *char == '[');
                    // ECMA-48 section 5.4: parameters and intermediates, then one final byte.
                    while chars.next_if(|char| matches!(char, ' '..='?')).is_some() {}
                    chars.next_if(|char| matches!(char, '@'..='~'));
                }
            }
            '\n' | '\t' | '\r' => out.push(char),
            char if char.is_control() => found.push(Kind::Escape),
            // The zero-width joiner combines emoji, and some scripts need it between letters.
            '\u{200d}' if !previous.is_ascii() && chars.peek().is_some_and(|next| !next.is_ascii()) => out.push(char),
            '\u{fe0f}' if !previous.is_ascii() => out.push(char),
            char if is_hidden(char) => found.push(Kind::Hidden),
            char => out.push(char),
        }
        previous = char;
    }
    Cow::Owned(out)
}

/// Whether a character is invisible: Unicode `Default_Ignorable_Code_Point`, line separators, bidirectional controls, private
/// use.
const fn is_hidden(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10fffd}')
}

/// Instructions to a model, as found in poisoned definitions. Each alternative is something that the description of a tool has
/// no need to say.
static INSTRUCTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // `\S+` is used for any word, as `\w` would take megabytes.
    const WHO: &str = r"(?:the |your |any |an? )?(?:users?|humans?|operators?|people|person|anyone|anybody|them)";
    let alternatives = [
        r"\b(?:ignore|disregard|forget|override|bypass)\s+(?:all\s+|any\s+|every\s+)?(?:of\s+)?(?:the\s+|your\s+|these\s+|those\s+)?(?:previous|prior|above|earlier|preceding|existing|former|original|other|system|safety)\s+(?:\S+\s+)?(?:instructions?|prompts?|rules?|directions?|messages?|guidelines?|context|constraints?|restrictions?|commands?|tools?)",
        &format!(
            r"\b(?:do\s+not|don'?t|never|must\s+not|should\s+not|without)\s+(?:ever\s+)?(?:tell(?:ing)?|inform(?:ing)?|notify(?:ing)?|alert(?:ing)?|mention(?:ing)?|reveal(?:ing)?|show(?:ing)?|disclos(?:e|ing)|expos(?:e|ing)|explain(?:ing)?|ask(?:ing)?|warn(?:ing)?|report(?:ing)?)\s+(?:(?:this|that|it|anything|these|about|any|of|the|\S+ing)\s+){{0,4}}(?:to\s+|with\s+)?{WHO}\b"
        ),
        r"\b(?:do\s+not|don'?t|never)\s+(?:mention|reveal|disclose)\s+(?:this|that|it|these|any\s+of|the\s+(?:contents?|existence|instructions?|fact))\b",
        r"\bbefore\s+(?:using|calling|invoking|running|executing|you\s+(?:use|call|invoke|run))\s+(?:this|any|other|another|all|every|the\s+other|each)(?:\s+other)?\s+(?:tools?|functions?)\b",
        r"\b(?:you|the\s+(?:assistant|model|agent|ai|llm))\s+(?:must|should|have\s+to|need\s+to|are\s+required\s+to|shall|will)\s+(?:always|first|also|immediately|silently|secretly|never)\s+(?:call|use|read|send|include|execute|run|invoke|pass|provide|forward|add|append|respond|reply|say|follow)\b",
        r"\b(?:always|must|only)\s+(?:use|call|invoke|prefer|choose|pick)\s+this\s+(?:tool|function)\s+(?:instead|before|first|over|rather|for\s+(?:all|every|any))",
        r"<\s*/?\s*(?:important|system|instructions?|secret|hidden|admin|override|critical)\s*>",
        r"<\|(?:im_start|im_end|system|endoftext)\|>|\[/?INST\]|\[\s*system\s*\]",
        r"(?m)^\s*(?:system|assistant)\s*(?:prompt|message|note|override)?\s*:\s*\S",
        r"\b(?:hidden|secret|new|updated|additional)\s+(?:system\s+)?(?:instructions?|directives?)\b[^.\n]{0,20}:",
        r"\b(?:this|these|the\s+following)\s+(?:\S+\s+)?(?:overrides?|supersedes?|takes?\s+precedence\s+over)\s+(?:all|any|every|the|your)?\b",
        r"\b(?:otherwise|or\s+else),?\s+(?:the|this)\s+(?:tool|function|system|application)\s+(?:will|does|may)\s+(?:not\s+work|fail|crash|break|be\s+(?:locked|deleted))",
        r"\b(?:read|cat|open|load|include|pass|send|get|fetch|access|attach|provide)\b[^.\n]{0,60}(?:~/\.|\.ssh\b|id_rsa|/etc/(?:passwd|shadow)|\.aws/|\.cursor/|mcp\.json|\.env\b|private\s+keys?)",
        r"\b(?:you\s+are\s+now|from\s+now\s+on,?\s+you|pretend\s+(?:to\s+be|that|you)|act\s+as\s+(?:if|though|an?\s+(?:unrestricted|admin|root|developer)))\b",
        r"\[[^\]\n]{0,30}(?:directive|instruction|override)\s*\]|\b(?:override|system)\s+directive\b|<\s*hidden\s*>",
        r"\bact\s+as\s*:|\b(?:ignore|disable|bypass)s?\s+(?:all\s+)?(?:previous\s+)?safety\b",
        r"\b(?:ignore|override|reveal|print|repeat|replace)\b[^.\n]{0,30}\bsystem\s+prompt\b",
    ];
    RegexBuilder::new(&alternatives.join("|")).case_insensitive(true).size_limit(8 * 1024 * 1024).build().ok()
});

fn data_uris(text: &str) -> Vec<std::ops::Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let starts = memchr::memmem::find_iter(lower.as_bytes(), b"data:");
    let of_uri = |start: usize| {
        let rest = lower.get(start + 5..)?;
        let end = rest.find(|char: char| char.is_whitespace() || "\"'<>)".contains(char)).unwrap_or(rest.len());
        let uri = rest.get(..end)?;
        (uri.contains(',') && (uri.contains('/') || uri.contains(";base64"))).then_some(start..start + 5 + end)
    };
    starts.filter_map(of_uri).collect()
}

fn base64(text: &str) -> Vec<std::ops::Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let (mut spans, mut start) = (Vec::new(), None);
    for (at, byte) in text.bytes().chain([b' ']).enumerate() {
        match (is_part(byte), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                let run = text.get(from..at).unwrap_or_default();
                let varied = run.bytes().any(|byte| byte.is_ascii_uppercase())
                    && run.bytes().any(|byte| byte.is_ascii_lowercase());
                if at - from >= LONG && varied {
                    spans.push(from..at);
                }
                start = None;
            }
            _ => {}
        }
    }
    spans
}

/// Whether the text has a link to another host.
fn links(text: &str, host: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let starts = memchr::memmem::find_iter(lower.as_bytes(), b"://");
    starts.filter_map(|at| lower.get(at + 3..)).any(|rest| {
        let end = rest.find(|char: char| !(char.is_alphanumeric() || ".-:[]@".contains(char))).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        let named = authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
        named.contains('.') && named != host
    })
}

/// Whether the text contains a name as a whole word. Short names and plain words do not count.
fn mentions(text: &str, name: &str) -> bool {
    let is_name = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-');
    name.len() >= NAME
        && (name.contains(['_', '-', '.', '/']) || name.chars().any(char::is_uppercase))
        && memchr::memmem::find_iter(text.as_bytes(), name.as_bytes()).any(|at| {
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let behind = text.get(at + name.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_name) && !behind.is_some_and(is_name)
        })
}

#[cfg(test)]
mod tests;
