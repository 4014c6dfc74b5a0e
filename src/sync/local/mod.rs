//! The same for the tasks of one thread: without atomics and locks, and so a good deal cheaper.
//!
//! Methods have the names, the order and the cancel safety of those in [`sync`](super), and the
//! errors are the same types. What differs: nothing here is `Send`, and nothing blocks the thread,
//! as nobody else could end the wait.
//!
//! Wakers, and the drops of values, may use what they are in while it wakes or drops them: to send,
//! to receive, to close it, or to drop it.

pub mod mpsc;
mod mutex;
mod notify;
pub mod oneshot;
mod semaphore;

pub use mutex::{Mutex, MutexGuard};
pub use notify::{Notified, Notify};
pub use semaphore::{Permit, Semaphore};
