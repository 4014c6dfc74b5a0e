//! The reactor from within: tokens, events as the kernel might report them, and wakers.

use super::current::Entered;
use super::*;
use crate::event::{EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, Event};
use crate::sys::fault::{Call, Fault, PassThrough};
use crate::sys::is_exhaustion;
use crate::timer;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

mod kept;
mod timers;

/// The token of a reactor's first source, and that of the next in the same slot.
const FIRST: u64 = 0;
const SECOND: u64 = 1 << 32;

/// A waker that counts its wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        (Arc::clone(&wakes), wakes.into())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// No waker here is that of a task.
fn nobody(_: &Waker) -> bool {
    false
}

fn reactor() -> (Arc<PassThrough>, Rc<Reactor>, Entered) {
    let kernel = PassThrough::new();
    let reactor = Reactor::new(kernel.handle()).unwrap();
    let entered = reactor.enter();
    (kernel, reactor, entered)
}

/// One end of a stream as the reactor has it, and the other.
fn watched_pair() -> (Watched, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Watched::adopt(ours.into()).unwrap(), theirs)
}

fn poll_read(watched: &Watched, waker: &Waker) -> Poll<io::Result<usize>> {
    watched.poll_call(&Context::from_waker(waker), Direction::Read, |descriptor| {
        descriptor.recv(&mut [0; 100]).map(|count| (count, After::MayBeMore))
    })
}

/// Writes until there is no room any more.
fn poll_fill(watched: &Watched, waker: &Waker) -> Poll<io::Result<()>> {
    loop {
        crate::budget::renew();
        let polled =
            watched.poll_call(&Context::from_waker(waker), Direction::Write, |descriptor| {
                descriptor.send(&[7; 4096]).map(|count| (count, After::MayBeMore))
            });
        match polled {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

fn poll_ready(watched: &Watched, direction: Direction, waker: &Waker) -> bool {
    let cx = Context::from_waker(waker);
    watched.poll_readiness(&cx, direction, direction.readiness()).map(Result::unwrap).is_ready()
}

/// Has the next look report `events`, and nothing else.
fn look_at(kernel: &PassThrough, reactor: &Reactor, events: &[Event]) {
    look_with(kernel, reactor, events, nobody);
}

fn look_with(kernel: &PassThrough, reactor: &Reactor, events: &[Event], wake_own: impl WakeOwn) {
    let mut events = Some(events.to_vec());
    kernel.set_rule(move |call, _| {
        let events = if call == Call::EpollWait { events.take()? } else { return None };
        Some(Fault::Rewrite(Box::new(move |reported| *reported = events)))
    });
    reactor.look(Wait::No, wake_own).unwrap();
}

#[test]
fn an_event_for_a_source_whose_slot_was_used_again_is_dropped() {
    let (kernel, reactor, _entered) = reactor();
    let (old, _old_peer) = watched_pair();
    assert!(poll_read(&old, Waker::noop()).is_pending());
    drop(old);
    let (new, _new_peer) = watched_pair();
    let (wakes, waker) = Wakes::new();
    assert!(poll_read(&new, &waker).is_pending());

    look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN | EPOLLOUT | EPOLLHUP)]);
    assert_eq!(wakes.count(), 0, "the event was the closed source's");
    assert!(!poll_ready(&new, Direction::Read, &waker));
    look_at(&kernel, &reactor, &[Event::new(SECOND, EPOLLIN)]);
    assert_eq!(wakes.count(), 1);
}

#[test]
fn an_event_for_no_source_at_all_is_dropped() {
    let (kernel, reactor, _entered) = reactor();
    let tokens = [FIRST, 7, u64::MAX, NOTIFIER, NOTIFIER | 1];
    look_at(&kernel, &reactor, &tokens.map(|token| Event::new(token, u32::MAX)));
    assert_eq!(reactor.source_count(), 0);
}

#[test]
fn each_event_wakes_those_whom_its_bits_concern_even_if_it_comes_alone() {
    let table = [
        (EPOLLIN, true, false),
        (EPOLLPRI, true, false),
        (EPOLLRDHUP, true, false),
        (EPOLLOUT, false, true),
        (EPOLLERR, true, true),
        (EPOLLHUP, true, true),
        (1 << 20, false, false),
    ];
    for (bits, reader, writer) in table {
        let (kernel, reactor, _entered) = reactor();
        let (watched, _peer) = watched_pair();
        let ((read, read_waker), (written, write_waker)) = (Wakes::new(), Wakes::new());
        assert!(poll_read(&watched, &read_waker).is_pending());
        assert!(poll_fill(&watched, &write_waker).is_pending());
        look_at(&kernel, &reactor, &[Event::new(FIRST, bits)]);
        let woken = (read.count() == 1, written.count() == 1);
        assert_eq!(woken, (reader, writer), "bits {bits:#x}");
    }
}

