//! Values in numbered slots, whose keys never name two values.

use std::mem;

/// Names a value in a [`Slab`]: slot in the lower half, generation in the upper.
///
/// A slot's generation grows each time its value goes, so a key that was kept too long names
/// nothing. A slot whose generation would begin anew is retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) const fn from_bits(bits: u64) -> Key {
        Key(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn new(slot: u32, generation: u32) -> Key {
        Key((generation as u64) << 32 | slot as u64)
    }

    pub(crate) const fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The generation that no key carries: that of retired slots, and of [`Slab::RESERVED`].
pub(crate) const RETIRED: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot, or `END`; each free slot names the next.
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Full(T),
    Free { next: u32 },
}

const END: u32 = u32::MAX;

impl<T> Slab<T> {
    /// Keys of this and higher bits are never given out, and may stand for something else.
    pub(crate) const RESERVED: u64 = (RETIRED as u64) << 32;

    pub(crate) const fn new() -> Slab<T> {
        Slab { slots: Vec::new(), free: END, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts in the value that `make` makes of its key.
    ///
    /// # Panics
    /// At 2^32 - 1 values.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.free;
        let key = match self.slots.get_mut(index as usize) {
            Some(slot) => {
                let key = Key::new(index, slot.generation);
                // First, since it may panic: then the slot is free as before.
                let value = make(key);
                if let Content::Free { next } = slot.content {
                    self.free = next;
                }
                slot.content = Content::Full(value);
                key
            }
            None => {
                let index = u32::try_from(self.slots.len()).unwrap_or(END);
                assert!(index != END, "a slab holds fewer than 2^32 values");
                let key = Key::new(index, 0);
                self.slots.push(Slot { generation: 0, content: Content::Full(make(key)) });
                key
            }
        };
        self.len += 1;
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.slot()) {
            Some(Slot { generation, content: Content::Full(value) })
                if *generation == key.generation() =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.slot()) {
            Some(Slot { generation, content: Content::Full(value) })
                if *generation == key.generation() =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let slot = &mut self.slots[key.slot()];
        slot.generation += 1;
        let next = if slot.generation == RETIRED { END } else { self.free };
        let content = mem::replace(&mut slot.content, Content::Free { next });
        if slot.generation != RETIRED {
            self.free = key.slot() as u32;
        }
        self.len -= 1;
        match content {
            Content::Full(value) => Some(value),
            Content::Free { .. } => None,
        }
    }

    /// All keys, in no particular order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let full = |(index, slot): (usize, &Slot<T>)| match slot.content {
            Content::Full(_) => Some(Key::new(index as u32, slot.generation)),
            Content::Free { .. } => None,
        };
        self.slots.iter().enumerate().filter_map(full).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_value_and_after_removal_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert_with(|_| "a");
        assert_eq!(slab.get(first), Some(&"a"));
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert_with(|_| "b");
        assert_eq!((first.slot(), slab.len()), (second.slot(), 1), "the slot is used again");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"b"));
        assert_eq!(slab.keys(), [second]);
    }

    #[test]
    fn a_slot_whose_generation_would_wrap_is_retired() {
        let mut slab = Slab::new();
        let key = slab.insert_with(|_| 1);
        slab.slots[0].generation = RETIRED - 1;
        let last = Key::new(key.slot() as u32, RETIRED - 1);
        assert_eq!(slab.remove(last), Some(1));
        assert_eq!(slab.insert_with(|_| 2).slot(), 1);
        assert_eq!(slab.get(Key::from_bits(Slab::<i32>::RESERVED)), None);
    }
}
