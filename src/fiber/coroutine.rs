//! A function on a stack of its own, which can be suspended anywhere: what fibers and generators
//! with a stack are made of.
//!
//! ```text
//!   top of the stack  +--------------------+
//!                     |  Head: Control,    |  known to whoever has the coroutine
//!                     |    the stack, the  |
//!                     |    result          |
//!                     +--------------------+
//!                     |  the body          |  known to `first_frame` alone; moved out at its start
//!                     +--------------------+
//!                     |  first_frame's     |
//!                     |  address           |  (see `switch`)
//!                     +--------------------+
//!                     |  frames            |
//!                     v                    v
//! ```
//!
//! **Who runs on top of whom.** Coroutines nest: a fiber may resume a generator, whose body may
//! poll another fiber. Those that run on a thread are a chain, from the innermost by
//! `parent`. Suspending one suspends all that run on top of it: they stay as they are, on their own
//! stacks, and the chain is cut below the one that suspends, which keeps its `innermost` end.
//!
//! ```text
//!   innermost --> C --parent--> B --parent--> A --> (the thread itself)
//!
//!   B suspends, on C's stack:      innermost --> A         B.innermost --> C --> B
//!   D resumes B:                   innermost --> C --> B --> D
//! ```
//!
//! A runtime that has its turn on top of one hides it: see [`innermost`](crate::innermost). A chain
//! ends there, and nothing below can be suspended.
//!
//! So all that a suspended chain points to within itself lies in frames that are suspended with it.
//!
//! **Its states.**
//!
//! ```text
//!               resume                the body ends
//!   suspended ----------> running ---------------------> done
//!       ^                    |
//!       +----- suspend ------+
//! ```
//!
//! Dropping a suspended one resumes it for the last time, `cancelled`: then each place in which it
//! would suspend raises a panic instead, which unwinds the stack and ends in `first_frame`.
#![expect(unsafe_code, reason = "places a function on a stack, and keeps pointers to its frames")]

mod wait;

pub(super) use wait::{Misplaced, wait_in_fiber};

use super::stack::{self, Stack};
use super::switch::{self, Link, STACK_ALIGN};
use crate::contain::{contain, drop_payload};
use crate::innermost;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::io::{self, Write};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Context;
use std::thread;

/// Coroutines that were dropped while suspended where panics abort, and so were leaked.
static LEAKED: AtomicUsize = AtomicUsize::new(0);

/// What is left of a stack for frames, whatever is put on top of it.
const FRAMES_BYTES_MIN: usize = 16 * 1024;

/// How often a body and its result may be on the stack at once: as code that was not optimised
/// passes them on, it copies them.
const COPIES_MAX: usize = 8;

/// What is known of a coroutine on its own stack, whatever its result.
#[repr(C)]
pub(crate) struct Control {
    /// First, so that its address is the control's.
    link: UnsafeCell<Link>,
    /// Set for good when the body has ended.
    done: Cell<bool>,
    /// While it runs: the coroutine that runs below it.
    parent: Cell<*const Control>,
    /// While it is suspended: the innermost of those that are suspended with it. Else itself.
    innermost: Cell<*const Control>,
    /// Whether it is a fiber: then a context is passed in with each resume.
    is_fiber: bool,
    /// The context of the poll that resumed it, which came with the switch. Null while a future is
    /// being polled with it, for that is the only use of a `&mut` at a time, and while it is
    /// suspended or cancelled.
    context: Cell<*mut Context<'static>>,
    /// On which generator's stack, on top of it, a future is being polled with the context: that
    /// one must not be suspended during it without the fiber. Null if on the fiber's own.
    polled_on: Cell<*const Control>,
    /// Whether the thread was unwinding already when it was resumed. Not known of a fiber, unless
    /// it was dropped: asking would take longer than it is worth.
    was_panicking: Cell<bool>,
    /// Whether the body was begun.
    begun: Cell<bool>,
    /// Set for good when it was dropped.
    cancelled: Cell<bool>,
    /// Whether the panic that ends a cancelled one is on its way.
    raising: RefCell<Option<Arc<AtomicBool>>>,
    #[cfg(whirligig_asan)]
    asan: switch::asan::Bounds,
}

type Output<T> = Option<thread::Result<T>>;

/// The top of a stack.
#[repr(C)]
struct Head<T> {
    /// First, so that its address is the head's.
    control: Control,
    /// The stack that this is on. Taken out at the end.
    stack: Stack,
    /// Written by `first_frame` before it is done; `None` if the body was dropped.
    output: UnsafeCell<Output<T>>,
}

