//! Third-party corpora, read in place and never copied. If one is missing, its tests say so and pass.

use std::path::PathBuf;

use serde_json::Value;

use super::{entities, text};
use crate::mask::{Action, Direction, Entity, Findings, Masks, View};

pub(super) fn read(path: &str) -> Option<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora").join(path);
    let read = std::fs::read_to_string(&file).ok();
    if read.is_none() {
        println!("skipped: no {path}");
    }
    read
}

pub(super) fn lines(path: &str) -> Option<Vec<Value>> {
    Some(read(path)?.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn only(entity: Entity) -> Masks {
    Masks::compile(vec![entities("m", &[entity], Action::Redact)]).unwrap()
}

fn count(masks: &Masks, text: &str) -> u64 {
    let mut findings = Findings::new();
    masks.text(&View::default(), Direction::Result, text, &mut findings).unwrap();
    findings.iter().map(|found| u64::from(found.count)).sum()
}

/// A share of right answers that must not decrease.
fn assert_share(what: &str, right: usize, all: usize, floor: f64) {
    #[expect(clippy::cast_precision_loss, reason = "thousands of cases")]
    let share = right as f64 / all as f64;
    println!("{what}: {right} of {all} ({share:.4})");
    assert!(all > 0 && share >= floor, "{what}: {share:.4} is below {floor}");
}

#[test]
fn presidio_recogniser_cases() {
    let Some(rows) = lines("presidio-tests/recognizer_cases.jsonl") else { return };
    let floors = [
        (Entity::CreditCard, 0.99),
        (Entity::EmailAddress, 0.99),
        (Entity::IbanCode, 0.99),
        (Entity::IpAddress, 0.94),
        (Entity::UsSsn, 0.84),
        (Entity::PhoneNumber, 0.75),
    ];
    for (entity, floor) in floors {
        let masks = only(entity);
        let wanted = |row: &&Value| {
            let id = row["id"].as_str().unwrap();
            row["entity"] == entity.name()
                || entity == Entity::PhoneNumber && id.starts_with("presidio/phone_recognizer")
        };
        let (mut all, mut right) = (0, 0);
        for row in rows.iter().filter(wanted) {
            let found = count(&masks, row["text"].as_str().unwrap());
            all += 1;
            if Some(found) == row["n"].as_u64() {
                right += 1;
            } else {
                println!("  {} {} found {found} of {}: {}", entity.name(), row["id"], row["n"], row["text"]);
            }
        }
        assert_share(&format!("presidio {}", entity.name()), right, all, floor);
    }
}

#[test]
fn cards_of_card_validator() {
    let Some(rows) = lines("card-validator/cards.jsonl") else { return };
    let masks = only(Entity::CreditCard);
    let right = rows
        .iter()
        .filter(|row| (count(&masks, row["text"].as_str().unwrap()) == 1) == row["valid"].as_bool().unwrap());
    assert_share("card-validator", right.count(), rows.len(), 0.96);
}

#[test]
fn values_of_validators() {
    let Some(rows) = lines("validators/cases.jsonl") else { return };
    let kinds = [
        ("card", Entity::CreditCard, 1.0),
        ("email", Entity::EmailAddress, 0.89),
        ("iban", Entity::IbanCode, 1.0),
        ("ip_address", Entity::IpAddress, 0.78),
    ];
    for (kind, entity, floor) in kinds {
        let masks = only(entity);
        let cases: Vec<&Value> = rows.iter().filter(|row| row["kind"] == kind).collect();
        let right = cases.iter().filter(|row| {
            let value = row["text"].as_str().unwrap();
            let whole = text(&masks, value) == format!("[{}]", entity.name());
            let agrees = whole == row["valid"].as_bool().unwrap();
            if !agrees {
                println!("  {kind} {} {value:?} {}", row["valid"], text(&masks, value));
            }
            agrees
        });
        assert_share(&format!("validators {kind}"), right.count(), cases.len(), floor);
    }
}

#[test]
fn ibans_of_the_registry() {
    let Some(rows) = lines("php-iban/ibans.jsonl") else { return };
    let masks = only(Entity::IbanCode);
    let (mut good, mut found, mut bad, mut passed) = (0, 0, 0, 0);
    for row in &rows {
        let value = row["iban"].as_str().unwrap();
        let matched = text(&masks, &format!("to {value}.")) == "to [IBAN_CODE].";
        if row["mod97"].as_bool().unwrap() {
            good += 1;
            found += usize::from(matched);
            if !matched {
                println!("  missed {value}");
            }
        } else if !value.contains('-') {
            // Its remainders of numbers with dashes include the dashes, so they are meaningless.
            bad += 1;
            passed += usize::from(!matched);
        }
    }
    assert_share("php-iban valid", found, good, 1.0);
    assert_share("php-iban invalid", passed, bad, 1.0);
}

#[test]
fn phone_numbers_of_every_region() {
    let Some(rows) = lines("libphonenumber/examples.jsonl") else { return };
    let masks = only(Entity::PhoneNumber);
    let mut found = 0;
    for row in &rows {
        let (code, national) = (row["cc"].as_str().unwrap(), row["national"].as_str().unwrap());
        let matched = text(&masks, &format!("at +{code}{national}.")) == "at [PHONE_NUMBER].";
        if !matched {
            println!("  missed +{code} {national} ({})", row["type"]);
        }
        found += usize::from(matched);
    }
    assert_share("libphonenumber E.164", found, rows.len(), 0.99);
}

#[test]
fn generated_rows_of_twenty_locales() {
    let Some(rows) = lines("faker-pii/rows.jsonl") else { return };
    let masks = Masks::compile(vec![entities("m", &Entity::ALL, Action::Redact)]).unwrap();
    let floors =
        [("EMAIL", 1.0), ("CREDIT_CARD", 0.99), ("IBAN", 0.95), ("IP_ADDRESS", 1.0), ("US_SSN", 1.0), ("PHONE", 0.45)];
    for (label, floor) in floors {
        let (mut all, mut gone) = (0, 0);
        for row in &rows {
            let whole: Vec<char> = row["text"].as_str().unwrap().chars().collect();
            let written = text(&masks, row["text"].as_str().unwrap());
            for span in row["spans"].as_array().unwrap().iter().filter(|span| span["label"] == label) {
                let bound = |name: &str| usize::try_from(span[name].as_u64().unwrap()).unwrap();
                let value: String = whole[bound("start")..bound("end")].iter().collect();
                all += 1;
                if written.contains(&value) && label != "PHONE" {
                    println!("  kept {value}");
                }
                gone += usize::from(!written.contains(&value));
            }
        }
        assert_share(&format!("faker {label}"), gone, all, floor);
    }
}

#[test]
fn naughty_strings_pass_unchanged() {
    let Some(list) = read("blns/blns.json") else { return };
    let masks = Masks::compile(vec![entities("m", &Entity::ALL, Action::Redact)]).unwrap();
    let list: Vec<String> = serde_json::from_str(&list).unwrap();
    let changed: Vec<String> = list
        .iter()
        .map(|naughty| text(&masks, naughty))
        .zip(&list)
        .filter(|(after, before)| after != *before)
        .map(|(after, before)| format!("{before:?} {after:?}"))
        .collect();
    println!("blns: {} of {} changed: {changed:#?}", changed.len(), list.len());
    assert!(changed.len() <= 3);
}
