//! Clients identified by the URL of their metadata document (OAuth Client ID Metadata Document draft).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::client::{self, Authentication, Client};
use super::error::{Code, OauthError};
use super::register;
use crate::clock::Timestamp;

const LIMIT_BYTES: usize = 5 * 1024;
const TIMEOUT: Duration = Duration::from_secs(3);

/// Whether `id` is to be looked up rather than found among the registered clients.
pub(super) fn is_document(id: &str) -> bool {
    id.starts_with("https://") || id.starts_with("http://")
}

/// The client described at `id`.
pub(super) async fn fetch(id: &str, now: Timestamp) -> Result<Client, OauthError> {
    let url = location(id)?;
    let text = download(&url).await?;
    let document = serde_json::from_slice(&text).map_err(|_| refuse("the client's document is not a JSON object"))?;
    read(id, &document, now)
}

const fn refuse(why: &'static str) -> OauthError {
    OauthError::new(Code::InvalidClient, why)
}

/// Section 3 of the draft: `https`, a path, nothing that two parsers could read in two ways. The demo also takes
/// plain loopback.
fn location(id: &str) -> Result<Url, OauthError> {
    let url = Url::parse(id).map_err(|_| refuse("the client id is not a URL"))?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && !id.contains(['#', '\\', '?'])
        && !matches!(url.path(), "" | "/")
        // Dot segments, upper-case hosts and default ports do not survive parsing.
        && url.as_str() == id;
    match url.scheme() {
        "https" if plain => Ok(url),
        "http" if plain && client::is_loopback(&url) => Ok(url),
        _ => Err(refuse("the client id must be a plain https URL with a path")),
    }
}

/// The document's bytes: 200 only, no redirects, JSON, at most 5 KiB, from an address that was checked.
async fn download(url: &Url) -> Result<Vec<u8>, OauthError> {
    let away = |_| refuse("the client's document cannot be fetched");
    let mut client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .no_proxy()
        .user_agent("portcullis-demo");
    if !client::is_loopback(url) {
        let (host, addresses) = public_addresses(url).await?;
        client = client.resolve_to_addrs(&host, &addresses);
    }
    let request = client.build().map_err(away)?.get(url.clone()).header("accept", "application/json");
    let mut response = request.send().await.map_err(away)?;
    let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if response.status() != 200 || !(essence == "application/json" || essence.ends_with("+json")) {
        return Err(refuse("the client's document is not there as JSON"));
    }
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        text.extend_from_slice(&chunk);
        if text.len() > LIMIT_BYTES {
            return Err(refuse("the client's document is larger than 5 KiB"));
        }
    }
    Ok(text)
}

/// Where the host is, if all of it is on the public internet; the caller connects to just these.
async fn public_addresses(url: &Url) -> Result<(String, Vec<SocketAddr>), OauthError> {
    let Some(url::Host::Domain(host)) = url.host() else {
        return Err(refuse("the client id names an address, not a host"));
    };
    if url.port().is_some() {
        return Err(refuse("the client id names a port"));
    }
    let found = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host, 443))).await;
    let found = found.map_err(|_| refuse("the client's host cannot be found"))?;
    let addresses: Vec<_> = found.map_err(|_| refuse("the client's host cannot be found"))?.collect();
    if addresses.is_empty() || !addresses.iter().all(|address| is_public(address.ip())) {
        return Err(refuse("the client's host is not on the public internet"));
    }
    Ok((host.to_owned(), addresses))
}

/// Whether an address is public: not in the IANA special-purpose address registries.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let inside = address.is_private() || address.is_loopback() || address.is_link_local();
    let unusable = address.is_broadcast() || address.is_multicast() || address.is_documentation();
    let reserved = match address.octets() {
        [0 | 240..=255, ..] | [192, 0, 0, _] | [192, 88, 99, _] => true,
        [100, second, ..] => (64..128).contains(&second),
        [198, second, ..] => second & 0xfe == 18,
        _ => false,
    };
    !(inside || unusable || reserved)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Teredo, ORCHID and other protocol assignments; documentation; 6to4.
        [0x2001, second, ..] if second < 0x0200 || second == 0x0db8 => false,
        [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

fn read(id: &str, document: &Map<String, Value>, now: Timestamp) -> Result<Client, OauthError> {
    if document.get("client_id").and_then(Value::as_str) != Some(id) {
        return Err(refuse("the client's document names another client"));
    }
    if ["client_secret", "client_secret_expires_at"].iter().any(|name| document.contains_key(*name)) {
        return Err(refuse("the client's document holds a secret"));
    }
    if !matches!(document.get("token_endpoint_auth_method").map(Value::as_str), None | Some(Some("none"))) {
        return Err(refuse("the client wants to authenticate in a way that is not offered"));
    }
    if !document.contains_key("client_name") {
        return Err(refuse("the client's document has no client_name"));
    }
    register::response_types(document.get("response_types"))?;
    let redirect_uris = client::redirects(document.get("redirect_uris"))?;
    Ok(Client {
        id: id.to_owned(),
        name: client::name(document.get("client_name"))?,
        kind: client::kind(document.get("application_type"), &redirect_uris)?,
        redirect_uris,
        authentication: Authentication::None,
        grants: register::grants(document.get("grant_types"))?,
        registered: now,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "https://client.example.com/oauth/client.json";

    #[test]
    fn client_ids_are_plain_https_urls_with_a_path() {
        for (id, good) in [
            (ID, true),
            ("http://127.0.0.1:8000/client.json", true),
            ("http://localhost:8000/client.json", true),
            ("http://client.example.com/client.json", false),
            ("https://client.example.com", false),
            ("https://client.example.com/", false),
            ("https://client.example.com/a/../b", false),
            ("https://client.example.com/a#b", false),
            ("https://client.example.com/a?b", false),
            ("https://me@client.example.com/a", false),
            ("https://CLIENT.example.com/a", false),
            ("https://client.example.com:443/a", false),
            ("https://client.example.com\\a", false),
            ("ftp://client.example.com/a", false),
        ] {
            assert_eq!(location(id).is_ok(), good, "{id}");
        }
    }

    #[test]
    fn only_public_addresses_are_public() {
        for (address, public) in [
            ("93.184.216.34", true),
            ("2606:4700::1111", true),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("198.19.0.1", false),
            ("192.0.2.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("2002:a00:1::", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("fc00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn documents_must_name_themselves_and_hold_no_secret() {
        let good =
            json!({ "client_id": ID, "client_name": "Client", "redirect_uris": ["https://client.example.com/cb"] });
        let now = Timestamp::from_unix_seconds(0);
        assert_eq!(read(ID, good.as_object().unwrap(), now).unwrap().name, "Client");
        for (name, value) in [
            ("client_id", json!("https://client.example.com/oauth/other.json")),
            ("client_secret", json!("x")),
            ("token_endpoint_auth_method", json!("client_secret_post")),
            ("redirect_uris", json!([])),
            ("redirect_uris", json!(["http://client.example.com/cb"])),
            ("client_name", json!(7)),
            ("grant_types", json!(["client_credentials"])),
            ("response_types", json!(["token"])),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(read(ID, bad.as_object().unwrap(), now).is_err(), "{bad}");
        }
    }
}
