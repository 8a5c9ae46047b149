//! What older servers cost: a call between eras beside one that goes straight, a call of a program beside the program
//! itself, a stream that is open and idle; and what is left when clients come and go for a while.
//!
//! `cargo bench --bench legacy -- [--rounds N] [--calls N] [--streams N] [--minutes N] [--part eras|stdio|streams|churn] [--callgrind]`
//!
//! Differences are taken in one run, round by round. CPU time is that of the proxy's process alone; with `--callgrind` calls
//! between eras are counted in instructions in user space instead, which valgrind sees, and nothing else is measured.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to go on with")]
#![expect(clippy::cast_precision_loss, reason = "numbers of calls and streams are small")]

#[path = "path/bare.rs"]
mod bare;
#[path = "legacy/churn.rs"]
mod churn;
#[path = "legacy/client.rs"]
mod client;
#[path = "path/counter.rs"]
mod counter;
#[path = "legacy/gateway.rs"]
mod gateway;
#[path = "legacy/held.rs"]
mod held;
#[path = "path/issuer.rs"]
mod issuer;
#[path = "path/local.rs"]
mod local;
#[path = "path/measure.rs"]
mod measure;
#[path = "legacy/program.rs"]
mod program;
#[path = "legacy/recorded.rs"]
mod recorded;
#[path = "legacy/servers.rs"]
mod servers;
#[path = "path/wire.rs"]
mod wire;

use std::sync::Arc;

use client::{Call, Client};
use counter::Counter;
use gateway::{Gateway, Kind};
use recorded::Recorded;

/// Clients that call at once.
const CLIENTS: usize = 16;

/// What to do, and how much of it.
struct Options {
    rounds: usize,
    calls: usize,
    streams: usize,
    minutes: f64,
    part: Option<String>,
    callgrind: bool,
}

impl Options {
    fn read(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).map(String::as_str)
        };
        let number = |name: &str, otherwise: usize| value(name).map_or(otherwise, |text| text.parse().unwrap());
        Self {
            rounds: number("--rounds", 7),
            calls: number("--calls", 4_000),
            streams: number("--streams", 5_000),
            minutes: value("--minutes").map_or(0.5, |text| text.parse().unwrap()),
            part: value("--part").map(Into::into),
            callgrind: arguments.iter().any(|argument| argument == "--callgrind"),
        }
    }

    fn wants(&self, part: &str) -> bool {
        match &self.part {
            _ if self.callgrind => part == "eras",
            Some(wanted) => wanted == part,
            None => true,
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bare", listen, upstream] => bare::run(listen, upstream),
        ["program"] => program::run(),
        ["servers", listen] => servers::run(listen),
        _ => compare(&Options::read(&arguments)),
    }
}

fn compare(options: &Options) {
    if options.wants("eras") {
        let (kind, what) = match Counter::choose(options.callgrind) {
            Counter::Callgrind => (Kind::Callgrind, "thousands of instructions a call"),
            Counter::None | Counter::Perf => (Kind::Portcullis, "CPU us a call"),
        };
        println!("{what:<44} {:>10} {:>10} {:>10}", "straight", "bridged", "more");
        let gateway = Gateway::start(kind);
        let newer = [Call::newer("/newer"), Call::newer("/older-for-newer")];
        let asked = [Call::asked("/newer"), Call::asked("/older-for-newer")];
        let older = [Call::older("/older"), Call::older("/newer-for-older")];
        eras("a client of 2026-07-28, a server of 2025-11-25", &gateway, &newer, options);
        eras("the same of a client that can be asked", &gateway, &asked, options);
        eras("a client of 2025-11-25, a server of 2026-07-28", &gateway, &older, options);
    }
    if options.wants("stdio") {
        stdio(&Gateway::start(Kind::Portcullis), options);
    }
    if options.wants("streams") {
        println!("\n{:<44} {:>10}", format!("{} idle streams", options.streams), "KB each");
        for kind in [Kind::Bare, Kind::Portcullis] {
            println!("{:<44} {:>10.1}", kind.name(), streams(&Gateway::start(kind), options.streams));
        }
    }
    if options.wants("churn") {
        churn::run(&Arc::new(Gateway::start(Kind::Portcullis)), options.minutes);
    }
}

