//! Every entity in every disguise: what is found in plain text is found in disguise, and nothing of it is left.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{entities, try_rewrite};
use crate::mask::shadow::Shadow;
use crate::mask::{Action, Entity, Masks};

/// One mask for each entity alone, and one for all.
static MASKS: LazyLock<Vec<(Entity, Masks)>> =
    LazyLock::new(|| Entity::ALL.into_iter().map(|entity| (entity, of(&[entity]))).collect());
static ALL: LazyLock<Masks> = LazyLock::new(|| of(&Entity::ALL));

fn of(sought: &[Entity]) -> Masks {
    Masks::compile(vec![entities("m", sought, Action::Redact)]).unwrap()
}

/// Pseudorandom numbers from a fixed seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    /// `form` with `#` for any digit, `+` for any but zero, `A` and `a` for any letter, `*` for a letter or digit.
    fn fill(&mut self, form: &str) -> String {
        let mut one = |c: char| match c {
            '#' => char::from(b'0' + u8::try_from(self.roll(10)).unwrap()),
            '+' => char::from(b'1' + u8::try_from(self.roll(9)).unwrap()),
            'A' => char::from(b'A' + u8::try_from(self.roll(26)).unwrap()),
            'a' => char::from(b'a' + u8::try_from(self.roll(26)).unwrap()),
            '*' => self.pick(b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789").into(),
            other => other,
        };
        form.chars().map(&mut one).collect()
    }
}

/// The form of a value, and the text before it; check characters are `?`.
fn form(entity: Entity, dice: &mut Dice) -> (&'static str, String) {
    let (before, form) = match entity {
        Entity::AuTfn => ("tfn ", dice.pick(&["### ### ##?", "########?"])),
        Entity::BrCpf => ("cpf ", dice.pick(&["###.###.###-??", "#########??"])),
        Entity::CaSin => ("sin ", dice.pick(&["+## ### ##?", "+##-###-##?"])),
        Entity::CreditCard => ("", dice.pick(&["4### #### #### ###?", "5+##-####-####-###?", "4##############?"])),
        Entity::Crypto => {
            let known = [
                "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
                "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
                "0x52908400098527886E0F7030069857D2E4169EE7",
            ];
            ("", dice.pick(&known))
        }
        Entity::DateOfBirth => ("born ", dice.pick(&["19+#-0+-1#", "0+/1#/19+#", "1#.0+.19+#"])),
        Entity::DeTaxId => ("Steuer-ID ", "+#########?"),
        Entity::EmailAddress => ("", dice.pick(&["aaa.aa#@aaaa.example", "aaaaaa@aaa.aaaa.org"])),
        Entity::EsNif => ("nif ", dice.pick(&["########?", "X#######?"])),
        Entity::FrNir => ("nir ", "1 85 05 78 ### ### ??"),
        Entity::IbanCode => ("", dice.pick(&["DE??################", "DE?? #### #### #### #### ##"])),
        Entity::InAadhaar => ("aadhaar ", dice.pick(&["5### #### ###?", "5##########?"])),
        Entity::IpAddress => ("", dice.pick(&["10.+.+#.1+", "fe80::+#:a+#", "2001:db8:+#:+##::+#"])),
        Entity::ItFiscalCode => ("", "AAAAAA8#T1#A56#A"),
        Entity::MacAddress => ("", dice.pick(&["00:1a:2b:+c:4d:e+", "00-1A-2B-+C-4D-E+", "001a.2b3c.4d+e"])),
        Entity::PhoneNumber => ("", dice.pick(&["+1415+######", "+1 415 +## ####", "+44 20 7946 0+#8"])),
        Entity::PlPesel => ("pesel ", "8+01+######"),
        Entity::Secret => {
            ("", dice.pick(&["ghp_************************************", "api_key=9fK2**Qx7Lp0ZtR4v**3"]))
        }
        Entity::UkNhs => ("nhs number ", dice.pick(&["4## ### ###?", "4########?"])),
        Entity::UkNino => ("", "AB 1# 3# 5# C"),
        Entity::UrlCredentials => ("", "https://aaaa:a#aa#aa@aaaa.example/"),
        Entity::UsBankNumber => ("bank account ", "+#########"),
        Entity::UsItin => ("itin ", "9##-7#-####"),
        Entity::UsSsn => ("ssn ", dice.pick(&["2+#-4+-1+##", "2+#4+1+##"])),
    };
    // In these `+` and letters are literal.
    let filled = match entity {
        Entity::Crypto => form.to_owned(),
        Entity::PhoneNumber => format!("+{}", dice.fill(form.get(1..).unwrap())),
        Entity::UkNino => form.replace('#', &dice.fill("#")),
        Entity::ItFiscalCode => dice.fill(&form.replace('T', "?")).replace('?', "T"),
        Entity::MacAddress | Entity::IpAddress => form.replace('#', &dice.fill("#")).replace('+', &dice.fill("+")),
        Entity::Secret => form.chars().map(|c| if c == '*' { dice.fill("*") } else { c.into() }).collect(),
        Entity::UrlCredentials => form.replace('#', "7"),
        _ => dice.fill(form),
    };
    (before, filled)
}