/// A function with a stack of its own.
///
/// It is neither `Send` nor `Sync`: its frames may hold anything. But they may not borrow from
/// outside. A coroutine can be forgotten while it is suspended (`std::mem::forget`), and its frames
/// with it. That would be the end of a borrow, but not of those that a frame has handed on in trust
/// that it would see their end, as `std::thread::scope` hands them to threads.
pub(crate) struct Coroutine<T> {
    /// Valid until `drop`, which gives the stack back.
    head: NonNull<Head<T>>,
    output: PhantomData<T>,
}

/// The payload of the panic that unwinds a cancelled coroutine.
struct Cancelled(Arc<AtomicBool>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        // Somebody has caught it.
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Where a value of type `U` lies below `end`.
fn below<U>(end: *mut u8) -> *mut U {
    let at = end.wrapping_sub(size_of::<U>());
    at.wrapping_sub(at.addr() % align_of::<U>()).cast()
}

/// What every stack begins with.
extern "C" fn first_frame<F: FnOnce(&Control) -> T, T>(link: *mut Link, context: *mut ()) -> ! {
    let top: *mut Head<T> = link.cast();
    // SAFETY: the link is the first field of the head's first field, and the head stands until the
    // coroutine is dropped, which waits for this function's last switch. Nobody has a `&mut` to it.
    let head = unsafe { &*top };
    let control = &head.control;
    #[cfg(whirligig_asan)]
    control.asan.arrive(ptr::null_mut());
    // What the body leaves half done when it panics is seen by those only who allowed for it: it
    // is a thread's end, in small.
    control.context.set(context.cast());
    let output = catch_unwind(AssertUnwindSafe(|| {
        // Only here, as unoptimised code copies it with each call that it is passed to.
        // SAFETY: `new` has put it there, and this is done once.
        let body = unsafe { below::<F>(top.cast()).read() };
        if control.cancelled.get() {
            return None;
        }
        control.begun.set(true);
        Some(body(control))
    }));
    let output = output.map_or_else(|payload| Some(Err(payload)), |output| output.map(Ok));
    // SAFETY: nobody looks there before the state is `Done`.
    unsafe { head.output.get().write(output) };
    control.done.set(true);
    control.switch_out();
    // Nobody resumes what is done.
    std::process::abort()
}

impl<T: 'static> Coroutine<T> {
    /// Puts a function on a stack; it begins with the first resume.
    ///
    /// # Errors
    /// `InvalidInput` if it is too large for the stack; those of `mmap(2)`.
    pub(crate) fn new<F: FnOnce(&Control) -> T + 'static>(
        stack_bytes: usize,
        made_at: &'static Location<'static>,
        is_fiber: bool,
        body: F,
    ) -> io::Result<Coroutine<T>> {
        let stack = stack::take(stack_bytes, made_at)?;
        let head: *mut Head<T> = below(stack.top());
        let body_at: *mut F = below(head.cast());
        let frames = body_at.cast::<u8>();
        let frames = frames.wrapping_sub(frames.addr() % STACK_ALIGN);
        let used = stack.top().addr().checked_sub(frames.addr());
        let used = used.and_then(|used| used.checked_mul(COPIES_MAX));
        if used.is_none_or(|used| used > stack.bytes() - FRAMES_BYTES_MIN) {
            let text = format!(
                "a body of {} bytes that returns {} is too large for a stack of {stack_bytes}",
                size_of::<F>(),
                size_of::<T>()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // SAFETY: `frames` is aligned, and enough of the stack lies below it.
        let link = unsafe { Link::prepare(frames, first_frame::<F, T>) };
        // SAFETY: within the stack, aligned by `below`, and nobody else's: the stack is ours.
        unsafe { body_at.write(body) };
        let control = Control {
            link: UnsafeCell::new(link),
            done: Cell::new(false),
            parent: Cell::new(ptr::null()),
            innermost: Cell::new(head.cast()),
            is_fiber,
            context: Cell::new(ptr::null_mut()),
            polled_on: Cell::new(ptr::null()),
            was_panicking: Cell::new(false),
            begun: Cell::new(false),
            cancelled: Cell::new(false),
            raising: RefCell::new(None),
            #[cfg(whirligig_asan)]
            asan: switch::asan::Bounds::new(stack.bottom(), stack.bytes()),
        };
        // SAFETY: as for the body.
        unsafe { head.write(Head { control, stack, output: UnsafeCell::new(None) }) };
        // SAFETY: within a mapping, so not null.
        let head = unsafe { NonNull::new_unchecked(head) };
        Ok(Coroutine { head, output: PhantomData })
    }
}

impl<T> Coroutine<T> {
    #[inline]
    fn head(&self) -> &Head<T> {
        // SAFETY: the head is valid for as long as `self` is, and nobody has a `&mut` to it.
        unsafe { self.head.as_ref() }
    }

    #[inline]
    fn control(&self) -> &Control {
        &self.head().control
    }

    /// Runs it until it suspends or ends; tells whether it has ended.
    #[inline]
    pub(crate) fn resume(&mut self) -> bool {
        let control = self.control();
        debug_assert!(!control.done.get());
        if thread::panicking() {
            control.switch_in_while_panicking();
        } else {
            control.switch_in(ptr::null_mut());
        }
        control.done.get()
    }

    /// The same with a context for the waits of a fiber.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        // The lifetime ends with this call, and with it the pointer's use: see `wait_in_fiber`.
        let context = ptr::from_mut(cx).cast::<Context<'static>>();
        self.control().switch_in(context).done.get()
    }

    /// What became of it, once it has ended: its result or its panic. `None` before that, and if
    /// it was dropped before its body began.
    pub(crate) fn into_output(self) -> Output<T> {
        self.take_output()
    }

    fn take_output(&self) -> Output<T> {
        if !self.control().done.get() {
            return None;
        }
        // SAFETY: it is done, so nobody else uses the place any more.
        unsafe { self.head().output.get().replace(None) }
    }

    /// Ends a suspended one: its frames are unwound.
    #[cold]
    fn cancel(&mut self) {
        let control = self.control();
        if cfg!(panic = "abort") && control.begun.get() {
            // Nothing can unwind it. What its frames hold, and perhaps lent out, stays.
            LEAKED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        control.cancelled.set(true);
        control.was_panicking.set(thread::panicking());
        // Without a context: each wait from now on finds that it is cancelled.
        control.switch_in(ptr::null_mut());
        match self.take_output() {
            // The body was never begun, and was dropped.
            None => {}
            // It caught the panic, and came to an end by itself.
            Some(Ok(output)) => contain(|| drop(output)),
            Some(Err(payload)) => drop_payload(payload),
        }
    }
}

impl<T> Drop for Coroutine<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.control().done.get() {
            self.cancel();
            if !self.control().done.get() {
                return;
            }
        }
        self.control().raising.take();
        // SAFETY: `first_frame` left by its last switch: nothing on the stack is used again, and
        // its place in the head is not read after this. The rest of the head needs no drop: the
        // output was taken.
        let stack = unsafe { ptr::read(&self.head().stack) };
        stack::give_back(stack);
    }
}

