use std::sync::Arc;
use std::time::Duration;

use super::{Opened, Places, SHARE};
use crate::auth::Who;
use crate::clock;

use crate::policy::tests::caller;
use crate::upstream::gate::Busy;
use crate::upstream::stdio::slot::{Owner, Slot};
use crate::upstream::tests::server;

const LONG: Duration = Duration::from_hours(1);

fn who(subject: &str, client: &str) -> Who {
    let mut caller = caller("");
    (caller.subject, caller.client_id) = (subject.into(), Some(client.into()));
    Who::of(&caller)
}

/// A place of that caller's.
fn take(places: &mut Places, number: u64, who: &Who) -> Arc<Slot> {
    let server = server("http://up.example");
    let slot = Slot::new(Owner::Client(number), Some(who.clone()), None, (&server, &Arc::default()));
    places.slots.insert(Owner::Client(number), slot.clone());
    slot
}

fn open(places: &mut Places, name: &str, number: u64, (who, slot): (&Who, &Arc<Slot>)) {
    let opened = Opened { number, who: Some(who.clone()), slot: slot.clone(), used: clock::monotonic() };
    places.keep(name, opened, LONG).unwrap();
}

#[test]
fn one_caller_takes_no_place_of_others() {
    let (mut places, ana, max) = (Places::default(), who("ana", "x"), who("max", "x"));
    let most = 4;
    for number in 0..2 {
        places.find_room(Some(&max), most, LONG).unwrap();
        take(&mut places, number, &max);
    }
    for number in 2..100 {
        // Whatever client it calls with.
        let ana = who("ana", &number.to_string());
        places.find_room(Some(&ana), most, LONG).unwrap();
        take(&mut places, number, &ana);
        assert!(places.slots.len() <= most);
    }
    assert!([0, 1, 98, 99].iter().all(|number| places.slots.contains_key(&Owner::Client(*number))));
    let held: Vec<_> = places
        .slots
        .values()
        .filter(|slot| slot.who.as_ref().is_some_and(|who| who.is_person(&ana)))
        .cloned()
        .collect();
    assert_eq!(places.find_room(Some(&ana), most, LONG), Err(Busy::Share), "in use");
    assert_eq!(places.find_room(Some(&who("kim", "x")), most, LONG), Ok(()), "the one idle for longest makes room");
    assert_eq!((places.slots.len(), places.slots.contains_key(&Owner::Client(0))), (3, false));
    drop(held);
}

#[test]
fn who_is_on_the_way_to_a_place_keeps_it() {
    let (mut places, ana, max) = (Places::default(), who("ana", "x"), who("max", "x"));
    let slot = take(&mut places, 1, &ana);
    assert_eq!(places.find_room(Some(&max), 1, LONG), Err(Busy::Processes));
    open(&mut places, "s", 1, (&ana, &slot));
    assert_eq!(places.find_room(Some(&max), 1, LONG), Err(Busy::Processes));
    drop(slot);
    assert_eq!(places.find_room(Some(&max), 1, LONG), Ok(()));
    assert!(places.slots.is_empty() && places.sessions.is_empty());
}

#[test]
fn one_caller_takes_no_room_for_sessions_of_others() {
    let (mut places, ana, max) = (Places::default(), who("ana", "x"), who("max", "x"));
    let slot = take(&mut places, 1, &ana);
    open(&mut places, "max", 1, (&max, &slot));
    for number in 0..=SHARE {
        open(&mut places, &number.to_string(), 1, (&who("ana", &number.to_string()), &slot));
    }
    assert_eq!(places.sessions.len(), SHARE + 1);
    assert!(["max", "1", &SHARE.to_string()].iter().all(|name| places.sessions.contains_key(*name)));
    assert!(!places.sessions.contains_key("0"), "its own unused for longest");
    assert!(places.close("max") && !places.close("max"));
}