#[test]
fn a_reader_that_was_woken_for_nothing_waits_on() {
    let (kernel, reactor, _entered) = reactor();
    let (watched, mut peer) = watched_pair();
    let (wakes, waker) = Wakes::new();
    assert!(poll_read(&watched, &waker).is_pending());
    look_at(&kernel, &reactor, &[Event::new(FIRST, EPOLLIN)]);
    assert_eq!(wakes.count(), 1);
    assert!(poll_ready(&watched, Direction::Read, &waker));
    assert!(poll_read(&watched, &waker).is_pending());
    assert!(!poll_ready(&watched, Direction::Read, &waker), "the call said otherwise");

    peer.write_all(b"now").unwrap();
    reactor.look(Wait::UntilEvent, nobody).unwrap();
    assert_eq!(wakes.count(), 2);
    assert!(matches!(poll_read(&watched, &waker), Poll::Ready(Ok(3))));
}

#[test]
fn more_events_than_a_look_brings_come_with_the_next() {
    // The limit may be as low as 1,024 before this.
    crate::sys::raise_descriptor_limit().unwrap();
    let reactor = Reactor::new(KernelHandle::linux()).unwrap();
    let _entered = reactor.enter();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let (wakes, waker) = Wakes::new();
    // Every duplicate is registered on its own, and all become ready at once.
    let duplicate = || Watched::adopt(OwnedFd::from(ours.try_clone().unwrap())).unwrap();
    let sources: Vec<Watched> = (0..EVENTS_MAX + 50).map(|_| duplicate()).collect();
    for source in &sources {
        assert!(!poll_ready(source, Direction::Read, &waker));
    }
    theirs.write_all(b"to all").unwrap();
    reactor.look(Wait::UntilEvent, nobody).unwrap();
    assert_eq!(wakes.count(), EVENTS_MAX);
    reactor.look(Wait::UntilEvent, nobody).unwrap();
    assert_eq!(wakes.count(), EVENTS_MAX + 50);
}

#[test]
fn a_registration_that_fails_leaves_nothing_behind_and_can_be_tried_again() {
    const ENOMEM: i32 = 12;
    const ENOSPC: i32 = 28;
    for number in [ENOMEM, ENOSPC] {
        let (kernel, reactor, _entered) = reactor();
        let (watched, _peer) = watched_pair();
        let (wakes, waker) = Wakes::new();
        kernel.set_rule(move |call, _| (call == Call::EpollAdd).then_some(Fault::Error(number)));
        let Poll::Ready(Err(error)) = poll_read(&watched, &waker) else { panic!("it waits") };
        assert!(is_exhaustion(&error) && error.raw_os_error() == Some(number));
        assert_eq!((reactor.source_count(), Arc::strong_count(&wakes)), (0, 2));

        kernel.set_rule(|_, _| None);
        assert!(poll_read(&watched, &waker).is_pending());
        assert_eq!((reactor.source_count(), Arc::strong_count(&wakes)), (1, 3));
        drop(watched);
        assert_eq!((reactor.source_count(), Arc::strong_count(&wakes)), (0, 2));
    }
}

#[test]
fn a_change_of_a_registration_that_fails_leaves_it_as_it_was() {
    let (kernel, reactor, _entered) = reactor();
    let (watched, mut peer) = watched_pair();
    let (read, waker) = Wakes::new();
    assert!(poll_read(&watched, &waker).is_pending());
    kernel.set_rule(|call, _| (call == Call::EpollModify).then_some(Fault::Error(12)));
    assert!(matches!(poll_fill(&watched, Waker::noop()), Poll::Ready(Err(_))));
    assert!(matches!(poll_fill(&watched, Waker::noop()), Poll::Ready(Err(_))), "asked again");

    kernel.set_rule(|_, _| None);
    assert!(poll_fill(&watched, Waker::noop()).is_pending());
    peer.write_all(b"!").unwrap();
    reactor.look(Wait::UntilEvent, nobody).unwrap();
    assert_eq!(read.count(), 1, "the reader waits as before");
}

#[test]
fn a_direction_is_watched_only_once_a_call_in_it_would_block() {
    let (kernel, _reactor, _entered) = reactor();
    let (watched, _peer) = watched_pair();
    assert!(poll_read(&watched, Waker::noop()).is_pending());
    let cx = Context::from_waker(Waker::noop());
    let wrote = watched.poll_call(&cx, Direction::Write, |descriptor| {
        descriptor.send(b"small").map(|count| (count, After::MayBeMore))
    });
    assert!(matches!(wrote, Poll::Ready(Ok(5))));
    assert_eq!(kernel.count(Call::EpollModify), 0);
    assert!(!poll_ready(&watched, Direction::Write, Waker::noop()), "unknown until it is watched");
    assert_eq!(kernel.count(Call::EpollModify), 1);
}

