//! Quality gates over third-party labelled text. If it is missing, the test says so and passes.
//!
//! The labelled text is also written to `target/quality/labelled.jsonl`, for `portcullis mask --evaluate` and for the
//! comparison in `tests/quality/`.

use serde_json::{Value, json};

use super::corpora::{lines, read};
use super::entities;
use crate::mask::{Action, Entity, Labelled, Masks, Quality};

/// Labelled text, in sets with separate gates.
#[derive(Default)]
struct Sets {
    /// Everything not below.
    gated: Vec<Value>,
    /// Numbers with one check digit and no context, which are left alone by design.
    bare: Vec<Value>,
    /// Telephone numbers in national forms.
    national: Vec<Value>,
}

fn row(text: &str, spans: &[(usize, usize, Option<&str>)]) -> Value {
    let spans: Vec<Value> =
        spans.iter().map(|(start, end, entity)| json!({"start": start, "end": end, "entity": entity})).collect();
    json!({"text": text, "spans": spans})
}

/// `value` between `before` and `after`, labelled.
fn within(before: &str, value: &str, after: &str, entity: Option<&str>) -> Value {
    let start = before.chars().count();
    row(&format!("{before}{value}{after}"), &[(start, start + value.chars().count(), entity)])
}

/// The entity of this crate for one of Presidio's; `None` if there is none.
fn of_presidio(row: &Value) -> Option<&str> {
    let id = row["id"].as_str().unwrap_or_default();
    match row["entity"].as_str() {
        None if id.starts_with("presidio/phone_recognizer") => Some("PHONE_NUMBER"),
        Some("ES_NIE") => Some("ES_NIF"),
        Some(name) => Entity::parse(name).map(Entity::name),
        None => None,
    }
}

