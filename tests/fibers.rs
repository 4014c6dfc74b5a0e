//! Fibers: how they wait, how they end, and what becomes of their stacks.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

mod common;

use common::Watchdog;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use whirligig::fiber::{self, Blocking, Builder, Fiber, wait};
use whirligig::future::{Either, join, race};
use whirligig::net::{TcpListener, TcpStream};
use whirligig::sync::local::mpsc;
use whirligig::task::JoinError;
use whirligig::time::{Instant, sleep};
use whirligig::{run, yield_now};

/// What fibers may borrow: it lives for ever. Its address is kept, so that who looks for leaks
/// sees that it is no accident.
fn leak<T>(value: T) -> &'static T {
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let value: &'static T = Box::leak(Box::new(value));
    KEPT.lock().unwrap().push(std::ptr::from_ref(value).addr());
    value
}

type List = &'static RefCell<Vec<&'static str>>;

/// Adds its name to a list when it is dropped.
struct Noted(&'static str, List);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What a panic said.
fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().map_or("?".into(), |text| text.to_string()),
    }
}

// Waiting.

#[test]
fn fibers_wait_for_sockets_timers_channels_and_each_other() {
    let _watchdog = Watchdog::new("fibers_wait_for_sockets_timers_channels_and_each_other");
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut receiver) = mpsc::channel(1);
        let server = fiber::spawn(move || {
            let (stream, _) = wait(listener.accept()).unwrap();
            let mut stream = Blocking::new(stream);
            let mut request = [0; 4];
            stream.read_exact(&mut request).unwrap();
            wait(sleep(Duration::from_millis(5)));
            stream.write_all(&request.map(|byte| byte + 1)).unwrap();
            stream.flush().unwrap();
            wait(sender.send("served")).unwrap();
        });
        let client = fiber::spawn(move || {
            let mut stream = Blocking::new(wait(TcpStream::connect(address)).unwrap());
            let before = Instant::now();
            stream.write_all(b"HAL\n").unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(before.elapsed() >= Duration::from_millis(5));
            answer
        });
        let both = fiber::spawn(move || (wait(client).unwrap(), wait(receiver.recv())));
        assert_eq!(both.await.unwrap(), (b"IBM\x0b".to_vec(), Some("served")));
        server.await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_fiber_may_wait_in_any_function_it_calls_and_for_what_borrows_its_locals() {
    fn sum(numbers: &[u32]) -> u32 {
        let halves = numbers.split_at(numbers.len() / 2);
        match numbers {
            [] => 0,
            [number] => wait(async {
                yield_now().await;
                *number
            }),
            _ => sum(halves.0) + sum(halves.1),
        }
    }
    let numbers: Vec<u32> = (1..=100).collect();
    let output = run(async { Fiber::new(move || sum(&numbers)).unwrap().await }).unwrap();
    assert_eq!(output, 5050);
}

#[test]
fn a_future_that_is_ready_does_not_suspend_the_fiber() {
    let fiber = pin!(Fiber::new(|| (0..3).map(|n| wait(ready(n))).sum::<u32>()).unwrap());
    assert_eq!(poll_once(fiber), Poll::Ready(3));
}

#[test]
fn each_poll_inside_a_fiber_gets_the_waker_of_the_fibers_latest_poll() {
    struct Counted(AtomicUsize);
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    // Awake after each poll by the waker of just that poll.
    let body = || {
        let mut left = 3;
        wait(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            left -= 1;
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        }));
    };
    let mut fiber = pin!(Fiber::new(body).unwrap());
    let counts = [0, 1, 2].map(|_| Arc::new(Counted(AtomicUsize::new(0))));
    for (index, count) in counts.iter().enumerate() {
        // The waker of the poll before is gone by now.
        let waker = Waker::from(Arc::clone(count));
        let polled = fiber.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(polled.is_ready(), index == 2);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
    assert!(counts.iter().all(|count| Arc::strong_count(count) == 1), "none was kept");
}

