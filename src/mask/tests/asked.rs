//! Conditions on a match, and allow lists, in whole messages: each row is a message and its masked form.

use super::{entities, pattern, try_rewrite};
use crate::mask::asks::Asks;
use crate::mask::recognisers::Validator;
use crate::mask::{Action, Entity, Masks, Spec};

fn asking(spec: Spec, near: &[&str], validate: Option<Validator>, allow: &[&str]) -> Masks {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let asks = Asks { near: owned(near), validate, allow: owned(allow) };
    Masks::compile(vec![Spec { asks, ..spec }]).unwrap()
}

/// Checks that in each message exactly the values between `<` and `>` are replaced by `[label]`.
fn check(masks: &Masks, label: &str, messages: &[&str]) {
    for marked in messages {
        let message = marked.replace(['<', '>'], "");
        let mut wanted = String::new();
        for part in marked.split('<') {
            match part.split_once('>') {
                Some((_, rest)) => wanted.extend(["[", label, "]", rest]),
                None => wanted += part,
            }
        }
        assert_eq!(try_rewrite(masks, &message, &[]).unwrap().0, wanted, "{marked}");
    }
}

#[test]
fn a_word_must_stand_near() {
    let badge = pattern("badge", r"\b\d{8}\b", "BADGE", Action::Redact);
    let masks = asking(badge, &["badge", "staff no", "ausweis"], None, &[]);
    check(
        &masks,
        "BADGE",
        &[
            r#""badge <12345678>""#,
            r#""Badge: <12345678>.""#,
            r#""BADGES <12345678>, <87654321>""#,
            r#""staff no. <12345678>""#,
            r#""Staff No <12345678> and ausweis #<12345679>""#,
            r#""the badge of the visitor from yesterday is <12345678>""#,
            r#"{"badge":"<12345678>","badgeId":"<12345678>","staff no":"<12345678>","order":"12345678"}"#,
            r#"{"note":"{\"badge\":\"<12345678>\"}"}"#,
            r#""no word: 12345678""#,
            r#""12345678 badge""#,
            r#""badger 12345678""#,
            r#""unbadge 12345678""#,
            r#""staff 12345678, no 12345678""#,
            r#""badge\n12345678""#,
            r#""badge 1234567, 123456789""#,
            r#""badge, but the number comes long after the word for it, namely 12345678""#,
            r#"{"order":"12345678","badger":"12345678","of":["12345678"]}"#,
            // The name in a replacement is no context word.
            r#""[BADGE] 12345678""#,
        ],
    );
}

#[test]
fn check_digits_must_be_right() {
    let rows: [(Validator, &str, &[&str]); 5] = [
        (
            Validator::Luhn,
            r"\b\d{11,16}\b",
            &[r#""<79927398713> 79927398710 79927398712 <4539148803436467> 4539148803436468""#],
        ),
        (
            Validator::Iban,
            r"\b[A-Z]{2}\d{2}[A-Z0-9 ]{11,30}\b",
            &[
                r#"["<GB82WEST12345698765432>","GB82TEST12345698765432","<DE89 3704 0044 0532 0130 00>"]"#,
                r#"["DE88 3704 0044 0532 0130 00","<DE89370400440532013000>","DE01370400440532013000"]"#,
            ],
        ),
        (Validator::Mod97, r"\b\d{11}\b", &[r#""<12345678978> 12345678977 12345678979 12345678987""#]),
        (
            Validator::Mod11,
            r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b",
            &[r#""<86095742719>; 86095742718; <47 036 892 816>; 47 036 892 817""#],
        ),
        (
            Validator::Verhoeff,
            r"\b\d{4}( ?\d{4})*\b",
            &[r#""<2363>, 2364, <4991 1866 5246>, 4991 1866 5247, 4991 8166 5246""#],
        ),
    ];
    for (validator, regex, messages) in rows {
        let masks = asking(pattern("m", regex, "NUMBER", Action::Redact), &[], Some(validator), &[]);
        check(&masks, "NUMBER", messages);
    }
}

#[test]
fn words_and_check_digits_are_asked_for_together() {
    let member = pattern("m", r"\b\d{8}\b", "MEMBER", Action::Redact);
    let masks = asking(member, &["member"], Some(Validator::Luhn), &["10000008"]);
    check(
        &masks,
        "MEMBER",
        &[
            r#""member <12345674>""#,
            r#""member 12345675""#,
            r#""order 12345674""#,
            r#""member 10000008, member <12345674>""#,
        ],
    );
}

#[test]
fn values_are_let_pass_whole_and_in_any_case() {
    let mails = entities("mails", &[Entity::EmailAddress], Action::Redact);
    let masks = asking(mails, &[], None, &["support@example.com", "Sales@Example.com"]);
    check(
        &masks,
        "EMAIL_ADDRESS",
        &[
            r#""support@example.com""#,
            r#""Support@EXAMPLE.com, sales@example.com""#,
            r#""mailto:support@example.com?subject=x""#,
            r#"{"support@example.com":"<ana@example.com>"}"#,
            r#""<support@example.com.evil.test>""#,
            r#""<x.support@example.com>""#,
            r#""<support@sub.example.com>""#,
            r#""support@example.com <ana@example.com>""#,
        ],
    );
    let phones = entities("phones", &[Entity::PhoneNumber], Action::Redact);
    let masks = asking(phones, &[], None, &["+49 30 901820"]);
    check(
        &masks,
        "PHONE_NUMBER",
        &[
            r#""call +49 30 901820""#,
            // Another spelling is another value, and so is a longer one.
            r#""call <+4930901820>""#,
            r#""call <+49 30 9018201>""#,
        ],
    );
}

#[test]
fn what_is_let_pass_by_one_mask_is_masked_by_another() {
    let mails = entities("mails", &[Entity::EmailAddress], Action::Redact);
    let asks = Asks { allow: vec!["support@example.com".to_owned()], ..Asks::default() };
    let domain = pattern("domain", r"\S+@example\.com", "EXAMPLE", Action::Redact);
    let masks = Masks::compile(vec![Spec { asks, ..mails }, domain]).unwrap();
    check(&masks, "EXAMPLE", &[r#""write to <support@example.com>""#]);
    check(&masks, "EMAIL_ADDRESS", &[r#""write to <ana@example.org>""#]);
}
