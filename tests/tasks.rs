//! What becomes of a task's future and of its output, however it ends.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;
use whirligig::time::timeout;
use whirligig::{Runtime, Turn, spawn, yield_now};

/// Does something when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Notes the threads on which its marks are dropped.
#[derive(Clone, Default)]
struct Drops(Arc<Mutex<Vec<ThreadId>>>);

impl Drops {
    fn mark(&self) -> OnDrop<impl FnMut() + Send + use<>> {
        let drops = self.clone();
        OnDrop(move || drops.0.lock().unwrap().push(thread::current().id()))
    }

    fn seen(&self) -> Vec<ThreadId> {
        self.0.lock().unwrap().clone()
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

fn here() -> ThreadId {
    thread::current().id()
}

#[test]
fn a_panic_arrives_at_the_join_and_the_others_go_on() {
    run(async {
        let panics = spawn(async {
            yield_now().await;
            panic!("as planned")
        });
        let goes_on = spawn(async {
            for _ in 0..5 {
                yield_now().await;
            }
            5
        });
        let error = panics.await.unwrap_err();
        assert!(error.is_panic() && !error.is_aborted());
        assert_eq!(error.to_string(), "task panicked: as planned");
        let payload = error.try_into_panic().unwrap();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"as planned"));
        assert_eq!(goes_on.await.unwrap(), 5);
    });
}

#[test]
fn a_future_that_panicked_is_dropped_once_and_not_polled_again() {
    run(async {
        let drops = Drops::default();
        let mark = drops.mark();
        let waker = Rc::new(RefCell::new(None));
        let kept = Rc::clone(&waker);
        let error = spawn(poll_fn(move |cx| -> Poll<()> {
            let _ = &mark;
            assert!(kept.replace(Some(cx.waker().clone())).is_none(), "polled again");
            panic!("once")
        }))
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "task panicked: once");
        waker.take().unwrap().wake();
        yield_now().await;
        assert_eq!(drops.seen(), [here()]);
    });
}

