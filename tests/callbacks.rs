//! The event loop of callbacks: what runs when, what may be done from where, and how it ends.

mod common;
#[path = "common/program.rs"]
mod program;

use program::ends;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use whirligig::callback::{self, EventLoop, Timer, Watch};
use whirligig::time::Instant;
use whirligig::{Runtime, Turn, yield_now};

/// What happened, in its order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: impl ToString) {
        self.0.lock().unwrap().push(what.to_string());
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(" ")
    }
}

/// Runs `program` with a loop of its own; afterwards nothing may be registered.
fn with_loop<F: Future<Output = ()>>(
    program: impl FnOnce(Rc<EventLoop>, Log) -> F + Send + 'static,
) {
    ends(|| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(program(Rc::new(EventLoop::new()), Log::default()));
        assert_eq!(runtime.source_and_timer_counts(), (0, 0), "sources and timers stay behind");
    });
}

/// A pair of connected sockets that do not block.
fn pair() -> (UnixStream, UnixStream) {
    let (first, second) = UnixStream::pair().unwrap();
    first.set_nonblocking(true).unwrap();
    second.set_nonblocking(true).unwrap();
    (first, second)
}

const SOON: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::MAX;

// What runs when.

#[test]
fn a_turn_runs_ticks_posts_timers_and_sources_and_then_closes() {
    ends(|| {
        let (runtime, event_loop) = (Runtime::new().unwrap(), Rc::new(EventLoop::new()));
        let (log, (reader, mut writer)) = (Log::default(), pair());
        let watch = event_loop.watch(reader).unwrap();
        let (ticked, posted, timed, read) = (log.clone(), log.clone(), log.clone(), log.clone());
        let timer = event_loop.set_timeout(NEVER, move |event_loop| {
            timed.add("timer");
            let ticked = timed.clone();
            event_loop.next_tick(move |_| ticked.add("its-tick"));
        });
        let running = Rc::clone(&event_loop);
        let task = runtime.spawn(async move {
            let callback = move |event_loop: &EventLoop, watch, _: &UnixStream| {
                read.add("source");
                let closed = read.clone();
                event_loop.close_then(watch, move |_| closed.add("closed"));
                Ok(())
            };
            running.on_readable(watch, callback)?;
            running.run().await
        });
        while runtime.turn().unwrap() == Turn::Ready {}
        writer.write_all(b"x").unwrap();
        event_loop.reset(timer, Duration::ZERO);
        event_loop.poster().post(move |_| posted.add("post")).unwrap();
        event_loop.next_tick(move |_| ticked.add("tick"));
        let closed = log.clone();
        event_loop.close_then(event_loop.set_timeout(NEVER, |_| ()), move |_| closed.add("first"));
        // One turn of the runtime is one of the loop.
        let _ = runtime.turn().unwrap();
        assert_eq!(log.take(), "tick post timer its-tick source first closed");
        runtime.block_on(task).unwrap().unwrap();
    });
}

#[test]
fn timers_fire_by_deadline_and_equal_ones_in_the_order_they_were_set() {
    with_loop(async |event_loop, log| {
        let base = Duration::from_millis(3);
        for (name, after) in [("c", 2 * base), ("a", base), ("d", 3 * base), ("b", base)] {
            let log = log.clone();
            event_loop.set_timeout(after, move |_| log.add(name));
        }
        // All are due in one turn.
        thread::sleep(4 * base);
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "a b c d");
    });
}

#[test]
fn no_timer_fires_early() {
    with_loop(async |event_loop, log| {
        for after in [0, 1, 7, 1300, 5000].map(Duration::from_micros) {
            let (log, set) = (log.clone(), Instant::now());
            event_loop.set_timeout(after, move |_| {
                assert!(set.elapsed() >= after);
                log.add("fired");
            });
        }
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "fired fired fired fired fired");
    });
}

#[test]
fn an_interval_fires_until_it_is_closed_and_leaves_out_what_it_missed() {
    with_loop(async |event_loop, log| {
        let (times, start) = (Rc::new(RefCell::new(Vec::new())), Instant::now());
        let seen = Rc::clone(&times);
        event_loop.set_interval(SOON, move |event_loop, timer| {
            seen.borrow_mut().push(start.elapsed());
            if seen.borrow().len() == 2 {
                thread::sleep(10 * SOON);
            }
            if seen.borrow().len() == 4 {
                event_loop.close(timer);
            }
        });
        event_loop.run().await.unwrap();
        let times = times.borrow();
        assert_eq!(times.len(), 4);
        for (index, time) in times.iter().enumerate() {
            assert!(*time >= SOON * (index as u32 + 1), "{times:?}");
        }
        assert!(times[2] >= 12 * SOON, "{times:?}");
        assert_eq!(log.take(), "");
    });
}

