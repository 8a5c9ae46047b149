//! Reads the decisions of an audit file again; lines that are not ours are counted and skipped.

use std::borrow::Cow;
use std::io::{self, BufRead};

use serde::Deserialize;

use super::lines::{Lines, TooLong};
use super::reading;
use super::subjects::PREFIX;
use crate::clock::Timestamp;
use crate::mcp::SubjectKind;
use crate::policy::cases::Verdict;

/// The last character of a truncated text.
const CUT: char = '…';

/// One recorded decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) time: Timestamp,
    pub(crate) server: Box<str>,
    pub(crate) verdict: Verdict,
    /// The rule that decided, or the mask that blocked.
    pub(crate) rule: Option<Box<str>>,
    /// Whether the rules allowed it and a mask blocked it.
    pub(crate) blocked: bool,
    /// Whether rules in shadow would have decided something else.
    pub(crate) shadow: bool,
    pub(crate) method: Box<str>,
    /// The tool, resource, template or prompt the method was about.
    pub(crate) subject: Option<(SubjectKind, Box<str>)>,
    pub(crate) caller: Who,
}

/// The caller, as far as the audit records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// Whether it had no token.
    pub(crate) anonymous: bool,
    pub(crate) issuer: Box<str>,
    pub(crate) sub: Box<str>,
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) scopes: Vec<Box<str>>,
}

/// One line of an audit file, classified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Not a record of Portcullis, and why.
    Bad(Cow<'static, str>),
    /// A decision.
    Decided(Box<Decided>),
    /// Another kind of record: an end, a start, a request that never reached the rules.
    Other,
}

/// The lines of an audit file.
#[derive(Debug)]
pub(crate) struct History<R>(Lines<R>);

impl<R: BufRead> History<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self(Lines::new(input))
    }

    /// Bytes read so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// The next line that is not empty, with its number from 1; `None` at the end. Errs if the input cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Entry)>> {
        let Some(line) = self.0.next()? else { return Ok(None) };
        let entry = line.map_or_else(|TooLong| Entry::Bad("longer than 64 KiB".into()), entry);
        Ok(Some((self.0.count(), entry)))
    }
}

/// The members of a record that are read; others are ignored.
#[derive(Deserialize)]
struct Line {
    v: u32,
    time: String,
    event: String,
    decision: Option<String>,
    #[serde(default)]
    shadow: bool,
    server: Option<Box<str>>,
    method: Option<Box<str>>,
    tool: Option<Box<str>>,
    prompt: Option<Box<str>>,
    resource: Option<Box<str>>,
    resource_template: Option<Box<str>>,
    subject: Option<LineSubject>,
    policy: Option<LinePolicy>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct LineSubject {
    #[serde(default)]
    anonymous: bool,
    #[serde(default)]
    iss: Box<str>,
    #[serde(default)]
    sub: Box<str>,
    client_id: Option<Box<str>>,
    #[serde(default)]
    scopes: Vec<Box<str>>,
}

#[derive(Deserialize)]
struct LinePolicy {
    rule: Option<Box<str>>,
}

fn entry(line: &[u8]) -> Entry {
    let line: Line = match serde_json::from_slice(line) {
        Ok(line) => line,
        Err(error) if error.is_data() => {
            return Entry::Bad(format!("not a record of Portcullis: {}", why(&error)).into());
        }
        Err(_) => return Entry::Bad("not JSON".into()),
    };
    if line.v != 1 {
        return Entry::Bad(format!("a record of version {}, which this program does not read", line.v).into());
    }
    let verdict = match (line.event.as_str(), line.decision.as_deref()) {
        ("call", Some("allow")) => Verdict::Allow,
        ("call", Some("deny")) => Verdict::Deny,
        ("call", Some("step_up")) => Verdict::StepUp,
        _ => return Entry::Other,
    };
    let error = line.error.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    if matches!(error, "arguments_refused" | "definition_changed" | "definition_refused" | "pseudonym") {
        // No rule denied it.
        return Entry::Other;
    }
    let blocked = matches!(error, "blocked" | "blocked_often");
    let time = reading::moment(&line.time);
    let (Some(time), Some(server), Some(method), Some(subject)) = (time, line.server, line.method, line.subject) else {
        return Entry::Bad("a decision without time, server, method or subject".into());
    };
    let LineSubject { anonymous, iss, sub, client_id, scopes } = subject;
    if !anonymous && (iss.is_empty() || sub.is_empty()) {
        return Entry::Bad("a decision about nobody".into());
    }
    let about = [
        (SubjectKind::Tool, line.tool),
        (SubjectKind::Prompt, line.prompt),
        (SubjectKind::Resource, line.resource),
        (SubjectKind::ResourceTemplate, line.resource_template),
    ];
    Entry::Decided(Box::new(Decided {
        time,
        server,
        verdict,
        rule: line.policy.and_then(|policy| policy.rule),
        blocked,
        shadow: line.shadow,
        method,
        subject: about.into_iter().find_map(|(kind, name)| Some((kind, name?))),
        caller: Who { anonymous, issuer: iss, sub, client_id, scopes },
    }))
}

/// The message of a serde error, without its position in the line.
fn why(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().chars().filter(|char| !char.is_control()).take(120).collect()
}

impl Who {
    /// Whether subject and client are told by digests, so that nothing is known of either.
    pub(crate) fn is_keyed(&self) -> bool {
        self.sub.starts_with(PREFIX)
    }
}

impl Decided {
    /// Whether the subject's name is as the caller wrote it: the audit truncates long texts, and masks what looks like
    /// personal data.
    pub(crate) fn name_is_whole(&self) -> bool {
        self.subject.as_ref().is_none_or(|(_, name)| !name.ends_with(CUT) && !name.contains(['[', ']']))
    }
}

#[cfg(test)]
mod tests {
    use super::{Decided, Entry, History, Verdict, Who};
    use crate::clock::Timestamp;
    use crate::mcp::SubjectKind;