impl Control {
    /// Runs it until it suspends, with a context if it is a fiber. Returns itself, as what is in a
    /// register then.
    #[inline(always)]
    fn switch_in(&self, context: *mut Context<'static>) -> &Control {
        self.parent.set(innermost::get().cast());
        #[cfg(whirligig_asan)]
        // SAFETY: the end of a suspended chain, whose stacks stand as long as it is suspended.
        let shadow = unsafe { &(*self.innermost.get()).asan }.leave_for();
        innermost::set(self.innermost.get().cast());
        // SAFETY: it is suspended, or not begun, and its stack stands: `resume` has it.
        let link = unsafe { switch::resume(self.link.get(), context.cast()) };
        #[cfg(whirligig_asan)]
        switch::asan::arrive_at_resumer(shadow);
        // SAFETY: the same link, and so the control whose first field it is. It stands on a stack
        // that is given back only when the coroutine is dropped.
        unsafe { &*link.cast() }
    }

    #[cold]
    fn switch_in_while_panicking(&self) {
        self.was_panicking.set(true);
        self.switch_in(ptr::null_mut());
        self.was_panicking.set(false);
    }

    /// Suspends the chain from `innermost`, which runs, to this. Returns itself, as `switch_in`,
    /// and the context that it was resumed with.
    #[inline(always)]
    fn switch_out(&self) -> (&Control, *mut Context<'static>) {
        debug_assert!(ptr::eq(innermost::get().cast(), self.innermost.get()));
        innermost::set(self.parent.get().cast());
        #[cfg(whirligig_asan)]
        let shadow = if self.done.get() {
            self.asan.leave_for_good();
            ptr::null_mut()
        } else {
            self.asan.leave_for_resumer()
        };
        // SAFETY: it runs, or is done, which it says on its own stack. What runs on top of it is
        // the chain from `innermost` on, which stays as it is.
        let (link, context) = unsafe { switch::suspend(self.link.get()) };
        #[cfg(whirligig_asan)]
        self.asan.arrive(shadow);
        // SAFETY: as in `switch_in`; and this frame is on the stack whose top it is.
        (unsafe { &*link.cast() }, context.cast())
    }

