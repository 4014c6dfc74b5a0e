//! Where a reactor's sources live: in numbered places, and each serves again once its socket is
//! gone, so that a connection allocates none.
//!
//! ```text
//!            insert: the spare one used last, or a new one
//!   spare ---------------------------------------------------> taken
//!     ^                                                          |
//!     `---- remove: a new key, kept if there is room ------------+
//!                                                                |
//!   free place <---- else, and `take_all`: no source ------------'---> retired, after 2^32 - 1
//! ```

use super::source::Source;
use crate::slab::{Key, RETIRED};
use std::rc::Rc;

/// Sources without a socket that are kept for the next ones.
const SPARE_MAX: usize = 1024;

/// The end of the list of free places.
const END: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Sources {
    places: Vec<Place>,
    /// Those that wait in their places for the next socket, with that one's key.
    spare: Vec<Rc<Source>>,
    /// The first free place, or `END`; each names the next.
    free: u32,
    /// How many places have a source.
    occupied: usize,
}

#[derive(Debug)]
struct Place {
    source: Option<Rc<Source>>,
    /// In a place without a source: the generation of the next one.
    generation: u32,
    /// From a free place, which has no source, to the next, or `END`.
    next: u32,
}

impl Sources {
    pub(super) const fn new() -> Sources {
        Sources { places: Vec::new(), spare: Vec::new(), free: END, occupied: 0 }
    }

    /// How many sockets have.
    pub(super) fn len(&self) -> usize {
        self.occupied - self.spare.len()
    }

    /// The source that a key names, unless it is gone.
    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Rc<Source>> {
        let source = self.places.get(key.slot())?.source.as_ref()?;
        // A spare one has a key that was never given out.
        (source.key() == key).then_some(source)
    }

    /// Gives a socket a source, with a key that none had before. `make` is called if there is no
    /// spare one; it may not come back here.
    ///
    /// # Panics
    /// At 2^32 - 1 sources.
    #[inline]
    pub(super) fn insert(&mut self, make: impl FnOnce(Key) -> Source) -> Rc<Source> {
        match self.spare.pop() {
            Some(source) => source,
            None => self.insert_new(make),
        }
    }

    #[inline(never)]
    fn insert_new(&mut self, make: impl FnOnce(Key) -> Source) -> Rc<Source> {
        if self.free == END {
            let index = u32::try_from(self.places.len()).unwrap_or(END);
            assert!(index < END, "a reactor has fewer than 2^32 - 1 sources");
            self.places.push(Place { source: None, generation: 0, next: END });
            self.free = index;
        }
        let place = &mut self.places[self.free as usize];
        let source = Rc::new(make(Key::new(self.free, place.generation)));
        place.source = Some(Rc::clone(&source));
        self.free = place.next;
        self.occupied += 1;
        // So that a socket's end allocates nothing. None is spare here.
        self.spare.reserve(self.occupied.min(SPARE_MAX));
        source
    }

    /// Takes a source from its socket: from now on its key names nothing. What is returned, if
    /// anything, is for the caller to drop when nothing is borrowed.
    ///
    /// Unless it `serves_again`, as it may not while somebody may wait for it still, another source
    /// takes its place.
    #[inline]
    pub(super) fn remove(&mut self, source: Rc<Source>, serves_again: bool) -> Option<Rc<Source>> {
        let key = source.key();
        let generation = key.generation() + 1;
        let is_kept = generation != RETIRED && self.spare.len() < SPARE_MAX;
        // Of a reactor that was closed the sources are out of their places before their sockets go.
        if !is_kept || !serves_again || source.is_displaced() {
            return self.vacate(source);
        }
        source.set_key(Key::new(key.slot() as u32, generation));
        self.spare.push(source);
        None
    }

    /// Takes a source out of its place, if it is there; that is then free for another.
    #[inline(never)]
    fn vacate(&mut self, source: Rc<Source>) -> Option<Rc<Source>> {
        if !source.is_displaced() {
            source.displace();
            let key = source.key();
            let place = &mut self.places[key.slot()];
            place.source = None;
            place.generation = key.generation() + 1;
            self.occupied -= 1;
            if place.generation != RETIRED {
                place.next = self.free;
                self.free = key.slot() as u32;
            }
        }
        Some(source)
    }

