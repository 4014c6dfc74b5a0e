//! Every order in which the steps on one task can happen, gone through.
//!
//! A depth-first walk over the worlds that can be reached from a new task, each visited once: its
//! home runs it and may shut down at any time; its future wakes itself, waits or is done; wakers
//! are cloned, used and dropped; the join handle is polled with one waker and another, aborts, and
//! is dropped, on the home thread or on another; an abort handle does its part.

use super::world::{Checked, Handle, Home, Other, REAL, Transitions, World};
use crate::task::state::{OnComplete, OnJoin, OnPend, OnRun, OnWake};
use std::collections::HashSet;

/// What a waker may do before it goes. A walk of more is long without optimisation.
const WAKES: u8 = if cfg!(debug_assertions) { 1 } else { 2 };

type Moves = Vec<(&'static str, World, Checked)>;

/// Adds what comes of a step in a copy of the world.
fn add(
    moves: &mut Moves,
    world: &World,
    name: &'static str,
    step: impl FnOnce(&mut World) -> Checked,
) {
    let mut next = world.clone();
    let checked = step(&mut next);
    moves.push((name, next, checked));
}

fn home_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    match world.home {
        Home::Between => between_moves(world, with, moves),
        Home::Polling(wakes_left) => {
            if wakes_left > 0 {
                add(moves, world, "the future wakes itself", |world| {
                    world.note_wake();
                    world.home = Home::Polling(wakes_left - 1);
                    if let OnWake::Enqueue = world.step(with.wake_by_ref)? {
                        world.queue += 1;
                    }
                    Ok(())
                });
            }
            if world.others[0] == Other::Absent {
                add(moves, world, "the future clones its waker", |world| {
                    world.others[0] = Other::Rests(WAKES);
                    world.share(with)
                });
            }
            if world.polls_left > 0 {
                add(moves, world, "the poll comes to nothing", |world| {
                    world.home = Home::Pending;
                    Ok(())
                });
            }
            add(moves, world, "the poll is over", |world| {
                world.home = Home::DroppingFuture;
                Ok(())
            });
        }
        Home::Pending => add(moves, world, "pend", |world| {
            match world.step(with.pend)? {
                OnPend::Enqueue => {
                    world.queue += 1;
                    world.home = Home::Between;
                }
                OnPend::Idle => world.home = Home::Releasing { over: false },
            }
            Ok(())
        }),
        Home::DroppingFuture => add(moves, world, "the future is dropped", World::end_future),
        Home::Completing => add(moves, world, "complete", |world| {
            let OnComplete { drop_output, wake_joiner } = world.step(with.complete)?;
            world.home = if drop_output {
                Home::DroppingOutput { then_wake: wake_joiner, was_over: false }
            } else {
                world.home_after_output(wake_joiner)
            };
            Ok(())
        }),
        Home::DroppingOutput { then_wake, was_over } => {
            add(moves, world, "home drops the output", |world| {
                world.home = match was_over {
                    true => Home::Releasing { over: false },
                    false => world.home_after_output(then_wake),
                };
                world.drop_output()
            });
        }
        Home::TakingWaker => add(moves, world, "home takes the join waker", |world| {
            world.home = Home::Waking(world.slot.take());
            Ok(())
        }),
        Home::Waking(waker) => add(moves, world, "home wakes the joiner", |world| {
            if world.waits == waker {
                world.waits = None;
            }
            world.home = Home::Releasing { over: world.kept };
            waker.map(|_| ()).ok_or("a joiner is to be woken that left no waker")
        }),
        Home::Releasing { over } => add(moves, world, "home gives up its reference", |world| {
            world.home = if over { Home::ReleasingKept } else { Home::Between };
            world.release(with)
        }),
        Home::ReleasingKept => add(moves, world, "the executor gives up its own", |world| {
            world.kept = false;
            world.home = Home::Between;
            world.release(with)
        }),
        Home::Gone => {}
    }
}

/// What home does next: run what is queued, or shut down.
fn between_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    if !world.closing {
        add(moves, world, "the runtime begins to shut down", |world| {
            world.closing = true;
            Ok(())
        });
    } else if world.kept {
        add(moves, world, "shutdown comes to the task", |world| {
            world.kept = false;
            world.home = match world.state.is_done() {
                true => Home::Releasing { over: false },
                false => Home::DroppingFuture,
            };
            Ok(())
        });
    } else if world.queue == 0 {
        add(moves, world, "the runtime is gone", |world| {
            world.home = Home::Gone;
            Ok(())
        });
    }
    if world.queue > 0 && !(world.closing && world.kept) {
        add(moves, world, "run", |world| {
            world.queue -= 1;
            match world.step(with.run)? {
                OnRun::Poll => return world.begin_poll(),
                OnRun::Cancel => {
                    world.woken = false;
                    world.home = Home::DroppingFuture;
                }
                OnRun::DropOutput => {
                    world.home = Home::DroppingOutput { then_wake: false, was_over: true };
                }
                OnRun::Nothing => world.home = Home::Releasing { over: false },
            }
            Ok(())
        });
    }
}