#[test]
fn a_tick_runs_before_any_other_callback_and_ticks_keep_their_order() {
    with_loop(async |event_loop, log| {
        let (first, second) = (log.clone(), log.clone());
        event_loop.set_timeout(Duration::ZERO, move |event_loop| {
            first.add("first");
            for name in ["1", "2"] {
                let log = first.clone();
                event_loop.next_tick(move |event_loop| {
                    log.add(name);
                    event_loop.next_tick(move |_| log.add(format!("{name}'s")));
                });
            }
        });
        event_loop.set_timeout(Duration::ZERO, move |_| second.add("second"));
        thread::sleep(SOON);
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "first 1 2 1's 2's second");
    });
}

#[test]
fn ticks_that_add_ticks_without_end_starve_neither_timers_nor_sources() {
    fn again(event_loop: &EventLoop, on: Rc<Cell<bool>>) {
        if on.get() {
            event_loop.next_tick(move |event_loop| again(event_loop, on));
        }
    }
    with_loop(async |event_loop, log| {
        let on = Rc::new(Cell::new(true));
        again(&event_loop, Rc::clone(&on));
        let (reader, mut writer) = pair();
        let watch = event_loop.watch(reader).unwrap();
        let timed = log.clone();
        event_loop.set_timeout(SOON, move |_| {
            timed.add("timer");
            writer.write_all(b"x").unwrap();
        });
        let read = log.clone();
        event_loop
            .on_readable(watch, move |event_loop, watch, _| {
                read.add("source");
                event_loop.close(watch);
                on.set(false);
                Ok(())
            })
            .unwrap();
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "timer source");
    });
}

#[test]
fn a_timer_of_zero_set_by_a_timer_waits_for_the_next_turn() {
    fn again(event_loop: &EventLoop, on: Rc<Cell<bool>>) {
        if on.get() {
            event_loop.set_timeout(Duration::ZERO, move |event_loop| again(event_loop, on));
        }
    }
    with_loop(async |event_loop, _| {
        let on = Rc::new(Cell::new(true));
        again(&event_loop, Rc::clone(&on));
        // A task has its turn between two turns of the loop.
        let task = whirligig::spawn(async move {
            yield_now().await;
            on.set(false);
        });
        event_loop.run().await.unwrap();
        task.await.unwrap();
    });
}

// Sources.

#[test]
fn a_source_is_reported_turn_after_turn_until_it_is_read() {
    with_loop(async |event_loop, log| {
        let (reader, mut writer) = pair();
        writer.write_all(b"abc").unwrap();
        drop(writer);
        let watch = event_loop.watch(reader).unwrap();
        let read = log.clone();
        event_loop
            .on_readable(watch, move |event_loop, watch, source| {
                let (mut source, mut byte) = (source, [0]);
                match source.read(&mut byte)? {
                    0 => assert!(event_loop.close(watch)),
                    _ => read.add(byte[0] as char),
                }
                Ok(())
            })
            .unwrap();
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "a b c");
    });
}

#[test]
fn a_callback_that_would_block_runs_again_only_when_more_comes() {
    with_loop(async |event_loop, log| {
        let (reader, mut writer) = pair();
        let watch = event_loop.watch(reader).unwrap();
        let read = log.clone();
        writer.write_all(b"a").unwrap();
        event_loop
            .on_readable(watch, move |event_loop, watch, source| {
                let (mut source, mut bytes) = (source, [0; 8]);
                read.add("called");
                loop {
                    let count = source.read(&mut bytes)?;
                    read.add(String::from_utf8_lossy(&bytes[..count]));
                    if count == 2 {
                        event_loop.close(watch);
                        return Ok(());
                    }
                }
            })
            .unwrap();
        event_loop.set_timeout(5 * SOON, move |_| writer.write_all(b"bc").unwrap());
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "called a called bc");
    });
}

