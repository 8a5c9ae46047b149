//! W3C Trace Context: parsing and writing `traceparent`.

use std::fmt;

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::json::Value;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// A trace id, never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(pub(super) [u8; 16]);

/// A span id, never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanId(pub(super) [u8; 8]);

impl TraceId {
    fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// 32 hexadecimal digits.
    pub(crate) fn hex(self) -> [u8; 32] {
        let mut text = [0; 32];
        HEXLOWER.encode_mut(&self.0, &mut text);
        text
    }

    /// The last eight bytes, which are random in most traces.
    pub(super) fn low(self) -> u64 {
        self.0[8..].iter().fold(0, |low, byte| low << 8 | u64::from(*byte))
    }
}

impl SpanId {
    fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

/// What a `traceparent` states: a span, its trace, and whether it is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
}

impl Context {
    /// Parses a `traceparent` strictly (W3C Trace Context, "traceparent Header Field Values"). Of later versions, only the part
    /// that version 00 defines is read.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (known, more) = text.as_bytes().split_at_checked(LENGTH)?;
        let (version, known) = known.split_at_checked(3)?;
        let [version] = bytes(version.strip_suffix(b"-")?)?;
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        let (trace, known) = known.split_at_checked(33)?;
        let (span, flags) = known.split_at_checked(17)?;
        let trace = TraceId::new(bytes(trace.strip_suffix(b"-")?)?)?;
        let span = SpanId::new(bytes(span.strip_suffix(b"-")?)?)?;
        let [flags] = bytes(flags)?;
        fits.then_some(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }

    /// Whether it is a `traceparent` that has nothing behind the fields of version 00.
    pub(crate) fn is_current(text: &str) -> bool {
        text.len() == LENGTH && Self::parse(text).is_some()
    }

    /// The context in the header field; `None` if there are several.
    pub(super) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).into_iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Self::parse(value.to_str().ok()?)
    }

    /// The context in a value of `_meta` (SEP-414).
    pub(super) fn of_meta(value: Value<'_>) -> Option<Self> {
        Self::parse(&value.as_str()?)
    }

    /// As a `traceparent` of version 00.
    pub(super) fn write(self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled) * SAMPLED)
    }

    /// As a header value.
    pub(super) fn header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.write()).ok()
    }
}

/// Decodes lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let fits = text.len() == 2 * N && HEXLOWER.decode_mut(text, &mut bytes).is_ok();
    fits.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{Context, SpanId, TRACEPARENT, TraceId};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_what_the_specification_allows() {
        for (text, sampled) in [
            (PARENT.to_owned(), true),
            (PARENT.replace("-01", "-00"), false),
            (PARENT.replace("-01", "-03"), true),
            (PARENT.replace("-01", "-fe"), false),
            (PARENT.replace("00-4b", "cc-4b"), true),
            (format!("{}-what-comes-later", PARENT.replace("00-4b", "01-4b")), true),
        ] {
            let context = Context::parse(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(context.span.to_string(), "00f067aa0ba902b7");
            assert_eq!(context.sampled, sampled, "{text}");
        }
    }

    #[test]
    fn takes_nothing_else() {
        for text in [
            String::new(),
            PARENT.replace("-01", "-0"),
            format!("{PARENT}-"),
            format!("{PARENT}0"),
            format!(" {PARENT}"),
            PARENT.to_uppercase(),
            PARENT.replace("00-4b", "ff-4b"),
            PARENT.replace("00-4b", "0x-4b"),
            format!("{}x", PARENT.replace("00-4b", "01-4b")),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            PARENT.replace('-', "_"),
            PARENT.replace("-01", "-0g"),
            PARENT.replace("4bf9", "4bfé"),
        ] {
            assert_eq!(Context::parse(&text), None, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert!(Context::of_headers(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert_eq!(Context::of_headers(&headers), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace: [u8; 16], span: [u8; 8], sampled: bool) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let context = Context { trace: TraceId(trace), span: SpanId(span), sampled };
            prop_assert_eq!(Context::parse(&context.write()), Some(context));
            let (hex, shown) = (context.trace.hex(), context.trace.to_string());
            prop_assert_eq!(hex.as_slice(), shown.as_bytes());
        }

        /// Whatever is taken is what the specification's own grammar allows.
        #[test]
        fn nothing_odd_is_read(text in "[0-9a-fA-Fg-]{0,4}-?[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-.{0,4})?") {
            if Context::parse(&text).is_some() {
                let parts: Vec<&str> = text.split('-').collect();
                let lengths: Vec<usize> = parts.iter().take(4).map(|part| part.len()).collect();
                prop_assert_eq!(lengths, [2, 32, 16, 2]);
                prop_assert!(parts[0] != "ff" && (parts[0] != "00" || parts.len() == 4));
                let hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                prop_assert!(parts.iter().take(4).all(hex));
            }
        }

        #[test]
        fn anything_is_survived(text in ".{0,80}") {
            Context::parse(&text);
        }
    }
}
