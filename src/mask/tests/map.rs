//! The method table, row by row: opaque places stay, and everything else is text, in both directions.

use serde_json::{Value, json};

use super::{document, entities};
use crate::json::Splice;
use crate::mask::opaque::WITHOUT_TEXT;
use crate::mask::{Action, Direction, Entity, Findings, Masks, View};
use crate::mcp::methods::{ERROR_PLACES, METHODS};

/// A value that is to be masked everywhere except in opaque places.
const VALUE: &str = "ana@private.example";
const SHOWN: &str = "[EMAIL_ADDRESS]";

/// Paths that match the pattern: `*` becomes an item or a member, `**` nothing or the path to a subschema.
fn ways(pattern: &str) -> Vec<Vec<String>> {
    let mut ways: Vec<Vec<String>> = vec![Vec::new()];
    let tokens: Vec<&str> = pattern.split('/').skip(1).collect();
    for (at, token) in tokens.iter().enumerate() {
        let steps: Vec<Vec<&str>> = match *token {
            "*" => vec![vec!["0"], vec!["any"]],
            "**" if at + 1 == tokens.len() => vec![vec![], vec!["deep"], vec!["deep", "0", "er"]],
            "**" => vec![vec![], vec!["properties", "p"], vec!["items", "anyOf", "0"]],
            name => vec![vec![name]],
        };
        ways = ways
            .iter()
            .flat_map(|way| {
                steps.iter().map(move |step| way.iter().cloned().chain(step.iter().map(|s| (*s).to_owned())).collect())
            })
            .collect();
    }
    ways
}

/// Whether a pattern of the row matches `way`, with any steps in place of `**`.
fn is_covered(opaque: &[&str], way: &[String]) -> bool {
    fn leads(tokens: &[&str], way: &[String]) -> bool {
        match (tokens.split_first(), way.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => (0..=way.len()).any(|skip| leads(rest, &way[skip..])),
            (Some((token, rest)), Some((step, behind))) => (*token == "*" || token == step) && leads(rest, behind),
            _ => false,
        }
    }
    opaque.iter().any(|pattern| leads(&pattern.split('/').skip(1).collect::<Vec<_>>(), way))
}

/// `leaf` at the end of `way`, and next to every step, unless a pattern matches there, an unknown member with `aside`.
fn put(opaque: &[&str], way: &[String], leaf: &Value, aside: &str) -> Value {
    let mut value = leaf.clone();
    for (at, step) in way.iter().enumerate().rev() {
        let name = step.replace("~1", "/").replace("~0", "~");
        let free = |unknown: &str| !is_covered(opaque, &[&way[..at], &[unknown.to_owned()]].concat());
        value = match name.as_str() {
            "0" if free("1") => json!([value, aside]),
            "0" => json!([value]),
            _ if free("unknown to all") => json!({ name: value, "unknown to all": aside }),
            _ => json!({ name: value }),
        };
    }
    value
}

fn rewritten(masks: &Masks, direction: Direction, places: &'static [&'static str], value: &Value) -> Value {
    let document = document(&value.to_string());
    let (mut splice, mut findings) = (Splice::new(), Findings::new());
    masks.rewrite(&View::default(), direction, document.root(), places, &mut splice, &mut findings).unwrap();
    serde_json::from_slice(&splice.apply(document.bytes())).unwrap()
}

/// Whether a client may send the value at the place back, so that it is sealed and not left as it is.
fn is_uri(direction: Direction, way: &[String]) -> bool {
    let ends = |names: &[&str]| {
        way.iter().rev().zip(names.iter().rev()).filter(|(one, other)| one == other).count() == names.len()
    };
    direction == Direction::Result
        && (ends(&["uri"]) || ends(&["resourceSubscriptions", "0"]) || ends(&["resourceSubscriptions", "any"]))
}

#[test]
fn every_row_of_the_method_table_is_masked_but_for_its_opaque_places() {
    let masks = Masks::compile(vec![entities("m", &[Entity::EmailAddress], Action::Redact)]).unwrap();
    let (mut rows, mut places) = (0, 0);
    let tables =
        METHODS.iter().flat_map(|method| [(method.name, method.opaque_params), (method.name, method.opaque_result)]);
    for (method, opaque) in tables.chain([("error", ERROR_PLACES)]) {
        for direction in [Direction::Arguments, Direction::Result] {
            for pattern in opaque {
                let ways = ways(pattern);
                for (at, way) in ways.iter().enumerate() {
                    places += 1;
                    let told = format!("{method} {direction:?} {pattern} {way:?}");
                    let kept = match way.last().map_or("", String::as_str) {
                        _ if is_uri(direction, way) => "sealed:[URI]",
                        name if WITHOUT_TEXT.contains(&name) => SHOWN,
                        _ => VALUE,
                    };
                    let (before, after) =
                        (put(opaque, way, &json!(VALUE), VALUE), put(opaque, way, &json!(kept), SHOWN));
                    assert_eq!(rewritten(&masks, direction, opaque, &before), after, "{told}");
                    // What is no identifier is text in any place.
                    let ends_open = pattern.ends_with("/**");
                    if !ends_open && !is_covered(opaque, &[&way[..], &["x".to_owned()]].concat()) {
                        let (before, after) = (
                            put(opaque, way, &json!({ "x": VALUE }), VALUE),
                            put(opaque, way, &json!({ "x": SHOWN }), SHOWN),
                        );
                        assert_eq!(rewritten(&masks, direction, opaque, &before), after, "an object at {told}");
                    }
                    // The length limit is the same on every path to a place: the simplest and the deepest are enough.
                    let shows_length = at == 0 || at + 1 == ways.len();
                    if shows_length && !matches!(*pattern, "/cursor" | "/nextCursor" | "/requestState") {
                        let long = |value: &str| json!(format!("{} {value}", "x".repeat(2048)));
                        let (before, after) =
                            (put(opaque, way, &long(VALUE), VALUE), put(opaque, way, &long(SHOWN), SHOWN));
                        assert_eq!(rewritten(&masks, direction, opaque, &before), after, "a long text at {told}");
                    }
                }
            }
            // A row without opaque places is text as a whole.
            let (before, after) = (json!({ "a": [VALUE] }), json!({ "a": [SHOWN] }));
            assert_eq!(rewritten(&masks, direction, opaque, &before), after, "{method}");
            rows += 1;
        }
    }
    println!("{rows} rows, {places} opaque places");
    assert_eq!(rows, 2 * (2 * METHODS.len() + 1));
}

#[test]
fn a_message_without_a_match_leaves_in_its_own_bytes() {
    let odd = r#" { "z":1.0 ,"a" : 18446744073709551616,"e":1e400, "E":-0.0E+07,"\u0061\/b":"\ud83d\ude00\u00e9\/\n", "m":[ ],"o":{ } ,"t":"caf\u00e9 – ½ 漢字" , "n":null} "#;
    let masks = Masks::compile(vec![entities("m", &Entity::ALL, Action::Redact)]).unwrap();
    for method in METHODS {
        for (direction, places) in [Direction::Arguments, Direction::Result]
            .into_iter()
            .flat_map(|direction| [(direction, method.opaque_params), (direction, method.opaque_result)])
        {
            let document = document(odd);
            let (mut splice, mut findings) = (Splice::new(), Findings::new());
            masks.rewrite(&View::default(), direction, document.root(), places, &mut splice, &mut findings).unwrap();
            assert_eq!(splice.apply(document.bytes()), odd, "{}", method.name);
        }
    }
}