/// A value of `entity` that is found in plain text, with the text before it.
pub(super) fn value(entity: Entity, dice: &mut Dice) -> (&'static str, String) {
    for _ in 0..1000 {
        let (before, form) = form(entity, dice);
        let unknown = form.matches('?').count();
        let symbols: &[u8] = if entity == Entity::EsNif { b"TRWAGMYFPDXBNJZSQVHLCKE" } else { b"0123456789" };
        for number in 0..symbols.len().pow(u32::try_from(unknown).unwrap()) {
            let mut rest = number;
            let mut checked = String::new();
            for c in form.chars() {
                if c == '?' {
                    checked.push(symbols[rest % symbols.len()].into());
                    rest /= symbols.len();
                } else {
                    checked.push(c);
                }
            }
            if is_taken_whole(entity, before, &checked) {
                return (before, checked);
            }
        }
    }
    panic!("no value of {entity:?} is found");
}

/// The letters and digits of a text, in any spelling, for comparison.
fn bare(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(shadow) = Shadow::of(&text) {
        shadow.text().clone_into(&mut text);
    }
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Everything a reader could find in a document: keys, strings, numbers, and what is nested in those.
fn read(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| read(item, into)),
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            into.push(bare(key));
            read(value, into);
        }),
        Value::Number(number) => into.push(bare(&number.to_string())),
        Value::String(text) => {
            into.push(bare(text));
            if let Ok(inner) = serde_json::from_str::<Value>(text) {
                read(&inner, into);
            }
            let encoded = text.rsplit(',').next().unwrap_or_default();
            if let Some(inner) =
                data_encoding::BASE64.decode(encoded.as_bytes()).ok().and_then(|b| String::from_utf8(b).ok())
            {
                into.push(bare(&inner));
            }
        }
        Value::Bool(_) | Value::Null => {}
    }
}

fn masked(entity: Entity, source: &str) -> String {
    let (_, masks) = MASKS.iter().find(|(known, _)| *known == entity).unwrap();
    try_rewrite(masks, source, &[]).unwrap().0
}

/// Whether the value is found as a whole, and no part of it alone.
fn is_taken_whole(entity: Entity, before: &str, value: &str) -> bool {
    let source = json!([format!("{before}{value}.")]).to_string();
    let taken = json!([format!("{before}[{}].", entity.name())]).to_string();
    match entity {
        // The surroundings of these stay.
        Entity::Secret | Entity::UrlCredentials => is_gone(entity, value, &source),
        _ => masked(entity, &source) == taken,
    }
}

/// Whether nothing of the value is left in a document after the mask of its entity.
fn is_gone(entity: Entity, value: &str, source: &str) -> bool {
    // The scheme and host around credentials stay.
    let value =
        if entity == Entity::UrlCredentials { value.get(8..).unwrap().split('@').next().unwrap() } else { value };
    let value = if entity == Entity::Secret { value.split('=').next_back().unwrap() } else { value };
    let mut said = Vec::new();
    read(&serde_json::from_str(&masked(entity, source)).unwrap(), &mut said);
    let sought = bare(value);
    !said.iter().any(|said| said.contains(&sought))
}

/// Other spellings of one character.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    Escape,
    Foreign,
    Invisible,
    Percent,
    Reference,
}

const SPELLINGS: [Spelling; 5] =
    [Spelling::Escape, Spelling::Foreign, Spelling::Invisible, Spelling::Percent, Spelling::Reference];

/// `c` in the source of a JSON string.
fn plain(c: char) -> String {
    let quoted = json!(c.to_string()).to_string();
    quoted.get(1..quoted.len() - 1).unwrap().to_owned()
}