/// What a call costs that goes straight, and one that is translated, in turn; several clients at once, so that
/// what a call waits for is shared as it is under load.
fn eras(name: &str, gateway: &Gateway, calls: &[Call; 2], options: &Options) {
    let mut rounds: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let open = |call: &Call| (0..CLIENTS).map(|_| Client::open(gateway, call)).collect::<Vec<_>>();
    let mut clients = calls.each_ref().map(open);
    for _ in 0..=options.rounds {
        for (clients, rounds) in clients.iter_mut().zip(&mut rounds) {
            let spent = gateway.spent(|| {
                std::thread::scope(|scope| {
                    for client in clients {
                        scope.spawn(|| client.calls(options.calls / CLIENTS));
                    }
                });
            });
            rounds.push(spent / options.calls as f64);
        }
    }
    // The first round finds its way.
    let more = rounds[0].iter().zip(&rounds[1]).skip(1).map(|(straight, bridged)| bridged - straight).collect();
    let [straight, bridged] = rounds.map(|rounds| middle(rounds[1..].to_vec()));
    println!("{name:<44} {straight:>10.1} {bridged:>10.1} {:>10.1}", middle(more));
}

/// The time of a round trip with the program alone, and of calls through the proxy.
///
/// What a round trip with a program adds to the program's own time is taken in two ways. By the audit log: a call waits from
/// its line there, after which it is written for the program, until the first of the answer is back with it. And from outside:
/// how much longer a call takes than one the proxy denies. The latter holds all else that a call has and a denial has not as
/// well: masks, the answer's checks, a second audit line.
fn stdio(gateway: &Gateway, options: &Options) {
    let mut through = [Client::open(gateway, &Call::older("/older")), Client::open(gateway, &Call::older("/program"))];
    for client in &mut through {
        drop(client.calls(options.calls));
    }
    let mut program = program::Program::start();
    let mut recorded = Recorded::by(gateway);
    let mut round = || {
        let alone = middle(program.calls(options.calls));
        let [http, stdio] = through.each_mut().map(|client| Calls::of(client, gateway, &mut recorded, options.calls));
        Round { alone, denied: middle(through[1].denied(options.calls)), http, stdio }
    };
    let rounds: Vec<Round> = (0..options.rounds).map(|_| round()).collect();
    let of = |value: fn(&Round) -> f64| middle(rounds.iter().map(value).collect());
    println!("\n{:<44} {:>10}", "round trips one after the other", "us, median");
    for (name, value) in [
        ("the program alone", of(|round| round.alone)),
        ("a call of the program", of(|round| round.stdio.took)),
        ("a call of a server over HTTP", of(|round| round.http.took)),
        ("a call that is denied", of(|round| round.denied)),
        ("waits for the program, by the audit log", of(|round| round.stdio.waited)),
        ("waits for the server over HTTP", of(|round| round.http.waited)),
        ("added to the program's own, by the audit log", of(|round| round.stdio.waited - round.alone)),
        ("added to it and to a denial, from outside", of(|round| round.stdio.took - round.denied - round.alone)),
        ("CPU of the proxy, with the program", of(|round| round.stdio.cpu)),
        ("CPU of the proxy, with the server over HTTP", of(|round| round.http.cpu)),
    ] {
        println!("{name:<44} {value:>10.1}");
    }
}

/// Medians of one round, in microseconds.
struct Round {
    alone: f64,
    denied: f64,
    http: Calls,
    stdio: Calls,
}

/// What a call took, waited for its upstream, and cost the proxy.
struct Calls {
    took: f64,
    waited: f64,
    cpu: f64,
}

impl Calls {
    fn of(client: &mut Client, gateway: &Gateway, recorded: &mut Recorded, count: usize) -> Self {
        let mut took = Vec::new();
        let cpu = gateway.spent(|| took = client.calls(count)) / count as f64;
        Self { took: middle(took), waited: middle(recorded.waited()), cpu }
    }
}

/// Resident kilobytes of one open stream.
fn streams(gateway: &Gateway, count: usize) -> f64 {
    let call = Call::older("/older");
    let mut client = Client::open(gateway, &call);
    client.calls(100);
    let few = client.listen(count / 50);
    let before = measure::resident(gateway.id());
    let many = client.listen(count);
    let after = measure::resident(gateway.id());
    drop((few, many));
    (after - before) * 1024.0 / count as f64
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
