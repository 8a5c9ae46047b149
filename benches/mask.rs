//! How fast texts are looked through with every recogniser on, beside a scan of memory.
//!
//! `cargo bench --bench mask -- [--text NAME] [--runs N]`
//!
//! Each figure is the best of many runs on one thread, as other work on the machine only ever adds to one.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has nothing to go on with")]

use std::hint::black_box;
use std::time::Duration;

use portcullis::clock::monotonic;
use portcullis::json::{Document, Limits, Splice};
use portcullis::mask::{Action, Direction, Directions, Entity, Findings, Masks, Spec, View, What};

const WORDS: [&str; 32] = [
    "the",
    "quarterly",
    "report",
    "covers",
    "revenue",
    "and",
    "pipeline",
    "for",
    "region",
    "north",
    "with",
    "notes",
    "about",
    "delivery",
    "schedule",
    "vendor",
    "contract",
    "renewal",
    "status",
    "open",
    "ticket",
    "resolved",
    "by",
    "team",
    "review",
    "pending",
    "summary",
    "of",
    "actions",
    "items",
    "budget",
    "forecast",
];
const NUMBERS: [&str; 8] = ["12", "2026", "2026-07-28", "45", "3.2", "1,204.50", "10:45", "id-20417"];
const DENSE: &str = "Customer Maria, email maria.1@example.com, phone +1 (415) 555-0119, card 4111-1111-1111-1111, SSN \
                     123-45-6789, IBAN DE89370400440532013000, ip 10.0.0.17, account in good standing since 2019. ";
const ANSWER: &str = "Quarterly review of the northern region: revenue and pipeline are ahead of the forecast, two open \
                      tickets are with the vendor, the renewal of the contract is pending and will be decided by the team. ";
const LENGTH: usize = 64 * 1024;
const RUNS: usize = 2000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let runs = value("--runs").map_or(RUNS, |runs| runs.parse().unwrap());
    let is_wanted = |name: &str| value("--text").is_none_or(|text| text == name);
    let on = Directions { arguments: true, result: true };
    let spec = Spec::new("all", on, What::Entities(Entity::ALL.to_vec()), Action::Redact);
    let masks = Masks::compile(vec![spec]).unwrap();
    let prose = words(0);
    let scan = best(runs, || prose.bytes().fold(0_u8, |all, byte| all | byte));
    println!("{:<24} {:>9} {:>8} {:>14}", "text", "us", "GB/s", "of the scan");
    report("memory scan (the limit)", prose.len(), scan, scan);
    for (name, text) in [("prose", &prose), ("number-heavy", &words(11)), ("dense personal data", &DENSE.repeat(340))] {
        if !is_wanted(name) {
            continue;
        }
        let time = best(runs, || masks.locate(black_box(text)));
        report(name, text.len(), time, scan * u32::try_from(text.len()).unwrap() / u32::try_from(prose.len()).unwrap());
    }
    let answers = [
        ("answer of 300 bytes", ANSWER, 300),
        ("answer of 64 KB", ANSWER, LENGTH),
        ("dense answer of 64 KB", DENSE, LENGTH),
    ];
    for (name, sentence, length) in answers {
        if !is_wanted(name) {
            continue;
        }
        let text: String = sentence.chars().cycle().take(length - 60).collect();
        let body = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}"#);
        let document = Document::parse(body.clone().into(), &Limits::ANSWER).unwrap();
        let time = best(runs, || {
            let (mut splice, mut findings) = (Splice::new(), Findings::default());
            let view = View::default();
            masks
                .rewrite(&view, Direction::Result, black_box(document.root()), &[], &mut splice, &mut findings)
                .unwrap();
            splice
        });
        report(name, body.len(), time, scan * u32::try_from(body.len()).unwrap() / u32::try_from(prose.len()).unwrap());
    }
}

fn report(name: &str, length: usize, time: Duration, scan: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "some thousand bytes")]
    let rate = length as f64 / time.as_secs_f64() / 1e9;
    let share = 100.0 * scan.as_secs_f64() / time.as_secs_f64();
    println!("{name:<24} {:>9.2} {rate:>8.2} {share:>12.0} %", time.as_secs_f64() * 1e6);
}

fn best<R>(runs: usize, mut work: impl FnMut() -> R) -> Duration {
    /// Runs timed together, so that the clock itself does not count.
    const TOGETHER: u32 = 8;
    let once = |work: &mut dyn FnMut() -> R| {
        let start = monotonic();
        (0..TOGETHER).for_each(|_| drop(black_box(work())));
        (monotonic() - start) / TOGETHER
    };
    (0..runs).map(|_| once(&mut work)).min().unwrap_or_default()
}

/// Prose in which every so manieth word is a number; none for 0.
fn words(every: u32) -> String {
    let (mut text, mut state) = (String::new(), 7_u32);
    while text.len() < LENGTH {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let place = (state >> 16) as usize;
        let number = every > 0 && state.is_multiple_of(every);
        text.push_str(if number { NUMBERS[place % NUMBERS.len()] } else { WORDS[place % WORDS.len()] });
        text.push(' ');
    }
    text.truncate(LENGTH);
    text
}
