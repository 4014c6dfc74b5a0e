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
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    pub(super) fn new(inside_max: usize) -> Rc<Gate> {
        let waiting = RefCell::new(Vec::new());
        Rc::new(Gate { inside: Cell::new(0), inside_max, left: Cell::new(0), waiting })
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

    /// Waits until nobody is inside.
    pub(super) async fn is_empty(&self) {
        poll_fn(|cx| self.poll(cx, || self.inside.get() == 0)).await;
    }

    fn poll(&self, cx: &Context<'_>, is_so: impl Fn() -> bool) -> Poll<()> {
        if is_so() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
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
        let waiting = gate.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}