#[test]
fn waiting_outside_of_a_fiber_or_within_its_poll_is_refused() {
    let outside = catch_unwind(|| wait(ready(()))).unwrap_err();
    assert!(message(outside).starts_with("`fiber::wait` outside of a fiber"));

    let nested = Fiber::new(|| {
        let refused = catch_unwind(|| wait(async { wait(ready(1)) })).unwrap_err();
        // The fiber itself is none the worse.
        (message(refused), wait(async { 2 }))
    });
    let Poll::Ready((refused, after)) = poll_once(pin!(nested.unwrap())) else { panic!("pending") };
    assert!(refused.contains("in a future that the fiber waits for"), "{refused}");
    assert_eq!(after, 2);
}

#[test]
fn a_fiber_may_poll_another_and_each_wait_is_its_own() {
    let log: List = leak(RefCell::default());
    let step = move |name| {
        log.borrow_mut().push(name);
        wait(yield_now());
    };
    let inner = move || {
        step("inner 1");
        step("inner 2");
        "done"
    };
    let outer = Fiber::new(move || {
        let inner = Fiber::new(inner).unwrap();
        step("outer 1");
        let output = wait(inner);
        step("outer 2");
        output
    });
    assert_eq!(run(async { outer.unwrap().await }).unwrap(), "done");
    assert_eq!(*log.borrow(), ["outer 1", "inner 1", "inner 2", "outer 2"]);
    assert!(catch_unwind(|| wait(ready(()))).is_err(), "no fiber runs any more");
}

#[test]
fn between_two_waits_no_other_task_runs() {
    let ticks = Rc::new(Cell::new(0));
    let count = Rc::clone(&ticks);
    run(async move {
        let ticker = whirligig::spawn(async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
        });
        fiber::spawn(move || {
            wait(yield_now());
            let before = ticks.get();
            for _ in 0..1000 {
                wait(ready(()));
            }
            assert_eq!(ticks.get(), before);
            wait(yield_now());
            assert!(ticks.get() > before);
        })
        .await
        .unwrap();
        ticker.abort();
    })
    .unwrap();
}

// Ends.

#[test]
fn a_panic_drops_the_locals_and_arrives_at_the_join() {
    let list: List = leak(RefCell::default());
    let error = run(async {
        let joined: Result<(), JoinError> = fiber::spawn(move || {
            let _outer = Noted("outer", list);
            wait(yield_now());
            let _inner = Noted("inner", list);
            panic!("this far and no farther");
        })
        .await;
        joined.unwrap_err()
    });
    assert_eq!(error.unwrap().to_string(), "task panicked: this far and no farther");
    assert_eq!(*list.borrow(), ["inner", "outer"]);
}

#[test]
fn a_panic_that_the_fiber_catches_is_its_own_business() {
    let body = || {
        for round in 0..3 {
            let caught = catch_unwind(|| {
                wait(yield_now());
                panic!("round {round}");
            });
            assert_eq!(message(caught.unwrap_err()), format!("round {round}"));
            wait(yield_now());
        }
    };
    run(async { fiber::spawn(body).await.unwrap() }).unwrap();
    assert!(!std::thread::panicking());
}

#[test]
fn polling_a_fiber_after_its_end_panics() {
    let mut fiber = pin!(Fiber::new(|| 1).unwrap());
    assert_eq!(poll_once(fiber.as_mut()), Poll::Ready(1));
    let again = catch_unwind(AssertUnwindSafe(|| poll_once(fiber.as_mut())));
    assert_eq!(message(again.unwrap_err()), "a fiber is not polled after its end");

    let mut panics = pin!(Fiber::new(|| panic!("once")).unwrap());
    let first = catch_unwind(AssertUnwindSafe(|| poll_once(panics.as_mut())));
    assert_eq!(message(first.map(|_: Poll<()>| ()).unwrap_err()), "once");
    let again = catch_unwind(AssertUnwindSafe(|| poll_once(panics.as_mut())));
    assert_eq!(message(again.map(drop).unwrap_err()), "a fiber is not polled after its end");
}

