//! What a home does with the messages that others send it, and with the same news at home.
#![expect(unsafe_code, reason = "owns outputs that nobody claims")]

use super::cell::Task;
use super::header::Header;
use super::home::AtHome;
use super::inbox::Message;
use super::state::{OnDetach, Place, Remote};
use crate::contain::contain;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::Waker;

impl AtHome<'_> {
    /// Takes in what has arrived in the inbox.
    #[cold]
    pub(crate) fn receive(self) {
        self.pool().take_back(self.returned());
        let arrived = &self.local().arrived;
        self.inbox().take(&mut arrived.borrow_mut());
        loop {
            // Not in the loop's head, where the borrow would last as long as its body.
            let message = arrived.borrow_mut().pop_front();
            let Some(message) = message else { return };
            self.receive_one(message);
        }
    }

    fn receive_one(self, message: Message) {
        match message {
            Message::New(task) => self.adopt(task),
            Message::Woken(task) => {
                let header = task.as_ptr();
                match task.header().step(Remote::arrive) {
                    // SAFETY: the message's reference keeps the cell live.
                    true => unsafe { self.abort(header) },
                    // SAFETY: as above.
                    false => unsafe { self.wake(header) },
                }
            }
            Message::Released(task) => drop(task),
            Message::Detached(task) => self.detach(ManuallyDrop::new(task)),
            Message::Joining(task, waker) => self.join(&task, waker),
        }
    }

    /// A joiner that found the task not over leaves its waker, or is woken at once.
    fn join(self, task: &Task, waker: Waker) {
        let header = task.header();
        let status = header.status_at_home();
        let unused = if status.is_done() {
            contain(|| waker.wake());
            None
        } else if status.has_handle() {
            header.join_waker.replace(Some(waker))
        } else {
            Some(waker)
        };
        contain(|| drop(unused));
    }

    /// Sees to it that a joiner at home is woken when the task ends, which is not over yet.
    pub(super) fn leave_waker(self, header: &Header, waker: &Waker) {
        if self.has_messages() {
            // An older waker of the same handle may be under way, from when that was elsewhere.
            self.receive();
        }
        let old = header.join_waker.take();
        let (new, old) = match old {
            Some(old) if old.will_wake(waker) => (old, None),
            old => (waker.clone(), old),
        };
        header.join_waker.set(Some(new));
        if old.is_some() {
            contain(|| drop(old));
        }
    }

    /// The join handle of a task is gone. While the task is not over its reference is home's.
    pub(super) fn detach(self, task: ManuallyDrop<Task>) {
        let header = task.header();
        let (next, owed) = header.status_at_home().detach();
        header.set_status(next);
        match owed {
            OnDetach::DropOutput => {
                // SAFETY: the task is over, the handle is gone, and this is home.
                unsafe { task.drop_output() };
                drop(ManuallyDrop::into_inner(task));
            }
            OnDetach::DropWaker => {
                let waker = header.join_waker.take();
                if waker.is_some() {
                    contain(|| drop(waker));
                }
            }
        }
    }

    /// Drops the output of a task that is over, since there is no join handle, and gives up home's
    /// reference.
    ///
    /// # Safety
    /// As said; the task's place was that one before.
    #[inline(never)]
    pub(super) unsafe fn complete_detached(self, header: NonNull<Header>, was: Place) {
        // SAFETY: the caller's promise.
        let vtable = unsafe { header.as_ref() }.vtable.get();
        // SAFETY: without a join handle the output is home's.
        unsafe { (vtable.drop_output)(header) };
        // If its own poll woke it, it leaves the queue at its turn.
        if was != Place::Queued {
            // SAFETY: home's reference, and it is not in the queue.
            unsafe { Header::release_at(self, header) };
        }
    }

    /// Whether something has arrived that was not yet taken in.
    #[inline]
    pub(crate) fn has_messages(self) -> bool {
        self.inbox().is_notified() || !self.local().arrived.borrow().is_empty()
    }
}