#[test]
fn what_is_known_of_the_other_direction_outlives_a_change_of_the_registration() {
    let (kernel, reactor, _entered) = reactor();
    let (watched, mut peer) = watched_pair();
    assert!(poll_read(&watched, Waker::noop()).is_pending());
    peer.write_all(b"!").unwrap();
    reactor.look(Wait::No, nobody).unwrap();
    assert!(poll_ready(&watched, Direction::Read, Waker::noop()));
    assert!(!poll_ready(&watched, Direction::Write, Waker::noop()));
    assert!(poll_ready(&watched, Direction::Read, Waker::noop()));
    reactor.look(Wait::No, nobody).unwrap();
    assert!(poll_ready(&watched, Direction::Write, Waker::noop()));
    assert_eq!(kernel.count(Call::EpollModify), 1);
}

#[test]
fn outside_of_a_turn_a_call_that_can_be_made_is_made_and_waiting_is_an_error() {
    let (watched, mut peer) = watched_pair();
    let Poll::Ready(Err(error)) = poll_read(&watched, Waker::noop()) else { panic!("it waits") };
    assert!(error.to_string().contains("runtime's turn"), "{error}");
    // Far more often than one poll's allowance, which nobody renews here.
    peer.write_all(&[1; 50_000]).unwrap();
    let polled = (0..500).map(|_| poll_read(&watched, Waker::noop()));
    assert!(polled.into_iter().all(|polled| polled.is_ready()), "a wait without end");
    crate::budget::renew();
}

#[test]
fn the_keys_of_sources_that_outlive_their_reactor_name_no_other() {
    let (_kernel, reactor, _entered) = reactor();
    let (old, _old_peer) = watched_pair();
    assert!(poll_read(&old, Waker::noop()).is_pending());
    reactor.close();
    let (new, _new_peer) = watched_pair();
    assert!(poll_read(&new, Waker::noop()).is_pending());
    drop(old);
    assert_eq!(reactor.source_count(), 1, "the old source was gone already");
}

/// A waker that registers a descriptor when it is dropped, and waits for it.
struct Registers {
    waits: Waker,
    place: Rc<RefCell<Option<(Watched, UnixStream)>>>,
}

thread_local! {
    /// What the waker of that name is to do.
    static REGISTERS: RefCell<Option<Registers>> = const { RefCell::new(None) };
}

struct RegistersWhenDropped;

impl Wake for RegistersWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for RegistersWhenDropped {
    fn drop(&mut self) {
        let Some(Registers { waits, place }) = REGISTERS.take() else { return };
        let (watched, peer) = watched_pair();
        assert!(poll_read(&watched, &waits).is_pending());
        place.replace(Some((watched, peer)));
    }
}

#[test]
fn a_socket_that_is_registered_while_another_is_deregistered_keeps_its_waker() {
    let (_kernel, reactor, _entered) = reactor();
    let (watched, _peer) = watched_pair();
    let waker = Waker::from(Arc::new(RegistersWhenDropped));
    assert!(poll_read(&watched, &waker).is_pending());
    drop(waker);
    let (wakes, waits) = Wakes::new();
    let place = Rc::new(RefCell::new(None));
    REGISTERS.set(Some(Registers { waits, place: Rc::clone(&place) }));
    drop(watched);
    let (other, mut peer) = place.take().unwrap();
    peer.write_all(b"!").unwrap();
    reactor.look(Wait::UntilEvent, nobody).unwrap();
    assert_eq!((wakes.count(), reactor.source_count()), (1, 1));
    drop(other);
}

thread_local! {
    /// The source whose waiters a `Reentrant` meddles with.
    static SAME: RefCell<Option<Rc<Watched>>> = const { RefCell::new(None) };
}

/// Sets and cancels timers, waits for a socket, and takes waiters out of the very source that it
/// may wait for, whenever it is woken or dropped.
struct Reentrant {
    entered: Arc<AtomicUsize>,
}

impl Reentrant {
    fn waker(entered: &Arc<AtomicUsize>) -> Waker {
        Arc::new(Reentrant { entered: Arc::clone(entered) }).into()
    }

