//! Fibers: functions that wait by switching stacks, so that plain code can be suspended anywhere.
//!
//! A fiber is a future. It is polled by switching to its stack; [`wait`], inside of it, polls
//! another future, and switches back while that is pending. So a fiber has all sockets, timers,
//! channels and joins of the rest of the library, and is spawned, joined, aborted and raced like
//! any other future. Between two waits it runs undisturbed.
//!
//! ```
//! use whirligig::fiber;
//! use whirligig::sync::mpsc;
//!
//! whirligig::run(async {
//!     let (sender, mut receiver) = mpsc::channel(1);
//!     let squares = fiber::spawn(move || {
//!         for number in 1..=3 {
//!             // A function as any other, called from a closure: no `async` in between.
//!             [number].iter().for_each(|n| fiber::wait(sender.send(n * n)).unwrap());
//!         }
//!     });
//!     let sum = fiber::spawn(move || {
//!         let mut sum = 0;
//!         while let Some(square) = fiber::wait(receiver.recv()) {
//!             sum += square;
//!         }
//!         sum
//!     });
//!     squares.await.unwrap();
//!     assert_eq!(sum.await.unwrap(), 14);
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # One wait
//!
//! ```text
//!   the thread's stack                   the fiber's stack
//!
//!   the runtime
//!     polls the task
//!       Fiber::poll ---- resume --+
//!                                 +----> the function
//!                                          wait(future)
//!                                            polls the future: pending
//!                                 +------------ suspend
//!       returns Pending <---------+          :
//!     polls other tasks                      :  all of this stays as it is
//!       ...                                  :
//!     polls the task                         :
//!       Fiber::poll ---- resume --+          :
//!                                 +---------->  polls the future: ready
//!                                          goes on with the output
//! ```
//!
//! # Ends
//!
//! A panic unwinds the fiber's stack to its first frame, and comes out of the poll: at a spawned
//! fiber's join it is like that of any task.
//!
//! Dropping a fiber that waits unwinds it as well, so that its locals are dropped: [`wait`] then
//! does not return, but raises a panic of which the panic hook is not told. Catching that does not
//! help: each later `wait` raises it again. The destructors that run because of it may `wait` for
//! what is ready. What is not would have to suspend the fiber in the middle of unwinding, and that
//! ends the process with a message: the standard library counts the panics of a thread, and the
//! thread would go on with other code. The same goes for destructors that a panic of the fiber's
//! own runs, and for a fiber that is polled in a destructor that a panic runs. Where panics abort
//! (`panic = "abort"`) nothing can be unwound: the stack and all that is on it stays where it is,
//! and [`leaked_count`] counts it.
//!
//! # Stacks
//!
//! A stack is 256 KiB of address space, if [`Builder::stack_bytes`] says nothing else, with
//! inaccessible memory below it. A page of it takes memory once it was touched. Whoever grows
//! beyond it hits the guard, and the process ends (SIGABRT) with a line that tells where that fiber
//! was made. The handler of SIGSEGV that sees to this hands all other faults to the one that was
//! there before. Each thread keeps stacks of ended fibers for others to come
//! ([`set_pooled_stacks_max`]). A stack takes two of the process's mappings, of which there are
//! 65,530 by default (`vm.max_map_count`).
//!
//! # Threads
//!
//! A fiber never leaves its thread, so it may hold anything over a wait. Two things are to be kept
//! in mind. What belongs to the thread is seen by all that runs on it: do not wait within
//! [`LocalKey::with`](std::thread::LocalKey::with) while others may want the same `RefCell`. And a
//! fiber that waits within it must be gone before that thread-local is: keep no fiber in another
//! thread-local that is destroyed after it.
//!
//! ```compile_fail,E0277
//! fn is_send(_: impl Send) {}
//! is_send(whirligig::fiber::Fiber::new(|| ()).unwrap());
//! ```

mod blocking;
mod coroutine;
mod stack;
mod switch;

pub use blocking::Blocking;
pub use coroutine::leaked_count;
pub use stack::{pooled_stack_count, set_pooled_stacks_max};

pub(crate) use coroutine::{Control, Coroutine};
pub(crate) use stack::STACK_BYTES;

use crate::task::JoinHandle;
use coroutine::Misplaced;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::panic::{Location, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// Spawns a fiber as a task of the runtime whose turn it is on this thread.
///
/// # Panics
/// If no runtime has its turn on this thread. If there is no memory for a stack: see
/// [`Builder::spawn`].
#[track_caller]
pub fn spawn<T: 'static>(body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    match Builder::new().spawn(body) {
        Ok(handle) => handle,
        Err(error) => panic!("no fiber can be spawned: {error}"),
    }
}

/// Waits for a future within a fiber: other tasks run meanwhile.
///
/// The future is polled where this is called, so it may borrow. Each poll gets the context of the
/// fiber's own poll.
///
/// If the fiber is dropped meanwhile, this unwinds: see [the module](self#ends).
///
/// # Panics
/// Outside of a fiber. Within a future that a fiber waits for, or in a runtime that it runs
/// itself: there it is to be awaited.
// Inlined always: as it leaves with all registers changed, a function of its own would save and
// restore them all for each wait, ready or not. Its caller does so once.
#[track_caller]
#[inline(always)]
pub fn wait<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    match coroutine::wait_in_fiber(|cx| future.as_mut().poll(cx)) {
        Ok(output) => output,
        Err(misplaced) => misplaced.panic(),
    }
}

