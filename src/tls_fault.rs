//! Why no TLS session was made with another server, in words for who runs this one.

use std::error::Error;
use std::io;

use rustls::{CertificateError, InvalidMessage};
use rustls_pki_types::UnixTime;
use thiserror::Error;

use crate::clock::Timestamp;

/// What is wrong with the other side, or with what is known of it here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// Its certificate says that it is an authority.
    #[error("its certificate is an authority's own, which is none for a server")]
    Authority,
    /// The end of its certificate's time, if that is known.
    #[error("its certificate expired{}", at(" at ", *.0))]
    Expired(Option<Timestamp>),
    /// What its certificate is for.
    #[error("its certificate is not for this name{}", names(.0))]
    Name(Vec<String>),
    /// What came is not TLS.
    #[error("it does not speak TLS there")]
    Plain,
    /// The begin of its certificate's time, if that is known.
    #[error("its certificate is not valid yet{}", at(", but from ", *.0))]
    Soon(Option<Timestamp>),
    /// Nobody known here vouches for it.
    #[error("its certificate is signed by itself or by an authority that is not trusted here")]
    Unknown,
    /// Nothing it shows verifies under the authority it names.
    #[error("the signature of its certificate does not verify")]
    Unverified,
}

fn at(word: &str, time: Option<Timestamp>) -> String {
    time.map(|time| format!("{word}{}", String::from_utf8_lossy(&time.rfc3339()))).unwrap_or_default()
}

fn names(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(", but for {}", names.join(", ")) }
}

impl TlsFault {
    /// What `error` or anything it comes from says of a TLS session.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let found = match error.downcast_ref::<io::Error>() {
                // An error within one of these is no source of it.
                Some(outer) => outer.get_ref().and_then(|inner| Self::of(inner)),
                None => error.downcast_ref().and_then(Self::read),
            };
            if found.is_some() {
                return found;
            }
            cause = error.source();
        }
        None
    }

    fn read(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(Self::Plain),
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            _ => None,
        }
    }

    fn of_certificate(error: &CertificateError) -> Option<Self> {
        Some(match error {
            CertificateError::Expired => Self::Expired(None),
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(timestamp(*not_after)),
            CertificateError::NotValidYet => Self::Soon(None),
            CertificateError::NotValidYetContext { not_before, .. } => Self::Soon(timestamp(*not_before)),
            CertificateError::NotValidForName => Self::Name(Vec::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::Name(presented.iter().map(|name| bare(name).to_owned()).collect())
            }
            CertificateError::UnknownIssuer => Self::Unknown,
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Unverified,
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Self::Authority,
            _ => return None,
        })
    }

    /// What to do about it, where authorities are named under `key`.
    pub(crate) fn remedy(&self, key: &str) -> String {
        match self {
            Self::Authority => format!("give it one that an authority has signed, and name that one's file in `{key}`"),
            Self::Expired(_) => "renew it, or set the clock here".to_owned(),
            Self::Name(_) => "write the name it is for, or give it a certificate for this one".to_owned(),
            Self::Plain => "write the port it speaks TLS on".to_owned(),
            Self::Soon(_) => "set the clock here or where it was made".to_owned(),
            Self::Unknown | Self::Unverified => format!("name the file of its authority in `{key}`"),
        }
    }
}

/// `elsewhere.test` of `DnsName("elsewhere.test")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn timestamp(time: UnixTime) -> Option<Timestamp> {
    i64::try_from(time.as_secs()).ok().map(Timestamp::from_unix_seconds)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use rustls::{CertificateError, Error, InvalidMessage};
    use rustls_pki_types::{ServerName, UnixTime};

    use super::TlsFault;
    use crate::upstream::UpstreamError;

    fn unix(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_fault_is_found_below_what_it_broke_and_says_what_to_do() {
        let (now, then) = (unix(1_767_614_500), unix(1_767_614_400));
        let expected = ServerName::try_from("login.test").unwrap();
        let presented = vec![r#"DnsName("a.test")"#.to_owned(), "IpAddress(::1)".to_owned()];
        for (error, told, remedy) in [
            (
                CertificateError::ExpiredContext { time: now, not_after: then }.into(),
                "its certificate expired at 2026-01-05T12:00:00.000Z",
                "renew it, or set the clock here",
            ),
            (
                CertificateError::NotValidYetContext { time: then, not_before: now }.into(),
                "its certificate is not valid yet, but from 2026-01-05T12:01:40.000Z",
                "set the clock here or where it was made",
            ),
            (
                CertificateError::NotValidForNameContext { expected, presented }.into(),
                "its certificate is not for this name, but for a.test, ::1",
                "write the name it is for, or give it a certificate for this one",
            ),
            (
                CertificateError::UnknownIssuer.into(),
                "its certificate is signed by itself or by an authority that is not trusted here",
                "name the file of its authority in `ca_file`",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "it does not speak TLS there",
                "write the port it speaks TLS on",
            ),
        ] {
            let broken = UpstreamError::Tls(io::Error::new(io::ErrorKind::InvalidData, error));
            let fault = TlsFault::of(&broken).unwrap();
            assert_eq!((&*fault.to_string(), &*fault.remedy("ca_file")), (told, remedy));
            assert_eq!(crate::cli::chain(&broken), format!("the TLS handshake with the upstream failed: {told}"));
        }
        assert_eq!(TlsFault::of(&UpstreamError::Tls(io::ErrorKind::UnexpectedEof.into())), None);
    }
}
