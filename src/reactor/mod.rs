//! The reactor: one epoll instance, the sources registered with it, and the timer queue.
//!
//! ```text
//!   kernel ---> EventBuffer ---> event::parse ---> Source (by token) ---.
//!                                                                       +--> wakers: collected
//!   clock ----> Timers::expire -----------------------------------------'    first, woken after
//! ```
//!
//! The reactor knows no task: whom an event concerns is a [`Waker`]. Wakers are foreign code when
//! they are cloned, woken or dropped, so that never happens while anything here is borrowed.

mod current;
mod queue;
mod source;
mod sources;
mod waiters;
mod watched;

#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "sim"))]
pub(crate) use current::leave;
pub(crate) use current::{current_kernel, now};
pub(crate) use queue::{Slack, TimerQueue};
pub(crate) use source::Direction;
pub(crate) use watched::{After, Attempt, Watched};

use crate::contain::contain;
use crate::event::{Event, Readiness};
use crate::slab::{Key, Slab};
use crate::sys::{Descriptor, Epoll, EventBuffer, KernelHandle, Notifier};
use source::{Source, Taken};
use sources::Sources;
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use waiters::{WakeOwn, drop_waker};

/// Events that one look at the kernel brings at most.
const EVENTS_MAX: usize = 1024;

/// The token of the notifier, which no source has.
const NOTIFIER: u64 = Slab::<()>::RESERVED;

pub(crate) struct Reactor {
    kernel: KernelHandle,
    epoll: Epoll,
    notifier: Arc<Notifier>,
    sources: RefCell<Sources>,
    timers: Rc<TimerQueue>,
    /// Where the kernel writes to; None while somebody has it to look with.
    buffer: Cell<Option<Box<EventBuffer>>>,
}

/// How long a look at the kernel may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until something happens or a timer is due.
    UntilEvent,
    /// Not at all.
    No,
}

