//! A coroutine by hand: what the compiler makes of an `async fn`, written out.
//!
//! [`ask`] makes one request of a delayserver. This is how it reads as an `async fn`; the waits
//! are numbered:
//!
//! ```
//! # use std::io;
//! # use std::net::SocketAddr;
//! # use std::rc::Rc;
//! # use whirligig::delay::{Incoming, Planned};
//! # use whirligig::io::{AsyncRead, AsyncWrite};
//! # use whirligig::net::TcpStream;
//! async fn ask(
//!     addresses: Rc<[SocketAddr]>,
//!     planned: Planned,
//!     request: Vec<u8>,
//! ) -> io::Result<Planned> {
//!     let mut stream = TcpStream::connect(&*addresses).await?; // 1
//!     stream.write_all(&request).await?; // 2
//!     let mut incoming = Incoming::default();
//!     loop {
//!         let mut chunk = [0; 4096];
//!         let count = stream.read(&mut chunk).await?; // 3
//!         if let Some((status, body)) = incoming.receive(&chunk[..count])? {
//!             planned.check(status, &body)?;
//!             return Ok(planned);
//!         }
//!     }
//! }
//! ```
//!
//! Such a function can't keep its locals on the stack while it waits, since it returns to whoever
//! polls it. So there is a value, the machine, that keeps what outlives a wait, and a state that
//! says at which wait it stands:
//!
//! ```text
//!     poll: connected         poll: all is sent       poll: all is there
//!   Connecting -------> Sending -----------> Receiving -----------> Done
//!        1                 2                     3
//!
//!   keeps: connect      stream, request,      stream, incoming
//!                       sending
//!
//!              .------------------- Ask -------------------.
//!              | state: Sending(SendAll { stream, unsent }) |
//!              |                           |        |       |
//!              | stream: TcpStream  <------'        |       |
//!              | request: Vec ----> [GET /500/...]  |       |
//!              '------------------------^-----------|-------'
//!                                       `-----------'
//! ```
//!
//! The future that `write_all` returns borrows two locals, `stream` and `request`. They are in the
//! machine, and so is that future: **the machine refers to itself**. No lifetime can say so, hence
//! the pointers, and the unsafe code that follows them.
//!
//! # Why it is pinned
//!
//! A value in Rust is moved by copying its bytes. The arrow to `stream` would not move with them:
//!
//! ```text
//!      before: at 0x1000                after: at 0x2000
//!      .---------------.                .---------------.
//!      | sending  ---. |                | sending  ---. |       0x1000 is nobody's now,
//!      | stream  <---' |                | stream      | |       or somebody else's
//!      '---------------'                '-------------|-'
//!                                         0x1008 <----'
//! ```
//!
//! So a machine must not be moved once it refers to itself. That is what `Pin<&mut Self>` in
//! [`Future::poll`] promises: who has one has given up the right to move what it points to, for a
//! type that is not [`Unpin`]. The field `PhantomPinned` takes `Unpin` away. Before the first
//! poll it may be moved as one likes, and it has to be: to where it is pinned. Each of these is
//! refused by the compiler:
//!
//! ```compile_fail,E0277
//! # fn show(planned: whirligig::delay::Planned, request: Vec<u8>) {
//! let mut machine = whirligig::coroutine::ask([].into(), planned, request);
//! let pinned = std::pin::Pin::new(&mut machine); // only for what is `Unpin`
//! # }
//! ```
//!
//! ```compile_fail,E0277
//! # fn show(planned: whirligig::delay::Planned, request: Vec<u8>) {
//! let mut machine = Box::pin(whirligig::coroutine::ask([].into(), planned, request));
//! let exposed = machine.as_mut().get_mut(); // the same: it could be moved through this
//! # }
//! ```
//!
//! ```compile_fail,E0277
//! # use {std::future::Ready, std::io, whirligig::coroutine::Ask, whirligig::net::TcpStream};
//! fn may_be_moved<T: Unpin>() {}
//! may_be_moved::<Ask<Ready<io::Result<TcpStream>>>>(); // though all its fields may be
//! ```
//!
//! The tests of this module move and swap machines halfway, in the one place where that can be
//! done, and show where the pointers lead.
#![expect(unsafe_code, reason = "follows pointers of a value into itself, which it pins")]

use crate::delay::{Incoming, Planned};
use crate::io::{AsyncRead, AsyncWrite};
use crate::net::{SocketAddr, TcpStream};
use std::future::Future;
use std::io;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

#[cfg(test)]
mod tests;

/// Makes a request, and waits for its answer, which has to be the planned one.
///
/// ```
/// use whirligig::coroutine::ask;
/// use whirligig::delay::Planned;
/// use whirligig::io::{AsyncRead, AsyncWrite};
/// use whirligig::net::TcpListener;
///
/// whirligig::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     whirligig::spawn(async move {
///         let (mut stream, _) = listener.accept().await?;
///         stream.read(&mut [0; 1024]).await?;
///         stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await
///     });
///     let planned = Planned { delay_ms: 0, message: "hello".into() };
///     let request = planned.to_bytes("localhost")?;
///     let answered = ask([address].into(), planned, request).await?;
///     assert_eq!(answered.message, "hello");
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Cancel safety: dropping it closes the connection.
///
/// # Errors
/// Those of the connection; `UnexpectedEof` if it ends before the answer does; `InvalidData` for an
/// answer that is no HTTP, or another than planned.
///
/// # Panics
/// If it is polled after it was done, as an `async fn` does.
pub fn ask(
    addresses: Rc<[SocketAddr]>,
    planned: Planned,
    request: Vec<u8>,
) -> Ask<impl Future<Output = io::Result<TcpStream>>> {
    Ask {
        state: State::Connecting(async move { TcpStream::connect(&*addresses).await }),
        planned,
        request,
        stream: None,
        incoming: Incoming::default(),
        _pinned: PhantomPinned,
    }
}

