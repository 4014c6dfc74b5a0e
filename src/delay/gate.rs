//! How many connections there may be, and waiting for one of them to end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Counts those inside.
#[derive(Debug)]
pub(super) struct Gate {
    inside: Cell<usize>,
    inside_max: usize,
    /// Counts those that went, so that whoever waits knows that someone did.
    left: Cell<u64>,
    /// Nobody is let in to wait any more.
    closing: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    pub(super) fn new(inside_max: usize) -> Rc<Gate> {
        let waiting = RefCell::new(Vec::new());
        let (inside, left, closing) = (Cell::new(0), Cell::new(0), Cell::new(false));
        Rc::new(Gate { inside, inside_max, left, closing, waiting })
    }

    pub(super) fn inside(&self) -> usize {
        self.inside.get()
    }

    /// One more is inside, until the pass is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> Pass {
        self.inside.set(self.inside.get() + 1);
        Pass(Rc::clone(self))
    }

    /// Whether there is room for one more.
    pub(super) fn is_open(&self) -> bool {
        self.inside.get() < self.inside_max
    }

    /// Waits until there is room for one more.
    pub(super) async fn has_room(&self) {
        poll_fn(|cx| self.poll(cx, || self.is_open())).await;
    }

    /// Waits until one more has left.
    pub(super) async fn someone_leaves(&self) {
        let before = self.left.get();
        poll_fn(|cx| self.poll(cx, || self.left.get() != before)).await;
    }

    /// From now on nobody new is to be let in.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.wake_all();
    }

    /// Waits until the gate closes.
    pub(super) async fn closes(&self) {
        poll_fn(|cx| self.poll(cx, || self.closing.get())).await;
    }

    /// Waits until nobody is inside.
    pub(super) async fn is_empty(&self) {
        poll_fn(|cx| self.poll(cx, || self.inside.get() == 0)).await;
    }

    fn wake_all(&self) {
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, cx: &Context<'_>, is_so: impl Fn() -> bool) -> Poll<()> {
        if is_so() {
            return Poll::Ready(());
        }
        let is_there = self.waiting.borrow().iter().any(|waker| waker.will_wake(cx.waker()));
        if !is_there {
            // Cloned before the list is borrowed: a waker is foreign code.
            let waker = cx.waker().clone();
            self.waiting.borrow_mut().push(waker);
        }
        Poll::Pending
    }
}

/// One that is inside.
#[derive(Debug)]
pub(super) struct Pass(Rc<Gate>);

impl Drop for Pass {
    fn drop(&mut self) {
        let gate = &self.0;
        gate.inside.set(gate.inside.get() - 1);
        gate.left.set(gate.left.get() + 1);
        gate.wake_all();
    }
}
