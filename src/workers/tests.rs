//! Workers whose kernel fails them.

use super::*;
use crate::Runtime;
use crate::sys::fault::{Call, Fault, PassThrough};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

const PLENTY: Duration = Duration::from_secs(60);

#[test]
fn a_worker_that_panics_outside_of_a_task_is_reported_and_its_tasks_are_aborted() {
    let kernel = PassThrough::new();
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    kernel.set_rule(move |call, _| {
        let fails = call == Call::EpollWait && breaks.load(Ordering::SeqCst);
        fails.then(|| Fault::Error(22))
    });
    let workers = Runtime::builder().kernel(kernel.handle()).workers(1).unwrap();
    let (report, reports) = mpsc::channel();
    workers.watch(PLENTY, move |event| drop(report.send(event))).unwrap();
    let waiting = workers.spawn(std::future::pending::<()>);
    broken.store(true, Ordering::SeqCst);
    // It looks at the kernel again after this.
    drop(workers.spawn(|| async {}));
    match reports.recv_timeout(PLENTY).unwrap() {
        WorkerEvent::Panicked { name, message } => {
            assert_eq!(name, "worker-0");
            assert!(message.unwrap().starts_with("epoll_wait failed"));
        }
        other => panic!("{other:?}"),
    }
    assert!(crate::run(waiting).unwrap().unwrap_err().is_aborted());
    let error = workers.shutdown(PLENTY).unwrap_err();
    assert_eq!(error.to_string(), "panicked: worker-0");
}

#[test]
fn workers_that_can_not_all_be_started_leave_none() {
    let kernel = PassThrough::new();
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    kernel.set_rule(move |call, _| {
        let fails = call == Call::Epoll && counted.fetch_add(1, Ordering::SeqCst) == 1;
        fails.then(|| Fault::Error(24))
    });
    for count in [3, usize::MAX] {
        made.store(0, Ordering::SeqCst);
        let error = Runtime::builder().kernel(kernel.handle()).workers(count).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(24));
    }
}
