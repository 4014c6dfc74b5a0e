//! Wakers and values that use what they are in while they are cloned, woken or dropped.

use super::super::local::{Mutex, Notify, Semaphore, mpsc, oneshot};
use super::{Counter, Hand};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

thread_local! {
    /// What [`Hostile`] may use. A deed takes out what it uses, so it does not meet itself.
    static SENDER: RefCell<Option<mpsc::Sender<Value>>> = const { RefCell::new(None) };
    static RECEIVER: RefCell<Option<mpsc::Receiver<Value>>> = const { RefCell::new(None) };
    static DEED: Cell<usize> = const { Cell::new(0) };
    static DEEDS_DONE: Cell<usize> = const { Cell::new(0) };
    /// Panics within a deed are contained by who wakes, so it tells whether it came to its end.
    static DEEDS_ENDED: Cell<usize> = const { Cell::new(0) };
    /// Wakers that somebody keeps.
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

const DEEDS: usize = 7;
const NOTHING: usize = DEEDS;

fn take<T>(place: &'static std::thread::LocalKey<RefCell<Option<T>>>) -> Option<T> {
    place.with(|place| place.borrow_mut().take())
}

/// All that one can do to a channel.
fn meddle() {
    let deed = DEED.get();
    DEEDS_DONE.set(DEEDS_DONE.get() + 1);
    match deed {
        0 => drop(take(&SENDER)),
        1 => drop(take(&RECEIVER)),
        2 | 3 => {
            if let Some(sender) = take(&SENDER) {
                if deed == 2 {
                    let _ = sender.try_send(Value);
                } else {
                    // Waits for room if there is none, and is given up.
                    let _ = Hand::new(sender.send(Value)).poll();
                }
                SENDER.set(Some(sender));
            }
        }
        4..=6 => {
            if let Some(mut receiver) = take(&RECEIVER) {
                let _ = receiver.try_recv();
                match deed {
                    4 => receiver.close(),
                    5 => give_up(receiver.recv()),
                    _ => {
                        let polled = receiver.poll_recv(&mut Context::from_waker(&hostile()));
                        drop(polled);
                    }
                }
                RECEIVER.set(Some(receiver));
            }
        }
        _ => {}
    }
    DEEDS_ENDED.set(DEEDS_ENDED.get() + 1);
}

/// Meddles when it is woken, and when its last reference is dropped.
struct Hostile;

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        meddle();
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
        meddle();
    }
}

/// Meddles when it is dropped.
struct Value;

impl Drop for Value {
    fn drop(&mut self) {
        meddle();
    }
}

/// Polls once, and drops what is polled.
fn give_up(future: impl Future) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

fn hostile() -> Waker {
    ALIVE.set(ALIVE.get() + 1);
    Waker::from(Arc::new(Hostile))
}

