//! Listening for connections.

use super::address::{Addresses, resolve};
use super::{TcpSocket, TcpStream};
use crate::reactor::{After, Attempt, Direction, Watched};
use crate::sys::{Descriptor, RawAddress, is_connection_error, unless_blocked, would_block};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A socket that listens for TCP connections.
///
/// Several tasks may accept on one listener at the same time: all that wait are woken when a
/// connection comes, and each connection goes to one of them.
#[derive(Debug)]
pub struct TcpListener {
    /// Its only strong reference, but while the reactor has something to tell it.
    watched: Rc<Watched>,
    asking: Cell<Asking>,
}

impl TcpListener {
    pub(super) fn new(watched: Watched) -> TcpListener {
        watched.report_by_level();
        TcpListener { watched: Rc::new(watched), asking: Cell::new(Asking::ALWAYS) }
    }

    fn into_watched(self) -> Watched {
        Rc::into_inner(self.watched).expect("nobody but the listener keeps it")
    }

    /// Listens at the first address of `target` at which that works, with `SO_REUSEADDR` and a
    /// backlog of 4,096; [`TcpSocket`] has the other options. Port 0 picks a free one.
    ///
    /// Cancel safety: nothing is left behind.
    ///
    /// # Errors
    /// Those of [`resolve`], and then the last address's: `AddrInUse`, `AddrNotAvailable`,
    /// `PermissionDenied` and the others of `bind(2)`.
    pub async fn bind(target: impl Addresses) -> io::Result<TcpListener> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in resolve(target).await? {
            match TcpSocket::listening(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Listens at `address`; as [`TcpListener::bind`] with nothing to look up.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
        TcpSocket::listening(address)
    }

    /// Waits for the next connection, and returns it with its peer's address.
    ///
    /// Connections that failed while they were queued (`accept(2)`, "Error handling") are passed
    /// over.
    ///
    /// Cancel safety: if it is dropped before it is done, no connection was taken.
    ///
    /// # Errors
    /// Out of descriptors or memory: the connection stays queued, and the next call tries again at
    /// once, so wait a little before it ([`is_exhaustion`](crate::sys::is_exhaustion) tells).
    /// If the listener belongs to another runtime; those of `epoll_ctl(2)`.
    pub fn accept(&self) -> Accept<'_> {
        Accept { listener: self, number: None }
    }

    /// Takes a connection that is queued, if there is one, and does not wait: for the last ones,
    /// before a listener is closed. Connections that failed are passed over.
    ///
    /// # Errors
    /// As [`accept`](TcpListener::accept).
    pub fn try_accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            return match self.watched.descriptor().accept() {
                Ok((descriptor, peer)) => {
                    Ok(Some((TcpStream::new(Watched::new(descriptor)), peer)))
                }
                Err(error) if would_block(&error) => Ok(None),
                Err(error) if is_connection_error(&error) => continue,
                Err(error) => Err(crate::io::during("accept", "tcp", error)),
            };
        }
    }

    #[inline]
    fn poll_accept(
        &self,
        cx: &Context<'_>,
        number: &mut Option<u64>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            // Beside the result, which is handed through several functions.
            let mut peer = RawAddress::empty();
            let accepting = Accepting { listener: self, peer: &mut peer };
            let polled = self.watched.poll_level_attempt(cx, Direction::Read, number, accepting);
            let error = match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(descriptor)) => {
                    let stream = TcpStream::new(Watched::new(descriptor));
                    if let Some(number) = number.take() {
                        self.watched.release(Direction::Read, number);
                    }
                    return Poll::Ready(peer.decode().map(|peer| (stream, peer)));
                }
                Poll::Ready(Err(error)) => error,
            };
            if !is_connection_error(&error) {
                return Poll::Ready(Err(crate::io::during("accept", "tcp", error)));
            }
        }
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.watched.descriptor().local_address()
    }

    /// Takes the listener out of its runtime, so that it can be sent to another thread and used
    /// under another runtime.
    #[must_use]
    pub fn detach(self) -> DetachedListener {
        let (descriptor, has_duplicates) = self.into_watched().into_parts();
        DetachedListener { descriptor, has_duplicates }
    }

    /// Takes over a listener of the standard library's.
    ///
    /// # Errors
    /// If it can't be made non-blocking. `Unsupported` under a kernel that is not Linux.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener::new(Watched::adopt(listener.into())?))
    }

    /// Makes it one of the standard library's, still non-blocking.
    ///
    /// # Errors
    /// `Unsupported` under a kernel that is not Linux; the listener is then closed.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        Ok(self.into_watched().into_descriptor().into_owned_fd()?.into())
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

/// `accept4(2)`, which writes to `peer` from whom the connection is.
struct Accepting<'a> {
    listener: &'a TcpListener,
    peer: &'a mut RawAddress,
}

impl Attempt for Accepting<'_> {
    type Output = Descriptor;

    #[inline(always)]
    fn make(&mut self, descriptor: &Descriptor) -> io::Result<Option<(Descriptor, After)>> {
        let asking = &self.listener.asking;
        let Some(accepted) = unless_blocked(descriptor.accept_from(self.peer))? else {
            asking.set(asking.get().after_none());
            return Ok(None);
        };
        if !self.listener.watched.reports_by_level() {
            return Ok(Some((accepted, After::MayBeMore)));
        }
        let now = asking.get().after_connection();
        asking.set(now);
        Ok(Some((accepted, if now.asks() { After::MayBeMore } else { After::Short })))
    }
}

