//! Wakers and handles whose runtime is inside another's turn, in a thread-local, forgotten or going.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use whirligig::time::timeout;
use whirligig::{Runtime, Turn, spawn, yield_now};

/// Something to wait for, which any thread can open.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    fn open(&self) {
        let waker = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            gate.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&self) -> impl Future<Output = ()> + use<> {
        let gate = self.clone();
        poll_fn(move |cx| {
            let mut gate = gate.0.lock().unwrap();
            gate.1 = Some(cx.waker().clone());
            if gate.0 { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

/// Runs it, and fails instead of hanging.
fn block_on<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    let limited = async { timeout(Duration::from_secs(60), future).await };
    runtime.block_on(limited).expect("this hangs")
}

fn run<F: Future>(future: F) -> F::Output {
    block_on(&Runtime::new().unwrap(), future)
}

/// Takes turns until there is nothing to do at once.
fn settle(runtime: &Runtime) {
    while runtime.turn().unwrap() == Turn::Ready {}
}

/// The waker of the task it is awaited by.
async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

#[test]
fn wakers_of_one_runtime_go_inside_the_turn_of_another_on_the_same_thread() {
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let strong = Rc::new(());
    let held = Rc::clone(&strong);
    let task = first.spawn(async move {
        let waker = own_waker().await;
        let inner = second.spawn(async move {
            waker.wake_by_ref();
            drop(waker.clone());
            drop(waker);
        });
        settle(&second);
        drop((inner, second));
        yield_now().await;
        drop(held);
    });
    block_on(&first, task).unwrap();
    assert_eq!(Rc::strong_count(&strong), 1);
}

#[test]
fn a_join_handle_that_was_polled_elsewhere_wakes_only_who_polled_it_last_at_home() {
    struct Counter(AtomicUsize);
    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let runtime = Runtime::new().unwrap();
    let gate = Gate::default();
    let mut task = runtime.spawn(gate.wait());
    settle(&runtime);
    let elsewhere = Arc::new(Counter(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&elsewhere));
    let polls = move || {
        for _ in 0..100 {
            assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        task
    };
    // The message is still under way when the handle is polled at home.
    block_on(&runtime, async {
        let task = thread::spawn(polls).join().unwrap();
        assert_eq!(Arc::strong_count(&elsewhere), 2, "one message is left of a hundred");
        drop(spawn(async move { gate.open() }));
        task.await.unwrap();
    });
    assert_eq!(elsewhere.0.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&elsewhere), 1);
}

#[test]
fn a_runtime_and_wakers_may_be_in_thread_locals() {
    /// Is used in its drop, which is that of the thread.
    struct Late(Waker, Runtime);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.wake_by_ref();
            drop(self.0.clone());
            assert_eq!(self.1.block_on(async { spawn(async { 3 }).await.unwrap() }), 3);
        }
    }
    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    thread::spawn(move || {
        let runtime = Runtime::new().unwrap();
        let waker = runtime.block_on(async { spawn(own_waker()).await.unwrap() });
        drop(runtime.spawn(async move {
            let _held = held;
            pending::<()>().await;
        }));
        LATE.set(Some(Late(waker, runtime)));
    })
    .join()
    .unwrap();
    assert_eq!(Arc::strong_count(&dropped), 1, "the thread's last drop ends the tasks");
}

#[test]
fn wakers_and_handles_of_a_runtime_that_was_forgotten_on_a_thread_that_ended_do_no_harm() {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Runtime::new().unwrap();
        let task = runtime.spawn(async move {
            let waker = own_waker().await;
            sender.send(waker).unwrap();
            pending::<()>().await;
        });
        settle(&runtime);
        std::mem::forget(runtime);
        task
    })
    .join()
    .map(|mut task| {
        let waker = receiver.recv().unwrap();
        waker.wake_by_ref();
        task.abort();
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker.clone());
        waker.wake();
        assert!(!task.is_finished());
    })
    .unwrap();
}

#[test]
fn a_drop_at_the_end_of_a_runtime_that_would_run_one_is_contained() {
    struct Runs;
    impl Drop for Runs {
        fn drop(&mut self) {
            Runtime::new().unwrap().block_on(async {});
        }
    }
    let runtime = Runtime::new().unwrap();
    let runs = Runs;
    let task = runtime.spawn(async move {
        let _runs = runs;
        pending::<()>().await;
    });
    drop(runtime);
    assert!(run(task).unwrap_err().is_panic(), "`block_on` refuses inside a turn");
}
