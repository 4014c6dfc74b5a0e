//! Fibers, generators and tasks in one program: on top of each other, waiting for each other, and
//! ending while others run.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

mod common;

use common::Watchdog;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use whirligig::fiber::{self, Fiber, wait};
use whirligig::generator::{self, Stackful, StackfulYielder};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpStream};
use whirligig::sync::Notify;
use whirligig::sync::local::mpsc;
use whirligig::task::JoinError;
use whirligig::time::sleep;
use whirligig::{Runtime, run, spawn, yield_now};

type List = Rc<RefCell<Vec<&'static str>>>;

/// Adds its name to a list when it is dropped.
struct Noted(&'static str, List);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_fiber_awaits_a_task_that_awaits_a_fiber() {
    let output = run(async {
        let outer = fiber::spawn(|| {
            let task = spawn(async {
                yield_now().await;
                let inner = fiber::spawn(|| {
                    wait(sleep(Duration::from_millis(1)));
                    1
                });
                inner.await.unwrap() + 10
            });
            wait(task).unwrap() + 100
        });
        outer.await.unwrap()
    });
    assert_eq!(output.unwrap(), 111);
}

#[test]
fn a_panic_passes_from_a_fiber_by_a_task_to_a_fiber() {
    let list = Rc::new(RefCell::new(Vec::new()));
    let noted = |name| Noted(name, Rc::clone(&list));
    let (in_outer, in_task, in_inner) = (noted("outer"), noted("task"), noted("inner"));
    let joined: Result<(), JoinError> = run(async {
        fiber::spawn(move || {
            let _noted = in_outer;
            let task = spawn(async move {
                let _noted = in_task;
                let inner = fiber::spawn(move || {
                    let _noted = in_inner;
                    wait(yield_now());
                    panic!("at the bottom");
                });
                std::panic::resume_unwind(inner.await.unwrap_err().try_into_panic().unwrap())
            });
            let error = wait(task).unwrap_err();
            std::panic::resume_unwind(error.try_into_panic().unwrap())
        })
        .await
    })
    .unwrap();
    assert_eq!(joined.unwrap_err().to_string(), "task panicked: at the bottom");
    assert_eq!(*list.borrow(), ["inner", "task", "outer"]);
}

#[test]
fn each_of_a_chain_is_dropped_halfway() {
    for victim in 0..3 {
        let list = Rc::new(RefCell::new(Vec::new()));
        let noted = |name| Noted(name, Rc::clone(&list));
        let (in_outer, in_task, in_inner) = (noted("outer"), noted("task"), noted("inner"));
        run(async {
            let aborts = Rc::new(RefCell::new(Vec::new()));
            let (to_task, to_inner) = (Rc::clone(&aborts), Rc::clone(&aborts));
            let outer = fiber::spawn(move || {
                let _noted = in_outer;
                let task = spawn(async move {
                    let _noted = in_task;
                    let inner = fiber::spawn(move || {
                        let _noted = in_inner;
                        wait(pending::<()>());
                    });
                    to_inner.borrow_mut().push(inner.abort_handle());
                    inner.await.is_err()
                });
                to_task.borrow_mut().push(task.abort_handle());
                wait(task).is_err()
            });
            for _ in 0..5 {
                yield_now().await;
            }
            assert!(list.borrow().is_empty());
            let handles =
                [outer.abort_handle(), aborts.borrow()[0].clone(), aborts.borrow()[1].clone()];
            handles[victim].abort();
            match victim {
                0 => assert!(outer.await.unwrap_err().is_aborted()),
                // The task was aborted, so that its join failed.
                1 => assert!(outer.await.unwrap()),
                // The innermost: the task has an output of its own.
                _ => assert!(!outer.await.unwrap()),
            }
        })
        .unwrap();
        let dropped = list.borrow().clone();
        let first = ["outer", "task", "inner"][victim];
        assert_eq!(dropped[0], first, "{dropped:?}");
        // What was not awaited any more ended with its runtime.
        assert_eq!(dropped.len(), 3, "{dropped:?}");
    }
}