#[test]
fn a_blocking_descriptor_is_reported_only_while_it_is_ready() {
    with_loop(async |event_loop, log| {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        let watch = event_loop.watch(reader).unwrap();
        let read = log.clone();
        writer.write_all(b"a").unwrap();
        event_loop
            .on_readable(watch, move |event_loop, watch, source| {
                let (mut source, mut byte) = (source, [0]);
                // It would wait here for ever if there were nothing to read.
                source.read_exact(&mut byte)?;
                read.add(byte[0] as char);
                if byte == *b"b" {
                    event_loop.close(watch);
                }
                Ok(())
            })
            .unwrap();
        event_loop.set_timeout(2 * SOON, move |_| writer.write_all(b"b").unwrap());
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "a b");
    });
}

#[test]
fn a_callback_that_is_set_again_is_told_what_is_so_now() {
    with_loop(async |event_loop, log| {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        let watch = event_loop.watch(reader).unwrap();
        let read = log.clone();
        let once = move |event_loop: &EventLoop, watch, source: &UnixStream| {
            let (mut source, mut byte) = (source, [0]);
            // As above: this descriptor blocks.
            source.read_exact(&mut byte)?;
            read.add(byte[0] as char);
            event_loop.off_readable(watch);
            Ok(())
        };
        for byte in [b"a", b"b"] {
            event_loop.on_readable(watch, once.clone()).unwrap();
            let mut writer = writer.try_clone().unwrap();
            event_loop.set_timeout(SOON, move |_| writer.write_all(byte).unwrap());
            event_loop.run().await.unwrap();
        }
        // Written while it had no callback.
        writer.write_all(b"c").unwrap();
        event_loop.on_readable(watch, once).unwrap();
        event_loop.run().await.unwrap();
        event_loop.close(watch);
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "a b c");
    });
}

#[test]
fn a_source_is_read_and_written_by_callbacks_of_its_own() {
    with_loop(async |event_loop, log| {
        let (near, far) = pair();
        const BYTES: usize = 4 << 20;
        let near = event_loop.watch(near).unwrap();
        let far = event_loop.watch(far).unwrap();
        // Both ends write and read all at once.
        for watch in [near, far] {
            let (mut written, mut read, done) = (0, 0, log.clone());
            event_loop
                .on_writable(watch, move |event_loop, watch, source| {
                    let (mut source, chunk) = (source, [7; 1 << 16]);
                    written += source.write(&chunk[..chunk.len().min(BYTES - written)])?;
                    if written == BYTES {
                        assert!(event_loop.off_writable(watch));
                    }
                    Ok(())
                })
                .unwrap();
            event_loop
                .on_readable(watch, move |event_loop, watch, source| {
                    let (mut source, mut chunk) = (source, [0; 1 << 16]);
                    read += source.read(&mut chunk)?;
                    if read == BYTES {
                        assert!(event_loop.off_readable(watch));
                        done.add("done");
                    }
                    Ok(())
                })
                .unwrap();
        }
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "done done");
        assert_eq!(event_loop.handle_count(), 2, "without callbacks they keep nothing running");
        event_loop.close(near);
        event_loop.close(far);
        event_loop.run().await.unwrap();
    });
}