#[test]
fn a_suspended_fiber_that_is_dropped_drops_its_locals_from_the_innermost_frame_on() {
    fn inner(list: List) {
        let _local = Noted("inner", list);
        wait(pending::<()>());
        unreachable!("it never ends");
    }
    let list: List = leak(RefCell::default());
    {
        let mut fiber = pin!(
            Fiber::new(move || {
                let _first = Noted("first", list);
                let _second = Noted("second", list);
                inner(list);
            })
            .unwrap()
        );
        assert!(poll_once(fiber.as_mut()).is_pending());
        assert!(list.borrow().is_empty());
    }
    assert_eq!(*list.borrow(), ["inner", "second", "first"]);
    assert_eq!(fiber::leaked_count(), 0);
}

#[test]
fn a_fiber_that_never_began_is_dropped_without_running() {
    let list: List = leak(RefCell::default());
    let held = Noted("held", list);
    let fiber = Fiber::new(move || {
        let _held = held;
        list.borrow_mut().push("ran");
    });
    drop(fiber.unwrap());
    assert_eq!(*list.borrow(), ["held"]);
}

#[test]
fn an_aborted_and_an_outraced_fiber_are_unwound() {
    let list: List = leak(RefCell::default());
    let body = |name| {
        move || {
            let _noted = Noted(name, list);
            wait(pending::<()>());
        }
    };
    run(async {
        let aborted = fiber::spawn(body("aborted"));
        yield_now().await;
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_aborted());
        let slow = Fiber::new(body("outraced")).unwrap();
        assert_eq!(race(slow, yield_now()).await, Either::Second(()));
        // Its runtime ends before this one does.
        fiber::spawn(body("left over"));
        yield_now().await;
    })
    .unwrap();
    assert_eq!(*list.borrow(), ["aborted", "outraced", "left over"]);
}

#[test]
fn catching_the_cancellation_does_not_keep_a_fiber_alive() {
    let raised = leak(Cell::new(0));
    let went_on = leak(Cell::new(false));
    {
        let mut fiber = pin!(
            Fiber::new(move || {
                for _ in 0..5 {
                    // Ready or not: a fiber that was dropped waits for nothing more.
                    let waits = || if raised.get() < 3 { wait(pending()) } else { wait(ready(())) };
                    assert!(catch_unwind(AssertUnwindSafe(waits)).is_err());
                    raised.set(raised.get() + 1);
                }
                wait(ready(()));
                went_on.set(true);
            })
            .unwrap()
        );
        assert!(poll_once(fiber.as_mut()).is_pending());
        assert_eq!(raised.get(), 0);
    }
    assert_eq!(raised.get(), 5);
    assert!(!went_on.get());
}

#[test]
fn keeping_what_was_caught_does_not_keep_a_fiber_alive_either() {
    let kept = leak(Cell::new(0));
    let mut fiber = Fiber::new(|| {
        let mut caught = Vec::new();
        for _ in 0..3 {
            caught.push(catch_unwind(|| wait(pending::<()>())));
            kept.set(caught.len());
        }
        wait(pending::<()>());
        kept.set(0);
    })
    .unwrap();
    assert!(poll_once(pin!(&mut fiber)).is_pending());
    drop(fiber);
    assert_eq!(kept.get(), 3);
}

#[test]
fn a_fiber_that_is_dropped_by_a_panic_is_unwound_and_can_not_swallow_that_either() {
    let raised = leak(Cell::new(0));
    let list: List = leak(RefCell::default());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut fiber = pin!(
            Fiber::new(move || {
                let _noted = Noted("local", list);
                while raised.get() < 3 {
                    let caught = catch_unwind(AssertUnwindSafe(|| wait(pending::<()>())));
                    raised.set(raised.get() + 1);
                    drop(caught);
                }
                wait(pending::<()>());
            })
            .unwrap()
        );
        assert!(poll_once(fiber.as_mut()).is_pending());
        panic!("with the fiber on the stack");
    }));
    assert_eq!(message(panicked.unwrap_err()), "with the fiber on the stack");
    assert_eq!(raised.get(), 3);
    assert_eq!(*list.borrow(), ["local"]);
    assert!(!std::thread::panicking());
}

