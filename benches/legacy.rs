//! What older servers cost: a call between eras beside one that goes straight, a call of a program beside the program
//! itself, a stream that is open and idle; and what is left when clients come and go for a while.
//!
//! `cargo bench --bench legacy -- [--rounds N] [--calls N] [--streams N] [--minutes N] [--part eras|stdio|streams|churn]`
//!
//! Differences are taken in one run, round by round. CPU time is that of the proxy's process alone.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to go on with")]
#![expect(clippy::cast_precision_loss, reason = "numbers of calls and streams are small")]

#[path = "path/bare.rs"]
mod bare;
#[path = "legacy/churn.rs"]
mod churn;
#[path = "legacy/client.rs"]
mod client;
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
#[path = "legacy/servers.rs"]
mod servers;
#[path = "path/wire.rs"]
mod wire;

use std::sync::Arc;

use client::{Call, Client};
use gateway::{Gateway, Kind};

/// Clients that call at once.
const CLIENTS: usize = 16;

/// What to do, and how much of it.
struct Options {
    rounds: usize,
    calls: usize,
    streams: usize,
    minutes: f64,
    part: Option<String>,
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
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.part.as_deref().is_none_or(|wanted| wanted == part)
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
        println!("{:<44} {:>10} {:>10} {:>10}", "CPU us a call", "straight", "bridged", "more");
        let gateway = Gateway::start(Kind::Portcullis);
        let newer = [Call::newer("/newer"), Call::newer("/older-for-newer")];
        let older = [Call::older("/older"), Call::older("/newer-for-older")];
        eras("a client of 2026-07-28, a server of 2025-11-25", &gateway, &newer, options);
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

/// The CPU time of a call that goes straight, and of one that is translated, in turn; several clients at once, so that
/// what a call waits for is shared as it is under load.
fn eras(name: &str, gateway: &Gateway, calls: &[Call; 2], options: &Options) {
    let mut rounds: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let open = |call: &Call| (0..CLIENTS).map(|_| Client::open(gateway, call)).collect::<Vec<_>>();
    let mut clients = calls.each_ref().map(open);
    for _ in 0..=options.rounds {
        for (clients, rounds) in clients.iter_mut().zip(&mut rounds) {
            let before = measure::cpu_micros(gateway.id());
            std::thread::scope(|scope| {
                for client in clients {
                    scope.spawn(|| client.calls(options.calls / CLIENTS));
                }
            });
            rounds.push((measure::cpu_micros(gateway.id()) - before) / options.calls as f64);
        }
    }
    // The first round finds its way.
    let more = rounds[0].iter().zip(&rounds[1]).skip(1).map(|(straight, bridged)| bridged - straight).collect();
    let [straight, bridged] = rounds.map(|rounds| middle(rounds[1..].to_vec()));
    println!("{name:<44} {straight:>10.1} {bridged:>10.1} {:>10.1}", middle(more));
}

/// The time of a round trip with the program alone, and through the proxy.
fn stdio(gateway: &Gateway, options: &Options) {
    let mut through = [Client::open(gateway, &Call::older("/older")), Client::open(gateway, &Call::older("/program"))];
    let mut rounds: [Vec<f64>; 4] = Default::default();
    let mut program = program::Program::start();
    for _ in 0..=options.rounds {
        rounds[0].push(middle(program.calls(options.calls)));
        for (client, rounds) in through.iter_mut().zip(&mut rounds[1..]) {
            rounds.push(middle(client.calls(options.calls)));
        }
        let before = measure::cpu_micros(gateway.id());
        through[1].calls(options.calls);
        rounds[3].push((measure::cpu_micros(gateway.id()) - before) / options.calls as f64);
    }
    let added = rounds[2].iter().zip(&rounds[0]).map(|(through, alone)| through - alone).collect();
    let over_http = rounds[2].iter().zip(&rounds[1]).map(|(program, http)| program - http).collect();
    println!("\n{:<44} {:>10}", "round trips one after the other", "us, median");
    for (name, times) in
        ["the program alone", "a server over HTTP, through Portcullis", "the program, through Portcullis"]
            .iter()
            .zip(&rounds)
    {
        println!("{name:<44} {:>10.1}", middle(times.clone()));
    }
    println!("{:<44} {:>10.1}", "added to the program's own", middle(added));
    println!("{:<44} {:>10.1}", "more than the server over HTTP", middle(over_http));
    println!("{:<44} {:>10.1}", "CPU of the proxy, with the program", middle(rounds[3].clone()));
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
