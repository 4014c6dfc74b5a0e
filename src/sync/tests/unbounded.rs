//! Channels without a bound: every order of sends, receives and ends.

use super::super::{local, mpsc};
use super::{Counter, walk};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

/// The walk over a channel, from any thread or of one: what is promised is the same.
macro_rules! walk_unbounded {
    ($unbounded:expr) => {{
        let mut woken_runs = 0;
        // Send, drop one of two senders, poll the receiver, take without a wait, close, drop it.
        walk(6, 6, |choices| {
            let alive = Arc::new(());
            let (sender, receiver) = $unbounded();
            let mut senders = vec![sender.clone(), sender];
            let mut receiver = Some(receiver);
            let counter: Arc<Counter> = Arc::default();
            let (mut sent, mut closed, mut waits) = (VecDeque::new(), false, false);
            for (number, &choice) in choices.iter().enumerate() {
                let wakes = counter.0.load(Ordering::Relaxed);
                let ended = closed || senders.is_empty();
                match (choice, &mut receiver) {
                    (0, _) => {
                        if let Some(sender) = senders.last() {
                            let result = sender.send((number, Arc::clone(&alive)));
                            assert_eq!(result.is_err(), closed, "{choices:?}");
                            if result.is_ok() {
                                sent.push_back(number);
                            }
                        }
                    }
                    (1, _) => drop(senders.pop()),
                    (2, Some(receiver)) => {
                        let waker = Waker::from(Arc::clone(&counter));
                        let polled = receiver.poll_recv(&mut Context::from_waker(&waker));
                        let expected = match sent.pop_front() {
                            Some(number) => Poll::Ready(Some(number)),
                            None if ended => Poll::Ready(None),
                            None => Poll::Pending,
                        };
                        waits = expected.is_pending();
                        let polled = polled.map(|value| value.map(|(number, _)| number));
                        assert_eq!(polled, expected, "{choices:?}");
                    }
                    (3, Some(receiver)) => {
                        let expected = sent.pop_front().ok_or(match ended {
                            true => mpsc::TryRecvError::Closed,
                            false => mpsc::TryRecvError::Empty,
                        });
                        let received = receiver.try_recv().map(|(number, _)| number);
                        assert_eq!(received, expected, "{choices:?}");
                    }
                    (4, Some(receiver)) => {
                        receiver.close();
                        closed = true;
                    }
                    (5, _) => {
                        drop(receiver.take());
                        (closed, waits, sent) = (true, false, VecDeque::new());
                        assert_eq!(Arc::strong_count(&alive), 1, "{choices:?}: values stay");
                        assert_eq!(Arc::strong_count(&counter), 1, "{choices:?}: wakers stay");
                    }
                    _ => {}
                }
                let is_news =
                    choice == 0 && !sent.is_empty() && !closed || choice == 1 && senders.is_empty();
                let woken = counter.0.load(Ordering::Relaxed) > wakes;
                assert!(woken || !(waits && is_news), "{choices:?}: told of the news");
                woken_runs += usize::from(woken);
                waits &= !woken;
                if let Some(receiver) = &receiver {
                    assert_eq!(receiver.len(), sent.len(), "{choices:?}");
                    assert_eq!(receiver.is_closed(), closed || senders.is_empty());
                }
                assert!(senders.iter().all(|sender| sender.is_closed() == closed));
            }
            drop((senders, receiver));
            assert_eq!(Arc::strong_count(&alive), 1, "{choices:?}: values leak");
            assert_eq!(Arc::strong_count(&counter), 1, "{choices:?}: wakers leak");
        });
        assert!(woken_runs > 1000, "the walk goes where the receiver waits");
    }};
}

#[test]
fn what_is_sent_without_a_bound_arrives_in_order_in_any_interleaving() {
    walk_unbounded!(mpsc::unbounded);
}

#[test]
fn what_is_sent_without_a_bound_on_one_thread_arrives_in_order_in_any_interleaving() {
    walk_unbounded!(local::mpsc::unbounded);
}
