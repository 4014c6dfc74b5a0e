//! epoll(7): the kernel object that tells which descriptors are ready.
#![expect(unsafe_code, reason = "calls epoll_ctl and epoll_wait")]

use super::ffi::{self, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvent, Timespec};
use super::kernel::{Descriptor, KernelHandle};
use super::{check, direct};
use crate::event::{self, Event, Events, Layout};
use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An epoll instance.
///
/// Which bits a registration takes is in [`crate::event`].
#[derive(Debug)]
pub struct Epoll(Descriptor);

impl Epoll {
    /// Makes an instance on Linux (`epoll_create1(2)`).
    ///
    /// # Errors
    /// The call's own: out of descriptors or memory.
    pub fn new() -> io::Result<Epoll> {
        Epoll::on(&KernelHandle::linux())
    }

    /// Makes an instance on `kernel`.
    ///
    /// # Errors
    /// As for [`Epoll::new`].
    pub fn on(kernel: &KernelHandle) -> io::Result<Epoll> {
        kernel.epoll().map(Epoll)
    }

    /// Starts to watch `target` for the events in `bits`; each will carry `token`.
    ///
    /// # Errors
    /// `AlreadyExists` if it is watched already, `PermissionDenied` if such a descriptor can't be
    /// watched, and the exhaustion of memory or of watches (`epoll_ctl(2)`).
    #[inline]
    pub fn add(&self, target: &Descriptor, bits: u32, token: u64) -> io::Result<()> {
        self.0.epoll_ctl(Control::Add { bits, token }, target)
    }

    /// Changes what is watched of `target`; what is ready now is reported anew.
    ///
    /// # Errors
    /// `NotFound` if it is not watched; exhaustion of memory.
    pub fn modify(&self, target: &Descriptor, bits: u32, token: u64) -> io::Result<()> {
        self.0.epoll_ctl(Control::Modify { bits, token }, target)
    }

    /// Stops watching `target`. Closing the last duplicate of a descriptor does the same.
    ///
    /// # Errors
    /// `NotFound` if it is not watched.
    pub fn remove(&self, target: &Descriptor) -> io::Result<()> {
        self.0.epoll_ctl(Control::Remove, target)
    }

    /// Waits until an event, `timeout` or a signal comes, and returns the events, of which there
    /// may be none.
    ///
    /// Without a timeout it waits for ever; the longest wait that the kernel can express stands
    /// for any that is longer. Timeouts have nanosecond resolution (`epoll_pwait2(2)`); where the
    /// kernel lacks that call they are rounded up to milliseconds.
    ///
    /// # Errors
    /// None that a caller can cause.
    #[inline]
    pub fn wait<'a>(
        &self,
        buffer: &'a mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<Events<'a>> {
        self.fill(buffer, timeout)?;
        Ok(buffer.events())
    }

    /// As [`Epoll::wait`]; the events are then in the buffer. Part of its caller's loop.
    #[inline(always)]
    pub(crate) fn fill(
        &self,
        buffer: &mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        match self.0.epoll_wait(buffer, timeout) {
            Ok(count) => buffer.filled = count as u32,
            Err(error) if super::is_interruption(&error) => buffer.filled = 0,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(any(test, feature = "sim"))]
impl Epoll {
    /// The number of a hosted instance.
    pub(crate) fn hosted_number(&self) -> Option<i32> {
        self.0.hosted_number()
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cold]
fn no_slots() -> &'static [Slot] {
    &[]
}

/// What `epoll_ctl(2)` is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// `EPOLL_CTL_ADD`.
    Add {
        /// The events to watch for.
        bits: u32,
        /// What each event carries.
        token: u64,
    },
    /// `EPOLL_CTL_MOD`.
    Modify {
        /// The events to watch for.
        bits: u32,
        /// What each event carries.
        token: u64,
    },
    /// `EPOLL_CTL_DEL`.
    Remove,
}

/// Room for one event, aligned at least as the kernel's structure is.
#[cfg_attr(any(target_arch = "x86_64", target_arch = "x86"), repr(C, align(4)))]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "x86")), repr(C, align(8)))]
#[derive(Clone, Copy)]
struct Slot([u8; SIZE]);
const SIZE: usize = Layout::NATIVE.size();
const _: () = assert!(size_of::<Slot>() == SIZE && align_of::<Slot>() >= align_of::<EpollEvent>());

/// The most events that one wait can be asked for: the kernel takes the bytes of the buffer as an
/// `int` (`EP_MAX_EVENTS`).
const ROOM_MAX: usize = c_int::MAX as usize / Layout::NATIVE.size();

/// Where the kernel writes events to.
pub struct EventBuffer {
    slots: Box<[Slot]>,
    /// How many events the last wait wrote, as the kernel says.
    filled: u32,
}

impl EventBuffer {
    /// Room for at least `events_min` events, and for at least one.
    #[must_use]
    pub fn with_capacity(events_min: usize) -> EventBuffer {
        // What the kernel can be told of is enough for anyone.
        let slots = events_min.clamp(1, ROOM_MAX);
        EventBuffer { slots: vec![Slot([0; SIZE]); slots].into(), filled: 0 }
    }

