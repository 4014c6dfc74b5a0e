//! Many tasks with outputs of one kind, joined in the order in which they end.

use crate::slab::{Key, Slab};
use crate::task::{JoinError, JoinHandle};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Tasks that are joined in the order in which they end. Dropping the set aborts those left.
///
/// ```
/// use std::time::Duration;
/// use whirligig::{TaskSet, time::sleep};
///
/// whirligig::run(async {
///     let mut set = TaskSet::new();
///     for ms in [3, 1, 2] {
///         set.spawn(async move {
///             sleep(Duration::from_millis(ms)).await;
///             ms
///         });
///     }
///     let mut sum = 0;
///     while let Some(output) = set.next().await {
///         sum += output.expect("none panics");
///     }
///     assert_eq!(sum, 6);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TaskSet<T> {
    handles: Slab<JoinHandle<T>>,
    ended: Rc<RefCell<Ended>>,
    /// The one that has ended and whose output is not taken yet.
    joining: Option<JoinHandle<T>>,
}

#[derive(Default)]
struct Ended {
    keys: VecDeque<Key>,
    waker: Option<Waker>,
}

impl<T: 'static> TaskSet<T> {
    /// An empty set.
    #[must_use]
    pub fn new() -> TaskSet<T> {
        TaskSet { handles: Slab::new(), ended: Rc::default(), joining: None }
    }

    /// Spawns a task on the current runtime.
    ///
    /// # Panics
    /// If no runtime has its turn on this thread.
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = T> + 'static) {
        let ended = Rc::clone(&self.ended);
        self.handles.insert_with(|key| {
            // Made here, so that it also tells of a task that is dropped before its first poll.
            let note = Note { key, ended };
            crate::spawn(async move {
                let _note = note;
                future.await
            })
        });
    }

    /// How many tasks were spawned and not joined.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handles.len() + usize::from(self.joining.is_some())
    }

    /// Whether all that were spawned are joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for a task to end, and returns its output; None if there are none.
    ///
    /// Cancel safety: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        loop {
            if let Some(handle) = &mut self.joining {
                let output = ready!(Pin::new(handle).poll(cx));
                self.joining = None;
                return Poll::Ready(Some(output));
            }
            if self.handles.is_empty() {
                return Poll::Ready(None);
            }
            let key = self.ended.borrow_mut().keys.pop_front();
            match key {
                Some(key) => self.joining = self.handles.remove(key),
                None => {
                    let old = self.ended.borrow_mut().waker.replace(cx.waker().clone());
                    drop(old);
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<T: 'static> Default for TaskSet<T> {
    fn default() -> TaskSet<T> {
        TaskSet::new()
    }
}

impl<T> Drop for TaskSet<T> {
    fn drop(&mut self) {
        for key in self.handles.keys() {
            if let Some(handle) = self.handles.get(key) {
                handle.abort();
            }
        }
    }
}

impl<T> std::fmt::Debug for TaskSet<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSet").field("len", &self.handles.len()).finish_non_exhaustive()
    }
}

/// Tells, when it is dropped, that its task has ended, in whichever way.
struct Note {
    key: Key,
    ended: Rc<RefCell<Ended>>,
}

impl Drop for Note {
    fn drop(&mut self) {
        let mut ended = self.ended.borrow_mut();
        ended.keys.push_back(self.key);
        let waker = ended.waker.take();
        drop(ended);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_and_aborts_are_joined_like_outputs() {
        let outcomes = crate::run(async {
            let mut set = TaskSet::new();
            set.spawn(async { 1 });
            set.spawn(async { panic!("two") });
            let mut outcomes = Vec::new();
            while let Some(outcome) = set.next().await {
                outcomes.push(outcome.map_err(|error| error.to_string()));
            }
            outcomes
        });
        assert_eq!(outcomes.unwrap(), [Ok(1), Err("task panicked: two".to_string())]);
    }

    #[test]
    fn dropping_the_set_aborts_what_is_left() {
        let token = Rc::new(());
        crate::run(async {
            let mut set = TaskSet::new();
            let held = Rc::clone(&token);
            set.spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            crate::yield_now().await;
            drop(set);
            crate::yield_now().await;
            assert_eq!(Rc::strong_count(&token), 1);
        })
        .unwrap();
    }
}
