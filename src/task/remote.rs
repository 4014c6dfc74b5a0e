//! Tasks that are spawned elsewhere than at home.
#![expect(unsafe_code, reason = "makes cells whose future comes to be at their home only")]

use super::cell::{Cell as TaskCell, Task};
use super::chunk::Chunk;
use super::header::First;
use super::home::{AtHome, Shared};
use super::inbox::Message;
use super::join::JoinHandle;
use super::pool;
use super::state::{Place, Status};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

impl Shared {
    /// Spawns a task from any thread. `make` is called at home, where the future that it makes
    /// stays. If home is gone, or ending its tasks, the task is aborted.
    pub(crate) fn spawn_remote<M, F>(
        self: &Arc<Self>,
        make: M,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send,
    {
        let future = async move { make().await };
        // Until it is polled it holds nothing but `make`, which may be here as well as there.
        spawn_unstarted(self, future, spawned_at)
    }
}

/// `future` may be moved to another thread while it was not polled, and be dropped there.
fn spawn_unstarted<F: Future + 'static>(
    home: &Arc<Shared>,
    future: F,
    spawned_at: &'static Location<'static>,
) -> JoinHandle<F::Output> {
    let header = pool::single(const { &TaskCell::<F>::SINGLE }, Arc::clone(home));
    let first = First { id: super::Id::next(), spawned_at };
    // SAFETY: the cell is ours, and for this type.
    unsafe { TaskCell::write(header, first, future) };
    // SAFETY: home's reference, from when the message arrives.
    let task = unsafe { Task::from_header(header) };
    // SAFETY: it stays home's until the task is over, and is the handle's from then on.
    let handle = JoinHandle::new(unsafe { Task::from_header(header) });
    if let Err(message) = home.inbox().push(Message::New(task)) {
        let Message::New(task) = message else { unreachable!("a message comes back as it was") };
        // SAFETY: home refused the task, so that nobody else knows it but its handle, which waits
        // for it to be over; the future was not polled, and may be dropped here.
        unsafe { end_unstarted(&task) };
        // The reference is the handle's now.
        std::mem::forget(task);
    }
    handle
}

/// # Safety
/// The future is the caller's, and may be dropped on this thread.
unsafe fn end_unstarted(task: &Task) {
    let header = task.header();
    // SAFETY: the caller's promise.
    unsafe { (header.vtable.get().cancel)(task.as_ptr()) };
    header.place.set(Place::Over);
    let status = Status::from_bits(header.status.load(std::sync::atomic::Ordering::Relaxed));
    header.set_status(status.complete().0);
}

impl AtHome<'_> {
    /// Takes in a task that was spawned elsewhere.
    pub(super) fn adopt(self, task: Task) {
        let header = task.as_ptr();
        // SAFETY: a live cell.
        self.pool().add(unsafe { Chunk::of(header) });
        // The message's reference is home's from now on.
        std::mem::forget(task);
        // SAFETY: a live cell, which is in no queue, with a reference for home.
        unsafe { self.take_in(header) };
    }
}