#[test]
fn a_file_on_a_disk_can_not_be_watched_and_says_so() {
    with_loop(async |event_loop, _| {
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let watch = event_loop.watch(file).unwrap();
        let error = event_loop.on_readable(watch, |_, _, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        event_loop.run().await.unwrap();
        assert!(event_loop.close(watch));
        let error = event_loop.on_readable(watch, |_, _, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        event_loop.run().await.unwrap();
    });
}

// Handles.

#[test]
fn a_closed_handle_never_calls_though_its_event_came_in_the_same_turn() {
    with_loop(async |event_loop, log| {
        let watches: Rc<RefCell<Vec<Watch<UnixStream>>>> = Rc::default();
        let mut writers = Vec::new();
        for _ in 0..2 {
            let (reader, mut writer) = pair();
            writer.write_all(b"x").unwrap();
            writers.push(writer);
            let watch = event_loop.watch(reader).unwrap();
            watches.borrow_mut().push(watch);
            let (log, watches) = (log.clone(), Rc::clone(&watches));
            event_loop
                .on_readable(watch, move |event_loop, _, _| {
                    log.add("called");
                    watches.borrow().iter().for_each(|watch| assert!(event_loop.close(*watch)));
                    Ok(())
                })
                .unwrap();
        }
        let timers: Rc<RefCell<Vec<Timer>>> = Rc::default();
        for _ in 0..2 {
            let (log, others) = (log.clone(), Rc::clone(&timers));
            let timer = event_loop.set_timeout(Duration::ZERO, move |event_loop| {
                log.add("fired");
                let closed: Vec<bool> =
                    others.borrow().iter().map(|timer| event_loop.close(*timer)).collect();
                assert_eq!(closed, [false, true], "the first fired, the second was to");
            });
            timers.borrow_mut().push(timer);
        }
        thread::sleep(SOON);
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "fired called");
        assert_eq!(event_loop.handle_count(), 0);
    });
}

#[test]
fn what_a_handle_held_is_dropped_in_the_closing_phase_and_not_before() {
    struct Noisy(Log, &'static str);
    impl Drop for Noisy {
        fn drop(&mut self) {
            self.0.add(self.1);
        }
    }
    with_loop(async |event_loop, log| {
        let held = Noisy(log.clone(), "dropped");
        let (after, timed) = (log.clone(), log.clone());
        event_loop.set_interval(SOON, move |event_loop, timer| {
            assert!(event_loop.close(timer));
            let log = after.clone();
            event_loop.close_then(event_loop.set_timeout(NEVER, |_| ()), move |_| log.add("then"));
            // A timer that is due in the same turn comes before.
            held.0.add("closed itself");
        });
        event_loop.set_timeout(SOON, move |_| timed.add("other"));
        thread::sleep(2 * SOON);
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "closed itself dropped other then");
    });
}

#[test]
fn a_released_source_comes_back_and_is_watched_no_more() {
    with_loop(async |event_loop, log| {
        let (reader, mut writer) = pair();
        let watch = event_loop.watch(reader).unwrap();
        let back = log.clone();
        event_loop
            .on_readable(watch, move |event_loop, watch, _| {
                let back = back.clone();
                assert!(event_loop.release(watch, move |event_loop, mut reader| {
                    let mut byte = [0];
                    reader.read_exact(&mut byte).unwrap();
                    back.add(byte[0] as char);
                    assert_eq!(event_loop.handle_count(), 0);
                }));
                assert!(!event_loop.release(watch, |_, _| panic!("it was released already")));
                Ok(())
            })
            .unwrap();
        writer.write_all(b"x").unwrap();
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "x");
    });
}

#[test]
fn a_handle_names_nothing_in_another_loop_nor_after_its_slot_is_used_again() {
    with_loop(async |event_loop, log| {
        let other = EventLoop::new();
        let timer = event_loop.set_timeout(NEVER, |_| ());
        let theirs = other.set_timeout(NEVER, |_| ());
        assert!(!event_loop.close(theirs) && !other.close(timer));
        assert!(!other.reset(timer, SOON) && !other.replace(timer, |_, _| ()));
        assert!(event_loop.close(timer));
        let fired = log.clone();
        event_loop.set_timeout(Duration::ZERO, move |_| fired.add("fired"));
        assert!(!event_loop.close(timer) && !event_loop.reset(timer, NEVER));
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "fired");
    });
}

#[test]
fn a_callback_that_replaces_itself_ends_and_the_new_one_runs_from_then_on() {
    with_loop(async |event_loop, log| {
        let (first, second) = (log.clone(), log.clone());
        let timer = event_loop.set_interval(SOON, move |event_loop, timer| {
            let second = second.clone();
            assert!(event_loop.replace(timer, move |event_loop, timer| {
                second.add("second");
                event_loop.close(timer);
            }));
            first.add("first");
        });
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "first second");
        assert!(!event_loop.replace(timer, |_, _| ()));

        let (reader, mut writer) = pair();
        writer.write_all(b"ab").unwrap();
        let watch = event_loop.watch(reader).unwrap();
        let (first, second) = (log.clone(), log.clone());
        event_loop
            .on_readable(watch, move |event_loop, watch, source| {
                let mut source = source;
                source.read_exact(&mut [0])?;
                let second = second.clone();
                event_loop.on_readable(watch, move |event_loop, watch, _| {
                    second.add("new");
                    event_loop.close(watch);
                    Ok(())
                })?;
                first.add("old");
                Ok(())
            })
            .unwrap();
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "old new");
    });
}

