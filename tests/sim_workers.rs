//! Workers in a simulated world: they take turns in virtual time, as their hosts do.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{DetachedListener, TcpListener, TcpSocket, TcpStream};
use whirligig::sim::{Fault, Faults, World, seeds_twice, twice};
use whirligig::sync::{mpsc, oneshot};
use whirligig::time::{Instant, sleep};
use whirligig::{Runtime, Workers};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn start(count: usize) -> Workers {
    Runtime::builder().workers(count).unwrap()
}

fn listen(port: u16) -> io::Result<DetachedListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuse_port(true)?;
    socket.bind(([0, 0, 0, 0], port).into())?;
    socket.listen(128).map(TcpListener::detach)
}

/// Tells whoever connects the number of the worker that serves him.
async fn serve(listener: DetachedListener, number: u8) -> io::Result<()> {
    let listener = listener.attach();
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(&[number]).await?;
    }
}

/// A program with three workers, which serve until `world` ends it.
async fn server() -> io::Result<()> {
    let workers = start(3);
    let mut tasks = Vec::new();
    for index in 0..3 {
        let listener = listen(80)?;
        let worker = workers.handle(index).unwrap();
        tasks.push(worker.spawn(move || serve(listener, index as u8)));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn ask() -> io::Result<usize> {
    let mut byte = [0];
    TcpStream::connect("server:80").await?.read_exact(&mut byte).await?;
    Ok(byte[0].into())
}

#[test]
fn workers_share_the_connections_of_a_port() {
    twice(1, |world| {
        world.host("server", server);
        let served = world.run_until(async {
            sleep(MS(1)).await;
            let mut served = [0; 3];
            for _ in 0..60 {
                served[ask().await.unwrap()] += 1;
            }
            served
        });
        assert_eq!(served.iter().sum::<i32>(), 60);
        assert!(served.iter().all(|count| *count > 5), "{served:?}");
        assert_eq!(world.counts("server").unwrap().descriptors, 2 + 3 * 2 + 3);
        world.finish();
    });
}

#[test]
fn each_seed_has_a_run_of_its_own() {
    let run = |seed| {
        twice(seed, |world| {
            world.host("server", server);
            world.run_for(MS(1));
            let faults = Faults::none().with(Fault::Interrupt, 100_000);
            world.set_faults(faults.with(Fault::Stall, 50_000));
            world.run_until(async {
                for _ in 0..20 {
                    ask().await.unwrap();
                }
            });
            world.set_faults(Faults::none());
            world.finish();
            world.hash()
        })
    };
    assert_ne!(run(7), run(8));
}

#[test]
fn a_crash_takes_the_workers_along_and_a_restart_brings_new_ones() {
    twice(2, |world| {
        world.host("server", server);
        let own = world.clone();
        world.run_until(async move {
            sleep(MS(1)).await;
            ask().await.unwrap();
            own.crash("server");
            assert_eq!(own.counts("server"), None);
            own.restart("server");
            sleep(MS(1)).await;
            ask().await.unwrap();
            assert_eq!(own.counts("server").unwrap().descriptors, 2 + 3 * 2 + 3);
        });
        world.finish();
    });
}

#[test]
fn a_program_that_crashes_in_a_turn_of_its_worker_is_gone_with_all_of_it() {
    twice(2, |world| {
        let own = Rc::new(Cell::new(Some(world.clone())));
        world.host("server", move || {
            let world = own.take();
            async move {
                let workers = start(2);
                thread_local! {
                    static WORLD: Cell<Option<World>> = const { Cell::new(None) };
                }
                WORLD.set(world);
                let crash = || async { WORLD.take().unwrap().crash("server") };
                drop(workers.spawn(crash));
                pending::<()>().await;
                drop(workers);
                Ok(())
            }
        });
        world.run_for(MS(1));
        assert_eq!(world.counts("server"), None);
        world.finish();
    });
}

#[test]
fn workers_wake_each_other_and_sleep_in_virtual_time() {
    twice(3, |world| {
        let elapsed = world.run_until(async {
            let workers = start(2);
            let (there, mut arriving) = mpsc::channel(1);
            let (back, mut coming_back) = mpsc::channel(1);
            let far = workers.spawn(move || async move {
                while let Some(number) = arriving.recv().await {
                    sleep(Duration::from_secs(3600)).await;
                    back.send(number + 1_u32).await.unwrap();
                }
            });
            let near = workers.spawn(move || async move {
                let mut number = 0;
                for _ in 0..10 {
                    there.send(number).await.unwrap();
                    number = coming_back.recv().await.unwrap();
                }
                number
            });
            let start = Instant::now();
            assert_eq!(near.await.unwrap(), 10);
            far.await.unwrap();
            workers.shutdown(Duration::ZERO).unwrap();
            start.elapsed()
        });
        assert!(
            (0..10).contains(&(elapsed - Duration::from_secs(36_000)).as_millis()),
            "{elapsed:?}"
        );
        assert_eq!(world.counts("main"), None);
        world.finish();
    });
}

#[test]
fn shutting_down_drops_their_tasks_at_once() {
    /// Tells that it is dropped.
    struct Told(Arc<Mutex<Vec<&'static str>>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("dropped");
        }
    }
    twice(4, |world| {
        let told = Arc::new(Mutex::new(Vec::new()));
        world.run_until(async {
            let workers = start(2);
            let (started, is_started) = oneshot::channel();
            let own = Told(Arc::clone(&told));
            let task = workers.spawn(move || async move {
                let _own = own;
                started.send(()).unwrap();
                pending::<()>().await;
            });
            is_started.await.unwrap();
            told.lock().unwrap().push("stopped");
            workers.shutdown(Duration::ZERO).unwrap();
            told.lock().unwrap().push("ended");
            assert!(task.await.unwrap_err().is_aborted());
        });
        assert_eq!(*told.lock().unwrap(), ["stopped", "dropped", "ended"]);
        world.finish();
    });
}

#[test]
fn a_worker_that_shuts_all_down_ends_after_its_turn() {
    twice(5, |world| {
        let report = world.run_until(async {
            let workers = start(2);
            let handle = workers.handle(1).unwrap().clone();
            let (told, is_told) = oneshot::channel();
            let down = move || async move { drop(told.send(workers.shutdown(Duration::MAX))) };
            drop(handle.spawn(down));
            is_told.await.unwrap().unwrap_err().to_string()
        });
        assert_eq!(report, "not ended in time: worker-1");
        world.run_for(MS(1));
        world.finish();
    });
}

#[test]
fn there_is_nothing_to_tell_of_a_worlds_workers() {
    twice(6, |world| {
        world.run_until(async {
            let workers = start(2);
            workers.watch(MS(1), |event| panic!("{event}")).unwrap();
            let again = workers.watch(MS(1), |_| {}).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
            sleep(Duration::from_secs(1)).await;
            let panics = workers.spawn(|| async { panic!("in a task") });
            assert!(panics.await.unwrap_err().is_panic());
            workers.shutdown(Duration::ZERO).unwrap();
        });
        world.finish();
    });
}

#[test]
fn workers_that_can_not_all_be_started_leave_none() {
    twice(7, |world| {
        world.set_descriptors_max("main", 9);
        let own = world.clone();
        world.run_until(async move {
            let error = Runtime::builder().workers(3).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(24), "{error}");
            assert_eq!(own.counts("main").unwrap().descriptors, 2);
        });
        world.finish();
    });
}

