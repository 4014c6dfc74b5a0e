//! Every order in which the steps on one task can happen, gone through.
//!
//! A depth-first walk over the worlds that can be reached from a new task, each visited once: its
//! home runs it and may shut down at any time; its future wakes itself, waits or is done; wakers
//! are cloned, used and dropped, at home and elsewhere; the join handle is polled, aborts, and is
//! dropped, here and there; an abort handle does its part.

use super::world::{Bounds, Checked, REAL, Transitions, World};
use super::{home, others};
use std::collections::HashSet;

pub(super) type Moves = Vec<(&'static str, World, Checked)>;

/// Adds what comes of a step in a copy of the world.
pub(super) fn add(
    moves: &mut Moves,
    world: &World,
    name: &'static str,
    step: impl FnOnce(&mut World) -> Checked,
) {
    let mut next = world.clone();
    let checked = step(&mut next);
    next.forget();
    moves.push((name, next, checked));
}

fn moves(world: &World, with: &Transitions) -> Moves {
    let mut moves = Moves::new();
    home::moves(world, with, &mut moves);
    for who in 0..world.actors.len() {
        others::moves(world, with, who, &mut moves);
    }
    moves
}

/// Walks on from `start`; how many worlds there are, or what is wrong and the way there.
pub(super) fn walk(
    bounds: Bounds,
    with: &Transitions,
) -> Result<usize, (&'static str, Vec<&'static str>)> {
    let start = World::new(bounds);
    let mut seen = HashSet::from([start.clone()]);
    // The moves not yet made at each world of the way here.
    let mut way = vec![("start", moves(&start, with))];
    while let Some((_, rest)) = way.last_mut() {
        let Some((name, world, checked)) = rest.pop() else {
            way.pop();
            continue;
        };
        let checked = checked.and_then(|()| world.check());
        let known = checked.is_ok() && seen.contains(&world);
        if known {
            continue;
        }
        let next = if checked.is_ok() { moves(&world, with) } else { Moves::new() };
        let end = if next.is_empty() { checked.and_then(|()| world.check_end()) } else { checked };
        if let Err(wrong) = end {
            let names = way.iter().map(|(name, _)| *name).chain([name]).collect();
            return Err((wrong, names));
        }
        seen.insert(world);
        way.push((name, next));
    }
    Ok(seen.len())
}

const NONE: Bounds = Bounds { remote: false, wakers: 0, wakes: 0, aborts: 0, polls: 1, joins: 0 };

/// Walks of more are long without optimisation.
const MORE: u8 = if cfg!(debug_assertions) { 0 } else { 1 };

/// Two wakers, and a handle that is only dropped.
pub(super) const WAKERS: Bounds = Bounds { wakers: 2, wakes: MORE, polls: 1 + MORE, ..NONE };
/// One waker that does more.
pub(super) const WAKER: Bounds = Bounds { wakers: 1, wakes: 2, polls: 3, ..NONE };
/// A handle that joins, and a waker to free the cell from elsewhere.
pub(super) const JOINS: Bounds = Bounds { wakers: 1, joins: 2 + MORE, ..NONE };
/// A handle that joins again and again.
pub(super) const POLLS: Bounds = Bounds { joins: 5, ..NONE };
/// A handle and an abort handle that abort.
pub(super) const ABORTS: Bounds = Bounds { aborts: 1, polls: 1 + MORE, ..NONE };
/// And a waker that is in the way.
pub(super) const ABORTS_AND_WAKER: Bounds = Bounds { wakers: MORE as usize, aborts: 1, ..NONE };

/// A task that is spawned elsewhere.
pub(super) const REMOTE: Bounds = Bounds { remote: true, aborts: 1, joins: 1, ..NONE };

pub(super) const ALL: [Bounds; 7] = [ABORTS, POLLS, WAKER, JOINS, WAKERS, ABORTS_AND_WAKER, REMOTE];

/// Walks it all. A walk that visits less than it did checks less.
fn is_sound(bounds: Bounds, worlds_min: usize) {
    match walk(bounds, &REAL) {
        Ok(worlds) => assert!(worlds >= worlds_min, "the walk has become short: {worlds}"),
        Err((wrong, way)) => panic!("{wrong}: {way:#?}"),
    }
}

#[test]
fn every_order_of_steps_on_a_task_is_sound_with_one_waker_that_does_much() {
    is_sound(WAKER, 39_000);
}

#[test]
fn every_order_of_steps_on_a_task_is_sound_with_two_wakers() {
    is_sound(WAKERS, 26_000);
}

#[test]
fn every_order_of_steps_on_a_task_is_sound_with_a_handle_that_is_polled_here_and_there() {
    is_sound(POLLS, 14_000);
    is_sound(JOINS, 28_000);
}

#[test]
fn every_order_of_steps_on_a_task_is_sound_with_aborts() {
    is_sound(ABORTS, 9_000);
    is_sound(ABORTS_AND_WAKER, 9_000);
}

#[test]
fn every_order_of_steps_on_a_task_is_sound_that_is_spawned_elsewhere() {
    is_sound(REMOTE, 40_000);
}
