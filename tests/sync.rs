//! What tasks and threads share, under load from several threads.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;
use whirligig::sync::{Mutex, Notify, Semaphore, local, mpsc, oneshot};

/// How long a test may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `work` on a thread of its own, and fails if it does not end.
fn watched(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = std_mpsc::channel();
    let worker = thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    if let Err(std_mpsc::RecvTimeoutError::Timeout) = wait.recv_timeout(PATIENCE) {
        panic!("somebody was never woken");
    }
    worker.join().expect("the work succeeds");
}

/// Runs what `make` makes of each number, on as many threads, each with a runtime.
fn on_threads<F: Future<Output = ()>>(
    count: usize,
    make: impl Fn(usize) -> F + Send + Sync + 'static,
) {
    watched(move || {
        thread::scope(|scope| {
            for number in 0..count {
                let make = &make;
                scope.spawn(move || whirligig::run(make(number)).unwrap());
            }
        });
    });
}

#[test]
fn no_more_hold_permits_than_there_are_and_all_get_theirs() {
    const ROUNDS: usize = 3000;
    let (semaphore, holding) = (Semaphore::new(2), AtomicUsize::new(0));
    let shared = Arc::new((semaphore, holding));
    let kept = Arc::clone(&shared);
    on_threads(4, move |number| {
        let shared = Arc::clone(&shared);
        async move {
            let (semaphore, holding) = &*shared;
            for round in 0..ROUNDS {
                let count = 1 + (number + round) % 2;
                if round % 7 == 0 {
                    // Given up, sometimes just as it is granted.
                    let given_up = semaphore.acquire_many(count);
                    whirligig::future::race(given_up, whirligig::yield_now()).await;
                }
                let permit = semaphore.acquire_many(count).await.unwrap();
                assert!(holding.fetch_add(count, Ordering::SeqCst) + count <= 2);
                holding.fetch_sub(count, Ordering::SeqCst);
                drop(permit);
            }
        }
    });
    assert_eq!(kept.0.available_permits(), 2);
}

#[test]
fn a_notification_between_threads_is_never_lost() {
    const ROUNDS: usize = 5000;
    let notifies = Arc::new([Notify::new(), Notify::new()]);
    on_threads(2, move |number| {
        let notifies = Arc::clone(&notifies);
        async move {
            for _ in 0..ROUNDS {
                // By turns, as two notifications that nobody fetched are one.
                if number == 0 {
                    notifies[0].notify_one();
                    notifies[1].notified().await;
                } else {
                    notifies[0].notified().await;
                    notifies[1].notify_one();
                }
            }
        }
    });
}

#[test]
fn a_value_between_threads_arrives_however_the_receiver_waits() {
    const ROUNDS: usize = 2000;
    watched(|| {
        let (give, take) = std_mpsc::channel::<oneshot::Sender<usize>>();
        let sending = thread::spawn(move || {
            for (number, sender) in take.iter().enumerate() {
                sender.send(number).unwrap();
            }
        });
        for number in 0..ROUNDS {
            let (sender, receiver) = oneshot::channel();
            give.send(sender).unwrap();
            let received = match number % 2 {
                0 => whirligig::run(receiver).unwrap(),
                _ => receiver.blocking_recv(),
            };
            assert_eq!(received, Ok(number));
        }
        drop(give);
        sending.join().unwrap();
    });
}

#[test]
fn blocking_in_a_runtimes_turn_panics_instead_of_waiting_for_itself() {
    watched(|| {
        let (_sender, receiver) = oneshot::channel::<()>();
        let joined =
            whirligig::run(async { whirligig::spawn(async { receiver.blocking_recv() }).await });
        assert!(joined.unwrap().unwrap_err().to_string().contains("await instead"));
    });
}

#[test]
fn a_busy_semaphore_gives_way_to_other_tasks() {
    watched(|| {
        whirligig::run(async {
            let stop = Arc::new(AtomicUsize::new(0));
            let other = Arc::clone(&stop);
            let other = whirligig::spawn(async move { other.store(1, Ordering::SeqCst) });
            let semaphore = Semaphore::new(1);
            while stop.load(Ordering::SeqCst) == 0 {
                drop(semaphore.acquire().await.unwrap());
            }
            other.await.unwrap();
        })
        .unwrap();
    });
}

