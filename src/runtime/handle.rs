//! Names for a runtime that any thread may hold.

use super::Runtime;
use crate::task::{AtHome, JoinHandle, Shared};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

/// Names a runtime, from any thread, to spawn tasks there.
///
/// It does not keep the runtime: what is spawned on one that is gone, or that is being dropped, is
/// aborted, and `make` dropped on the thread that spawns.
#[derive(Clone)]
pub struct Handle {
    pub(super) home: Arc<Shared>,
}

impl Handle {
    /// The runtime whose turn it is on this thread; None outside of turns.
    #[must_use]
    pub fn current() -> Option<Handle> {
        AtHome::current(|home| Handle { home: home.shared() })
    }

    /// Spawns a task on the runtime's own thread, from any thread.
    ///
    /// `make` is called there, and the future that it makes stays there: it need not be `Send`.
    /// Only what goes in with `make`, and the output, cross threads.
    ///
    /// ```
    /// use whirligig::Runtime;
    ///
    /// let runtime = Runtime::new()?;
    /// let handle = runtime.handle();
    /// let task = std::thread::spawn(move || {
    ///     handle.spawn(|| async {
    ///         let stays = std::rc::Rc::new(6);
    ///         whirligig::yield_now().await;
    ///         *stays * 7
    ///     })
    /// });
    /// assert_eq!(runtime.block_on(task.join().unwrap()).unwrap(), 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send,
    {
        self.spawn_at(make, Location::caller())
    }

    pub(crate) fn spawn_at<M, F>(
        &self,
        make: M,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send,
    {
        self.home.spawn_remote(make, spawned_at)
    }

    /// How often the runtime has looked around.
    pub(crate) fn looks(&self) -> u64 {
        self.home.looks()
    }

    /// Whether the runtime waits for events now, as far as that can be known from elsewhere.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.home.inbox().is_parked()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("is_parked", &self.is_parked()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A name for this runtime that any thread may hold.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { home: Arc::clone(self.executor.shared()) }
    }
}
