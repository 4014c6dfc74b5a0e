//! Generators: functions that yield values one by one, as iterators.
//!
//! There are two kinds. A [`Stackless`] one is an `async` block that waits for its own yields: the
//! compiler makes a state machine of it, and what lives across a yield is kept in that. A
//! [`Stackful`] one has a stack of its own, as a [fiber](crate::fiber) has: it can yield from
//! within any function that it calls, is handed a value with each resume, and returns one at the
//! end.
//!
//! ```
//! use whirligig::generator;
//!
//! let powers = generator::stackless(|yielder| async move {
//!     let mut power = 1u32;
//!     loop {
//!         yielder.suspend(power).await;
//!         power *= 2;
//!     }
//! });
//! assert!(powers.take(5).eq([1, 2, 4, 8, 16]));
//! ```
//!
//! Both run only while they are asked for the next value, on the caller's thread; neither needs a
//! runtime. Dropping one that is not at its end drops what it holds.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod stackful;
mod stackless;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub use stackful::{Resumed, Stackful, StackfulYielder, stackful};
pub use stackless::{Stackless, Yielder, stackless};
