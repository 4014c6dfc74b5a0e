//! Every order of a few polls, drops and deeds, against the promises.

mod handed_on;
mod hostile;
mod mutex;
mod unbounded;

use super::{Notified, Notify, Permit, Semaphore, local, mpsc, oneshot};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts its wakes; its references tell who keeps it.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future that is polled by hand, and whether it owes itself a poll.
struct Hand<F: Future> {
    future: Option<Pin<Box<F>>>,
    counter: Arc<Counter>,
    wakes_seen: usize,
}

impl<F: Future> Hand<F> {
    fn new(future: F) -> Hand<F> {
        Hand { future: Some(Box::pin(future)), counter: Arc::default(), wakes_seen: 0 }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        self.wakes_seen = self.wakes();
        let waker = Waker::from(Arc::clone(&self.counter));
        let future = self.future.as_mut().expect("polled while it lives");
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        drop(waker);
        if polled.is_ready() {
            self.drop_future();
        }
        polled
    }

    fn wakes(&self) -> usize {
        self.counter.0.load(Ordering::Relaxed)
    }

    fn is_woken(&self) -> bool {
        self.wakes() > self.wakes_seen
    }

    fn drop_future(&mut self) {
        self.future = None;
        assert_eq!(Arc::strong_count(&self.counter), 1, "a dropped future leaves no waker behind");
    }
}

/// Runs `script` with every sequence of `length` choices below `width`.
fn walk(width: usize, length: usize, mut script: impl FnMut(&[usize])) {
    let mut choices = vec![0; length];
    loop {
        script(&choices);
        let Some(last) = choices.iter().rposition(|choice| choice + 1 < width) else { return };
        choices[last] += 1;
        choices[last + 1..].fill(0);
    }
}

const WAITERS: usize = 3;

/// The walk over a semaphore, for any thread or for one: what is promised is the same.
macro_rules! walk_permits {
($semaphore:ident, $permit:ident) => {{
    let counts = [1, 2, 1];
    let mut granted_runs = 0;
    // Poll one of three, drop one of three, or give back what the last one got, or close.
    walk(2 * WAITERS + 2, 6, |choices| {
        let semaphore = $semaphore::new(1);
        semaphore.add_permits(1);
        let mut hands: Vec<_> = counts.map(|n| Hand::new(semaphore.acquire_many(n))).into();
        let mut held: VecDeque<$permit<'_>> = VecDeque::new();
        // Who waits, in order; in the model those in front for whom there is enough are granted.
        let (mut line, mut granted, mut closed) = (VecDeque::new(), Vec::<usize>::new(), false);
        for &choice in choices {
            let sum_of = |who: &[usize]| who.iter().map(|who| counts[*who]).sum::<usize>();
            match choice {
                who if who < WAITERS && hands[who].future.is_some() => {
                    let free = semaphore.available_permits();
                    let waits = line.contains(&who);
                    let expected = if granted.contains(&who) {
                        granted.retain(|other| *other != who);
                        Some(true)
                    } else if closed {
                        Some(false)
                    } else if !waits && line.is_empty() && counts[who] <= free {
                        Some(true)
                    } else {
                        if !waits {
                            line.push_back(who);
                        }
                        None
                    };
                    match (hands[who].poll(), expected) {
                        (Poll::Ready(Ok(permit)), Some(true)) => held.push_back(permit),
                        (Poll::Ready(Err(_)), Some(false)) | (Poll::Pending, None) => {}
                        (polled, _) => panic!("{choices:?}: {polled:?}, expected {expected:?}"),
                    }
                }
                who if (WAITERS..2 * WAITERS).contains(&who) => {
                    let who = who - WAITERS;
                    hands[who].drop_future();
                    line.retain(|other| *other != who);
                    granted.retain(|other| *other != who);
                }
                6 => drop(held.pop_front()),
                7 => {
                    semaphore.close();
                    assert!(line.iter().all(|who| hands[*who].is_woken()), "{choices:?}");
                    (closed, line) = (true, VecDeque::new());
                }
                _ => {}
            }
            let taken: usize = held.iter().map($permit::count).sum();
            let mut free = 2 - taken - sum_of(&granted);
            while let Some(who) = line.front().copied().filter(|who| counts[*who] <= free) {
                free -= counts[who];
                granted.push(who);
                line.pop_front();
            }
            granted_runs += usize::from(!granted.is_empty());
            assert_eq!(semaphore.available_permits(), free, "{choices:?}");
            assert_eq!(semaphore.waiters(), line.len() + granted.len(), "{choices:?}");
            assert!(granted.iter().all(|who| hands[*who].is_woken()), "{choices:?}");
        }
        drop((hands, held));
        assert_eq!((semaphore.available_permits(), semaphore.waiters()), (2, 0), "{choices:?}");
    });
    assert!(granted_runs > 1000, "the walk goes where permits pass from hand to hand");
}};
}

