//! What the cell is in memory, and the ways in which it can be misused.

use crate::slab::{Key, Slab};
use crate::task::{Home, Id, JoinHandle, Ran, Schedule, Task};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Keeps what is scheduled, or is gone.
#[derive(Default)]
struct Queue(Mutex<Vec<Task>>, AtomicBool);

impl Schedule for Queue {
    fn schedule(&self, task: Task) -> Result<(), Task> {
        if self.1.load(Ordering::SeqCst) {
            return Err(task);
        }
        self.0.lock().unwrap().push(task);
        Ok(())
    }

    fn is_current(&self) -> bool {
        false
    }
}

fn key() -> Key {
    Slab::new().insert_with(|_| ())
}

fn task<F: Future + 'static>(home: &Home<Queue>, future: F) -> (Task, Task, JoinHandle<F::Output>) {
    home.task(future, Id(1), key(), Location::caller())
}

/// Tells where it lies, and its waker's data.
struct Where(Rc<Cell<(usize, usize)>>);

impl Future for Where {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let data = cx.waker().data() as usize;
        self.0.set((&raw const *self as usize, data));
        Poll::Ready(())
    }
}

#[test]
fn header_and_future_are_one_allocation() {
    let home = Home::new(Queue::default());
    let places = Rc::new(Cell::new((0, 0)));
    let (queued, _kept, _handle) = task(&home, Where(Rc::clone(&places)));
    assert!(matches!(home.run(queued), Ran::Over(_)));
    let (future, header) = places.get();
    let distance = future.checked_sub(header).expect("the future lies behind the header");
    assert!((1..=128).contains(&distance), "the future lies {distance} bytes behind the header");
    assert_eq!(Arc::strong_count(home.schedule()), 2, "the cell has the one other reference");
}

#[test]
fn a_cell_gives_its_scheduler_back_when_the_last_name_goes() {
    let home = Home::new(Queue::default());
    let (queued, kept, handle) = task(&home, async {});
    assert!(matches!(home.run(queued), Ran::Over(_)));
    drop(handle);
    // Not at home, so it came back to have its output dropped.
    let back = home.schedule().0.lock().unwrap().pop().unwrap();
    assert!(matches!(home.run(back), Ran::Pending));
    assert_eq!(Arc::strong_count(home.schedule()), 2);
    drop(kept);
    assert_eq!(Arc::strong_count(home.schedule()), 1);
}

#[test]
fn a_task_is_run_and_ended_by_its_own_home_only() {
    let (home, other) = (Home::new(Queue::default()), Home::new(Queue::default()));
    let (queued, kept, _handle) = task(&home, async {});
    assert!(catch_unwind(AssertUnwindSafe(|| other.cancel(&kept))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| other.run(queued))).is_err());
    home.cancel(&kept);
}

#[test]
fn a_task_is_not_ended_from_inside_its_own_poll() {
    let home = Rc::new(Home::new(Queue::default()));
    let own = Rc::new(RefCell::new(None::<Task>));
    let (inside, from) = (Rc::clone(&own), Rc::clone(&home));
    let (queued, kept, handle) = task(&home, async move {
        let kept = inside.borrow_mut().take().unwrap();
        catch_unwind(AssertUnwindSafe(|| from.cancel(&kept))).is_err()
    });
    *own.borrow_mut() = Some(kept);
    assert!(matches!(home.run(queued), Ran::Over(_)));
    let mut handle = handle;
    match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(refused) => assert!(refused.unwrap()),
        Poll::Pending => panic!("the task is over"),
    }
}

#[test]
fn a_future_that_its_home_forgot_is_never_dropped_elsewhere() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the future is dropped by whoever had the last reference");
        }
    }
    let home = Home::new(Queue::default());
    let bomb = Bomb;
    let names = task(&home, async move {
        let _bomb = bomb;
        pending::<()>().await;
    });
    drop(names);
}

#[test]
fn a_scheduler_that_is_gone_gives_the_reference_back() {
    let home = Home::new(Queue::default());
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let kept_waker = Rc::clone(&waker);
    let (queued, kept, handle) = task(
        &home,
        poll_fn(move |cx| {
            *kept_waker.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }),
    );
    assert!(matches!(home.run(queued), Ran::Pending));
    home.schedule().1.store(true, Ordering::SeqCst);
    let waker = waker.take().unwrap();
    waker.wake_by_ref();
    home.cancel(&kept);
    drop((kept, handle, waker));
    assert_eq!(Arc::strong_count(home.schedule()), 1);
}
