//! The header a proxy puts in front of a connection to name its client: the PROXY protocol, versions 1 and 2.

use std::io;
use std::net::SocketAddr;

use memchr::memchr;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How a header of version 1 begins, and the most bytes it has.
const TEXT: &[u8] = b"PROXY ";
const LIMIT_TEXT: usize = 107;
/// How a header of version 2 begins, the bytes before what its length counts, and the most that are accepted of those.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
const LIMIT_BINARY: usize = 2048;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// That client's.
    Client(SocketAddr),
    /// The proxy's own, or somebody's whom it does not name.
    Unnamed,
}

/// Why a header cannot be used.
#[derive(Debug, Error)]
pub(super) enum HeaderError {
    #[error("the connection ended within its PROXY header")]
    Ended(#[from] io::Error),
    #[error("malformed PROXY header")]
    Malformed,
}

/// Reads the header at the start of a connection, and not a byte more. `None` if there is none and it is optional. Errs if it
/// is malformed or missing.
pub(super) async fn read(stream: &mut TcpStream, optional: bool) -> Result<Option<Origin>, HeaderError> {
    let mut start = [0; TEXT.len()];
    let count = stream.peek(&mut start).await?;
    let start = start.get(..count).unwrap_or_default();
    let header = match start.first() {
        // No other protocol here begins so.
        Some(b'\r') => binary(stream).await?,
        Some(b'P') if start == TEXT || !optional => text(stream).await?,
        _ if optional => return Ok(None),
        _ => return Err(HeaderError::Malformed),
    };
    parse(&header).map(Some)
}

/// A line, with its end, of which nothing says how long it is.
async fn text(stream: &mut TcpStream) -> Result<Vec<u8>, HeaderError> {
    let mut line = Vec::with_capacity(LIMIT_TEXT);
    loop {
        let mut ahead = [0; LIMIT_TEXT];
        let room = ahead.get_mut(line.len()..).filter(|room| !room.is_empty()).ok_or(HeaderError::Malformed)?;
        let count = stream.peek(room).await?;
        let end = memchr(b'\n', room.get(..count).unwrap_or_default()).map(|at| at + 1);
        let piece = room.get_mut(..end.unwrap_or(count)).ok_or(HeaderError::Malformed)?;
        if piece.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        stream.read_exact(piece).await?;
        line.extend_from_slice(piece);
        if end.is_some() {
            return Ok(line);
        }
    }
}

async fn binary(stream: &mut TcpStream) -> Result<Vec<u8>, HeaderError> {
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    let (Some(signature), Some(length)) = (header.first_chunk(), header.last_chunk()) else {
        return Err(HeaderError::Malformed);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if signature != SIGNATURE || length > LIMIT_BINARY {
        return Err(HeaderError::Malformed);
    }
    header.resize(FIXED + length, 0);
    stream.read_exact(header.get_mut(FIXED..).unwrap_or_default()).await?;
    Ok(header)
}

/// What a whole header says.
fn parse(header: &[u8]) -> Result<Origin, HeaderError> {
    if !header.starts_with(SIGNATURE) && !is_text(header) {
        return Err(HeaderError::Malformed);
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (read, length) = ProxyHeader::parse(header, config).map_err(|_| HeaderError::Malformed)?;
    if length != header.len() {
        return Err(HeaderError::Malformed);
    }
    match read.proxied_address() {
        Some(address) if address.protocol != Protocol::Stream => Err(HeaderError::Malformed),
        Some(address) => {
            let source = address.source;
            Ok(Origin::Client(SocketAddr::new(source.ip().to_canonical(), source.port())))
        }
        None => Ok(Origin::Unnamed),
    }
}

/// Whether it is a line of version 1 as far as the parser does not look: its beginning, no signs before ports, and its end.
fn is_text(header: &[u8]) -> bool {
    let line = header.strip_prefix(TEXT).and_then(|rest| rest.strip_suffix(b"\r\n"));
    line.is_some_and(|line| {
        line == b"UNKNOWN"
            || line.starts_with(b"UNKNOWN ")
            || line.iter().all(|byte| byte.is_ascii_hexdigit() || b" .:PT".contains(byte))
    })
}

#[cfg(test)]
mod tests;