#[test]
fn permits_are_granted_in_order_and_none_is_lost_in_any_interleaving() {
    walk_permits!(Semaphore, Permit);
}

#[test]
fn local_permits_are_granted_in_order_and_none_is_lost_in_any_interleaving() {
    use local::{Permit as LocalPermit, Semaphore as LocalSemaphore};
    walk_permits!(LocalSemaphore, LocalPermit);
}

/// The walk for any thread or for one: what is promised is the same.
macro_rules! walk_notify {
    ($notify:ident, $notified:ident) => {{
        let mut passed_on = 0;
        // Poll one of three, drop one of three, notify one, notify all.
        walk(2 * WAITERS + 2, 6, |choices| {
            let notify = $notify::new();
            let mut hands: Vec<Hand<$notified<'_>>> =
                (0..WAITERS).map(|_| Hand::new(notify.notified())).collect();
            let (mut line, mut told) = (VecDeque::new(), Vec::new());
            let (mut stored, mut all) = (false, false);
            for &choice in choices {
                let mut tell = false;
                match choice {
                    who if who < WAITERS && hands[who].future.is_some() => {
                        let own = told.contains(&who);
                        // All were made before any round, so each is over after the first.
                        let expected = own || all || (stored && !line.contains(&who));
                        stored &= own || all;
                        told.retain(|other| *other != who);
                        if !expected && !line.contains(&who) {
                            line.push_back(who);
                        }
                        assert_eq!(hands[who].poll().is_ready(), expected, "{choices:?}");
                    }
                    who if (WAITERS..2 * WAITERS).contains(&who) => {
                        let who = who - WAITERS;
                        tell = told.contains(&who);
                        passed_on += usize::from(tell);
                        told.retain(|other| *other != who);
                        line.retain(|other| *other != who);
                        hands[who].drop_future();
                    }
                    6 => tell = true,
                    7 => {
                        notify.notify_waiters();
                        assert!(line.iter().all(|who| hands[*who].is_woken()), "{choices:?}");
                        line.clear();
                        all = true;
                    }
                    _ => {}
                }
                if choice == 6 {
                    notify.notify_one();
                }
                if tell {
                    match line.pop_front() {
                        Some(who) => told.push(who),
                        None => stored = true,
                    }
                }
                assert!(told.iter().all(|who| hands[*who].is_woken()), "{choices:?}");
            }
            // What is left is in the store, whoever was dropped with it.
            let left = stored || !told.is_empty();
            drop(hands);
            assert_eq!(notify.waiters(), 0, "{choices:?}");
            assert_eq!(Hand::new(notify.notified()).poll().is_ready(), left, "{choices:?}");
        });
        assert!(passed_on > 1000, "the walk goes where notifications are passed on");
    }};
}

#[test]
fn notifications_go_to_the_first_and_none_is_lost_in_any_interleaving() {
    walk_notify!(Notify, Notified);
}

#[test]
fn local_notifications_go_to_the_first_and_none_is_lost_in_any_interleaving() {
    use local::{Notified as LocalNotified, Notify as LocalNotify};
    walk_notify!(LocalNotify, LocalNotified);
}

