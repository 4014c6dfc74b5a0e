//! Time as a program sees it. How late something ends is up to the machine; that it does not end
//! early, and that it ends, is not.

#[path = "common/program.rs"]
mod program;

use program::{ends, run};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use whirligig::future::{Either, join_all, race};
use whirligig::time::{
    Duration, Elapsed, Instant, Sleep, interval, interval_at, sleep, sleep_until, timeout,
    timeout_at,
};
use whirligig::{Runtime, Turn, spawn, yield_now};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_sleep_ends_and_not_early() {
    run(|| async {
        for nanos in [0, 1, 999, 1_000, 100_000, 999_999, 1_000_000, 1_000_001, 1_300_000] {
            let start = Instant::now();
            sleep(Duration::from_nanos(nanos)).await;
            assert!(start.elapsed() >= Duration::from_nanos(nanos), "{nanos} ns");
        }
    });
}

#[test]
fn a_time_that_is_past_or_now_is_waited_for_to_the_next_look() {
    run(|| async {
        let now = Instant::now();
        for deadline in [now, Instant::from(std::time::Instant::now() - Duration::from_millis(1))] {
            let mut sleep = pin!(sleep_until(deadline));
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                sleep.as_mut().poll(cx)
            })
            .await;
            assert_eq!(polls, 2);
            assert!(sleep.is_over());
            sleep.await;
        }
    });
}

#[test]
fn the_far_future_never_comes_and_can_be_given_up() {
    run(|| async {
        for never in [sleep(Duration::MAX), sleep_until(Instant::FAR_FUTURE)] {
            let outcome = race(never, sleep(Duration::from_millis(1))).await;
            assert_eq!(outcome, Either::Second(()));
        }
    });
}

