//! Giving a future only so much time.

use super::{Instant, sleep_until};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// Waits for `future` as long as `duration` from now: from this call, not from the first poll.
///
/// A future that is done in the same poll in which the time is over has its output. When the time
/// is over the future is dropped.
///
/// Cancel safety: that of `future`.
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
pub fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    timeout_at(Instant::now() + duration, future)
}

/// As [`timeout`], with the time at which it is over.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut sleep = sleep_until(deadline);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed)),
    })
    .await
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