/// The walk for any thread or for one: what is promised is the same.
macro_rules! walk_oneshot {
    ($channel:expr) => {{
        // Poll the receiver, send, drop the sender, close the receiver, drop it, poll `closed`.
        walk(6, 5, |choices| {
            let alive = Arc::new(());
            let (sender, receiver) = $channel();
            let (mut sender, mut receiver) = (Some(sender), Hand::new(receiver));
            let counter: Arc<Counter> = Arc::default();
            let (mut waits, mut sent, mut closed, mut over) = (false, false, false, false);
            for &choice in choices {
                match choice {
                    0 if receiver.future.is_some() => match receiver.poll() {
                        Poll::Ready(Ok(_)) => {
                            assert!(sent && !over, "{choices:?}");
                            (over, closed, waits) = (true, true, false);
                        }
                        Poll::Ready(Err(_)) => {
                            assert!((closed || sender.is_none()) && !sent, "{choices:?}");
                            (closed, waits) = (true, false);
                        }
                        Poll::Pending => {
                            assert!(sender.is_some() && !closed, "{choices:?}");
                            waits = true;
                        }
                    },
                    1 => {
                        if let Some(sender) = sender.take() {
                            let result = sender.send(Arc::clone(&alive));
                            assert_eq!(result.is_err(), closed, "{choices:?}");
                            sent = result.is_ok();
                            assert!(!waits || receiver.is_woken(), "{choices:?}");
                        }
                    }
                    2 => {
                        sender = None;
                        assert!(!waits || receiver.is_woken(), "{choices:?}");
                    }
                    3 => {
                        if let Some(receiver) = &mut receiver.future {
                            receiver.close();
                            closed = true;
                        }
                    }
                    4 => {
                        receiver.drop_future();
                        (closed, waits) = (true, false);
                    }
                    _ => {
                        if let Some(sender) = &mut sender {
                            let waker = Waker::from(Arc::clone(&counter));
                            let polled = sender.poll_closed(&mut Context::from_waker(&waker));
                            assert_eq!(polled.is_ready(), closed, "{choices:?}");
                        }
                    }
                }
            }
            let told = Arc::strong_count(&counter) > 1;
            receiver.drop_future();
            if told {
                assert_eq!(counter.0.load(Ordering::Relaxed), 1, "{choices:?}: told of the end");
            }
            drop(sender);
            assert_eq!(Arc::strong_count(&alive), 1, "{choices:?}: values leak");
            assert_eq!(Arc::strong_count(&counter), 1, "{choices:?}: wakers leak");
        });
    }};
}

#[test]
fn a_value_arrives_once_or_comes_back_in_any_interleaving() {
    walk_oneshot!(oneshot::channel);
}

#[test]
fn a_local_value_arrives_once_or_comes_back_in_any_interleaving() {
    walk_oneshot!(local::oneshot::channel);
}

