use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::gate::Busy;
use super::http1::Broken;
use super::sse::EndpointError;
use crate::auth::VerifyError;

/// Why an upstream's configuration cannot be used.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum BuildError {
    #[error("the upstream URL names no usable host and path")]
    Authority,
    #[error("there is no folder `{}` to start in", path.display())]
    Directory { path: PathBuf },
    #[error("there is no program `{0}`")]
    Program(String),
    #[error("only root can start programs as another user")]
    User,
    #[error("cannot read `{}`", path.display())]
    CaFile { path: PathBuf, source: std::io::Error },
    #[error("no PEM certificate with its key")]
    ClientCertificate,
    #[error("it has no PEM certificate, or a damaged one")]
    NoCertificate,
    #[error("the upstream URL's scheme is `{0}`, not http or https")]
    Scheme(String),
    #[error("TLS toward the upstream cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl BuildError {
    /// The configuration key that the error is about; `place` if that is the one with the server's URL or command.
    pub(crate) const fn key(&self, place: &'static str) -> &'static str {
        match self {
            Self::CaFile { .. } | Self::NoCertificate => "upstream_ca_file",
            Self::ClientCertificate => "upstream_client_certificate",
            Self::Directory { .. } => "cwd",
            Self::User => "user",
            Self::Authority | Self::Program(_) | Self::Scheme(_) | Self::Tls(_) => place,
        }
    }
}

/// Why there is no answer, or no complete one. The text is for the log, never for the client.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// The connection ended or carried something other than HTTP, after the request may have been sent.
    #[error("the connection to the upstream broke")]
    Broken(#[source] Broken),
    /// A limit is reached or the circuit breaker is open; nothing was sent.
    #[error("the upstream is not asked: {0}")]
    Busy(#[from] Busy),
    /// The caller's token was no longer accepted when the call was to be sent.
    #[error("the caller, when the call was to be sent: {0}")]
    Caller(Box<VerifyError>),
    /// The `endpoint` event of a server of 2024-11-05 cannot be used.
    #[error("the upstream's stream: {0}")]
    Endpoint(#[source] EndpointError),
    /// The process ended, or closed its output, while the request was pending.
    #[error("the upstream's process ended")]
    Exited,
    /// The process did not answer `initialize` as an MCP server must.
    #[error("the upstream's process does not complete `initialize` as an MCP server must")]
    Greeting,
    /// The process cannot be started.
    #[error("the upstream's process cannot be started")]
    Start(#[source] std::io::Error),
    /// No address of the upstream accepted a connection.
    #[error("cannot connect to the upstream")]
    Connect(#[source] std::io::Error),
    /// Connecting, TLS included, took too long.
    #[error("no connection to the upstream within {0:?}")]
    ConnectTimeout(Duration),
    /// The head of the answer did not come in time.
    #[error("no answer from the upstream within {0:?}")]
    FirstByte(Duration),
    /// The end of the answer is ambiguous.
    #[error("the upstream's answer is framed ambiguously: {0}")]
    Framing(&'static str),
    /// Too long a pause within the answer.
    #[error("nothing further from the upstream within {0:?}")]
    Idle(Duration),
    /// The server does not open the event stream of 2024-11-05.
    #[error("the upstream opens no event stream; with `transport = \"sse\"` its URL is that of one")]
    NoStream,
    /// The session's endpoint is no longer configured.
    #[error("the session's endpoint is not among the upstream's")]
    NoSuchSession,
    /// The upstream does not speak the configured HTTP version.
    #[error("the upstream did not agree to the configured HTTP version")]
    Protocol,
    /// The upstream's name has no address.
    #[error("cannot resolve the upstream's name")]
    Resolve(#[source] std::io::Error),
    /// The stream that was to carry the answer ended.
    #[error("the upstream's event stream ended")]
    StreamEnded,
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("the TLS handshake with the upstream failed")]
    Tls(#[source] std::io::Error),
    /// Head or body exceeds its size limit.
    #[error("the upstream's answer is too large")]
    TooLarge,
    /// The whole answer took too long.
    #[error("no complete answer from the upstream within {0:?}")]
    Total(Duration),
}

impl From<VerifyError> for UpstreamError {
    fn from(error: VerifyError) -> Self {
        Self::Caller(Box::new(error))
    }
}

impl From<Broken> for UpstreamError {
    fn from(error: Broken) -> Self {
        Self::Broken(error)
    }
}

impl UpstreamError {
    /// The label of `portcullis_upstream_errors_total`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Broken(_) => "broken",
            Self::Busy(busy) => busy.kind(),
            Self::Caller(error) => error.result(),
            Self::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "refused",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout(_) => "timeout_connect",
            Self::Endpoint(_) => "endpoint",
            Self::Exited => "exited",
            Self::FirstByte(_) => "timeout_first_byte",
            Self::Framing(_) => "framing",
            Self::Greeting => "greeting",
            Self::Idle(_) => "timeout_idle",
            Self::NoStream => "no_stream",
            Self::NoSuchSession => "session",
            Self::Protocol => "protocol",
            Self::Resolve(_) => "resolve",
            Self::Start(_) => "start",
            Self::StreamEnded => "stream_ended",
            Self::Tls(_) => "tls",
            Self::TooLarge => "too_large",
            Self::Total(_) => "timeout_total",
        }
    }

    /// Whether the upstream certainly never saw the request.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Busy(_)
            | Self::Caller(_)
            | Self::Connect(_)
            | Self::ConnectTimeout(_)
            | Self::Endpoint(_)
            | Self::Greeting
            | Self::NoStream
            | Self::NoSuchSession
            | Self::Protocol
            | Self::Resolve(_)
            | Self::Start(_)
            | Self::Tls(_) => true,
            Self::Broken(_)
            | Self::Exited
            | Self::FirstByte(_)
            | Self::Framing(_)
            | Self::Idle(_)
            | Self::StreamEnded
            | Self::TooLarge
            | Self::Total(_) => false,
        }
    }

    /// Whether the circuit breaker counts it as a failure.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Broken(_)
            | Self::Connect(_)
            | Self::ConnectTimeout(_)
            | Self::Endpoint(_)
            | Self::Exited
            | Self::FirstByte(_)
            | Self::Greeting
            | Self::NoStream
            | Self::Protocol
            | Self::Resolve(_)
            | Self::Start(_)
            | Self::StreamEnded
            | Self::Tls(_) => true,
            Self::Busy(_)
            | Self::Caller(_)
            | Self::Framing(_)
            | Self::Idle(_)
            | Self::NoSuchSession
            | Self::TooLarge
            | Self::Total(_) => false,
        }
    }

    /// Whether time ran out after the request was sent.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::FirstByte(_) | Self::Idle(_) | Self::Total(_))
    }
}
