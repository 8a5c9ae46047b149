//! Prints the demo's decisions as they are made, one line for each, from the audit log.

use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::banner::Addresses;

/// How often the log is read.
const PAUSE: Duration = Duration::from_millis(100);

/// One audit file and how far it was read.
struct Log {
    path: PathBuf,
    read: u64,
    rest: String,
}

/// Prints what the audit logs of the demo gain from now on; never returns.
pub async fn decisions(addresses: &Addresses, mut out: impl Write) {
    let mut logs = ["audit.jsonl", "audit-tls.jsonl"].map(|name| {
        let path = addresses.directory.join(name);
        let read = std::fs::metadata(&path).map_or(0, |file| file.len());
        Log { path, read, rest: String::new() }
    });
    loop {
        tokio::time::sleep(PAUSE).await;
        for line in logs.iter_mut().flat_map(Log::new_lines) {
            if let Some(line) = summary(&line) {
                let _ = writeln!(out, "{line}");
            }
        }
    }
}

impl Log {
    fn new_lines(&mut self) -> Vec<String> {
        let read = || -> std::io::Result<String> {
            let mut file = std::fs::File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.read))?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        };
        let Ok(text) = read() else { return Vec::new() };
        self.read += text.len() as u64;
        self.rest.push_str(&text);
        let whole = self.rest.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.rest.split_off(whole);
        let lines = std::mem::replace(&mut self.rest, rest);
        lines.lines().map(ToOwned::to_owned).collect()
    }
}

/// `12:04:11 deny   ana  update_contact   step_up crm:write   rule=crm-update   1.1ms`, of a record that ends a call.
fn summary(line: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
    let decision = text("/decision")?;
    record.get("http")?;
    let time = text("/time")?.get(11..19)?;
    let who = text("/subject/sub").unwrap_or("-");
    let what = ["/tool", "/prompt", "/resource", "/method"].into_iter().find_map(text).unwrap_or("-");
    let mut notes = Vec::new();
    if let Some(missing) =
        record.pointer("/policy/missing_scopes").and_then(Value::as_array).filter(|all| !all.is_empty())
    {
        notes.push(missing.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    }
    if let Some(error) = record.get("error").filter(|error| !error.is_null()) {
        notes.push(error.as_str().map_or_else(|| error.to_string(), ToOwned::to_owned));
    }
    if let Some(masked) = record.get("masked").and_then(Value::as_array).filter(|all| !all.is_empty()) {
        let counted =
            masked.iter().filter_map(|one| Some(format!("{}×{}", one.get("entity")?.as_str()?, one.get("count")?)));
        notes.push(format!("masked {}", counted.collect::<Vec<_>>().join(" ")));
    }
    if let Some(rule) = text("/policy/rule") {
        notes.push(format!("rule={rule}"));
    }
    let took = record.get("duration_ms").and_then(Value::as_f64).unwrap_or_default();
    Some(format!("{time} {decision:<8} {who:<4} {what:<18} {}  {took:.1}ms", notes.join("   ")))
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn shows_endings_and_refusals_in_a_line_and_beginnings_not() {
        let refused = r#"{"time":"2026-11-22T12:04:11.302Z","decision":"step_up","tool":"update_contact",
            "subject":{"sub":"ana"},"policy":{"rule":"crm-update","missing_scopes":["crm:write"]},"http":403,"duration_ms":1.14}"#;
        assert_eq!(
            summary(refused).as_deref(),
            Some("12:04:11 step_up  ana  update_contact     crm:write   rule=crm-update  1.1ms")
        );
        let masked = r#"{"time":"2026-11-22T12:04:15.302Z","decision":"allow","tool":"get_contact","subject":{"sub":"ana"},
            "masked":[{"entity":"EMAIL_ADDRESS","count":2},{"entity":"CREDIT_CARD","count":1}],"http":200,"duration_ms":2.4}"#;
        assert_eq!(
            summary(masked).as_deref(),
            Some("12:04:15 allow    ana  get_contact        masked EMAIL_ADDRESS×2 CREDIT_CARD×1  2.4ms")
        );
        assert_eq!(summary(r#"{"time":"2026-11-22T12:04:15.302Z","decision":"allow"}"#), None);
        assert_eq!(summary("no json"), None);
    }
}
