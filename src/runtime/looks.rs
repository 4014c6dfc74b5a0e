//! When to look at the kernel while there are tasks to poll.

/// Looks are put off until this long after the last, in nanoseconds.
const APART_NS: u64 = 10_000;
/// Batches that are polled at most before a look that is put off: the clock of another kernel may
/// stand still meanwhile.
const BATCHES_MAX: u32 = 32;

/// Says after which batches to look at the kernel.
///
/// A look is a system call, which takes longer than a batch of tasks that do next to nothing. So a
/// batch that took no time is followed by another. It reads no clock; times are nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looks {
    /// When the last batch ended that was followed by a look.
    last: u64,
    /// Batches that were followed by none since.
    put_off: u32,
}

impl Looks {
    /// Whether to look after a full batch that ended `now`.
    pub(super) fn is_due(&mut self, now: u64) -> bool {
        let is_due = now.wrapping_sub(self.last) >= APART_NS || self.put_off + 1 >= BATCHES_MAX;
        *self = match is_due {
            true => Looks { last: now, put_off: 0 },
            false => Looks { put_off: self.put_off + 1, ..*self },
        };
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_take_long_are_each_followed_by_a_look() {
        let mut looks = Looks::default();
        for now in (1..100).map(|batch| batch * APART_NS) {
            assert!(looks.is_due(now));
        }
    }

    #[test]
    fn batches_that_take_no_time_share_a_look() {
        let mut looks = Looks::default();
        let mut last = APART_NS;
        assert!(looks.is_due(last));
        for now in (last..10 * APART_NS).step_by(1000).skip(1) {
            assert_eq!(looks.is_due(now), now - last >= APART_NS);
            if now - last >= APART_NS {
                last = now;
            }
        }
    }

    #[test]
    fn a_look_comes_although_the_clock_stands_still() {
        let mut looks = Looks::default();
        for _ in 0..3 {
            assert_eq!((1..).find(|_| looks.is_due(0)), Some(BATCHES_MAX));
        }
    }
}