    /// Suspends a generator, after `leave` has left what the resumer is to find. Unwinds if it is
    /// dropped meanwhile, or was before.
    ///
    /// # Panics
    /// Within a poll with the context of a fiber below, which might be gone when this goes on. In a
    /// runtime's turn on top of this.
    #[inline]
    pub(crate) fn suspend(&self, leave: impl FnOnce()) {
        self.go_on_unless_cancelled();
        self.refuse_where_it_is_not_to_be_left();
        leave();
        if self.is_unwinding() {
            no_way_out();
        }
        // Only its own function suspends it, so nothing runs on top of it.
        self.switch_out();
        self.go_on_unless_cancelled();
    }

    fn refuse_where_it_is_not_to_be_left(&self) {
        assert!(
            ptr::eq(innermost::get().cast(), self),
            "a generator can't yield in a runtime that it runs itself: yield after it"
        );
        // SAFETY: null, or a coroutine below this, whose stack stands as long as this runs.
        let parent = unsafe { self.parent.get().as_ref() };
        let Some(fiber) = parent.and_then(Control::fiber) else { return };
        assert!(
            !fiber.context.get().is_null() || !ptr::eq(fiber.polled_on.get(), self),
            "a generator can't yield in a future that a fiber waits for: yield after the wait"
        );
    }

    /// Whether its own frames are being unwound. The count of panics belongs to the thread, and
    /// to whoever runs on it next: so a coroutine can't be left while it unwinds.
    ///
    /// If it was resumed by somebody who was unwinding, a panic of its own can't be told from his;
    /// but the one that cancels it can. A fiber that is polled by somebody who is unwinding can't
    /// suspend at all.
    #[inline]
    fn is_unwinding(&self) -> bool {
        thread::panicking()
            && (!self.was_panicking.get() || self.cancelled.get() && self.is_raising())
    }

    #[cold]
    fn is_raising(&self) -> bool {
        self.raising.borrow().as_ref().is_some_and(|raising| raising.load(Ordering::Relaxed))
    }

    /// Raises the panic that ends a cancelled coroutine. Whoever catches it gets the next at the
    /// next place where it would suspend. Not within a destructor that runs because of it: a
    /// second panic there would end the process.
    #[inline]
    fn go_on_unless_cancelled(&self) {
        if self.cancelled.get() && !self.is_unwinding() {
            self.raise();
        }
    }

    #[cold]
    fn raise(&self) -> ! {
        // One of its own, as whoever caught the last one may still have it.
        let raising = Arc::new(AtomicBool::new(true));
        self.raising.replace(Some(Arc::clone(&raising)));
        // Not by `panic_any`: the panic hook has nothing to tell.
        resume_unwind(Box::new(Cancelled(raising)))
    }

    /// The innermost fiber from this on down.
    #[inline(always)]
    fn fiber(&self) -> Option<&Control> {
        let mut fiber = self;
        while !fiber.is_fiber {
            // SAFETY: what runs below this has its control on a stack that stands as long as this
            // runs.
            fiber = unsafe { fiber.parent.get().as_ref() }?;
        }
        Some(fiber)
    }
}

/// How many suspended fibers and generators were dropped, in the whole process, where panics abort:
/// they can't be unwound, so their stacks and what is on them stay.
///
/// Always 0 where panics unwind.
#[must_use]
pub fn leaked_count() -> usize {
    LEAKED.load(Ordering::Relaxed)
}

#[cold]
fn no_way_out() -> ! {
    // Where standard error is gone the signal still tells something.
    let _ = io::stderr().write_all(
        b"\na fiber would have to wait in a destructor while its thread unwinds, which it can't: \
          the count of panics belongs to the thread\n",
    );
    std::process::abort()
}