fn spelled(c: char, spelling: Spelling, dice: &mut Dice) -> String {
    let code = u32::from(c);
    match spelling {
        Spelling::Escape => format!("\\u{code:04x}"),
        Spelling::Foreign => foreign(c, dice).to_string(),
        Spelling::Invisible => {
            const NOTHING: [char; 6] = ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}'];
            format!("{}{}", plain(c), dice.pick(&NOTHING))
        }
        Spelling::Percent => format!("%{code:02X}"),
        Spelling::Reference => dice.pick(&[format!("&#{code};").as_str(), format!("&#x{code:x};").as_str()]).to_owned(),
    }
}

/// A lookalike of `c`.
fn foreign(c: char, dice: &mut Dice) -> char {
    let from = |first: u32, offset: char| char::from_u32(first + u32::from(c) - u32::from(offset)).unwrap();
    match c {
        '0'..='9' => from(dice.pick(&[0xff10, 0x660, 0x6f0, 0x966, 0x1d7ce]), '0'),
        '-' => dice.pick(&['\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2212}', '\u{ff0d}']),
        ' ' => dice.pick(&['\u{a0}', '\u{2009}', '\u{202f}', '\u{3000}', '\u{2003}']),
        '!'..='~' => from(0xff01, '!'),
        other => other,
    }
}

/// Documents with `before` and `value`, each in one disguise.
fn disguised(before: &str, value: &str, dice: &mut Dice) -> Vec<(String, String)> {
    let mut documents: Vec<(String, String)> = Vec::new();
    let spell = |dice: &mut Dice, choose: &dyn Fn(&mut Dice) -> Option<Spelling>| -> String {
        value.chars().map(|c| choose(dice).map_or_else(|| plain(c), |one| spelled(c, one, dice))).collect()
    };
    for one in SPELLINGS {
        let all = spell(dice, &|_| Some(one));
        let some = spell(dice, &|dice| (dice.roll(3) == 0).then_some(one));
        for text in [all, some] {
            documents.push((format!("{one:?}"), format!("[\"{before}{text}\"]")));
        }
    }
    let mixed = spell(dice, &|dice| (dice.roll(2) == 0).then(|| dice.pick(&SPELLINGS)));
    documents.push(("mixed".into(), format!("[\"{before}{mixed}\"]")));
    let whole = format!("{before}{value}");
    documents.push(("key".into(), json!({ &whole: 1 }).to_string()));
    let mut nested = json!({ "a": [&whole] }).to_string();
    for level in 1..=4 {
        nested = json!([nested]).to_string();
        documents.push((format!("JSON in JSON, {level} deep"), nested.clone()));
    }
    documents.push(("JSON in text".into(), json!([format!("log: {} end", json!({ "m": &whole }))]).to_string()));
    let encoded = data_encoding::BASE64.encode(whole.as_bytes());
    documents.push(("blob".into(), json!({ "uri": "x:y", "blob": encoded }).to_string()));
    documents.push(("data URL".into(), json!([format!("data:text/plain;base64,{encoded}")]).to_string()));
    documents
}

/// The value as a JSON number under a key that names its entity; `None` if it is no number.
fn numbered(entity: Entity, before: &str, value: &str) -> Option<String> {
    const LEAST: usize = 12;
    let digits: String = value.chars().filter(|c| !matches!(c, ' ' | '-' | '.')).collect();
    let is_number = digits.len() >= LEAST && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let label = before.trim();
    let found = |source: &str| is_gone(entity, &digits, source);
    (is_number && found(&json!({ label: &digits }).to_string())).then(|| format!("{{\"{label}\":{digits}}}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn no_value_survives_in_any_disguise(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        for entity in Entity::ALL {
            let (before, value) = value(entity, &mut dice);
            let mut documents = disguised(before, &value, &mut dice);
            documents.extend(numbered(entity, before, &value).map(|number| ("number".into(), number)));
            for (disguise, source) in documents {
                let once = masked(entity, &source);
                prop_assert!(is_gone(entity, &value, &source), "{entity:?} as {disguise}: {source} became {once}");
                prop_assert_eq!(&masked(entity, &once), &once, "{:?} as {}", entity, disguise);
                let (all, _) = try_rewrite(&ALL, &source, &[]).unwrap();
                let (again, findings) = try_rewrite(&ALL, &all, &[]).unwrap();
                prop_assert!(again == all && findings.is_empty(), "{} {}", all, again);
            }
        }
    }
}
