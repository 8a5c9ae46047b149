//! `portcullis token decode`: what a token says.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, Format, Presented, Streams};
use crate::auth;
use crate::clock::Timestamp;

/// Arguments of `token decode`.
#[derive(Args, Debug)]
#[command(before_long_help = "Examples:
  portcullis token decode token.txt
  portcullis token mint --user ana | portcullis token decode - --format json | jq .claims.aud")]
pub(super) struct Decode {
    #[command(flatten)]
    presented: Presented,
    /// How to print the token.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

impl Decode {
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let token = match self.presented.read(streams) {
            Ok(token) => token,
            Err(exit) => return exit,
        };
        let decoded = match auth::decode(token.expose().as_bytes()) {
            Ok(decoded) => decoded,
            Err(error) => {
                streams.message(format_args!("error: {error}"));
                return Exit::No;
            }
        };
        let object = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let (header, claims) = (object(&decoded.header), object(&decoded.claims));
        match self.format {
            Format::Json => streams.print(json!({ "schema_version": 1, "header": header, "claims": claims })),
            Format::Text => {
                streams.print(format_args!("header {}", printable(&format!("{header:#}"))));
                streams.print(format_args!("claims {}", printable(&format!("{claims:#}"))));
                let now = Timestamp::now();
                for (name, what) in [("iat", "issued"), ("nbf", "not before"), ("exp", "expires")] {
                    if let Some(seconds) = claims.get(name).and_then(Value::as_i64) {
                        streams.print(format_args!("{what:<10}  {}", moment(seconds, now)));
                    }
                }
                streams.message("none of this is verified; use `portcullis token verify` for that");
            }
        }
        Exit::Done
    }
}

/// A `NumericDate` (RFC 7519 section 2) for people: the time, and how far it is from now.
pub(super) fn moment(seconds: i64, now: Timestamp) -> String {
    // The years RFC 3339 can write.
    if !(0..=253_402_300_799).contains(&seconds) {
        return format!("{seconds} s, not a time");
    }
    let text = Timestamp::from_unix_seconds(seconds).rfc3339();
    let text = String::from_utf8_lossy(&text);
    let text = text.split('.').next().unwrap_or_default();
    let distance = seconds - now.unix_seconds();
    let span = humantime::format_duration(Duration::from_secs(distance.unsigned_abs())).to_string();
    let span = span.split(' ').take(2).collect::<Vec<_>>().join(" ");
    match distance {
        0 => format!("{text}Z, now"),
        1.. => format!("{text}Z, in {span}"),
        _ => format!("{text}Z, {span} ago"),
    }
}

/// JSON as a terminal may show it: what would move the cursor or turn the direction of text stays escaped.
fn printable(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for char in json.chars() {
        let turns =
            matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if (char.is_control() && char != '\n') || turns {
            let _ = write!(shown, "\\u{:04x}", u32::from(char));
        } else {
            shown.push(char);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{moment, printable};
    use crate::clock::Timestamp;

    #[test]
    fn tells_times_from_now() {
        let now = Timestamp::from_unix_seconds(1_795_305_600);
        for (seconds, expected) in [
            (1_795_305_600, "2026-11-22T00:00:00Z, now"),
            (1_795_309_205, "2026-11-22T01:00:05Z, in 1h 5s"),
            (1_795_305_541, "2026-11-21T23:59:01Z, 59s ago"),
            (-1, "-1 s, not a time"),
            (i64::MAX, "9223372036854775807 s, not a time"),
        ] {
            assert_eq!(moment(seconds, now), expected);
        }
    }

    #[test]
    fn terminal_sequences_stay_escaped() {
        assert_eq!(printable("a\u{1b}[2J\u{9b}\u{202e}\né"), "a\\u001b[2J\\u009b\\u202e\né");
    }
}
