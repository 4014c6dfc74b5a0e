//! Giving a future only so much time.

use super::sleep::{Sleep, sleep_for_about};
use super::{Instant, sleep_until};
use crate::pinned::poll_both;
use std::fmt;
use std::future::Future;
use std::io;
use std::task::Poll;
use std::time::Duration;

/// Waits for `future` as long as `duration` from now: from this call, not from the first poll.
///
/// A future that is done in the same poll in which the time is over has its output. Awaiting
/// this drops the future when the time is over.
///
/// One of a second or more counts from the end of the batch of tasks in which this is called, for
/// which the clock is read once: never early, and late by what is left of that batch.
///
/// Cancel safety: that of `future`. Of a second or more, one timer may keep its place and its waker
/// until the runtime next looks at the kernel.
///
/// ```
/// use std::time::Duration;
/// use whirligig::time::timeout;
///
/// whirligig::run(async {
///     let forever = std::future::pending::<()>();
///     assert!(timeout(Duration::from_millis(1), forever).await.is_err());
///     assert_eq!(timeout(Duration::MAX, async { 7 }).await, Ok(7));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    within(sleep_for_about(duration), future)
}

/// As [`timeout`], with the time at which it is over.
pub fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    within(sleep_until(deadline), future)
}

#[inline]
fn within<F: Future>(sleep: Sleep, future: F) -> impl Future<Output = Result<F::Output, Elapsed>> {
    poll_both(future, sleep, |future, sleep, cx| match future.poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.poll(cx).map(|()| Err(Elapsed)),
    })
}

/// The time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
