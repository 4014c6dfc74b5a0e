//! Who the timers are: the keys and payloads, in places that are used again and again.

use std::num::NonZeroU32;

/// No index: the end of the list of vacant places.
const NONE: u32 = u32::MAX;

/// Names one timer of one [`Timers`](super::Timers).
///
/// A key whose timer has fired or was removed is stale, and stays so forever: it finds nothing,
/// also after another timer has taken the place. A key means nothing to another `Timers`, where it
/// may happen to find a timer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub(super) index: u32,
    /// Which of the timers that lived at `index`. Not zero, so that an `Option<Key>` is no bigger.
    generation: NonZeroU32,
}

/// Where a timer lives, or can.
struct Place<T> {
    /// The generation of the timer that lives here, or of the next one that will.
    generation: NonZeroU32,
    /// When vacant: the next vacant place.
    vacant: u32,
    /// `None` when vacant or retired.
    payload: Option<T>,
}

/// The places, and the list of the vacant ones among them.
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    /// Head of the list of vacant places.
    vacant: u32,
    /// How many places are occupied.
    len: usize,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Slab<T> {
        Slab { places: Vec::new(), vacant: NONE, len: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Adds so many vacant places; there is none.
    pub(super) fn grow(&mut self, more: usize) {
        let first = self.places.len() as u32;
        let last = first + more as u32 - 1;
        self.vacant = first;
        self.places.extend((first..=last).map(|index| {
            let vacant = if index == last { NONE } else { index + 1 };
            Place { generation: NonZeroU32::MIN, vacant, payload: None }
        }));
    }

    /// Puts a payload into a vacant place, or gives it back if there is none.
    #[inline]
    pub(super) fn insert(&mut self, payload: T) -> Result<Key, T> {
        let index = self.vacant;
        let Some(place) = self.places.get_mut(index as usize) else {
            return Err(payload);
        };
        self.vacant = place.vacant;
        self.len += 1;
        place.payload = Some(payload);
        Ok(Key { index, generation: place.generation })
    }

    /// Whether the key's timer is here.
    #[inline]
    pub(super) fn contains(&self, key: Key) -> bool {
        // A retired place keeps its last generation, so that the payload has a say as well.
        self.places
            .get(key.index as usize)
            .is_some_and(|place| place.generation == key.generation && place.payload.is_some())
    }

    /// The payload of the key's timer.
    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        place.payload.as_mut()
    }

    /// Takes the payload of the key's timer; the place becomes vacant.
    #[inline]
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let payload = place.payload.take()?;
        self.vacate(key.index);
        Some(payload)
    }

    /// Takes the payload at an index, if there is one; the place becomes vacant.
    #[inline]
    pub(super) fn take(&mut self, index: u32) -> Option<T> {
        let payload = self.places[index as usize].payload.take()?;
        self.vacate(index);
        Some(payload)
    }

    /// Makes the keys of a place stale, and the place vacant.
    ///
    /// After four thousand million timers the next generation would be one that was there before:
    /// then the place is retired, that is, never used again.
    #[inline]
    fn vacate(&mut self, index: u32) {
        self.len -= 1;
        let place = &mut self.places[index as usize];
        if let Some(generation) = place.generation.checked_add(1) {
            place.generation = generation;
            place.vacant = self.vacant;
            self.vacant = index;
        }
    }
}

/// What only the tests look at.
#[cfg(test)]
impl<T> Slab<T> {
    pub(super) fn is_occupied(&self, index: u32) -> bool {
        self.places[index as usize].payload.is_some()
    }

    /// Makes a live timer the last one its place will hold, and returns its new key.
    pub(super) fn wear_out(&mut self, key: Key) -> Key {
        let generation = NonZeroU32::MAX;
        self.places[key.index as usize].generation = generation;
        Key { generation, ..key }
    }

    /// Whether the list of vacant places holds just those that are neither occupied nor retired.
    pub(super) fn check(&self) -> Result<(), String> {
        let occupied = self.places.iter().filter(|place| place.payload.is_some()).count();
        if occupied != self.len {
            return Err(format!("{occupied} places are occupied, not {}", self.len));
        }
        let mut unseen: Vec<bool> = self.places.iter().map(Place::is_vacant).collect();
        let mut index = self.vacant;
        while index != NONE {
            if !std::mem::take(&mut unseen[index as usize]) {
                return Err(format!("place {index} is not vacant, or listed twice"));
            }
            index = self.places[index as usize].vacant;
        }
        match unseen.iter().position(|&unseen| unseen) {
            Some(index) => Err(format!("vacant place {index} is lost")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
impl<T> Place<T> {
    fn is_vacant(&self) -> bool {
        self.payload.is_none() && self.generation != NonZeroU32::MAX
    }
}

#[cfg(test)]
pub(super) const fn place_size<T>() -> usize {
    size_of::<Place<T>>()
}