    /// How many events one wait can bring.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Whether the last wait brought nothing.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The events of the last wait.
    #[inline]
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        event::parse(EventBuffer::bytes(self.filled_slots()), Layout::NATIVE)
    }

    /// The same, for a loop of one's own: read where they are, slot by slot.
    #[inline(always)]
    pub(crate) fn in_slots(&self) -> impl Iterator<Item = Event> {
        self.filled_slots().iter().filter_map(|slot| Event::read(&slot.0))
    }

    /// Those that hold events; none if there is no room for so many, which a kernel of somebody's
    /// own may say that it wrote.
    #[inline(always)]
    fn filled_slots(&self) -> &[Slot] {
        match self.slots.get(..self.filled as usize) {
            Some(slots) => slots,
            None => no_slots(),
        }
    }

    /// The bytes of some slots.
    #[inline]
    fn bytes(slots: &[Slot]) -> &[u8] {
        // SAFETY: each slot is SIZE initialised bytes without padding (the assertion above), and
        // the result borrows them.
        unsafe { std::slice::from_raw_parts(slots.as_ptr().cast(), size_of_val(slots)) }
    }

    /// Puts `events` in place of what a wait wrote, as many as there is room for; returns how many
    /// that were. For kernels that are not Linux.
    #[cfg(any(test, feature = "fault"))]
    pub fn fill(&mut self, events: &[Event]) -> usize {
        let count = events.len().min(self.capacity());
        for (slot, event) in self.slots.iter_mut().zip(events) {
            event.write_to(&mut slot.0, Layout::NATIVE);
        }
        self.filled = count as u32;
        count
    }

    /// The first `count` events as they stand in the buffer.
    #[cfg(any(test, feature = "fault"))]
    pub fn first(&self, count: usize) -> Vec<Event> {
        let slots = &self.slots[..count.min(self.capacity())];
        event::parse(EventBuffer::bytes(slots), Layout::NATIVE).collect()
    }
}

impl std::fmt::Debug for EventBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.events()).finish()
    }
}

pub(in crate::sys) fn create() -> io::Result<OwnedFd> {
    ffi::epoll_create1(ffi::CLOEXEC).ok_or_else(io::Error::last_os_error)
}

#[inline]
pub(in crate::sys) fn control(
    epoll: BorrowedFd<'_>,
    control: Control,
    target: BorrowedFd<'_>,
) -> io::Result<()> {
    let (operation, events, data) = match control {
        Control::Add { bits, token } => (EPOLL_CTL_ADD, bits, token),
        Control::Modify { bits, token } => (EPOLL_CTL_MOD, bits, token),
        Control::Remove => (EPOLL_CTL_DEL, 0, 0),
    };
    let mut event = EpollEvent { events, data };
    // SAFETY: the kernel reads one `epoll_event` and keeps no pointer to it.
    check(unsafe { ffi::epoll_ctl(epoll, operation, target, &raw mut event) }).map(drop)
}

/// Set once the kernel said that it has no `epoll_pwait2`.
static LACKS_PWAIT2: AtomicBool = AtomicBool::new(false);

