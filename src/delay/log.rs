//! What the service says of its doings.

use super::plan::Plan;
use crate::blocking;
use crate::sys::is_exhaustion;
use crate::time::timeout;
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Where the service tells what it does. Once a line can't be written there are no more.
///
/// Lines are written on another thread: an output that nobody reads, such as a pipe that is full,
/// does not keep the service waiting. Lines that find no room meanwhile are lost, and counted.
#[derive(Debug)]
pub struct Log {
    /// None to be quiet.
    requests: Option<Lines>,
    troubles: Lines,
    count: RequestCount,
    exhaustion_said: Cell<bool>,
}

/// Counts requests, for one log or for those of several workers together.
#[derive(Clone, Debug, Default)]
pub struct RequestCount(Arc<AtomicU64>);

impl RequestCount {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Log {
    /// Requests go to `requests`, if given, and what goes wrong to `troubles`.
    pub fn new(
        requests: Option<Box<dyn io::Write + Send>>,
        troubles: Box<dyn io::Write + Send>,
    ) -> Log {
        Log {
            requests: requests.map(Lines::new),
            troubles: Lines::new(troubles),
            count: RequestCount::default(),
            exhaustion_said: Cell::new(false),
        }
    }

    /// Numbers the requests together with those of the other logs that have this count.
    #[must_use]
    pub fn counting(mut self, count: RequestCount) -> Log {
        self.count = count;
        self
    }

    /// Notes a request, in the form of the book's server: `#{count} - {delay}ms: {message}`, the
    /// message with its control characters escaped, so that it stays one line and leaves the
    /// terminal alone.
    pub(super) fn request(&self, plan: &Plan<'_>) {
        if let Some(lines) = &self.requests {
            let number = self.count.next();
            lines.write(|line| {
                let _ = write!(line, "#{number} - {}ms: ", plan.delay_ms);
                match std::str::from_utf8(&plan.message) {
                    Ok(message) => push_escaped(line, message),
                    Err(_) => push_escaped(line, &String::from_utf8_lossy(&plan.message)),
                }
            });
        }
    }

    /// Says once that descriptors ran out: it would be said without end otherwise.
    pub(super) fn accept_trouble(&self, error: &io::Error) {
        if !is_exhaustion(error) {
            self.trouble(&format!("accepting a connection: {error}"));
        } else if !self.exhaustion_said.replace(true) {
            self.trouble(&format!("accepting rests while there is no room: {error}"));
        }
    }

    pub(super) fn trouble(&self, message: &str) {
        self.troubles.write(|line| line.push_str(message));
    }

    /// Waits a little until what was said is written.
    pub(super) async fn finish(&self) {
        // Whoever does not read for so long will not read the end either.
        let _ = timeout(FINISH, async {
            self.troubles.written().await;
            if let Some(requests) = &self.requests {
                requests.written().await;
            }
        })
        .await;
    }
}

/// Appends `message` with its control characters escaped.
fn push_escaped(line: &mut String, message: &str) {
    // Every byte that a control character begins with, and a few more: mostly there is none, and
    // then looking at all of them at once is quicker than stopping at the first.
    let may_be = |byte| matches!(byte, 0..=0x1f | 0x7f | 0xc2);
    if !message.bytes().fold(false, |found, byte| found | may_be(byte)) {
        return line.push_str(message);
    }
    for character in message.chars() {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
}

/// How long the last lines may take.
const FINISH: Duration = Duration::from_secs(1);

/// Bytes that wait to be written at most.
const WAITING_BYTES_MAX: usize = 256 * 1024;

type Out = Box<dyn io::Write + Send>;

/// An output for lines that never waits.
#[derive(Debug)]
struct Lines(Rc<RefCell<State>>);

struct State {
    /// None while it is being written to, and after it failed.
    out: Option<Out>,
    waiting: String,
    lost: u64,
    writing: bool,
    /// Who waits until all is written.
    waker: Option<Waker>,
}

impl Lines {
    fn new(out: Out) -> Lines {
        let waiting = String::new();
        let state = State { out: Some(out), waiting, lost: 0, writing: false, waker: None };
        Lines(Rc::new(RefCell::new(state)))
    }

    /// Appends the line that `say` makes.
    fn write(&self, say: impl FnOnce(&mut String)) {
        let mut state = self.0.borrow_mut();
        if state.out.is_none() && !state.writing {
            return;
        }
        if state.waiting.len() >= WAITING_BYTES_MAX {
            state.lost += 1;
            return;
        }
        say(&mut state.waiting);
        state.waiting.push('\n');
        if !mem::replace(&mut state.writing, true) {
            drop(state);
            crate::spawn(write_all(Rc::clone(&self.0)));
        }
    }

    async fn written(&self) {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if !state.writing {
                return Poll::Ready(());
            }
            let old = state.waker.replace(cx.waker().clone());
            drop(state);
            drop(old);
            Poll::Pending
        })
        .await;
    }
}

/// Writes until nothing waits, each time all that came during the last.
async fn write_all(lines: Rc<RefCell<State>>) {
    loop {
        let (out, text) = lines.borrow_mut().next();
        let Some(mut out) = out else { break };
        let written = blocking::run(move || {
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            written.map(|()| out)
        });
        // Whatever went wrong, the place to tell of it is the one that broke.
        let Ok(Ok(out)) = written.await else { break };
        lines.borrow_mut().out = Some(out);
    }
    let mut state = lines.borrow_mut();
    state.writing = false;
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl State {
    /// The output and what to write to it, if there is something.
    fn next(&mut self) -> (Option<Out>, String) {
        let mut text = mem::take(&mut self.waiting);
        match mem::take(&mut self.lost) {
            0 => {}
            lost => {
                let _ = writeln!(text, "({lost} lines were lost: they were not read in time)");
            }
        }
        let out = if text.is_empty() { None } else { self.out.take() };
        (out, text)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("writing", &self.writing).finish_non_exhaustive()
    }
}
