//! One operation in a world of its own, dropped at one place.

use crate::Case;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use whirligig::net::{TcpListener, TcpSocket, TcpStream};
use whirligig::sim::{Counts, Fault, Faults, Link, World, twice};
use whirligig::sync::oneshot;
use whirligig::task::JoinHandle;
use whirligig::time::{sleep, timeout};

/// Drops a future in one place. Places are counted: before each poll, when it may have been woken,
/// and after each that was pending.
pub(crate) struct Cut {
    /// Where to drop it.
    at: u64,
    passed: Cell<u64>,
    /// How many references to its waker the dropped future left behind.
    wakers_left: Cell<usize>,
}

impl Cut {
    fn strikes(&self) -> bool {
        let place = self.passed.get();
        self.passed.set(place + 1);
        place == self.at
    }

    fn struck(&self) -> bool {
        self.passed.get() > self.at
    }

    /// The future's output, or None if it was dropped.
    pub(crate) async fn poll<F: Future>(&self, future: F) -> Option<F::Output> {
        let relay = Arc::new(Relay::default());
        let waker = Waker::from(Arc::clone(&relay));
        let output = {
            let mut future = pin!(future);
            poll_fn(|cx| {
                if self.strikes() {
                    return Poll::Ready(None);
                }
                relay.set(cx.waker());
                match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending if self.strikes() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        if output.is_none() {
            // But for the two that are here.
            self.wakers_left.set(Arc::strong_count(&relay) - 2);
        }
        output
    }

    /// The operation's output, which is begun anew if it was dropped.
    pub(crate) async fn retry<T>(&self, mut operation: impl AsyncFnMut() -> T) -> T {
        loop {
            if let Some(output) = self.poll(operation()).await {
                return output;
            }
        }
    }
}

/// A waker of a future's own, whose references can be counted.
#[derive(Default)]
struct Relay(Mutex<Option<Waker>>);

impl Relay {
    fn set(&self, waker: &Waker) {
        let before = self.lock().replace(waker.clone());
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        let waker = self.lock().clone();
        waker.inspect(Waker::wake_by_ref);
    }
}

/// Where an operation is tried.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) cut: Rc<Cut>,
    pub(crate) world: World,
}

/// What is to be seen of an operation, as a future.
pub(crate) type Run = fn(Scene) -> Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// The host that everything happens on.
pub(crate) const HOST: &str = "host";

/// What goes wrong, besides.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    None,
    /// Interrupted calls, short ones, spurious and late events, late packets.
    Noise,
    /// The call of this number fails with this error.
    Call(u64, i32),
}

/// What came of it.
pub(crate) struct Seen {
    /// It was dropped.
    pub(crate) struck: bool,
    /// The operation or what stands around it failed.
    pub(crate) failed: bool,
    /// How many calls could have failed.
    pub(crate) calls: u64,
}

/// Runs a case in the world of `seed`, cut in the `at`th place. Whatever comes of it, nothing may be
/// left: no task, timer, registration, descriptor or connection.
pub(crate) fn play(case: &Case, seed: u64, at: u64, trouble: Trouble) -> Seen {
    twice(seed, |world| play_in(world, case, at, trouble))
}

fn play_in(world: &World, case: &Case, at: u64, trouble: Trouble) -> Seen {
    let run = case.run;
    let seed = world.seed();
    let what = format!("{}, seed {seed}, place {at}, {trouble:?}", case.operation);
    let _told = Told(&what);
    let cut = Rc::new(Cut { at, passed: Cell::new(0), wakers_left: Cell::new(0) });
    let scene = Scene { cut: Rc::clone(&cut), world: world.clone() };
    let outcome = Rc::new(RefCell::new(None));
    let (over, is_over) = oneshot::channel();
    let (over, kept) = (Cell::new(Some(over)), Rc::clone(&outcome));
    world.host(HOST, move || {
        let (scene, kept, over) = (scene.clone(), Rc::clone(&kept), over.take());
        async move {
            // At first the host's own registrations come to rest.
            sleep(Duration::from_millis(1)).await;
            let before = scene.world.counts(HOST);
            // Who waits for a helper that failed would wait for ever.
            let ran = timeout(Duration::from_secs(1000), run(scene.clone())).await;
            *kept.borrow_mut() = Some((ran.unwrap_or_else(|late| Err(late.into())), before));
            over.map(|over| over.send(()));
            Ok(())
        }
    });
    world.set_link(HOST, HOST, Link::default());
    world.set_faults(match trouble {
        Trouble::None => Faults::none(),
        Trouble::Noise => noise(),
        Trouble::Call(k, errno) => Faults::none().with_kth_call(k, errno),
    });
    world.run_until(async {
        is_over.await.unwrap_or_else(|_| panic!("{what}: the host ended"));
        // Threads that block, and what aborted tasks hold, end a little later.
        sleep(Duration::from_secs(10)).await;
    });
    let left = world.counts(HOST);
    let Some((result, before)) = outcome.take() else { panic!("{what}: no outcome") };
    // The host's own future was a task then.
    let before = before.map(|before| Counts { tasks: before.tasks - 1, ..before });
    assert_eq!(left, before, "{what}: left");
    assert!(case.keeps_waker() || cut.wakers_left.get() == 0, "{what}: it left its waker behind");
    let calls = world.failable_call_count();
    world.finish();
    if !matches!(trouble, Trouble::Call(..)) {
        result.as_ref().unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    Seen { struck: cut.struck(), failed: result.is_err(), calls }
}

/// Says what was tried, if it panics.
struct Told<'a>(&'a str);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

fn noise() -> Faults {
    Faults::none()
        .with(Fault::Interrupt, 50_000)
        .with(Fault::WouldBlock, 100_000)
        .with(Fault::Short, 200_000)
        .with(Fault::SpuriousEvent, 100_000)
        .with(Fault::Reorder, 200_000)
        .with(Fault::Split, 200_000)
        .with(Fault::Pieces, 200_000)
        .with(Fault::Stall, 20_000)
}

/// A task beside the operation; aborted if its scene ends before it does.
pub(crate) struct Helper<T>(JoinHandle<T>);

pub(crate) fn helper<T: 'static>(future: impl Future<Output = T> + 'static) -> Helper<T> {
    Helper(whirligig::spawn(future))
}

impl<T> Helper<T> {
    pub(crate) async fn join(mut self) -> T {
        (&mut self.0).await.unwrap_or_else(|error| panic!("a helper: {error}"))
    }
}

impl<T> Drop for Helper<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Two streams that are connected with each other, with small buffers.
pub(crate) async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_receive_buffer(4096)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(16)?;
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer(4096)?;
    socket.set_receive_buffer(4096)?;
    let ours = socket.connect(listener.local_addr()?).await?;
    let theirs = listener.accept().await?.0;
    Ok((ours, theirs))
}

/// A listener, and its address as a text.
pub(crate) fn listener() -> io::Result<(TcpListener, std::net::SocketAddr)> {
    let listener = TcpListener::bind_address(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Bytes that tell where they belong.
pub(crate) fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}