/// Starts from each state the channel can be in, does each thing to it, with each deed going on
/// meanwhile; afterwards the channel does what a channel does, or is gone.
#[test]
fn a_waker_or_a_value_may_do_anything_to_its_local_channel() {
    let (states, causes) = (5, 7);
    for deed in 0..DEEDS {
        for state in 0..states {
            for cause in 0..causes {
                DEED.set(deed);
                let (sender, mut receiver) = mpsc::channel(1);
                let other = sender.clone();
                let waker = hostile();
                let mut cx = Context::from_waker(&waker);
                let mut waiting = Box::pin(other.send(Value));
                match state {
                    0 => {}
                    1 => assert!(receiver.poll_recv(&mut cx).is_pending()),
                    2 => assert!(other.try_send(Value).is_ok()),
                    3 | 4 => {
                        assert!(other.try_send(Value).is_ok());
                        assert!(waiting.as_mut().poll(&mut cx).is_pending());
                        if state == 4 {
                            // The one that waits is granted the room.
                            DEED.set(NOTHING);
                            assert!(receiver.try_recv().is_ok());
                            DEED.set(deed);
                        }
                    }
                    _ => unreachable!(),
                }
                drop(waker);
                SENDER.set(Some(sender));
                match cause {
                    0 => {
                        RECEIVER.set(Some(receiver));
                        let _ = other.try_send(Value);
                    }
                    1 => {
                        let _ = receiver.poll_recv(&mut Context::from_waker(Waker::noop()));
                        RECEIVER.set(Some(receiver));
                    }
                    2 => {
                        receiver.close();
                        RECEIVER.set(Some(receiver));
                    }
                    3 => drop(receiver),
                    4 => {
                        RECEIVER.set(Some(receiver));
                        drop(waiting.as_mut().poll(&mut Context::from_waker(&hostile())));
                    }
                    5 => {
                        give_up(receiver.recv());
                        RECEIVER.set(Some(receiver));
                    }
                    _ => {
                        RECEIVER.set(Some(receiver));
                        drop(take(&SENDER));
                    }
                }
                drop(waiting);
                // What was left of it still works.
                DEED.set(NOTHING);
                if let Some(mut receiver) = take(&RECEIVER) {
                    while receiver.try_recv().is_ok() {}
                    assert_eq!(other.try_send(Value).is_ok(), !other.is_closed());
                    assert_eq!(receiver.try_recv().is_ok(), !other.is_closed());
                    assert!(other.is_closed() || cause != 2);
                }
                drop(take(&SENDER));
                assert!(other.is_closed() && other.try_send(Value).is_err());
                assert_eq!(DEEDS_ENDED.get(), DEEDS_DONE.get(), "{deed} {state} {cause}: a panic");
                assert_eq!(ALIVE.get(), 0, "{deed} {state} {cause}: a waker stays");
            }
        }
    }
    assert!(DEEDS_DONE.get() > DEEDS * states * causes, "the deeds are done");
}

#[test]
fn a_waker_that_comes_while_the_last_is_woken_is_the_one_that_counts() {
    thread_local! {
        static RECEIVING: RefCell<Option<mpsc::Receiver<i32>>> = const { RefCell::new(None) };
    }
    /// Has the receiver wait for the next value, for another.
    struct Other(Arc<Counter>);
    impl Wake for Other {
        fn wake(self: Arc<Self>) {
            if let Some(mut receiver) = take(&RECEIVING) {
                assert_eq!(receiver.try_recv(), Ok(1));
                let waker = Waker::from(Arc::clone(&self.0));
                assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
                RECEIVING.set(Some(receiver));
            }
        }
    }
    let counter: Arc<Counter> = Arc::default();
    let (sender, mut receiver) = mpsc::channel(1);
    let waker = Waker::from(Arc::new(Other(Arc::clone(&counter))));
    assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    RECEIVING.set(Some(receiver));
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Ok(()));
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_waker_that_panics_is_not_the_senders_concern() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("a waker panics");
        }
    }
    let bomb = Waker::from(Arc::new(Bomb));
    let mut cx = Context::from_waker(&bomb);
    let (sender, mut receiver) = mpsc::channel(1);
    assert!(receiver.poll_recv(&mut cx).is_pending());
    assert!(sender.try_send(1).is_ok());
    let mut waiting = Box::pin(sender.send(2));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(), Ok(2));
}

