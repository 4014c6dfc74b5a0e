//! What those do to the task who are elsewhere than at home, each step of it by itself.

use super::walk::{Moves, add};
use super::world::{
    ABORTER, Checked, Doing, Home, JOINER, Message, Output, Transitions, Woke, World,
};
use crate::task::state::{OnRelease, OnRemoteWake, Place};

pub(super) fn moves(world: &World, with: &Transitions, who: usize, moves: &mut Moves) {
    let actor = &world.actors[who];
    if actor.absent || actor.at_home {
        return;
    }
    match actor.doing {
        Doing::Nothing if actor.claims => add(moves, world, "the handle claims", |world| {
            world.actors[who].claims = false;
            world.claim(who)
        }),
        Doing::Nothing if actor.own => resting_moves(world, with, who, moves),
        Doing::Nothing => {}
        Doing::WakesByRef | Doing::Wakes | Doing::Aborts => wake_moves(world, with, who, moves),
        Doing::Pushes(message) => {
            add(moves, world, "a message is pushed", |world| world.push(with, who, message))
        }
        Doing::Releases => add(moves, world, "a reference is given up", |world| {
            match world.step(who, with.release)? {
                OnRelease::Nothing => to(Doing::Nothing, who)(world),
                OnRelease::Free => {
                    to(Doing::Nothing, who)(world)?;
                    world.free()
                }
                OnRelease::SendHome => to(Doing::Pushes(Message::Released), who)(world),
            }
        }),
        Doing::Merges | Doing::AddsCount(_) | Doing::ReleasesMerged => {
            merge_moves(world, with, who, moves);
        }
        Doing::Joins(waker) => add(moves, world, "a joiner's message has a reference", |world| {
            world.step(who, |remote| ((with.share)(remote), ()))?;
            to(Doing::PushesJoining(waker), who)(world)
        }),
        Doing::PushesJoining(waker) => add(moves, world, "a joiner's waker is pushed", |world| {
            world.push_joining(with, who, waker)
        }),
    }
}

fn to(doing: Doing, who: usize) -> impl Fn(&mut World) -> Checked {
    move |world| {
        world.actors[who].doing = doing;
        Ok(())
    }
}

fn resting_moves(world: &World, with: &Transitions, who: usize, moves: &mut Moves) {
    let actor = &world.actors[who];
    if world.home != Home::Gone {
        add(moves, world, "one comes home", |world| {
            world.actors[who].at_home = true;
            if with.synchronizes {
                world.home_has_seen(world.actors[who].view);
            }
            Ok(())
        });
    }
    if who == JOINER {
        return joiner_moves(world, with, moves);
    }
    add(moves, world, "a name is dropped", |world| {
        world.actors[who].own = false;
        to(Doing::Releases, who)(world)
    });
    if actor.left > 0 {
        let doing = if who == ABORTER { Doing::Aborts } else { Doing::WakesByRef };
        add(moves, world, "a look at the status", |world| world.look(who, doing));
    }
    if who == ABORTER {
        return;
    }
    add(moves, world, "a look at the status, by value", |world| {
        world.actors[who].own = false;
        world.look(who, Doing::Wakes)
    });
    if world.actors.get(who + 1).is_some_and(|next| next.absent) {
        add(moves, world, "a waker is cloned", |world| {
            world.step(who, |remote| ((with.share)(remote), ()))?;
            world.appear(who + 1, false, world.actors[who].view);
            Ok(())
        });
    }
}

fn joiner_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    if world.joins_left > 0 {
        add(moves, world, "the handle is polled", |world| {
            world.touch()?;
            world.waits = None;
            let waker = world.next_join();
            if world.status.is_done() {
                return world.claim(JOINER);
            }
            to(Doing::Joins(waker), JOINER)(world)
        });
    }
    add(moves, world, "the handle is dropped", |world| {
        world.waits = None;
        world.actors[JOINER].own = false;
        to(Doing::Pushes(Message::Detached), JOINER)(world)
    });
    let aborter = &world.actors[ABORTER];
    if aborter.absent && aborter.left > 0 {
        add(moves, world, "an abort handle is made", |world| {
            world.step(JOINER, |remote| ((with.share)(remote), ()))?;
            world.appear(ABORTER, false, world.actors[JOINER].view);
            Ok(())
        });
    }
}