    fn enter(&self) {
        let reactor = Reactor::current().unwrap();
        let key = reactor.timers().insert(timer::NEVER, Waker::noop().clone());
        Rc::clone(reactor.timers()).remove(Slack::Shared, key);
        let (other, _peer) = watched_pair();
        assert!(poll_read(&other, Waker::noop()).is_pending());
        let same = SAME.with(|same| same.borrow().clone());
        if let Some(same) = same {
            same.leave(Direction::Read, u64::MAX);
            same.forget_waiter(Direction::Write);
        }
        self.entered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {
        self.enter();
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        self.enter();
    }
}

#[test]
fn a_waker_may_re_enter_the_reactor_wherever_it_is_woken_or_dropped() {
    let (_kernel, reactor, _entered) = reactor();
    let entered = Arc::new(AtomicUsize::new(0));
    let entries = || entered.swap(0, Ordering::Relaxed);
    let waker = || Reentrant::waker(&entered);

    let key = reactor.timers().insert(timer::NEVER, waker());
    assert!(reactor.timers().renew(Slack::Shared, key, Waker::noop()));
    assert_eq!(entries(), 1, "renewed");
    let key = reactor.timers().insert(timer::NEVER, waker());
    Rc::clone(reactor.timers()).remove(Slack::Shared, key);
    assert_eq!(entries(), 1, "cancelled");
    reactor.timers().insert(0, waker());
    reactor.look(Wait::No, nobody).unwrap();
    assert_eq!(entries(), 2, "fired: woken and dropped");

    let (watched, mut peer) = watched_pair();
    let watched = Rc::new(watched);
    SAME.set(Some(Rc::clone(&watched)));
    assert!(poll_read(&watched, &waker()).is_pending());
    assert!(poll_read(&watched, Waker::noop()).is_pending());
    assert_eq!(entries(), 1, "replaced by another reader");
    assert!(poll_read(&watched, &waker()).is_pending());
    watched.forget_waiter(Direction::Read);
    assert_eq!(entries(), 1, "forgotten");
    let mut number = None;
    let poll_shared = |number: &mut Option<u64>| {
        let waker = waker();
        let cx = Context::from_waker(&waker);
        watched.poll_shared_call(&cx, Direction::Read, number, |descriptor| {
            descriptor
                .recv(&mut [])
                .and_then(|_| Err::<((), _), _>(io::ErrorKind::WouldBlock.into()))
        })
    };
    assert!(poll_shared(&mut number).is_pending());
    assert!(poll_shared(&mut number).is_pending());
    assert_eq!(entries(), 1, "replaced in the list");
    watched.leave(Direction::Read, number.unwrap());
    assert_eq!(entries(), 1, "taken out of the list");
    assert!(poll_read(&watched, &waker()).is_pending());
    peer.write_all(b"!").unwrap();
    reactor.look(Wait::UntilEvent, nobody).unwrap();
    assert_eq!(entries(), 1, "woken by an event, and kept");
    assert!(matches!(poll_read(&watched, Waker::noop()), Poll::Ready(Ok(1))));
    assert!(poll_read(&watched, &waker()).is_pending());
    assert_eq!(entries(), 1, "replaced by the next to wait");
    reactor.timers().insert(timer::NEVER, waker());
    reactor.close();
    assert_eq!(entries(), 2, "both dropped as the reactor closes");
    SAME.set(None);
}

#[test]
fn only_a_stream_without_an_end_or_a_mark_in_sight_is_emptied_by_a_short_read() {
    // Whether those who wait are woken in the way that is for tasks of one's own makes no odds.
    for (case, woken_as_own) in (0..10).map(|case| (case / 2, case % 2 == 0)) {
        let (bits, emptied) = [
            (EPOLLIN, true),
            (EPOLLIN | EPOLLPRI, false),
            (EPOLLIN | EPOLLRDHUP, false),
            (EPOLLIN | EPOLLHUP, false),
            (EPOLLIN | EPOLLERR, false),
        ][case];
        let (kernel, reactor, _entered) = reactor();
        let (watched, mut peer) = watched_pair();
        assert!(poll_read(&watched, Waker::noop()).is_pending());
        peer.write_all(b"ab").unwrap();
        look_with(&kernel, &reactor, &[Event::new(FIRST, bits)], |_: &Waker| woken_as_own);
        let cx = Context::from_waker(Waker::noop());
        let read = watched.poll_call(&cx, Direction::Read, |descriptor| {
            descriptor.recv(&mut [0; 100]).map(|count| (count, After::Short))
        });
        assert!(matches!(read, Poll::Ready(Ok(2))));
        let calls = kernel.count(Call::Recv);
        assert!(poll_read(&watched, Waker::noop()).is_pending());
        let asked_again = kernel.count(Call::Recv) > calls;
        assert_eq!(asked_again, !emptied, "bits {bits:#x}");
    }
}
