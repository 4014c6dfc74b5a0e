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
//!
//! What is known before that counts too: after a short result, and before the first read of a
//! connection that was just opened, the call that would say EAGAIN is left out. Whatever is ready
//! when a direction is first watched is reported then, so nothing is missed.

use super::Reactor;
use super::current::{self, current_kernel};
use super::source::{Direction, Source};
use crate::budget;
use crate::event::Readiness;
use crate::sys::{Descriptor, unless_blocked};
use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
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

/// A call on a descriptor that is worth trying, and does not wait.
pub(crate) trait Attempt {
    /// What it comes to.
    type Output;

    /// Makes it; None if it would block.
    fn make(&mut self, descriptor: &Descriptor) -> io::Result<Option<(Self::Output, After)>>;
}

/// A call that fails with EAGAIN if it would block.
struct Fallible<C>(C);

impl<T, C: FnMut(&Descriptor) -> io::Result<(T, After)>> Attempt for Fallible<C> {
    type Output = T;

    #[inline(always)]
    fn make(&mut self, descriptor: &Descriptor) -> io::Result<Option<(T, After)>> {
        unless_blocked((self.0)(descriptor))
    }
}

/// A descriptor that can be waited for.
#[derive(Debug)]
pub(crate) struct Watched {
    /// What the reactor knows of it, once it is registered.
    source: OnceCell<Rc<Source>>,
    /// None only on the way out of `into_parts`.
    descriptor: Option<Descriptor>,
    /// Closing this descriptor may not end the kernel's watch: it came from elsewhere or was lent
    /// out, and may have duplicates.
    has_duplicates: Cell<bool>,
    /// What is taken to be ready as long as it is not registered.
    assumed: Cell<Readiness>,
    /// Whether the kernel is asked to report what is ready, not only what becomes so.
    by_level: Cell<bool>,
}

impl Watched {
    pub(crate) fn new(descriptor: Descriptor) -> Watched {
        Watched {
            source: OnceCell::new(),
            descriptor: Some(descriptor),
            has_duplicates: Cell::new(false),
            assumed: Cell::new(Readiness::READABLE.union(Readiness::WRITABLE)),
            by_level: Cell::new(false),
        }
    }

    /// Has the kernel report what is ready at each look, from the first registration on, and not
    /// only what becomes ready: so whoever takes one of several things can wait for the next
    /// without asking whether there is one.
    ///
    /// This ends for good when something is reported that nobody waits for, since it would be
    /// reported again and again, and the loop never sleep. So it is for those who wait as one of
    /// several, by [`Watched::poll_level_attempt`].
    pub(crate) fn report_by_level(&self) {
        self.by_level.set(true);
    }

    /// Whether that is so still.
    #[inline]
    pub(crate) fn reports_by_level(&self) -> bool {
        self.by_level.get()
    }

    /// Has the kernel report only what becomes ready, and once more what is.
    pub(super) fn report_by_edge(&self) {
        let Some(source) = self.source.get() else { return };
        if !self.by_level.get() {
            return;
        }
        if let Some(reactor) = source.reactor().upgrade() {
            // Should it fail, the next report asks again.
            let changed = reactor.report_by_edge(self.descriptor(), source);
            self.by_level.set(changed.is_err());
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
        self.poll_attempt(cx, direction, Fallible(call))
    }

    /// The same for a call of another kind. Part of its caller.
    #[inline(always)]
    pub(crate) fn poll_attempt<A: Attempt>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        attempt: A,
    ) -> Poll<io::Result<A::Output>> {
        self.poll_or(cx, direction, attempt, |source| self.wait_alone(source, cx, direction))
    }

