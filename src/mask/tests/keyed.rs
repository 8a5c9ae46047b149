//! Hashes and pseudonyms: who gets which, and for whom they open.

use std::sync::Arc;

use proptest::prelude::*;

use super::disguises::{Dice, value};
use super::{entities, pattern};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::mask::pseudonym::Read;
use crate::mask::said::Said;
use crate::mask::{Action, Direction, Entity, Findings, Keyring, Masks, Pace, Share, Spec, View};
use crate::policy::tests::caller;
use crate::seal::Seals;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_614_400);
const DAY: i64 = 24 * 60 * 60;

/// Masks of two servers over one set of sealing keys.
fn servers(specs: &[Spec]) -> [Masks; 2] {
    let (seals, pace) = (Arc::new(Seals::random().unwrap()), Arc::new(Pace::default()));
    ["crm", "billing"].map(|name| {
        let masks = Masks::compile(specs.iter().cloned().map(for_results).collect()).unwrap();
        masks.keyed(Keyring::new(seals.clone(), name.into(), "http://127.0.0.1:9000", pace.clone()))
    })
}

fn for_results(spec: Spec) -> Spec {
    let mut spec = spec;
    spec.on.arguments = false;
    spec
}

fn named(subject: &str) -> Caller {
    Caller { subject: subject.into(), ..caller("") }
}

fn shown(masks: &Masks, caller: &Caller, now: Timestamp, text: &str) -> String {
    let view = View { caller: Some(caller), now, ..View::default() };
    masks.text(&view, Direction::Result, text, &mut Findings::new()).unwrap().into_owned()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(NOW.unix_seconds() + seconds)
}

