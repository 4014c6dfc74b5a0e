//! What ends the process: each in a process of its own, which is this program again.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

mod common;

use common::PATIENCE;
use std::env;
use std::future::{Future, pending};
use std::panic::catch_unwind;
use std::pin::pin;
use std::process::{Command, ExitStatus};
use std::task::{Context, Poll, Waker};
use std::thread;
use whirligig::fiber::{self, Builder, Fiber, wait};
use whirligig::{generator, run, yield_now};

/// Tells the process that it is the one to run the body of its test.
const CHILD: &str = "WHIRLIGIG_TEST_CHILD";

fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs the test called `name` in a process of its own; returns what that said on standard error.
fn child(name: &str, wrapper: &[&str]) -> (ExitStatus, String) {
    let own = env::current_exe().unwrap();
    let mut words = wrapper.iter().map(std::ffi::OsString::from).chain([own.into()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", name, "--nocapture"]).env(CHILD, "1");
    let ended = command.output().unwrap();
    (ended.status, String::from_utf8_lossy(&ended.stderr).into_owned())
}

/// The signal that ended the test called `name`, and what it said.
fn killed(name: &str) -> (i32, String) {
    use std::os::unix::process::ExitStatusExt;
    let (status, said) = child(name, &[]);
    let signal = status.signal().unwrap_or_else(|| panic!("{name} ended with {status}: {said}"));
    (signal, said)
}

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

#[inline(never)]
fn endless(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 32]);
    // Not the last thing it does, so that it is no loop.
    1 + if frame[5] == u64::MAX { 0 } else { endless(frame[3] + 1) }
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn an_overflow_names_the_fibers_stack_and_ends_the_process() {
    let line = line!() + 2;
    if is_child() {
        let overflows = Builder::new().stack_bytes(128 * 1024).build(|| {
            wait(yield_now());
            endless(0)
        });
        run(async { overflows.unwrap().await }).unwrap();
        return;
    }
    let (signal, said) = killed("an_overflow_names_the_fibers_stack_and_ends_the_process");
    assert_eq!(signal, SIGABRT, "{said}");
    let made = format!("the stack of the fiber made at tests/fibers_overflow.rs:{line}:");
    let told = said.lines().find(|line| line.contains("overflowed")).unwrap();
    assert!(told.starts_with(&made), "{said}");
    assert!(told.contains("has overflowed: 131072 bytes at 0x"), "{said}");
}

#[test]
fn an_overflow_is_told_of_on_any_thread_and_for_generators_and_on_used_stacks() {
    if is_child() {
        let overflow = || {
            run(async {
                fiber::spawn(|| ()).await.unwrap();
                fiber::spawn(|| {
                    generator::stackful(|_: &generator::StackfulYielder<(), ()>, ()| endless(0))
                        .unwrap()
                        .next()
                })
                .await
            })
        };
        thread::spawn(overflow).join().unwrap().unwrap().unwrap();
        return;
    }
    let name = "an_overflow_is_told_of_on_any_thread_and_for_generators_and_on_used_stacks";
    let (signal, said) = killed(name);
    assert_eq!(signal, SIGABRT, "{said}");
    assert!(said.contains("the stack of the fiber made at tests/fibers_overflow.rs:"), "{said}");
}

#[test]
#[cfg_attr(whirligig_asan, ignore = "the sanitizer tells of it")]
fn the_overflow_of_a_threads_own_stack_is_still_the_standard_librarys_to_tell() {
    if is_child() {
        let overflow = || {
            assert!(poll_once(Fiber::new(|| wait(async { 1 })).unwrap()).is_ready());
            endless(0)
        };
        thread::Builder::new().name("shallow".into()).spawn(overflow).unwrap().join().unwrap();
        return;
    }
    let name = "the_overflow_of_a_threads_own_stack_is_still_the_standard_librarys_to_tell";
    let (signal, said) = killed(name);
    assert_eq!(signal, SIGABRT, "{said}");
    assert!(said.contains("thread 'shallow'") && said.contains("overflowed its stack"), "{said}");
    assert!(!said.contains("the fiber made"), "{said}");
}

#[test]
#[cfg_attr(whirligig_asan, ignore = "the sanitizer tells of it")]
fn any_other_segmentation_fault_ends_the_process_as_ever() {
    if is_child() {
        assert!(poll_once(Fiber::new(|| ()).unwrap()).is_ready());
        let kill = format!("kill -SEGV {}", std::process::id());
        // The standard library's handler, to which ours hands the first, makes the next one fatal:
        // it expects the faulting instruction to fault again, and this has none.
        for _ in 0..2 {
            Command::new("sh").args(["-c", &kill]).status().unwrap();
        }
        thread::sleep(PATIENCE);
        return;
    }
    let (signal, said) = killed("any_other_segmentation_fault_ends_the_process_as_ever");
    assert_eq!(signal, SIGSEGV, "{said}");
    assert!(!said.contains("overflowed"), "{said}");
}

/// Waits in its destructor for what is not ready.
struct Clings;

impl Drop for Clings {
    fn drop(&mut self) {
        wait(yield_now());
    }
}

const NO_WAY_OUT: &str = "a fiber would have to wait in a destructor while its thread unwinds";

#[test]
fn a_destructor_of_a_dropped_fiber_that_would_have_to_wait_ends_the_process() {
    if is_child() {
        let fiber = Fiber::new(|| {
            let _clings = Clings;
            wait(pending::<()>());
        });
        // It is dropped when it has suspended.
        assert!(poll_once(fiber.unwrap()).is_ready());
        return;
    }
    let (signal, said) =
        killed("a_destructor_of_a_dropped_fiber_that_would_have_to_wait_ends_the_process");
    assert_eq!(signal, SIGABRT, "{said}");
    assert!(said.contains(NO_WAY_OUT), "{said}");
}

#[test]
fn a_destructor_of_a_panicking_fiber_that_would_have_to_wait_ends_the_process() {
    if is_child() {
        let body = || {
            let _clings = Clings;
            panic!("for a start");
        };
        let joined: Result<(), _> = run(async { fiber::spawn(body).await }).unwrap();
        joined.unwrap();
        return;
    }
    let (signal, said) =
        killed("a_destructor_of_a_panicking_fiber_that_would_have_to_wait_ends_the_process");
    assert_eq!(signal, SIGABRT, "{said}");
    assert!(said.contains("for a start") && said.contains(NO_WAY_OUT), "{said}");
}

#[test]
fn the_panic_hook_hears_nothing_of_fibers_that_are_dropped() {
    if is_child() {
        let mut fiber = Box::pin(
            Fiber::new(|| {
                for _ in 0..3 {
                    let _ = catch_unwind(|| wait(pending::<()>()));
                }
                wait(pending::<()>());
            })
            .unwrap(),
        );
        assert!(poll_once(fiber.as_mut()).is_pending());
        drop(fiber);
        return;
    }
    let (status, said) = child("the_panic_hook_hears_nothing_of_fibers_that_are_dropped", &[]);
    assert!(status.success() && said.is_empty(), "{status} {said}");
}

#[test]
fn a_panic_with_a_backtrace_fits_on_the_stack() {
    if is_child() {
        let joined: Result<(), _> =
            run(async { fiber::spawn(|| panic!("told with a backtrace")).await }).unwrap();
        assert!(joined.unwrap_err().is_panic());
        return;
    }
    let name = "a_panic_with_a_backtrace_fits_on_the_stack";
    let (status, said) = child(name, &["env", "RUST_BACKTRACE=full"]);
    assert!(status.success(), "{status} {said}");
    assert!(said.contains("told with a backtrace"), "{said}");
    assert!(said.contains("whirligig_fiber_start"), "{said}");
}

#[test]
#[cfg_attr(whirligig_asan, ignore = "the sanitizer needs address space")]
fn out_of_mappings_a_fiber_is_an_error_and_those_there_are_go_on() {
    if is_child() {
        // Address space for a few stacks, of a GiB each.
        let builder = Builder::new().stack_bytes(1 << 30);
        let mut fibers = Vec::new();
        let error = loop {
            match builder.build(|| wait(async { 1 })) {
                Ok(fiber) => fibers.push(fiber),
                Err(error) => break error,
            }
            assert!(fibers.len() < 8, "the limit holds nothing back");
        };
        assert!(whirligig::sys::is_exhaustion(&error), "{error}");
        assert!(!fibers.is_empty());
        for fiber in fibers {
            assert_eq!(poll_once(fiber), Poll::Ready(1));
        }
        return;
    }
    let name = "out_of_mappings_a_fiber_is_an_error_and_those_there_are_go_on";
    let limited = ["sh", "-c", "ulimit -v 6000000; exec \"$0\" \"$@\""];
    let (status, said) = child(name, &limited);
    assert!(status.success(), "{status} {said}");
}

#[test]
fn the_other_tests_here_can_fail() {
    if is_child() {
        panic!("as it should");
    }
    let (status, said) = child("the_other_tests_here_can_fail", &[]);
    assert_eq!(status.code(), Some(101));
    assert!(said.contains("as it should"), "{said}");
}
