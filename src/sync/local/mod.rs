//! The same for the tasks of one thread: without atomics and locks, and so a good deal cheaper.
//!
//! Methods have the names and the cancel safety of those in [`sync`](super). What differs: nothing
//! here is `Send`, and there is nothing that blocks the thread, as nobody else could end the wait.

pub mod mpsc;
