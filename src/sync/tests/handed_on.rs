//! Futures that are polled by one task, and then by another.

use super::super::{Mutex, Notify, Semaphore, local, mpsc, oneshot};
use super::Counter;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

/// Whichever task polled last is woken, and the others are forgotten.
fn wakes_the_last<F: Future>(future: F, event: impl FnOnce()) {
    let counters: [Arc<Counter>; 3] = Default::default();
    let mut future = pin!(future);
    for counter in &counters {
        let waker = Waker::from(Arc::clone(counter));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    event();
    let wakes = counters.each_ref().map(|counter| counter.0.load(Ordering::Relaxed));
    assert_eq!(wakes, [0, 0, 1]);
    assert_eq!(Arc::strong_count(&counters[0]), 1, "a waker that was displaced is dropped");
}

macro_rules! hand_on_all {
    ($sync:ident) => {{
        let (sender, mut receiver) = $sync::mpsc::channel(1);
        wakes_the_last(receiver.recv(), || assert!(sender.try_send(1).is_ok()));
        wakes_the_last(sender.send(2), || assert_eq!(receiver.try_recv(), Ok(1)));
        let (sender, receiver) = $sync::oneshot::channel();
        wakes_the_last(receiver, || assert!(sender.send(1).is_ok()));
        let (mut sender, receiver) = $sync::oneshot::channel::<i32>();
        wakes_the_last(sender.closed(), || drop(receiver));
        let notify = $sync::Notify::new();
        wakes_the_last(notify.notified(), || notify.notify_one());
        let semaphore = $sync::Semaphore::new(0);
        wakes_the_last(semaphore.acquire(), || semaphore.add_permits(1));
        let mutex = $sync::Mutex::new(());
        let guard = mutex.try_lock();
        wakes_the_last(mutex.lock(), || drop(guard));
    }};
}

#[test]
fn a_wait_that_is_handed_on_wakes_who_has_it_now() {
    mod any {
        pub(super) use super::{Mutex, Notify, Semaphore, mpsc, oneshot};
    }
    hand_on_all!(any);
}

#[test]
fn a_local_wait_that_is_handed_on_wakes_who_has_it_now() {
    hand_on_all!(local);
}

#[test]
fn a_value_wakes_the_receiver_also_while_room_is_set_aside_for_another() {
    let (sender, mut receiver) = local::mpsc::channel(2);
    let mut waiting = pin!(sender.send(3));
    assert!(sender.try_send(1).is_ok() && sender.try_send(2).is_ok());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    wakes_the_last(receiver.recv(), || assert!(sender.try_send(4).is_ok()));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(4), Ok(3)));
}
