//! A descriptor together with its registration: what sockets are made of.
//!
//! ```text
//!   poll_call --- known not to be ready? --------------------.
//!      |                                                     |
//!      call ---- would block: no longer ready ---------------+--> wait: register (first time),
//!      |                                                     |    leave a waker, Pending
//!      done (a short result: no longer ready either) --> Ready
//! ```
//!
//! A call is tried first, and the descriptor registered when one first would block: many sockets
//! never need it. What the kernel is asked to watch for grows with what is waited for and never
//! shrinks: a connection that only ever waits to read costs one `epoll_ctl` in its life, and is not
//! reported as writable the moment it is registered.

use super::Reactor;
use super::source::{Direction, Source};
use crate::budget::poll_proceed;
use crate::event::Readiness;
use crate::sys::{Descriptor, KernelHandle};
use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

/// What a call that was done says of the readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing: the next call has to find out.
    MayBeMore,
    /// That there is no more: the kernel did less than was asked of it.
    ///
    /// For a receive this holds only while neither the end of the stream nor an urgent mark is
    /// known to be near: both cut a receive short with more behind them and no further edge.
    Short,
}

/// A descriptor that can be waited for.
#[derive(Debug)]
pub(crate) struct Watched {
    registration: OnceCell<Registration>,
    /// None only on the way out of `into_parts`.
    descriptor: Option<Descriptor>,
    /// Closing this descriptor may not end the kernel's watch: it came from elsewhere or was lent
    /// out, and may have duplicates.
    has_duplicates: Cell<bool>,
}

#[derive(Debug)]
struct Registration {
    reactor: Weak<Reactor>,
    source: Rc<Source>,
}

impl Watched {
    pub(crate) fn new(descriptor: Descriptor) -> Watched {
        Watched {
            registration: OnceCell::new(),
            descriptor: Some(descriptor),
            has_duplicates: Cell::new(false),
        }
    }

