//! Connecting: to an address, and to the first of several at which that works.

use super::address::{Target, resolve};
use super::{TcpSocket, TcpStream};
use crate::io::during;
use crate::reactor::{After, Attempt, Direction, Watched};
use crate::sys::{Connect, Descriptor, Family, RawAddress, unless_blocked};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future of [`TcpSocket::connect`]: small, as it is moved about before it is polled.
///
/// ```text
///                 socket(2)         connect(2): EINPROGRESS         connect(2): done
///   New address -----------> Open --------------------------> UnderWay ----------> done
///                              `----- connect(2): done ---------------------------^
/// ```
pub(super) struct Connecting {
    /// None before there is a socket, and once it is done or has failed.
    watched: Option<Watched>,
    address: SocketAddr,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Open,
    UnderWay,
}

impl Connecting {
    /// Connects `watched`, a socket.
    #[inline]
    pub(super) fn of(watched: Watched, address: SocketAddr) -> Connecting {
        Connecting { watched: Some(watched), address, stage: Stage::Open }
    }

    /// Connects a socket that is made by the first poll.
    #[inline]
    fn to(address: SocketAddr) -> Connecting {
        Connecting { watched: None, address, stage: Stage::New }
    }

    /// Makes a socket, unless there is one, and begins to connect it.
    #[inline]
    fn begin(&mut self, address: &RawAddress) -> io::Result<Connect> {
        if self.stage == Stage::New {
            self.watched = Some(TcpSocket::new(Family::of(&self.address))?.into_watched());
            self.stage = Stage::Open;
        }
        self.watched().descriptor().connect_to(address)
    }

    #[inline]
    fn watched(&self) -> &Watched {
        self.watched.as_ref().expect("a connect is not polled after it is done")
    }

    #[inline]
    fn poll_connected(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let address = RawAddress::from(&self.address);
        if self.stage != Stage::UnderWay {
            match self.begin(&address) {
                Ok(Connect::InProgress) => self.stage = Stage::UnderWay,
                result => return Poll::Ready(result.map(drop)),
            }
        }
        self.watched().poll_attempt(cx, Direction::Write, Asking(&address))
    }

    #[cold]
    fn failed(&mut self, error: io::Error) -> io::Error {
        self.watched = None;
        match self.stage {
            // It says of itself what failed.
            Stage::New => error,
            _ => during("connect", self.address, error),
        }
    }
}

/// Asks again each time that the socket becomes writable: unlike `SO_ERROR`, a second `connect(2)`
/// tells a connection that stands from one still under way, as well as from one that failed. It is
/// asked once at once, too: on the same machine it mostly stands by then.
struct Asking<'a>(&'a RawAddress);

impl Attempt for Asking<'_> {
    type Output = ();

    #[inline(always)]
    fn make(&mut self, socket: &Descriptor) -> io::Result<Option<((), After)>> {
        Ok(match unless_blocked(socket.connect_to(self.0))? {
            Some(Connect::Done) => Some(((), After::MayBeMore)),
            Some(Connect::InProgress) | None => None,
        })
    }
}

impl Future for Connecting {
    type Output = io::Result<TcpStream>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.poll_connected(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(this.failed(error))),
            Poll::Ready(Ok(())) => {}
        }
        let watched = this.watched.take().expect("a connect is not polled after it is done");
        // What the peer says takes a while to come, whoever speaks first: so the first read waits
        // at once, rather than to be told that there is nothing.
        watched.clear_readiness(Direction::Read);
        // Whoever waits to write may be another task than this.
        watched.forget_waiter(Direction::Write);
        Poll::Ready(Ok(TcpStream::new(watched)))
    }
}

/// The future of [`TcpStream::connect`].
pub(super) enum ConnectingTo {
    /// An address is known.
    One(Connecting),
    /// Apart, so that it takes no room in the futures of those who have an address.
    Any(Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>),
    /// The target is none; None once that was told.
    Nowhere(Option<io::Error>),
}

impl ConnectingTo {
    #[inline]
    pub(super) fn new(target: io::Result<Target>) -> ConnectingTo {
        match target {
            Ok(Target::One(address)) => ConnectingTo::One(Connecting::to(address)),
            Ok(target) => ConnectingTo::Any(connecting_to_any(target)),
            Err(error) => ConnectingTo::Nowhere(Some(error)),
        }
    }
}

#[cold]
fn told(error: &mut Option<io::Error>) -> io::Error {
    error.take().expect("a connect is not polled after it is done")
}

impl Future for ConnectingTo {
    type Output = io::Result<TcpStream>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            ConnectingTo::One(connecting) => Pin::new(connecting).poll(cx),
            ConnectingTo::Any(connecting) => connecting.as_mut().poll(cx),
            ConnectingTo::Nowhere(error) => Poll::Ready(Err(told(error))),
        }
    }
}

/// Not generic, and so compiled with this library, once.
#[cold]
fn connecting_to_any(target: Target) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>>>> {
    Box::pin(connect_to_any(target))
}

async fn connect_to_any(target: Target) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in resolve(target).await? {
        // Where the kernel lacks a family, an address of the other may do.
        match Connecting::to(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