#[test]
fn fibers_tasks_and_both_generators_share_a_stream_of_work() {
    let _watchdog = Watchdog::new("fibers_tasks_and_both_generators_share_a_stream_of_work");
    let sum = run(async {
        let (numbers, mut squares) = (mpsc::channel(2), mpsc::channel(2));
        let (sender, mut receiver) = numbers;
        fiber::spawn(move || {
            let odd = generator::stackful(|yielder, ()| {
                (1..20).step_by(2).for_each(|n| yielder.suspend(n))
            });
            let even = generator::stackless(|yielder| async move {
                for n in (2..=20).step_by(2) {
                    yielder.suspend(n).await;
                }
            });
            for (odd, even) in odd.unwrap().zip(even) {
                wait(sender.send(odd)).unwrap();
                wait(sender.send(even)).unwrap();
            }
        });
        let forward = squares.0;
        spawn(async move {
            while let Some(number) = receiver.recv().await {
                forward.send(number * number).await.unwrap();
            }
        });
        let add = fiber::spawn(move || {
            let mut sum = 0;
            while let Some(square) = wait(squares.1.recv()) {
                sum += square;
            }
            sum
        });
        add.await.unwrap()
    });
    assert_eq!(sum.unwrap(), (1..=20).map(|n| n * n).sum::<u32>());
}

// A generator on top of a fiber.

/// A generator that waits, each time, before it yields.
fn waiting() -> Stackful<(), u32, ()> {
    generator::stackful(|yielder, ()| {
        for number in 0.. {
            wait(yield_now());
            yielder.suspend(number);
        }
    })
    .unwrap()
}

#[test]
fn a_generator_may_wait_for_the_fiber_that_runs_it() {
    let log: Rc<RefCell<Vec<u32>>> = Rc::default();
    let theirs = Rc::clone(&log);
    let output = run(async {
        let fiber = Fiber::new(move || {
            waiting().take(3).inspect(|number| theirs.borrow_mut().push(*number)).sum::<u32>()
        });
        let other = async {
            // As the generator waits, its fiber is suspended, and this runs.
            for _ in 0..3 {
                log.borrow_mut().push(100);
                yield_now().await;
            }
        };
        whirligig::future::join(fiber.unwrap(), other).await.0
    });
    assert_eq!(output.unwrap(), 3);
    assert_eq!(*log.borrow(), [100, 0, 100, 1, 100, 2]);
}

#[test]
fn a_generator_may_go_from_one_fiber_to_another() {
    run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        fiber::spawn(move || {
            let mut numbers = waiting();
            assert_eq!(numbers.next(), Some(0));
            wait(sender.send(numbers)).unwrap();
            // On this stack there is nothing of it left.
        })
        .await
        .unwrap();
        let mut numbers = receiver.recv().await.unwrap();
        // In a task there is no fiber that it could wait with.
        let refused = catch_unwind(AssertUnwindSafe(|| waiting().next()));
        assert!(refused.is_err());
        let next = fiber::spawn(move || (numbers.next(), numbers.next()));
        assert_eq!(next.await.unwrap(), (Some(1), Some(2)));
    })
    .unwrap();
}

#[test]
fn a_fiber_that_is_dropped_while_its_generator_waits_unwinds_both() {
    let list = List::default();
    let noted = |name| Noted(name, Rc::clone(&list));
    let (outer, inner) = (noted("fiber"), noted("generator"));
    {
        let mut fiber = pin!(
            Fiber::new(move || {
                let _outer = outer;
                let mut waits = generator::stackful(move |_: &StackfulYielder<(), ()>, ()| {
                    let _inner = inner;
                    wait(pending::<()>());
                })
                .unwrap();
                waits.next();
                unreachable!("the generator never goes on");
            })
            .unwrap()
        );
        assert!(poll_once(fiber.as_mut()).is_pending());
    }
    assert_eq!(*list.borrow(), ["generator", "fiber"]);
}

