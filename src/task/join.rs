//! Join handles: a task's output, and the ways in which there may be none.
#![expect(unsafe_code, reason = "shares the task cell under the state's rules")]

use super::Id;
use super::cell::{Payload, Task};
use super::header::Header;
use super::home::{AtHome, Shared};
use super::inbox::Message;
use crate::lock::lock;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Names a spawned task and claims its output.
///
/// Awaiting it gives the output, or a [`JoinError`] if the task panicked or was aborted. Dropping
/// it detaches the task, which goes on; an output that nobody claims is dropped by the task's own
/// runtime. It may be sent to another thread if the output may be.
///
/// Cancel safety: awaiting `&mut handle` and dropping that future loses nothing.
///
/// # Panics
/// If it is polled again after it gave the output.
pub struct JoinHandle<T> {
    /// None once the output was taken. Its reference is home's until the task is over, and the
    /// handle's from then on.
    task: Option<Task>,
    output: PhantomData<T>,
}

// SAFETY: the handle carries at most a `T` from one thread to another; the rest goes through the
// task's remote word and its home's inbox. `PhantomData<T>` alone decides, and `Task` is `Send` and
// `Sync`, so `Send` is derived as `T: Send`. `Sync`: no method of `&self` reaches the output.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    pub(super) fn new(task: Task) -> JoinHandle<T> {
        JoinHandle { task: Some(task), output: PhantomData }
    }

    /// Asks for the task's end, from any thread.
    ///
    /// The future is dropped at the task's next turn, by its own runtime, and only then does the
    /// join complete. A task that ends by itself in the meantime has its output after all.
    pub fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }

    /// A handle that can only abort, and does not keep the task from being detached.
    ///
    /// # Panics
    /// After the output was taken.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(self.task.clone().expect("the output was not yet taken"))
    }

    /// Whether the task is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(|task| task.header().status().is_done())
    }

    /// The task's name; None after the output was taken.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        self.task.as_ref().map(Task::id)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task =
            self.task.as_ref().expect("a join handle is not polled after it gave the output");
        if !task.header().status().is_done() && !leave_waker(task, cx.waker()) {
            return Poll::Pending;
        }
        // SAFETY: the task is over and this is its join handle, so the output is ours until the
        // handle has no task any more; `T` is its type, since handle and cell were made together.
        let output = unsafe { task.take_output() };
        // SAFETY: the handle's reference, which is only forgotten after that. It runs no code of
        // others, so that it does not unwind.
        unsafe { Header::release(task.as_ptr()) };
        // Done after the last call, that need not be looked at when the handle is dropped.
        mem::forget(self.task.take());
        Poll::Ready(output)
    }
}

/// Sees to it that `waker` is woken when the task ends; true if it has.
#[inline(never)]
fn leave_waker(task: &Task, waker: &Waker) -> bool {
    if let Some(home) = AtHome::of(task.header()) {
        home.leave_waker(task.header(), waker);
        return false;
    }
    // Only a home that is gone refuses: it has ended its tasks.
    Shared::of(task).inbox().push_joining(task.clone(), waker.clone()).is_err()
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            detach(task);
        }
    }
}

/// A join handle is gone that did not take the output.
#[inline(never)]
fn detach(task: Task) {
    if Shared::is_current(task.header().home) {
        AtHome::current(|home| home.detach(ManuallyDrop::new(task)));
    } else {
        detach_elsewhere(task);
    }
}

/// An output that nobody claims is dropped at home, if there still is one.
#[cold]
fn detach_elsewhere(task: Task) {
    let home = Shared::of(&task);
    if let Err(Message::Detached(task)) = home.inbox().push(Message::Detached(task)) {
        // SAFETY: the task is over, its home gone, and this was its handle, so the output is ours;
        // it may be dropped here, for the handle was here only if the output may be.
        unsafe { task.drop_output() };
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("JoinHandle");
        if let Some(task) = &self.task {
            out.field("id", &task.id()).field("spawned_at", &task.spawned_at());
            out.field("status", &task.header().status());
        }
        out.finish()
    }
}

/// Can abort a task, from any thread; any number may exist.
#[derive(Clone)]
pub struct AbortHandle(Task);

impl AbortHandle {
    /// As [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.header().status().is_done()
    }

    /// The task's name.
    #[must_use]
    pub fn id(&self) -> Id {
        self.0.id()
    }

    /// Where the task was spawned.
    #[must_use]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.0.spawned_at()
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.id())
            .field("spawned_at", &self.spawned_at())
            .finish()
    }
}

/// Why a task has no output: it panicked, or it was aborted.
pub struct JoinError {
    /// None if it was aborted. The mutex makes the error `Sync`, as errors are expected to be: a
    /// payload need not be.
    /// Boxed once more, since the place for it is part of every task.
    panic: Option<Box<Mutex<Payload>>>,
}

impl JoinError {
    pub(super) fn aborted() -> JoinError {
        JoinError { panic: None }
    }

    pub(super) fn panicked(payload: Payload) -> JoinError {
        JoinError { panic: Some(Box::new(Mutex::new(payload))) }
    }

    /// Whether the task was aborted, or its runtime dropped.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.panic.is_none()
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
    }

    /// What the task panicked with, to look at or to resume ([`std::panic::resume_unwind`]).
    ///
    /// # Errors
    /// The error itself, if the task was aborted.
    pub fn try_into_panic(self) -> Result<Box<dyn std::any::Any + Send>, JoinError> {
        match self.panic {
            Some(payload) => {
                Ok(payload.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
            }
            None => Err(self),
        }
    }

    /// The panic's message, if it is a string, as with `panic!`.
    fn message(&self) -> Option<String> {
        let payload = lock(self.panic.as_ref()?);
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_string());
        text.or_else(|| payload.downcast_ref::<String>().cloned())
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_panic(), self.message()) {
            (false, _) => f.write_str("task was aborted"),
            (true, Some(message)) => write!(f, "task panicked: {message}"),
            (true, None) => f.write_str("task panicked"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> std::io::Error {
        std::io::Error::other(error)
    }
}
