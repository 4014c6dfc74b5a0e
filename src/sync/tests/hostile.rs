//! Wakers that use what they are in while they are woken or dropped.

use super::super::local;
use super::Hand;
use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Does something when it is woken or dropped.
struct Hostile(Box<dyn Fn() + Send + Sync>);

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        (self.0)();
    }
}

thread_local! {
    static SENDER: RefCell<Option<local::mpsc::Sender<i32>>> = const { RefCell::new(None) };
    static RECEIVER: RefCell<Option<local::mpsc::Receiver<i32>>> = const { RefCell::new(None) };
}

/// All that one can do to a channel; a deed that is under way already is not begun again.
fn meddle(deed: usize) {
    let take_sender = || SENDER.with(|sender| sender.try_borrow_mut().ok()?.take());
    let take_receiver = || RECEIVER.with(|receiver| receiver.try_borrow_mut().ok()?.take());
    match deed {
        0 => drop(take_sender()),
        1 => drop(take_receiver()),
        2 => {
            if let Some(sender) = take_sender() {
                let _ = sender.try_send(7);
                SENDER.set(Some(sender));
            }
        }
        _ => {
            if let Some(mut receiver) = take_receiver() {
                let _ = receiver.try_recv();
                if deed == 4 {
                    receiver.close();
                }
                let polled = Hand::new(receiver.recv()).poll();
                assert!(deed != 4 || polled.is_ready());
                RECEIVER.set(Some(receiver));
            }
        }
    }
}

#[test]
fn a_waker_may_do_anything_to_its_local_channel() {
    for deed in 0..5 {
        // The receiver's waker is woken by a value, replaced, or dropped with the receiver.
        for cause in 0..3 {
            let (sender, mut receiver) = local::mpsc::channel(1);
            let (other, hostile) =
                (sender.clone(), Arc::new(Hostile(Box::new(move || meddle(deed)))));
            let waker = Waker::from(hostile);
            assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            SENDER.set(Some(sender));
            match cause {
                0 => {
                    RECEIVER.set(Some(receiver));
                    let _ = other.try_send(1);
                }
                1 => {
                    let _ = receiver.poll_recv(&mut Context::from_waker(Waker::noop()));
                    RECEIVER.set(Some(receiver));
                }
                _ => drop(receiver),
            }
            drop((RECEIVER.take(), SENDER.take(), other));
        }
    }
}