#[test]
fn values_of_many_threads_arrive_once_and_in_each_senders_order() {
    const SENDERS: usize = 3;
    const VALUES: usize = 3000;
    watched(|| {
        let (sender, mut receiver) = mpsc::channel(4);
        thread::scope(|scope| {
            for number in 0..SENDERS {
                let sender = sender.clone();
                scope.spawn(move || {
                    for value in 0..VALUES {
                        // One of them without a runtime.
                        match number {
                            0 => sender.blocking_send((number, value)).unwrap(),
                            _ => whirligig::run(sender.send((number, value))).unwrap().unwrap(),
                        }
                    }
                });
            }
            drop(sender);
            let mut next = [0; SENDERS];
            let mut take = |(number, value): (usize, usize)| {
                assert_eq!(value, next[number]);
                next[number] += 1;
            };
            (0..VALUES).for_each(|_| receiver.blocking_recv().into_iter().for_each(&mut take));
            whirligig::run(async {
                while let Some(value) = receiver.recv().await {
                    take(value);
                }
            })
            .unwrap();
            assert_eq!(next, [VALUES; SENDERS]);
        });
    });
}

macro_rules! keep_busy {
    ($channel:expr) => {
        for receiving in [false, true] {
            watched(move || {
                whirligig::run(async move {
                    let stop = Arc::new(AtomicUsize::new(0));
                    let other = Arc::clone(&stop);
                    let other = whirligig::spawn(async move { other.store(1, Ordering::SeqCst) });
                    let (sender, mut receiver) = $channel(1);
                    while stop.load(Ordering::SeqCst) == 0 {
                        // One side waits where it could give way, the other never does.
                        if receiving {
                            sender.try_send(1).unwrap();
                            assert_eq!(receiver.recv().await, Some(1));
                        } else {
                            sender.send(1).await.unwrap();
                            assert_eq!(receiver.try_recv(), Ok(1));
                        }
                    }
                    other.await.unwrap();
                })
                .unwrap();
            });
        }
    };
}

#[test]
fn a_busy_channel_gives_way_to_other_tasks() {
    keep_busy!(mpsc::channel);
}

#[test]
fn a_busy_local_channel_gives_way_to_other_tasks() {
    keep_busy!(local::mpsc::channel);
}

#[test]
fn what_threads_send_without_a_bound_arrives_once_and_in_each_senders_order() {
    const SENDERS: usize = 3;
    const VALUES: usize = 3000;
    watched(|| {
        let (sender, mut receiver) = mpsc::unbounded();
        thread::scope(|scope| {
            for number in 0..SENDERS {
                let sender = sender.clone();
                scope.spawn(move || {
                    (0..VALUES).for_each(|value| sender.send((number, value)).unwrap());
                });
            }
            drop(sender);
            let mut next = [0; SENDERS];
            let mut take = |(number, value): (usize, usize)| {
                assert_eq!(value, next[number]);
                next[number] += 1;
            };
            (0..VALUES).for_each(|_| receiver.blocking_recv().into_iter().for_each(&mut take));
            whirligig::run(async {
                while let Some(value) = receiver.recv().await {
                    take(value);
                }
            })
            .unwrap();
            assert_eq!(next, [VALUES; SENDERS]);
        });
    });
}

#[test]
fn one_thread_at_a_time_has_the_lock_and_all_get_it() {
    const ROUNDS: usize = 2000;
    let shared = Arc::new((Mutex::new(0), AtomicUsize::new(0)));
    let kept = Arc::clone(&shared);
    on_threads(4, move |number| {
        let shared = Arc::clone(&shared);
        async move {
            let (lock, holding) = &*shared;
            for round in 0..ROUNDS {
                if round % 7 == number {
                    // Given up, sometimes just as it is granted.
                    whirligig::future::race(lock.lock(), whirligig::yield_now()).await;
                }
                let mut count = lock.lock().await;
                assert_eq!(holding.fetch_add(1, Ordering::SeqCst), 0);
                let before = *count;
                whirligig::yield_now().await;
                *count = before + 1;
                holding.fetch_sub(1, Ordering::SeqCst);
            }
        }
    });
    assert_eq!(*kept.0.blocking_lock(), 4 * ROUNDS);
}
