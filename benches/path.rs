//! One call through a bare hyper proxy and through Portcullis, in turn, against the same fast upstream.
//!
//! `cargo bench --bench path -- [--rounds N] [--seconds S] [--connections N] [--case NAME] [--callgrind]`
//!
//! The ratio of instructions is the figure to hold on to: it moves by a percent where CPU time and requests a second move
//! by half. It comes from `perf` where the machine has counters, and with `--callgrind` from valgrind, which sees user
//! space only. Proxies run on the first processor, everything else on the second, where `taskset` is to be had.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that fails has nothing to go on with")]

#[path = "path/bare.rs"]
mod bare;
#[path = "path/cases.rs"]
mod cases;
#[path = "path/counter.rs"]
mod counter;
#[path = "path/issuer.rs"]
mod issuer;
#[path = "path/load.rs"]
mod load;
#[path = "path/local.rs"]
mod local;
#[path = "path/measure.rs"]
mod measure;
#[path = "path/proxies.rs"]
mod proxies;
#[path = "path/report.rs"]
mod report;
#[path = "path/upstream.rs"]
mod upstream;
#[path = "path/wire.rs"]
mod wire;

use cases::CASES;
use counter::Counter;
use proxies::{Bench, Kind};

/// What to do, and how long.
struct Options {
    rounds: usize,
    seconds: f64,
    connections: usize,
    case: Option<String>,
    callgrind: bool,
}

impl Options {
    fn read(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).map(String::as_str)
        };
        Self {
            rounds: value("--rounds").map_or(5, |text| text.parse().unwrap()),
            seconds: value("--seconds").map_or(2.0, |text| text.parse().unwrap()),
            connections: value("--connections").map_or(32, |text| text.parse().unwrap()),
            case: value("--case").map(Into::into),
            callgrind: arguments.iter().any(|argument| argument == "--callgrind"),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bare", listen, upstream] => bare::run(listen, upstream),
        ["upstream", listen] => upstream::run(listen),
        ["load", address, case, connections, seconds, token] => {
            load::run(address, case, connections.parse().unwrap(), seconds.parse().unwrap(), token);
        }
        _ => compare(&Options::read(&arguments)),
    }
}

/// Measures every case on both proxies, round by round, and prints a table.
fn compare(options: &Options) {
    let counter = Counter::choose(options.callgrind);
    let bench = Bench::start();
    report::start(&bench.first_answers(5), bench.idle());
    report::head(counter);
    for case in CASES.iter().filter(|case| options.case.as_deref().is_none_or(|name| name == case.name)) {
        let proxies = [Kind::Bare, Kind::Portcullis].map(|kind| bench.proxy(kind, 1, counter == Counter::Callgrind));
        for proxy in &proxies {
            bench.load(proxy, case, options.connections, 0.5, Counter::None);
        }
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            for (proxy, rounds) in proxies.iter().zip(&mut rounds) {
                rounds.push(bench.load(proxy, case, options.connections, options.seconds, counter));
            }
        }
        report::case(case.name, &rounds);
    }
}
