//! One HTTP/2 connection may carry many callers: each stream has its own credential, answer and masks.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{Proxy, Setup, Upstream, json_answer, token_of, within};

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn connect(proxy: &Proxy) -> Sender {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn call(token: &str, query: &str) -> Request<Full<Bytes>> {
    let message = json!({ "jsonrpc": "2.0", "id": query, "method": "tools/call", "params": {
        "name": "search_contacts", "arguments": { "query": query } } });
    let request = Request::post("http://gw.test/crm/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("authorization", format!("Bearer {token}"));
    request.body(Full::new(Bytes::from(message.to_string()))).unwrap()
}

async fn send(sender: &Sender, request: Request<Full<Bytes>>) -> (u16, String) {
    let mut sender = sender.clone();
    let response = within("an answer", sender.send_request(request)).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn streams_of_ten_callers_are_never_mixed_up() {
    let upstream = Upstream::answering(|heard| {
        let query = heard.json()["params"]["arguments"]["query"].clone();
        let result = json!({ "content": [{ "type": "text", "text": format!("for {query} at x@private.example") }] });
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await;
    let proxy = Setup::new(upstream.url()).start().await;
    let sender = connect(&proxy).await;
    let mut asked = Vec::new();
    for round in 0..10 {
        for user in 0..10 {
            // Every third caller shows a token that opens nothing.
            let mut claims = token_of(&proxy.issuer, &format!("user-{user}"));
            claims.insert("scope".to_owned(), json!("crm:read"));
            if user % 3 == 2 {
                claims.insert("aud".to_owned(), json!("https://gw.test/wiki/mcp"));
            }
            let token = proxy.mint(&claims);
            let query = format!("u{user}r{round}");
            asked.push((user, query.clone(), call(&token, &query)));
        }
    }
    let answers = asked.into_iter().map(|(user, query, request)| {
        let sender = sender.clone();
        async move { (user, query, send(&sender, request).await) }
    });
    for (user, query, (status, body)) in futures_util::future::join_all(answers).await {
        if user % 3 == 2 {
            assert_eq!(status, 401, "{body}");
            continue;
        }
        assert_eq!(status, 200, "{body}");
        let wanted = json!({ "jsonrpc": "2.0", "id": query, "result": { "content": [
            { "type": "text", "text": format!("for \"{query}\" at [EMAIL_ADDRESS]") }] } });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), wanted);
    }
    assert_eq!(upstream.take().len(), 70);
    let lines = proxy.audit();
    for line in lines.iter().filter(|line| line["event"] == "end") {
        let user = line["subject"]["sub"].as_str().unwrap().trim_start_matches("user-");
        assert!(line["rpc_id"].as_str().unwrap().starts_with(&format!("u{user}r")), "{line}");
    }
}

#[tokio::test]
async fn what_http1_refuses_http2_refuses_too() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let sender = connect(&proxy).await;
    let token = proxy.token("ana");
    let at = |uri: &str| {
        let mut request = call(&token, "x");
        *request.uri_mut() = uri.parse().unwrap();
        request
    };
    for (name, request, wanted) in [
        ("another host", at("http://evil.test/crm/mcp"), 421),
        ("another path", at("http://gw.test/crm/mcp/"), 404),
        ("token in the query", at("http://gw.test/crm/mcp?access_token=x"), 400),
    ] {
        assert_eq!(send(&sender, request).await.0, wanted, "{name}");
    }
    let mut two = call(&token, "x");
    two.headers_mut().insert("host", "evil.test".parse().unwrap());
    assert_eq!(send(&sender, two).await.0, 400);
    let mut page = call(&token, "x");
    page.headers_mut().insert("origin", "https://evil.test".parse().unwrap());
    assert_eq!(send(&sender, page).await.0, 403);
    assert_eq!(upstream.take().len(), 0);
    assert_eq!(send(&sender, call(&token, "x")).await.0, 200);
}

#[tokio::test]
async fn a_stream_that_is_reset_hangs_up_on_the_upstream() {
    let (upstream, mut driver) = Upstream::driven().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let mut sender = connect(&proxy).await;
    let response = within("an answer", sender.send_request(call(&proxy.token("ana"), "x"))).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(response);
    driver.hung_up().await;
    // The connection is whole.
    assert_eq!(send(&sender, call("garbage", "x")).await.0, 401);
    assert_eq!(upstream.take().len(), 1);
}