#[test]
fn a_callback_taken_away_and_set_again_from_within_neither_spins_nor_stops() {
    fn watch_again(event_loop: &EventLoop, watch: Watch<UnixStream>, log: Log) -> io::Result<()> {
        event_loop.on_readable(watch, move |event_loop, watch, source| {
            let (mut source, mut byte) = (source, [0]);
            assert!(event_loop.off_readable(watch));
            watch_again(event_loop, watch, log.clone())?;
            source.read_exact(&mut byte)?;
            log.add(byte[0] as char);
            if byte == *b"c" {
                event_loop.close(watch);
            }
            Ok(())
        })
    }
    with_loop(async |event_loop, log| {
        let (reader, mut writer) = pair();
        let watch = event_loop.watch(reader).unwrap();
        watch_again(&event_loop, watch, log.clone()).unwrap();
        let mut bytes = b"abc".iter();
        event_loop.set_interval(SOON, move |event_loop, timer| match bytes.next() {
            Some(byte) => writer.write_all(&[*byte]).unwrap(),
            None => assert!(event_loop.close(timer)),
        });
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "a b c");
    });
}

#[test]
fn a_timer_that_is_reset_fires_at_its_new_time_only() {
    with_loop(async |event_loop, log| {
        let fired = log.clone();
        let late = event_loop.set_timeout(2 * SOON, move |_| fired.add("late"));
        let (fired, set) = (log.clone(), Instant::now());
        event_loop.set_timeout(SOON, move |event_loop| {
            // The other is due as well by now, and yet waits.
            fired.add("early");
            assert!(event_loop.reset(late, 10 * SOON));
        });
        thread::sleep(3 * SOON);
        event_loop.run().await.unwrap();
        assert!(set.elapsed() >= 13 * SOON);
        assert_eq!(log.take(), "early late");
    });
}

/// Everything that can be asked of a loop, done from wherever this is called.
fn everything(event_loop: &EventLoop, log: &Log) {
    let count = |log: &Log| {
        let log = log.clone();
        move |_: &EventLoop| log.add("ran")
    };
    event_loop.next_tick(count(log));
    event_loop.set_timeout(Duration::ZERO, count(log));
    let closed = event_loop.set_timeout(NEVER, |_| unreachable!("it is closed"));
    assert!(event_loop.reset(closed, SOON) && event_loop.keep_alive(closed, false));
    assert!(event_loop.replace(closed, |_, _| unreachable!("it is closed")));
    assert!(event_loop.close_then(closed, count(log)) && !event_loop.close(closed));
    let ran = log.clone();
    event_loop.set_interval(SOON, move |event_loop, timer| {
        ran.add("ran");
        event_loop.close(timer);
    });
    let (near, far) = pair();
    let watch = event_loop.watch(near).unwrap();
    event_loop.on_readable(watch, |_, _, _| unreachable!("it is taken away")).unwrap();
    assert!(event_loop.off_readable(watch) && !event_loop.off_readable(watch));
    let ran = log.clone();
    event_loop
        .on_writable(watch, move |event_loop, watch, _| {
            let (ran, far) = (ran.clone(), far.try_clone()?);
            event_loop.release(watch, move |_, near| {
                drop((near, far));
                ran.add("ran");
            });
            Ok(())
        })
        .unwrap();
    let poster = event_loop.poster();
    poster.unref().post(|_| ()).unwrap();
    assert!(event_loop.handle_count() > 0);
    assert!(format!("{event_loop:?} {poster:?} {watch:?}").contains("handles"));
}

