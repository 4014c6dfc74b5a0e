//! Channels, locks and permits between threads, whose waits are given up at any time.

use crate::common::{Nobody, Random, Slots, rounds, threads};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use whirligig::future::{Either, join_all, race};
use whirligig::sync::{Mutex, Notify, Semaphore, mpsc, oneshot};
use whirligig::time::timeout;
use whirligig::yield_now;

const THREADS: usize = 3;
const PERMITS: usize = 2;

/// How often `a_while` gives way, at most; with the last it has no end.
const PATIENCES: usize = 6;

/// Gives way some times: short enough that the waits it races with are often given up. At times it
/// has no end, so that who waits has to be woken.
async fn a_while(yields: usize) {
    for _ in 0..yields {
        yield_now().await;
    }
    if yields == PATIENCES - 1 {
        pending::<()>().await;
    }
}

/// Runs it, and fails instead of hanging.
fn run<F: Future>(future: F) -> F::Output {
    let limited = async { timeout(Duration::from_secs(300), future).await };
    whirligig::run(limited).unwrap().expect("a wake is lost")
}

struct Shared {
    permits: Semaphore,
    number: Mutex<usize>,
    locked: AtomicUsize,
    given_up: AtomicUsize,
}

/// Takes permits and the lock, and gives up most waits that take a while.
async fn use_all(shared: &Shared, mut random: Random) {
    // Whoever gives up looks no more whether it was its turn meanwhile.
    for _ in 0..rounds() * 3 {
        let count = 1 + random.below(PERMITS);
        match race(a_while(random.below(PATIENCES)), shared.permits.acquire_many(count)).await {
            Either::Second(permit) => {
                let _permit = permit.unwrap();
                a_while(random.below(2)).await;
            }
            Either::First(()) => drop(shared.given_up.fetch_add(1, Ordering::AcqRel)),
        }
        match race(a_while(random.below(PATIENCES)), shared.number.lock()).await {
            Either::Second(mut number) => {
                *number += 1;
                shared.locked.fetch_add(1, Ordering::AcqRel);
                a_while(random.below(2)).await;
            }
            Either::First(()) => drop(shared.given_up.fetch_add(1, Ordering::AcqRel)),
        }
    }
}

pub(crate) fn no_permit_and_no_turn_at_a_lock_is_lost_when_waits_are_given_up() {
    let shared = Arc::new(Shared {
        permits: Semaphore::new(PERMITS),
        number: Mutex::new(0),
        locked: AtomicUsize::new(0),
        given_up: AtomicUsize::new(0),
    });
    let own = Arc::clone(&shared);
    let others = threads(THREADS as u64, move |mut random| {
        let tasks = (0..3).map(|_| use_all(&own, random.fork()));
        run(join_all(tasks));
    });
    others.join();
    assert_eq!(shared.permits.available_permits(), PERMITS);
    let number = *shared.number.try_lock().expect("nobody has it any more");
    assert_eq!(number, shared.locked.load(Ordering::Acquire));
    assert!(shared.given_up.load(Ordering::Acquire) > 0, "no wait was given up");
}

pub(crate) fn each_value_arrives_once_or_comes_back_when_waits_are_given_up() {
    let (sender, mut receiver) = mpsc::channel::<Box<usize>>(2);
    let sent = Arc::new(AtomicUsize::new(0));
    let own_sent = Arc::clone(&sent);
    let others = {
        let sender = sender.clone();
        threads(THREADS as u64, move |mut random| {
            let round = async {
                for _ in 0..rounds() * 10 {
                    let patience = random.below(PATIENCES);
                    let send = sender.send(Box::new(1));
                    if let Either::Second(outcome) = race(a_while(patience), send).await {
                        outcome.expect("the receiver is there");
                        own_sent.fetch_add(1, Ordering::AcqRel);
                    }
                }
            };
            run(round);
        })
    };
    drop(sender);
    let mut random = Random::new(5);
    let received = run(async {
        let mut received = 0;
        loop {
            let patience = random.below(PATIENCES);
            match race(a_while(patience), receiver.recv()).await {
                Either::Second(Some(value)) => received += *value,
                Either::Second(None) => return received,
                Either::First(()) => {}
            }
        }
    });
    others.join();
    assert_eq!(received, sent.load(Ordering::Acquire));
}

pub(crate) fn a_wake_of_another_thread_is_not_lost_between_a_poll_and_the_wait() {
    let (there, back) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (own_there, own_back) = (Arc::clone(&there), Arc::clone(&back));
    let turns = rounds() * 10;
    let other = threads(1, move |_| {
        let answers = async {
            for _ in 0..turns {
                own_there.notified().await;
                own_back.notify_one();
            }
        };
        run(answers);
    });
    // Each side does nothing but wait: a wake that is lost leaves both asleep.
    let asks = async {
        for _ in 0..turns {
            there.notify_one();
            back.notified().await;
        }
    };
    run(asks);
    other.join();
}

/// Counts how many there are.
struct Value(Arc<AtomicUsize>);

impl Value {
    fn new(count: &Arc<AtomicUsize>) -> Value {
        count.fetch_add(1, Ordering::AcqRel);
        Value(Arc::clone(count))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(crate) fn a_value_sent_while_its_receiver_goes_is_received_or_dropped() {
    let (values, received) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (senders, receivers) = (Arc::new(Slots::new()), Arc::new(Slots::new()));
    let (own_values, own_received) = (Arc::clone(&values), Arc::clone(&received));
    let others = threads(THREADS as u64, move |mut random| {
        for _ in 0..rounds() * 10 {
            match random.below(4) {
                0 => {
                    let (sender, receiver) = oneshot::channel::<Value>();
                    receivers.put(receiver);
                    senders.put(sender);
                }
                1 => {
                    let sender: Option<oneshot::Sender<Value>> = senders.take(&mut random);
                    // Whether somebody got it is for the other side to say.
                    drop(sender.map(|sender| sender.send(Value::new(&own_values))));
                }
                2 => drop(receivers.take(&mut random)),
                _ => {
                    let Some(mut receiver) = receivers.take(&mut random) else { continue };
                    let waker = Waker::from(Arc::new(Nobody));
                    match Pin::new(&mut receiver).poll(&mut Context::from_waker(&waker)) {
                        Poll::Ready(Ok(value)) => {
                            drop(value);
                            own_received.fetch_add(1, Ordering::AcqRel);
                        }
                        Poll::Ready(Err(_)) => {}
                        Poll::Pending => receivers.put(receiver),
                    }
                }
            }
        }
    });
    others.join();
    assert_eq!(values.load(Ordering::Acquire), 0, "a value is left or dropped twice");
    assert!(received.load(Ordering::Acquire) > 0, "nothing was received");
}
