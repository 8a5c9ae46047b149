use std::time::Duration;

use data_encoding::{BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use proptest::prelude::*;

use super::{Binding, LoadError, Purpose, SealError, Seals, looks_sealed};
use crate::clock::Timestamp;
use crate::config::{Sealing, SealingKey};

const BINDING: Binding<'_> = Binding {
    server: "crm",
    upstream: "http://127.0.0.1:9000",
    issuer: "https://a/x",
    tenant: Some("t"),
    subject: "y",
    client: Some("c"),
};
const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_614_400);
const HOUR: Duration = Duration::from_hours(1);

fn seal(seals: &Seals, purpose: Purpose, binding: &Binding<'_>, payload: &[u8]) -> String {
    let sealed = if purpose.is_deterministic() {
        seals.seal_deterministic(purpose, binding, payload, NOW)
    } else {
        seals.seal(purpose, binding, payload, NOW, HOUR)
    };
    sealed.unwrap()
}

/// What belonged to one anonymous caller would belong to all of them.
#[test]
fn nothing_is_sealed_to_nobody_but_pages_and_nonces() {
    let (seals, nobody) = (Seals::random().unwrap(), Binding { issuer: "", tenant: None, client: None, ..BINDING });
    for purpose in Purpose::ALL {
        let sealed = if purpose.is_deterministic() {
            seals.seal_deterministic(purpose, &nobody, b"x", NOW)
        } else {
            seals.seal(purpose, &nobody, b"x", NOW, HOUR)
        };
        let is_nobodys = matches!(purpose, Purpose::Cursor | Purpose::ProofNonce);
        assert_eq!(sealed.is_ok(), is_nobodys, "{purpose:?}");
        let known = seal(&seals, purpose, &BINDING, b"x");
        let expected = if is_nobodys { SealError::Forged } else { SealError::Nobody };
        assert_eq!(seals.open(purpose, &nobody, &known, NOW), Err(expected), "{purpose:?}");
    }
}

#[test]
fn opens_under_the_same_binding_and_no_other() {
    let seals = Seals::random().unwrap();
    let others = [
        Binding { server: "crm2", ..BINDING },
        Binding { server: "", ..BINDING },
        Binding { upstream: "http://127.0.0.1:9001", ..BINDING },
        Binding { issuer: "https://a/", ..BINDING },
        Binding { tenant: Some("u"), ..BINDING },
        Binding { tenant: Some(""), ..BINDING },
        Binding { tenant: None, ..BINDING },
        Binding { subject: "z", ..BINDING },
        Binding { client: Some("d"), ..BINDING },
        Binding { client: Some(""), ..BINDING },
        Binding { client: None, ..BINDING },
        // Fields that only run together the same way.
        Binding { issuer: "https://a/", subject: "xy", ..BINDING },
        Binding { server: "crmh", upstream: "ttp://127.0.0.1:9000", ..BINDING },
        Binding { tenant: None, subject: "ty", ..BINDING },
        Binding { subject: "yc", client: Some(""), ..BINDING },
        Binding { tenant: Some("y"), subject: "t", ..BINDING },
    ];
    for purpose in Purpose::ALL {
        let sealed = seal(&seals, purpose, &BINDING, b"payload");
        assert_eq!(seals.open(purpose, &BINDING, &sealed, NOW).unwrap(), b"payload");
        for other in others {
            assert_eq!(seals.open(purpose, &other, &sealed, NOW), Err(SealError::Forged), "{purpose:?} {other:?}");
        }
        for other in Purpose::ALL.into_iter().filter(|other| *other != purpose) {
            assert_eq!(seals.open(other, &BINDING, &sealed, NOW), Err(SealError::Forged), "{purpose:?} as {other:?}");
        }
    }
}

#[test]
fn labels_of_purposes_are_unique_and_in_the_order_of_their_keys() {
    for (at, purpose) in Purpose::ALL.into_iter().enumerate() {
        assert_eq!(purpose as usize, at);
        assert!(Purpose::ALL[..at].iter().all(|other| other.label() != purpose.label()));
    }
}

#[test]
fn no_changed_cut_or_grown_text_opens() {
    let seals = Seals::random().unwrap();
    for purpose in [Purpose::Session, Purpose::RequestId] {
        let sealed = seal(&seals, purpose, &BINDING, b"payload");
        let open = |text: &str| seals.open(purpose, &BINDING, text, NOW);
        let bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(open(&BASE64URL_NOPAD.encode(&changed)).is_err(), "bit {bit} of byte {at}");
            }
            assert!(open(&BASE64URL_NOPAD.encode(&bytes[..at])).is_err(), "cut at {at}");
        }
        for at in 0..sealed.len() {
            assert!(open(sealed.get(..at).unwrap()).is_err());
        }
        for changed in [
            format!("{sealed}A"),
            format!("{sealed}="),
            format!(" {sealed}"),
            format!("{sealed}\n"),
            sealed.replacen('A', "+", 1),
        ] {
            assert!(open(&changed).is_err(), "{changed}");
        }
    }
}