fn presidio(sets: &mut Sets) {
    const ONE_DIGIT: [&str; 7] = ["AU_TFN", "CA_SIN", "IN_AADHAAR", "UK_NHS", "US_BANK_NUMBER", "US_ITIN", "US_SSN"];
    for case in lines("presidio-tests/recognizer_cases.jsonl").unwrap_or_default() {
        let (text, entity) = (case["text"].as_str().unwrap(), of_presidio(&case));
        let flat: Vec<usize> = case["spans"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|at| usize::try_from(at.as_u64()?).ok())
            .collect();
        let pairs = |pair: &Value| Some((pair[0].as_u64()?, pair[1].as_u64()?));
        let mut spans: Vec<(usize, usize)> = case["spans"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(pairs)
            .map(|(start, end)| (usize::try_from(start).unwrap(), usize::try_from(end).unwrap()))
            .collect();
        if let ([start, end], 1) = (flat.as_slice(), case["n"].as_u64().unwrap()) {
            spans.push((*start, *end));
        }
        // The first is no entity of ours; the last contains values of other entities.
        if case["entity"].is_null() && entity.is_none()
            || text.starts_with("MAC address")
            || case["n"].as_u64() != Some(spans.len() as u64)
        {
            continue;
        }
        let labels: Vec<(usize, usize, Option<&str>)> =
            spans.iter().map(|(start, end)| (*start, (*end).min(text.chars().count()), entity)).collect();
        let alone = entity.is_some_and(|name| ONE_DIGIT.contains(&name))
            && !spans.is_empty()
            && text.chars().all(|c| c.is_ascii_digit() || c == ' ' || c == '-')
            && !text.split(' ').all(|part| part.matches('-').count() == 2)
            && !text
                .split(['-', ' '])
                .collect::<Vec<_>>()
                .windows(2)
                .any(|pair| pair[0].len() == 3 && pair[1].len() <= 3);
        let set = match entity {
            Some("PHONE_NUMBER") => &mut sets.national,
            _ if alone && !text.contains(' ') => &mut sets.bare,
            _ if alone && text.split(' ').any(|part| part.len() > 4) => &mut sets.bare,
            _ => &mut sets.gated,
        };
        set.push(row(text, &labels));
    }
}

fn faker(sets: &mut Sets) {
    for case in lines("faker-pii/rows.jsonl").unwrap_or_default() {
        let (text, locale) = (case["text"].as_str().unwrap(), case["locale"].as_str().unwrap());
        let characters: Vec<char> = text.chars().collect();
        let spans = case["spans"].as_array().unwrap().iter().map(|span| {
            let at = |name: &str| usize::try_from(span[name].as_u64().unwrap()).unwrap();
            let value: String = characters[at("start")..at("end")].iter().collect();
            let social = value.len() == 11 && value.as_bytes()[3] == b'-' && value.as_bytes()[6] == b'-';
            let entity = match span["label"].as_str().unwrap() {
                "EMAIL" => Some("EMAIL_ADDRESS"),
                // Some numbers of Faker are invalid: too short, without an issuer, of an area never issued.
                "IBAN" if value.starts_with("GB") && value.len() != 22 => None,
                "CREDIT_CARD" if value.starts_with('0') => None,
                "US_SSN" | "NATIONAL_ID" if social && !is_issued(&value) => None,
                "IBAN" => Some("IBAN_CODE"),
                "CREDIT_CARD" => Some("CREDIT_CARD"),
                "IP_ADDRESS" => Some("IP_ADDRESS"),
                "US_SSN" => Some("US_SSN"),
                "NATIONAL_ID" if social => Some("US_SSN"),
                "NATIONAL_ID" => match locale {
                    "it_IT" => Some("IT_FISCAL_CODE"),
                    "pl_PL" => Some("PL_PESEL"),
                    "pt_BR" => Some("BR_CPF"),
                    "fr_FR" => Some("FR_NIR"),
                    _ => None,
                },
                // Telephone numbers of Faker have the form of the country's, but are not always valid.
                _ => None,
            };
            (at("start"), at("end"), entity)
        });
        sets.gated.push(row(text, &spans.collect::<Vec<_>>()));
    }
}

fn is_issued(number: &str) -> bool {
    let (area, rest) = number.split_at(3);
    !matches!(area, "000" | "666") && !area.starts_with('9') && !rest.starts_with("-00") && !rest.ends_with("-0000")
}

fn values(sets: &mut Sets) {
    for case in lines("card-validator/cards.jsonl").unwrap_or_default() {
        let entity = case["valid"].as_bool().unwrap().then_some("CREDIT_CARD");
        let number = case["text"].as_str().unwrap();
        sets.gated.push(match entity {
            Some(_) => within("", number, "", entity),
            None => row(number, &[]),
        });
    }
    for case in lines("validators/cases.jsonl").unwrap_or_default() {
        let (text, valid) = (case["text"].as_str().unwrap(), case["valid"].as_bool().unwrap());
        let entity = match case["kind"].as_str().unwrap() {
            // Addresses of one kind are no addresses of the other.
            "eth_address" if !valid && text.starts_with(['1', '3']) => continue,
            // Its examples of Base58 are addresses with valid checksums.
            "encoding" | "hashes" if text.len() == 34 && text.starts_with(['1', '3']) => continue,
            "btc_address" | "eth_address" => Some("CRYPTO"),
            "card" => Some("CREDIT_CARD"),
            "iban" => Some("IBAN_CODE"),
            "mac_address" => Some("MAC_ADDRESS"),
            "uuid" | "hashes" | "slug" | "cron" | "encoding" | "country" | "domain" if !text.contains('@') => None,
            // These cases require more than being valid, or are numbers of another kind.
            _ => continue,
        };
        sets.gated.push(match entity {
            Some(_) if valid => within("", text, "", entity),
            _ => row(text, &[]),
        });
    }
    for case in lines("php-iban/ibans.jsonl").unwrap_or_default() {
        let (iban, valid) = (case["iban"].as_str().unwrap(), case["mod97"].as_bool().unwrap());
        if valid {
            sets.gated.push(within("to ", iban, ".", Some("IBAN_CODE")));
        } else if !iban.contains('-') && !iban.starts_with("IBAN") {
            sets.gated.push(row(&format!("to {iban}."), &[]));
        }
    }
    for case in lines("libphonenumber/examples.jsonl").unwrap_or_default() {
        let (code, number) = (case["cc"].as_str().unwrap(), case["national"].as_str().unwrap());
        sets.gated.push(within("at ", &format!("+{code}{number}"), ".", Some("PHONE_NUMBER")));
        sets.national.push(within("phone ", number, ".", Some("PHONE_NUMBER")));
        // Without a context word, a run of digits is no telephone number, nor anything else.
        sets.gated.push(within("ref ", number, ".", None));
    }
}

/// Valid numbers from lists in the tests of python-stdnum, as people write them.
fn stdnum(sets: &mut Sets) {
    let lists = [
        ("au_tfn", "AU_TFN", "tax file number ", 9),
        ("it_codicefiscale", "IT_FISCAL_CODE", "", 16),
        ("bitcoin", "CRYPTO", "", 26),
    ];
    for (file, entity, before, least) in lists {
        let Some(text) = read(&format!("python-stdnum/tests/test_{file}.doctest")) else { continue };
        for number in text.lines().filter_map(|line| line.strip_prefix("... ")).map(str::trim) {
            let plain = number.chars().filter(char::is_ascii_alphanumeric).count();
            if plain >= least && number.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ') {
                sets.gated.push(within(before, number, ".", Some(entity)));
            }
        }
    }
}