#[test]
fn what_is_ready_can_be_waited_for_in_a_destructor_that_unwinding_runs() {
    struct Farewell(&'static Cell<u32>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            self.0.set(self.0.get() + wait(ready(7)));
        }
    }
    let said = leak(Cell::new(0));
    {
        let mut dropped = pin!(
            Fiber::new(move || {
                let _farewell = Farewell(said);
                wait(pending::<()>());
            })
            .unwrap()
        );
        assert!(poll_once(dropped.as_mut()).is_pending());
    }
    assert_eq!(said.get(), 7);
    let panics = Fiber::new(|| {
        let _farewell = Farewell(said);
        panic!("over");
    });
    let mut panics = pin!(panics.unwrap());
    let panicked = catch_unwind(AssertUnwindSafe(|| poll_once(panics.as_mut())));
    assert!(panicked.map(|_: Poll<()>| ()).is_err());
    assert_eq!(said.get(), 14);
}

#[test]
fn a_fiber_that_returns_although_it_was_dropped_has_its_output_dropped() {
    let list: List = leak(RefCell::default());
    {
        let mut fiber = pin!(
            Fiber::new(move || {
                let noted = Noted("output", list);
                let _ = catch_unwind(|| wait(pending::<()>()));
                noted
            })
            .unwrap()
        );
        assert!(poll_once(fiber.as_mut()).is_pending());
    }
    assert_eq!(*list.borrow(), ["output"]);
}

#[test]
fn a_panic_while_a_fiber_is_dropped_gets_no_farther() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("in the drop");
            }
        }
    }
    // In the closure that never ran, in the output, and instead of the cancellation.
    let bomb = Bomb;
    drop(Fiber::new(move || drop(bomb)).unwrap());
    for returns in [true, false] {
        let body = move || {
            let _ = catch_unwind(|| wait(pending::<()>()));
            if returns { Bomb } else { panic!("no") }
        };
        let mut fiber = Box::pin(Fiber::new(body).unwrap());
        assert!(poll_once(fiber.as_mut()).is_pending());
        drop(fiber);
    }
}

// Stacks.

/// Where in memory the caller's stack is, roughly.
#[inline(never)]
fn here() -> usize {
    let local = 0u8;
    std::hint::black_box(&raw const local).addr()
}

#[test]
fn a_stack_is_used_again_after_its_fiber_has_ended_and_not_before() {
    const BYTES: usize = 96 * 1024;
    fiber::set_pooled_stacks_max(4);
    let builder = Builder::new().stack_bytes(BYTES);
    let place = || {
        let place = here();
        wait(yield_now());
        place
    };
    let is_near = |one: usize, other: usize| one.abs_diff(other) < BYTES;
    run(async {
        let first = builder.build(place).unwrap().await;
        assert_eq!(fiber::pooled_stack_count(), 1);
        let (second, third) =
            join(builder.build(place).unwrap(), builder.build(place).unwrap()).await;
        assert!(is_near(first, second), "the pool's");
        assert!(!is_near(first, third), "one that is in use is nobody else's");
        assert_eq!(fiber::pooled_stack_count(), 2);
        // Other sizes are not mixed up with it.
        let larger = Builder::new().stack_bytes(10 * BYTES).build(place).unwrap().await;
        assert!(!is_near(larger, second) && !is_near(larger, third));

        let suspended: Vec<_> = (0..9).map(|_| builder.spawn(place).unwrap()).collect();
        yield_now().await;
        for fiber in suspended {
            fiber.await.unwrap();
        }
        assert_eq!(fiber::pooled_stack_count(), 4, "it is bounded");
        fiber::set_pooled_stacks_max(0);
        assert_eq!(fiber::pooled_stack_count(), 0);
        builder.build(place).unwrap().await;
        assert_eq!(fiber::pooled_stack_count(), 0);
    })
    .unwrap();
}