#[test]
fn a_dropped_fiber_drops_the_generators_that_it_holds_halfway() {
    let list = List::default();
    let noted = |name| Noted(name, Rc::clone(&list));
    let (outer, with_stack, without) = (noted("fiber"), noted("stackful"), noted("stackless"));
    {
        let mut fiber = pin!(
            Fiber::new(move || {
                let _outer = outer;
                let mut stackful = generator::stackful(move |yielder, ()| {
                    let _inner = with_stack;
                    // It can't be kept alive by catching, though a panic is on its way already.
                    for _ in 0..3 {
                        let _ = catch_unwind(AssertUnwindSafe(|| yielder.suspend(1)));
                    }
                    yielder.suspend(2);
                })
                .unwrap();
                let mut stackless = generator::stackless(|yielder| async move {
                    let _inner = without;
                    yielder.suspend(1).await;
                });
                assert_eq!((stackful.next(), stackless.next()), (Some(1), Some(1)));
                wait(pending::<()>());
            })
            .unwrap()
        );
        assert!(poll_once(fiber.as_mut()).is_pending());
        assert!(list.borrow().is_empty());
    }
    assert_eq!(*list.borrow(), ["stackless", "stackful", "fiber"]);
}

#[test]
fn a_panic_in_a_generator_is_the_fibers_that_asked_for_the_next() {
    let joined: Result<(), JoinError> = run(async {
        fiber::spawn(|| {
            let mut generator = generator::stackful(|yielder, ()| {
                yielder.suspend(1);
                panic!("no more numbers");
            })
            .unwrap();
            assert_eq!(generator.next(), Some(1));
            let caught = catch_unwind(AssertUnwindSafe(|| generator.next()));
            assert!(caught.is_err() && generator.is_done());
            assert_eq!(generator.next(), None);
            wait(yield_now());
            panic!("nor patience");
        })
        .await
    })
    .unwrap();
    assert_eq!(joined.unwrap_err().to_string(), "task panicked: nor patience");
}

#[test]
fn a_generator_can_not_yield_in_a_future_that_the_fiber_below_it_waits_for() {
    // If it could, it might go on under another fiber, with the context of this one.
    let joined = run(async {
        fiber::spawn(|| {
            let mut generator = generator::stackful(|yielder, ()| {
                let inside = AssertUnwindSafe(|| wait(async { yielder.suspend(0) }));
                let refused = catch_unwind(inside).unwrap_err();
                let said = refused.downcast_ref::<&str>().map(|text| text.to_string());
                yielder.suspend(said.map_or(1, |said| u32::from(said.contains("can't yield")) + 2));
                // It is none the worse for it.
                wait(yield_now());
                yielder.suspend(4);
            })
            .unwrap();
            (generator.next(), generator.next(), generator.next())
        })
        .await
    });
    assert_eq!(joined.unwrap().unwrap(), (Some(3), Some(4), None));
}

#[test]
fn a_generator_may_be_resumed_in_a_future_that_a_fiber_waits_for() {
    let body = || {
        let mut generator = generator::stackful(|yielder, ()| {
            for number in 0..3 {
                yielder.suspend(number);
            }
        })
        .unwrap();
        wait(async {
            let first = generator.next();
            yield_now().await;
            (first, generator.next())
        })
    };
    assert_eq!(run(async { fiber::spawn(body).await.unwrap() }).unwrap(), (Some(0), Some(1)));
}

// Runtimes within.

fn message(payload: &dyn std::any::Any) -> &str {
    payload.downcast_ref::<&str>().copied().unwrap_or_default()
}