impl Misplaced {
    #[cold]
    #[track_caller]
    fn panic(self) -> ! {
        match self {
            Misplaced::OutsideOfFiber => {
                panic!("`fiber::wait` outside of a fiber, or in a runtime within it")
            }
            Misplaced::InsidePoll => {
                panic!("`fiber::wait` in a future that the fiber waits for: await it there")
            }
        }
    }
}

/// A function with a stack of its own, as a future of what it returns.
///
/// [`spawn`] makes a task of one. By itself it can be awaited, raced or kept like any future.
///
/// Cancel safety: dropping it unwinds it where it waits, and its locals are dropped: see
/// [the module](self#ends).
///
/// The function may not borrow from outside. A value that is forgotten is not dropped, and a
/// fiber that is forgotten while it waits leaves its frames behind: what was lent to it would be
/// free again, though a frame may have lent it on to threads ([`std::thread::scope`]).
///
/// ```
/// use whirligig::fiber::{self, Fiber};
/// use whirligig::future::join;
///
/// whirligig::run(async {
///     let first = Fiber::new(|| fiber::wait(async { "one".len() }))?;
///     let second = Fiber::new(|| "two".to_uppercase())?;
///     assert_eq!(join(first, second).await, (3, "TWO".to_string()));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// Polling it panics with what the function panicked with, and after its end.
#[must_use = "a fiber does nothing unless it is polled"]
pub struct Fiber<T> {
    /// None after the end.
    coroutine: Option<Coroutine<T>>,
}

impl<T: 'static> Fiber<T> {
    /// Makes a fiber, which begins when it is first polled.
    ///
    /// # Errors
    /// As for [`Builder::build`].
    #[track_caller]
    pub fn new(body: impl FnOnce() -> T + 'static) -> io::Result<Fiber<T>> {
        Builder::new().build(body)
    }
}

/// What it holds is on its own stack, and does not move with it.
impl<T> Unpin for Fiber<T> {}

impl<T> Future for Fiber<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(coroutine) = &mut self.coroutine else {
            panic!("a fiber is not polled after its end");
        };
        if coroutine.poll(cx) { Poll::Ready(self.end()) } else { Poll::Pending }
    }
}

impl<T> Fiber<T> {
    /// What came of it, now that it has ended. This gives the stack back, too.
    #[cold]
    fn end(&mut self) -> T {
        match self.coroutine.take().and_then(Coroutine::into_output) {
            Some(Ok(output)) => output,
            Some(Err(payload)) => resume_unwind(payload),
            None => unreachable!("what has ended has an output or a panic"),
        }
    }
}

impl<T> fmt::Debug for Fiber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber").field("ended", &self.coroutine.is_none()).finish()
    }
}

/// Makes fibers that differ from the usual.
///
/// ```
/// use whirligig::fiber::Builder;
///
/// fn depth(levels: u32) -> u32 {
///     let frame = std::hint::black_box([levels; 64]);
///     if levels == 0 { 0 } else { 1 + depth(frame[0] - 1) }
/// }
///
/// whirligig::run(async {
///     let deep = Builder::new().stack_bytes(64 << 20).spawn(|| depth(50_000))?;
///     assert_eq!(deep.await?, 50_000);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    stack_bytes: usize,
}

impl Builder {
    /// As [`spawn`] and [`Fiber::new`] make them.
    #[must_use]
    pub fn new() -> Builder {
        Builder { stack_bytes: stack::STACK_BYTES }
    }

    /// The size of the stack, instead of 256 KiB: whole pages, and at least 32 KiB.
    #[must_use]
    pub fn stack_bytes(mut self, bytes: usize) -> Builder {
        self.stack_bytes = bytes;
        self
    }

    /// Makes a fiber, which begins when it is first polled.
    ///
    /// # Errors
    /// Out of memory or mappings ([`is_exhaustion`](crate::sys::is_exhaustion)). `InvalidInput` if
    /// the stack is larger than any can be, or too small for what the function holds.
    #[track_caller]
    pub fn build<T: 'static>(&self, body: impl FnOnce() -> T + 'static) -> io::Result<Fiber<T>> {
        let made_at = Location::caller();
        let coroutine = Coroutine::new(self.stack_bytes, made_at, true, |_: &Control| body())?;
        Ok(Fiber { coroutine: Some(coroutine) })
    }

    /// Spawns a fiber as a task of the runtime whose turn it is on this thread.
    ///
    /// # Errors
    /// As for [`build`](Builder::build).
    ///
    /// # Panics
    /// If no runtime has its turn on this thread.
    #[track_caller]
    pub fn spawn<T: 'static>(
        &self,
        body: impl FnOnce() -> T + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let fiber = self.build(body)?;
        Ok(crate::spawn(fiber))
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}
