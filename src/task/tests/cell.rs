//! What the cell is in memory, where its block goes, and what can't be made to go wrong.

use crate::task::header::{Header, LOCAL_MAX};
use crate::task::home::AtHome;
use crate::task::state::Remote;
use crate::task::{Home, JoinHandle};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

fn home() -> Home {
    Home::new(|| {})
}

fn spawn<F: Future + 'static>(home: &Home, future: F) -> JoinHandle<F::Output> {
    home.here().spawn(future, Location::caller())
}

fn run(home: &Home) {
    home.enter(|at_home| {
        at_home.receive();
        while at_home.run(100, false) < 100 {}
    });
}

/// Runs a task to its end and gives what it returned.
fn result<F: Future + 'static>(home: &Home, future: F) -> F::Output {
    let handle = spawn(home, future);
    run(home);
    joined(home, handle)
}

/// What a task that is over returned.
fn joined<T>(home: &Home, mut handle: JoinHandle<T>) -> T {
    home.enter(|_| match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output.unwrap(),
        Poll::Pending => panic!("the task is over"),
    })
}

/// Chunks of memory that this home's tasks are in, or that are kept for others.
fn chunks(home: &Home) -> usize {
    Arc::strong_count(home.shared()) - 1
}

/// Tells where it lies, and where its header does.
struct Where<T>(T);

impl<T: Unpin> Future for Where<T> {
    type Output = (usize, usize);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(usize, usize)> {
        Poll::Ready((&raw const *self as usize, cx.waker().data() as usize))
    }
}

#[test]
fn a_header_has_no_more_than_it_needs() {
    assert!(size_of::<Header>() <= 72, "{}", size_of::<Header>());
}

#[test]
fn header_and_future_are_one_block() {
    let (future, header) = result(&home(), Where([0_u8; 40]));
    let distance = future.checked_sub(header).expect("the future lies behind the header");
    assert_eq!(distance, size_of::<Header>());
}

#[test]
fn a_future_and_an_output_lie_where_their_alignment_has_them() {
    #[derive(Clone, Copy)]
    #[repr(align(64))]
    struct Wide(u8);
    #[derive(Clone, Copy)]
    #[repr(align(16))]
    struct Half(u8);

    let home = home();
    for _ in 0..4 {
        let (future, header) = result(&home, Where(Wide(1)));
        assert_eq!((future % 64, header % align_of::<Header>()), (0, 0));
        let output = result(&home, async { Wide(7) });
        assert_eq!(output.0, 7);
    }
    assert_eq!(chunks(&home), 0, "such cells are not kept");
    for _ in 0..4 {
        let (future, header) = result(&home, Where(Half(1)));
        assert_eq!((future % 16, header % align_of::<Header>()), (0, 0));
        assert_eq!(result(&home, async { Half(7) }).0, 7);
    }
    assert_ne!(chunks(&home), 0, "such cells are kept");
}

#[test]
fn a_future_and_an_output_may_be_nothing() {
    struct Nothing;
    impl Future for Nothing {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }
    assert_eq!(size_of::<Nothing>(), 0);
    let home = home();
    result(&home, Nothing);
    assert_eq!(chunks(&home), 1);
}

#[test]
fn an_output_may_be_larger_than_its_future() {
    let output = result(&home(), async { [7_u8; 5000] });
    assert!(output.iter().all(|byte| *byte == 7));
}

/// Of so many tasks, one after another, one is where the first was.
const SOON: usize = 100;

#[test]
fn a_cell_is_used_again_by_a_task_of_its_size() {
    let home = home();
    let first = result(&home, Where([0_u8; 40]));
    assert_eq!(chunks(&home), 1);
    assert!((0..SOON).any(|_| result(&home, Where([0_u8; 39])) == first));
    assert_eq!(chunks(&home), 1);
    assert_ne!(result(&home, Where([0_u8; 200])), first, "another size");
    assert_eq!(chunks(&home), 2);
}

#[test]
fn the_cell_of_a_large_task_is_not_kept() {
    let home = home();
    result(&home, Where([0_u8; 1024]));
    assert_eq!(chunks(&home), 0);
}

