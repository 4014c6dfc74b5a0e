//! Turns, and what runs in them: one runtime, several on one thread, and none.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;
use whirligig::event::Interest;
use whirligig::io::AsyncRead;
use whirligig::net::{TcpListener, TcpStream};
use whirligig::sys::{Epoll, EventBuffer};
use whirligig::time::{Instant, sleep, sleep_until, timeout};
use whirligig::{Runtime, Turn, spawn, yield_now};

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
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

/// Runs it on a thread of its own, and fails if it does not come back.
fn comes_back<T: Send + 'static>(code: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(code()));
    let result = receiver.recv_timeout(Duration::from_secs(60)).expect("this hangs, or panics");
    thread.join().unwrap().unwrap();
    result
}

/// What it panics with.
fn message_of<T>(code: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(code)).map(drop).expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_string(),
    }
}

#[test]
fn a_turn_never_waits() {
    comes_back(|| {
        let runtime = Runtime::new().unwrap();
        drop(runtime.spawn(pending::<()>()));
        drop(runtime.spawn(sleep(Duration::from_secs(3600))));
        for _ in 0..3 {
            settle(&runtime);
        }
    });
}

#[test]
fn a_turn_says_whether_there_is_more_to_do_or_until_when_there_is_nothing_or_that_all_is_done() {
    let runtime = Runtime::new().unwrap();
    assert_eq!(runtime.turn().unwrap(), Turn::Done);
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let kept = Rc::clone(&waker);
    let mut polls = 0;
    let task = runtime.spawn(poll_fn(move |cx| {
        polls += 1;
        *kept.borrow_mut() = Some(cx.waker().clone());
        if polls == 1 {
            cx.waker().wake_by_ref();
        }
        if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert_eq!(runtime.turn().unwrap(), Turn::Ready);
    assert_eq!(runtime.turn().unwrap(), Turn::Idle { until: None });
    assert_eq!(runtime.turn().unwrap(), Turn::Idle { until: None });
    assert!(!task.is_finished());
    waker.take().unwrap().wake();
    assert_eq!(runtime.turn().unwrap(), Turn::Done);
    assert!(task.is_finished());
}

#[test]
fn an_event_takes_one_turn() {
    let runtime = Runtime::new().unwrap();
    let epoll = Epoll::new().unwrap();
    let descriptor = runtime.as_fd().try_clone_to_owned().unwrap().into();
    epoll.add(&descriptor, Interest::READABLE.level().bits(), 0).unwrap();
    let (mut stream, mut peer) = block_on(&runtime, async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (stream, listener.accept().unwrap().0)
    });
    let task = runtime.spawn(async move { stream.read(&mut [0; 8]).await });
    settle(&runtime);
    peer.write_all(b"x").unwrap();
    let mut buffer = EventBuffer::with_capacity(1);
    assert_eq!(epoll.wait(&mut buffer, None).unwrap().count(), 1);
    assert_eq!(runtime.turn().unwrap(), Turn::Done);
    assert_eq!(block_on(&runtime, task).unwrap().unwrap(), 1);
}

#[test]
fn an_idle_turn_tells_a_time_at_or_before_the_first_deadline() {
    let runtime = Runtime::new().unwrap();
    drop(runtime.spawn(sleep_until(Instant::FAR_FUTURE)));
    settle(&runtime);
    assert_eq!(runtime.turn().unwrap(), Turn::Idle { until: None });
    let deadline = Instant::now() + Duration::from_secs(3600);
    drop(runtime.spawn(sleep_until(deadline)));
    settle(&runtime);
    let Turn::Idle { until: Some(until) } = runtime.turn().unwrap() else {
        panic!("a timer is set");
    };
    assert!(until <= deadline && until > Instant::now());
}

#[test]
fn what_is_woken_in_a_batch_waits_for_the_next() {
    let runtime = Runtime::new().unwrap();
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    drop(runtime.spawn(async move {
        loop {
            counted.set(counted.get() + 1);
            yield_now().await;
        }
    }));
    for turn in 1..10 {
        assert_eq!(runtime.turn().unwrap(), Turn::Ready);
        assert_eq!(polls.get(), turn);
    }
}

#[test]
fn spawn_outside_of_any_turn_panics_and_says_why() {
    assert!(message_of(|| spawn(async {})).contains("takes a runtime's turn"));
}

#[test]
fn block_on_inside_a_turn_panics_and_says_why() {
    let (runtime, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let messages = block_on(&runtime, async {
        let in_main = message_of(|| runtime.block_on(async {}));
        let on_another = message_of(|| other.block_on(async {}));
        let in_task = spawn(async { message_of(|| whirligig::run(async {})) });
        [in_main, on_another, in_task.await.unwrap()]
    });
    for message in messages {
        assert!(message.contains("inside a runtime's turn"), "{message}");
    }
    assert_eq!(block_on(&other, async { spawn(async { 1 }).await.unwrap() }), 1);
}

#[test]
fn a_turn_inside_a_turn_of_the_same_runtime_panics() {
    let runtime = Rc::new(Runtime::new().unwrap());
    let own = Rc::clone(&runtime);
    let task = runtime.spawn(async move { message_of(|| own.turn()) });
    settle(&runtime);
    let message = block_on(&runtime, task).unwrap();
    assert!(message.contains("inside another of its own"), "{message}");
}

#[test]
fn a_turn_of_another_runtime_goes_inside_a_turn_and_gives_the_first_its_place_back() {
    let (outer, inner) = (Runtime::new().unwrap(), Rc::new(Runtime::new().unwrap()));
    let in_inner = Rc::clone(&inner);
    let task = outer.spawn(async move {
        let panics = in_inner.spawn(async { panic!("inside") });
        let spawns = in_inner.spawn(async { drop(spawn(pending::<()>())) });
        settle(&in_inner);
        assert!(panics.is_finished() && spawns.is_finished());
        assert_eq!(in_inner.task_count(), 1);
        drop(spawn(pending::<()>()));
        sleep(Duration::from_millis(1)).await;
    });
    block_on(&outer, task).unwrap();
    assert_eq!((outer.task_count(), inner.task_count()), (1, 1));
    assert_eq!(inner.source_and_timer_counts().1, 0, "the sleep was the outer's");
}

#[test]
fn a_panic_in_block_on_leaves_no_runtime_behind() {
    let runtime = Runtime::new().unwrap();
    let stays = runtime.spawn(async { 4 });
    assert_eq!(message_of(|| runtime.block_on(async { panic!("main") })), "main");
    assert!(message_of(|| spawn(async {})).contains("takes a runtime's turn"));
    assert_eq!(block_on(&runtime, stays).unwrap(), 4);
}

#[test]
fn a_task_that_yields_goes_on_after_all_others_that_are_ready() {
    let order = run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let order = Rc::clone(&order);
                spawn(async move {
                    order.borrow_mut().push(number);
                    yield_now().await;
                    order.borrow_mut().push(number + 10);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        order.take()
    });
    assert_eq!(order, [0, 1, 2, 10, 11, 12]);
}

#[test]
fn tasks_that_keep_waking_each_other_do_not_keep_a_socket_waiting() {
    comes_back(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let busy: Vec<_> = (0..2)
                .map(|_| {
                    spawn(async {
                        loop {
                            yield_now().await;
                        }
                    })
                })
                .collect();
            let peer = thread::spawn(move || {
                std::net::TcpStream::connect(address).unwrap().write_all(b"served").unwrap();
            });
            let served = spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes, 100).await.unwrap();
                bytes
            });
            assert_eq!(served.await.unwrap(), b"served");
            assert!(busy.iter().all(|task| !task.is_finished()));
            peer.join().unwrap();
        })
    });
}