#[test]
fn everything_can_be_done_from_inside_every_callback() {
    const RUNS: usize = 5;
    with_loop(async |event_loop, log| {
        let from = |log: &Log| {
            let log = log.clone();
            move |event_loop: &EventLoop| everything(event_loop, &log)
        };
        everything(&event_loop, &log);
        event_loop.next_tick(from(&log));
        event_loop.set_timeout(SOON, from(&log));
        let repeated = from(&log);
        event_loop.set_interval(SOON, move |event_loop, timer| {
            event_loop.close(timer);
            repeated(event_loop);
        });
        event_loop.close_then(event_loop.set_timeout(NEVER, |_| ()), from(&log));
        for readable in [true, false] {
            let (near, mut far) = pair();
            far.write_all(b"x").unwrap();
            let (watch, called) = (event_loop.watch(near).unwrap(), from(&log));
            let callback = move |event_loop: &EventLoop, watch, _: &UnixStream| {
                event_loop.close(watch);
                called(event_loop);
                Ok(())
            };
            match readable {
                true => event_loop.on_readable(watch, callback).unwrap(),
                false => event_loop.on_writable(watch, callback).unwrap(),
            }
        }
        let (released, _far) = pair();
        event_loop.release(event_loop.watch(released).unwrap(), {
            let called = from(&log);
            move |event_loop, _| called(event_loop)
        });
        event_loop.poster().post(|event_loop| everything(event_loop, &Log::default())).unwrap();
        event_loop.run().await.unwrap();
        // From here, a tick, two timers, a closing, two sources and a release; the posted one logs
        // elsewhere.
        assert_eq!(log.take().split(' ').count(), 8 * RUNS);
        assert_eq!(event_loop.handle_count(), 0);
    });
}

// How it ends.

#[test]
fn it_runs_until_nothing_is_active_that_keeps_it_running() {
    with_loop(async |event_loop, log| {
        event_loop.run().await.unwrap();
        let (reader, _writer) = pair();
        let watch = event_loop.watch(reader).unwrap();
        event_loop.run().await.unwrap();
        event_loop.on_readable(watch, |_, _, _| Ok(())).unwrap();
        assert!(event_loop.keep_alive(watch, false));
        let timer = event_loop.set_interval(NEVER, |_, _| ());
        assert!(event_loop.keep_alive(timer, false));
        event_loop.run().await.unwrap();

        assert!(event_loop.keep_alive(timer, true));
        let fired = log.clone();
        let short = event_loop.set_timeout(SOON, move |event_loop| {
            fired.add("fired");
            event_loop.keep_alive(timer, false);
        });
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "fired");
        assert!(!event_loop.keep_alive(short, false));
        event_loop.close(timer);
        event_loop.close(watch);
        event_loop.run().await.unwrap();
    });
}

#[test]
fn a_stopped_loop_goes_on_where_it_was_when_it_is_run_again() {
    with_loop(async |event_loop, log| {
        for name in ["a", "b", "c"] {
            let log = log.clone();
            event_loop.set_timeout(Duration::ZERO, move |event_loop| {
                log.add(name);
                event_loop.next_tick(move |_| log.add("tick"));
                event_loop.stop();
            });
        }
        thread::sleep(SOON);
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "a");
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "tick b");
        event_loop.run().await.unwrap();
        event_loop.run().await.unwrap();
        assert_eq!(log.take(), "tick c tick");
    });
}

#[test]
fn an_error_of_a_callback_arrives_and_closes_its_handle_alone() {
    with_loop(async |event_loop, log| {
        let (reader, mut writer) = pair();
        writer.write_all(b"x").unwrap();
        let watch = event_loop.watch(reader).unwrap();
        event_loop.on_readable(watch, |_, _, _| Err(io::Error::other("enough"))).unwrap();
        let fired = log.clone();
        event_loop.set_timeout(5 * SOON, move |event_loop| {
            fired.add("fired");
            event_loop.fail(io::Error::other("first"));
            event_loop.fail(io::Error::other("second"));
        });
        assert_eq!(event_loop.run().await.unwrap_err().to_string(), "enough");
        assert!(!event_loop.close(watch));
        assert_eq!(event_loop.run().await.unwrap_err().to_string(), "first");
        assert_eq!(log.take(), "fired");
        event_loop.run().await.unwrap();
    });
}

#[test]
fn a_loop_runs_once_at_a_time() {
    with_loop(async |event_loop, _| {
        let timer = event_loop.set_timeout(NEVER, |_| ());
        let running = Rc::clone(&event_loop);
        let task = whirligig::spawn(async move { running.run().await });
        yield_now().await;
        assert!(event_loop.run().await.unwrap_err().to_string().contains("runs already"));
        event_loop.close(timer);
        task.await.unwrap().unwrap();
        event_loop.run().await.unwrap();
    });
}

