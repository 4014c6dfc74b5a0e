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