impl Reactor {
    /// A reactor on `kernel`.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub(crate) fn new(kernel: KernelHandle) -> io::Result<Rc<Reactor>> {
        let epoll = Epoll::on(&kernel)?;
        let notifier = Arc::new(Notifier::on(&kernel)?);
        let bits = crate::event::Interest::READABLE.edge().bits();
        epoll.add(notifier.descriptor(), bits, NOTIFIER)?;
        Ok(Rc::new(Reactor {
            kernel,
            epoll,
            notifier,
            sources: RefCell::new(Sources::new()),
            timers: Rc::new(TimerQueue::new()),
            buffer: Cell::new(Some(new_buffer())),
        }))
    }

    /// The kernel that it runs on.
    pub(crate) fn kernel(&self) -> &KernelHandle {
        &self.kernel
    }

    /// What ends a wait of this reactor from any thread.
    pub(crate) fn notifier(&self) -> Arc<Notifier> {
        Arc::clone(&self.notifier)
    }

    /// How many descriptors are registered.
    pub(crate) fn source_count(&self) -> usize {
        self.sources.borrow().len()
    }

    /// Tells the token of each descriptor that somebody waits for, and for which of EPOLLIN and
    /// EPOLLOUT: none of that is ready for the kernel, once that was looked at. Returns the number
    /// of the epoll instance, if that is hosted.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn awaited(&self, mut tell: impl FnMut(u64, u32)) -> Option<i32> {
        for source in self.sources.borrow().taken() {
            let bits = source.awaited();
            if bits != 0 {
                tell(source.key().bits(), bits);
            }
        }
        self.epoll.hosted_number()
    }

    /// The number of its epoll instance, if that is hosted.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn hosted_number(&self) -> Option<i32> {
        self.epoll.hosted_number()
    }

    /// How many timers are set.
    pub(crate) fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// The timers.
    #[inline]
    pub(crate) fn timers(&self) -> &Rc<TimerQueue> {
        &self.timers
    }

    /// How late timers may be where they are dense. They begin to be so anew.
    pub(crate) fn set_slack(&self, slack: Duration) {
        self.timers.set_slack(slack);
    }

    /// A time at or before the first deadline; None without timers that can fire.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.timers.start(|| self.kernel.now());
        self.timers.next_deadline()
    }

    /// Looks at the kernel and the timers, and wakes whom they concern.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub(crate) fn look(&self, wait: Wait, wake_own: impl WakeOwn) -> io::Result<()> {
        self.with_buffer(|buffer| self.look_with(buffer, wait, wake_own))
    }

    /// Lends out what to look with, out of its place, so that nothing is borrowed meanwhile.
    pub(crate) fn with_buffer<R>(&self, looks: impl FnOnce(&mut EventBuffer) -> R) -> R {
        let mut buffer = self.buffer.take().unwrap_or_else(new_buffer);
        let result = looks(&mut buffer);
        self.buffer.set(Some(buffer));
        result
    }

    /// As [`Reactor::look`], for whoever looks many times with one buffer: part of that one's loop.
    #[inline(always)]
    pub(crate) fn look_with(
        &self,
        buffer: &mut EventBuffer,
        wait: Wait,
        wake_own: impl WakeOwn,
    ) -> io::Result<()> {
        if self.timers.is_in_use() {
            return self.look_with_timers(buffer, wait, wake_own);
        }
        let timeout = match wait {
            Wait::No => Some(Duration::ZERO),
            Wait::UntilEvent => None,
        };
        self.epoll.fill(buffer, timeout)?;
        self.deliver(buffer, wake_own);
        Ok(())
    }

    #[inline(never)]
    fn look_with_timers(
        &self,
        buffer: &mut EventBuffer,
        wait: Wait,
        wake_own: impl WakeOwn,
    ) -> io::Result<()> {
        let timeout = match (wait, self.timers.next_wake(|| self.kernel.now())) {
            (Wait::No, _) => Some(Duration::ZERO),
            (Wait::UntilEvent, None) => None,
            (Wait::UntilEvent, Some(wake)) => {
                Some(Duration::from_nanos(wake.saturating_sub(self.kernel.now())))
            }
        };
        let waited = self.epoll.fill(buffer, timeout);
        if waited.is_ok() {
            self.deliver(buffer, wake_own);
        }
        let for_timers = wait == Wait::UntilEvent && waited.is_ok() && buffer.is_empty();
        self.timers.expire(|| self.kernel.now(), for_timers);
        waited
    }

    /// Tells the sources what happened to them, and wakes those who wait for it.
    #[inline(always)]
    fn deliver(&self, buffer: &EventBuffer, wake_own: impl WakeOwn) {
        // Nothing is changed, but to borrow it alone is cheaper than with others; and it is let go
        // where anybody is concerned but whom `wake_own` wakes.
        let mut sources = self.sources.borrow_mut();
        for event in buffer.in_slots() {
            let source = sources.get(Key::from_bits(event.token()));
            if !source.is_some_and(|source| source.deliver_to_own(event, wake_own)) {
                drop(sources);
                self.deliver_to_any(event);
                sources = self.sources.borrow_mut();
            }
        }
    }

    /// Does so for one event, whomever it concerns: with nothing borrowed.
    #[inline(never)]
    fn deliver_to_any(&self, event: Event) {
        // None: the notifier, or a source that is closed since the kernel noted it.
        if let Some(source) = self.source(Key::from_bits(event.token())) {
            // A waker that panics keeps nobody else from being woken.
            contain(|| source.deliver(event));
        }
    }

    #[inline]
    fn source(&self, key: Key) -> Option<Rc<Source>> {
        self.sources.borrow().get(key).map(Rc::clone)
    }

    /// Starts to watch a descriptor for `direction`; of the other `assumed` holds.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`; then nothing stays behind.
    #[inline(always)]
    fn register(
        self: &Rc<Self>,
        descriptor: &Descriptor,
        direction: Direction,
        assumed: Readiness,
        by_level: bool,
    ) -> io::Result<Rc<Source>> {
        let new = |key| Source::new(key, Rc::downgrade(self));
        let source = self.sources.borrow_mut().insert(new);
        source.begin(direction, assumed);
        let interest = direction.interest();
        let bits = if by_level { interest } else { interest.edge() }.bits();
        match self.epoll.add(descriptor, bits, source.key().bits()) {
            Ok(()) => Ok(source),
            Err(error) => {
                self.forget(source);
                Err(error)
            }
        }
    }

    /// Watches a descriptor for `direction` too. What is ready now is reported anew.
    fn widen(
        &self,
        descriptor: &Descriptor,
        source: &Source,
        direction: Direction,
    ) -> io::Result<()> {
        let interest = source.interest().union(direction.interest());
        if interest != source.interest() {
            self.epoll.modify(descriptor, interest.edge().bits(), source.key().bits())?;
            source.set_interest(interest);
            // Nobody knew it: it was only taken to be ready.
            source.clear(direction);
        }
        Ok(())
    }

    /// Forgets that a source was ready for `direction`; what is ready now is reported anew. Nothing
    /// is asked of a direction that is not watched yet.
    fn report_anew(
        &self,
        descriptor: &Descriptor,
        source: &Source,
        direction: Direction,
    ) -> io::Result<()> {
        let interest = source.interest();
        if interest.union(direction.interest()) != interest {
            return Ok(());
        }
        source.clear(direction);
        self.report_by_edge(descriptor, source)
    }

    /// Has the kernel report only what becomes ready of a source, and once more what is.
    fn report_by_edge(&self, descriptor: &Descriptor, source: &Source) -> io::Result<()> {
        self.epoll.modify(descriptor, source.interest().edge().bits(), source.key().bits())
    }

    /// Forgets a source; events that are on their way to it will be dropped. `explicitly` if
    /// closing the descriptor would not end the kernel's watch, since it may have duplicates.
    fn deregister<'a>(
        &self,
        source: Rc<Source>,
        descriptor: impl FnOnce() -> &'a Descriptor,
        explicitly: bool,
    ) {
        if explicitly {
            let descriptor = descriptor();
            // It fails only if the kernel watches it no longer, which is what is wanted.
            let _ = self.epoll.remove(descriptor);
        }
        self.forget(source);
    }

    /// Takes a source out of its place; the next socket may have it then.
    fn forget(&self, source: Rc<Source>) {
        let taken = source.take_only();
        let removed = self.sources.borrow_mut().remove(source, !taken.others_may_wait);
        drop_taken(taken, removed);
    }

    /// The same for one that is the current reactor's.
    #[inline(always)]
    fn forget_own(source: Rc<Source>) {
        let taken = source.take_only();
        let serves_again = !taken.others_may_wait;
        let remove =
            move |reactor: &Rc<Reactor>| reactor.sources.borrow_mut().remove(source, serves_again);
        let removed = Reactor::with_current(remove).flatten();
        drop_taken(taken, removed);
    }

    /// Drops all timers' wakers and those of all sources, and forgets the sources.
    pub(crate) fn close(&self) {
        let mut woken = self.timers.drain();
        let sources = self.sources.borrow_mut().take_all();
        sources.iter().for_each(|source| source.take_wakers(&mut woken));
        for waker in woken {
            contain(|| drop(waker));
        }
    }
}

fn new_buffer() -> Box<EventBuffer> {
    Box::new(EventBuffer::with_capacity(EVENTS_MAX))
}

/// Drops the wakers that were taken out of a source, and those of a source that was removed. Once
/// nothing is borrowed, and it is out of its place: they are foreign code, which may register
/// sockets.
#[inline(always)]
fn drop_taken(taken: Taken, removed: Option<Rc<Source>>) {
    if let Some(reader) = taken.reader {
        drop_waker(reader);
    }
    if let Some(writer) = taken.writer {
        drop_waker(writer);
    }
    if let Some(removed) = removed {
        drop_waiters(&removed);
    }
}

/// Drops the wakers of those who wait for a source that is gone; there are any if futures were
/// leaked.
#[cold]
fn drop_waiters(source: &Source) {
    let mut wakers = Vec::new();
    source.take_wakers(&mut wakers);
    wakers.into_iter().for_each(|waker| contain(|| drop(waker)));
}

/// Wakes everyone. One whose waker panics keeps none of the others from it.
fn wake_all(woken: &mut Vec<Waker>) {
    let mut wakers = woken.drain(..);
    while wakers.len() > 0 {
        contain(|| wakers.by_ref().for_each(Waker::wake));
    }
}

impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