#[test]
fn a_hash_is_the_same_for_whom_it_should_be() {
    let hash = |share| entities("h", &[Entity::EmailAddress, Entity::CreditCard], Action::Hash { share });
    let (ana, bo) = (named("ana"), named("bo"));
    let mail = "mail ana@example.com";
    for share in [Share::Principal, Share::Server] {
        let [crm, billing] = servers(&[hash(share)]);
        let written = shown(&crm, &ana, NOW, mail);
        let digits = written.strip_prefix("mail EMAIL_ADDRESS:").unwrap();
        assert!(digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{written}");
        assert_eq!(shown(&crm, &ana, later(60), mail), written);
        assert_eq!(shown(&crm, &ana, NOW, "mail ANA@example.com"), written);
        assert_eq!(shown(&crm, &ana, NOW, &written), written, "its own writing stays");
        assert_eq!(shown(&crm, &bo, NOW, mail) == written, share == Share::Server);
        assert_ne!(shown(&billing, &ana, NOW, mail), written);
        assert_ne!(shown(&crm, &ana, later(DAY), mail), written);
        let cards = shown(&crm, &ana, NOW, "4111 1111 1111 1111, 4111111111111111");
        let (one, other) = cards.split_once(", ").unwrap();
        assert_eq!(one, other);
    }
    let [crm, _] = servers(&[hash(Share::Principal)]);
    let nobody = crm.text(&View::default(), Direction::Result, mail, &mut Findings::new()).unwrap();
    assert_eq!(nobody, "mail [EMAIL_ADDRESS]");
}

#[test]
fn a_pseudonym_is_stable_and_left_alone_by_its_owner_s_masks_alone() {
    let staff = pattern("staff", r"\bEMP-\d{6}\b", "EMPLOYEE_ID", Action::Tokenize);
    let greedy = pattern("greedy", r"tok_[A-Za-z0-9_-]+", "WORD", Action::Redact);
    let mail = entities("mail", &[Entity::EmailAddress], Action::Tokenize);
    let [crm, billing] = servers(&[staff, greedy, mail]);
    let (ana, bo) = (named("ana"), named("bo"));
    let written = shown(&crm, &ana, NOW, "EMP-123456 ana@example.com");
    let (id, mail) = written.split_once(' ').unwrap();
    assert!(id.starts_with("tok_employee_id_") && mail.starts_with("tok_email_address_"), "{written}");
    assert_eq!(shown(&crm, &ana, NOW, "EMP-123456 ana@example.com"), written);
    // Left alone while it opens, for its owner, on its server.
    assert_eq!(shown(&crm, &ana, NOW, mail), mail);
    assert_eq!(shown(&crm, &ana, later(DAY), mail), mail);
    for (masks, caller, now) in [(&crm, &bo, NOW), (&billing, &ana, NOW), (&crm, &ana, later(2 * DAY))] {
        assert_eq!(shown(masks, caller, now, mail), "[WORD]");
    }
    // What merely looks like one is plain text.
    assert_eq!(shown(&crm, &ana, NOW, "tok_email_address_x"), "[WORD]");
    let [only_mail, _] = servers(&[entities("mail", &[Entity::EmailAddress], Action::Tokenize)]);
    let alike = shown(&only_mail, &ana, NOW, "tok_email_address_ana@example.com");
    assert!(!alike.contains("ana@"), "{alike}");
}

/// A long request and an answer with many values: values are searched for in the request until the limit, then assumed said.
#[test]
fn no_pseudonyms_are_given_once_looking_for_what_was_said_takes_too_long() {
    let [crm, _] = servers(&[entities("m", &[Entity::EmailAddress], Action::Tokenize)]);
    let ana = named("ana");
    let values: Vec<String> = (0..100).map(|at| format!("user{at}@example.com")).collect();
    for (length, given) in [(1 << 10, 99), (1 << 20, 63)] {
        let said = Said::speaking(&("user7@example.com".to_owned() + &"x".repeat(length)));
        let view = View { caller: Some(&ana), now: NOW, said: Some(&said), ..View::default() };
        let text = crm.text(&view, Direction::Result, &values.join(" "), &mut Findings::new()).unwrap().into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(words.iter().filter(|word| word.starts_with("tok_")).count(), given - usize::from(given < 99));
        assert!(words.iter().all(|word| word.starts_with("tok_") || *word == "[EMAIL_ADDRESS]"), "{text}");
        assert_eq!(words[7], "[EMAIL_ADDRESS]");
    }
}

#[test]
fn secrets_and_arguments_have_no_pseudonyms() {
    let both = entities("m", &[Entity::EmailAddress], Action::Tokenize);
    let secret = for_results(entities("s", &[Entity::Secret], Action::Tokenize));
    let errors = Masks::compile(vec![both, secret]).unwrap_err();
    let ids: Vec<&str> = errors.iter().map(|error| &*error.id).collect();
    assert_eq!(ids, ["m", "s"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// A pseudonym opens to exactly its value for its owner, and not at all for anybody else.
    #[test]
    fn what_is_tokenised_opens_for_its_owner_alone(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let seals = Arc::new(Seals::random().unwrap());
        let ring = |server: &str, upstream| Keyring::new(seals.clone(), server.into(), upstream, Arc::new(Pace::default()));
        let [own, other_server, other_upstream] =
            [ring("crm", "http://a.test"), ring("billing", "http://a.test"), ring("crm", "http://b.test")];
        let ana = named("ana");
        let others = [
            named("bo"),
            Caller { issuer: "https://other.example".into(), ..ana.clone() },
            Caller { tenant: Some("other".into()), ..ana.clone() },
            Caller { client_id: Some("other".into()), ..ana.clone() },
        ];
        for entity in Entity::ALL.into_iter().filter(|entity| *entity != Entity::Secret) {
            let masks = Masks::compile(vec![for_results(entities("m", &[entity], Action::Tokenize))]).unwrap();
            let masks = masks.keyed(own.clone());
            let (before, plain) = value(entity, &mut dice);
            let text = format!("{before}{plain}.");
            let written = shown(&masks, &ana, NOW, &text);
            prop_assert!(!written.contains(&plain), "{}", written);
            let at = written.find("tok_").unwrap();
            let (head, rest) = written.split_at(at);
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(rest.len());
            let (token, tail) = rest.split_at(end);
            let read = Read::new(token, entity.name()).unwrap();
            let opened = own.open(&ana, "m", &read, NOW).unwrap();
            prop_assert_eq!(format!("{head}{opened}{tail}"), text);
            prop_assert!(own.open(&ana, "m", &read, later(DAY)).is_some());
            for caller in &others {
                prop_assert_eq!(own.open(caller, "m", &read, NOW), None);
            }
            for ring in [&other_server, &other_upstream] {
                prop_assert_eq!(ring.open(&ana, "m", &read, NOW), None);
            }
            prop_assert_eq!(own.open(&ana, "n", &read, NOW), None);
            prop_assert_eq!(own.open(&ana, "m", &read, later(2 * DAY)), None);
            let strangers = shown(&masks, &others[0], NOW, &written);
            prop_assert!(!strangers.contains(&plain), "{}", strangers);
        }
    }

    /// A replacement contains nothing of the value, and is the same every time.
    #[test]
    fn keyed_replacements_are_stable_and_tell_nothing(local in "[a-z]{8,20}", hash in any::<bool>()) {
        let action = if hash { Action::Hash { share: Share::Principal } } else { Action::Tokenize };
        let [crm, _] = servers(&[entities("m", &[Entity::EmailAddress], action)]);
        let ana = named("ana");
        let text = format!("to {local}@example.com, twice: {local}@example.com.");
        let once = shown(&crm, &ana, NOW, &text);
        prop_assert!(!once.contains(&local));
        let (first, second) = once.strip_prefix("to ").unwrap().split_once(", twice: ").unwrap();
        prop_assert_eq!(format!("{first}."), second);
        prop_assert_eq!(shown(&crm, &ana, NOW, &once), once);
    }
}
