//! What a loop shares with other threads: what they post, and which sources woke it.

use super::EventLoop;
use crate::contain::contain;
use crate::lock;
use crate::reactor::Direction;
use crate::slab::Key;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

/// A callback from another thread.
pub(super) type Posted = Box<dyn FnOnce(&EventLoop) + Send>;

#[derive(Default)]
pub(super) struct Shared(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    arrived: Arrived,
    /// Whom to wake when something arrives: there only while the loop waits.
    waker: Option<Waker>,
    /// Those that keep the loop running.
    posters: usize,
    /// The loop is gone.
    closed: bool,
}

/// What arrived since the last turn.
#[derive(Default)]
pub(super) struct Arrived {
    pub(super) posted: Vec<Posted>,
    pub(super) ready: Vec<(Key, Direction)>,
}

/// What came of an attempt to wait.
#[must_use]
pub(super) enum Waited {
    /// It waits.
    Waits,
    /// Something has arrived already; the waker is to be woken.
    Arrived(Waker),
    /// There is nothing to wait for.
    Over,
}

impl Shared {
    /// Nothing that can panic runs under the lock, nor any foreign code.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock::lock(&self.0)
    }

    /// Ends the wait of the loop, if it waits.
    pub(super) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            contain(|| waker.wake());
        }
    }

    pub(super) fn take(&self) -> Arrived {
        std::mem::take(&mut self.lock().arrived)
    }

    /// Leaves a waker to be woken when something arrives, if there is anything to wait for: it is
    /// `active`, or somebody may post. All is seen under one lock, so that neither a post nor the
    /// end of the last poster falls in between.
    pub(super) fn wait(&self, waker: Waker, active: bool) -> Waited {
        let mut inner = self.lock();
        if !inner.arrived.posted.is_empty() || !inner.arrived.ready.is_empty() {
            return Waited::Arrived(waker);
        }
        if !active && inner.posters == 0 {
            return Waited::Over;
        }
        let old = inner.waker.replace(waker);
        drop(inner);
        drop(old);
        Waited::Waits
    }

    /// Forgets whom to wake.
    pub(super) fn forget_waker(&self) {
        let waker = self.lock().waker.take();
        drop(waker);
    }

    /// The loop is gone: takes nothing more. What was posted goes to the caller to be dropped.
    pub(super) fn close(&self) -> Vec<Posted> {
        let mut inner = self.lock();
        inner.closed = true;
        std::mem::take(&mut inner.arrived).posted
    }
}

/// What wakes the loop when a source is ready.
pub(super) struct Wakeup {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Key,
    pub(super) direction: Direction,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut inner = self.shared.lock();
        if !inner.closed {
            inner.arrived.ready.push((self.key, self.direction));
        }
        drop(inner);
        self.shared.wake();
    }
}

/// Runs callbacks on a loop, from any thread.
///
/// ```
/// use whirligig::callback;
///
/// callback::run(|event_loop| {
///     let poster = event_loop.poster();
///     std::thread::spawn(move || {
///         let sum: u64 = (1..=100).sum();
///         poster.post(move |event_loop| {
///             assert_eq!(sum, 5050);
///             event_loop.stop();
///         })
///     });
///     Ok(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Poster {
    shared: Arc<Shared>,
    keeps_alive: bool,
}

impl Poster {
    pub(super) fn new(shared: &Arc<Shared>) -> Poster {
        shared.lock().posters += 1;
        Poster { shared: Arc::clone(shared), keeps_alive: true }
    }

    /// Has the loop run `callback` in its next turn, and wakes it if it waits. Callbacks of one
    /// thread run in the order in which they were posted. If the loop has ended, they wait for it
    /// to be run again.
    ///
    /// # Errors
    /// [`Closed`], and the callback is dropped, if the loop was dropped.
    pub fn post(&self, callback: impl FnOnce(&EventLoop) + Send + 'static) -> Result<(), Closed> {
        let callback: Posted = Box::new(callback);
        let mut inner = self.shared.lock();
        if inner.closed {
            // Its drop is foreign code.
            drop(inner);
            return Err(Closed(()));
        }
        inner.arrived.posted.push(callback);
        drop(inner);
        self.shared.wake();
        Ok(())
    }

    /// One that does not keep the loop running; nor do its clones.
    #[must_use]
    pub fn unref(&self) -> Poster {
        Poster { shared: Arc::clone(&self.shared), keeps_alive: false }
    }
}

impl Clone for Poster {
    fn clone(&self) -> Poster {
        if self.keeps_alive { Poster::new(&self.shared) } else { self.unref() }
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        if self.keeps_alive {
            let mut inner = self.shared.lock();
            inner.posters -= 1;
            let last = inner.posters == 0;
            drop(inner);
            if last {
                self.shared.wake();
            }
        }
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").field("keeps_alive", &self.keeps_alive).finish_non_exhaustive()
    }
}

/// The loop was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed(());

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop was dropped")
    }
}

impl std::error::Error for Closed {}
