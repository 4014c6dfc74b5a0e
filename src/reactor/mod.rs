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

mod source;
mod watched;

#[cfg(test)]
mod tests;

pub(crate) use source::Direction;
pub(crate) use watched::{After, Watched, current_kernel};

use crate::contain::contain;
use crate::event::Events;
use crate::slab::{Key, Slab};
use crate::sys::{Descriptor, Epoll, EventBuffer, KernelHandle, Notifier};
use crate::timer::{self, Timers};
use source::Source;
use std::cell::{Cell, RefCell};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// Events that one look at the kernel brings at most.
const EVENTS_MAX: usize = 1024;

/// The token of the notifier, which no source has.
const NOTIFIER: u64 = Slab::<()>::RESERVED;

thread_local! {
    /// The reactor whose runtime's turn it is on this thread. Without a destructor: a runtime that
    /// is itself in a thread-local is dropped when those with one may be gone. `Entered` empties
    /// it.
    static CURRENT: RefCell<ManuallyDrop<Option<Rc<Reactor>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

pub(crate) struct Reactor {
    kernel: KernelHandle,
    epoll: Epoll,
    notifier: Arc<Notifier>,
    sources: RefCell<Slab<Rc<Source>>>,
    timers: RefCell<Timers<Waker>>,
    buffer: RefCell<EventBuffer>,
    /// Room for the wakers of a look, kept from one to the next.
    woken: Cell<Vec<Waker>>,
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
            sources: RefCell::new(Slab::new()),
            timers: RefCell::new(Timers::new()),
            buffer: RefCell::new(EventBuffer::with_capacity(EVENTS_MAX)),
            woken: Cell::new(Vec::new()),
        }))
    }

    /// The reactor whose runtime's turn it is on this thread.
    pub(crate) fn current() -> Option<Rc<Reactor>> {
        CURRENT.with(|current| Option::clone(&current.borrow()))
    }

    /// Makes this the thread's current reactor until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered(exchange(Some(Rc::clone(self))))
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

    /// How many timers are set.
    pub(crate) fn timer_count(&self) -> usize {
        self.timers.borrow().len()
    }

    /// A time at or before the first deadline; None without timers that can fire.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.timers.borrow().next_deadline()
    }

    /// Looks at the kernel and the timers, and wakes whom they concern.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub(crate) fn look(&self, wait: Wait) -> io::Result<()> {
        let timeout = match (wait, self.next_deadline()) {
            (Wait::No, _) => Some(Duration::ZERO),
            (Wait::UntilEvent, None) => None,
            (Wait::UntilEvent, Some(deadline)) => {
                Some(Duration::from_nanos(deadline.saturating_sub(self.kernel.now())))
            }
        };
        let mut woken = self.woken.take();
        let mut buffer = self.buffer.borrow_mut();
        let looked = self.epoll.wait(&mut buffer, timeout).map(|events| {
            self.deliver(events, &mut woken);
        });
        drop(buffer);
        self.expire(&mut woken);
        for waker in woken.drain(..) {
            contain(|| waker.wake());
        }
        self.woken.set(woken);
        looked
    }

    /// Tells the sources what happened to them, and collects the wakers of those who wait for it.
    fn deliver(&self, events: Events<'_>, woken: &mut Vec<Waker>) {
        let sources = self.sources.borrow();
        for event in events {
            // None: the notifier, or a source that is closed since the kernel noted the event.
            if let Some(source) = sources.get(Key::from_bits(event.token())) {
                source.deliver(event.readiness(), woken);
            }
        }
    }

    fn expire(&self, woken: &mut Vec<Waker>) {
        if self.next_deadline().is_some() {
            let now = self.kernel.now();
            self.timers.borrow_mut().expire(now, woken);
        }
    }

    /// Sets a timer. `timer::NEVER` is a deadline too.
    pub(crate) fn insert_timer(&self, deadline: u64, waker: Waker) -> timer::Key {
        self.timers.borrow_mut().insert(deadline, waker)
    }

    /// Whether the timer is still set. If so, `waker` is the one that it will wake.
    pub(crate) fn renew_timer(&self, key: timer::Key, waker: &Waker) -> bool {
        match self.timers.borrow_mut().get_mut(key) {
            None => return false,
            Some(set) if set.will_wake(waker) => return true,
            Some(_) => {}
        }
        // Cloning and dropping wakers is foreign code, which may set and cancel timers.
        let mut new = waker.clone();
        if let Some(set) = self.timers.borrow_mut().get_mut(key) {
            std::mem::swap(set, &mut new);
        }
        contain(|| drop(new));
        true
    }

    /// Cancels a timer; of one that fired this is no news.
    pub(crate) fn remove_timer(&self, key: timer::Key) {
        let waker = self.timers.borrow_mut().remove(key);
        contain(|| drop(waker));
    }

    /// Starts to watch a descriptor.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`; then nothing stays behind.
    fn register(&self, descriptor: &Descriptor, direction: Direction) -> io::Result<Rc<Source>> {
        let mut source = None;
        let key = self.sources.borrow_mut().insert_with(|key| {
            Rc::clone(source.insert(Rc::new(Source::new(key, direction.interest()))))
        });
        let source = source.expect("the slab makes the value it was asked to");
        let added = self.epoll.add(descriptor, direction.interest().edge().bits(), key.bits());
        if let Err(error) = added {
            self.sources.borrow_mut().remove(key);
            return Err(error);
        }
        Ok(source)
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

    /// Forgets that a source was ready for `direction`; what is ready now is reported anew.
    fn report_anew(
        &self,
        descriptor: &Descriptor,
        source: &Source,
        direction: Direction,
    ) -> io::Result<()> {
        source.clear(direction);
        self.epoll.modify(descriptor, source.interest().edge().bits(), source.key().bits())
    }

    /// Forgets a source; events that are on their way to it will be dropped. `explicitly` if
    /// closing the descriptor would not end the kernel's watch, since it may have duplicates.
    fn deregister(&self, source: &Source, descriptor: &Descriptor, explicitly: bool) {
        let removed = self.sources.borrow_mut().remove(source.key());
        if explicitly {
            // It fails only if the kernel watches it no longer, which is what is wanted.
            let _ = self.epoll.remove(descriptor);
        }
        drop(removed);
    }

    /// Drops all timers' wakers and those of all sources, and forgets the sources.
    pub(crate) fn close(&self) {
        let mut woken = Vec::new();
        self.timers.borrow_mut().drain(&mut woken);
        // One by one, so that the keys of sockets that outlive this go on to name nothing.
        let keys = self.sources.borrow().keys();
        for key in keys {
            if let Some(source) = self.sources.borrow_mut().remove(key) {
                source.take_wakers(&mut woken);
            }
        }
        for waker in woken {
            contain(|| drop(waker));
        }
    }
}

impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Leaves the current reactor when dropped, also when a panic passes.
pub(crate) struct Entered(Option<Rc<Reactor>>);

impl Drop for Entered {
    fn drop(&mut self) {
        drop(exchange(self.0.take()));
    }
}

fn exchange(reactor: Option<Rc<Reactor>>) -> Option<Rc<Reactor>> {
    let before = CURRENT.with(|current| current.replace(ManuallyDrop::new(reactor)));
    ManuallyDrop::into_inner(before)
}
