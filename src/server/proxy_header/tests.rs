use std::net::SocketAddr;

use proptest::prelude::*;
use proxy_header::{ProxiedAddress, ProxyHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{FIXED, LIMIT_BINARY, Origin, SIGNATURE, parse, read};

/// A header of version 2 with that command, family and payload.
fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, payload].concat()
}

const FOUR: &[u8] = &[203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 1, 0xBB];

fn client(text: &str) -> Origin {
    Origin::Client(text.parse().unwrap())
}

#[test]
fn headers_say_whose_connection_it_is() {
    let with_more = [FOUR, &[0x04, 0, 3, 1, 2, 3]].concat();
    let six = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[0, 80, 1, 0xBB]].concat();
    for (header, origin) in [
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 443\r\n".to_vec(), Some(client("203.0.113.7:4660"))),
        (b"PROXY TCP6 2001:db8::7 ::1 80 443\r\n".to_vec(), Some(client("[2001:db8::7]:80"))),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 80 443\r\n".to_vec(), Some(client("203.0.113.7:80"))),
        (b"PROXY UNKNOWN\r\n".to_vec(), Some(Origin::Unnamed)),
        (b"PROXY UNKNOWN 6.6.6.6 \xff whatever\r\n".to_vec(), Some(Origin::Unnamed)),
        (binary(0x21, 0x11, FOUR), Some(client("203.0.113.7:4660"))),
        (binary(0x21, 0x11, &with_more), Some(client("203.0.113.7:4660"))),
        (binary(0x21, 0x21, &six), Some(client("[2001:db8::7]:80"))),
        (binary(0x20, 0x11, FOUR), Some(Origin::Unnamed)),
        (binary(0x20, 0x00, &[]), Some(Origin::Unnamed)),
        (binary(0x21, 0x31, &[0; 216]), Some(Origin::Unnamed)),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 443\n".to_vec(), None),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4660\r\n".to_vec(), None),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 443 \r\n".to_vec(), None),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 +4660 443\r\n".to_vec(), None),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n".to_vec(), None),
        (b"PROXY TCP4 2001:db8::7 ::1 80 443\r\n".to_vec(), None),
        (b"PROXY TCP4  203.0.113.7 10.0.0.1 4660 443\r\n".to_vec(), None),
        (b"PROXYxTCP4 203.0.113.7 10.0.0.1 4660 443\r\n".to_vec(), None),
        (b"PROXY UDP4 203.0.113.7 10.0.0.1 4660 443\r\n".to_vec(), None),
        (b"PROXY UNKNOWN\rx\r\n".to_vec(), None),
        (b"PROXY UNKNOWNS\r\n".to_vec(), None),
        (b"PROXY \r\n".to_vec(), None),
        (b"GET / HTTP/1.1\r\n".to_vec(), None),
        (binary(0x21, 0x12, FOUR), None),
        (binary(0x11, 0x11, FOUR), None),
        (binary(0x22, 0x11, FOUR), None),
        (binary(0x21, 0x41, FOUR), None),
        (binary(0x21, 0x11, &FOUR[..11]), None),
        (binary(0x21, 0x21, FOUR), None),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), None),
        (Vec::new(), None),
    ] {
        assert_eq!(parse(&header).ok(), origin, "{:?}", String::from_utf8_lossy(&header));
    }
}

/// Both ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// What is read of bytes that arrive one by one, and what is left for who comes next.
async fn drip(bytes: &[u8], optional: bool) -> (Result<Option<Origin>, ()>, Vec<u8>) {
    let (mut near, mut far) = pair().await;
    near.set_nodelay(true).unwrap();
    let sending = async {
        for byte in bytes {
            // Who refuses reads no more.
            if near.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(near);
    };
    let reading = async {
        let read = read(&mut far, optional).await.map_err(drop);
        let mut rest = Vec::new();
        let _ = far.read_to_end(&mut rest).await;
        (read, rest)
    };
    tokio::join!(sending, reading).1
}

#[tokio::test]
async fn not_a_byte_more_is_read() {
    let long = binary(0x21, 0x11, &[FOUR, &[4; LIMIT_BINARY - FOUR.len()]].concat());
    for header in [&b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 443\r\n"[..], &binary(0x21, 0x11, FOUR), &long] {
        for rest in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"PROXY UNKNOWN\r\n"] {
            let (read, left) = drip(&[header, rest].concat(), false).await;
            assert_eq!((read, &*left), (Ok(Some(client("203.0.113.7:4660"))), rest));
        }
    }
    let (read, left) = drip(b"\x16\x03\x01\x02\x00", true).await;
    assert_eq!((read, &*left), (Ok(None), &b"\x16\x03\x01\x02\x00"[..]));
}

#[tokio::test]
async fn what_is_no_header_or_has_no_end_is_refused() {
    let too_long = binary(0x21, 0x11, &[0; LIMIT_BINARY + 1]);
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    for bytes in [
        &b""[..],
        b"P",
        b"PROXY TCP4 203.0.113.7",
        b"POST / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        &endless,
        &too_long,
        &SIGNATURE[..],
        &binary(0x21, 0x11, FOUR)[..FIXED + 5],
        b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(drip(bytes, false).await.0, Err(()), "{:?}", String::from_utf8_lossy(bytes));
    }
}

proptest! {
    /// What proxies write is read as it was meant.
    #[test]
    fn every_client_arrives(source: SocketAddr, port: u16, text: bool) {
        let destination = SocketAddr::new(if source.is_ipv4() { [10, 0, 0, 1].into() } else { [0; 8].into() }, port);
        // The parser knows of no scopes and flows.
        let source = SocketAddr::new(source.ip(), source.port());
        let written = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
        let mut bytes = Vec::new();
        if text { written.encode_v1(&mut bytes) } else { written.encode_v2(&mut bytes) }.unwrap();
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        prop_assert_eq!(parse(&bytes).ok(), Some(Origin::Client(source)));
        bytes.push(b'x');
        prop_assert!(parse(&bytes).is_err());
    }

    /// Nothing panics, and what is accepted is a whole header.
    #[test]
    fn nothing_else_is_accepted(
        start in proptest::sample::select(vec![
            &SIGNATURE[..], b"PROXY ", b"PROXY TCP4 1.2.3.4 ", b"PROXY UNKNOWN", b"",
        ]),
        rest in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let bytes = [start, &rest].concat();
        if parse(&bytes).is_ok() {
            prop_assert!(bytes.ends_with(b"\r\n") || bytes.starts_with(SIGNATURE));
        }
    }
}