#[test]
fn a_payload_that_panics_when_dropped_takes_nothing_down() {
    run(async {
        let bomb = || OnDrop(|| panic!("a payload's drop"));
        drop(spawn(async move { std::panic::panic_any(bomb()) }));
        drop(spawn(async move { OnDrop(move || std::panic::panic_any(bomb())) }));
        let aborted = spawn(async move {
            let _on_abort = OnDrop(move || std::panic::panic_any(bomb()));
            pending::<()>().await;
        });
        yield_now().await;
        aborted.abort();
        drop(aborted);
        yield_now().await;
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn a_future_whose_drop_panics_ends_as_a_panic_if_it_was_aborted() {
    run(async {
        let task = spawn(async {
            let _bomb = OnDrop(|| panic!("a future's drop"));
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert_eq!(task.await.unwrap_err().to_string(), "task panicked: a future's drop");
    });
}

/// Is ready at once, and panics when dropped.
struct ReadyBomb;

impl Future for ReadyBomb {
    type Output = i32;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<i32> {
        Poll::Ready(7)
    }
}

impl Drop for ReadyBomb {
    fn drop(&mut self) {
        panic!("dropped after it was ready");
    }
}

#[test]
fn a_value_that_was_ready_wins_over_a_drop_that_panics() {
    assert_eq!(run(async { spawn(ReadyBomb).await.unwrap() }), 7);
}

#[test]
fn an_output_whose_drop_panics_takes_nothing_down() {
    let runtime = Runtime::new().unwrap();
    let bomb = || OnDrop(|| panic!("an output's drop"));
    drop(runtime.spawn(async move { bomb() }));
    let kept = runtime.spawn(async move { bomb() });
    let abroad = runtime.spawn(async move { bomb() });
    settle(&runtime);
    // Outside of a turn it goes back home to die; in a turn it is home.
    drop(abroad);
    settle(&runtime);
    block_on(&runtime, async { drop(kept) });
    let last = runtime.spawn(async move { bomb() });
    settle(&runtime);
    drop(runtime);
    drop(last);
}

#[test]
fn a_task_that_aborts_itself_is_not_polled_again() {
    run(async {
        let handle = Rc::new(Cell::new(None));
        let own = Rc::clone(&handle);
        let (drops, polls) = (Drops::default(), Rc::new(Cell::new(0)));
        let (mark, counted) = (drops.mark(), Rc::clone(&polls));
        let task = spawn(poll_fn(move |cx| -> Poll<()> {
            let _ = &mark;
            counted.set(counted.get() + 1);
            let own: whirligig::task::AbortHandle = own.take().unwrap();
            own.abort();
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        handle.set(Some(task.abort_handle()));
        assert!(task.await.unwrap_err().is_aborted());
        assert_eq!((polls.get(), drops.seen().len()), (1, 1));
    });
}

#[test]
fn a_result_that_is_ready_in_the_poll_of_the_abort_wins() {
    run(async {
        let handle = Rc::new(Cell::new(None));
        let own = Rc::clone(&handle);
        let task = spawn(async move {
            let own: whirligig::task::AbortHandle = own.take().unwrap();
            own.abort();
            thread::spawn(move || own.abort()).join().unwrap();
            "ready"
        });
        handle.set(Some(task.abort_handle()));
        assert_eq!(task.await.unwrap(), "ready");
    });
}

#[test]
fn a_task_that_is_aborted_before_its_first_poll_is_never_polled() {
    run(async {
        let drops = Drops::default();
        let mark = drops.mark();
        let task = spawn(async move {
            let _mark = mark;
            unreachable!("polled")
        });
        task.abort();
        assert!(!task.is_finished(), "it ends at its next turn, not in the call");
        let error = task.await.unwrap_err();
        assert_eq!((error.is_aborted(), error.to_string().as_str()), (true, "task was aborted"));
        assert_eq!(drops.seen(), [here()]);
    });
}

#[test]
fn a_task_aborted_by_another_thread_is_dropped_by_its_own() {
    run(async {
        let drops = Drops::default();
        let mark = drops.mark();
        let task = spawn(async move {
            let _mark = mark;
            pending::<()>().await;
        });
        yield_now().await;
        let abort = task.abort_handle();
        let thread = thread::spawn(move || abort.abort());
        assert!(task.await.unwrap_err().is_aborted());
        assert_eq!(drops.seen(), [here()]);
        thread.join().unwrap();
    });
}

#[test]
fn an_abort_after_the_end_changes_nothing() {
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn(async { 3 });
    settle(&runtime);
    task.abort();
    assert!(task.is_finished());
    assert_eq!(block_on(&runtime, task).unwrap(), 3);
}

#[test]
fn a_task_goes_on_when_its_handle_is_dropped() {
    let runtime = Runtime::new().unwrap();
    let done = Rc::new(Cell::new(false));
    let flag = Rc::clone(&done);
    drop(runtime.spawn(async move {
        yield_now().await;
        flag.set(true);
    }));
    settle(&runtime);
    assert!(done.get());
    assert_eq!(Rc::strong_count(&done), 1);
}

#[test]
fn an_output_that_nobody_claims_is_dropped_as_the_task_ends() {
    let (runtime, drops) = (Runtime::new().unwrap(), Drops::default());
    let mark = drops.mark();
    drop(runtime.spawn(async move { mark }));
    settle(&runtime);
    assert_eq!(drops.seen(), [here()]);
}

#[test]
fn an_output_whose_handle_is_dropped_by_another_thread_is_dropped_at_home() {
    let (runtime, drops) = (Runtime::new().unwrap(), Drops::default());
    let mark = drops.mark();
    let task = runtime.spawn(async move { mark });
    settle(&runtime);
    thread::spawn(move || drop(task)).join().unwrap();
    assert_eq!(drops.seen(), [], "it waits for its home's turn");
    settle(&runtime);
    assert_eq!(drops.seen(), [here()]);
}

#[test]
fn an_output_whose_handle_is_dropped_between_turns_is_dropped_with_the_runtime_at_last() {
    let (runtime, drops) = (Runtime::new().unwrap(), Drops::default());
    let mark = drops.mark();
    let task = runtime.spawn(async move { mark });
    settle(&runtime);
    drop(task);
    drop(runtime);
    assert_eq!(drops.seen(), [here()]);
}

#[test]
fn an_output_that_outlives_its_runtime_is_dropped_with_its_handle() {
    let (runtime, drops) = (Runtime::new().unwrap(), Drops::default());
    let mark = drops.mark();
    let task = runtime.spawn(async move { mark });
    settle(&runtime);
    drop(runtime);
    assert_eq!(drops.seen(), []);
    let thread = thread::spawn(move || {
        drop(task);
        here()
    });
    let abroad = thread.join().unwrap();
    assert_eq!(drops.seen(), [abroad], "there is no home any more");
}

#[test]
fn an_output_that_outlives_its_runtime_can_still_be_claimed() {
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn(async { "kept" });
    settle(&runtime);
    drop(runtime);
    assert_eq!(run(task).unwrap(), "kept");
}

#[test]
fn a_join_handle_is_awaited_by_another_thread() {
    let (runtime, drops) = (Runtime::new().unwrap(), Drops::default());
    let mark = drops.mark();
    let task = runtime.spawn(async move {
        let _mark = mark;
        for _ in 0..100 {
            yield_now().await;
        }
        "from home"
    });
    let thread = thread::spawn(move || run(task).unwrap());
    settle(&runtime);
    assert_eq!(thread.join().unwrap(), "from home");
    assert_eq!(drops.seen(), [here()]);
}

#[test]
fn join_handles_of_a_dropped_runtime_say_aborted() {
    let runtime = Runtime::new().unwrap();
    let waits = runtime.spawn(pending::<()>());
    settle(&runtime);
    let never_polled = runtime.spawn(async {});
    let thread = {
        let also_waits = runtime.spawn(pending::<()>());
        thread::spawn(move || run(also_waits).unwrap_err().is_aborted())
    };
    drop(runtime);
    assert!(thread.join().unwrap());
    assert!(run(waits).unwrap_err().is_aborted());
    assert!(run(never_polled).unwrap_err().is_aborted());
}

/// Counts its wakes.
#[derive(Default)]
struct Counter(std::sync::atomic::AtomicUsize);

impl Counter {
    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn a_join_handle_wakes_only_the_waker_of_its_last_poll() {
    let runtime = Runtime::new().unwrap();
    let mut task = pin!(runtime.spawn(async {}));
    let counters = [Arc::new(Counter::default()), Arc::new(Counter::default())];
    for counter in &counters {
        let waker = Waker::from(Arc::clone(counter));
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&counters[0]), 1, "the first is let go");
    settle(&runtime);
    assert_eq!([counters[0].count(), counters[1].count()], [0, 1]);
    assert_eq!(Arc::strong_count(&counters[1]), 1);
    assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_join_handle_that_is_dropped_lets_its_waker_go() {
    let runtime = Runtime::new().unwrap();
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut task = Box::pin(runtime.spawn(async {}));
    assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    // Between turns the waker, too, waits for the task's runtime to drop it.
    drop((task, waker));
    settle(&runtime);
    assert_eq!(Arc::strong_count(&counter), 1);
    assert_eq!(counter.count(), 0);
}

#[test]
fn nothing_of_a_task_stays_once_its_names_are_gone() {
    let runtime = Runtime::new().unwrap();
    let inside = Rc::new(());
    for round in 0..40 {
        let inside = Rc::clone(&inside);
        let waker = Rc::new(RefCell::new(None));
        let kept = Rc::clone(&waker);
        let task = runtime.spawn(async move {
            poll_fn(|cx| {
                *kept.borrow_mut() = Some(cx.waker().clone());
                Poll::Ready(())
            })
            .await;
            match round % 4 {
                0 => pending().await,
                1 => panic!("the second kind of task panics"),
                _ => inside,
            }
        });
        if round % 2 == 0 {
            settle(&runtime);
        }
        task.abort();
        settle(&runtime);
        if round % 3 == 0 {
            let _ = block_on(&runtime, task);
        }
        waker.take();
    }
    settle(&runtime);
    assert_eq!((Rc::strong_count(&inside), runtime.task_count()), (1, 0));
}
