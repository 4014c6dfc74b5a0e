//! Generators that the compiler makes: an `async` block, polled for each value.
//!
//! ```text
//!   next() --> polls the block ----------> goes on
//!                                          yielder.suspend(value)
//!                                            puts the value into the slot
//!              Some(value) <-- Pending <---- returns Pending, once
//!
//!   next() --> polls the block ----------> suspend: Ready, goes on
//!                                          ends
//!              None <--------- Ready <----'
//! ```

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::iter::FusedIterator;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Makes a generator of an `async` block, which is given what it yields by.
///
/// ```
/// use whirligig::generator;
///
/// fn words(text: &str) -> impl Iterator<Item = &str> {
///     generator::stackless(move |yielder| async move {
///         for line in text.lines() {
///             for word in line.split(' ') {
///                 yielder.suspend(word).await;
///             }
///         }
///     })
/// }
/// assert!(words("one two\nthree").eq(["one", "two", "three"]));
/// ```
pub fn stackless<Y, F: Future<Output = ()>>(body: impl FnOnce(Yielder<Y>) -> F) -> Stackless<Y, F> {
    let slot = Rc::new(Cell::new(None));
    let body = body(Yielder { slot: Rc::clone(&slot) });
    Stackless { body: Some(Box::pin(body)), slot }
}

/// A generator without a stack of its own, made by [`stackless`].
///
/// Dropping it drops the block where it stands.
///
/// # Panics
/// [`next`](Iterator::next) panics with what the block panics with, and is at its end then; and if
/// the block waits for anything but its yields, as nothing would wake it.
pub struct Stackless<Y, F> {
    /// None after the end. Pinned, as its locals may refer to each other.
    body: Option<Pin<Box<F>>>,
    slot: Rc<Cell<Option<Y>>>,
}

impl<Y, F: Future<Output = ()>> Iterator for Stackless<Y, F> {
    type Item = Y;

    fn next(&mut self) -> Option<Y> {
        // Taken out, so that one that panics is not polled again.
        let mut body = self.body.take()?;
        let polled = body.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let yielded = self.slot.take();
        match polled {
            Poll::Ready(()) => None,
            Poll::Pending => {
                assert!(
                    yielded.is_some(),
                    "a generator waits for its own yields only: nothing would wake it"
                );
                self.body = Some(body);
                yielded
            }
        }
    }
}

impl<Y, F: Future<Output = ()>> FusedIterator for Stackless<Y, F> {}

impl<Y, F> fmt::Debug for Stackless<Y, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stackless").field("ended", &self.body.is_none()).finish()
    }
}

/// What a stackless generator yields by.
pub struct Yielder<Y> {
    slot: Rc<Cell<Option<Y>>>,
}

impl<Y> Yielder<Y> {
    /// Yields `value`: awaiting this suspends the generator until it is asked for the next.
    ///
    /// Awaited elsewhere, such as in a task that the yielder was moved to, it suspends once and is
    /// then done.
    ///
    /// Cancel safety: dropped before it was first polled, nothing is yielded.
    pub fn suspend(&self, value: Y) -> impl Future<Output = ()> {
        let mut value = Some(value);
        poll_fn(move |_| match value.take() {
            Some(value) => {
                self.slot.set(Some(value));
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
    }
}

impl<Y> fmt::Debug for Yielder<Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yielder").finish_non_exhaustive()
    }
}
