//! What home does with the task, and what those do to it who are at home: no two at once.

use super::walk::{Moves, add};
use super::world::{
    ABORTER, Checked, Doing, Home, JOINER, Message, Output, Transitions, Woke, World, check,
};
use crate::task::state::{OnComplete, OnDetach, OnRelease, OnRun, Place};

/// Adds what comes of a step that gives up a reference at home, for each value that home may read.
fn add_reads(
    moves: &mut Moves,
    world: &World,
    name: &'static str,
    step: impl Fn(&mut World, bool) -> Checked,
) {
    for counts in [false, true] {
        if world.readable.contains(&counts) {
            add(moves, world, name, |world| step(world, counts));
        }
    }
}

pub(super) fn moves(world: &World, with: &Transitions, moves: &mut Moves) {
    if world.owes {
        return add_reads(moves, world, "home gives up a message's reference", |world, counts| {
            world.owes = false;
            world.release_at_home(with, counts)
        });
    }
    if world.runs_foreign_code() {
        for who in 0..world.actors.len() {
            actor_moves(world, with, who, moves);
        }
    }
    receive_moves(world, with, moves);
    match world.home {
        Home::Between if !world.arrived.is_empty() => {}
        Home::Between if world.closing => closing_moves(world, with, moves),
        Home::Between => run_moves(world, with, moves),
        Home::Polling(wakes_left) => poll_moves(world, with, wakes_left, moves),
        Home::DroppingFuture => add(moves, world, "the future is gone", |world| {
            world.home = Home::Completing;
            world.output = Output::There;
            check(std::mem::take(&mut world.future), "the future is dropped twice")
        }),
        Home::Completing => add(moves, world, "complete", |world| {
            world.touch()?;
            let queued = std::mem::replace(&mut world.place, Place::Over) == Place::Queued;
            check(queued == (world.queue > 0), "a task's place is not where it is")?;
            world.home = Home::Publishing;
            if queued && with.queue_keeps && (with.complete)(world.status).1 == OnComplete::Wake {
                world.queue_has = true;
                world.share_at_home(with)?;
            }
            Ok(())
        }),
        Home::Publishing => add(moves, world, "the status says that it is over", |world| {
            world.touch()?;
            let (next, owed) = (with.complete)(world.status);
            world.status = next;
            let passes = owed == OnComplete::Wake;
            let takes = passes && with.takes_waker_first;
            let waker = if takes { world.slot.take() } else { None };
            if passes {
                (world.passed, world.kept) = (true, std::mem::take(&mut world.queue_has));
            }
            world.home = Home::Telling(owed, waker);
            Ok(())
        }),
        Home::Telling(OnComplete::Wake, waker) => {
            add(moves, world, "home wakes the joiner", |world| {
                world.home = Home::Between;
                if with.takes_waker_first {
                    world.wake_joiner(waker);
                    return Ok(());
                }
                world.touch()?;
                let waker = world.slot.take();
                world.wake_joiner(waker);
                Ok(())
            });
        }
        Home::Telling(OnComplete::DropOutput, _) => {
            add(moves, world, "home drops the output", |world| {
                let keeps = world.queue > 0 && with.queue_keeps;
                world.home = if keeps { Home::Between } else { Home::Releasing };
                world.drop_output()
            });
        }
        Home::Releasing => add_reads(moves, world, "home gives up its own", |world, counts| {
            world.home = Home::Between;
            world.kept = false;
            world.release_at_home(with, counts)
        }),
        Home::Gone => {}
    }
}

fn run_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    add(moves, world, "the runtime begins to shut down", |world| {
        world.closing = true;
        Ok(())
    });
    if world.queue > 0 {
        add(moves, world, "run", |world| {
            world.touch()?;
            world.queue -= 1;
            match (with.run)(world.status) {
                OnRun::Poll => world.begin_poll(),
                OnRun::Cancel => world.cancel(),
                OnRun::Release => {
                    world.home = Home::Releasing;
                    Ok(())
                }
            }
        });
    }
}

fn poll_moves(world: &World, with: &Transitions, wakes_left: u8, moves: &mut Moves) {
    if wakes_left > 0 {
        add(moves, world, "the future wakes itself", |world| {
            world.home = Home::Polling(wakes_left - 1);
            world.wake_at_home(with)
        });
    }
    // The last of the names is made of a clone of another.
    if world.actors.get(2).is_some_and(|actor| actor.absent) {
        add(moves, world, "the future clones its waker", |world| {
            world.appear(2, true, 0);
            world.share_at_home(with)
        });
    }
    if world.polls_left > 0 {
        add(moves, world, "the poll comes to nothing", |world| {
            world.home = Home::Between;
            Ok(())
        });
    }
    add(moves, world, "the poll is over", |world| {
        world.home = Home::DroppingFuture;
        Ok(())
    });
}

