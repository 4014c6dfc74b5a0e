//! A simulated Linux below the runtime, and a world of hosts that run on it (feature `sim`).
//!
//! The reactor, the executor, the sockets and HTTP are the very ones that ship: only the kernel
//! below them is another. It is deterministic: one seed decides everything that chance decides. Its
//! time is virtual: when every task waits, the clock jumps to the next thing that happens. And it
//! injects faults. So a bug that comes once in a thousand runs has a number, by which it comes
//! again whenever it is asked for.
//!
//! ```
//! use std::time::Duration;
//! use whirligig::io::{AsyncRead, AsyncWrite};
//! use whirligig::net::{TcpListener, TcpStream};
//! use whirligig::sim::World;
//!
//! let world = World::seeded(7);
//! world.host("server", || async {
//!     let listener = TcpListener::bind("0.0.0.0:80").await?;
//!     loop {
//!         let (mut stream, _) = listener.accept().await?;
//!         whirligig::time::sleep(Duration::from_secs(3600)).await;
//!         stream.write_all(b"an hour later").await?;
//!     }
//! });
//! let answer = world.run_until(async {
//!     let mut stream = TcpStream::connect("server:80").await?;
//!     let mut answer = Vec::new();
//!     stream.read_to_end(&mut answer, 100).await?;
//!     std::io::Result::Ok(answer)
//! });
//! assert_eq!(answer.unwrap(), b"an hour later");
//! assert!(world.elapsed() > Duration::from_secs(3600));
//! ```
//!
//! # What is simulated
//!
//! | part | how |
//! | --- | --- |
//! | descriptors | the lowest free number, a limit for each host |
//! | epoll | edge- and level-triggered, one-shot, the ready list's order, the room of a wait |
//! | TCP | handshake, backlog, windows and buffers, both ends' closing, resets, lingering, ports |
//! | urgent data | the mark, `EPOLLPRI`, `SO_OOBINLINE` |
//! | UDP | connected and not, whole or lost, ECONNREFUSED where nobody listens |
//! | time | a monotonic clock for each host, which jumps when all wait |
//! | names | each host has its own name; `localhost` is 127.0.0.1 |
//! | [`blocking`](crate::blocking) | runs on the world's thread, at a time that chance decides |
//! | [`signal`](crate::signal) | sent by [`World::signal`] |
//! | [`Workers`](crate::Workers) | take turns on their host, in an order that chance decides |
//!
//! A socket's [`AsFd`](std::os::fd::AsFd) lends a descriptor of `/dev/null`, and turning it into a
//! type of the standard library fails with `Unsupported`. Other threads are not simulated: one that
//! touches a world's socket, or wakes a task of a host that waits, panics and says so. Code that
//! goes past the library, to [`std::time`], [`std::net`] or [`std::thread`], is not in the world.

mod drive;
mod fault;
mod kernel;
mod link;
mod machine;
mod planted;
mod random;
mod seeds;
#[cfg(test)]
mod tests;
mod trace;
mod workers;
mod world;

pub use fault::{Fault, Faults};
pub use link::Link;
#[doc(hidden)]
pub use planted::Planted;
pub use random::Random;
pub use seeds::{Report, seeds, seeds_twice, twice};
pub use world::{Counts, World};
