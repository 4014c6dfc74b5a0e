//! Callbacks with fibers, generators and tasks in one program, on one thread.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

#[path = "common/program.rs"]
mod program;

use program::run;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use whirligig::callback::EventLoop;
use whirligig::fiber::{self, wait};
use whirligig::generator;
use whirligig::sync::Notify;
use whirligig::time::sleep;
use whirligig::{spawn, yield_now};

const SOON: Duration = Duration::from_millis(1);

#[test]
fn a_callback_wakes_a_task_and_a_fiber_which_close_its_handle() {
    run(async || {
        let (event_loop, bell) = (Rc::new(EventLoop::new()), Rc::new(Notify::new()));
        let rings = Rc::clone(&bell);
        let timer = event_loop.set_interval(SOON, move |_, _| rings.notify_waiters());
        let for_task = Rc::clone(&bell);
        let task = spawn(async move { for_task.notified().await });
        let closes = Rc::clone(&event_loop);
        let fiber = fiber::spawn(move || {
            // A fiber that waits for a task that waits for a callback.
            wait(task).unwrap();
            wait(bell.notified());
            assert!(closes.close(timer));
        });
        event_loop.run().await.unwrap();
        fiber.await.unwrap();
    });
}

#[test]
fn a_callback_can_not_wait_and_says_so_also_where_the_loop_runs_in_a_fiber() {
    run(async || {
        let (event_loop, seen) = (Rc::new(EventLoop::new()), Rc::new(RefCell::new(Vec::new())));
        let fired = Rc::clone(&seen);
        event_loop.set_interval(SOON, |_, _| wait(sleep(SOON)));
        event_loop.set_timeout(2 * SOON, move |_| fired.borrow_mut().push("fired"));
        let runs = Rc::clone(&event_loop);
        let fiber = fiber::spawn(move || wait(runs.run()));
        let panic = fiber.await.unwrap_err().try_into_panic().unwrap();
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap();
        assert!(text.contains("fiber::wait"), "{text}");
        // Its handle is closed, as after any panic; all else goes on.
        event_loop.run().await.unwrap();
        assert_eq!((&seen.borrow()[..], event_loop.handle_count()), (&["fired"][..], 0));
    });
}

#[test]
fn a_fiber_that_is_ended_while_its_loop_waits_leaves_the_loop_whole() {
    run(async || {
        let (event_loop, seen) = (Rc::new(EventLoop::new()), Rc::new(RefCell::new(Vec::new())));
        let fired = Rc::clone(&seen);
        event_loop.set_timeout(3 * SOON, move |_| fired.borrow_mut().push("fired"));
        let runs = Rc::clone(&event_loop);
        let fiber = fiber::spawn(move || wait(runs.run()));
        yield_now().await;
        fiber.abort();
        assert!(fiber.await.unwrap_err().is_aborted());
        sleep(4 * SOON).await;
        assert!(seen.borrow().is_empty(), "nobody runs it");
        event_loop.run().await.unwrap();
        assert_eq!(*seen.borrow(), ["fired"]);
    });
}

#[test]
fn a_callback_takes_its_values_from_a_generator_inside_a_fiber() {
    run(async || {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let list = Rc::clone(&seen);
        let fiber = fiber::spawn(move || {
            let event_loop = EventLoop::new();
            let mut numbers = generator::stackless(|yielder| async move {
                for number in 1..=3 {
                    yielder.suspend(number).await;
                }
            });
            event_loop.set_interval(SOON, move |event_loop, timer| match numbers.next() {
                Some(number) => list.borrow_mut().push(number),
                None => assert!(event_loop.close(timer)),
            });
            wait(event_loop.run()).unwrap();
        });
        fiber.await.unwrap();
        assert_eq!(*seen.borrow(), [1, 2, 3]);
    });
}

#[test]
fn a_panic_of_a_callback_passes_by_a_fiber_to_a_task() {
    run(async || {
        let task = spawn(async {
            let fiber = fiber::spawn(|| {
                let event_loop = EventLoop::new();
                event_loop.set_timeout(SOON, |_| panic!("on purpose"));
                wait(event_loop.run()).unwrap();
            });
            yield_now().await;
            fiber.await
        });
        let panic = task.await.unwrap().unwrap_err().try_into_panic().unwrap();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    });
}
