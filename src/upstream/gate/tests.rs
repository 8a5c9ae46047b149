use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use super::{ASIDE, Busy, Count, Gate, Room, cell_of};
use crate::auth::Caller;
use crate::config::Concurrency;

fn gate(max_in_flight: u32, per_principal: u32, queue: usize) -> Arc<Gate> {
    let queue_timeout = Duration::from_mins(1);
    Gate::new(Concurrency { max_in_flight, per_principal, queue, queue_timeout, streams: 2 })
}

fn caller(number: u8) -> Caller {
    Caller::anonymous(IpAddr::from([10, 0, 0, number]))
}

/// Somebody counted in another cell than that caller.
fn other_than(gate: &Gate, one: &Caller) -> Caller {
    let cell = |caller: &Caller| cell_of(gate.owner(Some(caller)));
    (2..=u8::MAX).map(caller).find(|other| cell(other) != cell(one)).unwrap()
}

fn counted(gate: &Gate) -> u32 {
    gate.cells.iter().map(|cell| cell.load(std::sync::atomic::Ordering::Relaxed)).sum()
}

#[tokio::test]
async fn room_is_taken_and_given_back() {
    let gate = gate(2, 2, 0);
    let one = gate.enter(Room::Call, Some(&caller(1))).await.unwrap();
    let two = gate.enter(Room::Call, None).await.unwrap();
    assert_eq!(gate.load(), (2, 0));
    assert_eq!(gate.enter(Room::Call, Some(&caller(2))).await.unwrap_err(), Busy::Queue);
    drop(one);
    let three = gate.enter(Room::Call, Some(&caller(2))).await.unwrap();
    drop((two, three));
    assert_eq!((gate.load(), counted(&gate)), ((0, 0), 0));
}

#[tokio::test]
async fn one_caller_has_its_share_and_others_find_room() {
    let gate = gate(4, 1, 4);
    let held = gate.enter(Room::Call, Some(&caller(1))).await.unwrap();
    let ana = caller(1);
    let max = other_than(&gate, &ana);
    let mut second = Box::pin(gate.enter(Room::Call, Some(&ana)));
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    assert_eq!(gate.load(), (1, 1));
    // Somebody waits, and there is room all the same.
    let other = gate.enter(Room::Call, Some(&max)).await.unwrap();
    assert_eq!(gate.load(), (2, 1));
    drop(other);
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    drop(held);
    drop(second.await.unwrap());
    assert_eq!(gate.load(), (0, 0));
}

#[tokio::test]
async fn who_leaves_takes_no_turn() {
    let gate = gate(1, 1, 8);
    let held = gate.enter(Room::Call, Some(&caller(1))).await.unwrap();
    let ana = caller(1);
    let max = other_than(&gate, &ana);
    let mut gone = Box::pin(gate.enter(Room::Call, Some(&ana)));
    let mut stays = Box::pin(gate.enter(Room::Call, Some(&max)));
    assert!(futures_util::poll!(gone.as_mut()).is_pending());
    assert!(futures_util::poll!(stays.as_mut()).is_pending());
    drop(gone);
    assert_eq!(gate.load(), (1, 1));
    drop(held);
    assert!(futures_util::poll!(stays.as_mut()).is_ready());

    // The turn comes, and whoever it comes to is gone before it is looked at.
    let last = gate.enter(Room::Call, Some(&ana)).await.unwrap();
    let mut gone = Box::pin(gate.enter(Room::Call, Some(&max)));
    assert!(futures_util::poll!(gone.as_mut()).is_pending());
    drop(last);
    assert_eq!(gate.load(), (1, 0));
    drop(gone);
    assert_eq!((gate.load(), counted(&gate)), ((0, 0), 0));
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let (queue_timeout, short) = (Duration::from_millis(1), Concurrency::default());
    let gate = Gate::new(Concurrency { max_in_flight: 1, queue_timeout, ..short });
    let _held = gate.enter(Room::Call, Some(&caller(1))).await.unwrap();
    let late = gate.enter(Room::Call, Some(&caller(2))).await.unwrap_err();
    assert_eq!(late, Busy::Waited(Duration::from_millis(1)));
    assert_eq!(gate.load(), (1, 0));
}

#[tokio::test]
async fn streams_and_messages_without_an_answer_are_counted_by_themselves() {
    let gate = gate(1, 1, 0);
    let _call = gate.enter(Room::Call, Some(&caller(1))).await.unwrap();
    let _aside = gate.enter(Room::Aside, Some(&caller(1))).await.unwrap();
    let one = gate.enter(Room::Stream, Some(&caller(1))).await.unwrap();
    let _two = gate.enter(Room::Stream, None).await.unwrap();
    assert_eq!(gate.enter(Room::Stream, None).await.unwrap_err(), Busy::Streams);
    drop(one);
    assert!(gate.enter(Room::Stream, None).await.is_ok());
}

#[tokio::test]
async fn one_caller_leaves_half_of_what_is_only_counted_to_others() {
    let gate = gate(1, 1, 0);
    let ana = caller(1);
    let max = other_than(&gate, &ana);
    let stream = gate.enter(Room::Stream, Some(&ana)).await.unwrap();
    assert_eq!(gate.enter(Room::Stream, Some(&ana)).await.unwrap_err(), Busy::Share);
    drop(gate.enter(Room::Stream, Some(&max)).await.unwrap());
    drop(stream);
    drop(gate.enter(Room::Stream, Some(&ana)).await.unwrap());
    let mut asides = Vec::new();
    for _ in 0..ASIDE / 2 {
        asides.push(gate.enter(Room::Aside, Some(&ana)).await.unwrap());
    }
    assert_eq!(gate.enter(Room::Aside, Some(&ana)).await.unwrap_err(), Busy::Share);
    for _ in 0..ASIDE / 2 {
        // What the proxy says itself has no share.
        asides.push(gate.enter(Room::Aside, None).await.unwrap());
    }
    assert_eq!(gate.enter(Room::Aside, Some(&max)).await.unwrap_err(), Busy::Queue);
    drop(asides);
    drop(gate.enter(Room::Aside, Some(&ana)).await.unwrap());
    let counts = [&gate.aside, &gate.streams];
    let left = |count: &Count| {
        let cells: u32 = count.cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum();
        (count.all.load(Ordering::Relaxed), cells)
    };
    assert_eq!(counts.map(left), [(0, 0); 2], "all is given back");
}

/// On several threads at once: never more than may be there, never more of one caller than its share, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "ends with the test")]
async fn never_lets_in_too_many() {
    use std::sync::Mutex;

    let gate = gate(5, 3, 10_000);
    let inside: Arc<Mutex<BTreeMap<u8, u32>>> = Arc::default();
    let tasks = (0..2_000_u32).map(|number| {
        let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
        tokio::spawn(async move {
            let who = u8::try_from(number % 7).unwrap();
            let place = gate.enter(Room::Call, Some(&caller(who))).await.unwrap();
            {
                let mut inside = inside.lock().unwrap();
                *inside.entry(who).or_default() += 1;
                assert!(inside.values().sum::<u32>() <= 5 && inside[&who] <= 3, "{inside:?}");
            }
            tokio::task::yield_now().await;
            *inside.lock().unwrap().get_mut(&who).unwrap() -= 1;
            drop(place);
        })
    });
    let done = join_all(tasks).await;
    assert!(done.iter().all(Result::is_ok));
    assert_eq!((gate.load(), counted(&gate)), ((0, 0), 0));
}
