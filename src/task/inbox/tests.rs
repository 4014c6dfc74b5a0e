//! Every order in which a runtime goes to wait and others have something for it.
//!
//! The runtime's thread goes round as `block_on` does; two threads push a task each, and one wakes
//! the main future, which is no task. It may wait for ever only when nothing is left.

use super::Parking;
use std::collections::HashSet;

struct Transitions {
    notify: fn(Parking) -> (Parking, bool),
    take: fn(Parking) -> (Parking, ()),
    park: fn(Parking) -> (Parking, bool),
    unpark: fn(Parking) -> (Parking, ()),
    /// The state is reset before the list is taken, not after.
    resets_first: bool,
}

const REAL: Transitions = Transitions {
    notify: Parking::notify,
    take: Parking::take,
    park: Parking::park,
    unpark: Parking::unpark,
    resets_first: true,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Home {
    PollsMain,
    LooksForNotice,
    Resets,
    TakesList,
    ResetsLate,
    Runs,
    LooksForMain,
    Parks,
    Waits,
    Unparks,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Other {
    Pushes,
    Notifies,
    Unparks,
    Gone,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    state: Parking,
    home: Home,
    /// The last is the one that wakes the main future.
    others: [Other; 3],
    list: u8,
    queue: u8,
    main_woken: bool,
    /// The eventfd.
    raised: bool,
    /// An event, or a time, that ends a wait without anybody's help, may come so many times.
    events_left: u8,
}

impl World {
    fn home_step(&mut self, with: &Transitions) {
        self.home = match self.home {
            Home::PollsMain => {
                self.main_woken = false;
                Home::LooksForNotice
            }
            Home::LooksForNotice if self.state != Parking::Notified => Home::Runs,
            Home::LooksForNotice if with.resets_first => Home::Resets,
            Home::LooksForNotice => Home::TakesList,
            Home::Resets => {
                self.state = (with.take)(self.state).0;
                Home::TakesList
            }
            Home::TakesList => {
                self.queue += std::mem::take(&mut self.list);
                if with.resets_first { Home::Runs } else { Home::ResetsLate }
            }
            Home::ResetsLate => {
                self.state = (with.take)(self.state).0;
                Home::Runs
            }
            Home::Runs => {
                self.queue = 0;
                Home::LooksForMain
            }
            Home::LooksForMain if self.main_woken || self.state == Parking::Notified => {
                Home::PollsMain
            }
            Home::LooksForMain => Home::Parks,
            Home::Parks => {
                let (next, parked) = (with.park)(self.state);
                self.state = next;
                if parked { Home::Waits } else { Home::PollsMain }
            }
            Home::Waits => {
                self.raised = false;
                Home::Unparks
            }
            Home::Unparks => {
                self.state = (with.unpark)(self.state).0;
                Home::PollsMain
            }
        };
    }

    fn other_step(&mut self, which: usize, with: &Transitions) {
        self.others[which] = match self.others[which] {
            Other::Pushes if which < 2 => {
                self.list += 1;
                Other::Notifies
            }
            Other::Pushes => {
                self.main_woken = true;
                Other::Notifies
            }
            Other::Notifies => {
                let (next, unpark) = (with.notify)(self.state);
                self.state = next;
                if unpark { Other::Unparks } else { Other::Gone }
            }
            Other::Unparks => {
                self.raised = true;
                Other::Gone
            }
            Other::Gone => Other::Gone,
        };
    }

    fn next(&self, with: &Transitions) -> Vec<World> {
        let mut next = Vec::new();
        let mut add = |step: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            step(&mut world);
            next.push(world);
        };
        if self.home != Home::Waits || self.raised {
            add(&|world| world.home_step(with));
        } else if self.events_left > 0 {
            add(&|world| {
                world.events_left -= 1;
                world.home_step(with);
            });
        }
        for which in 0..self.others.len() {
            if self.others[which] != Other::Gone {
                add(&|world| world.other_step(which, with));
            }
        }
        next
    }

    /// Whether it waits, with nothing on the way to wake it, though there is something to do.
    fn is_lost(&self) -> bool {
        let waits = self.home == Home::Waits && !self.raised;
        let alone = self.others.iter().all(|other| *other == Other::Gone);
        waits && alone && (self.list > 0 || self.queue > 0 || self.main_woken)
    }
}

/// How many worlds there are, or one that is lost.
fn walk(with: &Transitions) -> Result<usize, World> {
    let start = World {
        state: Parking::Awake,
        home: Home::PollsMain,
        others: [Other::Pushes; 3],
        list: 0,
        queue: 0,
        main_woken: true,
        raised: false,
        events_left: 1,
    };
    let mut seen = HashSet::from([start.clone()]);
    let mut rest = vec![start];
    while let Some(world) = rest.pop() {
        if world.is_lost() {
            return Err(world);
        }
        for next in world.next(with) {
            if seen.insert(next.clone()) {
                rest.push(next);
            }
        }
    }
    // It comes to rest: there are worlds where all is done and it waits.
    let rests = |world: &World| world.next(with).is_empty();
    assert!(seen.iter().any(rests), "a runtime with nothing to do waits");
    Ok(seen.len())
}

#[test]
fn no_order_of_steps_leaves_a_runtime_waiting_with_work_to_do() {
    let worlds = walk(&REAL).unwrap();
    assert!(worlds > 500, "the walk has become short: {worlds}");
}

#[test]
fn the_walk_finds_a_notice_that_does_not_unpark() {
    walk(&Transitions { notify: |_| (Parking::Notified, false), ..REAL }).unwrap_err();
}

#[test]
fn the_walk_finds_a_park_that_overlooks_a_notice() {
    walk(&Transitions { park: |_| (Parking::Parked, true), ..REAL }).unwrap_err();
}

#[test]
fn the_walk_finds_an_unpark_that_loses_a_notice() {
    walk(&Transitions { unpark: |_| (Parking::Awake, ()), ..REAL }).unwrap_err();
}

#[test]
fn the_walk_finds_a_list_that_is_taken_before_the_state_is_reset() {
    walk(&Transitions { resets_first: false, ..REAL }).unwrap_err();
}

#[test]
fn the_walk_finds_a_notice_that_is_left_out_while_awake() {
    let lazy = |now: Parking| match now {
        Parking::Parked => (Parking::Notified, true),
        other => (other, false),
    };
    walk(&Transitions { notify: lazy, ..REAL }).unwrap_err();
}

#[test]
fn an_inbox_parks_and_unparks_as_the_transitions_do() {
    for state in [Parking::Awake, Parking::Notified, Parking::Parked] {
        let inbox = super::Inbox::new(Box::new(|| ()));
        let now = || Parking::from_bits(inbox.state.load(std::sync::atomic::Ordering::SeqCst));
        let set = || inbox.state.store(state as u8, std::sync::atomic::Ordering::SeqCst);
        set();
        let parked = inbox.park();
        assert_eq!((now(), parked), state.park());
        set();
        inbox.unpark();
        assert_eq!((now(), ()), state.unpark());
    }
}
