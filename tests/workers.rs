//! Runtimes on several threads, and tasks that are spawned from elsewhere.

use std::cell::Cell;
use std::collections::HashSet;
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpSocket, TcpStream};
use whirligig::sync::oneshot;
use whirligig::{Handle, Runtime, WorkerEvent, Workers, yield_now};

/// Long enough for anything that happens at all.
const PLENTY: Duration = Duration::from_secs(60);

fn start(count: usize) -> Workers {
    Runtime::builder().workers(count).unwrap()
}

fn wait<T>(tasks: Vec<whirligig::task::JoinHandle<T>>) -> Vec<T> {
    whirligig::run(async {
        let mut outputs = Vec::new();
        for task in tasks {
            outputs.push(task.await.unwrap());
        }
        outputs
    })
    .unwrap()
}

#[test]
fn each_worker_has_a_thread_of_its_own() {
    let workers = start(3);
    let tell = |index| async move {
        yield_now().await;
        (index, thread::current().id(), thread::current().name().map(String::from))
    };
    let told = wait(workers.spawn_on_each(tell));
    let threads: HashSet<ThreadId> = told.iter().map(|(_, thread, _)| *thread).collect();
    assert_eq!(threads.len(), 3);
    for (place, (index, _, name)) in told.into_iter().enumerate() {
        assert_eq!((index, name), (place, Some(format!("worker-{place}"))));
    }
}

#[test]
fn workers_take_tasks_in_turn() {
    let workers = start(2);
    let threads =
        wait((0..6).map(|_| workers.spawn(|| async { thread::current().id() })).collect());
    assert_eq!(threads[0], threads[2]);
    assert_eq!(threads[1], threads[3]);
    assert_ne!(threads[0], threads[1]);
}

#[test]
fn what_is_spawned_from_elsewhere_need_not_be_send_and_is_dropped_at_home() {
    struct Note(mpsc::Sender<ThreadId>, Rc<Cell<u32>>);
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    let (dropped, drops) = mpsc::channel();
    let task = thread::spawn(move || {
        handle.spawn(move || async move {
            let note = Note(dropped, Rc::new(Cell::new(6)));
            yield_now().await;
            note.1.get() * 7
        })
    });
    assert_eq!(runtime.block_on(task.join().unwrap()).unwrap(), 42);
    assert_eq!(drops.recv(), Ok(thread::current().id()));
}

#[test]
fn a_task_that_is_spawned_from_elsewhere_wakes_a_runtime_that_waits() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    let (done, is_done) = oneshot::channel();
    let other = thread::spawn(move || {
        // Before or after it waits: both have to do.
        while !handle.is_parked() {
            thread::yield_now();
        }
        handle.spawn(move || async move { done.send(Handle::current().is_some()) })
    });
    assert_eq!(runtime.block_on(is_done), Ok(true));
    drop(other.join().unwrap());
}

#[test]
fn what_is_spawned_on_a_runtime_that_is_gone_is_aborted_and_let_go() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    drop(runtime);
    let inside = Arc::new(());
    let kept = Arc::clone(&inside);
    let task = handle.spawn(move || async move {
        let _kept = kept;
        pending::<()>().await;
    });
    assert_eq!(Arc::strong_count(&inside), 1);
    assert!(task.is_finished());
    let error = whirligig::run(task).unwrap().unwrap_err();
    assert!(error.is_aborted());
}

#[test]
fn what_was_not_yet_taken_in_when_its_runtime_goes_is_aborted() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    let inside = Arc::new(());
    let kept = Arc::clone(&inside);
    let task = handle.spawn(move || async move { drop(kept) });
    drop(runtime);
    assert_eq!(Arc::strong_count(&inside), 1);
    assert!(whirligig::run(task).unwrap().unwrap_err().is_aborted());
}

#[test]
fn what_is_spawned_on_a_runtime_that_is_being_dropped_is_aborted_at_once() {
    struct Spawns(Handle, mpsc::Sender<bool>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let handle = self.0.clone();
            let elsewhere = thread::spawn(move || handle.spawn(pending::<()>).is_finished());
            self.1.send(elsewhere.join().unwrap()).unwrap();
            self.1.send(self.0.spawn(pending::<()>).is_finished()).unwrap();
        }
    }
    let runtime = Runtime::new().unwrap();
    let (told, is_told) = mpsc::channel();
    let spawns = Spawns(runtime.handle(), told);
    drop(runtime.spawn(async move {
        let _spawns = spawns;
        pending::<()>().await;
    }));
    drop(runtime);
    // Or there would be no end to those who spawn faster than the runtime ends what they spawn.
    assert_eq!(is_told.iter().collect::<Vec<_>>(), [true, true]);
}

#[test]
fn a_panic_in_make_arrives_at_the_join() {
    let workers = start(1);
    let task = workers.spawn(|| {
        if Handle::current().is_some() {
            panic!("no future");
        }
        async {}
    });
    let error = whirligig::run(task).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "task panicked: no future");
    assert_eq!(workers.shutdown(PLENTY), Ok(()));
}

