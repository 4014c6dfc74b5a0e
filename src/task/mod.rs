//! Tasks: futures that a runtime owns and polls, and the wakers and join handles that name them.
//!
//! A task is one allocation, its cell. What the parts of the cell are and who may touch which is
//! in `cell`, when they may in `state`. A task knows nothing of the runtime but a `Schedule`.

mod cell;
mod join;
mod state;
#[cfg(test)]
mod tests;

pub use join::{AbortHandle, JoinError, JoinHandle};

pub(crate) use cell::{Home, Ran, Task};

/// What a task's waker does with the task: puts it where its runtime finds it.
pub(crate) trait Schedule: Send + Sync + 'static {
    /// Takes a task to be run at home, from whichever thread.
    ///
    /// # Errors
    /// The task itself, if its runtime is gone.
    fn schedule(&self, task: Task) -> Result<(), Task>;

    /// Whether the calling thread is in the runtime whose tasks these are.
    fn is_current(&self) -> bool;
}

/// Names a task for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(crate) u64);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