    /// Takes over a descriptor that others may have duplicates of.
    ///
    /// # Errors
    /// `Unsupported` by kernels that can't.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Watched> {
        let watched = Watched::new(current_kernel().adopt(fd)?);
        watched.has_duplicates.set(true);
        Ok(watched)
    }

    #[inline]
    pub(crate) fn descriptor(&self) -> &Descriptor {
        self.descriptor.as_ref().expect("only `into_parts` takes it, and all of this with it")
    }

    /// The descriptor alone, no longer registered.
    pub(crate) fn into_descriptor(self) -> Descriptor {
        self.into_parts().0
    }

    /// The descriptor, no longer registered, and whether it may have duplicates.
    pub(crate) fn into_parts(mut self) -> (Descriptor, bool) {
        self.deregister(true);
        let descriptor = self.descriptor.take().expect("only this takes it");
        (descriptor, self.has_duplicates.get())
    }

    /// Puts together again what [`Watched::into_parts`] took apart.
    pub(crate) fn from_parts(descriptor: Descriptor, has_duplicates: bool) -> Watched {
        let watched = Watched::new(descriptor);
        watched.has_duplicates.set(has_duplicates);
        watched
    }

    /// Makes a call, or waits until it may succeed; for whoever has the direction to itself.
    #[inline]
    pub(crate) fn poll_call<T>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        call: impl FnMut(&Descriptor) -> io::Result<(T, After)>,
    ) -> Poll<io::Result<T>> {
        self.poll_call_or(direction, call, cx, |source| {
            source.waiters(direction).set_only(cx.waker());
        })
    }

    /// The same for one of several who wait for the same direction. `number` is the waiter's name,
    /// which [`Watched::leave`] takes back.
    pub(crate) fn poll_shared_call<T>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        number: &mut Option<u64>,
        call: impl FnMut(&Descriptor) -> io::Result<(T, After)>,
    ) -> Poll<io::Result<T>> {
        self.poll_call_or(direction, call, cx, |source| {
            source.waiters(direction).set_shared(number, cx.waker());
        })
    }

    #[inline]
    fn poll_call_or<T>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&Descriptor) -> io::Result<(T, After)>,
        cx: &Context<'_>,
        wait: impl FnOnce(&Source),
    ) -> Poll<io::Result<T>> {
        let registration = self.registration.get();
        let source = registration.map(|registration| &*registration.source);
        if source.is_none_or(|source| source.readiness().intersects(direction.readiness())) {
            if poll_proceed(cx).is_pending() {
                // Outside of a turn nobody renews the allowance: this would be so for ever.
                return match Reactor::current() {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(Err(outside())),
                };
            }
            match call(self.descriptor()) {
                Ok((result, after)) => {
                    if let (After::Short, Some(source)) = (after, source) {
                        if may_clear_after_short(direction, source.readiness()) {
                            source.clear(direction);
                        }
                    }
                    return Poll::Ready(Ok(result));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Some(source) = source {
                source.clear(direction);
            }
        }
        match self.source_for(direction) {
            Ok(source) => wait(source),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    }

    /// Waits until one of `wanted` is known of the source, which stays known; for whoever has the
    /// direction to itself.
    pub(crate) fn poll_readiness(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        wanted: Readiness,
    ) -> Poll<io::Result<()>> {
        match self.source_for(direction) {
            Ok(source) if source.readiness().intersects(wanted) => Poll::Ready(Ok(())),
            Ok(source) => {
                source.waiters(direction).set_only(cx.waker());
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Forgets that a direction was ready, and has the kernel tell anew whether it is; nothing is
    /// asked if it is not watched yet.
    pub(crate) fn report_anew(&self, direction: Direction) -> io::Result<()> {
        let Some(registration) = self.registration.get() else { return Ok(()) };
        match registration.reactor.upgrade() {
            Some(reactor) => {
                reactor.report_anew(self.descriptor(), &registration.source, direction)
            }
            None => Err(outside()),
        }
    }

    /// Forgets that a direction was ready: only what happens from now on counts.
    pub(crate) fn clear_readiness(&self, direction: Direction) {
        if let Some(registration) = self.registration.get() {
            registration.source.clear(direction);
        }
    }

    /// Takes out the waker of whoever has the direction to itself.
    pub(crate) fn forget_waiter(&self, direction: Direction) {
        if let Some(registration) = self.registration.get() {
            registration.source.waiters(direction).clear_only();
        }
    }

    /// Takes out the waker of a shared waiter.
    pub(crate) fn leave(&self, direction: Direction, number: u64) {
        if let Some(registration) = self.registration.get() {
            registration.source.waiters(direction).remove_shared(number);
        }
    }

    /// The source, watched for `direction`, of the runtime whose turn it is.
    fn source_for(&self, direction: Direction) -> io::Result<&Source> {
        let current = Reactor::current().ok_or_else(outside)?;
        let registration = match self.registration.get() {
            Some(registration) => registration,
            None => {
                let source = current.register(self.descriptor(), direction)?;
                let reactor = Rc::downgrade(&current);
                self.registration.get_or_init(|| Registration { reactor, source })
            }
        };
        // The reactor is alive, so another's address can't be the same.
        if !std::ptr::eq(registration.reactor.as_ptr(), Rc::as_ptr(&current)) {
            return Err(io::Error::other("the descriptor belongs to another runtime"));
        }
        current.widen(self.descriptor(), &registration.source, direction)?;
        Ok(&registration.source)
    }

    fn deregister(&mut self, explicitly: bool) {
        if let Some(registration) = self.registration.take() {
            if let Some(reactor) = registration.reactor.upgrade() {
                reactor.deregister(&registration.source, self.descriptor(), explicitly);
            }
            registration.source.waiters(Direction::Read).clear_only();
            registration.source.waiters(Direction::Write).clear_only();
        }
    }
}

#[cold]
fn outside() -> io::Error {
    io::Error::other("waiting for a descriptor takes a runtime's turn")
}

/// Whether a short result proves that the kernel has no more, given what is known of the source.
fn may_clear_after_short(direction: Direction, readiness: Readiness) -> bool {
    const CUTS_SHORT: Readiness = Readiness::READ_CLOSED
        .union(Readiness::WRITE_CLOSED)
        .union(Readiness::ERROR)
        .union(Readiness::PRIORITY);
    match direction {
        Direction::Read => !readiness.intersects(CUTS_SHORT),
        Direction::Write => true,
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.deregister(self.has_duplicates.get());
    }
}

impl AsFd for Watched {
    /// Lends the descriptor; from now on it is taken to have duplicates.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.has_duplicates.set(true);
        self.descriptor().as_fd()
    }
}

/// The kernel of the runtime whose turn it is, or Linux outside of any.
pub(crate) fn current_kernel() -> KernelHandle {
    Reactor::current().map_or(KernelHandle::linux(), |reactor| reactor.kernel().clone())
}