fn closing_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    if world.queue > 0 {
        add(moves, world, "shutdown takes it out of the queue", |world| {
            world.touch()?;
            world.queue -= 1;
            if world.status.is_done() {
                world.home = Home::Releasing;
                return Ok(());
            }
            world.cancel()
        });
    } else if world.kept && !world.status.is_done() {
        add(moves, world, "shutdown ends it", World::cancel);
    } else if world.list.is_empty() || !with.closes_empty {
        add(moves, world, "the inbox is closed", |world| {
            world.home = Home::Gone;
            for actor in &mut world.actors {
                actor.at_home = false;
            }
            Ok(())
        });
    }
}

fn receive_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    let joiner_at_home = world.actors[JOINER].own && world.actors[JOINER].at_home;
    let nested = world.runs_foreign_code() && joiner_at_home;
    if world.home != Home::Between && !nested || world.home == Home::Gone {
        return;
    }
    if !world.arrived.is_empty() {
        add(moves, world, "home takes a message in", |world| world.receive(with));
    } else if world.notified || world.closing && !world.list.is_empty() {
        add(moves, world, "home takes the list", |world| {
            world.notified = false;
            world.arrived = std::mem::take(&mut world.list);
            if with.synchronizes {
                world.home_has_seen(world.inbox_view);
            }
            if world.arrived.iter().any(|message| matches!(message, Message::Joining(_))) {
                world.step_at_home(with.leave_list)?;
            }
            Ok(())
        });
    }
}

/// What one at home does, in the future, in another task, or in the drop of something.
fn actor_moves(world: &World, with: &Transitions, who: usize, moves: &mut Moves) {
    let actor = &world.actors[who];
    if !actor.own || !actor.at_home || actor.doing != Doing::Nothing {
        return;
    }
    add(moves, world, "one goes abroad", |world| {
        world.actors[who].at_home = false;
        Ok(())
    });
    if who == JOINER {
        return joiner_moves(world, with, moves);
    }
    add_reads(moves, world, "a name is dropped at home", move |world, counts| {
        world.actors[who].own = false;
        world.release_at_home(with, counts)
    });
    if who == ABORTER {
        if actor.left > 0 {
            add(moves, world, "abort at home", |world| {
                world.actors[ABORTER].left -= 1;
                world.abort_at_home(with)
            });
        }
        return;
    }
    add_reads(moves, world, "wake at home", move |world, counts| {
        world.wake_at_home(with)?;
        world.actors[who].own = false;
        world.release_at_home(with, counts)
    });
    if world.actors.get(who + 1).is_some_and(|next| next.absent) {
        add(moves, world, "a waker is cloned at home", |world| {
            world.appear(who + 1, true, 0);
            world.share_at_home(with)
        });
    }
}

fn joiner_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    if world.status.is_done() {
        add_reads(moves, world, "the output is claimed at home", |world, counts| {
            world.claim_output()?;
            world.actors[JOINER].own = false;
            world.release_at_home(with, counts)
        });
    } else if world.joins_left > 0 && (world.is_drained() || !with.receives_first) {
        add(moves, world, "the handle leaves a waker at home", |world| {
            world.touch()?;
            let waker = world.next_join();
            world.slot = Some(waker);
            world.waits = Some(waker);
            Ok(())
        });
    }
    add_reads(moves, world, "the handle is dropped at home", |world, counts| {
        world.waits = None;
        world.actors[JOINER].own = false;
        // The handle's reference, if it has one, is counted until it is given up below.
        if world.detach(with)? { world.release_at_home(with, counts) } else { Ok(()) }
    });
    if world.actors[ABORTER].absent && world.actors[ABORTER].left > 0 {
        add(moves, world, "an abort handle is made at home", |world| {
            world.appear(ABORTER, true, 0);
            world.share_at_home(with)
        });
    }
}

impl World {
    /// Whether code that is not ours runs at home now, with which others do things there.
    fn runs_foreign_code(&self) -> bool {
        matches!(self.home, Home::Between | Home::Polling(_) | Home::DroppingFuture)
    }

