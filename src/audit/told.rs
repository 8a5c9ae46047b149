use super::{Audit, Fragment, escape};
use crate::mask::{self, Masked};

/// The most bytes of arguments that are told.
const ARGUMENTS: usize = 4 * 1024;

/// What the line of an allowed call has besides: the digest of its tool's definition, where definitions are approved, and its
/// arguments, where those are asked for. `None` if that is nothing.
///
/// Lines of refused calls have neither: no mask has seen what they say, and nobody but who sent it got it.
pub(super) fn told(masked: &Masked, audit: &Audit) -> Option<Fragment> {
    let (tool, tells) = (masked.tool(), audit.tells_arguments);
    if tool.is_none() && !tells {
        return None;
    }
    let mut out = Vec::with_capacity(96);
    if let Some(fingerprint) = tool {
        out.extend_from_slice(b",\"tool_hash\":\"");
        out.extend_from_slice(fingerprint.as_bytes());
        out.push(b'"');
    }
    if let Some(text) = tells.then(|| mask::told(masked)).flatten() {
        arguments(&mut out, &text);
    }
    Some(Fragment(out.into()))
}

/// As text, since what is cut is no JSON.
fn arguments(out: &mut Vec<u8>, text: &str) {
    let cut = text.get(..text.floor_char_boundary(ARGUMENTS)).unwrap_or_default();
    let is_whole = cut.len() == text.len();
    out.extend_from_slice(b",\"args\":");
    escape::whole(out, cut, if is_whole { "" } else { "…" });
    if !is_whole {
        out.extend_from_slice(format!(",\"args_bytes\":{}", text.len()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ARGUMENTS, arguments};

    fn told(text: &str) -> Value {
        let mut out = b"{\"v\":1".to_vec();
        arguments(&mut out, text);
        out.push(b'}');
        assert!(out.len() < 32 * 1024, "{} bytes", out.len());
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn long_arguments_are_cut_and_say_so() {
        assert_eq!(told(r#"{"a":"b\n"}"#), json!({ "v": 1, "args": r#"{"a":"b\n"}"# }));
        let long = format!("x{}", "é".repeat(ARGUMENTS));
        let cut = told(&long);
        let text = cut["args"].as_str().unwrap();
        assert!(text.len() <= ARGUMENTS + 3 && long.starts_with(text.strip_suffix('…').unwrap()), "{text}");
        assert_eq!(cut["args_bytes"], long.len());
        assert_eq!(told(&"\u{202e}".repeat(ARGUMENTS))["args_bytes"], 3 * ARGUMENTS, "whatever it is escaped as");
    }
}