/// Waits once; the number of events written to `buffer`. Fails when interrupted.
#[inline]
pub(in crate::sys) fn wait(
    epoll: BorrowedFd<'_>,
    buffer: &mut EventBuffer,
    timeout: Option<Duration>,
) -> io::Result<usize> {
    // Whole milliseconds, none and for ever can be said to the older call, which needs no
    // `timespec` to be read from user space; all else takes the newer.
    match timeout {
        None => wait_for(epoll, buffer, -1),
        Some(Duration::ZERO) => wait_for(epoll, buffer, 0),
        Some(timeout) => {
            let exactly = |buffer: &mut EventBuffer| wait_exactly(epoll, buffer, timeout);
            wait_exactly_or_coarsely(epoll, buffer, timeout, &LACKS_PWAIT2, exactly)
        }
    }
}

/// Waits `exactly` where the kernel can, else coarsely, and remembers in `lacks_exact` which.
///
/// Kernels before Linux 5.11 and valgrind say ENOSYS; the seccomp filters of older container
/// runtimes say EPERM to every call that they don't know, which `epoll_pwait2(2)` itself never
/// says.
#[inline(never)]
fn wait_exactly_or_coarsely(
    epoll: BorrowedFd<'_>,
    buffer: &mut EventBuffer,
    timeout: Duration,
    lacks_exact: &AtomicBool,
    exactly: impl FnOnce(&mut EventBuffer) -> io::Result<usize>,
) -> io::Result<usize> {
    if !lacks_exact.load(Ordering::Relaxed) {
        match exactly(buffer) {
            Err(error) if matches!(error.raw_os_error(), Some(ffi::ENOSYS | ffi::EPERM)) => {
                lacks_exact.store(true, Ordering::Relaxed);
            }
            result => return result,
        }
    }
    wait_coarsely(epoll, buffer, Some(timeout))
}

/// Waits with `epoll_pwait2(2)`, whose timeout is in nanoseconds.
fn wait_exactly(
    epoll: BorrowedFd<'_>,
    buffer: &mut EventBuffer,
    timeout: Duration,
) -> io::Result<usize> {
    let timeout = Timespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: timeout.subsec_nanos().into(),
    };
    let room = buffer.slots.len() as c_int;
    let events = buffer.slots.as_mut_ptr();
    let no_mask = std::ptr::null::<std::ffi::c_void>();
    // SAFETY: `events` has room for `room` events of the native layout; `timeout` outlives the
    // call; a null signal mask leaves the mask alone (`epoll_pwait2(2)`).
    let count = unsafe {
        ffi::syscall(
            ffi::SYS_EPOLL_PWAIT2,
            c_long::from(epoll.as_raw_fd()),
            events,
            c_long::from(room),
            &raw const timeout,
            no_mask,
            0 as c_long,
        )
    };
    super::check_length(count as isize)
}

/// Waits with `epoll_wait(2)`, whose timeout is in milliseconds: rounded up, so that no wait ends
/// early, and at most what a C `int` holds (24 days), after which the caller waits again.
fn wait_coarsely(
    epoll: BorrowedFd<'_>,
    buffer: &mut EventBuffer,
    timeout: Option<Duration>,
) -> io::Result<usize> {
    wait_for(epoll, buffer, milliseconds(timeout))
}

/// Waits with `epoll_wait(2)` for so many milliseconds; -1 stands for ever.
#[inline]
fn wait_for(
    epoll: BorrowedFd<'_>,
    buffer: &mut EventBuffer,
    milliseconds: c_int,
) -> io::Result<usize> {
    let room = buffer.slots.len();
    let events = buffer.slots.as_mut_ptr().cast();
    // SAFETY: `events` has room for `room` events of the native layout, which is no more than an
    // `int` holds.
    let count = unsafe { direct::epoll_wait(epoll, events, room, milliseconds) };
    count.map_err(io::Error::from)
}

