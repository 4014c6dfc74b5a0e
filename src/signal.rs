//! Waiting for signals.

use crate::event::Readiness;
use crate::reactor::{Direction, Watched, current_kernel};
use crate::sys::KernelHandle;
pub use crate::sys::signal::Signal;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// Waits for signals of the process (`signal(7)`).
///
/// From its making on the signals' default actions no longer happen, for the rest of the process's
/// life, also when this is dropped. Several may wait for the same signal: each gets it. Signals
/// that come several times before anyone looks may come out as one, as they do in the kernel.
#[derive(Debug)]
pub struct Signals {
    kernel: KernelHandle,
    watched: Watched,
    /// How many of each were seen.
    seen: Vec<(Signal, u64)>,
}

impl Signals {
    /// Starts to watch for `signals`.
    ///
    /// # Errors
    /// Out of descriptors; those of `signal(2)`.
    pub fn new(signals: &[Signal]) -> io::Result<Signals> {
        let kernel = current_kernel();
        // Counted before it is watched: one that comes while this runs must not be lost.
        let count = |&signal| (signal, kernel.signal_count(signal));
        let seen = signals.iter().map(count).collect();
        for &signal in signals {
            kernel.watch_signal(signal)?;
        }
        // Others have duplicates of it.
        let watched = Watched::from_parts(kernel.signal_descriptor()?, true);
        Ok(Signals { kernel, watched, seen })
    }

    /// Waits for the next signal.
    ///
    /// Cancel safety: a signal is taken only when this is done.
    ///
    /// # Errors
    /// If it belongs to another runtime.
    pub async fn recv(&mut self) -> io::Result<Signal> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The poll of [`recv`](Signals::recv).
    ///
    /// # Errors
    /// As [`recv`](Signals::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Signal>> {
        loop {
            for (signal, seen) in &mut self.seen {
                let count = self.kernel.signal_count(*signal);
                if count != *seen {
                    *seen = count;
                    return Poll::Ready(Ok(*signal));
                }
            }
            // The eventfd is never read: what is known of it is old, and only an edge is news. One
            // that comes after the look above is with the kernel still.
            self.watched.clear_readiness(Direction::Read);
            ready!(self.watched.poll_readiness(cx, Direction::Read, Readiness::READABLE))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_wakes_everyone_who_waits_for_it() {
        let got = crate::run(async {
            let mut first = Signals::new(&[Signal::User1, Signal::User2]).unwrap();
            let mut second = Signals::new(&[Signal::User2]).unwrap();
            let waiting = crate::spawn(async move { first.recv().await.unwrap() });
            crate::yield_now().await;
            crate::sys::signal::raise(Signal::User2).unwrap();
            (waiting.await.unwrap(), second.recv().await.unwrap())
        });
        assert_eq!(got.unwrap(), (Signal::User2, Signal::User2));
    }
}