#[test]
fn a_fiber_can_not_wait_in_a_runtime_that_it_runs_itself() {
    // If it could, others would go on with the turn of that runtime, and have it still when that
    // is gone.
    let body = || {
        let refused = catch_unwind(|| run(async { wait(yield_now()) })).unwrap_err();
        assert!(message(&*refused).contains("in a runtime within it"));
        // It is none the worse for it, and in there others are as anywhere.
        wait(yield_now());
        run(async { fiber::spawn(|| wait(async { 1 })).await.unwrap() }).unwrap()
    };
    let mut fibers = [(); 2].map(|()| Fiber::new(body).unwrap());
    for fiber in &mut fibers {
        assert!(poll_once(Pin::new(fiber)).is_pending());
    }
    for fiber in &mut fibers {
        assert_eq!(poll_once(Pin::new(fiber)), Poll::Ready(1));
    }
    assert!(catch_unwind(|| spawn(async {})).is_err(), "a runtime's turn is left over");
}

#[test]
fn a_fiber_can_not_wait_in_a_turn_of_another_runtime_than_its_own() {
    let body = || {
        let other = Runtime::new().unwrap();
        let waits = other.spawn(async { wait(yield_now()) });
        let _ = other.turn().unwrap();
        let refused = wait(waits).unwrap_err().to_string();
        assert!(refused.contains("in a runtime within it"), "{refused}");
        wait(spawn(async { 1 })).unwrap()
    };
    assert_eq!(run(async { fiber::spawn(body).await.unwrap() }).unwrap(), 1);
}

#[test]
fn a_generator_can_not_yield_in_a_runtime_that_it_runs_itself() {
    let mut generator = generator::stackful(|yielder, ()| {
        let inside = AssertUnwindSafe(|| run(async { yielder.suspend(1) }));
        let refused = catch_unwind(inside).unwrap_err();
        assert!(message(&*refused).contains("in a runtime that it runs itself"));
        yielder.suspend(2);
    })
    .unwrap();
    assert_eq!(generator.next(), Some(2));
    run(async move { drop(generator) }).unwrap();
    assert!(catch_unwind(|| spawn(async {})).is_err(), "a runtime's turn is left over");
}

#[test]
fn a_generator_yields_to_the_runtime_that_resumed_it() {
    let fiber = Fiber::new(|| {
        let inner = generator::stackful(|yielder, ()| (0..3).for_each(|n| yielder.suspend(n)));
        run(async move { inner.unwrap().sum::<u32>() }).unwrap()
    });
    assert_eq!(poll_once(pin!(fiber.unwrap())), Poll::Ready(3));
}

// Many.

#[test]
fn five_thousand_fibers_each_with_a_socket_and_a_timer_are_there_at_once() {
    let _watchdog =
        Watchdog::new("five_thousand_fibers_each_with_a_socket_and_a_timer_are_there_at_once");
    const FIBERS: usize = 5000;
    whirligig::sys::raise_descriptor_limit().unwrap();
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = Rc::new(Cell::new(0));
        let all_wait = Rc::new(Notify::new());
        let fibers: Vec<_> = (0..FIBERS)
            .map(|_| {
                let (waiting, all_wait) = (Rc::clone(&waiting), Rc::clone(&all_wait));
                fiber::spawn(move || {
                    let mut stream = wait(TcpStream::connect(address)).unwrap();
                    waiting.set(waiting.get() + 1);
                    if waiting.get() == FIBERS {
                        all_wait.notify_one();
                    }
                    // Held over the wait for the socket, with the timer set meanwhile.
                    let hour = Duration::from_secs(3600);
                    let mut byte = [0];
                    let read = wait(whirligig::time::timeout(hour, stream.read(&mut byte)));
                    assert_eq!(read.unwrap().unwrap(), 1);
                    usize::from(byte[0])
                })
            })
            .collect();
        let mut streams = Vec::new();
        while streams.len() < FIBERS {
            streams.push(listener.accept().await.unwrap().0);
        }
        all_wait.notified().await;
        assert_eq!(waiting.get(), FIBERS);
        for stream in &mut streams {
            stream.write_all(&[1]).await.unwrap();
        }
        let mut sum = 0;
        for fiber in fibers {
            sum += fiber.await.unwrap();
        }
        assert_eq!(sum, FIBERS);
    })
    .unwrap();
}