/// Whether to ask for another connection after one was accepted, or to wait at once.
///
/// The kernel reports by level that there are connections: so the call that would say that there
/// is none can be left out, and is while connections come one by one. When they come in crowds it
/// is better to go on until there is none, rather than to look at the kernel after each: to see
/// that they do, every now and then it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asking(u8);

/// Connections after which nobody asked, until somebody does.
const UNASKED_MAX: u8 = 16;

impl Asking {
    /// It is asked each time; no connection was accepted yet since there was none.
    const ALWAYS: Asking = Asking(UNASKED_MAX);
    const ALWAYS_AND_ONE: Asking = Asking(UNASKED_MAX + 1);
    const ALWAYS_AND_MORE: Asking = Asking(UNASKED_MAX + 2);

    const fn asks(self) -> bool {
        self.0 > UNASKED_MAX
    }

    const fn after_connection(self) -> Asking {
        if self.0 < Asking::ALWAYS_AND_MORE.0 { Asking(self.0 + 1) } else { self }
    }

    const fn after_none(self) -> Asking {
        match self {
            // One by one: no need to ask.
            Asking::ALWAYS_AND_ONE => Asking(0),
            Asking::ALWAYS_AND_MORE => Asking::ALWAYS,
            unasked => unasked,
        }
    }
}

/// A listener that belongs to no runtime, and may be sent to another thread.
#[derive(Debug)]
pub struct DetachedListener {
    descriptor: Descriptor,
    /// See [`Watched`]: it must not be forgotten on the way.
    has_duplicates: bool,
}

impl DetachedListener {
    /// The address that it listens at.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.descriptor.local_address()
    }

    /// Makes it a listener of whichever runtime first waits for it.
    #[must_use]
    pub fn attach(self) -> TcpListener {
        TcpListener::new(Watched::from_parts(self.descriptor, self.has_duplicates))
    }
}

/// The future of [`TcpListener::accept`].
#[derive(Debug)]
#[must_use = "accepting does nothing unless it is awaited"]
pub struct Accept<'a> {
    listener: &'a TcpListener,
    /// Its name among the waiters, once it waited.
    number: Option<u64>,
}

impl Future for Accept<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.listener.poll_accept(cx, &mut this.number)
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.listener.watched.leave(Direction::Read, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fault::{Call, PassThrough};
    use crate::time::sleep;
    use crate::{Runtime, yield_now};
    use std::net::TcpStream as StdStream;
    use std::time::Duration;

    #[test]
    fn connections_one_by_one_are_asked_for_now_and_then_and_crowds_to_their_end() {
        let one = |asking: Asking| asking.after_connection();
        let mut asking = one(Asking::ALWAYS);
        assert!(asking.asks(), "at first");
        asking = asking.after_none();
        for _ in 0..UNASKED_MAX {
            asking = one(asking);
            assert!(!asking.asks());
            assert_eq!(asking.after_none(), asking, "a wake for nothing says nothing");
        }
        asking = one(asking);
        assert!(asking.asks(), "now and then");
        assert!(!one(asking.after_none()).asks());
        let crowd = one(one(one(asking)));
        assert!(crowd.asks() && one(crowd.after_none()).asks(), "a crowd may follow another");
        assert!(!one(one(crowd.after_none()).after_none()).asks());
    }

    #[test]
    fn connections_one_by_one_cost_hardly_a_call_that_finds_none() {
        const CONNECTIONS: u64 = 100;
        let kernel = PassThrough::new();
        Runtime::on(kernel.handle()).unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for _ in 0..CONNECTIONS {
                // The accept waits before there is anything.
                let accept = crate::future::join(listener.accept(), async {
                    yield_now().await;
                    StdStream::connect(address).unwrap()
                });
                let (accepted, _client) = accept.await;
                accepted.unwrap();
            }
        });
        let in_vain = kernel.count(Call::Accept) - CONNECTIONS;
        assert!(in_vain <= CONNECTIONS / u64::from(UNASKED_MAX) + 2, "{in_vain} in vain");
    }

    #[test]
    fn a_connection_that_nobody_accepts_keeps_the_loop_from_no_sleep() {
        let kernel = PassThrough::new();
        Runtime::on(kernel.handle()).unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let connect = || StdStream::connect(address).unwrap();
            for _ in 0..3 {
                // It waits, so that the kernel reports; then nobody waits, and one more comes.
                let accept = crate::future::join(listener.accept(), async {
                    yield_now().await;
                    connect()
                });
                accept.await.0.unwrap();
            }
            let _queued = [connect(), connect()];
            let before = kernel.count(Call::EpollWait);
            sleep(Duration::from_millis(30)).await;
            let waits = kernel.count(Call::EpollWait) - before;
            assert!(waits < 10, "{waits} waits while nothing was to be done");
            for _ in 0..2 {
                listener.accept().await.unwrap();
            }
        });
    }

    #[test]
    fn a_crowd_is_accepted_whole_however_it_comes() {
        crate::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for count in [1, 1, 40, 2, 1, 3, 1, 25] {
                let clients: Vec<_> =
                    (0..count).map(|_| StdStream::connect(address).unwrap()).collect();
                for _ in &clients {
                    listener.accept().await.unwrap();
                }
            }
        })
        .unwrap();
    }
}
