//! Whirligig: an async runtime for Linux from raw system calls up, with no dependencies.
//!
//! Direct bindings to epoll and the socket calls feed a reactor; an executor built only on
//! [`std::task`] drives futures that make raw non-blocking socket calls. It comes with a
//! **delayserver**, which answers `GET /{ms}/{message}` with the message after that many
//! milliseconds, and clients for it.
//!
//! ```
//! use whirligig::net::{TcpListener, TcpStream};
//! use whirligig::io::{AsyncRead, AsyncWrite};
//!
//! whirligig::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let server = whirligig::spawn(async move {
//!         let (mut stream, _) = listener.accept().await?;
//!         stream.write_all(b"hello").await
//!     });
//!     let mut stream = TcpStream::connect(address).await?;
//!     let mut bytes = Vec::new();
//!     stream.read_to_end(&mut bytes, 100).await?;
//!     assert_eq!(bytes, b"hello");
//!     server.await?
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each module uses only those that stand above it in this list:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`sys`] | the system calls, in safe wrappers |
//! | [`event`], [`timer`] | the event parser and the timer queue, pure |
//! | [`task`] | tasks, wakers and join handles |
//! | [`Runtime`], [`Workers`] | executor and reactor, joined, on one thread or several |
//! | [`time`], [`io`], [`net`], [`signal`], [`blocking`], [`future`] | what programs are written with |
//! | [`sync`] | what tasks and threads share: channels, locks, permits, notifications |
//! | [`callback`] | an event loop that calls functions, on the same reactor |
//! | `fiber` | functions on stacks of their own, as futures (x86-64, AArch64) |
//! | [`generator`] | functions that yield, as iterators |
//! | [`http`] | HTTP/1.1: pure parsers and writers, a server and a client |
//! | [`delay`] | the delayserver's service, and what its clients share |
//! | [`coroutine`] | what the compiler makes of an `async fn`, by hand: a lesson |
//! | `sim` | a simulated kernel, and a world of hosts on it (feature `sim`) |

pub mod blocking;
mod budget;
pub mod callback;
mod contain;
pub mod coroutine;
pub mod delay;
pub mod event;
mod executor;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod fiber;
pub mod future;
pub mod generator;
pub mod http;
mod innermost;
mod instant;
pub mod io;
mod lock;
pub mod net;
mod pinned;
mod reactor;
mod runtime;
pub mod signal;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod slab;
pub mod sync;
pub mod sys;
pub mod task;
mod task_set;
pub mod time;
pub mod timer;
mod workers;

pub use runtime::{Builder, Handle, Runtime, Turn, run, spawn, yield_now};
pub use task_set::TaskSet;
pub use workers::{ShutdownError, WorkerEvent, Workers};

/// What the documents say in code, compiled and run with the other examples.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/guide/1-threads.md")]
    struct Threads;
    #[doc = include_str!("../docs/guide/2-the-bare-loop.md")]
    struct TheBareLoop;
    #[doc = include_str!("../docs/guide/3-callbacks.md")]
    struct Callbacks;
    #[doc = include_str!("../docs/guide/4-tasks.md")]
    struct Tasks;
    #[doc = include_str!("../docs/guide/5-programs.md")]
    struct Programs;
    #[doc = include_str!("../docs/guide/6-coroutines.md")]
    struct Coroutines;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[doc = include_str!("../docs/guide/7-fibers.md")]
    struct Fibers;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[doc = include_str!("../docs/guide/8-generators.md")]
    struct Generators;
    #[doc = include_str!("../docs/guide/9-workers.md")]
    struct ManyRuntimes;
    #[cfg(feature = "sim")]
    #[doc = include_str!("../docs/guide/10-the-simulated-kernel.md")]
    struct TheSimulatedKernel;
}