    /// Those that sockets have.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn taken(&self) -> impl Iterator<Item = &Rc<Source>> {
        let spare: std::collections::HashSet<_> = self.spare.iter().map(Rc::as_ptr).collect();
        let all = self.places.iter().flat_map(|place| &place.source);
        all.filter(move |source| !spare.contains(&Rc::as_ptr(source)))
    }

    /// Takes all sources out of their places, for the end of the reactor; their sockets may still
    /// be there. Those that somebody may wait for are returned.
    pub(super) fn take_all(&mut self) -> Vec<Rc<Source>> {
        for spare in std::mem::take(&mut self.spare) {
            self.vacate(spare);
        }
        let all: Vec<_> = self.places.iter().filter_map(|place| place.source.clone()).collect();
        all.into_iter().filter_map(|source| self.vacate(source)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Weak;
    use std::task::Waker;

    fn insert(sources: &mut Sources) -> Rc<Source> {
        sources.insert(|key| Source::new(key, Weak::new()))
    }

    #[test]
    fn a_source_serves_again_under_another_key_and_the_old_one_names_nothing() {
        let mut sources = Sources::new();
        let first = insert(&mut sources);
        let old = first.key();
        assert!(sources.get(old).is_some());
        assert!(sources.remove(Rc::clone(&first), true).is_none());
        assert!(sources.get(old).is_none());
        let second = insert(&mut sources);
        assert!(Rc::ptr_eq(&first, &second) && second.key() != old);
        assert!(sources.get(old).is_none() && sources.get(second.key()).is_some());
        assert_eq!(sources.len(), 1);
    }

    #[test]
    fn no_more_sources_than_the_bound_are_kept_and_their_places_serve_again() {
        let mut sources = Sources::new();
        let count = SPARE_MAX + 10;
        let all: Vec<_> = (0..count).map(|_| insert(&mut sources)).collect();
        let removed = |source: &Rc<Source>| sources.remove(Rc::clone(source), true);
        let dropped = all.iter().filter_map(removed).count();
        assert_eq!((dropped, sources.len()), (10, 0));
        let keys: Vec<_> = all.iter().map(|source| source.key()).collect();
        let again: Vec<_> = (0..count).map(|_| insert(&mut sources)).collect();
        assert_eq!((sources.places.len(), sources.len()), (count, count));
        assert!(again.iter().all(|source| sources.get(source.key()).is_some()));
        let is_new = |source: &Rc<Source>| all.iter().all(|old| !Rc::ptr_eq(old, source));
        assert_eq!(again.iter().filter(|source| is_new(source)).count(), 10);
        let fresh = again.iter().filter(|source| is_new(source));
        assert!(fresh.into_iter().all(|source| !keys.contains(&source.key())));
    }

    #[test]
    fn a_source_that_several_may_still_wait_for_is_not_used_again() {
        let mut sources = Sources::new();
        let shared = insert(&mut sources);
        let (old, mut number) = (shared.key(), None);
        shared.wait_shared(super::super::Direction::Read, &mut number, Waker::noop());
        let serves_again = !shared.take_only().others_may_wait;
        let removed = sources.remove(Rc::clone(&shared), serves_again);
        assert!(removed.is_some_and(|removed| Rc::ptr_eq(&removed, &shared)));
        let next = insert(&mut sources);
        assert!(!Rc::ptr_eq(&next, &shared) && sources.get(old).is_none());
    }

    #[test]
    fn a_place_whose_generation_would_wrap_is_retired() {
        let mut sources = Sources::new();
        let source = insert(&mut sources);
        source.set_key(Key::new(0, RETIRED - 1));
        assert!(sources.remove(source, true).is_some());
        assert_eq!(insert(&mut sources).key(), Key::new(1, 0));
        assert_eq!((sources.take_all().len(), sources.len()), (1, 0));
    }

    #[test]
    fn a_source_that_was_taken_out_is_not_removed_a_second_time() {
        let mut sources = Sources::new();
        let old = insert(&mut sources);
        assert_eq!(sources.take_all().len(), 1);
        let new = insert(&mut sources);
        assert!(new.key() != old.key());
        assert!(sources.remove(old, true).is_some(), "for the caller to drop");
        assert!(sources.get(new.key()).is_some() && sources.len() == 1);
    }
}