    /// Nothing is under way that home has to know of. It may overlook what others just announced,
    /// but not what the handle itself sent before it came here.
    fn is_drained(&self) -> bool {
        let joining = |message: &Message| matches!(message, Message::Joining(_));
        self.arrived.is_empty() && !self.list.iter().any(joining)
    }

    pub(super) fn next_join(&mut self) -> u8 {
        self.joins_left -= 1;
        self.joins_max - self.joins_left
    }

    /// A name is made of another.
    pub(super) fn appear(&mut self, who: usize, at_home: bool, view: usize) {
        let actor = &mut self.actors[who];
        (actor.absent, actor.own, actor.at_home, actor.view) = (false, true, at_home, view);
    }

    fn begin_poll(&mut self) -> Checked {
        self.place = Place::Waiting;
        check(!self.abort_taken_in, "a task is polled that was aborted")?;
        check(self.future, "a task is polled without its future")?;
        self.wakes = self.wakes.checked_sub(1).ok_or("a task is polled that nobody woke")?;
        self.polls_left = self.polls_left.saturating_sub(1);
        self.woken = false;
        for actor in &mut self.actors {
            if actor.woke == Woke::Seen {
                actor.woke = Woke::No;
            }
        }
        self.home = Home::Polling(1);
        Ok(())
    }

    fn cancel(&mut self) -> Checked {
        self.place = Place::Waiting;
        self.home = Home::DroppingFuture;
        self.touch()
    }

    fn wake_at_home(&mut self, with: &Transitions) -> Checked {
        self.touch()?;
        if !self.status.is_done() {
            self.woken = true;
            self.wakes += 1;
        }
        self.queue_if_waiting(with);
        Ok(())
    }

    fn queue_if_waiting(&mut self, with: &Transitions) {
        if self.place == Place::Waiting || !with.looks_at_place {
            self.place = Place::Queued;
            self.queue += 1;
        }
    }

    fn abort_at_home(&mut self, with: &Transitions) -> Checked {
        self.abort_taken_in = true;
        self.status = self.status.abort();
        self.wake_at_home(with)
    }

    fn share_at_home(&mut self, with: &Transitions) -> Checked {
        self.touch()?;
        if self.local > 0 {
            self.local += 1;
            return Ok(());
        }
        self.step_at_home(|remote| ((with.share)(remote), ()))
    }

    /// `counts`: the value that home reads of the remote word has references.
    fn release_at_home(&mut self, with: &Transitions, counts: bool) -> Checked {
        self.touch()?;
        if self.local > 1 {
            self.local -= 1;
            return Ok(());
        }
        let counted = self.local == 1;
        let last = if counted && (!counts || !with.looks_before_free) {
            true
        } else if counted && with.merges {
            self.local = 0;
            self.step_at_home(|remote| (with.merge)(remote, 0))?
        } else if counted {
            self.local = 0;
            false
        } else {
            self.step_at_home(with.release)? == OnRelease::Free
        };
        if last { self.free() } else { Ok(()) }
    }

    /// Whether there is a reference to give up after that.
    fn detach(&mut self, with: &Transitions) -> Result<bool, &'static str> {
        self.touch()?;
        let (next, owed) = (with.detach)(self.status);
        self.status = next;
        match owed {
            OnDetach::DropOutput => self.drop_output()?,
            OnDetach::DropWaker => self.slot = None,
        }
        Ok(owed == OnDetach::DropOutput)
    }

    fn wake_joiner(&mut self, waker: Option<u8>) {
        if waker.is_some() && self.waits == waker {
            self.waits = None;
        }
    }

    fn receive(&mut self, with: &Transitions) -> Checked {
        let message = self.arrived.remove(0);
        self.owes = true;
        match message {
            Message::Woken => {
                let abort = self.step_at_home(with.arrive)?;
                if abort {
                    self.abort_taken_in = true;
                    self.status = self.status.abort();
                }
                self.queue_if_waiting(with);
                Ok(())
            }
            Message::New => {
                (self.kept, self.owes) = (true, false);
                self.queue += 1;
                Ok(())
            }
            Message::Released => Ok(()),
            Message::Detached => {
                self.owes = self.detach(with)?;
                Ok(())
            }
            Message::Joining(waker) => {
                if self.status.is_done() && with.wakes_late_joiner {
                    self.wake_joiner(Some(waker));
                } else if self.status.has_handle() || !with.looks_for_handle {
                    self.slot = Some(waker);
                }
                Ok(())
            }
        }
    }
}
