//! Time, tasks, signals and combinators.

use crate::scene::{Scene, helper};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use whirligig::TaskSet;
use whirligig::future::{Either, join, join_all, race};
use whirligig::signal::{Signal, Signals};
use whirligig::time::{self, Instant};

const MS: Duration = Duration::from_millis(1);

pub(crate) async fn sleep(scene: Scene) -> io::Result<()> {
    let until = Instant::now() + 5 * MS;
    scene.cut.retry(async || time::sleep_until(until).await).await;
    assert!(Instant::now() >= until);
    let begun = Instant::now();
    scene.cut.retry(async || time::sleep(MS).await).await;
    assert!(Instant::now() >= begun + MS);
    Ok(())
}

pub(crate) async fn timeout(scene: Scene) -> io::Result<()> {
    let ended = scene.cut.retry(async || time::timeout(2 * MS, std::future::pending::<()>()).await);
    assert!(ended.await.is_err());
    let at = Instant::now() + 2 * MS;
    let ended = scene.cut.retry(async || time::timeout_at(at, time::sleep(MS)).await).await;
    assert!(ended.is_ok() || Instant::now() >= at);
    Ok(())
}

pub(crate) async fn tick(scene: Scene) -> io::Result<()> {
    let mut interval = time::interval(MS);
    let first = interval.tick().await;
    let mut before = first;
    for _ in 0..4 {
        let tick = scene.cut.retry(async || interval.tick().await).await;
        assert!(tick > before && Instant::now() >= tick, "each tick once, and none early");
        assert_eq!((tick - first).as_nanos() % MS.as_nanos(), 0, "the grid stays");
        before = tick;
    }
    Ok(())
}

pub(crate) async fn yield_now(scene: Scene) -> io::Result<()> {
    scene.cut.retry(async || whirligig::yield_now().await).await;
    Ok(())
}

pub(crate) async fn join_handle(scene: Scene) -> io::Result<()> {
    let mut handle = whirligig::spawn(async {
        time::sleep(2 * MS).await;
        42
    });
    let output = scene.cut.retry(async || (&mut handle).await).await;
    assert_eq!(output.map_err(io::Error::other)?, 42);
    Ok(())
}

pub(crate) async fn task_set_next(scene: Scene) -> io::Result<()> {
    let mut set = TaskSet::new();
    for number in 1..=3_u32 {
        set.spawn(async move {
            time::sleep(number * MS).await;
            number
        });
    }
    let mut sum = 0;
    while let Some(next) = scene.cut.retry(async || set.next().await).await {
        sum += next.map_err(io::Error::other)?;
    }
    assert_eq!(sum, 6, "no output is lost");
    Ok(())
}

/// A value that is counted as long as it is there.
struct Counted(Rc<Cell<u32>>);

impl Counted {
    fn new(count: &Rc<Cell<u32>>) -> Counted {
        count.set(count.get() + 1);
        Counted(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn after(ticks: u32, value: Counted) -> Counted {
    time::sleep(ticks * MS).await;
    value
}

pub(crate) async fn join_two(scene: Scene) -> io::Result<()> {
    let count = Rc::new(Cell::new(0));
    let both = join(after(1, Counted::new(&count)), after(3, Counted::new(&count)));
    match scene.cut.poll(both).await {
        Some(both) => assert_eq!((count.get(), drop(both)), (2, ())),
        None => assert_eq!(count.get(), 0, "futures and outputs are dropped"),
    }
    Ok(())
}

pub(crate) async fn join_many(scene: Scene) -> io::Result<()> {
    let count = Rc::new(Cell::new(0));
    let all = join_all((1..4).map(|ticks| after(ticks, Counted::new(&count))));
    match scene.cut.poll(all).await {
        Some(all) => assert_eq!((all.len(), count.get()), (3, 3)),
        None => assert_eq!(count.get(), 0, "futures and outputs are dropped"),
    }
    Ok(())
}

pub(crate) async fn race_two(scene: Scene) -> io::Result<()> {
    let count = Rc::new(Cell::new(0));
    let raced = race(after(3, Counted::new(&count)), after(2, Counted::new(&count)));
    match scene.cut.poll(raced).await {
        Some(Either::Second(_winner)) => assert_eq!(count.get(), 1, "the loser is dropped"),
        Some(Either::First(_)) => panic!("it takes longer"),
        None => assert_eq!(count.get(), 0),
    }
    Ok(())
}

pub(crate) async fn recv_signal(scene: Scene) -> io::Result<()> {
    let mut signals = Signals::new(&[Signal::Hangup])?;
    let world = scene.world.clone();
    let sender = helper(async move {
        for _ in 0..2 {
            time::sleep(20 * MS).await;
            world.signal(crate::scene::HOST, Signal::Hangup);
        }
    });
    for _ in 0..2 {
        let signal = scene.cut.retry(async || signals.recv().await).await?;
        assert_eq!(signal, Signal::Hangup);
    }
    sender.join().await;
    Ok(())
}

pub(crate) async fn blocking(scene: Scene) -> io::Result<()> {
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tells = std::sync::Arc::clone(&ended);
    let work = whirligig::blocking::run(move || {
        tells.store(true, std::sync::atomic::Ordering::Relaxed);
        7
    });
    if let Some(output) = scene.cut.poll(work).await {
        assert_eq!(output?, 7);
    }
    Ok(())
}
