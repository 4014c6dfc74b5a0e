//! Waiting for several futures at once, within one task.

use crate::pinned::poll_both;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Waits for all of `futures`, which run side by side; their outputs come in the order of the
/// futures.
///
/// Every wake polls all futures that are not done: for many futures, spawn tasks instead.
///
/// Cancel safety: dropping it drops all futures and the outputs that are there.
///
/// ```
/// whirligig::run(async {
///     let squares = whirligig::future::join_all((1..4).map(|n| async move { n * n })).await;
///     assert_eq!(squares, [1, 4, 9]);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    enum Part<F: Future> {
        Running(Pin<Box<F>>),
        Done(F::Output),
    }
    let mut parts: Vec<Part<F>> =
        futures.into_iter().map(|future| Part::Running(Box::pin(future))).collect();
    poll_fn(|cx| {
        let mut all_done = true;
        for part in &mut parts {
            if let Part::Running(future) = part {
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => *part = Part::Done(output),
                    Poll::Pending => all_done = false,
                }
            }
        }
        if all_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let output = |part| match part {
        Part::Done(output) => Some(output),
        Part::Running(_) => None,
    };
    parts.into_iter().filter_map(output).collect()
}

/// Waits for both futures, which run side by side.
///
/// Cancel safety: dropping it drops both, and the output that is there.
pub fn join<A: Future, B: Future>(
    first: A,
    second: B,
) -> impl Future<Output = (A::Output, B::Output)> {
    let (mut first_output, mut second_output) = (None, None);
    poll_both(first, second, move |first, second, cx| {
        if first_output.is_none() {
            if let Poll::Ready(output) = first.poll(cx) {
                first_output = Some(output);
            }
        }
        if second_output.is_none() {
            if let Poll::Ready(output) = second.poll(cx) {
                second_output = Some(output);
            }
        }
        match (first_output.take(), second_output.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (first, second) => {
                (first_output, second_output) = (first, second);
                Poll::Pending
            }
        }
    })
}

/// Which of two futures was done first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first, with its output.
    First(A),
    /// The second, with its output.
    Second(B),
}

/// Waits for whichever future is done first, and drops the other. If both are, the first wins.
///
/// Cancel safety: the loser is dropped where it stands, so only futures whose own documentation
/// allows that should race.
///
/// ```
/// use std::time::Duration;
/// use whirligig::future::{Either, race};
/// use whirligig::time::sleep;
///
/// whirligig::run(async {
///     let fast = async { 1 };
///     let slow = sleep(Duration::MAX);
///     assert_eq!(race(slow, fast).await, Either::Second(1));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn race<A: Future, B: Future>(
    first: A,
    second: B,
) -> impl Future<Output = Either<A::Output, B::Output>> {
    poll_both(first, second, |first, second, cx| match first.poll(cx) {
        Poll::Ready(output) => Poll::Ready(Either::First(output)),
        Poll::Pending => second.poll(cx).map(Either::Second),
    })
}
