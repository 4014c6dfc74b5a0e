//! Generators with a stack of their own.

use crate::fiber::{Control, Coroutine, STACK_BYTES};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::panic::{Location, resume_unwind};
use std::rc::Rc;

/// Makes a generator of a function, which is given what it yields by and the first resume's
/// argument.
///
/// ```
/// use whirligig::generator::{self, StackfulYielder};
///
/// enum Tree {
///     Leaf(u32),
///     Node(Vec<Tree>),
/// }
///
/// /// Yields from whatever depth it is at.
/// fn walk(tree: &Tree, yielder: &StackfulYielder<(), u32>) {
///     match tree {
///         Tree::Leaf(value) => yielder.suspend(*value),
///         Tree::Node(children) => children.iter().for_each(|child| walk(child, yielder)),
///     }
/// }
///
/// use Tree::{Leaf, Node};
/// let tree = Node(vec![Leaf(1), Node(vec![Leaf(2), Leaf(3)]), Leaf(4)]);
/// let leaves = generator::stackful(move |yielder, ()| walk(&tree, yielder))?;
/// assert!(leaves.eq([1, 2, 3, 4]));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The function may not borrow from outside, for the reason that a [fiber](crate::fiber::Fiber) may
/// not.
///
/// # Errors
/// Out of memory or mappings for a stack; `InvalidInput` if the function is too large for one. See
/// [`fiber::Builder::build`](crate::fiber::Builder::build): the stack is of the usual size.
#[track_caller]
pub fn stackful<R: 'static, Y: 'static, T: 'static>(
    body: impl FnOnce(&StackfulYielder<'_, R, Y>, R) -> T + 'static,
) -> io::Result<Stackful<R, Y, T>> {
    let exchange = Rc::new(Exchange { argument: Cell::new(None), yielded: Cell::new(None) });
    let own = Rc::clone(&exchange);
    let begin = move |control: &Control| {
        let yielder = StackfulYielder { control, exchange: &own };
        let first = yielder.argument();
        body(&yielder, first)
    };
    let coroutine = Coroutine::new(STACK_BYTES, Location::caller(), false, begin)?;
    Ok(Stackful { coroutine: Some(coroutine), exchange })
}

/// A generator with a stack of its own, made by [`stackful`].
///
/// One that takes no arguments is an [`Iterator`]; what it returns is then dropped. Others, and
/// those of whose result one wants to know, are run by [`resume`](Stackful::resume).
///
/// Dropping it unwinds its stack as it is done to a fiber: see
/// [`fiber`](crate::fiber#ends). There, read `suspend` for `wait`.
pub struct Stackful<R, Y, T> {
    /// None after the end.
    coroutine: Option<Coroutine<T>>,
    exchange: Rc<Exchange<R, Y>>,
}

/// What passes between a generator and whoever resumes it.
struct Exchange<R, Y> {
    argument: Cell<Option<R>>,
    yielded: Cell<Option<Y>>,
}

/// What came of resuming a generator.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed<Y, T> {
    /// It yielded a value, and can be resumed.
    Yielded(Y),
    /// It returned.
    Returned(T),
}

impl<R, Y, T> Stackful<R, Y, T> {
    /// Runs it until it yields or returns. `argument` is what its [`suspend`] returns; at the first
    /// resume, what the function is called with.
    ///
    /// ```
    /// use whirligig::generator::{self, Resumed};
    ///
    /// let mut total = generator::stackful(|yielder, first: u32| {
    ///     let mut sum = first;
    ///     while sum < 10 {
    ///         sum += yielder.suspend(sum);
    ///     }
    ///     "enough"
    /// })?;
    /// assert_eq!(total.resume(4), Resumed::Yielded(4));
    /// assert_eq!(total.resume(5), Resumed::Yielded(9));
    /// assert_eq!(total.resume(6), Resumed::Returned("enough"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// With what the function panicked with, and after its end.
    ///
    /// [`suspend`]: StackfulYielder::suspend
    #[inline]
    pub fn resume(&mut self, argument: R) -> Resumed<Y, T> {
        let Some(coroutine) = &mut self.coroutine else {
            panic!("a generator is not resumed after its end");
        };
        self.exchange.argument.set(Some(argument));
        if !coroutine.resume() {
            return match self.exchange.yielded.take() {
                Some(value) => Resumed::Yielded(value),
                None => unreachable!("`suspend` leaves a value"),
            };
        }
        match self.coroutine.take().and_then(Coroutine::into_output) {
            Some(Ok(output)) => Resumed::Returned(output),
            Some(Err(payload)) => resume_unwind(payload),
            None => unreachable!("what has ended has an output or a panic"),
        }
    }

    /// Whether it is at its end: it returned or panicked.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.coroutine.is_none()
    }
}

impl<Y, T> Iterator for Stackful<(), Y, T> {
    type Item = Y;

    #[inline]
    fn next(&mut self) -> Option<Y> {
        if self.is_done() {
            return None;
        }
        match self.resume(()) {
            Resumed::Yielded(value) => Some(value),
            Resumed::Returned(_) => None,
        }
    }
}

impl<Y, T> FusedIterator for Stackful<(), Y, T> {}

impl<R, Y, T> fmt::Debug for Stackful<R, Y, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stackful").field("ended", &self.is_done()).finish()
    }
}

/// What a generator with a stack yields by.
pub struct StackfulYielder<'a, R, Y> {
    control: &'a Control,
    exchange: &'a Exchange<R, Y>,
}

impl<R, Y> StackfulYielder<'_, R, Y> {
    /// Yields `value`, and returns what the generator is next resumed with.
    ///
    /// If it is dropped instead, this unwinds.
    ///
    /// # Panics
    /// In a future that a fiber [waits](crate::fiber::wait) for, if the generator runs on top of
    /// that fiber. In a runtime that the generator runs itself.
    #[inline]
    pub fn suspend(&self, value: Y) -> R {
        self.control.suspend(|| self.exchange.yielded.set(Some(value)));
        self.argument()
    }

    fn argument(&self) -> R {
        match self.exchange.argument.take() {
            Some(argument) => argument,
            None => unreachable!("each resume leaves one"),
        }
    }
}

impl<R, Y> fmt::Debug for StackfulYielder<'_, R, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackfulYielder").finish_non_exhaustive()
    }
}
