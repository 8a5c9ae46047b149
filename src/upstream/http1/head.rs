//! Parses the head of an HTTP/1.1 answer and decides its framing.

use std::mem::MaybeUninit;

use bytes::{Buf as _, BytesMut};
use http::StatusCode;
use httparse::{Header, ParserConfig, Response, Status};

use super::Broken;
use super::content::Content;
use crate::upstream::answer::keep;
use crate::upstream::connect::HEAD_BYTES;
use crate::upstream::{Fields, UpstreamError};

/// The most header fields of an answer.
const HEAD_FIELDS: usize = 100;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// The fields that matter to the proxy.
    pub(super) fields: Fields,
    pub(super) content: Content,
    /// Whether another request may follow on the connection.
    pub(super) persists: bool,
}

impl Head {
    /// Takes a complete head from the front of `received`; `None` if its end has not arrived. Errs if it is malformed, too
    /// large, or ambiguous.
    pub(super) fn take(received: &mut BytesMut) -> Result<Option<Self>, UpstreamError> {
        let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
        let mut response = Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, received, &mut fields);
        let length = match parsed {
            Ok(Status::Complete(length)) if length <= usize::from(HEAD_BYTES) => length,
            Ok(Status::Partial) if received.len() < usize::from(HEAD_BYTES) => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(UpstreamError::TooLarge),
            Err(error) => return Err(Broken::Head(error).into()),
        };
        let head = Self::of(&response)?;
        received.advance(length);
        Ok(Some(head))
    }

    /// Whether the final answer is still to come (RFC 9110 section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational()
    }

    fn of(response: &Response<'_, '_>) -> Result<Self, UpstreamError> {
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Broken::Head(httparse::Error::Status))?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Framing("an upgrade nobody asked for"));
        }
        let is_11 = response.version == Some(1);
        let (framing, fields) = Framing::of(response.headers)?;
        let content = framing.content(status, is_11)?;
        // An older server has to be asked to keep a connection, which is not done.
        let persists = is_11 && !framing.closes && content != Content::ToClose;
        Ok(Self { status, fields, content, persists })
    }
}

/// What the fields of a head say of the message's end.
#[derive(Debug, Default)]
struct Framing {
    chunked: bool,
    length: Option<u64>,
    closes: bool,
}

impl Framing {
    fn of(received: &[Header<'_>]) -> Result<(Self, Fields), UpstreamError> {
        let (mut framing, mut fields) = (Self::default(), Fields::default());
        for Header { name, value } in received {
            match name.len() {
                10 if name.eq_ignore_ascii_case("connection") => framing.connection(value),
                14 if name.eq_ignore_ascii_case("content-length") => framing.content_length(value)?,
                17 if name.eq_ignore_ascii_case("transfer-encoding") => framing.transfer_encoding(value)?,
                _ => keep(&mut fields, name, value),
            }
        }
        Ok((framing, fields))
    }

    fn connection(&mut self, value: &[u8]) {
        let closes = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(b"close");
        self.closes |= value.split(|byte| *byte == b',').any(closes);
    }

    /// A length that is given twice must be the same (RFC 9112 section 6.3 item 5).
    fn content_length(&mut self, value: &[u8]) -> Result<(), UpstreamError> {
        let digits = value.iter().map(|byte| char::from(*byte).to_digit(10));
        let length =
            digits.into_iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit?)));
        match length {
            Some(length) if !value.is_empty() && self.length.is_none_or(|other| other == length) => {
                self.length = Some(length);
                Ok(())
            }
            Some(_) if !value.is_empty() => Err(UpstreamError::Framing("two different lengths")),
            _ => Err(UpstreamError::Framing("a content-length that is no number")),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), UpstreamError> {
        if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(UpstreamError::Framing("a transfer coding other than chunked"));
        }
        self.chunked = true;
        Ok(())
    }

    /// How the content ends (RFC 9112 section 6.3). Errs if it could be read in two ways.
    fn content(&self, status: StatusCode, is_11: bool) -> Result<Content, UpstreamError> {
        if self.chunked && self.length.is_some() {
            return Err(UpstreamError::Framing("both content-length and transfer-encoding"));
        }
        if self.chunked && !is_11 {
            return Err(UpstreamError::Framing("transfer-encoding in an answer of HTTP/1.0"));
        }
        let is_bare = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match self.length {
            _ if is_bare => Content::NONE,
            _ if self.chunked => Content::CHUNKED,
            Some(length) => Content::Length(length),
            None => Content::ToClose,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Content, Head};
    use crate::upstream::UpstreamError;

    fn take(text: &str) -> Result<Option<Head>, UpstreamError> {
        Head::take(&mut BytesMut::from(text))
    }

    #[test]
    fn decides_the_framing_once() {
        for (text, content, persists) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", Content::Length(2), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 002\r\ncontent-length: 2\r\n\r\n", Content::Length(2), true),
            ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", Content::NONE, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Content::CHUNKED, true),
            ("HTTP/1.1 200 OK\r\n\r\n", Content::ToClose, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Content::NONE, true),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", Content::NONE, true),
            ("HTTP/1.1 103 Early Hints\r\n\r\n", Content::NONE, true),
            ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\n", Content::Length(2), false),
            ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n", Content::Length(2), false),
            // A lone LF ends a line too (RFC 9112 section 2.2); old servers write it.
            ("HTTP/1.1 200 OK\ncontent-length: 2\n\n", Content::Length(2), true),
        ] {
            let head = take(text).unwrap().unwrap();
            assert_eq!((head.content, head.persists), (content, persists), "{text:?}");
        }
    }

    #[test]
    fn waits_for_the_whole_head_and_leaves_the_rest() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
        for length in 0..HEAD.len() {
            assert!(take(HEAD.get(..length).unwrap()).unwrap().is_none(), "{length}");
        }
        let mut received = BytesMut::from(&*format!("{HEAD}ok"));
        assert!(Head::take(&mut received).unwrap().is_some());
        assert_eq!(received, "ok");
    }

    #[test]
    fn keeps_only_the_fields_that_matter() {
        let head = take(
            "HTTP/1.1 429 Too Many Requests\r\nSet-Cookie: a=b\r\nContent-Type: Application/JSON; charset=utf-8\r\n\
             Retry-After: 7\r\nMcp-Session-Id: s\r\nContent-Encoding: gzip\r\ncontent-encoding: br\r\n\
             WWW-Authenticate: Bearer\r\nServer: x\r\ncontent-length: 0\r\n\r\n",
        );
        let head = head.unwrap().unwrap();
        assert_eq!(head.status, 429);
        let mut kept: Vec<_> =
            head.fields.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        kept.sort();
        assert_eq!(
            kept,
            [
                "content-encoding=br",
                "content-encoding=gzip",
                "content-type=Application/JSON; charset=utf-8",
                "mcp-session-id=s",
                "retry-after=7"
            ]
        );
    }
}