/// Uses all that a waker of the others may find in a thread-local, however it is woken or dropped.
#[test]
fn a_waker_may_use_the_local_lock_permit_notification_or_value_it_waits_for() {
    thread_local! {
        static SHARED: (Mutex<i32>, Semaphore, Notify) =
            const { (Mutex::new(0), Semaphore::new(1), Notify::new()) };
        static ONE: RefCell<Option<oneshot::Sender<i32>>> = const { RefCell::new(None) };
        static USES: Cell<usize> = const { Cell::new(0) };
        static ENDS: Cell<usize> = const { Cell::new(0) };
    }
    struct User;
    fn use_all() {
        USES.set(USES.get() + 1);
        SHARED.with(|(mutex, semaphore, notify)| {
            drop(mutex.try_lock());
            drop(Hand::new(mutex.lock()).poll());
            drop(semaphore.try_acquire());
            drop(Hand::new(semaphore.acquire()).poll());
            notify.notify_waiters();
            let _ = Hand::new(notify.notified()).poll();
        });
        if let Some(sender) = take(&ONE) {
            let _ = sender.send(7);
        }
        ENDS.set(ENDS.get() + 1);
    }
    impl Wake for User {
        fn wake(self: Arc<Self>) {
            use_all();
        }
    }
    impl Drop for User {
        fn drop(&mut self) {
            use_all();
        }
    }
    SHARED.with(|(mutex, semaphore, notify)| {
        for given_up in [false, true] {
            // What was told to nobody in the last round is not kept for this one.
            let _ = Hand::new(notify.notified()).poll();
            let waker = Waker::from(Arc::new(User));
            let mut cx = Context::from_waker(&waker);
            let (guard, permit) = (mutex.try_lock(), semaphore.try_acquire());
            let (sender, mut receiver) = oneshot::channel();
            ONE.set(Some(sender));
            let mut lock = Box::pin(mutex.lock());
            let mut acquire = Box::pin(semaphore.acquire());
            let mut notified = Box::pin(notify.notified());
            assert!(lock.as_mut().poll(&mut cx).is_pending());
            assert!(acquire.as_mut().poll(&mut cx).is_pending());
            assert!(notified.as_mut().poll(&mut cx).is_pending());
            assert!(Pin::new(&mut receiver).poll(&mut cx).is_pending());
            drop(waker);
            if given_up {
                drop((lock, acquire, notified, receiver));
                drop((guard, permit));
            } else {
                drop((guard, permit));
                notify.notify_one();
                drop((lock, acquire, notified, receiver));
            }
            assert!(mutex.try_lock().is_some());
            assert_eq!(semaphore.available_permits(), 1);
            assert_eq!((semaphore.waiters(), notify.waiters()), (0, 0));
        }
    });
    assert!(USES.get() >= 5, "woken and dropped");
    assert_eq!(ENDS.get(), USES.get(), "no use panics, which would be contained");
}

/// Polls once with a waker whose last reference panics when it is dropped, and drops what is
/// polled, which has that reference.
fn give_up_with_a_bomb(what: &str, future: impl Future) {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a waker panics when it is dropped");
        }
    }
    let mut future = Box::pin(future);
    let waker = Waker::from(Arc::new(Bomb));
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "{what}");
    drop(waker);
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(future)));
    assert!(dropped.is_ok(), "{what}");
}

#[test]
fn a_wait_that_is_given_up_does_not_panic_if_its_waker_does() {
    use super::super::{self as sync, local};
    macro_rules! in_both {
        ($place:ident) => {{
            let name = stringify!($place);
            let semaphore = $place::Semaphore::new(0);
            give_up_with_a_bomb(&format!("{name} semaphore"), semaphore.acquire());
            let mutex = $place::Mutex::new(());
            let _held = mutex.try_lock();
            give_up_with_a_bomb(&format!("{name} mutex"), mutex.lock());
            let notify = $place::Notify::new();
            give_up_with_a_bomb(&format!("{name} notify"), notify.notified());
            let (mut sender, receiver) = $place::oneshot::channel::<()>();
            give_up_with_a_bomb(&format!("{name} oneshot sender"), sender.closed());
            give_up_with_a_bomb(&format!("{name} oneshot receiver"), receiver);
            let (sender, mut receiver) = $place::mpsc::channel(1);
            give_up_with_a_bomb(&format!("{name} mpsc receiver"), receiver.recv());
            assert!(sender.try_send(()).is_ok());
            give_up_with_a_bomb(&format!("{name} mpsc sender"), sender.send(()));
        }};
    }
    in_both!(local);
    in_both!(sync);
}