impl World {
    fn begin_poll(&mut self) -> Checked {
        match (self.woken, self.aborted, self.closing, self.polls_left.checked_sub(1)) {
            (false, ..) => return Err("a task is polled that nobody woke"),
            (_, true, ..) => return Err("a task is polled that was aborted"),
            (_, _, true, _) => return Err("a task is polled in shutdown"),
            (.., None) => return Err("a task is polled without end"),
            (.., Some(left)) => self.polls_left = left,
        }
        self.woken = false;
        self.home = Home::Polling(1);
        Ok(())
    }

    fn end_future(&mut self) -> Checked {
        self.home = Home::Completing;
        if !std::mem::take(&mut self.future) {
            return Err("the future is dropped twice");
        }
        self.output = super::world::Output::There;
        Ok(())
    }

    fn home_after_output(&self, then_wake: bool) -> Home {
        if then_wake { Home::TakingWaker } else { Home::Releasing { over: self.kept } }
    }

    /// An abort by whoever; true if that made a reference for the queue.
    fn abort(&mut self, with: &Transitions) -> Result<bool, &'static str> {
        self.note_wake();
        self.aborted |= !self.state.is_done();
        Ok(self.step(with.abort)? == OnWake::Enqueue)
    }
}

fn handle_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    let to = |next: Handle| {
        move |world: &mut World| -> Checked {
            world.handle = next;
            Ok(())
        }
    };
    match world.handle {
        Handle::Rests => resting_handle_moves(world, with, moves),
        Handle::Withdrawing(waker) => add(moves, world, "withdraw_waker", |world| {
            world.handle = match world.step(with.withdraw_waker)? {
                OnJoin::Done => Handle::Claiming,
                OnJoin::NotYet => Handle::AtSlot(waker),
            };
            Ok(())
        }),
        Handle::AtSlot(waker) => add(moves, world, "the handle leaves its waker", |world| {
            world.slot = Some(waker);
            to(Handle::Publishing(waker))(world)
        }),
        Handle::Publishing(waker) => add(moves, world, "publish_waker", |world| {
            world.handle = match world.step(with.publish_waker)? {
                OnJoin::Done if with.takes_unused_waker => Handle::TakingBack,
                OnJoin::Done => Handle::Claiming,
                OnJoin::NotYet => {
                    world.waits = Some(waker);
                    Handle::Rests
                }
            };
            Ok(())
        }),
        Handle::TakingBack => add(moves, world, "the handle takes its waker back", |world| {
            world.slot = None;
            to(Handle::Claiming)(world)
        }),
        Handle::Claiming => add(moves, world, "the handle claims the output", |world| {
            world.handle = Handle::Releasing;
            let output = std::mem::replace(&mut world.output, super::world::Output::Claimed);
            match output {
                super::world::Output::There => Ok(()),
                _ => Err("an output is claimed that is not there"),
            }
        }),
        Handle::DroppingWaker => add(moves, world, "the handle drops its waker", |world| {
            world.slot = None;
            to(Handle::Releasing)(world)
        }),
        Handle::DroppingOutput => add(moves, world, "the handle drops the output", |world| {
            world.handle = Handle::Releasing;
            world.drop_output()
        }),
        Handle::Disclaiming => add(moves, world, "disclaim", |world| {
            world.state = (with.disclaim)(world.state);
            to(Handle::Returning)(world)
        }),
        Handle::Returning => add(moves, world, "the handle's reference goes home", |world| {
            let open = world.schedule();
            to(if open { Handle::Gone } else { Handle::DroppingOutput })(world)
        }),
        Handle::Enqueuing => add(moves, world, "the handle queues the task", |world| {
            world.handle = Handle::Rests;
            if world.schedule() { Ok(()) } else { world.release(with) }
        }),
        Handle::Releasing => add(moves, world, "the handle gives up its reference", |world| {
            world.handle = Handle::Gone;
            world.release(with)
        }),
        Handle::Gone => {}
    }
}

