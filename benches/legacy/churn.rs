//! Clients that come, go and hang up, at servers that answer, break off and die; and what is left of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::clock::monotonic;

use super::client::{Call, Client};
use super::gateway::Gateway;
use super::{held, measure};

/// Clients at a time.
const CLIENTS: usize = 8;
const PATHS: [Call; 5] = [
    Call::older("/older"),
    Call::older("/newer-for-older"),
    Call::newer("/newer"),
    Call::newer("/older-for-newer"),
    Call::older("/program"),
];

/// What became of the calls.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    refused: AtomicUsize,
    cut: AtomicUsize,
    left: AtomicUsize,
}

/// What a process holds.
#[derive(Clone, Copy)]
struct Held {
    files: usize,
    threads: usize,
    children: usize,
    megabytes: f64,
}

impl Held {
    fn by(pid: u32) -> Self {
        Self {
            files: held::entries(pid, "fd"),
            threads: held::entries(pid, "task"),
            children: held::children(pid),
            megabytes: measure::resident(pid),
        }
    }

    fn print(self, at: &str, tally: &Tally) {
        let [answered, refused, cut, left] =
            [&tally.answered, &tally.refused, &tally.cut, &tally.left].map(|count| count.load(Ordering::Relaxed));
        let Self { files, threads, children, megabytes } = self;
        println!(
            "{at:>8} {answered:>9} {refused:>9} {cut:>9} {left:>9} {files:>7} {threads:>8} {children:>9} {megabytes:>8.1}"
        );
    }
}

/// Churns for so long, and then looks at what is still held when everybody has gone.
pub(crate) fn run(gateway: &Arc<Gateway>, minutes: f64) {
    println!(
        "\n{:>8} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8} {:>9} {:>8}",
        "seconds", "answered", "refused", "cut", "hung up", "files", "threads", "processes", "MB"
    );
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    // Every path once, so that what is kept for good is there.
    for path in &PATHS {
        Client::open(gateway, path).calls(200);
    }
    std::thread::sleep(Duration::from_secs(2));
    let before = Held::by(gateway.id());
    before.print("before", &tally);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (gateway, tally, stop) = (gateway.clone(), tally.clone(), stop.clone());
            std::thread::spawn(move || client(&gateway, number, &tally, &stop))
        })
        .collect();
    let (started, length) = (monotonic(), Duration::from_secs_f64(minutes * 60.0));
    let pause = (length / 10).clamp(Duration::from_secs(1), Duration::from_mins(1));
    while started.elapsed() < length {
        std::thread::sleep(pause);
        Held::by(gateway.id()).print(&format!("{:.0}", started.elapsed().as_secs_f64()), &tally);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    // What waits for an answer that never comes waits for the configured time.
    std::thread::sleep(Duration::from_secs(8));
    let after = Held::by(gateway.id());
    after.print("after", &tally);
    assert!(after.files <= before.files + 4, "files are left open");
    assert!(after.threads <= before.threads && after.children <= before.children, "threads or processes are left");
}

fn client(gateway: &Gateway, number: usize, tally: &Tally, stop: &AtomicBool) {
    let count = |count: &AtomicUsize| count.fetch_add(1, Ordering::Relaxed);
    for turn in number.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let call = &PATHS[turn % PATHS.len()];
        let Some(mut client) = Client::try_open(gateway, call) else {
            count(&tally.refused);
            continue;
        };
        let mut waits = true;
        for deed in 0..20 {
            // A part of the calls ask the server to break off or to die, and a part of the clients do not wait.
            let query = match (turn + deed) % 10 {
                7 => "cut",
                8 if turn % 40 == 0 => "die",
                9 if turn % 80 == 0 => "hang",
                _ => "open tickets",
            };
            if query == "hang" || (turn + deed) % 15 == 0 {
                client.send(query);
                count(&tally.left);
                waits = false;
                break;
            }
            match client.ask(query) {
                Some(200) => count(&tally.answered),
                Some(_) => count(&tally.refused),
                None => {
                    count(&tally.cut);
                    break;
                }
            };
        }
        if !waits {
            continue;
        }
        if call.listens() && turn % 3 == 0 {
            drop(client.listen(2));
        }
        client.end();
    }
}