#[test]
fn an_abort_from_elsewhere_before_the_first_poll_drops_what_was_to_be_made() {
    let runtime = Runtime::new().unwrap();
    let called = Arc::new(AtomicBool::new(false));
    let calls = Arc::clone(&called);
    let task = runtime.handle().spawn(move || {
        calls.store(true, Ordering::SeqCst);
        async {}
    });
    task.abort();
    assert!(runtime.block_on(task).unwrap_err().is_aborted());
    assert!(!called.load(Ordering::SeqCst));
    assert_eq!(Arc::strong_count(&called), 1);
}

#[test]
fn threads_that_spawn_join_and_abort_while_workers_go_do_no_harm() {
    let live = Arc::new(AtomicUsize::new(0));
    struct Live(Arc<AtomicUsize>);
    impl Drop for Live {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    for round in 0..20 {
        let workers = Arc::new(start(2));
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (workers, live) = (Arc::clone(&workers), Arc::clone(&live));
                thread::spawn(move || {
                    for step in 0..200 {
                        live.fetch_add(1, Ordering::SeqCst);
                        let inside = Live(Arc::clone(&live));
                        let task = workers.spawn(move || async move {
                            let _inside = inside;
                            for _ in 0..step % 3 {
                                yield_now().await;
                            }
                        });
                        match (step + number + round) % 3 {
                            0 => drop(task),
                            1 => task.abort(),
                            _ => drop(whirligig::run(task)),
                        }
                    }
                })
            })
            .collect();
        if round % 2 == 0 {
            for thread in threads {
                thread.join().unwrap();
            }
            drop(workers);
        } else {
            drop(workers);
            for thread in threads {
                thread.join().unwrap();
            }
        }
        assert_eq!(live.load(Ordering::SeqCst), 0, "round {round}");
    }
}

#[test]
fn a_worker_that_hangs_is_reported_and_also_that_it_came_back() {
    let workers = start(2);
    let (report, reports) = mpsc::channel();
    workers.watch(Duration::from_millis(20), move |event| report.send(event).unwrap()).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let task = workers.spawn(move || async move { released.recv() });
    match reports.recv_timeout(PLENTY).unwrap() {
        WorkerEvent::Silent { name, lasting } => {
            assert_eq!(name, "worker-0");
            assert!(lasting >= Duration::from_millis(20));
        }
        other => panic!("{other:?}"),
    }
    drop(release);
    assert!(wait(vec![task])[0].is_err());
    let resumed = WorkerEvent::Resumed { name: "worker-0".into() };
    assert_eq!(reports.recv_timeout(PLENTY), Ok(resumed));
    let again = workers.watch(PLENTY, |_| ());
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    drop(workers);
    // The watch ends with what it watches.
    assert_eq!(reports.recv_timeout(PLENTY), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_shutdown_names_those_who_do_not_end_in_time() {
    let workers = start(2);
    let (began, is_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let task = workers.spawn(move || async move {
        began.send(()).unwrap();
        released.recv()
    });
    is_begun.recv().unwrap();
    let error = workers.shutdown(Duration::from_millis(1)).unwrap_err();
    assert!(error.stragglers.contains(&"worker-0".to_string()), "{error}");
    assert_eq!(error.panicked, [""; 0]);
    drop(release);
    // Its task comes to its end all the same: it was being polled.
    assert!(wait(vec![task])[0].is_err());
}

#[test]
fn tasks_of_workers_that_are_dropped_are_aborted() {
    let workers = start(2);
    let tasks = workers.spawn_on_each(|_| pending::<()>());
    drop(workers);
    for task in tasks {
        assert!(whirligig::run(task).unwrap().unwrap_err().is_aborted());
    }
}

#[test]
fn workers_may_be_dropped_by_a_task_of_their_own() {
    let workers = Arc::new(start(1));
    let handle = workers.handle(0).unwrap().clone();
    let (gone, is_gone) = mpsc::channel();
    let task = handle.spawn(move || async move {
        drop(workers);
        gone.send(()).unwrap();
    });
    assert_eq!(is_gone.recv_timeout(PLENTY), Ok(()));
    drop(task);
}

#[test]
fn a_worker_that_shuts_all_down_waits_for_the_others_and_not_for_itself() {
    let workers = start(2);
    let handle = workers.handle(0).unwrap().clone();
    let (told, is_told) = mpsc::channel();
    drop(handle.spawn(move || async move { told.send(workers.shutdown(Duration::MAX)) }));
    let error = is_told.recv_timeout(PLENTY).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "not ended in time: worker-0");
}

#[test]
fn no_workers_are_an_error() {
    let error = Runtime::builder().workers(0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn listeners_that_share_a_port_share_the_connections() {
    let listen = |port: u16| {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuse_port(true)?;
        socket.bind(([127, 0, 0, 1], port).into())?;
        socket.listen(128).map(TcpListener::detach)
    };
    let first = listen(0).unwrap();
    let address = first.local_addr().unwrap();
    let second = listen(address.port()).unwrap();
    let workers = start(2);
    let served: Vec<_> = [first, second]
        .into_iter()
        .enumerate()
        .map(|(index, listener)| {
            let served = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&served);
            let serve = move || async move {
                let listener = listener.attach();
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(b"x").await.unwrap();
                }
            };
            drop(workers.handle(index).unwrap().spawn(serve));
            served
        })
        .collect();
    whirligig::run(async {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
        }
    })
    .unwrap();
    let served: Vec<usize> = served.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert_eq!(served.iter().sum::<usize>(), 100);
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
}
