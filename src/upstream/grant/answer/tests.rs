use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::{LIMIT_TOKEN, LONGEST, Wanted, read};
use crate::auth::{Asked, exchange};

fn asked(status: u16, body: impl Into<Bytes>) -> Asked {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    Asked { status, answer: exchange::Answer { headers, body: body.into() } }
}

#[test]
fn lifetimes_are_bounded() {
    for (said, expected) in [("60", 60), ("\"3599\"", 3599), ("86400000", LONGEST.as_secs())] {
        let body = format!(r#"{{"access_token":"t","token_type":"bearer","expires_in":{said}}}"#);
        let token = read(asked(200, body), Wanted::AccessToken, &[]).unwrap();
        assert_eq!(token.lifetime, Duration::from_secs(expected), "{said}");
    }
}

proptest! {
    /// Whatever a token endpoint answers, there is a token that fits into a header, or a reason.
    #[test]
    fn nothing_it_answers_gets_further_than_here(status in 0_u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(token) = read(asked(status, body), Wanted::AccessToken, &[]) {
            prop_assert!(token.value.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn a_token_is_taken_whole_or_not_at_all(token in "\\PC{0,40}|[!-~]{1,40}", kind in "[Bb]earer|DPoP|", expires in any::<i64>()) {
        let body = serde_json::json!({ "access_token": token, "token_type": kind, "expires_in": expires }).to_string();
        match read(asked(200, body), Wanted::AccessToken, &[]) {
            Ok(found) => {
                prop_assert_eq!(found.value.expose(), &token);
                prop_assert!(token.bytes().all(|byte| byte.is_ascii_graphic()) && token.len() <= LIMIT_TOKEN);
                prop_assert!(kind.eq_ignore_ascii_case("bearer") && expires > 0 && found.lifetime <= LONGEST);
            }
            Err(_) => prop_assert!(!(kind.len() == 6 && expires > 0 && !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()))),
        }
    }
}
