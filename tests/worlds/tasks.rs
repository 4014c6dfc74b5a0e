//! What tasks do among themselves: wait, share, give up, and keep each other from nothing.

use super::{PATIENCE, Run};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use whirligig::future::{Either, join_all, race};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpStream};
use whirligig::sync::{Notify, Semaphore};
use whirligig::task::AbortHandle;
use whirligig::time::{Instant, sleep, timeout};

/// Timers end in time, and those that are dropped wake nobody.
pub(super) async fn timers(run: Rc<Run>) {
    let sleeps = (0..20).map(|_| {
        let run = Rc::clone(&run);
        async move {
            let delay = Duration::from_nanos(run.below(1 << run.below(38)));
            let start = Instant::now();
            sleep(delay).await;
            run.check_time(start, delay, Duration::from_secs(1));
        }
    });
    join_all(sleeps).await;
    for _ in 0..3 {
        let long = Duration::from_millis(50 + run.below(1000));
        let short = long / (2 + run.below(5) as u32);
        let mut polls = 0;
        {
            let mut dropped = pin!(sleep(short));
            let first = poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx))).await;
            assert!(first.is_pending() || !run.steady || short.is_zero());
        }
        let mut waiting = pin!(sleep(long));
        poll_fn(|cx| {
            polls += 1;
            waiting.as_mut().poll(cx)
        })
        .await;
        assert!(polls <= 2, "a sleep was polled {polls} times: a dropped timer woke its task");
    }
}

/// Permits and notifications reach those who wait, whoever else gives up.
pub(super) async fn sharing(run: Rc<Run>) {
    let (permits, inside) = (Rc::new(Semaphore::new(2)), Rc::new(Cell::new(0)));
    let users = (0..8).map(|_| {
        let (run, permits, inside) = (Rc::clone(&run), Rc::clone(&permits), Rc::clone(&inside));
        async move {
            for _ in 0..2 {
                let patience = Duration::from_millis(run.below(200));
                let Ok(permit) = timeout(patience, permits.acquire()).await else { continue };
                inside.set(inside.get() + 1);
                assert!(inside.get() <= 2, "{} have two permits", inside.get());
                sleep(Duration::from_millis(run.below(50))).await;
                inside.set(inside.get() - 1);
                drop(permit);
            }
        }
    });
    join_all(users).await;
    for _ in 0..3 {
        let both = permits.acquire_many(2).await.expect("it is not closed");
        let waiter = Rc::clone(&permits);
        let waiting = whirligig::spawn(async move { waiter.acquire().await.is_ok() });
        sleep(Duration::from_millis(run.below(3))).await;
        drop(both);
        waiting.abort();
        let _ = waiting.await;
    }
    assert_eq!(permits.available_permits(), 2, "a permit was lost");
    let notify = Rc::new(Notify::new());
    for _ in 0..5 {
        let waiter = Rc::clone(&notify);
        let patience = Duration::from_millis(run.below(20));
        let hasty =
            whirligig::spawn(async move { timeout(patience, waiter.notified()).await.is_ok() });
        let waiter = Rc::clone(&notify);
        let patient = whirligig::spawn(async move { waiter.notified().await });
        sleep(Duration::from_millis(run.below(20))).await;
        notify.notify_one();
        if run.below(2) == 0 {
            // What it was woken for, and has not yet fetched, goes to the next.
            hasty.abort();
        }
        if let Ok(true) = hasty.await {
            notify.notify_one();
        }
        run.patient("a notification", patient).await.expect("it does not panic");
    }
}