    fn read(text: &[u8]) -> Vec<(u64, Entry)> {
        let mut history = History::new(text);
        let mut all = Vec::new();
        while let Some(entry) = history.next().unwrap() {
            all.push(entry);
        }
        assert_eq!(history.bytes(), text.len() as u64);
        all
    }

    const CALL: &str = r#"{"v":1,"time":"2026-01-05T12:00:00.000Z","event":"call","id":"a","request_id":"b","decision":"allow","shadow":false,"server":"crm","method":"tools/call","tool":"get_contact","protocol":"2026-07-28","rpc_id":1,"subject":{"iss":"https://i","sub":"ana","client_id":"cli","scopes":["crm:read"],"kid":"k"},"client":{"ip":"10.0.0.1"},"policy":{"version":"sha256:0","rule":"crm-read","reason":null,"missing_scopes":[]},"instance":"i"}"#;

    #[test]
    fn reads_its_own_lines_again() {
        let expected = Decided {
            time: Timestamp::from_unix_seconds(1_767_614_400),
            server: "crm".into(),
            verdict: Verdict::Allow,
            rule: Some("crm-read".into()),
            blocked: false,
            shadow: false,
            method: "tools/call".into(),
            subject: Some((SubjectKind::Tool, "get_contact".into())),
            caller: Who {
                anonymous: false,
                issuer: "https://i".into(),
                sub: "ana".into(),
                client_id: Some("cli".into()),
                scopes: vec!["crm:read".into()],
            },
        };
        assert_eq!(read(CALL.as_bytes()), [(1, Entry::Decided(Box::new(expected)))]);
    }

    fn denied(error: &str) -> String {
        CALL.replace("\"allow\"", "\"deny\"").replace("\"instance\"", &format!("\"error\":\"{error}\",\"instance\""))
    }

    #[test]
    fn a_mask_that_denies_is_no_rule() {
        for (error, masked) in [("blocked", true), ("blocked_often", true), ("policy_denied", false)] {
            let [(_, Entry::Decided(decided))] = &read(denied(error).as_bytes())[..] else { panic!() };
            assert_eq!(decided.blocked, masked, "{error}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_line_and_goes_on() {
        let long = format!("{{\"v\":1,\"x\":\"{}\"}}", "x".repeat(70_000));
        for (line, expected) in [
            ("not json", Some("not JSON")),
            ("{\"v\":1", Some("not JSON")),
            ("[]", Some("not a record of Portcullis: invalid length 0, expected struct Line with 14 elements")),
            ("{\"class_uid\":6003}", Some("not a record of Portcullis: missing field `v`")),
            (&CALL.replace("\"v\":1", "\"v\":2"), Some("a record of version 2, which this program does not read")),
            (&CALL.replace("\"server\":\"crm\",", ""), Some("a decision without time, server, method or subject")),
            (&CALL.replace("2026-01-05T12", "noon"), Some("a decision without time, server, method or subject")),
            (&long, Some("longer than 64 KiB")),
            (&CALL.replace("\"call\"", "\"end\""), None),
            (&CALL.replace("\"allow\"", "\"refused\""), None),
            (&denied("arguments_refused"), None),
            (&denied("definition_changed"), None),
            (&denied("pseudonym"), None),
        ] {
            let text = format!("\n{line}\r\n\n{CALL}");
            let entries = read(text.as_bytes());
            assert_eq!(entries.len(), 2, "{line}");
            let expected = expected.map_or(Entry::Other, |reason| Entry::Bad(reason.into()));
            assert_eq!(entries[0], (2, expected), "{line}");
            assert!(matches!(entries[1], (4, Entry::Decided(_))), "{line}");
        }
        let mut bytes = vec![0xff, 0xfe, b'\n'];
        bytes.extend_from_slice(CALL.as_bytes());
        assert_eq!(read(&bytes)[0], (1, Entry::Bad("not JSON".into())));
    }

    #[test]
    fn knows_names_that_were_cut_or_masked() {
        for (name, whole) in [("get_contact", true), ("crm://a…", false), ("[EMAIL_ADDRESS]", false)] {
            let line = CALL.replace("get_contact", name);
            let [(_, Entry::Decided(decided))] = &read(line.as_bytes())[..] else { panic!() };
            assert_eq!(decided.name_is_whole(), whole, "{name}");
        }
    }
}