#[test]
fn a_panic_of_any_callback_arrives_at_the_join_and_the_rest_goes_on() {
    type Arrange = fn(&EventLoop);
    let arranged: [Arrange; 7] = [
        |event_loop| event_loop.next_tick(|_| panic!("on purpose")),
        |event_loop| _ = event_loop.set_timeout(SOON, |_| panic!("on purpose")),
        |event_loop| _ = event_loop.set_interval(SOON, |_, _| panic!("on purpose")),
        |event_loop| {
            let closed = event_loop.set_timeout(NEVER, |_| ());
            event_loop.close_then(closed, |_| panic!("on purpose"));
        },
        |event_loop| event_loop.poster().post(|_| panic!("on purpose")).unwrap(),
        |event_loop| {
            let (near, _far) = pair();
            let watch = event_loop.watch(near).unwrap();
            event_loop.on_writable(watch, |_, _, _| panic!("on purpose")).unwrap();
        },
        |event_loop| {
            struct Bomb;
            impl Drop for Bomb {
                fn drop(&mut self) {
                    panic!("on purpose");
                }
            }
            let bomb = Bomb;
            let timer = event_loop.set_interval(SOON, move |_, _| _ = &bomb);
            event_loop.close(timer);
        },
    ];
    for arrange in arranged {
        with_loop(async move |event_loop, log| {
            arrange(&event_loop);
            let fired = log.clone();
            event_loop.set_timeout(3 * SOON, move |_| fired.add("fired"));
            let running = Rc::clone(&event_loop);
            let task = whirligig::spawn(async move { running.run().await });
            let panic = task.await.unwrap_err().try_into_panic().unwrap();
            assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
            event_loop.run().await.unwrap();
            assert_eq!(log.take(), "fired");
            assert_eq!(event_loop.handle_count(), 0);
        });
    }
}

#[test]
fn a_panic_passes_out_of_the_loops_own_runtime_too() {
    ends(|| {
        let run = || {
            callback::run(|event_loop| {
                event_loop.set_timeout(SOON, |_| panic!("on purpose"));
                Ok(())
            })
        };
        let panic = catch_unwind(run).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        // The thread is as good as before.
        callback::run(|event_loop| event_loop.poster().post(|_| ()).map_err(io::Error::other))
            .unwrap();
    });
}

#[test]
fn a_loop_that_is_dropped_drops_all_and_runs_none_of_it() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("on purpose: it keeps no other from being dropped");
        }
    }
    with_loop(async |event_loop, _| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let held = || Counted(Arc::clone(&dropped));
        let (near, far) = pair();
        let watch = event_loop.watch(near).unwrap();
        let (a, b, c, d, e, f) = (held(), held(), held(), held(), held(), held());
        event_loop.next_tick(move |_| drop(a));
        let timer = event_loop.set_timeout(NEVER, move |_| drop(b));
        let first = event_loop.set_timeout(NEVER, |_| ());
        event_loop.close_then(first, move |_| drop(c));
        let callback = move |_: &EventLoop, _, _: &UnixStream| {
            let _held = &d;
            Ok(())
        };
        event_loop.on_readable(watch, callback).unwrap();
        let poster = event_loop.poster();
        poster.post(move |_| drop(e)).unwrap();
        event_loop.set_interval(SOON, move |_, _| _ = &f);
        {
            // Dropped halfway, a run leaves all as it is.
            let mut run = std::pin::pin!(event_loop.run());
            event_loop.stop();
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(&mut cx)));
        }
        let before = dropped.load(Ordering::SeqCst);
        assert!(before <= 3, "a tick, a post and a closing may have run: {before}");
        assert!(event_loop.keep_alive(timer, true));
        drop(Rc::into_inner(event_loop).unwrap());
        assert_eq!(dropped.load(Ordering::SeqCst), 6);
        let refused = poster.post(|_| ()).unwrap_err();
        assert_eq!(refused.to_string(), "the event loop was dropped");
        drop(far);
    });
}

#[test]
fn outside_of_a_runtime_nothing_is_watched_but_timers_can_be_set() {
    let event_loop = EventLoop::new();
    let (near, _far) = pair();
    let watch = event_loop.watch(near).unwrap();
    assert!(event_loop.on_readable(watch, |_, _, _| Ok(())).is_err());
    let fired = Rc::new(Cell::new(false));
    let set = Rc::clone(&fired);
    event_loop.set_timeout(SOON, move |_| set.set(true));
    whirligig::run(event_loop.run()).unwrap().unwrap();
    assert!(fired.get());
}