/// The walk over a channel, from any thread or of one: what is promised is the same.
macro_rules! walk_channel {
    ($channel:expr) => {{
        let mut granted_runs = 0;
        // Poll one of three that send, drop one, poll the receiver, close it.
        walk(2 * WAITERS + 2, 6, |choices| {
            let alive = Arc::new(());
            let (sender, mut receiver) = $channel(1);
            let send = |who| Hand::new(sender.send((who, Arc::clone(&alive))));
            let mut hands: Vec<_> = (0..WAITERS).map(send).collect();
            let counter: Arc<Counter> = Arc::default();
            // The model: who waits, in order, whose turn it is, what was sent and not received.
            let (mut line, mut granted) = (VecDeque::new(), None);
            let (mut sent, mut closed, mut waits) = (VecDeque::new(), false, false);
            for &choice in choices {
                let wakes = counter.0.load(Ordering::Relaxed);
                match choice {
                    who if who < WAITERS && hands[who].future.is_some() => {
                        let room = sent.is_empty() && granted.is_none() && line.is_empty();
                        match hands[who].poll() {
                            Poll::Ready(Err(mpsc::SendError((back, _)))) => {
                                assert!(closed && back == who, "{choices:?}");
                                granted = granted.filter(|turn| *turn != who);
                            }
                            Poll::Ready(Ok(())) => {
                                assert!(!closed && (granted == Some(who) || room), "{choices:?}");
                                granted = granted.filter(|turn| *turn != who);
                                sent.push_back(who);
                            }
                            Poll::Pending => {
                                assert!(!closed && granted != Some(who) && !room, "{choices:?}");
                                if !line.contains(&who) {
                                    line.push_back(who);
                                }
                            }
                        }
                        let woken = counter.0.load(Ordering::Relaxed) > wakes;
                        assert_eq!(woken, waits && !sent.is_empty(), "{choices:?}");
                        waits &= !woken;
                    }
                    who if (WAITERS..2 * WAITERS).contains(&who) => {
                        let who = who - WAITERS;
                        hands[who].drop_future();
                        line.retain(|other| *other != who);
                        granted = granted.filter(|turn| *turn != who);
                    }
                    6 => {
                        let waker = Waker::from(Arc::clone(&counter));
                        let polled = receiver.poll_recv(&mut Context::from_waker(&waker));
                        let expected = match sent.pop_front() {
                            Some(who) => Poll::Ready(Some(who)),
                            None if closed => Poll::Ready(None),
                            None => Poll::Pending,
                        };
                        waits = expected.is_pending();
                        let polled = polled.map(|value| value.map(|(who, _)| who));
                        assert_eq!(polled, expected, "{choices:?}");
                    }
                    7 => {
                        receiver.close();
                        assert!(line.iter().all(|who| hands[*who].is_woken()), "{choices:?}");
                        (closed, line) = (true, VecDeque::new());
                    }
                    _ => {}
                }
                if sent.is_empty() && granted.is_none() {
                    granted = line.pop_front();
                }
                granted_runs += usize::from(granted.is_some());
                assert!(granted.iter().all(|who| hands[*who].is_woken()), "{choices:?}");
                assert_eq!(receiver.len(), sent.len(), "{choices:?}");
            }
            drop(hands);
            assert_eq!(
                sender.try_send((9, Arc::clone(&alive))).is_ok(),
                !closed && sent.is_empty()
            );
            drop(receiver);
            assert!(sender.is_closed());
            assert_eq!(Arc::strong_count(&alive), 1, "{choices:?}: values leak");
            assert_eq!(Arc::strong_count(&counter), 1, "{choices:?}: wakers leak");
        });
        assert!(granted_runs > 1000, "the walk goes where room passes from hand to hand");
    }};
}

#[test]
fn every_value_is_received_once_or_comes_back_in_any_interleaving() {
    walk_channel!(mpsc::channel);
}

#[test]
fn every_local_value_is_received_once_or_comes_back_in_any_interleaving() {
    walk_channel!(local::mpsc::channel);
}

#[test]
fn a_receive_that_is_given_up_loses_no_value_and_keeps_no_waker() {
    let (sender, mut receiver) = mpsc::channel(1);
    let mut given_up = Hand::new(receiver.recv());
    assert!(given_up.poll().is_pending());
    sender.try_send(1).expect("there is room");
    given_up.drop_future();
    drop(given_up);
    let mut given_up = Hand::new(receiver.recv());
    assert_eq!(given_up.poll(), Poll::Ready(Some(1)));
    drop(given_up);
    let mut given_up = Hand::new(receiver.recv());
    assert!(given_up.poll().is_pending());
    given_up.drop_future();
    drop(given_up);
    let mut last = Hand::new(receiver.recv());
    assert!(last.poll().is_pending());
    drop(sender);
    assert!(last.is_woken(), "the last sender's end wakes the receiver");
    assert_eq!(last.poll(), Poll::Ready(None));
}

#[test]
fn a_local_receive_that_is_given_up_loses_no_value_and_keeps_no_waker() {
    let (sender, mut receiver) = local::mpsc::channel(1);
    let mut given_up = Hand::new(receiver.recv());
    assert!(given_up.poll().is_pending());
    sender.try_send(1).expect("there is room");
    assert!(given_up.is_woken());
    given_up.drop_future();
    drop(given_up);
    assert_eq!(receiver.try_recv(), Ok(1));
}
