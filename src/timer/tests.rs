//! The timer queue, behaviour by behaviour; `model` compares it with a sorted map.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::wheel::{LEVELS, level_of};
use super::*;

mod check;
mod model;

const NOW: u64 = 1_000_000_000_000;

/// What fires at `now`.
fn fired<T>(timers: &mut Timers<T>, now: u64) -> Vec<T> {
    let mut due = Vec::new();
    timers.expire(now, &mut due);
    timers.check().unwrap();
    due
}

/// A queue whose own time is `NOW`.
fn at_now<T>() -> Timers<T> {
    let mut timers = Timers::new();
    assert!(fired(&mut timers, NOW).is_empty());
    assert_eq!(timers.wheel.elapsed, NOW);
    timers
}

// When timers fire.

#[test]
fn a_timer_set_for_exactly_now_fires() {
    let mut timers = at_now();
    timers.insert(NOW, 'a');
    assert_eq!(fired(&mut timers, NOW), ['a']);
    assert!(timers.is_empty());
}

#[test]
fn a_timer_fires_at_its_deadline_and_not_a_nanosecond_before() {
    for bit in 0..64 {
        for deadline in [(1 << bit) - 1, 1 << bit, (1 << bit) + 1] {
            let mut timers = Timers::new();
            timers.insert(deadline, 'a');
            assert_eq!(timers.next_deadline(), Some(deadline));
            assert!(deadline == 0 || fired(&mut timers, deadline - 1).is_empty());
            assert_eq!(fired(&mut timers, deadline), ['a']);
        }
    }
}

