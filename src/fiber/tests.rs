use super::switch::ControlWords;
use super::*;
use crate::generator;
use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The words without the status flags, which are nobody's to preserve.
fn control() -> ControlWords {
    ControlWords::read().without_status()
}

#[test]
fn a_fiber_and_who_polls_it_keep_floating_point_control_words_of_their_own() {
    let ours = control();
    let theirs = ours.rounding_up();
    assert_ne!(ours, theirs);
    let seen = Rc::new(Cell::new(None));
    let sees = Rc::clone(&seen);
    // Nothing in between calculates: Rust code is compiled for the default words.
    let body = move || {
        theirs.write();
        wait(crate::yield_now());
        sees.set(Some(control()));
        theirs.write();
    };
    let mut fiber = pin!(Fiber::new(body).unwrap());
    assert!(poll_once(fiber.as_mut()).is_pending());
    assert_eq!(control(), ours, "after it has suspended");
    assert!(poll_once(fiber.as_mut()).is_ready());
    let after = control();
    ours.write();
    assert_eq!(after, ours, "after it has ended");
    assert_eq!(seen.get(), Some(theirs), "after it was resumed");
}

#[test]
fn a_generator_shares_the_control_words_of_who_resumes_it() {
    let ours = control();
    let mut generator = generator::stackful(move |yielder, ()| {
        ours.rounding_up().write();
        yielder.suspend(());
    })
    .unwrap();
    assert!(generator.next().is_some());
    let after = control();
    ours.write();
    assert_eq!(after, ours.rounding_up());
}
