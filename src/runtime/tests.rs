//! The moments between a poll and a wait, met exactly: a rule of the kernel stands in them.

use super::*;
use crate::sys::fault::{Call, PassThrough};
use crate::sys::{Epoll, EventBuffer};
use crate::time::{sleep, timeout};
use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// A runtime whose next wait, and no other, another thread comes before with this waker.
fn woken_before_its_wait(waker: &Arc<Mutex<Option<Waker>>>) -> (Runtime, Arc<PassThrough>) {
    let kernel = PassThrough::new();
    let waker = Arc::clone(waker);
    kernel.set_rule(move |call, _| {
        if call == Call::EpollWait {
            if let Some(waker) = waker.lock().unwrap().take() {
                thread::spawn(move || waker.wake()).join().unwrap();
            }
        }
        None
    });
    (Runtime::on(kernel.handle()).unwrap(), kernel)
}

/// Waits for the one wake that comes between its poll and the wait.
fn waits_once(waker: &Arc<Mutex<Option<Waker>>>) -> impl Future<Output = ()> + use<> {
    let waker = Arc::clone(waker);
    let mut polled = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        *waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    })
}

#[test]
fn a_wake_of_a_task_between_the_poll_and_the_wait_is_not_lost() {
    let waker = Arc::new(Mutex::new(None));
    let (runtime, kernel) = woken_before_its_wait(&waker);
    let task = runtime.spawn(waits_once(&waker));
    let joined = runtime.block_on(async { timeout(Duration::from_secs(60), task).await });
    joined.expect("the wake is lost").unwrap();
    assert_eq!(kernel.count(Call::Raise), 1, "the wake ends the wait, and nothing else does");
}

#[test]
fn a_wake_of_the_main_future_between_the_poll_and_the_wait_is_not_lost() {
    let waker = Arc::new(Mutex::new(None));
    let (runtime, kernel) = woken_before_its_wait(&waker);
    let main = waits_once(&waker);
    let joined = runtime.block_on(async { timeout(Duration::from_secs(60), main).await });
    joined.expect("the wake is lost");
    assert_eq!(kernel.count(Call::Raise), 1);
}

#[test]
fn a_wake_while_the_loop_is_awake_costs_no_call() {
    let kernel = PassThrough::new();
    let runtime = Runtime::on(kernel.handle()).unwrap();
    runtime.block_on(async {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        thread::spawn(move || waker.wake()).join().unwrap();
        yield_now().await;
    });
    assert_eq!(kernel.count(Call::Raise), 0);
}

#[test]
fn an_idle_runtime_makes_no_call_but_its_wait() {
    let kernel = PassThrough::new();
    let runtime = Runtime::on(kernel.handle()).unwrap();
    runtime.block_on(async { sleep(Duration::from_millis(50)).await });
    let waits = kernel.count(Call::EpollWait);
    assert!(waits <= 12, "at most an extra wait a level of the timer queue: {waits}");
}

/// Whether the runtime's descriptor is readable now.
fn is_readable(runtime: &Runtime) -> bool {
    let kernel = KernelHandle::linux();
    let epoll = Epoll::on(&kernel).unwrap();
    let duplicate = runtime.as_fd().try_clone_to_owned().unwrap();
    let bits = crate::event::Interest::READABLE.bits();
    epoll.add(&kernel.adopt(duplicate).unwrap(), bits, 1).unwrap();
    let mut buffer = EventBuffer::with_capacity(1);
    let events = epoll.wait(&mut buffer, Some(Duration::ZERO)).unwrap();
    events.into_iter().next().is_some()
}

fn settle(runtime: &Runtime) {
    while runtime.turn().unwrap() == Turn::Ready {}
}

#[test]
fn the_descriptor_is_readable_when_a_turn_would_find_a_wake_or_a_new_task() {
    let runtime = Runtime::new().unwrap();
    let waker = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&waker);
    let task = runtime.spawn(poll_fn(move |cx| -> Poll<()> {
        *kept.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }));
    settle(&runtime);
    assert!(!is_readable(&runtime));
    let by_thread: Waker = waker.take().unwrap();
    thread::spawn(move || by_thread.wake()).join().unwrap();
    assert!(is_readable(&runtime));
    settle(&runtime);
    assert!(!is_readable(&runtime));
    waker.take().unwrap().wake();
    assert!(is_readable(&runtime), "woken on its own thread, between turns");
    settle(&runtime);
    task.abort();
    assert!(is_readable(&runtime));
    settle(&runtime);
    assert!(!is_readable(&runtime));
    drop(runtime.spawn(async {}));
    assert!(is_readable(&runtime), "a task was spawned between turns");
}