/// The timeout of `epoll_wait(2)`: -1 stands for ever.
fn milliseconds(timeout: Option<Duration>) -> c_int {
    let Some(timeout) = timeout else { return -1 };
    let rest = u64::from(timeout.subsec_nanos().div_ceil(1_000_000));
    let all = timeout.as_secs().saturating_mul(1000).saturating_add(rest);
    c_int::try_from(all).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EPOLLIN;
    use crate::sys::Notifier;
    use std::time::Instant;

    #[test]
    fn a_coarse_wait_is_rounded_up_and_bounded() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_micros(1000))), 1);
        assert_eq!(milliseconds(Some(Duration::from_micros(1001))), 2);
        assert_eq!(milliseconds(Some(Duration::MAX)), c_int::MAX);
    }

    #[test]
    fn both_ways_to_wait_end_no_earlier_than_asked() {
        let epoll = create().unwrap();
        let mut buffer = EventBuffer::with_capacity(1);
        let timeout = Duration::from_micros(1300);
        let start = Instant::now();
        match wait_exactly(epoll.as_fd(), &mut buffer, timeout) {
            Ok(count) => assert!(count == 0 && start.elapsed() >= timeout),
            Err(error) => assert_eq!(error.raw_os_error(), Some(ffi::ENOSYS)),
        }
        let start = Instant::now();
        assert_eq!(wait_coarsely(epoll.as_fd(), &mut buffer, Some(timeout)).unwrap(), 0);
        assert!(start.elapsed() >= timeout);
    }

    #[test]
    fn a_kernel_without_exact_waits_is_asked_once_and_then_waited_for_coarsely() {
        for refusal in [ffi::ENOSYS, ffi::EPERM] {
            let kernel = KernelHandle::linux();
            let epoll = Epoll::on(&kernel).unwrap();
            let notifier = Notifier::on(&kernel).unwrap();
            epoll.add(notifier.descriptor(), EPOLLIN, 7).unwrap();
            notifier.notify().unwrap();
            let (lacks_exact, asked) = (AtomicBool::new(false), std::cell::Cell::new(0));
            let mut buffer = EventBuffer::with_capacity(1);
            for _ in 0..3 {
                let exactly = |_: &mut EventBuffer| {
                    asked.set(asked.get() + 1);
                    Err(io::Error::from_raw_os_error(refusal))
                };
                let (fd, timeout) = (epoll.as_fd(), Duration::from_nanos(1));
                let count =
                    wait_exactly_or_coarsely(fd, &mut buffer, timeout, &lacks_exact, exactly);
                assert_eq!(buffer.first(count.unwrap()), [Event::new(7, EPOLLIN)]);
            }
            assert_eq!(asked.get(), 1);
        }
    }

    #[test]
    fn another_failure_of_an_exact_wait_arrives() {
        let epoll = create().unwrap();
        let lacks_exact = AtomicBool::new(false);
        let exactly = |_: &mut EventBuffer| Err(io::Error::from_raw_os_error(ffi::EINTR));
        let (mut buffer, timeout) = (EventBuffer::with_capacity(1), Duration::from_nanos(1));
        let result =
            wait_exactly_or_coarsely(epoll.as_fd(), &mut buffer, timeout, &lacks_exact, exactly);
        assert_eq!(result.unwrap_err().raw_os_error(), Some(ffi::EINTR));
        assert!(!lacks_exact.into_inner());
    }

    #[test]
    fn both_ways_to_wait_bring_the_same_events() {
        let kernel = KernelHandle::linux();
        let epoll = Epoll::on(&kernel).unwrap();
        let notifier = Notifier::on(&kernel).unwrap();
        epoll.add(notifier.descriptor(), EPOLLIN, 7).unwrap();
        notifier.notify().unwrap();
        let mut buffer = EventBuffer::with_capacity(5);
        for timeout in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            let count = wait_coarsely(epoll.as_fd(), &mut buffer, timeout).unwrap();
            assert_eq!(buffer.first(count), [Event::new(7, EPOLLIN)]);
        }
        let tokens: Vec<u64> =
            epoll.wait(&mut buffer, Some(Duration::MAX)).unwrap().map(|e| e.token()).collect();
        assert_eq!(tokens, [7]);
    }
}
