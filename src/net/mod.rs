//! TCP and UDP: listeners, streams, datagrams, and the addresses they go by.
//!
//! Sockets belong to the runtime under which they are first waited for, and to its thread.
//! [`TcpStream::detach`] takes one out, to be used elsewhere.

mod address;
mod connect;
mod half;
mod listener;
mod socket;
mod stream;
mod udp;

pub use address::{Addresses, Target, resolve};
pub use half::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use listener::{Accept, DetachedListener, TcpListener};
pub use socket::TcpSocket;
pub use std::net::{Shutdown, SocketAddr};
pub use stream::{DetachedStream, TcpStream};
pub use udp::{DetachedUdpSocket, UdpSocket};