    /// The same for one of several who wait for the same direction. `number` is the waiter's name,
    /// which [`Watched::leave`] takes back.
    #[inline]
    pub(crate) fn poll_shared_call<T>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        number: &mut Option<u64>,
        call: impl FnMut(&Descriptor) -> io::Result<(T, After)>,
    ) -> Poll<io::Result<T>> {
        self.poll_or(cx, direction, Fallible(call), |_| self.wait_shared(cx, direction, number))
    }

    /// As [`Watched::poll_shared_call`], for what may be reported by level. Part of its caller.
    #[inline(always)]
    pub(crate) fn poll_level_attempt<A: Attempt>(
        self: &Rc<Self>,
        cx: &Context<'_>,
        direction: Direction,
        number: &mut Option<u64>,
        attempt: A,
    ) -> Poll<io::Result<A::Output>> {
        self.poll_or(cx, direction, attempt, |source| match source {
            Some(source) if source.wait_shared_again(direction, number, cx.waker()) => None,
            _ => self.wait_by_level(cx, direction, number),
        })
    }

    /// Makes a call if it is worth trying; else, or if it would block, leaves a waker by `wait`,
    /// which says why if that can't be done.
    #[inline(always)]
    fn poll_or<A: Attempt>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        mut attempt: A,
        wait: impl FnOnce(Option<&Source>) -> Option<io::Error>,
    ) -> Poll<io::Result<A::Output>> {
        // Looked up once: a call registers nothing.
        let source = self.source.get().map(|source| &**source);
        if self.may_be_ready(source, direction) {
            if !budget::take_one() {
                return pending_or(give_way(cx));
            }
            match attempt.make(self.descriptor()) {
                Ok(Some((result, after))) => {
                    if after == After::Short {
                        self.clear_after_short(source, direction);
                    }
                    return Poll::Ready(Ok(result));
                }
                Ok(None) => self.clear(source, direction),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        pending_or(wait(source))
    }

    /// Leaves the waker of whoever has the direction to itself; why that can't be done.
    #[inline]
    fn wait_alone(
        &self,
        source: Option<&Source>,
        cx: &Context<'_>,
        direction: Direction,
    ) -> Option<io::Error> {
        match source {
            Some(source) if source.wait_again(direction, cx.waker()) => None,
            _ => self.watch_and_wait_alone(cx, direction),
        }
    }

    #[cold]
    #[inline(never)]
    fn watch_and_wait_alone(&self, cx: &Context<'_>, direction: Direction) -> Option<io::Error> {
        let watched = match self.source.get() {
            None => self.register(direction),
            Some(_) => self.source_for(direction),
        };
        match watched {
            Ok(source) => source.wait_alone(direction, cx.waker()),
            Err(error) => return Some(error),
        }
        None
    }

    /// Leaves the waker of one of several; why that can't be done.
    #[inline]
    fn wait_shared(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        number: &mut Option<u64>,
    ) -> Option<io::Error> {
        match self.source_for(direction) {
            Ok(source) => source.wait_shared(direction, number, cx.waker()),
            Err(error) => return Some(error),
        }
        None
    }

    /// The same for what may be reported by level.
    #[cold]
    #[inline(never)]
    fn wait_by_level(
        self: &Rc<Self>,
        cx: &Context<'_>,
        direction: Direction,
        number: &mut Option<u64>,
    ) -> Option<io::Error> {
        let is_new = self.source.get().is_none();
        let error = self.wait_shared(cx, direction, number);
        if is_new {
            if let Some(source) = self.source.get() {
                source.waiters(direction).tell_if_unheeded(Rc::downgrade(self));
            }
        }
        error
    }

    /// Whether a call is worth trying, for all that is known.
    #[inline]
    fn may_be_ready(&self, source: Option<&Source>, direction: Direction) -> bool {
        match source {
            Some(source) => source.readiness().intersects(direction.readiness()),
            // Outside of a turn it can't be registered, and only a call can tell.
            None => self.is_assumed_ready(direction) || is_outside(),
        }
    }

    #[inline]
    fn is_assumed_ready(&self, direction: Direction) -> bool {
        self.assumed.get().intersects(direction.readiness())
    }

    /// The kernel did less than was asked of it.
    #[inline]
    fn clear_after_short(&self, source: Option<&Source>, direction: Direction) {
        match source {
            Some(source) if !may_clear_after_short(direction, source.readiness()) => {}
            // Not registered: what is cut short by the end of the stream, or an urgent mark, is
            // reported with what is ready once it is.
            _ => self.clear(source, direction),
        }
    }

    /// Waits until one of `wanted` is known of the source, which stays known; for whoever has the
    /// direction to itself.
    #[inline]
    pub(crate) fn poll_readiness(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        wanted: Readiness,
    ) -> Poll<io::Result<()>> {
        match self.source.get() {
            Some(source)
                if !source.readiness().intersects(wanted)
                    && source.wait_again(direction, cx.waker()) =>
            {
                Poll::Pending
            }
            _ => self.poll_readiness_anew(cx, direction, wanted),
        }
    }

    #[inline(never)]
    fn poll_readiness_anew(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        wanted: Readiness,
    ) -> Poll<io::Result<()>> {
        match self.source_for(direction) {
            Ok(source) if source.readiness().intersects(wanted) => Poll::Ready(Ok(())),
            Ok(source) => {
                source.wait_alone(direction, cx.waker());
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Forgets that a direction was ready, and has the kernel tell anew whether it is; nothing is
    /// asked if it is not watched yet.
    pub(crate) fn report_anew(&self, direction: Direction) -> io::Result<()> {
        let Some(source) = self.source.get() else { return Ok(()) };
        match source.reactor().upgrade() {
            Some(reactor) => reactor.report_anew(self.descriptor(), source, direction),
            None => Err(outside()),
        }
    }

    /// Forgets that a direction was ready: only what happens from now on counts, and what is ready
    /// when it is first watched.
    #[inline]
    pub(crate) fn clear_readiness(&self, direction: Direction) {
        self.clear(self.source.get().map(|source| &**source), direction);
    }

    #[inline]
    fn clear(&self, source: Option<&Source>, direction: Direction) {
        match source {
            Some(source) => source.clear(direction),
            None => self.assumed.set(self.assumed.get().difference(direction.readiness())),
        }
    }

    /// Takes out the waker of whoever has the direction to itself.
    #[inline]
    pub(crate) fn forget_waiter(&self, direction: Direction) {
        if let Some(source) = self.source.get() {
            source.forget(direction);
        }
    }

    /// Takes out the waker of a shared waiter, who gives up.
    pub(crate) fn leave(&self, direction: Direction, number: u64) {
        if let Some(source) = self.source.get() {
            source.leave(direction, number);
        }
    }

    /// Ends the wait of a shared waiter who has what it waited for. A waker that was woken for it
    /// stays: the next to wait is mostly the same.
    #[inline]
    pub(crate) fn release(&self, direction: Direction, number: u64) {
        if let Some(source) = self.source.get() {
            source.release(direction, number);
        }
    }

    /// The source, watched for `direction`, of the runtime whose turn it is.
    #[inline]
    fn source_for(&self, direction: Direction) -> io::Result<&Source> {
        match self.source.get() {
            Some(source) if source.is_watched(direction) => Ok(source),
            _ => self.watch(direction),
        }
    }

    /// Has the kernel watch it for `direction`, too.
    #[inline(never)]
    fn watch(&self, direction: Direction) -> io::Result<&Source> {
        match self.source.get() {
            None => self.register(direction),
            Some(source) => self.widen(source, direction),
        }
    }

    #[inline(always)]
    fn register(&self, direction: Direction) -> io::Result<&Source> {
        let current = Reactor::current().ok_or_else(outside)?;
        let assumed = self.assumed.get();
        // Should it fail, whoever tries again has nothing but the call itself to go by.
        self.assumed.set(assumed.union(direction.readiness()));
        let by_level = self.by_level.get();
        let source = current.register(self.descriptor(), direction, assumed, by_level)?;
        Ok(self.source.get_or_init(|| source))
    }

    #[cold]
    fn widen<'a>(&self, source: &'a Source, direction: Direction) -> io::Result<&'a Source> {
        let current = Reactor::current().ok_or_else(outside)?;
        if !source.is_current() {
            return Err(io::Error::other("the descriptor belongs to another runtime"));
        }
        current.widen(self.descriptor(), source, direction)?;
        Ok(source)
    }

    #[inline]
    fn deregister(&mut self, explicitly: bool) {
        if self.source.get().is_some() {
            self.deregister_source(explicitly);
        }
    }

    #[inline(never)]
    fn deregister_source(&mut self, explicitly: bool) {
        let Some(source) = self.source.take() else { return };
        if !explicitly && source.is_current() {
            return Reactor::forget_own(source);
        }
        match source.reactor().upgrade() {
            Some(reactor) => reactor.deregister(source, || self.descriptor(), explicitly),
            None => source.clear_only(),
        }
    }
}

/// The allowance is used up: the task is woken, and goes on in the next batch. Outside of a turn
/// nobody renews the allowance, and this would be so for ever.
#[cold]
fn give_way(cx: &Context<'_>) -> Option<io::Error> {
    let _: Poll<()> = budget::give_way(cx);
    is_outside().then(outside)
}

/// Whether no runtime has its turn on this thread.
#[inline]
fn is_outside() -> bool {
    !current::is_there()
}

#[inline]
fn pending_or<T>(error: Option<io::Error>) -> Poll<io::Result<T>> {
    match error {
        None => Poll::Pending,
        Some(error) => Poll::Ready(Err(error)),
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
