//! Calls that block, on threads of their own.

use crate::contain::contain;
use crate::lock::lock;
use crate::reactor::current_kernel;
use std::any::Any;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

/// Threads that work at the same time at most; more work waits in line.
const THREADS_MAX: usize = 32;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(5);

/// Runs `work` on a thread where it may block, and waits for its result.
///
/// At most 32 such calls run at once; others wait in line. A panic in `work` goes on in whoever
/// waits.
///
/// The threads are shared with the look-up of names and the delayserver's log: work that blocks for
/// long and in numbers keeps those waiting too.
///
/// Cancel safety: dropping it does not stop `work`. Its result is then dropped on its thread, or
/// where this was dropped if it was there already.
///
/// ```
/// let sum = whirligig::run(whirligig::blocking::run(|| (1..=10).sum::<u32>()))??;
/// assert_eq!(sum, 55);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If no thread can be started and none is there.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let shared = Arc::new(Mutex::new(Outcome::<T> { result: None, waker: None }));
    let outcome = Arc::clone(&shared);
    submit(Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        let mut outcome = lock(&outcome);
        outcome.result = Some(result);
        let waker = outcome.waker.take();
        drop(outcome);
        if let Some(waker) = waker {
            waker.wake();
        }
    }))?;
    let waiting = Waiting(&shared);
    let result = poll_fn(|cx| {
        // Cloned before and dropped after the lock is held: a waker is foreign code.
        let mut waker = Some(cx.waker().clone());
        let mut outcome = lock(&shared);
        match outcome.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                std::mem::swap(&mut outcome.waker, &mut waker);
                Poll::Pending
            }
        }
    })
    .await;
    drop(waiting);
    result.map_or_else(|payload| resume_unwind(payload), Ok)
}

struct Outcome<T> {
    result: Option<Result<T, Box<dyn Any + Send>>>,
    waker: Option<Waker>,
}

/// Takes the waker out again when the wait is over or given up: the work may take long yet.
struct Waiting<'a, T>(&'a Mutex<Outcome<T>>);

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        let waker = lock(self.0).waker.take();
        contain(|| drop(waker));
    }
}

type Work = Box<dyn FnOnce() + Send>;

struct Pool {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { queue: VecDeque::new(), threads: 0, idle: 0 });
static WORK_CAME: Condvar = Condvar::new();

fn submit(work: Work) -> io::Result<()> {
    // A kernel that is not Linux may have its own way with it.
    let Err(work) = current_kernel().start(work) else { return Ok(()) };
    let mut pool = lock(&POOL);
    // Those who are idle may be fewer than the work that is in line for them already.
    if pool.idle <= pool.queue.len() && pool.threads < THREADS_MAX {
        match thread::Builder::new().name("whirligig-blocking".into()).spawn(serve) {
            Ok(_) => pool.threads += 1,
            // Whoever is there will get to it.
            Err(_) if pool.threads > 0 => {}
            Err(error) => return Err(error),
        }
    }
    pool.queue.push_back(work);
    WORK_CAME.notify_one();
    Ok(())
}

/// A thread of the pool.
fn serve() {
    let mut pool = lock(&POOL);
    loop {
        if let Some(work) = pool.queue.pop_front() {
            drop(pool);
            contain(work);
            pool = lock(&POOL);
            continue;
        }
        pool.idle += 1;
        let (woken, timeout) =
            WORK_CAME.wait_timeout(pool, IDLE).unwrap_or_else(PoisonError::into_inner);
        pool = woken;
        pool.idle -= 1;
        if timeout.timed_out() && pool.queue.is_empty() {
            pool.threads -= 1;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_than_threads_is_all_done() {
        let sum = crate::run(async {
            let calls = (0..3 * THREADS_MAX).map(|number| run(move || number));
            let results = crate::future::join_all(calls).await;
            results.into_iter().map(Result::unwrap).sum::<usize>()
        });
        assert_eq!(sum.unwrap(), (0..3 * THREADS_MAX).sum());
    }

    #[test]
    fn a_call_that_is_given_up_keeps_no_waker() {
        struct Nobody;
        impl std::task::Wake for Nobody {
            fn wake(self: Arc<Self>) {}
        }
        let (nobody, (go, stay)) = (Arc::new(Nobody), std::sync::mpsc::channel::<()>());
        let waker = Waker::from(Arc::clone(&nobody));
        let mut call = Box::pin(run(move || stay.recv().is_err()));
        assert!(call.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        assert_eq!(Arc::strong_count(&nobody), 3);
        drop((call, waker));
        assert_eq!(Arc::strong_count(&nobody), 1);
        drop(go);
    }

    #[test]
    fn a_call_that_is_given_up_does_not_panic_if_its_waker_does() {
        struct Bomb;
        impl std::task::Wake for Bomb {
            fn wake(self: Arc<Self>) {}
        }
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a waker panics when it is dropped");
            }
        }
        let (go, stay) = std::sync::mpsc::channel::<()>();
        let waker = Waker::from(Arc::new(Bomb));
        let mut call = Box::pin(run(move || stay.recv().is_err()));
        assert!(call.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(call))).is_ok());
        drop(go);
    }

    #[test]
    fn a_panic_goes_on_in_whoever_waits() {
        let joined =
            crate::run(async { crate::spawn(async { run(|| panic!("far away")).await }).await });
        assert_eq!(joined.unwrap().unwrap_err().to_string(), "task panicked: far away");
    }
}
