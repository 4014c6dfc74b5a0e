//! What a source is ready for, and how epoll's bits say so.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use super::{EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP};

/// What a source is ready for: a set of flags.
///
/// ```
/// use whirligig::event::{EPOLLHUP, Readiness};
///
/// let mut readiness = Readiness::READABLE | Readiness::PRIORITY;
/// readiness.remove(Readiness::READABLE);
/// assert_eq!(readiness, Readiness::PRIORITY);
/// assert!(Readiness::from_epoll(EPOLLHUP).is_read_closed());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const EMPTY: Readiness = Readiness(0);
    /// A read may do something: give bytes, the end of the stream, or an error.
    pub const READABLE: Readiness = Readiness(1);
    /// A write may do something: take bytes, or give an error.
    pub const WRITABLE: Readiness = Readiness(1 << 1);
    /// The peer sends no more: once what is left has been read, the stream is at its end.
    pub const READ_CLOSED: Readiness = Readiness(1 << 2);
    /// The peer takes no more: writes fail.
    pub const WRITE_CLOSED: Readiness = Readiness(1 << 3);
    /// An error is pending; the next call returns it.
    pub const ERROR: Readiness = Readiness(1 << 4);
    /// There is urgent data, or there was: a read may end early at its mark.
    pub const PRIORITY: Readiness = Readiness(1 << 5);

    /// What the `EPOLL*` bits of an event mean, by the
    /// [table](crate::event#what-the-bits-mean) of the module; unknown bits mean nothing.
    #[inline]
    #[must_use]
    pub const fn from_epoll(bits: u32) -> Readiness {
        // No branch: the six bits that mean something, brought together, are an index.
        MEANINGS[index_of(bits)]
    }

    /// The flags that are in either.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }

    /// The flags that are in both.
    #[inline]
    #[must_use]
    pub const fn intersection(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }

    /// The flags that are in this one and not in `other`.
    #[inline]
    #[must_use]
    pub const fn difference(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    /// Adds the flags of `other`.
    #[inline]
    pub const fn insert(&mut self, other: Readiness) {
        self.0 |= other.0;
    }

    /// Takes the flags of `other` away.
    #[inline]
    pub const fn remove(&mut self, other: Readiness) {
        self.0 &= !other.0;
    }

    /// Whether all flags of `other` are here.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether at least one flag of `other` is here.
    #[inline]
    #[must_use]
    pub const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is no flag at all.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether [`READABLE`](Self::READABLE) is set.
    #[inline]
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.contains(Self::READABLE)
    }

    /// Whether [`WRITABLE`](Self::WRITABLE) is set.
    #[inline]
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.contains(Self::WRITABLE)
    }

    /// Whether [`READ_CLOSED`](Self::READ_CLOSED) is set.
    #[inline]
    #[must_use]
    pub const fn is_read_closed(self) -> bool {
        self.contains(Self::READ_CLOSED)
    }

    /// Whether [`WRITE_CLOSED`](Self::WRITE_CLOSED) is set.
    #[inline]
    #[must_use]
    pub const fn is_write_closed(self) -> bool {
        self.contains(Self::WRITE_CLOSED)
    }

    /// Whether [`ERROR`](Self::ERROR) is set.
    #[inline]
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.contains(Self::ERROR)
    }

    /// Whether [`PRIORITY`](Self::PRIORITY) is set.
    #[inline]
    #[must_use]
    pub const fn is_priority(self) -> bool {
        self.contains(Self::PRIORITY)
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    #[inline]
    fn bitor(self, other: Readiness) -> Readiness {
        self.union(other)
    }
}

impl BitOrAssign for Readiness {
    #[inline]
    fn bitor_assign(&mut self, other: Readiness) {
        self.insert(other);
    }
}

impl fmt::Debug for Readiness {
    /// The names of the flags, as in `READABLE | READ_CLOSED`; or `EMPTY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("EMPTY");
        }
        let mut separator = "";
        for (flag, name) in NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = " | ";
            }
        }
        Ok(())
    }
}

const NAMES: [(Readiness, &str); 6] = [
    (Readiness::READABLE, "READABLE"),
    (Readiness::WRITABLE, "WRITABLE"),
    (Readiness::READ_CLOSED, "READ_CLOSED"),
    (Readiness::WRITE_CLOSED, "WRITE_CLOSED"),
    (Readiness::ERROR, "ERROR"),
    (Readiness::PRIORITY, "PRIORITY"),
];

/// Five of the six bits lie side by side at the bottom; `EPOLLRDHUP` is bit 13 and becomes bit 5.
#[inline]
const fn index_of(bits: u32) -> usize {
    const LOW: u32 = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLERR | EPOLLHUP;
    const { assert!(LOW == 0x1f && EPOLLRDHUP >> 8 == 0x20) };
    (bits & LOW | (bits & EPOLLRDHUP) >> 8) as usize
}

/// The meaning of every combination of the six bits: one cache line.
static MEANINGS: [Readiness; 64] = {
    let mut meanings = [Readiness::EMPTY; 64];
    let mut combination = 0;
    while combination < 64 {
        // The inverse of `index_of`.
        let bits = combination & 0x1f | (combination & 0x20) << 8;
        meanings[index_of(bits)] = meaning_of(bits);
        combination += 1;
    }
    meanings
};

/// The module's table, line by line.
const fn meaning_of(bits: u32) -> Readiness {
    type R = Readiness;
    let lines = [
        (EPOLLIN, R::READABLE),
        (EPOLLPRI, R::READABLE.union(R::PRIORITY)),
        (EPOLLOUT, R::WRITABLE),
        (EPOLLERR, R::READABLE.union(R::WRITABLE).union(R::ERROR)),
        (EPOLLHUP, R::READABLE.union(R::WRITABLE).union(R::READ_CLOSED).union(R::WRITE_CLOSED)),
        (EPOLLRDHUP, R::READABLE.union(R::READ_CLOSED)),
    ];
    let mut meaning = Readiness::EMPTY;
    let mut line = 0;
    while line < lines.len() {
        if bits & lines[line].0 != 0 {
            meaning.insert(lines[line].1);
        }
        line += 1;
    }
    meaning
}
