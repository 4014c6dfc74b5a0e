//! Reading and writing: poll-based traits, and the async methods on them.
//!
//! The traits are what a protocol is written against: [`AsyncRead::poll_read`] and
//! [`AsyncWrite::poll_write`] take `&mut self` and no `Pin`, so an adaptor to another library's
//! traits is a few lines. Everything else here is provided on top of them.

mod buffered;
mod copy;
mod error;
mod pool;
mod read;
mod write;

pub use buffered::BufReader;
pub use copy::copy;
pub use error::{CallError, os_error};
pub use pool::{BufferPool, PooledBuffer};
pub use read::{AsyncRead, Read, ReadExact, ReadInto};
pub use write::{AsyncWrite, Write, WriteAll};

pub(crate) use error::during;
