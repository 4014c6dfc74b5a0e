//! What tasks share: channels, locks, permits and notifications.
//!
//! | | for any thread | for the tasks of one |
//! | --- | --- | --- |
//! | many values, with room for so many or any number | [`mpsc`] | [`local::mpsc`] |
//! | one value | [`oneshot`] | [`local::oneshot`] |
//! | that something happened | [`Notify`] | [`local::Notify`] |
//! | a bound on what goes on at once | [`Semaphore`] | [`local::Semaphore`] |
//! | a value that one may use at a time | [`Mutex`] | [`local::Mutex`] |
//!
//! The first kind works from any thread and on any runtime, this crate's or another; it is `Send`
//! and `Sync` as far as what it carries is. The second needs neither atomics nor locks.
//!
//! **Who waits** waits in a line, in the order of the first polls: nobody's waker displaces
//! another's, and nobody passes a waiter by. A future that is dropped takes its waker out, and what
//! was meant for it passes to the next: each method says so under "Cancel safety".
//!
//! **Memory**: a waiter costs its place in the line, and a channel what its values take; that goes
//! with the last who has it. Values that were sent and not received are dropped with the receiver,
//! on its thread. Closing a channel keeps them.
//!
//! **Busy tasks give way**: an operation that need not wait counts against the poll's allowance,
//! and when that is used up the task goes on after others.

mod line;
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
