//! Polling two futures that stay where they are.
#![expect(unsafe_code, reason = "std has no safe way from a pinned value to its fields")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that asks `poll`, which gets both futures pinned.
///
/// It is [`std::future::poll_fn`] for futures that are not its own. An `async` block that pins what
/// it captures would do as well, but has room for it twice: where it is captured, and where it is
/// pinned.
#[inline]
pub(crate) fn poll_both<A, B, O, P>(first: A, second: B, poll: P) -> impl Future<Output = O>
where
    P: FnMut(Pin<&mut A>, Pin<&mut B>, &mut Context<'_>) -> Poll<O>,
{
    PollBoth { first, second, poll }
}

struct PollBoth<A, B, P> {
    /// Pinned with the whole, as is `second`. Only `PollBoth::poll` leads to them.
    first: A,
    second: B,
    /// Never pinned.
    poll: P,
}

impl<A, B, O, P> Future for PollBoth<A, B, P>
where
    P: FnMut(Pin<&mut A>, Pin<&mut B>, &mut Context<'_>) -> Poll<O>,
{
    type Output = O;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        // SAFETY: nothing is moved out of the reference: `first` and `second` are pinned again at
        // once, and `poll` is only called.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: the field is pinned since the whole is. The whole is `Unpin` only if the field
        // is, has no `Drop` that could move it, and is not packed: so it stays where it is until it
        // is dropped there.
        let first = unsafe { Pin::new_unchecked(&mut this.first) };
        // SAFETY: as for `first`.
        let second = unsafe { Pin::new_unchecked(&mut this.second) };
        (this.poll)(first, second, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_room_for_each_future_once() {
        fn polled(future: impl Future<Output = ()>) -> usize {
            size_of_val(&future)
        }
        let large = || async {
            let bytes = [7_u8; 1000];
            crate::yield_now().await;
            assert_eq!(bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>(), 7000);
        };
        let both = size_of_val(&large()) * 2;
        assert!(both >= 2000, "the array is kept over the wait");
        assert!(polled(poll_both(large(), large(), |_, _, _| Poll::Ready(()))) <= both + 16);
        let duration = std::time::Duration::MAX;
        let timed = crate::time::timeout(duration, large());
        assert!(size_of_val(&timed) <= size_of_val(&large()) + 48);
        assert!(size_of_val(&crate::future::race(large(), large())) <= both + 16);
        assert!(size_of_val(&crate::future::join(large(), large())) <= both + 32);
        crate::run(async { timed.await.unwrap() }).unwrap();
    }
}
