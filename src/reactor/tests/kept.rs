//! Wakers that stay in their place, and those that come back to it while they are woken.

use super::*;

/// A waker that does once, when it is woken, what its thread has for it.
struct Does;

thread_local! {
    static WHAT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

impl Does {
    fn waker(what: impl FnOnce() + 'static) -> (Arc<Does>, Waker) {
        WHAT.set(Some(Box::new(what)));
        let does = Arc::new(Does);
        (Arc::clone(&does), does.into())
    }
}

impl Wake for Does {
    fn wake(self: Arc<Self>) {
        if let Some(what) = WHAT.take() {
            what();
        }
    }
}

#[test]
fn who_waits_again_finds_its_waker_where_it_was_and_is_woken_once_for_each_wait() {
    let (kernel, reactor, _entered) = reactor();
    let (watched, _peer) = watched_pair();
    let (wakes, waker) = Wakes::new();
    for round in 1..4 {
        assert!(poll_read(&watched, &waker).is_pending());
        assert_eq!(Arc::strong_count(&wakes), 3, "here, in `waker` and with the source");
        for _ in 0..2 {
            look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
            assert_eq!(wakes.count(), round, "nobody waits any more after the first");
        }
    }
    watched.forget_waiter(Direction::Read);
    assert_eq!(Arc::strong_count(&wakes), 2, "taken out by who gives up");
    assert!(poll_read(&watched, &waker).is_pending());
    drop(watched);
    assert_eq!(Arc::strong_count(&wakes), 2, "gone with the descriptor");
}

#[test]
fn who_comes_to_wait_while_another_is_woken_is_not_overlooked() {
    let (kernel, reactor, _entered) = reactor();
    let (watched, _peer) = watched_pair();
    let watched = Rc::new(watched);
    let (wakes, waker) = Wakes::new();
    let same = Rc::clone(&watched);
    let (_, comes) = Does::waker(move || assert!(poll_read(&same, &waker).is_pending()));
    assert!(poll_read(&watched, &comes).is_pending());
    look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
    assert_eq!(wakes.count(), 0);
    look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
    assert_eq!(wakes.count(), 1);
}

#[test]
fn a_source_whose_waker_closes_it_is_let_go_with_the_waker() {
    let (kernel, reactor, _entered) = reactor();
    let (watched, _peer) = watched_pair();
    let watched = Rc::new(RefCell::new(Some(watched)));
    let closed = Rc::clone(&watched);
    let (does, waker) = Does::waker(move || drop(closed.take()));
    let pending = poll_read(watched.borrow().as_ref().unwrap(), &waker).is_pending();
    assert!(pending);
    drop(waker);
    look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
    assert_eq!(reactor.source_count(), 0);
    assert_eq!(Arc::strong_count(&does), 1, "the waker is not kept for the next socket");
}

/// Waits to read as one of several.
fn wait_shared(watched: &Watched, number: &mut Option<u64>, waker: &Waker) {
    let cx = Context::from_waker(waker);
    let polled = watched.poll_shared_call(&cx, Direction::Read, number, |_| {
        Err::<((), After), _>(io::ErrorKind::WouldBlock.into())
    });
    assert!(polled.is_pending());
}

#[test]
fn of_those_who_share_a_direction_all_are_woken_but_who_left() {
    // Each in turn leaves before the event.
    for leaver in 0..3 {
        let (kernel, reactor, _entered) = reactor();
        let (watched, _peer) = watched_pair();
        let all: Vec<_> = (0..3).map(|_| Wakes::new()).collect();
        let mut numbers = [None; 3];
        for _ in 0..2 {
            for ((_, waker), number) in all.iter().zip(&mut numbers) {
                wait_shared(&watched, number, waker);
            }
        }
        watched.leave(Direction::Read, numbers[leaver].unwrap());
        assert_eq!(Arc::strong_count(&all[leaver].0), 2, "its waker is taken out");
        // Where there is room now, the last takes it; it is woken once all the same.
        wait_shared(&watched, &mut numbers[(leaver + 2) % 3], &all[(leaver + 2) % 3].1);
        look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
        for (index, (wakes, _)) in all.iter().enumerate() {
            assert_eq!(wakes.count(), usize::from(index != leaver), "{index} as {leaver} left");
        }
        look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
        let count: usize = all.iter().map(|(wakes, _)| wakes.count()).sum();
        assert_eq!(count, 2, "nobody waits any more");
    }
}

#[test]
fn who_shares_a_direction_with_nobody_finds_its_waker_where_it_was_until_it_gives_up() {
    let (kernel, reactor, _entered) = reactor();
    let (watched, _peer) = watched_pair();
    let (wakes, waker) = Wakes::new();
    for round in 1..4 {
        let mut number = None;
        wait_shared(&watched, &mut number, &waker);
        assert_eq!(Arc::strong_count(&wakes), 3, "here, in `waker` and with the source");
        look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
        assert_eq!(wakes.count(), round);
        watched.release(Direction::Read, number.unwrap());
        assert_eq!(Arc::strong_count(&wakes), 3, "it stays for the next wait");
        watched.clear_readiness(Direction::Read);
    }
    let mut number = None;
    wait_shared(&watched, &mut number, &waker);
    watched.release(Direction::Read, number.unwrap());
    assert_eq!(Arc::strong_count(&wakes), 2, "not woken, it is taken out");
    let mut number = None;
    wait_shared(&watched, &mut number, &waker);
    look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
    watched.leave(Direction::Read, number.unwrap());
    assert_eq!(Arc::strong_count(&wakes), 2, "taken out by who gives up, woken or not");
}

#[test]
fn one_of_several_who_comes_to_wait_while_another_is_woken_is_not_overlooked() {
    let (kernel, reactor, _entered) = reactor();
    let (watched, _peer) = watched_pair();
    let watched = Rc::new(watched);
    let (wakes, waker) = Wakes::new();
    let same = Rc::clone(&watched);
    let (_, comes) = Does::waker(move || {
        same.clear_readiness(Direction::Read);
        wait_shared(&same, &mut None, &waker);
    });
    wait_shared(&watched, &mut None, &comes);
    look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
    assert_eq!(wakes.count(), 0);
    look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
    assert_eq!(wakes.count(), 1);
}
