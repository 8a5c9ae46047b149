use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Key, Per, key, lock};
use crate::auth::Caller;

/// The most challenges for the same scopes, each for a new token.
const MOST: u32 = 2;
/// How long a challenge is remembered, and how long callers are refused after too many.
const PAUSE: Duration = Duration::from_mins(10);
/// The most entries remembered.
const REMEMBERED: usize = 10_000;

/// Remembers who was asked for which scopes. A client that cannot get them would otherwise log in forever.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    hasher: RandomState,
    asked: Mutex<HashMap<Key, Asked>>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The number of tokens the caller was challenged with.
    tokens: u32,
    /// A hash of the last token.
    token: u64,
    until: Instant,
}

impl Challenges {
    /// Notes a challenge; returns whether it is one too many.
    pub(super) fn is_one_too_many(&self, caller: &Caller, name: &str, scopes: &[Box<str>], now: Instant) -> bool {
        let whole = Per { client: true, subject: true, tool: true };
        let key = key(caller, &format!("{name} {}", scopes.join(" ")), whole);
        let token = self.hasher.hash_one((&caller.token_id, caller.expires, caller.scopes.iter().collect::<Vec<_>>()));
        let mut asked = lock(&self.asked);
        if asked.len() >= REMEMBERED {
            asked.retain(|_, asked| now < asked.until);
        }
        if asked.len() >= REMEMBERED {
            return false;
        }
        let fresh = Asked { tokens: 0, token, until: now + PAUSE };
        let known = asked
            .entry(key)
            .and_modify(|known| {
                if known.until <= now {
                    *known = fresh;
                }
            })
            .or_insert(fresh);
        if known.tokens == 0 {
            known.tokens = 1;
        } else if known.token != token && known.tokens <= MOST {
            *known = Asked { tokens: known.tokens + 1, token, until: now + PAUSE };
        }
        known.tokens > MOST
    }
}

#[cfg(test)]
mod tests {
    use super::{Challenges, PAUSE};
    use crate::auth::Caller;
    use crate::clock::{Timestamp, monotonic};
    use crate::policy::tests::caller;

    #[test]
    fn a_third_token_without_the_scopes_is_told_no_for_ten_minutes() {
        let challenges = Challenges::default();
        let token = |number: i64| Caller { expires: Timestamp::from_unix_seconds(number), ..caller("r") };
        let now = monotonic();
        let scopes: [Box<str>; 1] = ["w".into()];
        let ask = |number, name: &str, now| challenges.is_one_too_many(&token(number), name, &scopes, now);
        for _ in 0..5 {
            assert!(!ask(1, "put", now), "the same token may ask again");
        }
        assert!(!ask(2, "put", now));
        assert!(!ask(2, "put", now));
        assert!(ask(3, "put", now));
        assert!(ask(4, "put", now));
        assert!(!ask(4, "other", now), "another tool");
        assert!(ask(4, "put", now + PAUSE / 2));
        assert!(!ask(5, "put", now + PAUSE), "asked anew");
    }
}