#[test]
fn a_dropped_fiber_gives_its_stack_back_too() {
    fiber::set_pooled_stacks_max(8);
    drop(Fiber::new(|| ()).unwrap());
    assert_eq!(fiber::pooled_stack_count(), 1);
    let mut fiber = Box::pin(Fiber::new(|| wait(pending::<()>())).unwrap());
    assert!(poll_once(fiber.as_mut()).is_pending());
    assert_eq!(fiber::pooled_stack_count(), 0);
    drop(fiber);
    assert_eq!(fiber::pooled_stack_count(), 1);
    let panics = Fiber::new(|| panic!("over")).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| poll_once(pin!(panics))));
    assert!(panicked.map(|_: Poll<()>| ()).is_err());
    assert_eq!(fiber::pooled_stack_count(), 1);
}

#[test]
fn a_stack_is_as_deep_as_was_asked_for() {
    #[inline(never)]
    fn deep(levels: usize) -> usize {
        let frame = std::hint::black_box([levels; 128]);
        if levels == 0 {
            wait(yield_now());
            return 0;
        }
        1 + deep(frame[7] - 1)
    }
    // Each level takes a KiB at least, and not much more.
    for (kib, levels) in [(256, 50), (16 * 1024, 4000)] {
        let builder = Builder::new().stack_bytes(kib * 1024);
        let reached = run(async { builder.build(move || deep(levels)).unwrap().await }).unwrap();
        assert_eq!(reached, levels);
    }
}

#[test]
fn what_does_not_fit_on_a_stack_is_an_error() {
    let large = [1u8; 100_000];
    let body = move || large.len();
    let error = Builder::new().stack_bytes(64 * 1024).build(body).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("too large for a stack of 65536"), "{error}");
    let fits = Builder::new().stack_bytes(1 << 20).build(body).unwrap();
    assert_eq!(poll_once(pin!(fits)), Poll::Ready(100_000));

    let error = Builder::new().stack_bytes(usize::MAX).build(|| ()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let error = Builder::new().stack_bytes(1 << 56).build(|| ()).unwrap_err();
    assert!(whirligig::sys::is_exhaustion(&error), "{error}");
    assert!(error.to_string().contains("a fiber's stack of 72057594037927936 bytes"), "{error}");
    // As small as can be is large enough.
    let tiny = Builder::new().stack_bytes(0).build(|| format!("{:?}", vec![Some(1.5)])).unwrap();
    assert_eq!(poll_once(pin!(tiny)), Poll::Ready("[Some(1.5)]".to_string()));
}

#[test]
fn outputs_and_locals_are_aligned_as_their_types_ask() {
    #[repr(align(128))]
    #[derive(Clone, Copy)]
    struct Aligned([u64; 20]);
    let captured = Aligned([3; 20]);
    let body = move || {
        let local = std::hint::black_box(captured);
        assert_eq!((&raw const local).addr() % 128, 0);
        wait(yield_now());
        Aligned(local.0.map(|number| number + 1))
    };
    let output = run(async { Fiber::new(body).unwrap().await }).unwrap();
    assert_eq!(output.0, [4; 20]);
}

#[test]
fn a_backtrace_ends_at_the_fibers_first_frame() {
    #[inline(never)]
    fn somewhere_within() -> String {
        wait(yield_now());
        let backtrace = Backtrace::force_capture().to_string();
        std::hint::black_box(backtrace)
    }
    let backtrace = run(async { Fiber::new(somewhere_within).unwrap().await }).unwrap();
    let names: Vec<&str> = backtrace.lines().filter(|line| line.contains(": ")).collect();
    assert!(names.iter().any(|line| line.contains("somewhere_within")), "{backtrace}");
    // Those that polled it are on another stack.
    assert!(!names.iter().any(|line| line.contains("block_on")), "{backtrace}");
    assert!(names.last().unwrap().contains("whirligig_fiber_start"), "{backtrace}");
}
