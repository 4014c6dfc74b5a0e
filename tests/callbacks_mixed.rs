//! Callbacks with tasks on the same thread, and with other threads.

#[path = "common/program.rs"]
mod program;

use program::{ends, run};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use whirligig::callback::{self, EventLoop};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::sync::Notify;
use whirligig::time::sleep;
use whirligig::{Runtime, Turn, spawn, yield_now};

const SOON: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::MAX;

#[test]
fn a_callback_wakes_a_task_and_a_task_closes_a_callbacks_handle() {
    run(async || {
        let (event_loop, rung) = (Rc::new(EventLoop::new()), Rc::new(Notify::new()));
        let rings = Rc::new(Cell::new(0));
        let (bell, count) = (Rc::clone(&rung), Rc::clone(&rings));
        let timer = event_loop.set_interval(SOON, move |_, _| {
            count.set(count.get() + 1);
            bell.notify_one();
        });
        let closing = Rc::clone(&event_loop);
        let task = spawn(async move {
            for _ in 0..3 {
                rung.notified().await;
            }
            assert!(closing.close(timer));
        });
        // Nothing else keeps it running: it ends because the task closed the timer.
        event_loop.run().await.unwrap();
        task.await.unwrap();
        assert_eq!(rings.get(), 3);
    });
}

#[test]
fn a_callback_spawns_a_task_that_sets_a_callback_while_the_loop_waits() {
    run(async || {
        let event_loop = Rc::new(EventLoop::new());
        let (later, heard) = (Rc::clone(&event_loop), Rc::new(Cell::new(false)));
        let (hears, forever) = (Rc::clone(&heard), event_loop.set_timeout(NEVER, |_| ()));
        event_loop.next_tick(move |_| {
            spawn(async move {
                // By then the loop has nothing to do but to wait for ever.
                sleep(2 * SOON).await;
                let event_loop = Rc::clone(&later);
                later.next_tick(move |_| {
                    hears.set(true);
                    event_loop.close(forever);
                });
            });
        });
        event_loop.run().await.unwrap();
        assert!(heard.get());
    });
}

#[test]
fn a_server_of_callbacks_talks_with_a_client_of_tasks() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let event_loop = EventLoop::new();
        let listening = event_loop.watch(listener).unwrap();
        event_loop
            .on_readable(listening, |event_loop, _, listener| {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let watch = event_loop.watch(stream)?;
                event_loop.on_readable(watch, |event_loop, watch, stream: &TcpStream| {
                    let (mut stream, mut bytes) = (stream, [0; 64]);
                    let count = stream.read(&mut bytes)?;
                    stream.write_all(&bytes[..count])?;
                    if count == 0 {
                        event_loop.close(watch);
                    }
                    Ok(())
                })
            })
            .unwrap();
        let clients = spawn(async move {
            let client = |number: u8| async move {
                let mut stream = whirligig::net::TcpStream::connect(address).await.unwrap();
                for round in 0..20 {
                    stream.write_all(&[number, round]).await.unwrap();
                    let mut back = [0; 2];
                    stream.read_exact(&mut back).await.unwrap();
                    assert_eq!(back, [number, round]);
                }
            };
            whirligig::future::join_all((0..10).map(client)).await;
        });
        let served = async {
            clients.await.unwrap();
            event_loop.close(listening);
        };
        let (served, ()) = whirligig::future::join(event_loop.run(), served).await;
        served.unwrap();
        assert_eq!(event_loop.handle_count(), 0);
    });
}

#[test]
fn two_loops_on_one_thread_wake_each_other() {
    run(async || {
        let loops = [Rc::new(EventLoop::new()), Rc::new(EventLoop::new())];
        fn serve(own: &EventLoop, other: Rc<EventLoop>, back: Rc<EventLoop>, balls: u32) {
            own.next_tick(move |_| {
                if balls > 0 {
                    let own = Rc::clone(&other);
                    serve(&own, back, other, balls - 1);
                } else {
                    other.stop();
                    back.stop();
                }
            });
        }
        let waiting = loops.each_ref().map(|event_loop| event_loop.set_timeout(NEVER, |_| ()));
        serve(&loops[0], Rc::clone(&loops[1]), Rc::clone(&loops[0]), 1001);
        let (first, second) = whirligig::future::join(loops[0].run(), loops[1].run()).await;
        first.and(second).unwrap();
        for (event_loop, timer) in loops.iter().zip(waiting) {
            assert!(event_loop.close(timer));
            event_loop.run().await.unwrap();
        }
    });
}

#[test]
fn a_run_that_is_dropped_while_it_waits_loses_nothing() {
    run(async || {
        let (event_loop, seen) = (Rc::new(EventLoop::new()), Rc::new(RefCell::new(Vec::new())));
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let watch = event_loop.watch(near).unwrap();
        let read = Rc::clone(&seen);
        event_loop
            .on_readable(watch, move |event_loop, watch, source| {
                let (mut source, mut byte) = (source, [0]);
                source.read_exact(&mut byte)?;
                read.borrow_mut().push("source");
                event_loop.close(watch);
                Ok(())
            })
            .unwrap();
        let fired = Rc::clone(&seen);
        event_loop.set_timeout(2 * SOON, move |_| fired.borrow_mut().push("timer"));
        let running = Rc::clone(&event_loop);
        let task = spawn(async move { running.run().await });
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_aborted());
        // While nobody runs it, both come about.
        far.write_all(b"x").unwrap();
        sleep(4 * SOON).await;
        assert!(seen.borrow().is_empty());
        event_loop.run().await.unwrap();
        assert_eq!(*seen.borrow(), ["timer", "source"]);
    });
}