/// The machine; see [`ask`]. `C` is the future of the connection, which has no name.
#[must_use = "futures do nothing unless they are polled"]
pub struct Ask<C> {
    state: State<C>,
    /// An argument, which is there from the beginning.
    planned: Planned,
    /// Read through the state's pointer while it is `Sending`.
    request: Vec<u8>,
    /// A local: there once it is connected. Used only through the state's pointer while that is
    /// `Sending`.
    stream: Option<TcpStream>,
    /// A local: used while it is `Receiving`.
    incoming: Incoming,
    /// Takes `Unpin` away, and with it the compiler's licence to think that a `&mut Ask` is the
    /// only way to what it points to.
    _pinned: PhantomPinned,
}

/// The wait at which a machine stands, with the future that it waits for.
enum State<C> {
    Connecting(C),
    Sending(SendAll),
    Receiving,
    Done,
}

/// The future of `stream.write_all(&request)`, whose two borrows are pointers here.
struct SendAll {
    /// The field `stream` of the machine that this is in.
    stream: NonNull<TcpStream>,
    /// What is left of the bytes of its field `request`.
    unsent: NonNull<[u8]>,
}

impl<C> Ask<C> {
    /// From the first wait to the second. From now on the machine refers to itself.
    ///
    /// Making pointers is safe. Who follows them has to know that the machine is where it was.
    fn begin_sending(&mut self, stream: TcpStream) {
        let stream = NonNull::from(self.stream.insert(stream));
        let unsent = NonNull::from(self.request.as_slice());
        self.state = State::Sending(SendAll { stream, unsent });
    }

    /// Whether its pointer leads to its own field: None if it has none. It is compared, not
    /// followed.
    #[cfg(test)]
    fn points_into_itself(&self) -> Option<bool> {
        match &self.state {
            State::Sending(sending) => {
                let own = self.stream.as_ref().map(NonNull::from);
                Some(own == Some(sending.stream))
            }
            _ => None,
        }
    }
}

impl<C: Future<Output = io::Result<TcpStream>>> Ask<C> {
    /// Goes on to the end or to the next wait.
    fn resume(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // SAFETY: nothing is moved out of `this` below that has been pinned: the state is assigned,
        // which drops the old one where it stands, and `stream` stays until the machine is dropped.
        let this = unsafe { self.get_unchecked_mut() };
        loop {
            match &mut this.state {
                State::Connecting(connect) => {
                    // SAFETY: a projection: as `this` is pinned, so is what lies in it. This field
                    // is never moved, as said above, nor is it ever lent other than pinned.
                    let connect = unsafe { Pin::new_unchecked(connect) };
                    let stream = ready!(connect.poll(cx))?;
                    this.begin_sending(stream);
                }
                State::Sending(sending) => {
                    // SAFETY: `begin_sending` made it in this machine, which is pinned since the
                    // first poll and so at the same address.
                    ready!(unsafe { sending.poll(cx) })?;
                    this.state = State::Receiving;
                }
                State::Receiving => {
                    let Some(stream) = &mut this.stream else { unreachable!("it is connected") };
                    // The one thing in which the compiler does worse: `chunk` does not outlive the
                    // wait, but is lent to what does, so in the `async fn` it lies in the machine.
                    let mut chunk = [0; 4096];
                    let count = ready!(stream.poll_read(cx, &mut chunk))?;
                    if let Some((status, body)) = this.incoming.receive(&chunk[..count])? {
                        return Poll::Ready(this.planned.check(status, &body));
                    }
                }
                State::Done => panic!("a coroutine is not resumed after it is done"),
            }
        }
    }
}

impl<C: Future<Output = io::Result<TcpStream>>> Future for Ask<C> {
    type Output = io::Result<Planned>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Planned>> {
        let result = ready!(self.as_mut().resume(cx));
        // SAFETY: the state is assigned, which drops the old one in place, and `planned` is not
        // pinned: no pointer leads to it.
        let this = unsafe { self.get_unchecked_mut() };
        this.state = State::Done;
        // What the function owns is dropped when it returns, not when its future is.
        this.stream = None;
        let nothing = Planned { delay_ms: 0, message: String::new() };
        let planned = std::mem::replace(&mut this.planned, nothing);
        Poll::Ready(result.map(|()| planned))
    }
}

impl SendAll {
    /// Sends until nothing is left.
    ///
    /// # Safety
    /// The machine that it was made in is at the same address still, and none of its fields that
    /// this points to is borrowed.
    unsafe fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // SAFETY: it points to the machine's `stream`, which is there while the machine sends, and
        // which nobody else borrows (this function's contract).
        let stream = unsafe { self.stream.as_mut() };
        loop {
            // SAFETY: it points into the machine's `request`, which is not changed while it sends.
            let unsent = unsafe { self.unsent.as_ref() };
            if unsent.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match ready!(stream.poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.unsent = NonNull::from(&unsent[count..]),
            }
        }
    }
}
