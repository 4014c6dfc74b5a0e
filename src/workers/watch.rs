//! Who keeps an eye on workers: their ends, and whether one has fallen silent.

use super::WorkerEvent;
use crate::contain::contain;
use crate::lock;
use crate::runtime::Handle;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub(super) struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ends: Vec<End>,
    /// Somebody is told, by a thread that lives until `stopped`.
    watched: bool,
    stopped: bool,
}

/// How a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Panicked,
}

/// Of each worker how it has ended, once it has.
pub(super) type Ends = Vec<Option<Ended>>;

/// Whether a worker has ended.
#[derive(Clone)]
enum End {
    NotYet,
    Ended,
    /// With what the panic says, until it was told.
    Panicked(Option<Option<String>>),
}

impl Watch {
    pub(super) fn new() -> Watch {
        let state = State { ends: Vec::new(), watched: false, stopped: false };
        Watch { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// One worker more is about to start.
    pub(super) fn expect_end(&self) {
        self.lock().ends.push(End::NotYet);
    }

    /// Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        lock::lock(&self.state)
    }

    /// A worker has ended; with what the panic says, if that is why.
    pub(super) fn end(&self, index: usize, panic: Option<Option<String>>) {
        self.lock().ends[index] = match panic {
            None => End::Ended,
            Some(message) => End::Panicked(Some(message)),
        };
        self.changed.notify_all();
    }

    /// Waits until all workers have ended, but for `except`, or the time is over; how each has.
    pub(super) fn wait_for_ends(&self, except: Option<usize>, time: Duration) -> Ends {
        let goes_on = |state: &mut State| {
            let mut ends = state.ends.iter().enumerate();
            ends.any(|(index, end)| Some(index) != except && matches!(end, End::NotYet))
        };
        let waited = self.changed.wait_timeout_while(self.lock(), time, goes_on);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let how = |end: &End| match end {
            End::NotYet => None,
            End::Ended => Some(Ended::Well),
            End::Panicked(_) => Some(Ended::Panicked),
        };
        state.ends.iter().map(how).collect()
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// For all of its time; an error if it is already.
    pub(super) fn become_watched(&self) -> io::Result<()> {
        if std::mem::replace(&mut self.lock().watched, true) {
            let text = "workers are watched already";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(())
    }

    pub(super) fn start(
        self: &Arc<Self>,
        workers: Vec<(String, Handle)>,
        limit: Duration,
        mut report: impl FnMut(WorkerEvent) + Send + 'static,
    ) -> io::Result<()> {
        self.become_watched()?;
        let watch = Arc::clone(self);
        let body = move || {
            let mut pulses: Vec<Pulse> = workers.into_iter().map(Pulse::new).collect();
            while let Some(events) = watch.next_events(&mut pulses, limit) {
                for event in events {
                    contain(|| report(event));
                }
            }
        };
        let started = thread::Builder::new().name("worker-watch".into()).spawn(body);
        if started.is_err() {
            self.lock().watched = false;
        }
        started.map(drop)
    }

    /// Waits a while, or for a change, and says what there is to tell then; None once there is
    /// nobody left to watch.
    fn next_events(&self, pulses: &mut [Pulse], limit: Duration) -> Option<Vec<WorkerEvent>> {
        // Often enough to be late by a part of the limit only.
        let pause = (limit / 4).max(Duration::from_millis(1));
        let mut state = self.lock();
        if !state.stopped {
            let waited = self.changed.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let stopped = state.stopped;
        let ends: Vec<End> = state.ends.iter_mut().map(End::tell).collect();
        drop(state);
        let told = pulses.iter_mut().zip(ends).filter_map(|(pulse, end)| match end {
            End::NotYet => pulse.feel(limit),
            End::Panicked(Some(message)) => {
                Some(WorkerEvent::Panicked { name: pulse.name.clone(), message })
            }
            End::Ended | End::Panicked(None) => None,
        });
        let events: Vec<WorkerEvent> = told.collect();
        if stopped && events.is_empty() { None } else { Some(events) }
    }
}

impl End {
    /// The end, which is told from now on.
    fn tell(&mut self) -> End {
        match self {
            End::Panicked(message) => End::Panicked(message.take()),
            end => end.clone(),
        }
    }
}

/// When a worker last showed that it lives.
struct Pulse {
    name: String,
    handle: Handle,
    looks: u64,
    /// It waited for events when that was last seen, and may have gone on at any time since.
    was_parked: bool,
    /// Since when it is silent at least.
    since: Instant,
    is_silent: bool,
}

impl Pulse {
    fn new((name, handle): (String, Handle)) -> Pulse {
        let (looks, was_parked) = (handle.looks(), handle.is_parked());
        Pulse { name, handle, looks, was_parked, since: Instant::now(), is_silent: false }
    }

    /// What there is to tell of it now.
    fn feel(&mut self, limit: Duration) -> Option<WorkerEvent> {
        // A silence is counted from after one look at the worker to before another, so that it is
        // not taken for longer than it is if this thread is kept waiting in between.
        let now = Instant::now();
        let looks = self.handle.looks();
        let is_parked = self.handle.is_parked();
        let was_parked = std::mem::replace(&mut self.was_parked, is_parked);
        if looks != self.looks || is_parked || was_parked {
            (self.looks, self.since) = (looks, Instant::now());
            let resumed = std::mem::replace(&mut self.is_silent, false);
            return resumed.then(|| WorkerEvent::Resumed { name: self.name.clone() });
        }
        let lasting = now.saturating_duration_since(self.since);
        if self.is_silent || lasting < limit {
            return None;
        }
        self.is_silent = true;
        Some(WorkerEvent::Silent { name: self.name.clone(), lasting })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Runtime;

    #[test]
    fn a_worker_that_waited_is_silent_from_when_it_is_first_seen_not_to_wait() {
        let runtime = Runtime::new().unwrap();
        let handle = runtime.handle();
        // After a turn without work it waits, as far as others know.
        let _done = runtime.turn().unwrap();
        let mut pulse = Pulse::new(("worker-0".into(), handle.clone()));
        assert_eq!(pulse.feel(Duration::ZERO), None);
        // It has to go on now, and may have done so this moment.
        drop(handle.spawn(|| async {}));
        assert!(!handle.is_parked());
        assert_eq!(pulse.feel(Duration::ZERO), None);
        assert!(matches!(pulse.feel(Duration::ZERO), Some(WorkerEvent::Silent { .. })));
        assert_eq!(pulse.feel(Duration::ZERO), None, "it is said once");
    }
}
