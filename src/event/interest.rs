//! What to register a source for.

use std::fmt;
use std::ops::BitOr;

use super::{EPOLLET, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP};

/// What to register a source for, and how: the way back from [`Readiness`](super::Readiness).
///
/// Level-triggered unless [`edge`](Interest::edge) is asked for, as in epoll. Errors and hang-ups
/// are reported in any case.
///
/// ```
/// use whirligig::event::{EPOLLET, EPOLLOUT, Interest};
///
/// assert_eq!(Interest::WRITABLE.edge().bits(), EPOLLOUT | EPOLLET);
/// assert_eq!(Interest::READABLE | Interest::WRITABLE, Interest::BOTH);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u32);

impl Interest {
    /// Reading: `EPOLLIN`, `EPOLLRDHUP` and `EPOLLPRI`.
    ///
    /// The last two tell what a short read means: as long as neither was reported, a read from a
    /// TCP stream that gives less than was asked for has emptied it.
    pub const READABLE: Interest = Interest(EPOLLIN | EPOLLRDHUP | EPOLLPRI);
    /// Writing, and the end of a connect: `EPOLLOUT`.
    pub const WRITABLE: Interest = Interest(EPOLLOUT);
    /// Both directions.
    pub const BOTH: Interest = Self::READABLE.union(Self::WRITABLE);

    /// Edge-triggered: the kernel reports a change once, and whoever is told must carry on until a
    /// call would block.
    #[inline]
    #[must_use]
    pub const fn edge(self) -> Interest {
        Interest(self.0 | EPOLLET)
    }

    /// Level-triggered: the kernel reports at each wait, for as long as the state holds.
    #[inline]
    #[must_use]
    pub const fn level(self) -> Interest {
        Interest(self.0 & !EPOLLET)
    }

    /// What either asks for; edge-triggered if one of them is.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// Whether all of `other` is asked for.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    /// The `events` field for `epoll_ctl(2)`.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl BitOr for Interest {
    type Output = Interest;

    #[inline]
    fn bitor(self, other: Interest) -> Interest {
        self.union(other)
    }
}

impl fmt::Debug for Interest {
    /// As one would write it: `READABLE | WRITABLE | edge`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(EPOLLIN, "READABLE"), (EPOLLOUT, "WRITABLE"), (EPOLLET, "edge")];
        let mut separator = "";
        for (bit, name) in parts {
            if self.0 & bit != 0 {
                write!(f, "{separator}{name}")?;
                separator = " | ";
            }
        }
        Ok(())
    }
}