fn resting_handle_moves(world: &World, with: &Transitions, moves: &mut Moves) {
    if world.joins_left > 0 {
        for waker in 0..2 {
            add(moves, world, "the handle is polled", |world| {
                world.joins_left -= 1;
                world.waits = None;
                world.handle = match world.state.is_done() {
                    true => Handle::Claiming,
                    false => Handle::Withdrawing(waker),
                };
                Ok(())
            });
        }
    }
    if world.aborts_left > 0 {
        add(moves, world, "the handle aborts", |world| {
            world.aborts_left -= 1;
            if world.abort(with)? {
                world.handle = Handle::Enqueuing;
            }
            Ok(())
        });
    }
    if world.others[2] == Other::Absent {
        add(moves, world, "an abort handle is made", |world| {
            world.others[2] = Other::Rests(1);
            world.share(with)
        });
    }
    // Between tasks the home thread may be in another task, or outside of any turn.
    let at_home = world.handle_at_home && world.home != Home::Gone;
    let abroad = !world.handle_at_home || matches!(world.home, Home::Between | Home::Gone);
    for over in [at_home.then_some(Handle::DroppingOutput), abroad.then_some(Handle::Disclaiming)] {
        let Some(over) = over else { continue };
        add(moves, world, "detach", |world| {
            world.waits = None;
            world.handle = match world.step(with.detach)? {
                OnJoin::Done => over,
                OnJoin::NotYet => Handle::DroppingWaker,
            };
            Ok(())
        });
    }
}

fn other_moves(world: &World, with: &Transitions, which: usize, moves: &mut Moves) {
    match world.others[which] {
        Other::Absent | Other::Gone => {}
        Other::Enqueuing(left) => add(moves, world, "a thread queues the task", |world| {
            world.others[which] = left.map_or(Other::Gone, Other::Rests);
            if world.schedule() { Ok(()) } else { world.release(with) }
        }),
        Other::Rests(left) => {
            if left > 0 && which == 2 {
                add(moves, world, "the abort handle aborts", |world| {
                    world.others[which] = match world.abort(with)? {
                        true => Other::Enqueuing(Some(left - 1)),
                        false => Other::Rests(left - 1),
                    };
                    Ok(())
                });
            } else if left > 0 {
                add(moves, world, "wake_by_ref", |world| {
                    world.note_wake();
                    world.others[which] = match world.step(with.wake_by_ref)? {
                        OnWake::Enqueue => Other::Enqueuing(Some(left - 1)),
                        _ => Other::Rests(left - 1),
                    };
                    Ok(())
                });
            }
            if left > 0 && which == 0 && world.others[1] == Other::Absent {
                add(moves, world, "a waker is cloned", |world| {
                    world.others[1] = Other::Rests(1);
                    world.share(with)
                });
            }
            if which != 2 {
                add(moves, world, "wake", |world| {
                    world.note_wake();
                    let owed = world.step(with.wake)?;
                    let queued = owed == OnWake::Enqueue;
                    world.others[which] = if queued { Other::Enqueuing(None) } else { Other::Gone };
                    if owed == OnWake::Free { world.free() } else { Ok(()) }
                });
            }
            add(moves, world, "a reference is dropped", |world| {
                world.others[which] = Other::Gone;
                world.release(with)
            });
        }
    }
}

fn moves(world: &World, with: &Transitions) -> Moves {
    let mut moves = Moves::new();
    let handle_is_at_it = !matches!(world.handle, Handle::Rests | Handle::Gone);
    if !(world.handle_at_home && handle_is_at_it) {
        home_moves(world, with, &mut moves);
    }
    if !world.handle_at_home || handle_is_at_it || world.is_foreign_code_at_home() {
        handle_moves(world, with, &mut moves);
    }
    for which in 0..world.others.len() {
        other_moves(world, with, which, &mut moves);
    }
    moves
}

/// Walks on from `world`; how many worlds there are, or what is wrong and the way there.
pub(super) fn walk(
    start: World,
    with: &Transitions,
) -> Result<usize, (&'static str, Vec<&'static str>)> {
    let mut seen = HashSet::from([start.clone()]);
    // The moves not yet made at each world of the way here.
    let mut way = vec![("start", moves(&start, with))];
    while let Some((_, rest)) = way.last_mut() {
        let Some((name, world, checked)) = rest.pop() else {
            way.pop();
            continue;
        };
        let next = moves(&world, with);
        let checked = checked.and_then(|()| world.check());
        let end = if next.is_empty() { world.check_end() } else { Ok(()) };
        if let Err(wrong) = checked.and(end) {
            let names = way.iter().map(|(name, _)| *name).chain([name]).collect();
            return Err((wrong, names));
        }
        if seen.insert(world) {
            way.push((name, next));
        }
    }
    Ok(seen.len())
}

#[test]
fn every_order_of_steps_on_a_task_is_sound_with_the_join_handle_abroad() {
    let worlds = walk(World::new(false), &REAL).unwrap();
    assert!(worlds > 60_000, "the walk has become short: {worlds}");
}

#[test]
fn every_order_of_steps_on_a_task_is_sound_with_the_join_handle_at_home() {
    let worlds = walk(World::new(true), &REAL).unwrap();
    assert!(worlds > 60_000, "the walk has become short: {worlds}");
}