#[test]
fn the_seeds_explore_the_order_in_which_workers_run() {
    let firsts = [const { AtomicUsize::new(0) }; 3];
    let report = seeds_twice(0..30, |world| {
        let first = world.run_until(async {
            let workers = start(3);
            let is_taken = Arc::new(AtomicBool::new(false));
            let tasks = workers.spawn_on_each(move |index| {
                let is_taken = Arc::clone(&is_taken);
                async move { (!is_taken.swap(true, Ordering::SeqCst)).then_some(index) }
            });
            let mut first = None;
            for task in tasks {
                first = task.await.unwrap().or(first);
            }
            first.unwrap()
        });
        firsts[first].fetch_add(1, Ordering::Relaxed);
        world.finish();
    });
    report.check();
    assert!(firsts.iter().all(|count| count.load(Ordering::Relaxed) > 5), "{firsts:?}");
}

#[test]
fn workers_of_main_go_on_in_its_next_run_and_what_is_left_of_them_is_found() {
    twice(8, |world| {
        let turns = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&turns);
        let workers = world.run_until(async {
            let workers = start(2);
            drop(workers.spawn(|| async move {
                loop {
                    count.fetch_add(1, Ordering::SeqCst);
                    sleep(MS(1)).await;
                }
            }));
            workers
        });
        world.run_for(MS(100));
        assert!((95..=101).contains(&turns.load(Ordering::SeqCst)), "{turns:?}");
        let finished = catch_unwind(AssertUnwindSafe(|| world.finish()));
        let left = *finished.unwrap_err().downcast::<String>().unwrap();
        // Their handles can wake them still.
        assert!(left.ends_with("join handles of \"main\" are left"), "{left}");
        assert_eq!(Arc::strong_count(&turns), 1, "their tasks are gone");
        drop(workers);
        world.finish();
    });
}
