//! A program on a runtime of its own, which must end and leave nothing behind.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::future::Future;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use whirligig::Runtime;

/// A test that waits this long waits for what never comes.
const STUCK: Duration = Duration::from_secs(60);

/// Runs `test` on a thread of its own, and fails if it doesn't end.
pub(crate) fn ends<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(test()).unwrap());
    match receiver.recv_timeout(STUCK) {
        Ok(output) => output,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it waits without end"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

/// Runs a program on a runtime and thread of its own; afterwards nothing may be registered.
pub(crate) fn run<F: Future>(program: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F::Output: Send + 'static,
{
    ends(|| {
        let runtime = Runtime::new().unwrap();
        let output = runtime.block_on(program());
        assert_eq!(runtime.source_and_timer_counts(), (0, 0), "sources and timers stay behind");
        output
    })
}