#[test]
fn a_runtime_waits_for_years_without_trouble() {
    // More milliseconds than a C int holds, and more seconds; a foreign wake ends the wait.
    run(|| async {
        for duration in [Duration::from_secs(30 * 24 * 3600), Duration::from_secs(500 << 25)] {
            let (sender, receiver) = mpsc::channel::<Waker>();
            let thread = thread::spawn(move || receiver.recv().unwrap().wake());
            let mut asked = false;
            let woken = poll_fn(|cx| {
                if std::mem::replace(&mut asked, true) {
                    return Poll::Ready(());
                }
                sender.send(cx.waker().clone()).unwrap();
                Poll::Pending
            });
            assert_eq!(race(woken, sleep(duration)).await, Either::First(()));
            thread.join().unwrap();
        }
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    run(|| async {
        let order = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let tasks: Vec<_> = [5, 1, 4, 2, 3, 1]
            .into_iter()
            .map(|millis| {
                let order = Arc::clone(&order);
                spawn(async move {
                    sleep_until(start + Duration::from_millis(millis)).await;
                    order.lock().unwrap().push(millis);
                })
            })
            .collect();
        for task in join_all(tasks).await {
            task.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [1, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_timeout_gives_the_output_or_says_that_time_was_over() {
    run(|| async {
        assert_eq!(timeout(HOUR, async { 7 }).await, Ok(7));
        assert_eq!(timeout(Duration::MAX, sleep(Duration::from_micros(10))).await, Ok(()));
        assert_eq!(timeout(Duration::ZERO, async { 7 }).await, Ok(7), "ready in the same poll");
        assert_eq!(timeout(Duration::ZERO, pending::<()>()).await, Err(Elapsed));
        assert_eq!(timeout(Duration::from_millis(1), sleep(HOUR)).await, Err(Elapsed));
        assert_eq!(timeout_at(Instant::now(), pending::<()>()).await, Err(Elapsed));
        let error = std::io::Error::from(Elapsed);
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_future_whose_time_is_over_is_dropped() {
    struct Guard(Arc<()>);
    let alive = Arc::new(());
    let guard = Guard(Arc::clone(&alive));
    run(move || async move {
        let holding = async move {
            let _guard = guard;
            pending::<()>().await;
        };
        timeout(Duration::from_micros(1), holding).await.unwrap_err();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
    let _ = |guard: Guard| guard.0;
}

#[test]
fn an_interval_ticks_at_once_and_then_on_its_grid() {
    run(|| async {
        let period = Duration::from_micros(700);
        let mut interval = interval(period);
        let first = interval.tick().await;
        let mut last = first;
        for _ in 0..5 {
            let tick = interval.tick().await;
            assert!(Instant::now() >= tick && tick > last);
            assert_eq!((tick - first).as_nanos() % period.as_nanos(), 0);
            last = tick;
        }
        let start = Instant::now() + Duration::from_millis(1);
        assert_eq!(interval_at(start, HOUR).tick().await, start);
    });
}

#[test]
fn ticks_that_were_missed_are_left_out() {
    run(|| async {
        let period = Duration::from_millis(2);
        let mut interval = interval(period);
        let first = interval.tick().await;
        thread::sleep(5 * period);
        assert_eq!(interval.tick().await, first + period, "late, but it was waited for");
        let now = Instant::now();
        let next = interval.tick().await;
        assert!(next - first > 4 * period && next + period > now, "no tick is made up for");
        assert_eq!((next - first).as_nanos() % period.as_nanos(), 0);
    });
}

#[test]
fn a_tick_that_was_given_up_is_there_for_the_next_call() {
    run(|| async {
        let start = Instant::now() + Duration::from_millis(5);
        let mut interval = interval_at(start, HOUR);
        assert!(timeout(Duration::from_micros(1), interval.tick()).await.is_err());
        assert_eq!(interval.tick().await, start);
    });
}

#[test]
fn a_nearer_timer_that_a_foreign_wake_brings_shortens_the_wait() {
    run(|| async {
        let (sender, receiver) = mpsc::channel::<Waker>();
        let sleeper = spawn(sleep(HOUR));
        let foreign = thread::spawn(move || {
            let waker = receiver.recv().unwrap();
            // Most likely the loop waits for the hour to be over by now.
            thread::sleep(Duration::from_millis(5));
            waker.wake();
        });
        let mut asked = false;
        let nearer = spawn(async move {
            poll_fn(|cx| {
                if std::mem::replace(&mut asked, true) {
                    return Poll::Ready(());
                }
                sender.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })
            .await;
            sleep(Duration::from_millis(1)).await;
        });
        nearer.await.unwrap();
        foreign.join().unwrap();
        sleeper.abort();
        assert!(sleeper.await.is_err());
    });
}

#[test]
fn a_timer_that_was_cancelled_wakes_nobody() {
    ends(|| {
        let runtime = Runtime::new().unwrap();
        let task = runtime.spawn(async {
            let mut polls = 0;
            let mut cancelled = Some(sleep(Duration::from_micros(100)));
            poll_fn(|cx| {
                polls += 1;
                if let Some(mut sleep) = cancelled.take() {
                    assert!(Pin::new(&mut sleep).poll(cx).is_pending());
                }
                if polls == 1 { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        });
        runtime.block_on(sleep(Duration::from_millis(2)));
        assert!(!task.is_finished(), "only the timer could have woken it");
        assert_eq!(runtime.source_and_timer_counts(), (0, 0));
    });
}

#[test]
fn a_sleep_that_is_reset_ends_at_its_new_time() {
    run(|| async {
        let mut sleep = sleep(HOUR);
        assert!(poll_once(&mut sleep).is_pending());
        let start = Instant::now();
        sleep.reset(start + Duration::from_millis(1));
        assert_eq!(sleep.deadline(), start + Duration::from_millis(1));
        (&mut sleep).await;
        assert!(start.elapsed() >= Duration::from_millis(1) && sleep.is_over());
        sleep.reset(Instant::now() + Duration::from_millis(1));
        assert!(!sleep.is_over() && poll_once(&mut sleep).is_pending());
        sleep.await;
    });
}

fn poll_once(sleep: &mut Sleep) -> Poll<()> {
    Pin::new(sleep).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_sleep_that_moves_to_another_runtime_goes_on_there() {
    ends(|| {
        let (home, abroad) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let start = Instant::now();
        let mut moving = sleep(Duration::from_millis(2));
        home.block_on(async { assert!(poll_once(&mut moving).is_pending()) });
        assert_eq!(home.source_and_timer_counts(), (0, 1));
        abroad.block_on(&mut moving);
        assert!(start.elapsed() >= Duration::from_millis(2));
        assert_eq!(home.source_and_timer_counts(), (0, 0), "it left nothing behind");
        assert_eq!(abroad.source_and_timer_counts(), (0, 0));

        // And from a runtime that is gone.
        let mut moving = sleep(Duration::from_millis(1));
        home.block_on(async { assert!(poll_once(&mut moving).is_pending()) });
        drop(home);
        abroad.block_on(moving);
    });
}

#[test]
fn a_runtime_that_is_stepped_says_until_when_it_has_nothing_to_do() {
    ends(|| {
        let runtime = Runtime::new().unwrap();
        assert_eq!(runtime.turn().unwrap(), Turn::Done);
        let deadline = Instant::now() + Duration::from_millis(3);
        let task = runtime.spawn(sleep_until(deadline));
        let mut until = None;
        while !task.is_finished() {
            match runtime.turn().unwrap() {
                Turn::Ready => {}
                Turn::Idle { until: next } => {
                    let next = next.expect("a timer is set");
                    assert!(next <= deadline);
                    until = Some(next);
                    thread::sleep(next - Instant::now());
                }
                Turn::Done => break,
            }
        }
        assert!(until.is_some() && Instant::now() >= deadline);
    });
}

#[test]
fn others_go_on_while_one_sleeps() {
    run(|| async {
        let sleeper = spawn(sleep(HOUR));
        for _ in 0..1000 {
            yield_now().await;
        }
        sleep(Duration::from_micros(1)).await;
        assert!(!sleeper.is_finished());
        sleeper.abort();
        let _ = sleeper.await;
    });
}

#[test]
fn where_timers_are_dense_they_may_share_wakes_but_none_is_early() {
    for slack in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(20)] {
        let runtime = Runtime::builder().timer_slack(slack).build().unwrap();
        runtime.block_on(async move {
            let start = Instant::now();
            let sleeps = (0..2_000).map(|n| async move {
                let deadline = start + Duration::from_micros(10 * n);
                sleep_until(deadline).await;
                assert!(Instant::now() >= deadline);
            });
            join_all(sleeps).await;
        });
        assert_eq!(runtime.source_and_timer_counts(), (0, 0));
    }
}

#[test]
fn a_sleep_with_a_slack_of_its_own_ends_within_it_or_for_want_of_a_turn() {
    run(|| async {
        for slack in [Duration::ZERO, Duration::from_micros(3), Duration::from_millis(2)] {
            let start = Instant::now();
            let mut sleep = sleep(Duration::from_millis(2)).with_slack(slack);
            assert!(poll_once(&mut sleep).is_pending());
            (&mut sleep).await;
            assert!(start.elapsed() >= Duration::from_millis(2) && sleep.is_over());
            sleep.reset(Instant::now() + HOUR);
            assert!(poll_once(&mut sleep).is_pending());
            drop(sleep);
        }
        // It would be the last of times.
        let mut never = sleep_until(Instant::FAR_FUTURE).with_slack(Duration::MAX);
        assert!(poll_once(&mut never).is_pending());
    });
}

#[test]
fn a_long_timeout_that_moves_to_another_runtime_is_not_over_early() {
    ends(|| {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let first = Runtime::new().unwrap();
        let mut moved = None;
        first.block_on(async {
            let timeout = moved.insert(Box::pin(timeout(second, pending::<()>())));
            let polled = timeout.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        });
        drop(first);
        let result = Runtime::new().unwrap().block_on(moved.unwrap());
        assert!(result.is_err() && start.elapsed() >= second);
    });
}

#[test]
fn a_long_timeout_counts_from_the_call_although_it_is_polled_later() {
    run(|| async {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut timeout = pin!(timeout(second, pending::<()>()));
        // The batch in which it was made is over before the second sleep begins.
        sleep(Duration::ZERO).await;
        sleep(second).await;
        let polled = timeout.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Err(Elapsed)));
        assert!(start.elapsed() >= second);
    });
}

#[test]
fn a_long_timeout_that_is_dropped_leaves_no_timer() {
    run(|| async {
        drop(timeout(HOUR, pending::<()>()));
        let unfinished = timeout(HOUR, pending::<()>());
        assert!(timeout(HOUR, yield_now()).await.is_ok());
        sleep(Duration::ZERO).await;
        drop(unfinished);
    });
}