#[test]
fn a_main_future_that_keeps_waking_itself_does_not_keep_a_timer_waiting() {
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn(sleep(Duration::from_millis(1)));
    let start = Instant::now();
    runtime.block_on(async {
        while !task.is_finished() {
            assert!(start.elapsed() < Duration::from_secs(60), "the timer is never looked at");
            yield_now().await;
        }
    });
}

#[test]
fn a_future_whose_every_call_succeeds_gives_way() {
    const BYTES: usize = 10_000;
    comes_back(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut peer = std::net::TcpStream::connect(address).unwrap();
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            peer.write_all(&[1; BYTES]).unwrap();
            let others = Rc::new(Cell::new(0));
            let counted = Rc::clone(&others);
            drop(spawn(async move {
                loop {
                    counted.set(counted.get() + 1);
                    yield_now().await;
                }
            }));
            for _ in 0..BYTES {
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
            }
            assert!(others.get() >= BYTES / 1000, "the other had {} turns", others.get());
        })
    });
}

#[test]
fn a_runtime_that_goes_drops_its_tasks_and_what_their_drops_spawn() {
    let runtime = Runtime::new().unwrap();
    let (dropped, late) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (count, spawned) = (Rc::clone(&dropped), Rc::clone(&late));
    let guard = OnDrop(move || {
        let count = Rc::clone(&count);
        let mark = OnDrop(move || count.set(count.get() + 1));
        spawned.set(Some(spawn(async move {
            let _mark = mark;
            unreachable!("polled")
        })));
    });
    let waits = runtime.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let bad = runtime.spawn(async {
        let _bomb = OnDrop(|| panic!("a drop in shutdown"));
        pending::<()>().await;
    });
    settle(&runtime);
    drop(runtime);
    assert_eq!(dropped.get(), 1);
    let late: whirligig::task::JoinHandle<()> = late.take().unwrap();
    assert!(run(waits).unwrap_err().is_aborted());
    assert!(run(late).unwrap_err().is_aborted());
    assert!(run(bad).unwrap_err().is_panic());
}

#[test]
fn a_runtime_that_a_panic_drops_ends_its_tasks_all_the_same() {
    let ended = Rc::new(Cell::new(0));
    let count = Rc::clone(&ended);
    let message = message_of(move || {
        let runtime = Runtime::new().unwrap();
        for _ in 0..2 {
            let count = Rc::clone(&count);
            drop(runtime.spawn(async move {
                let _guard = OnDrop(|| {
                    count.set(count.get() + 1);
                    panic!("a drop in a panic");
                });
                pending::<()>().await;
            }));
        }
        settle(&runtime);
        runtime.block_on(async { panic!("main") })
    });
    assert_eq!((message.as_str(), ended.get()), ("main", 2));
}

thread_local! {
    static KEPT: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

#[test]
fn a_runtime_in_a_thread_local_is_dropped_with_its_tasks_as_its_thread_ends() {
    // Which thread-local goes first depends on which was used first.
    for kept_first in [true, false] {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            if kept_first {
                KEPT.with_borrow(|kept| assert!(kept.is_none()));
            }
            let runtime = Runtime::new().unwrap();
            let guard = OnDrop(move || sender.send(thread::current().id()).unwrap());
            drop(runtime.spawn(async move {
                let _guard = guard;
                sleep(Duration::from_secs(3600)).await;
            }));
            settle(&runtime);
            KEPT.set(Some(runtime));
            thread::current().id()
        });
        assert_eq!(thread.join().unwrap(), receiver.recv().unwrap());
    }
}
