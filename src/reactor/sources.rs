//! Where a reactor's sources live: in numbered places, and each serves again once its socket is
//! gone, so that a connection allocates none.
//!
//! ```text
//!           insert: the spare one, or a new one
//!   free ------------------------------------------> taken
//!     ^                                                |
//!     `---- remove: a new key, kept if there is room --'---> retired, after 2^32 - 1 of them
//! ```

use super::source::Source;
use crate::slab::{Key, RETIRED};
use std::rc::Rc;

/// Sources without a socket that are kept for the next ones.
const SPARE_MAX: u32 = 1024;

/// The place is taken, and on no list.
const TAKEN: u32 = u32::MAX;
/// The end of the list of free places.
const END: u32 = u32::MAX - 1;

#[derive(Debug)]
pub(super) struct Sources {
    places: Vec<Place>,
    /// The first free place, or `END`; each names the next.
    free: u32,
    /// Sources in free places.
    spare: u32,
    /// How many places are taken.
    len: usize,
}

#[derive(Debug)]
struct Place {
    /// That of a taken place; in a free one it waits for the next socket, with that one's key.
    source: Option<Rc<Source>>,
    /// In a free place without a source: the generation of the next one.
    generation: u32,
    /// The next free place, `END`, or `TAKEN`.
    next: u32,
}

impl Sources {
    pub(super) const fn new() -> Sources {
        Sources { places: Vec::new(), free: END, spare: 0, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The source that a key names, unless it is gone.
    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Rc<Source>> {
        let source = self.places.get(key.slot())?.source.as_ref()?;
        // That of a free place has a key that was never given out.
        (source.key() == key).then_some(source)
    }

    /// Takes a place, and returns its source, with a key that none had before. `make` is called if
    /// there is no spare one; it may not come back here.
    ///
    /// # Panics
    /// At 2^32 - 2 sources.
    #[inline]
    pub(super) fn insert(&mut self, make: impl FnOnce(Key) -> Source) -> Rc<Source> {
        let index = self.free;
        if let Some(place) = self.places.get_mut(index as usize) {
            if let Some(source) = &place.source {
                self.free = place.next;
                place.next = TAKEN;
                self.spare -= 1;
                self.len += 1;
                return Rc::clone(source);
            }
        }
        self.insert_new(make)
    }

    #[inline(never)]
    fn insert_new(&mut self, make: impl FnOnce(Key) -> Source) -> Rc<Source> {
        if self.free == END {
            let index = u32::try_from(self.places.len()).unwrap_or(END);
            assert!(index < END, "a reactor has fewer than 2^32 - 2 sources");
            self.places.push(Place { source: None, generation: 0, next: END });
            self.free = index;
        }
        let place = &mut self.places[self.free as usize];
        let source = Rc::new(make(Key::new(self.free, place.generation)));
        place.source = Some(Rc::clone(&source));
        self.free = place.next;
        place.next = TAKEN;
        self.len += 1;
        source
    }

    /// Frees the place of a source: from now on its key names nothing. What is returned, if
    /// anything, is for the caller to drop when nothing is borrowed.
    ///
    /// Unless it `serves_again`, as it may not while somebody may wait for it still, another source
    /// takes its place.
    #[inline]
    pub(super) fn remove(&mut self, source: &Rc<Source>, serves_again: bool) -> Option<Rc<Source>> {
        let key = source.key();
        let index = key.slot();
        let place = self.places.get_mut(index)?;
        // Of a reactor that was closed the sources are gone before their sockets.
        if !place.source.as_ref().is_some_and(|own| Rc::ptr_eq(own, source)) {
            return None;
        }
        self.len -= 1;
        let generation = key.generation() + 1;
        if generation == RETIRED || self.spare == SPARE_MAX || !serves_again {
            return self.vacate(index, generation);
        }
        source.set_key(Key::new(index as u32, generation));
        place.next = self.free;
        self.free = index as u32;
        self.spare += 1;
        None
    }

    /// Takes the source out of a place, which is then free for one of that generation.
    #[inline(never)]
    fn vacate(&mut self, index: usize, generation: u32) -> Option<Rc<Source>> {
        let place = &mut self.places[index];
        place.generation = generation;
        if generation != RETIRED {
            place.next = self.free;
            self.free = index as u32;
        }
        place.source.take()
    }

    /// Those that sockets have.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn taken(&self) -> impl Iterator<Item = &Rc<Source>> {
        self.places.iter().filter(|place| place.next == TAKEN).flat_map(|place| &place.source)
    }

    /// How many places there are.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Takes the source out of a place, if that is taken: for the end of the reactor, when its
    /// socket may still be there.
    pub(super) fn take(&mut self, index: usize) -> Option<Rc<Source>> {
        let place = self.places.get(index).filter(|place| place.next == TAKEN)?;
        let generation = place.source.as_ref()?.key().generation() + 1;
        self.len -= 1;
        self.vacate(index, generation)
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
        assert!(sources.remove(&first, true).is_none());
        assert!(sources.get(old).is_none());
        let second = insert(&mut sources);
        assert!(Rc::ptr_eq(&first, &second) && second.key() != old);
        assert!(sources.get(old).is_none() && sources.get(second.key()).is_some());
        assert_eq!(sources.len(), 1);
    }

    #[test]
    fn no_more_sources_than_the_bound_are_kept_and_their_places_serve_again() {
        let mut sources = Sources::new();
        let count = SPARE_MAX as usize + 10;
        let all: Vec<_> = (0..count).map(|_| insert(&mut sources)).collect();
        let dropped = all.iter().filter_map(|source| sources.remove(source, true)).count();
        assert_eq!((dropped, sources.len()), (10, 0));
        let keys: Vec<_> = all.iter().map(|source| source.key()).collect();
        let again: Vec<_> = (0..count).map(|_| insert(&mut sources)).collect();
        assert_eq!((sources.places(), sources.len()), (count, count));
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
        shared.waiters(super::super::Direction::Read).set_shared(&mut number, Waker::noop());
        let serves_again = !shared.take_only().others_may_wait;
        let removed = sources.remove(&shared, serves_again);
        assert!(removed.is_some_and(|removed| Rc::ptr_eq(&removed, &shared)));
        let next = insert(&mut sources);
        assert!(!Rc::ptr_eq(&next, &shared) && sources.get(old).is_none());
    }

    #[test]
    fn a_place_whose_generation_would_wrap_is_retired() {
        let mut sources = Sources::new();
        let source = insert(&mut sources);
        source.set_key(Key::new(0, RETIRED - 1));
        assert!(sources.remove(&source, true).is_some());
        assert_eq!(insert(&mut sources).key(), Key::new(1, 0));
        assert_eq!((sources.take(0).is_none(), sources.len()), (true, 1));
    }

    #[test]
    fn a_source_that_was_taken_out_is_not_removed_a_second_time() {
        let mut sources = Sources::new();
        let old = insert(&mut sources);
        assert!(sources.take(0).is_some());
        let new = insert(&mut sources);
        assert!(new.key() != old.key());
        assert!(sources.remove(&old, true).is_none());
        assert!(sources.get(new.key()).is_some() && sources.len() == 1);
    }
}
