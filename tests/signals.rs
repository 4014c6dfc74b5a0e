//! Signals: they belong to the whole process, so each test has one of its own, or a process.

#[path = "common/program.rs"]
mod program;

use program::run;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;
use whirligig::signal::{Signal, Signals};
use whirligig::sys::signal::{raise, set_default};
use whirligig::time::{sleep, timeout};
use whirligig::{spawn, yield_now};

/// Set in the child process of a test that starts itself again.
const CHILD: &str = "WHIRLIGIG_TEST_CHILD";

/// Whether this is the child process of the test; else runs it and returns how it ended.
fn in_child(test: &str) -> Option<ExitStatus> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    Some(child.args(["--exact", test]).env(CHILD, "1").output().unwrap().status)
}

#[test]
fn a_signal_reaches_everyone_who_waits_for_it_once() {
    run(|| async {
        let mut first = Signals::new(&[Signal::User1]).unwrap();
        let mut second = Signals::new(&[Signal::Hangup, Signal::User1]).unwrap();
        let tasks = [
            spawn(async move { (first.recv().await.unwrap(), first) }),
            spawn(async move { (second.recv().await.unwrap(), second) }),
        ];
        yield_now().await;
        yield_now().await;
        // From another thread, while the loop may wait.
        thread::spawn(|| raise(Signal::User1).unwrap()).join().unwrap();
        for task in tasks {
            let (got, mut signals) = task.await.unwrap();
            assert_eq!(got, Signal::User1);
            let again = timeout(Duration::from_millis(2), signals.recv()).await;
            assert!(again.is_err(), "one signal came once");
        }
    });
}

#[test]
fn a_signal_from_another_process_ends_the_wait() {
    run(|| async {
        let mut signals = Signals::new(&[Signal::Terminate]).unwrap();
        for _ in 0..3 {
            let kill = format!("kill -TERM {}", std::process::id());
            let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
            assert!(status.success());
            assert_eq!(signals.recv().await.unwrap(), Signal::Terminate);
        }
    });
}

#[test]
fn a_wait_for_a_signal_that_is_given_up_loses_none() {
    run(|| async {
        let mut signals = Signals::new(&[Signal::User2]).unwrap();
        assert!(timeout(Duration::from_micros(1), signals.recv()).await.is_err());
        raise(Signal::User2).unwrap();
        // The loop takes the event in while nobody waits for it.
        sleep(Duration::from_millis(1)).await;
        assert_eq!(signals.recv().await.unwrap(), Signal::User2);
    });
}

#[test]
fn a_signal_whose_default_is_restored_ends_the_process_as_it_would_have() {
    const NAME: &str = "a_signal_whose_default_is_restored_ends_the_process_as_it_would_have";
    const SIGINT: i32 = 2;
    if let Some(status) = in_child(NAME) {
        assert_eq!(status.signal(), Some(SIGINT), "{status}");
        return;
    }
    run(|| async {
        let mut signals = Signals::new(&[Signal::Interrupt]).unwrap();
        raise(Signal::Interrupt).unwrap();
        assert_eq!(signals.recv().await.unwrap(), Signal::Interrupt);
        drop(signals);
        raise(Signal::Interrupt).unwrap();
        set_default(Signal::Interrupt).unwrap();
        raise(Signal::Interrupt).unwrap();
    });
}

#[test]
fn a_signal_that_nobody_waits_for_any_more_still_does_not_end_the_process() {
    run(|| async {
        drop(Signals::new(&[Signal::Quit]).unwrap());
        raise(Signal::Quit).unwrap();
    });
}