/// Unlabelled text, without personal data.
fn clean(sets: &mut Sets) {
    let mut texts: Vec<String> =
        read("blns/blns.json").and_then(|list| serde_json::from_str(&list).ok()).unwrap_or_default();
    for case in lines("mcp-poison/tools.jsonl").unwrap_or_default() {
        texts.extend(case["description"].as_str().map(str::to_owned));
    }
    for file in ["mcp-traffic/go-sdk-messages.jsonl", "mcp-traffic/schema-examples-2026-07-28.jsonl"] {
        texts.extend(read(file).unwrap_or_default().lines().map(str::to_owned));
    }
    for file in ["binary", "date", "dictionary", "item", "list", "number", "string", "token"] {
        let cases = read(&format!("structured-fields/{file}.json"));
        let cases: Vec<Value> = cases.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let raw = cases.iter().flat_map(|case| case["raw"].as_array().into_iter().flatten());
        texts.extend(raw.filter_map(Value::as_str).map(str::to_owned));
    }
    let lines =
        texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty() && !line.contains('@'));
    sets.gated.extend(lines.map(|line| row(line, &[])));
}

fn evaluate(masks: &Masks, rows: &[Value]) -> Quality {
    let mut quality = Quality::default();
    for value in rows {
        let row: Labelled = serde_json::from_value(value.clone()).unwrap();
        let before = quality.clone();
        quality.take(masks, &row);
        let worse = |counts: &Quality| counts.overall().wrong + counts.overall().missed;
        if worse(&quality) > worse(&before) || quality.touched > before.touched {
            println!("  {value} {:?}", masks.locate(&row.text));
        }
    }
    quality
}

fn show(name: &str, quality: &Quality) {
    println!("== {name}: {} without a value, {} touched", quality.clean, quality.touched);
    for (entity, counts) in &quality.entities {
        let (precision, recall, f1) = (counts.precision(), counts.recall(), counts.f1());
        println!("{entity:<20} {counts:?} precision {precision:.4} recall {recall:.4} f1 {f1:.4}");
    }
}

#[test]
fn holds_the_gates_of_quality() {
    let mut sets = Sets::default();
    presidio(&mut sets);
    faker(&mut sets);
    values(&mut sets);
    stdnum(&mut sets);
    clean(&mut sets);
    if sets.gated.len() < 1000 {
        println!("skipped: the corpora are not there");
        return;
    }
    let masks = Masks::compile(vec![entities("m", &Entity::ALL, Action::Redact)]).unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/quality");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, rows) in [("labelled", &sets.gated), ("bare", &sets.bare), ("national", &sets.national)] {
        let text = rows.iter().fold(String::new(), |text, row| text + &row.to_string() + "\n");
        std::fs::write(folder.join(format!("{name}.jsonl")), text).unwrap();
    }
    show("bare", &evaluate(&masks, &sets.bare));
    show("national", &evaluate(&masks, &sets.national));
    let quality = evaluate(&masks, &sets.gated);
    show("gated", &quality);
    for (entity, counts) in &quality.entities {
        if matches!(entity.as_str(), "DATE_OF_BIRTH" | "US_BANK_NUMBER" | "URL_CREDENTIALS") {
            continue;
        }
        assert!(counts.precision() >= 0.97, "{entity}: precision {:.4} of {counts:?}", counts.precision());
        assert!(counts.recall() >= 0.95, "{entity}: recall {:.4} of {counts:?}", counts.recall());
    }
    assert!(f64::from(quality.touched) <= 0.03 * f64::from(quality.clean), "{} of {}", quality.touched, quality.clean);
}