#[test]
fn cells_do_not_overlap_and_are_all_used_again() {
    let home = home();
    let places = |count: usize| {
        let handles: Vec<_> = (0..count).map(|_| spawn(&home, Where([0_u8; 168]))).collect();
        run(&home);
        let mut places: Vec<_> =
            handles.into_iter().map(|handle| joined(&home, handle).1).collect();
        places.sort_unstable();
        places
    };
    let first = places(2000);
    let size = size_of::<Header>() + 168;
    assert!(first.windows(2).all(|pair| pair[1] - pair[0] >= size));
    let kept = chunks(&home);
    for _ in 0..3 {
        places(1000);
        assert_eq!(chunks(&home), kept);
    }
}

#[test]
fn chunks_go_with_their_last_tasks_but_for_a_few() {
    let home = home();
    let handles: Vec<_> = (0..5000).map(|_| spawn(&home, Where([0_u8; 168]))).collect();
    assert!(chunks(&home) >= 18, "{} chunks", chunks(&home));
    run(&home);
    assert!(chunks(&home) >= 18, "their outputs are there");
    drop(handles);
    run(&home);
    // One that is current, and what is spare.
    assert_eq!(chunks(&home), 5);
    // They serve again, and no new ones are made before they are used up.
    let handles: Vec<_> = (0..1000).map(|_| spawn(&home, Where([0_u8; 168]))).collect();
    assert_eq!(chunks(&home), 5);
    drop(handles);
}

#[test]
fn a_full_chunk_that_loses_a_task_has_room_for_another() {
    let home = home();
    let task = || spawn(&home, poll_fn(|_| -> Poll<[u8; 168]> { Poll::Pending }));
    let handles: Vec<_> = (0..3000).map(|_| task()).collect();
    run(&home);
    let full = chunks(&home);
    for handle in &handles[100..900] {
        handle.abort();
    }
    drop(handles);
    run(&home);
    assert_eq!(chunks(&home), full, "each has a task");
    for _ in 0..800 {
        drop(task());
    }
    assert_eq!(chunks(&home), full);
}

