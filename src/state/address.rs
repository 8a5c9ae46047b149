//! Where the shared store is: a URL of Redis or Valkey, and the connection to it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::secret::Secret;
use crate::server::liveness;
use crate::upstream::{BuildError, tls_client};

/// A store's address, with the name and password to show there. It prints without them.
#[derive(Clone)]
pub struct Address {
    place: Place,
    login: RedisConnectionInfo,
    encrypted: bool,
}

#[derive(Clone)]
enum Place {
    File(PathBuf),
    Host { name: String, port: u16, loopback: bool },
}

/// Why a URL is not an address of a store. The text has nothing of the URL, which may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AddressError {
    #[error("a fragment or a query is not for this URL")]
    More,
    #[error("it names no host, or a database that is no number")]
    Parts,
    #[error("its scheme is not `rediss`, `redis`, `valkeys`, `valkey` or `unix`")]
    Scheme,
    #[error("not a URL")]
    Url,
}

/// A connection that is open, of whichever kind.
pub(super) type Stream = Box<dyn Duplex>;

/// What is both read and written.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Address {
    /// Parses the URL. Errs if it is not one of a store.
    pub fn read(url: &Secret<String>) -> Result<Self, AddressError> {
        let mut url = Url::parse(url.expose()).map_err(|_| AddressError::Url)?;
        let encrypted = match url.scheme() {
            "rediss" | "valkeys" => true,
            "redis" | "valkey" | "unix" => false,
            _ => return Err(AddressError::Scheme),
        };
        let over_tcp = url.scheme() != "unix";
        if url.fragment().is_some() || over_tcp && url.query().is_some() {
            return Err(AddressError::More);
        }
        // TLS is our own, with the provider of everything else.
        if encrypted {
            url.set_scheme("redis").map_err(|()| AddressError::Scheme)?;
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.parse().is_ok_and(is_loopback),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let info = url.into_connection_info().map_err(|_| AddressError::Parts)?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(name, port) if !name.is_empty() => {
                Place::Host { name: name.clone(), port: *port, loopback }
            }
            ConnectionAddr::Unix(path) => Place::File(path.clone()),
            _ => return Err(AddressError::Parts),
        };
        let login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        Ok(Self { place, login, encrypted })
    }

    /// Whether it is reached by TLS.
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether others could read and change what is said with it.
    pub const fn is_exposed(&self) -> bool {
        !self.encrypted && matches!(self.place, Place::Host { loopback: false, .. })
    }

    /// Name, password and database.
    pub(super) const fn login(&self) -> &RedisConnectionInfo {
        &self.login
    }

    /// Connects, with `tls` if that is what the URL says.
    pub(super) async fn open(&self, tls: Option<&TlsConnector>) -> io::Result<Stream> {
        let (name, port) = match &self.place {
            Place::File(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Place::Host { name, port, .. } => (name.as_str(), *port),
        };
        let stream = TcpStream::connect((name, port)).await?;
        stream.set_nodelay(true)?;
        liveness::watch(&stream)?;
        let Some(tls) = tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }

    /// What connects by TLS, trusting the authorities of `ca_file` besides the system's; `None` where the URL says no TLS.
    pub(super) fn tls(&self, ca_file: Option<&Path>) -> Result<Option<TlsConnector>, BuildError> {
        if !self.encrypted {
            return Ok(None);
        }
        Ok(Some(TlsConnector::from(Arc::new(tls_client(ca_file)?))))
    }
}

fn is_loopback(address: std::net::IpAddr) -> bool {
    address.is_loopback()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Host { name, port, .. } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Place::Host { name, port, .. } => write!(f, "{name}:{port}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError};
    use crate::secret::Secret;

    fn read(url: &str) -> Result<(String, bool, bool), AddressError> {
        let address = Address::read(&Secret::new(url.to_owned()))?;
        assert!(!format!("{address:?}").contains("s3cr3t"));
        Ok((address.to_string(), address.is_encrypted(), address.is_exposed()))
    }

    #[test]
    fn reads_urls_of_stores_and_nothing_else() {
        for (url, place, encrypted, exposed) in [
            ("redis://localhost", "localhost:6379", false, false),
            ("redis://127.0.0.1:7000/3", "127.0.0.1:7000", false, false),
            ("redis://[::1]:7000", "[::1]:7000", false, false),
            ("redis://:s3cr3t@redis.internal", "redis.internal:6379", false, true),
            ("rediss://app:s3cr3t@redis.internal:6380/0", "redis.internal:6380", true, false),
            ("valkeys://valkey.internal", "valkey.internal:6379", true, false),
            ("valkey://10.0.0.5", "10.0.0.5:6379", false, true),
            ("unix:///run/redis/redis.sock?db=2", "/run/redis/redis.sock", false, false),
        ] {
            assert_eq!(read(url), Ok((place.to_owned(), encrypted, exposed)), "{url}");
        }
        for (url, error) in [
            ("localhost:6379", AddressError::Scheme),
            ("redis.internal", AddressError::Url),
            ("http://redis.internal", AddressError::Scheme),
            ("rediss://redis.internal#insecure", AddressError::More),
            ("redis://redis.internal?protocol=resp2", AddressError::More),
            ("redis://redis.internal/sessions", AddressError::Parts),
            ("redis://", AddressError::Parts),
            ("redis://0.0.0.0", AddressError::Parts),
        ] {
            assert_eq!(read(url).map(|(place, ..)| place), Err(error), "{url}");
        }
    }
}
