//! Wakers: from any thread, at any time, also after the runtime is gone; and those of others.
#![expect(clippy::waker_clone_wake, reason = "a wake that consumes its waker is another function")]

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;
use whirligig::io::AsyncRead;
use whirligig::net::TcpStream;
use whirligig::time::{sleep, timeout};
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
fn a_wake_from_another_thread_ends_the_wait() {
    run(async {
        for _ in 0..1000 {
            let (gate, opened) = (Gate::default(), Gate::default());
            let task = spawn(gate.wait());
            let other = opened.clone();
            let thread = thread::spawn(move || {
                gate.open();
                other.open();
            });
            opened.wait().await;
            task.await.unwrap();
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_wake_of_a_task_that_is_over_is_nothing() {
    run(async {
        let (waker, thread) = spawn(async {
            let waker = own_waker().await;
            (waker.clone(), waker)
        })
        .await
        .unwrap();
        let woken = thread::spawn(move || {
            thread.wake_by_ref();
            thread.clone().wake();
            thread.wake();
        });
        waker.wake_by_ref();
        yield_now().await;
        woken.join().unwrap();
        waker.wake();
    });
}

struct NotesItsThread(Arc<Mutex<Vec<ThreadId>>>, Rc<Cell<u32>>);

impl Drop for NotesItsThread {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn a_waker_that_is_dropped_last_by_another_thread_takes_no_future_with_it() {
    let runtime = Runtime::new().unwrap();
    let (dropped, count) = (Arc::new(Mutex::new(Vec::new())), Rc::new(Cell::new(0)));
    let mut wakers = Vec::new();
    for how in 0..3 {
        let (sender, receiver) = mpsc::channel();
        let stays = NotesItsThread(Arc::clone(&dropped), Rc::clone(&count));
        let task = runtime.spawn(async move {
            let _stays = stays;
            sender.send(own_waker().await).unwrap();
            if how > 0 {
                pending::<()>().await;
            }
        });
        settle(&runtime);
        if how == 1 {
            task.abort();
        }
        drop(task);
        settle(&runtime);
        wakers.push(receiver.recv().unwrap());
    }
    drop(runtime);
    assert_eq!(*dropped.lock().unwrap(), [thread::current().id(); 3]);
    thread::spawn(move || drop(wakers)).join().unwrap();
    assert_eq!((count.get(), dropped.lock().unwrap().len()), (3, 3));
}

#[test]
fn wakers_work_after_their_runtime_is_gone() {
    let runtime = Runtime::new().unwrap();
    let kept = Rc::new(RefCell::new(Vec::new()));
    let wakers = Rc::clone(&kept);
    let task = runtime.spawn(async move {
        let waker = own_waker().await;
        wakers.borrow_mut().push(waker);
        pending::<()>().await;
    });
    // The future of a `block_on` has a waker of another kind.
    let main = block_on(&runtime, own_waker());
    settle(&runtime);
    drop(runtime);
    let mut wakers = kept.take();
    wakers.push(main);
    for waker in wakers {
        let by_thread = waker.clone();
        waker.wake_by_ref();
        let thread = thread::spawn(move || {
            by_thread.wake_by_ref();
            by_thread.clone().wake();
            drop(by_thread);
        });
        waker.clone().wake();
        thread.join().unwrap();
        waker.wake();
    }
    task.abort();
    assert!(run(task).unwrap_err().is_aborted());
}

#[test]
fn a_wake_from_another_runtime_on_the_same_thread_arrives() {
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let gate = Gate::default();
    let task = first.spawn(gate.wait());
    settle(&first);
    assert!(matches!(first.turn().unwrap(), Turn::Idle { until: None }));
    block_on(&second, async move { gate.open() });
    settle(&first);
    assert!(task.is_finished());
    // And where one has its turn inside the other's.
    let gate = Gate::default();
    let inner = second.spawn(gate.wait());
    settle(&second);
    block_on(&first, async {
        gate.open();
        let outer = spawn(async {});
        settle(&second);
        assert!(inner.is_finished());
        outer.await.unwrap();
        inner.await.unwrap();
    });
}

#[test]
fn an_event_wakes_a_task_of_another_runtime_at_its_own() {
    let (here, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (waker, polls) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(0)));
    let (noted, counted) = (Rc::clone(&waker), Rc::clone(&polls));
    let task = other.spawn(poll_fn(move |cx| {
        counted.set(counted.get() + 1);
        noted.replace(Some(cx.waker().clone()));
        Poll::<()>::Pending
    }));
    settle(&other);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut stream = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
    let reading = here.spawn(poll_fn(move |_| {
        let waker = waker.borrow();
        let mut cx = Context::from_waker(waker.as_ref().unwrap());
        stream.poll_read(&mut cx, &mut [0; 8])
    }));
    settle(&here);
    peer.write_all(b"x").unwrap();
    // The first look may come before the byte.
    while other.turn().unwrap() != Turn::Ready && polls.get() == 1 {
        settle(&here);
        assert_eq!(polls.get(), 1, "it is polled by its own runtime only");
    }
    settle(&other);
    assert_eq!((polls.get(), here.task_count()), (2, 1));
    drop((task, reading));
}

#[test]
fn a_task_that_two_threads_and_its_own_future_wake_is_polled_for_each() {
    let runtime = Runtime::new().unwrap();
    let rounds = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, told) = (Arc::clone(&rounds), Arc::clone(&stop));
    let (sender, receiver) = mpsc::channel::<Waker>();
    let task = runtime.spawn(poll_fn(move |cx| {
        // What was written before a wake is seen by the poll after it.
        if seen.load(Ordering::Relaxed) == 2000 {
            return Poll::Ready(());
        }
        if seen.load(Ordering::Relaxed) < 10 {
            cx.waker().wake_by_ref();
        }
        let _ = sender.send(cx.waker().clone());
        Poll::Pending
    }));
    let thread = thread::spawn(move || {
        let waker = receiver.recv().unwrap();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (waker, rounds) = (waker.clone(), Arc::clone(&rounds));
                thread::spawn(move || {
                    for _ in 0..1000 {
                        rounds.fetch_add(1, Ordering::Relaxed);
                        waker.clone().wake();
                        waker.wake_by_ref();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        told.store(true, Ordering::SeqCst);
        // Every waker that the polls sent is dropped here, while the task may be over.
        drop(receiver);
    });
    block_on(&runtime, task).unwrap();
    thread.join().unwrap();
    assert!(stop.load(Ordering::SeqCst));
}

/// A waker that does things when it is woken, and when it is dropped.
struct Does<W: Fn(), D: Fn()> {
    wake: W,
    drop: D,
}

impl<W: Fn() + Send + Sync + 'static, D: Fn() + Send + Sync + 'static> Wake for Does<W, D> {
    fn wake(self: Arc<Self>) {
        (self.wake)();
    }
}

impl<W: Fn(), D: Fn()> Drop for Does<W, D> {
    fn drop(&mut self) {
        (self.drop)();
    }
}

fn waker(
    wake: impl Fn() + Send + Sync + 'static,
    drop: impl Fn() + Send + Sync + 'static,
) -> Waker {
    Waker::from(Arc::new(Does { wake, drop }))
}

/// What a waker may do to the runtime that wakes or drops it.
fn reenter(count: &Arc<AtomicUsize>) -> impl Fn() + Send + Sync + use<> {
    let count = Arc::clone(count);
    move || {
        let count = Arc::clone(&count);
        drop(spawn(async move {
            sleep(Duration::ZERO).await;
            count.fetch_add(1, Ordering::SeqCst);
        }));
        let noop = Context::from_waker(Waker::noop());
        let _ = pin!(sleep(Duration::ZERO)).poll(&mut { noop });
    }
}

#[test]
fn a_waker_may_spawn_and_set_timers_when_it_is_woken_or_dropped() {
    let runtime = Runtime::new().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    // Woken and then dropped by a join.
    let mut task = pin!(runtime.spawn(async {}));
    let joiner = waker(reenter(&count), reenter(&count));
    assert!(task.as_mut().poll(&mut Context::from_waker(&joiner)).is_pending());
    drop(joiner);
    block_on(&runtime, async {
        // By a timer, and by one that is cancelled.
        let by_timer = waker(reenter(&count), reenter(&count));
        let mut fires = Box::pin(sleep(Duration::from_millis(1)));
        let mut is_cancelled = Box::pin(sleep(Duration::from_secs(1000)));
        assert!(fires.as_mut().poll(&mut Context::from_waker(&by_timer)).is_pending());
        assert!(is_cancelled.as_mut().poll(&mut Context::from_waker(&by_timer)).is_pending());
        let replaced = waker(|| {}, reenter(&count));
        assert!(is_cancelled.as_mut().poll(&mut Context::from_waker(&replaced)).is_pending());
        drop((by_timer, replaced, is_cancelled));
        while count.load(Ordering::SeqCst) < 5 {
            sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(count.load(Ordering::SeqCst), 5, "two wakes and three drops");
}

#[test]
fn a_waker_that_panics_takes_nothing_down() {
    let runtime = Runtime::new().unwrap();
    // One that did both would end the process: its drop is part of its wake.
    let bad_wake = || waker(|| panic!("a waker's wake"), || {});
    let bad_drop = || waker(|| {}, || panic!("a waker's drop"));
    let poll = |mut handle: std::pin::Pin<&mut whirligig::task::JoinHandle<i32>>, by: &Waker| {
        handle.as_mut().poll(&mut Context::from_waker(by)).is_pending()
    };
    // Its last reference goes with the join that wakes it, the next poll, or the handle.
    let (mut woken, mut replaced) =
        (pin!(runtime.spawn(async { 1 })), pin!(runtime.spawn(async { 2 })));
    let mut dropped = Box::pin(runtime.spawn(async { 3 }));
    let wakers = [bad_wake(), bad_drop(), bad_drop()];
    assert!(poll(woken.as_mut(), &wakers[0]));
    assert!(poll(replaced.as_mut(), &wakers[1]));
    assert!(poll(dropped.as_mut(), &wakers[2]));
    // The handles have references: nothing happens yet.
    drop(wakers);
    assert!(poll(replaced.as_mut(), Waker::noop()));
    drop(dropped);
    block_on(&runtime, async {
        let mut timers = [bad_wake(), bad_drop()].map(|by| {
            let mut timer = Box::pin(sleep(Duration::from_millis(1)));
            assert!(timer.as_mut().poll(&mut Context::from_waker(&by)).is_pending());
            timer
        });
        sleep(Duration::from_millis(10)).await;
        let mut noop = Context::from_waker(Waker::noop());
        assert!(timers.iter_mut().all(|timer| timer.as_mut().poll(&mut noop).is_ready()));
    });
    assert_eq!(block_on(&runtime, async { (woken.await, replaced.await) }).0.unwrap(), 1);
}

/// `!Send`, so that only its own thread may drop it.
struct Stays(Rc<Cell<u32>>);

impl Drop for Stays {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

thread_local! {
    static LATE: RefCell<Vec<whirligig::task::JoinHandle<()>>> = const { RefCell::new(Vec::new()) };
    static LATE_DROPS: Rc<Cell<u32>> = Rc::new(Cell::new(0));
}

#[test]
fn what_a_waker_spawns_as_its_runtime_goes_is_dropped_at_home_and_joins_as_aborted() {
    let runtime = Runtime::new().unwrap();
    let spawns = || {
        let stays = Stays(LATE_DROPS.with(Rc::clone));
        let task = spawn(async move {
            let _stays = stays;
            unreachable!("polled")
        });
        LATE.with_borrow_mut(|late| late.push(task));
    };
    // The timer has the waker's only reference when the runtime drops it.
    let mut timer = Box::pin(sleep(Duration::from_secs(1000)));
    block_on(&runtime, async {
        let spawner = waker(|| {}, spawns);
        assert!(timer.as_mut().poll(&mut Context::from_waker(&spawner)).is_pending());
    });
    drop(runtime);
    let mut late = LATE.take();
    assert_eq!((late.len(), LATE_DROPS.with(|drops| drops.get())), (1, 1));
    assert!(run(late.pop().unwrap()).unwrap_err().is_aborted());
}

#[test]
fn threads_that_wake_clone_abort_join_and_drop_at_once_do_no_harm() {
    let runtime = Runtime::new().unwrap();
    let rounds = if cfg!(debug_assertions) { 300 } else { 1000 };
    for round in 0..rounds {
        let (sender, receiver) = mpsc::channel::<Waker>();
        let task = runtime.spawn(async move {
            let local = Rc::new(0);
            sender.send(own_waker().await).unwrap();
            for _ in 0..round % 7 {
                yield_now().await;
            }
            drop(local);
            vec![round]
        });
        let abort = task.abort_handle();
        let threads = [
            thread::spawn(move || {
                let Ok(waker) = receiver.recv() else { return };
                for _ in 0..20 {
                    waker.wake_by_ref();
                    waker.clone().wake();
                }
                waker.wake();
            }),
            thread::spawn(move || {
                if round % 3 == 0 {
                    abort.abort();
                }
            }),
            thread::spawn(move || match round % 4 {
                0 => drop(task),
                1 => drop(run(task)),
                2 => task.abort(),
                _ => {
                    let mut task = pin!(task);
                    let mut cx = Context::from_waker(Waker::noop());
                    let _ = task.as_mut().poll(&mut cx);
                }
            }),
        ];
        settle(&runtime);
        while threads.iter().any(|thread| !thread.is_finished()) {
            settle(&runtime);
            thread::yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    settle(&runtime);
    assert_eq!(runtime.task_count(), 0);
}

#[test]
fn threads_that_wake_and_drop_while_the_runtime_goes_do_no_harm() {
    for round in 0..300 {
        let runtime = Runtime::new().unwrap();
        let wakers = Rc::new(RefCell::new(Vec::new()));
        let handles: Vec<_> = (0..4)
            .map(|_| {
                let wakers = Rc::clone(&wakers);
                runtime.spawn(async move {
                    let waker = own_waker().await;
                    wakers.borrow_mut().push(waker);
                    if round % 2 == 0 { vec![1] } else { pending().await }
                })
            })
            .collect();
        settle(&runtime);
        let wakers = wakers.take();
        let waking = thread::spawn(move || wakers.into_iter().for_each(Waker::wake));
        let dropping = thread::spawn(move || drop(handles));
        drop(runtime);
        waking.join().unwrap();
        dropping.join().unwrap();
    }
}