#[test]
fn times_end_with_their_value() {
    let seals = Seals::random().unwrap();
    let sealed = seals.seal(Purpose::Session, &BINDING, b"", NOW, HOUR).unwrap();
    let just_before = Timestamp::from_unix_seconds(NOW.unix_seconds() + 3599);
    assert_eq!(seals.open(Purpose::Session, &BINDING, &sealed, just_before), Ok(Vec::new()));
    assert_eq!(seals.open(Purpose::Session, &BINDING, &sealed, NOW.plus(HOUR)), Err(SealError::Expired));
}

#[test]
fn nothing_sealed_by_a_clock_that_ran_ahead_outlives_it() {
    let seals = Seals::random().unwrap();
    let day = Duration::from_hours(24);
    for purpose in Purpose::ALL.into_iter().filter(|purpose| *purpose != Purpose::Pseudonym) {
        let sealed = seal(&seals, purpose, &BINDING, b"x");
        let before = |time: Duration| Timestamp::from_unix_seconds(NOW.unix_seconds() - time.as_secs().cast_signed());
        assert_eq!(seals.open(purpose, &BINDING, &sealed, before(day)), Err(SealError::Early), "{purpose:?}");
        // The clocks of two replicas, or one that is set right a little.
        assert!(seals.open(purpose, &BINDING, &sealed, before(Duration::from_mins(5))).is_ok(), "{purpose:?}");
        assert!(seals.open(purpose, &BINDING, &sealed, NOW).is_ok(), "{purpose:?}");
    }
    // What a pseudonym stands for does not depend on the time.
    let sealed = seal(&seals, Purpose::Pseudonym, &BINDING, b"x");
    assert!(seals.open(Purpose::Pseudonym, &BINDING, &sealed, Timestamp::from_unix_seconds(0)).is_ok());
}

#[test]
fn equal_payloads_give_equal_texts_only_where_they_must() {
    let seals = Seals::random().unwrap();
    for purpose in Purpose::ALL {
        let twice = [seal(&seals, purpose, &BINDING, b"x"), seal(&seals, purpose, &BINDING, b"x")];
        assert_eq!(twice[0] == twice[1], purpose.is_deterministic(), "{purpose:?}");
    }
    assert_eq!(seals.seal(Purpose::RequestId, &BINDING, b"x", NOW, HOUR), Err(SealError::WrongKind));
    assert_eq!(seals.seal_deterministic(Purpose::Session, &BINDING, b"x", NOW), Err(SealError::WrongKind));
}

#[test]
fn holds_as_much_as_the_purpose_travels_in() {
    let seals = Seals::random().unwrap();
    for (purpose, longest) in [(Purpose::Session, 1024), (Purpose::RequestState, 16 * 1024)] {
        let sealed = seal(&seals, purpose, &BINDING, &vec![7; longest]);
        assert_eq!(seals.open(purpose, &BINDING, &sealed, NOW).unwrap().len(), longest);
        let over = seals.seal(purpose, &BINDING, &vec![7; longest + 1], NOW, HOUR);
        assert_eq!(over, Err(SealError::TooLong));
    }
    let huge = "A".repeat(1 << 20);
    assert_eq!(seals.open(Purpose::Session, &BINDING, &huge, NOW), Err(SealError::Malformed));
}