#[test]
fn a_cell_that_comes_back_from_elsewhere_is_used_again() {
    let home = home();
    let waker = result(&home, poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    let place = waker.data() as usize;
    let elsewhere = |work: fn(Waker) -> Option<Waker>, waker| {
        std::thread::scope(|scope| scope.spawn(move || work(waker)).join().unwrap())
    };
    // Home counts the first reference, which comes home. The clone's goes there.
    let clone = elsewhere(|waker| Some(waker.clone()), waker).unwrap();
    run(&home);
    elsewhere(|_| None, clone);
    run(&home);
    let next = || result(&home, poll_fn(|cx| Poll::Ready(cx.waker().clone()))).data() as usize;
    assert!((0..SOON).any(|_| next() == place));
}

#[test]
fn a_cell_whose_last_reference_went_elsewhere_is_used_again_with_counts_of_its_own() {
    let home = home();
    let waker = result(&home, poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    let place = waker.data() as usize;
    let elsewhere = |work: Box<dyn FnOnce() -> Option<Waker> + Send + '_>| {
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    };
    let clone = elsewhere(Box::new(|| Some(waker.clone())));
    result(&home, async move { drop(waker) });
    elsewhere(Box::new(move || {
        drop(clone);
        None
    }));
    run(&home);
    let next = || result(&home, poll_fn(|cx| Poll::Ready(cx.waker().clone()))).data() as usize;
    assert!((0..SOON).any(|_| next() == place));
}

#[test]
fn every_task_ends_with_its_home_wherever_it_is() {
    struct Counts(
        Rc<Cell<u32>>,
        #[expect(dead_code, reason = "it is dropped")] Option<JoinHandle<()>>,
    );
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let (home, ended) = (home(), Rc::new(Cell::new(0)));
    let mut before = None;
    for number in 0..3000 {
        // The end of one lets go of another, whose cell is vacant then if it has ended.
        let (counts, large) = (Counts(Rc::clone(&ended), before.take()), [0_u8; 2000]);
        before = Some(match number % 100 {
            0 => spawn(&home, async move {
                pending::<()>().await;
                drop((large, counts));
            }),
            _ => spawn(&home, async move {
                pending::<()>().await;
                drop(counts);
            }),
        });
    }
    run(&home);
    let shared = Arc::clone(home.shared());
    drop(home);
    assert_eq!(ended.get(), 3000);
    drop(before);
    assert_eq!(Arc::strong_count(&shared), 1);
}

#[test]
fn a_task_whose_end_spawns_many_more_has_them_end_too_in_cells_that_were_vacated() {
    struct SpawnsMore(Rc<Cell<u32>>);
    impl Drop for SpawnsMore {
        fn drop(&mut self) {
            AtHome::current(|home| {
                for _ in 0..3000 {
                    drop(home.spawn(pending::<()>(), Location::caller()));
                    self.0.set(self.0.get() + 1);
                }
            });
        }
    }
    let home = home();
    // The last to end: before that the chunks of all others are emptied.
    let spawned = Rc::new(Cell::new(0));
    let more = SpawnsMore(Rc::clone(&spawned));
    drop(spawn(&home, async move {
        pending::<()>().await;
        drop(more);
    }));
    for _ in 0..3000 {
        drop(spawn(&home, pending::<()>()));
    }
    run(&home);
    let shared = Arc::clone(home.shared());
    drop(home);
    assert_eq!((spawned.get(), Arc::strong_count(&shared)), (3000, 1));
}

#[test]
fn chunks_are_given_back_with_their_home() {
    let home = home();
    drop(spawn(&home, pending::<()>()));
    let over = result(&home, Where([0_u8; 40]));
    let waker = result(&home, poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    assert_ne!(over.1, waker.data() as usize);
    let shared = Arc::clone(home.shared());
    drop(home);
    assert_eq!(Arc::strong_count(&shared), 2, "that of the task whose waker is there");
    drop(waker);
    assert_eq!(Arc::strong_count(&shared), 1);
}

#[test]
fn a_cell_that_comes_back_from_elsewhere_after_its_home_is_freed_there() {
    let home = home();
    let waker = result(&home, poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    let shared = Arc::clone(home.shared());
    drop(home);
    // The first is counted by home, the others elsewhere.
    let wakers = vec![waker.clone(), waker.clone(), waker];
    std::thread::scope(|scope| {
        for waker in wakers {
            scope.spawn(move || drop(waker));
        }
    });
    assert_eq!(Arc::strong_count(&shared), 1);
}

#[test]
fn a_future_whose_home_is_forgotten_is_dropped_by_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the future is dropped by whoever had the last reference");
        }
    }
    let home = home();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let (kept, bomb) = (Rc::clone(&waker), Bomb);
    let handle = spawn(
        &home,
        poll_fn(move |cx| -> Poll<()> {
            let _bomb = &bomb;
            *kept.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }),
    );
    run(&home);
    std::mem::forget(home);
    let waker = waker.take().unwrap();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    drop(handle);
}

#[test]
fn the_future_s_place_is_free_for_the_output_when_that_is_made() {
    // The drop of the future sees that there is no output yet; that of the output, no future.
    struct Tells(Rc<Cell<u32>>, u32);
    impl Drop for Tells {
        fn drop(&mut self) {
            assert_eq!(self.0.replace(self.1), self.1 - 1);
        }
    }
    let home = home();
    let order = Rc::new(Cell::new(0));
    let (future, output) = (Tells(Rc::clone(&order), 1), Tells(Rc::clone(&order), 2));
    let mut output = Some(output);
    drop(spawn(
        &home,
        poll_fn(move |_| {
            let _future = &future;
            Poll::Ready(output.take())
        }),
    ));
    run(&home);
    assert_eq!(order.get(), 2);
}

#[test]
fn references_that_are_forgotten_without_end_are_refused_before_a_count_wraps() {
    let (full, _) = Remote::NEW.merge((1 << 27) - 1);
    let full = full.share();
    assert_eq!(full.references(), 1 << 27);
    assert!(catch_unwind(|| full.share()).is_err());
    assert!(catch_unwind(|| full.wake_by_ref()).is_err(), "its message would have a reference");
    // What home counts at most has room all the same.
    let (merged, last) = full.merge(LOCAL_MAX);
    assert_eq!((merged.references(), last), ((1 << 27) + LOCAL_MAX, false));
    assert!(merged.is_merged());
}
