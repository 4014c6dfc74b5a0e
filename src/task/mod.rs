//! Tasks: futures that a runtime owns and polls, and the wakers and join handles that name them.
//!
//! A task is one block of memory, its cell. What the parts of the cell are is in `cell`, who may
//! do what when in `state`, and who runs tasks in `home`. A task knows nothing of the runtime but
//! its home.

mod cell;
mod chunk;
mod header;
mod home;
mod inbox;
mod join;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod journal;
mod pool;
mod queue;
mod receive;
mod remote;
mod state;
#[cfg(test)]
mod tests;
mod waker;

pub use join::{AbortHandle, JoinError, JoinHandle};

#[cfg(any(test, feature = "sim"))]
pub(crate) use home::outside;
pub(crate) use home::{AtHome, Home, Shared};
pub(crate) use waker::WakerSlot;

/// Names a task for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(crate) u64);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