#[test]
fn random_keys_open_in_their_own_process_only() {
    let sealed = seal(&Seals::random().unwrap(), Purpose::Session, &BINDING, b"x");
    assert_eq!(Seals::random().unwrap().open(Purpose::Session, &BINDING, &sealed, NOW), Err(SealError::UnknownKey));
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn key(&self, id: &str, content: impl AsRef<[u8]>) -> SealingKey {
        let file = self.0.join(format!("{}.key", HEXLOWER.encode(id.as_bytes())));
        std::fs::write(&file, content).unwrap();
        SealingKey { id: id.into(), file, seal_from: None, open_until: None }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load(keys: Vec<SealingKey>) -> Result<Seals, Vec<LoadError>> {
    Seals::load(&Sealing { keys })
}

#[test]
fn reads_keys_in_every_spelling() {
    let folder = Folder::new("spellings");
    let key: [u8; 32] = std::array::from_fn(|at| u8::try_from((at * 7 + 130) & 0xff).unwrap());
    let sealed = seal(&load(vec![folder.key("k1", key)]).unwrap(), Purpose::Session, &BINDING, b"x");
    for text in [
        HEXLOWER.encode(&key),
        HEXUPPER.encode(&key) + "\n",
        BASE64URL_NOPAD.encode(&key) + "\r\n",
        BASE64URL.encode(&key),
    ] {
        let seals = load(vec![folder.key("k1", &text)]).unwrap();
        assert_eq!(seals.open(Purpose::Session, &BINDING, &sealed, NOW).unwrap(), b"x", "{text}");
    }
}

#[test]
fn reports_every_key_that_cannot_be_used() {
    let folder = Folder::new("problems");
    let good: Vec<u8> = (0..32).collect();
    let missing = SealingKey { file: folder.0.join("nowhere"), ..folder.key("k9", &good) };
    let problems = load(vec![
        folder.key("k1", &good),
        folder.key("k1", &good),
        folder.key("", &good),
        folder.key("toolong", &good),
        folder.key("é", &good),
        folder.key("k2", "short"),
        folder.key("k3", [0; 32]),
        folder.key("k4", "zz".repeat(32)),
        folder.key("k5", &good[..31]),
        missing,
    ])
    .unwrap_err();
    let kinds: Vec<_> =
        problems.iter().map(|problem| problem.to_string().split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(problems.len(), 9, "{kinds:?}");
    assert!(matches!(problems[0], LoadError::DuplicateId(_)));
    assert!(problems[1..4].iter().all(|problem| matches!(problem, LoadError::Id(_))));
    assert!(problems[4..8].iter().all(|problem| matches!(problem, LoadError::Key(_))));
    assert!(matches!(problems[8], LoadError::Read { .. }));
    for problem in &problems {
        assert!(!format!("{problem:?}").contains("short"));
    }
}

#[test]
fn rotates_by_id_over_two_processes() {
    let folder = Folder::new("rotation");
    let (one, two): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (32..64).collect());
    let at = |hours: i64| Timestamp::from_unix_seconds(NOW.unix_seconds() + hours * 3600);
    // The new key is on every replica an hour before any of them seals with it; the old one opens for a day after that.
    let keys = || {
        let new = SealingKey { seal_from: Some(at(1)), ..folder.key("new", &two) };
        let old = SealingKey { open_until: Some(at(25)), ..folder.key("old", &one) };
        vec![new, old]
    };
    let (early, late) = (load(keys()).unwrap(), load(keys()).unwrap());
    let only_old = load(vec![folder.key("old", &one)]).unwrap();
    let day = Duration::from_secs(1_000_000);
    let seal_at = |seals: &Seals, now| seals.seal(Purpose::Session, &BINDING, b"x", now, day).unwrap();
    let open_at = |seals: &Seals, text: &str, now| seals.open(Purpose::Session, &BINDING, text, now).map(|_| ());

    let before = seal_at(&early, NOW);
    assert_eq!(open_at(&only_old, &before, NOW), Ok(()));
    let after = seal_at(&late, at(1));
    assert_eq!(open_at(&early, &after, at(1)), Ok(()));
    assert_eq!(open_at(&only_old, &after, at(1)), Err(SealError::UnknownKey));
    assert_eq!(open_at(&late, &before, at(24)), Ok(()));
    assert_eq!(open_at(&late, &before, at(25)), Err(SealError::Expired));
    // A text that names the other key is not tried with its own.
    let mut renamed = BASE64URL_NOPAD.decode(before.as_bytes()).unwrap();
    renamed[1..5].copy_from_slice(b"new\0");
    assert_eq!(open_at(&late, &BASE64URL_NOPAD.encode(&renamed), at(1)), Err(SealError::Forged));

    let over = SealingKey { open_until: Some(at(0)), ..folder.key("old", &one) };
    let sealed = load(vec![over]).unwrap().seal(Purpose::Session, &BINDING, b"x", NOW, HOUR);
    assert_eq!(sealed, Err(SealError::NoKey));
}

#[test]
fn never_prints_a_key() {
    let seals = Seals::random().unwrap();
    let id = seals.masters[0].id().escape_ascii().to_string();
    assert_eq!(format!("{seals:?}"), format!("Seals {{ masters: [Master({id})] }}"));
}

#[test]
fn knows_its_own_texts_by_sight() {
    let seals = Seals::random().unwrap();
    for length in 0..300 {
        let sealed = seal(&seals, Purpose::RequestId, &BINDING, &vec![0xff; length]);
        assert_eq!(looks_sealed(&sealed), sealed.len() <= 512, "{length}");
    }
    for text in ["", "AQ", "1", &"B".repeat(100), &format!("AQ{}", "=".repeat(98)), &format!("AQ{}", "é".repeat(60))] {
        assert!(!looks_sealed(text), "{text}");
    }
}

proptest! {
    #[test]
    fn no_two_bindings_are_the_same_bytes(one in fields(), other in fields()) {
        let data = |fields: &Fields| binding(fields).associated_data(Purpose::Session);
        prop_assert_eq!(data(&one) == data(&other), one == other);
    }

    #[test]
    fn nothing_made_up_opens(text in "[A-Za-z0-9_-]{0,120}", bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let seals = Seals::random().unwrap();
        prop_assert!(seals.open(Purpose::Session, &BINDING, &text, NOW).is_err());
        let named = [&[1][..], seals.masters[0].id(), &bytes].concat();
        prop_assert!(seals.open(Purpose::Session, &BINDING, &BASE64URL_NOPAD.encode(&named), NOW).is_err());
    }
}

type Fields = (String, String, String, Option<String>, String, Option<String>);

fn fields() -> impl Strategy<Value = Fields> {
    let field = || "[a\0\u{1}]{0,2}";
    (field(), field(), field(), prop::option::of(field()), field(), prop::option::of(field()))
}

fn binding((server, upstream, issuer, tenant, subject, client): &Fields) -> Binding<'_> {
    Binding { server, upstream, issuer, tenant: tenant.as_deref(), subject, client: client.as_deref() }
}
