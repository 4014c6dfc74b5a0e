//! What tasks share: channels, permits and notifications.
//!
//! All of this works from any thread and on any runtime, this crate's or another; it is `Send` and
//! `Sync` as far as what it carries is. Who waits, waits in a line: nobody's waker displaces
//! another's, a dropped future takes its own out, and what was meant for it passes to the next.

pub mod local;
pub mod mpsc;
mod mutex;
mod notify;
pub mod oneshot;
mod permits;
mod queue;
mod semaphore;
mod waiting;

#[cfg(test)]
mod tests;

pub use mutex::{Mutex, MutexGuard};
pub use notify::{Notified, Notify};
pub use semaphore::{AcquireError, Permit, Semaphore, TryAcquireError};