fn wake_moves(world: &World, with: &Transitions, who: usize, moves: &mut Moves) {
    let (name, step) = match world.actors[who].doing {
        Doing::WakesByRef => ("wake_by_ref", with.wake_by_ref),
        Doing::Wakes => ("wake", with.wake),
        _ => ("abort", with.abort),
    };
    add(moves, world, name, |world| {
        let doing = world.actors[who].doing;
        world.note_wake(who, doing == Doing::Aborts);
        let (_, owed) = step(world.remote);
        if owed == OnRemoteWake::Nothing && !with.publishes {
            world.touch()?;
            world.actors[who].woke = Woke::Unpublished;
        } else {
            let _owed = world.step(who, step)?;
        }
        let nothing = if doing == Doing::Wakes { Doing::Releases } else { Doing::Nothing };
        let sends = owed == OnRemoteWake::Send;
        to(if sends { Doing::Pushes(Message::Woken) } else { nothing }, who)(world)
    });
}

fn merge_moves(world: &World, with: &Transitions, who: usize, moves: &mut Moves) {
    match world.actors[who].doing {
        Doing::Merges if world.merging && with.merges_once => {}
        Doing::Merges => add(moves, world, "home's count is taken", |world| {
            world.touch()?;
            if world.remote.is_merged() && with.merges_once {
                return to(Doing::ReleasesMerged, who)(world);
            }
            world.merging = true;
            let count = std::mem::take(&mut world.local);
            to(Doing::AddsCount(u8::try_from(count).unwrap()), who)(world)
        }),
        Doing::AddsCount(count) => add(moves, world, "home's count is added", |world| {
            world.merging = false;
            world.step(who, |remote| (with.merge)(remote, u32::from(count)))?;
            to(if with.releases_merged { Doing::ReleasesMerged } else { Doing::Nothing }, who)(
                world,
            )
        }),
        _ => add(moves, world, "a reference is given up once counted", |world| {
            let owed = world.step(who, with.release)?;
            to(Doing::Nothing, who)(world)?;
            if owed == OnRelease::Free { world.free() } else { Ok(()) }
        }),
    }
}

impl World {
    fn look(&mut self, who: usize, doing: Doing) -> Checked {
        self.touch()?;
        self.actors[who].left = self.actors[who].left.saturating_sub(1);
        let releases = if doing == Doing::Wakes { Doing::Releases } else { Doing::Nothing };
        to(if self.status.is_done() { releases } else { doing }, who)(self)
    }

    fn note_wake(&mut self, who: usize, abort: bool) {
        if !self.status.is_done() {
            self.actors[who].woke = Woke::Published;
            self.wakes += 1;
            self.abort_asked |= abort;
        }
    }

    fn claim(&mut self, who: usize) -> Checked {
        self.claim_output()?;
        self.actors[who].own = false;
        to(Doing::Releases, who)(self)
    }

    /// Whoever has the inbox's lock has seen what those have who had it before, and the reverse.
    fn lock(&mut self, who: usize) {
        self.inbox_view = self.inbox_view.max(self.actors[who].view);
        self.actors[who].view = self.inbox_view;
    }

    fn push(&mut self, with: &Transitions, who: usize, message: Message) -> Checked {
        self.lock(who);
        if self.home != Home::Gone {
            self.list.push(message);
            self.notified = true;
            return to(Doing::Nothing, who)(self);
        }
        match message {
            Message::New if with.ends_unborn => {
                self.end_unborn()?;
                // The reference is the handle's now.
                self.passed = true;
                return to(Doing::Nothing, who)(self);
            }
            Message::Detached if with.drops_orphan => self.drop_output()?,
            Message::New | Message::Woken | Message::Detached | Message::Joining(_) => {}
            Message::Released => return to(Doing::Merges, who)(self),
        }
        to(Doing::Releases, who)(self)
    }

    /// The inbox gave the task back with which it was to be spawned.
    fn end_unborn(&mut self) -> Checked {
        self.touch()?;
        (self.future, self.output) = (false, Output::There);
        self.place = Place::Over;
        self.status = self.status.complete().0;
        Ok(())
    }

    fn push_joining(&mut self, with: &Transitions, who: usize, waker: u8) -> Checked {
        self.lock(who);
        if self.home == Home::Gone {
            self.actors[who].claims = true;
            return to(Doing::Releases, who)(self);
        }
        self.waits = Some(waker);
        let joining = |message: &Message| matches!(message, Message::Joining(_));
        if self.step(who, with.join)? {
            let earlier = self.list.iter().rposition(joining);
            self.list[earlier.ok_or("there is no earlier message")?] = Message::Joining(waker);
            // The earlier message comes back, with its reference.
            return to(Doing::Releases, who)(self);
        }
        self.list.push(Message::Joining(waker));
        self.notified = true;
        to(Doing::Nothing, who)(self)
    }
}