#[test]
fn a_timer_set_for_the_past_fires_at_the_next_expiry() {
    let mut timers = at_now();
    timers.insert(NOW - 1, 'b');
    timers.insert(0, 'a');
    timers.insert(NOW, 'c');
    assert_eq!(timers.next_deadline(), Some(0));
    assert_eq!(fired(&mut timers, NOW), ['a', 'b', 'c']);
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines() {
    let mut timers = at_now();
    let delays = [5, 1 << 40, 3, 1 << 20, 70, 1 << 33, 1 << 20 | 1, 4];
    delays.iter().for_each(|delay| _ = timers.insert(NOW + delay, *delay));
    let mut sorted = delays;
    sorted.sort_unstable();
    assert_eq!(fired(&mut timers, NOW + (1 << 50)), sorted);
}

#[test]
fn equal_deadlines_fire_in_the_order_of_insertion_whatever_lies_between() {
    let mut timers = at_now();
    let deadline = NOW + 10_000_000;
    timers.insert(deadline, 'a');
    timers.insert(deadline - 9_000_000, 'x');
    timers.insert(deadline, 'b');
    // This opens the slot of all three, and the two that stay are moved.
    assert_eq!(fired(&mut timers, deadline - 9_000_000), ['x']);
    timers.insert(deadline, 'c');
    timers.insert(deadline - 1, 'w');
    timers.insert(deadline, 'd');
    assert_eq!(fired(&mut timers, deadline), ['w', 'a', 'b', 'c', 'd']);
}

#[test]
fn what_is_due_is_appended_to_what_is_there() {
    let (mut timers, mut due) = (at_now(), vec!['x']);
    timers.insert(NOW, 'a');
    timers.expire(NOW, &mut due);
    assert_eq!(due, ['x', 'a']);
}

#[test]
fn never_does_not_come() {
    let mut timers = at_now();
    let never = timers.insert(NEVER, 'n');
    assert_eq!((timers.next_deadline(), timers.deadline(never)), (None, Some(NEVER)));
    let last = timers.insert(NEVER - 1, 'l');
    assert_eq!(timers.next_deadline(), Some(NEVER - 1));
    assert!(fired(&mut timers, NEVER - 2).is_empty());
    assert_eq!(fired(&mut timers, NEVER), ['l']);
    assert!(fired(&mut timers, NEVER).is_empty());
    assert_eq!((timers.len(), timers.next_deadline()), (1, None));
    assert_eq!((timers.remove(last), timers.remove(never)), (None, Some('n')));
}

#[test]
fn when_time_goes_back_nothing_fires_before_its_deadline() {
    let mut timers = at_now();
    timers.insert(NOW - 50, 'b');
    timers.insert(NOW - 100, 'a');
    timers.insert(NOW + 1, 'd');
    timers.insert(NOW, 'c');
    assert!(fired(&mut timers, NOW - 101).is_empty());
    assert_eq!(fired(&mut timers, NOW - 70), ['a']);
    assert_eq!(timers.next_deadline(), Some(NOW - 50));
    assert!(fired(&mut timers, 0).is_empty());
    assert_eq!(fired(&mut timers, NOW + 1), ['b', 'c', 'd']);
}

// When to wake.

#[test]
fn a_timer_that_is_alone_is_never_moved() {
    let mut timers = at_now();
    let deadline = NOW + 30_000_000_000;
    timers.insert(deadline, 'a');
    for now in (NOW..deadline).step_by(99_999_999) {
        assert!(fired(&mut timers, now).is_empty());
    }
    assert_eq!(timers.wheel.elapsed, NOW, "it is still where it was put");
    assert_eq!(fired(&mut timers, deadline), ['a']);
}

#[test]
fn what_stays_moves_down_as_its_time_comes_near() {
    let mut timers = at_now();
    // Ones at the end: whatever is a power of two earlier differs in one digit only.
    let deadline = (1 << 51) - 1;
    timers.insert(deadline, 0);
    let nearer = [1 << 45, 1 << 30, 1 << 10, 1];
    let keys = nearer.map(|before| timers.insert(deadline - before, before));
    let mut level = LEVELS;
    for (key, before) in keys.into_iter().zip(nearer) {
        let now = timers.deadline(key).unwrap();
        assert_eq!(fired(&mut timers, now), [before]);
        let lower = level_of(timers.wheel.place(deadline));
        assert!(lower < level, "still on level {lower} at {before} before its time");
        level = lower;
    }
    assert_eq!(level, 0);
}

#[test]
fn after_a_removal_the_next_deadline_is_a_lower_bound_that_waiting_improves() {
    let mut timers = at_now();
    let (early, late) = (NOW + (1 << 30) + 5, NOW + (1 << 30) + 500_000);
    let first = timers.insert(early, 'a');
    timers.insert(late, 'b');
    timers.remove(first);
    assert_eq!(timers.next_deadline(), Some(early));
    assert!(fired(&mut timers, early).is_empty());
    assert_eq!(timers.next_deadline(), Some(late));
}

#[test]
fn a_slot_that_becomes_empty_forgets_its_lower_bound() {
    let mut timers = at_now();
    let first = timers.insert(NOW + 1_000_000, 'a');
    timers.insert(NOW + 1_000_000_000, 'b');
    timers.remove(first);
    assert_eq!(timers.next_deadline(), Some(NOW + 1_000_000_000));
}

// Keys.

#[test]
fn a_timer_that_was_removed_does_not_fire() {
    let mut timers = at_now();
    let keys: Vec<Key> = (0..5).map(|number| timers.insert(NOW + 1, number)).collect();
    for number in [2, 0, 4] {
        assert_eq!(timers.remove(keys[number]), Some(number));
        timers.check().unwrap();
        assert_eq!(timers.remove(keys[number]), None);
    }
    assert_eq!(timers.len(), 2);
    assert_eq!(fired(&mut timers, NOW + 1), [1, 3]);
}

#[test]
fn a_stale_key_does_not_find_the_next_tenant() {
    let mut timers = at_now();
    let removed = timers.insert(NOW + 1, 'a');
    timers.remove(removed);
    let expired = timers.insert(NOW, 'b');
    fired(&mut timers, NOW);
    let tenant = timers.insert(NOW + 2, 'c');
    assert_eq!((removed.index, expired.index), (tenant.index, tenant.index));
    for stale in [removed, expired] {
        assert_eq!(timers.remove(stale), None);
        assert_eq!(timers.get_mut(stale), None);
        assert_eq!(timers.deadline(stale), None);
    }
    assert_eq!(timers.deadline(tenant), Some(NOW + 2));
}

#[test]
fn a_place_that_has_used_up_its_generations_is_retired() {
    let mut timers = at_now();
    let first = timers.insert(NOW + 1, 'a');
    let last = timers.slab.wear_out(first);
    assert_eq!(timers.remove(first), None);
    assert_eq!(timers.remove(last), Some('a'));
    timers.check().unwrap();
    let next = timers.insert(NOW + 1, 'b');
    assert_ne!(next.index, last.index);
    assert_eq!(timers.remove(last), None);
    assert_eq!(timers.get_mut(last), None);
    assert_eq!(timers.deadline(last), None);
    assert_eq!(fired(&mut timers, NOW + 1), ['b']);
}

#[test]
fn a_key_from_elsewhere_that_fits_no_place_finds_nothing() {
    let mut other = Timers::new();
    let keys = [other.insert(1, ()), other.insert(1, ())];
    let mut timers = Timers::new();
    timers.insert(1, ());
    assert_eq!(timers.remove(keys[1]), None);
    assert_eq!(timers.len(), 1);
}

#[test]
fn a_payload_can_be_replaced_in_place() {
    let mut timers = at_now();
    let key = timers.insert(NOW + 1, 'a');
    assert_eq!(timers.get_mut(key).map(|payload| std::mem::replace(payload, 'b')), Some('a'));
    assert_eq!(fired(&mut timers, NOW + 1), ['b']);
    assert_eq!(timers.get_mut(key), None);
}

// Timers that start later.

#[test]
fn a_timer_that_was_not_started_is_none_that_fires_and_starts_with_the_others() {
    let mut timers = at_now();
    timers.insert(NOW + 15, 'a');
    let [b, c, d] = [10, 20, 10].map(|after| timers.insert_unstarted(after, 'b'));
    *timers.get_mut(c).unwrap() = 'c';
    *timers.get_mut(d).unwrap() = 'd';
    assert_eq!((timers.len(), timers.has_unstarted()), (4, true));
    assert_eq!((timers.next_deadline(), timers.deadline(b)), (Some(NOW + 15), Some(10)));
    assert_eq!(fired(&mut timers, NOW + 2), []);
    timers.check().unwrap();
    timers.start(NOW + 5);
    timers.check().unwrap();
    assert_eq!((timers.has_unstarted(), timers.deadline(b)), (false, Some(NOW + 15)));
    timers.start(NOW + 6);
    assert_eq!(fired(&mut timers, NOW + 15), ['a', 'b', 'd'], "equal ones as they were started");
    assert_eq!(fired(&mut timers, NOW + 25), ['c']);
}

#[test]
fn a_timer_that_was_not_started_can_be_removed_and_drained() {
    let mut timers = at_now();
    let keys = [1, 2, NEVER].map(|after| timers.insert_unstarted(after, after));
    assert_eq!(timers.remove(keys[1]), Some(2));
    timers.check().unwrap();
    assert_eq!((timers.remove(keys[0]), timers.remove(keys[2])), (Some(1), Some(NEVER)));
    assert!(!timers.has_unstarted());
    timers.check().unwrap();
    let key = timers.insert_unstarted(NEVER, 7);
    timers.start(NOW);
    assert_eq!((timers.next_deadline(), timers.remove(key)), (None, Some(7)));
    timers.insert_unstarted(3, 3);
    let mut payloads = Vec::new();
    timers.drain(&mut payloads);
    assert_eq!((payloads, timers.has_unstarted()), (vec![3], false));
    timers.check().unwrap();
}

// Memory, and giving everything back.

#[test]
fn keys_and_timers_are_small() {
    assert_eq!(size_of::<Option<Key>>(), 8);
    assert_eq!(slab::place_size::<std::task::Waker>() + size_of::<wheel::Link>(), 40);
    assert!(slab::place_size::<[u64; 2]>() + size_of::<wheel::Link>() <= 48);
}

#[test]
fn places_are_used_again() {
    let (mut timers, mut due) = (at_now(), Vec::new());
    for round in 0..1_000 {
        let keys = [1, 2, 3].map(|delay| timers.insert(NOW + round + delay, ()));
        timers.remove(keys[1]);
        timers.expire(NOW + round + 3, &mut due);
    }
    assert_eq!((due.len(), timers.slab.places()), (2_000, 3));
}

#[test]
fn draining_gives_every_payload_and_makes_all_keys_stale() {
    let mut timers = at_now();
    let deadlines = [0, NOW, NOW + 1, NOW + (1 << 40), NEVER];
    let keys = deadlines.map(|deadline| timers.insert(deadline, deadline));
    let mut payloads = Vec::new();
    timers.drain(&mut payloads);
    timers.check().unwrap();
    payloads.sort_unstable();
    assert_eq!(payloads, deadlines);
    assert_eq!((timers.len(), timers.next_deadline()), (0, None));

    timers.insert(NOW + 7, 7);
    assert!(keys.iter().all(|key| timers.remove(*key).is_none()));
    assert_eq!(fired(&mut timers, NEVER), [7]);
}

#[test]
fn a_payload_whose_drop_panics_leaves_the_queue_empty_and_sound() {
    struct Bomb(Rc<Cell<u32>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            assert_ne!(self.0.get(), 2, "boom");
        }
    }
    let (mut timers, dropped) = (Timers::new(), Rc::default());
    let keys = [1, 2, 3].map(|deadline| timers.insert(deadline, Bomb(Rc::clone(&dropped))));
    assert!(catch_unwind(AssertUnwindSafe(|| timers.clear())).is_err());
    assert_eq!((dropped.get(), timers.len()), (3, 0));
    timers.check().unwrap();
    assert!(keys.iter().all(|key| timers.deadline(*key).is_none()));
}

#[test]
fn a_queue_goes_where_its_payloads_may_go() {
    fn goes<T: Send + Sync>(_: T) {}
    goes(Timers::<std::task::Waker>::default());
    assert_eq!(format!("{:?}", Timers::<u8>::new()), "Timers { len: 0, next_deadline: None, .. }");
}
