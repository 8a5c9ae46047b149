//! The table.

use super::counter::Counter;
use super::proxies::{First, Round};

/// Says how a fresh process does, and how many megabytes it holds when idle.
pub(crate) fn start(first: &[First], idle: f64) {
    let best = |of: fn(&First) -> f64| first.iter().map(of).fold(f64::INFINITY, f64::min);
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_portcullis")).map_or(0, |file| file.len());
    println!("binary                {:>6}.{} MB", size / 1_000_000, size / 100_000 % 10);
    println!(
        "start to first answer {:>8.1} ms (2 workers, keys fetched, policy and masks compiled; best of {})",
        best(|first| first.millis),
        first.len()
    );
    println!("resident when idle    {idle:>8.1} MB");
    println!("resident after it     {:>8.1} MB", best(|first| first.resident));
    println!();
}

/// The heads of the columns.
pub(crate) fn head(counter: Counter) {
    let instructions = match counter {
        Counter::Callgrind => "k-instr, user",
        Counter::None => "k-instr",
        Counter::Perf => "k-instr, all",
    };
    println!(
        "{:<15} {:<11} {instructions:>13} {:>8} {:>8} {:>9} {:>8} {:>8}",
        "", "", "CPU us", "best", "req/s", "p50 us", "p99 us"
    );
}

/// The rows of a case: medians of its rounds, for CPU time and requests a second the best as well, and the ratios.
pub(crate) fn case(name: &str, [bare, ours]: &[Vec<Round>; 2]) {
    for (name, label, rounds) in [(name, "bare hyper", bare), ("", "portcullis", ours)] {
        println!(
            "{name:<15} {label:<11} {} {:>8.2} {:>8.2} {:>9.0} {:>8.0} {:>8.0}",
            number(median(rounds, |round| round.instructions)),
            median(rounds, |round| round.cpu),
            rounds.iter().map(|round| round.cpu).fold(f64::INFINITY, f64::min),
            rounds.iter().map(|round| round.rate).fold(0.0, f64::max),
            median(rounds, |round| round.median),
            median(rounds, |round| round.p99),
        );
    }
    // Of each round by itself: the two stand side by side in time.
    let ratio = |of: fn(&Round) -> f64| {
        let mut ratios: Vec<f64> = bare.iter().zip(ours).map(|(bare, ours)| of(ours) / of(bare)).collect();
        middle(&mut ratios)
    };
    println!(
        "{:<15} {:<11} {} {:>8.2} {:>8} {:>9.2} {:>8.2} {:>8.2}",
        "",
        "ratio",
        number(ratio(|round| round.instructions)),
        ratio(|round| round.cpu),
        "",
        ratio(|round| round.rate),
        ratio(|round| round.median),
        ratio(|round| round.p99),
    );
}

fn number(value: f64) -> String {
    if value.is_nan() { format!("{:>13}", "n/a") } else { format!("{value:>13.2}") }
}

fn median(rounds: &[Round], of: fn(&Round) -> f64) -> f64 {
    middle(&mut rounds.iter().map(of).collect::<Vec<_>>())
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