/// Tasks that are aborted are dropped once, and their joins end; blocking work comes back.
pub(super) async fn aborting(run: Rc<Run>) {
    struct Count(Rc<Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = Rc::new(Cell::new(0));
    for round in 0..5 {
        let count = Count(Rc::clone(&drops));
        let delay = Duration::from_millis(run.below(10));
        let task = whirligig::spawn(async move {
            let _count = count;
            loop {
                match race(sleep(delay), whirligig::yield_now()).await {
                    Either::First(()) => break,
                    Either::Second(()) => sleep(Duration::from_millis(1)).await,
                }
            }
        });
        sleep(Duration::from_millis(run.below(12))).await;
        task.abort();
        let _ = run.patient("the join of an aborted task", task).await;
        assert_eq!(drops.get(), round + 1, "a future is dropped once");
        let sum = run.patient("blocking work", whirligig::blocking::run(move || round + 1)).await;
        assert_eq!(sum.ok(), Some(round + 1));
    }
    // Who aborts itself while it runs is not polled again.
    let own = Rc::new(RefCell::new(None::<AbortHandle>));
    let slot = Rc::clone(&own);
    let task = whirligig::spawn(async move {
        slot.borrow().iter().for_each(AbortHandle::abort);
        pending::<()>().await;
    });
    *own.borrow_mut() = Some(task.abort_handle());
    let joined = run.patient("the join of a task that aborted itself", task).await;
    assert!(joined.is_err(), "it was aborted");
}

/// Neither a task that is always ready keeps the sockets waiting, nor a socket the tasks.
pub(super) async fn fairness(run: Rc<Run>) {
    let Ok(listener) = TcpListener::bind("127.0.0.1:0").await else {
        return assert!(!run.strict, "no listener");
    };
    let address = listener.local_addr().expect("a listener has an address");
    let Ok(mut near) = TcpStream::connect(address).await else {
        return assert!(!run.strict, "no connection");
    };
    // An accept that a fault aborts has nothing more to wait for.
    let Ok(Ok((mut far, _))) = timeout(PATIENCE, listener.accept()).await else {
        return assert!(!run.strict, "nobody was accepted");
    };
    // One task waits for it first, and another after that.
    let early = poll_fn(|cx| Poll::Ready(far.poll_read(cx, &mut [0]))).await;
    assert!(early.is_pending() || !run.strict, "nothing was sent yet");
    let (over, polls) = (Rc::new(Cell::new(false)), Cell::new(0));
    let far_over = Rc::clone(&over);
    let answering = whirligig::spawn(async move {
        let mut byte = [0];
        let read = far.read(&mut byte).await;
        far_over.set(true);
        read.map(|_| far)
    });
    sleep(Duration::from_millis(1)).await;
    if near.write_all(b"x").await.is_err() {
        return assert!(!run.strict, "a byte was not sent");
    }
    // A fault may withhold a byte for 20 ms, in which there is time for many polls.
    if run.undisturbed {
        while !over.get() {
            polls.set(polls.get() + 1);
            assert!(polls.get() < 20_000, "a task that is always ready starves the sockets");
            whirligig::yield_now().await;
        }
    }
    let Ok(mut far) = answering.await.expect("it does not panic") else {
        return assert!(!run.strict, "a byte was not received");
    };
    let others = Rc::new(Cell::new(false));
    let other = Rc::clone(&others);
    let task = whirligig::spawn(async move { other.set(true) });
    for turn in 0.. {
        let mut byte = [0];
        let moved = near.write_all(b"y").await.is_ok() && far.read(&mut byte).await.is_ok();
        if others.get() || !moved {
            break;
        }
        assert!(turn < 10_000, "a socket that is always ready starves the tasks");
    }
    task.await.expect("it does not panic");
}

/// What a meddler closes, and what it waits for instead.
struct Meddled {
    closed: Option<TcpStream>,
    quiet: TcpStream,
}

thread_local! {
    static MEDDLED: Cell<Option<Meddled>> = const { Cell::new(None) };
}

/// A waker that closes a connection of which there is news as well, and waits for another.
struct Meddler;

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        let Some(mut meddled) = MEDDLED.take() else { return };
        drop(meddled.closed.take());
        let mut cx = Context::from_waker(Waker::noop());
        let read = meddled.quiet.poll_read(&mut cx, &mut [0]);
        assert!(read.is_pending(), "nobody sends anything there");
        MEDDLED.set(Some(meddled));
    }
}

/// What was on its way to a connection that is closed does not reach the one in its place.
pub(super) async fn meddling(run: Rc<Run>) {
    if !run.undisturbed {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("no fault is injected");
    let address = listener.local_addr().expect("a listener has an address");
    let pair = async || {
        let near = TcpStream::connect(address).await.expect("no fault is injected");
        (near, listener.accept().await.expect("no fault is injected").0)
    };
    let ((mut asking, mut first), (ending, mut closed)) = (pair().await, pair().await);
    let (_silent, quiet) = pair().await;
    let waker = Waker::from(Arc::new(Meddler));
    let waiting = first.poll_read(&mut Context::from_waker(&waker), &mut [0]).is_pending()
        && closed.poll_read(&mut Context::from_waker(Waker::noop()), &mut [0]).is_pending();
    assert!(waiting, "nothing was sent yet");
    MEDDLED.set(Some(Meddled { closed: Some(closed), quiet }));
    asking.write_all(b"x").await.expect("no fault is injected");
    drop(ending);
    sleep(Duration::from_millis(1)).await;
    let mut meddled = MEDDLED.take().expect("a meddler puts it back");
    assert!(meddled.closed.is_none(), "there is something to read, and nobody was woken");
    let ended = poll_fn(|cx| Poll::Ready(meddled.quiet.poll_closed(cx))).await;
    assert!(ended.is_pending(), "the news of one connection reached another");
}
