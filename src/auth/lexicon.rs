//! Strings that many tokens of one issuer share, stored once (interning).

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::Scopes;

/// The most entries of each kind.
const LIMIT: usize = 4096;

/// Interned names of clients and keys, and sets of scopes.
#[derive(Debug, Default)]
pub(super) struct Lexicon {
    texts: Mutex<HashSet<Arc<str>>>,
    scopes: Mutex<HashSet<Scopes>>,
}

impl Lexicon {
    /// The shared copy of a text.
    pub(super) fn text(&self, text: &str) -> Arc<str> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = texts.get(text) {
            return Arc::clone(held);
        }
        let made: Arc<str> = text.into();
        keep(&mut texts, &made, |held| Arc::strong_count(held) > 1);
        made
    }

    /// The shared copy of a set of scopes.
    pub(super) fn scopes(&self, made: Scopes) -> Scopes {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = scopes.get(&made) {
            return held.clone();
        }
        keep(&mut scopes, &made, |held| Arc::strong_count(&held.0) > 1);
        made
    }
}

/// Adds an entry. If there are too many, those nobody else holds are dropped.
fn keep<T: Clone + Eq + Hash>(held: &mut HashSet<T>, made: &T, is_used: impl Fn(&T) -> bool) {
    if held.len() >= LIMIT {
        held.retain(is_used);
        // With that many in use, searching for unused ones each time would cost more than it saves.
        if held.len() > LIMIT / 2 {
            held.clear();
        }
    }
    held.insert(made.clone());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{LIMIT, Lexicon};
    use crate::auth::Scopes;

    #[test]
    fn what_is_equal_is_held_once_and_what_nobody_holds_goes() {
        let lexicon = Lexicon::default();
        let set = |text: &str| lexicon.scopes(text.split(' ').collect::<Scopes>());
        let (client, scopes) = (lexicon.text("cli"), set("a b"));
        assert!(Arc::ptr_eq(&client, &lexicon.text("cli")) && Arc::ptr_eq(&scopes.0, &set("b a").0));
        assert_ne!(scopes, set("a"));
        for number in 0..3 * LIMIT {
            assert_eq!(*lexicon.text(&number.to_string()), *number.to_string());
            set(&number.to_string());
        }
        assert!(lexicon.texts.lock().unwrap().len() <= LIMIT && lexicon.scopes.lock().unwrap().len() <= LIMIT);
        assert!(Arc::ptr_eq(&client, &lexicon.text("cli")) && Arc::ptr_eq(&scopes.0, &set("a b").0));
        // With all of them in use, all the same.
        let all: Vec<_> = (0..2 * LIMIT).map(|number| lexicon.text(&format!("c{number}"))).collect();
        assert!(all.iter().enumerate().all(|(number, text)| **text == *format!("c{number}")));
    }
}
