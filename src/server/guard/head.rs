//! Parses one request head line by line as its bytes arrive.

use memchr::{memchr, memchr3};

use super::{HeadLimits, Refusal};

/// How the body after a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// `Content-Length`, or no body at all.
    Length(u64),
}

/// An admitted head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The length of the head in bytes, final line break included.
    pub(super) length: usize,
    /// How the body is delimited.
    pub(super) framing: Framing,
    /// Whether this is the last request of the connection.
    pub(super) last: bool,
}

/// A head as far as parsed: the fields that decide framing, and where the next line starts.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of the wire, judged together in `end`")]
pub(super) struct Head {
    next_line: usize,
    lines: usize,
    http_10: bool,
    chunked: bool,
    length: Option<u64>,
    close: bool,
    keep_alive: bool,
    host: Option<Box<[u8]>>,
    hosts: usize,
    absolute: Option<Box<[u8]>>,
}

impl Head {
    /// Continues in `bytes`, which start at the first byte of the head; `None` if its end has not arrived. Errs if the
    /// request must be refused.
    pub(super) fn scan(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Option<Verdict>, Refusal> {
        while let Some(length) = line_length(&bytes[self.next_line..])? {
            let line = &bytes[self.next_line..self.next_line + length];
            self.next_line += length + 2;
            if self.next_line > limits.bytes {
                return Err(Refusal::TooLarge);
            }
            if line.is_empty() {
                return self.end().map(Some);
            }
            if self.lines == 0 {
                self.request_line(line)?;
            } else {
                self.field(line)?;
            }
            if self.lines > limits.fields {
                return Err(Refusal::TooLarge);
            }
            self.lines += 1;
        }
        if bytes.len() >= limits.bytes { Err(Refusal::TooLarge) } else { Ok(None) }
    }

    /// `method SP request-target SP HTTP-version` (RFC 9112 section 3), without CONNECT and TRACE.
    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let space = memchr(b' ', line).ok_or(Refusal::Malformed)?;
        let (method, rest) = (&line[..space], &line[space + 1..]);
        let space = memchr(b' ', rest).ok_or(Refusal::Malformed)?;
        let (target, version) = (&rest[..space], &rest[space + 1..]);
        self.http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Refusal::Malformed),
        };
        if method.is_empty() || method == b"CONNECT" || method == b"TRACE" {
            return Err(Refusal::Malformed);
        }
        if !target.iter().all(|byte| matches!(byte, 0x21..=0x7E) && *byte != b'#') {
            return Err(Refusal::Malformed);
        }
        match target.first() {
            Some(b'/') => Ok(()),
            Some(b'*') if target.len() == 1 && method == b"OPTIONS" => Ok(()),
            Some(_) => self.absolute_form(target),
            None => Err(Refusal::Malformed),
        }
    }

    fn absolute_form(&mut self, target: &[u8]) -> Result<(), Refusal> {
        let colon = memchr(b':', target).ok_or(Refusal::Malformed)?;
        let scheme = &target[..colon];
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return Err(Refusal::Malformed);
        }
        let rest = target[colon + 1..].strip_prefix(b"//").ok_or(Refusal::Malformed)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        self.absolute = Some(rest[..end].into());
        Ok(())
    }

    /// `field-name ":" OWS field-value OWS` (RFC 9112 section 5); line folding is refused (section 5.2).
    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let colon = memchr(b':', line).ok_or(Refusal::Malformed)?;
        let name = &line[..colon];
        match (name.first(), name.last()) {
            (None | Some(b' ' | b'\t'), _) | (_, Some(b' ' | b'\t')) => return Err(Refusal::Malformed),
            _ => {}
        }
        let value = &line[colon + 1..];
        // The first letter tells most other names of that length apart.
        match (name.len(), name[0] | 0x20) {
            (4, b'h') if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                if self.absolute.is_some() {
                    self.host = Some(trim(value).into());
                }
            }
            (6, b'e') if name.eq_ignore_ascii_case(b"expect") && !trim(value).eq_ignore_ascii_case(b"100-continue") => {
                return Err(Refusal::Expectation);
            }
            // A client may offer HTTP/2 in clear text; a server may ignore that (RFC 9110 section 7.8).
            (7, b'u') if name.eq_ignore_ascii_case(b"upgrade") && !trim(value).eq_ignore_ascii_case(b"h2c") => {
                return Err(Refusal::Malformed);
            }
            (10, b'c') if name.eq_ignore_ascii_case(b"connection") => self.connection(value)?,
            (14, b'c') if name.eq_ignore_ascii_case(b"content-length") => self.content_length(trim(value))?,
            (17, b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !trim(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::Malformed);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Connection options are a closed list, so that no field that a decision depends on can be declared hop-by-hop (RFC
    /// 9110 section 7.6.1).
    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in value.split(|byte| *byte == b',').map(trim) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if ![&b""[..], b"upgrade", b"http2-settings", b"te", b"trailer", b"trailers"]
                .iter()
                .any(|known| option.eq_ignore_ascii_case(known))
            {
                return Err(Refusal::Malformed);
            }
        }
        Ok(())
    }

    /// One number in canonical form: no sign, no leading zero, no list (RFC 9112 section 6.3 item 5).
    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let canonical = matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 18;
        if self.length.is_some() || !canonical || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::Malformed);
        }
        self.length = Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    /// The framing and `Host` rules for the whole head (RFC 9112 sections 3.2, 6.1 and 6.3).
    fn end(&self) -> Result<Verdict, Refusal> {
        let no_request_line = self.lines == 0;
        let two_framings = self.chunked && (self.length.is_some() || self.http_10);
        let hosts_wrong = self.hosts > 1 || (self.hosts == 0 && !self.http_10);
        let two_minds = self.close && self.keep_alive;
        let two_authorities = match (&self.absolute, &self.host) {
            (Some(absolute), Some(host)) => !absolute.eq_ignore_ascii_case(host),
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        if no_request_line || two_framings || hosts_wrong || two_minds || two_authorities {
            return Err(Refusal::Malformed);
        }
        let framing = if self.chunked { Framing::Chunked } else { Framing::Length(self.length.unwrap_or(0)) };
        let last = self.close || (self.http_10 && !self.keep_alive);
        Ok(Verdict { length: self.next_line, framing, last })
    }
}

/// The number of bytes before the next CRLF; `None` if that has not arrived. Errs at a bare CR, a bare LF or NUL (RFC 9112
/// section 2.2).
fn line_length(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    match memchr3(b'\r', b'\n', 0, bytes) {
        None => Ok(None),
        Some(at) => match &bytes[at..] {
            [b'\r', b'\n', ..] => Ok(Some(at)),
            [b'\r'] => Ok(None),
            _ => Err(Refusal::Malformed),
        },
    }
}

/// The value without optional white space, which is SP and HTAB (RFC 9110 section 5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