#[test]
fn a_loop_belongs_to_the_runtime_under_which_it_watches() {
    ends(|| {
        let (event_loop, first) = (EventLoop::new(), Runtime::new().unwrap());
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        let watch = event_loop.watch(near).unwrap();
        first.block_on(async {
            event_loop.on_readable(watch, |_, _, _| Ok(())).unwrap();
        });
        far.write_all(b"x").unwrap();
        Runtime::new().unwrap().block_on(async {
            let error = event_loop.on_writable(watch, |_, _, _| Ok(())).unwrap_err();
            assert!(error.to_string().contains("another runtime"), "{error}");
        });
        event_loop.on_readable(watch, |_, _, _| Ok(())).unwrap();
        drop(first);
        assert!(event_loop.close(watch));
        whirligig::run(event_loop.run()).unwrap().unwrap();
    });
}

#[test]
fn a_stepped_runtime_runs_a_loop_and_says_how_long_it_waits() {
    ends(|| {
        let (runtime, event_loop) = (Runtime::new().unwrap(), Rc::new(EventLoop::new()));
        let running = Rc::clone(&event_loop);
        let task = runtime.spawn(async move { running.run().await });
        event_loop.set_timeout(Duration::from_secs(3600), |_| ());
        let until = loop {
            match runtime.turn().unwrap() {
                Turn::Idle { until } => break until.expect("a timer is set"),
                turn => assert_eq!(turn, Turn::Ready),
            }
        };
        assert!(until > whirligig::time::Instant::now() + Duration::from_secs(3000));
        // From outside of its turns.
        event_loop.set_timeout(Duration::ZERO, |event_loop| event_loop.stop());
        while runtime.turn().unwrap() != Turn::Done {}
        assert!(task.is_finished());
    });
}

// Other threads.

#[test]
fn no_post_is_lost_however_it_falls_together_with_the_loop_going_to_wait() {
    ends(|| {
        const THREADS: usize = 3;
        const ROUNDS: usize = 2000;
        let received = Arc::new(AtomicUsize::new(0));
        callback::run(|event_loop| {
            for thread in 0..THREADS {
                let (poster, received) = (event_loop.poster(), Arc::clone(&received));
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        let (sender, answer) = mpsc::channel();
                        let received = Arc::clone(&received);
                        poster
                            .post(move |_| {
                                received.fetch_add(1, Ordering::Relaxed);
                                // The other side has given up if this fails, and says so itself.
                                let _ = sender.send(());
                            })
                            .unwrap();
                        // Every so often nobody posts until this has run: then the loop waits, or
                        // is just about to. Unanswered, the test would hang.
                        if round % (thread + 1) == 0 {
                            answer.recv().unwrap();
                        }
                    }
                });
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(received.load(Ordering::Relaxed), THREADS * ROUNDS);
    });
}

#[test]
fn the_loop_ends_when_the_last_poster_goes_however_the_two_fall_together() {
    ends(|| {
        for round in 0..2000 {
            let ran = Arc::new(AtomicUsize::new(0));
            let thread = Rc::new(Cell::new(None));
            callback::run(|event_loop| {
                let (poster, ran) = (event_loop.poster(), Arc::clone(&ran));
                thread.set(Some(thread::spawn(move || {
                    let clone = poster.clone();
                    drop(poster);
                    if round % 2 == 0 {
                        clone.post(move |_| _ = ran.fetch_add(1, Ordering::Relaxed)).unwrap();
                    }
                })));
                Ok(())
            })
            .unwrap();
            assert_eq!(ran.load(Ordering::Relaxed), usize::from(round % 2 == 0), "{round}");
            thread.take().unwrap().join().unwrap();
        }
    });
}

#[test]
fn posts_of_one_thread_keep_their_order() {
    ends(|| {
        let (sender, receiver) = mpsc::channel();
        callback::run(|event_loop| {
            let poster = event_loop.poster();
            thread::spawn(move || {
                for number in 0..1000 {
                    let sender = sender.clone();
                    poster.post(move |_| sender.send(number).unwrap()).unwrap();
                }
            });
            Ok(())
        })
        .unwrap();
        assert!(receiver.iter().eq(0..1000));
    });
}

#[test]
fn a_poster_that_does_not_count_keeps_nothing_running_and_its_posts_wait() {
    run(async || {
        let (event_loop, ran) = (EventLoop::new(), Arc::new(AtomicUsize::new(0)));
        let poster = event_loop.poster().unref().clone();
        event_loop.run().await.unwrap();
        let count = Arc::clone(&ran);
        poster.post(move |_| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 0);
        event_loop.run().await.unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        drop(event_loop);
        assert!(poster.post(|_| ()).is_err());
    });
}
