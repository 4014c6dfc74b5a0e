//! The one general workload: the shipping delayserver and an echo server on one host, clients of
//! every kind on another, and whatever faults the seed decides. What is checked holds in every run.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use whirligig::delay::{Log, ServiceOptions, listen, serve};
use whirligig::future::{Either, join_all, race};
use whirligig::http::{self, Client, Connection, Method, RequestHead, RequestKind, ResponseParser};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpStream};
use whirligig::signal::{Signal, Signals};
use whirligig::sim::{Fault, Faults, Link, Random, World};
use whirligig::sync::{Notify, Semaphore};
use whirligig::time::{Instant, sleep, timeout};

const CLIENTS: usize = 10;
const ROUNDS: usize = 6;

/// What any request has to come to an end in: the longest wait of TCP is 127 s, for a connection
/// that nobody answers; the server's longest is 60 s, for one that is idle.
const PATIENCE: Duration = Duration::from_secs(400);

/// Faults after which a request may fail.
const BREAKING: [Fault; 8] = [
    Fault::NoDescriptors,
    Fault::NoMemory,
    Fault::AbortedAccept,
    Fault::Refuse,
    Fault::Unreachable,
    Fault::Silence,
    Fault::Reset,
    Fault::ClockJump,
];

/// What the clients of a run share.
struct Run {
    random: RefCell<Random>,
    /// Nothing in this run excuses a failure.
    strict: bool,
    /// The clock goes as it should.
    steady: bool,
    /// No fault at all is injected.
    undisturbed: bool,
    asked: Cell<u64>,
    answered: Cell<u64>,
    failed: Cell<u64>,
    given_up: Cell<u64>,
}

/// How many requests had which outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) given_up: u64,
}

/// Runs the workload, and checks all there is to check.
pub(crate) fn run(world: &World) -> Outcomes {
    let mut random = Random::seeded(world.seed() ^ 0x5eed);
    let undisturbed = random.chance(200_000);
    let (mut faults, mut strict, mut steady) = faults(&mut random);
    if undisturbed {
        (faults, strict, steady) = (Faults::none(), true, true);
    }
    let zero = || Cell::new(0);
    let run = Rc::new(Run {
        strict,
        steady,
        undisturbed,
        asked: zero(),
        answered: zero(),
        failed: zero(),
        given_up: zero(),
        random: RefCell::new(random.fork()),
    });
    let slow = Link {
        latency: Duration::from_micros(random.below(20_000)),
        jitter: Duration::from_micros(random.below(5_000)),
        ..Link::default()
    };
    // Without a latency much is ready at once.
    world.set_links(if random.chance(300_000) { Link::instant() } else { slow });
    let (connections_max, small) = (3 + random.index(20), random.chance(300_000));
    let quiet = random.chance(500_000);
    world.host("server", move || server(if small { connections_max } else { usize::MAX }, quiet));
    if random.chance(300_000) {
        world.set_descriptors_max("server", 9 + random.index(10));
    }
    // The server's own start is no part of what is tried.
    world.run_for(Duration::from_millis(100));
    world.set_faults(faults);
    let ended = world.run_until({
        let (run, world) = (Rc::clone(&run), world.clone());
        async move {
            let clients =
                (0..CLIENTS).map(|index| whirligig::spawn(client(Rc::clone(&run), index)));
            let others = [
                whirligig::spawn(timers(Rc::clone(&run))),
                whirligig::spawn(sharing(Rc::clone(&run))),
                whirligig::spawn(aborting(Rc::clone(&run))),
                whirligig::spawn(fairness(Rc::clone(&run))),
            ];
            let all: Vec<_> = clients.chain(others).collect();
            for task in all {
                task.await.expect("a check of the workload failed");
            }
            world.set_faults(Faults::none());
            // What waits for a client that is gone, waits for its timeout at the longest.
            sleep(Duration::from_secs(100)).await;
            world.signal("server", Signal::Terminate);
            sleep(Duration::from_secs(30)).await;
            world.counts("server")
        }
    });
    let left = ended.expect("the server is running");
    assert_eq!((left.tasks, left.sources, left.timers, left.descriptors), (0, 0, 0, 2), "{left:?}");
    let outcomes = Outcomes {
        answered: run.answered.get(),
        failed: run.failed.get(),
        given_up: run.given_up.get(),
    };
    let sum = outcomes.answered + outcomes.failed + outcomes.given_up;
    assert_eq!(sum, run.asked.get(), "each request has one outcome");
    assert!(!strict || outcomes.failed == 0, "nothing excuses a failure: {outcomes:?}");
    let (_, calls) = world.line_and_call_counts();
    assert!(calls < 60_000, "{calls} system calls for {sum} requests: something spins");
    world.finish();
    outcomes
}

/// The faults of a run, whether none of them excuses a failure, and whether the clock is steady.
fn faults(random: &mut Random) -> (Faults, bool, bool) {
    let mut faults = Faults::none();
    let (mut strict, mut steady) = (true, true);
    let may_break = random.chance(500_000);
    for fault in Fault::ALL {
        let breaks = BREAKING.contains(&fault);
        if random.chance(500_000) || breaks && !may_break {
            continue;
        }
        let per_million = match fault {
            Fault::Reset | Fault::ClockJump => 3_000,
            Fault::Stall => 5_000,
            _ => 1_000 << random.index(8),
        };
        faults = faults.with(fault, per_million);
        strict &= !breaks;
        steady &= fault != Fault::ClockJump;
    }
    (faults, strict, steady)
}

async fn server(connections_max: usize, quiet: bool) -> io::Result<()> {
    let listeners = listen("0.0.0.0:8080").await?;
    let echoing = Rc::new(TcpListener::bind("0.0.0.0:7").await?);
    let mut stop = Signals::new(&[Signal::Terminate])?;
    // Two wait for the same connections, until one gives up.
    let accepting = whirligig::spawn(echo_all(Rc::clone(&echoing)));
    let hasty = whirligig::spawn(async move {
        let patience = Duration::from_millis(300);
        while let Ok(Ok((stream, _))) = timeout(patience, echoing.accept()).await {
            drop(whirligig::spawn(echo(stream)));
        }
    });
    let options = ServiceOptions { connections_max, ..ServiceOptions::default() };
    let requests: Option<Box<dyn io::Write + Send>> =
        if quiet { None } else { Some(Box::new(io::sink())) };
    let log = Log::new(requests, Box::new(io::sink()));
    serve(listeners, options, log, async || stop.recv().await.map(drop)).await?;
    accepting.abort();
    hasty.abort();
    Ok(())
}

async fn echo_all(listener: Rc<TcpListener>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(whirligig::spawn(echo(stream))),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 3000];
    loop {
        // What is seen stays there.
        let seen = timeout(Duration::from_secs(60), stream.peek(&mut buffer[..10])).await??;
        let count = stream.read(&mut buffer).await?;
        assert!(seen == 0 || count > 0, "peeked {seen} bytes, and read none");
        if count == 0 {
            return stream.close().await;
        }
        timeout(Duration::from_secs(60), stream.write_all(&buffer[..count])).await??;
    }
}

impl Run {
    fn below(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    /// A size below `bound`, a power of two: small ones are as frequent as large ones.
    fn some_size(&self, bound: u64) -> usize {
        self.below(1 << (1 + self.below(bound.ilog2().into()))) as usize
    }

    /// A request's one outcome.
    fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
    }

    fn note(&self, result: io::Result<()>) {
        match result {
            Ok(()) => self.answered.set(self.answered.get() + 1),
            Err(error) => {
                assert!(error.kind() != io::ErrorKind::InvalidData, "a wrong answer: {error}");
                assert!(!self.strict, "a request failed: {error}");
                self.failed.set(self.failed.get() + 1);
            }
        }
    }

    /// `work`, which ends in time.
    async fn patient<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let patience = if self.steady { PATIENCE } else { 100 * PATIENCE };
        match timeout(patience, work).await {
            Ok(done) => done,
            Err(_) => panic!("{what} hangs"),
        }
    }

    /// That something asked for at `start` to last `delay` has lasted so long.
    fn check_time(&self, start: Instant, delay: Duration, late_max: Duration) {
        let lasted = start.elapsed();
        assert!(lasted >= delay, "{delay:?} was over after {lasted:?}");
        assert!(!self.steady || lasted <= delay + late_max, "{delay:?} took {lasted:?}");
    }
}

async fn client(run: Rc<Run>, index: usize) {
    for round in 0..ROUNDS {
        let message = format!("{index}-{round}-{}", "x".repeat(run.some_size(2048)));
        sleep(Duration::from_millis(run.below(300))).await;
        match run.below(8) {
            0 | 1 => one(&run, &message).await,
            2 => kept_alive(&run, &message).await,
            3 => run.patient("a pipeline", pipelined(&run, &message)).await,
            4 => given_up(&run, &message).await,
            5 | 6 => run.patient("an echo", echoed(&run, index)).await,
            _ => run.patient("a bad client", bad(&run)).await,
        }
    }
}

fn delay(run: &Run) -> u64 {
    [0, 0, run.below(20), run.below(1500)][run.below(4) as usize]
}

async fn one(run: &Run, message: &str) {
    let delay_ms = delay(run);
    run.ask();
    let start = Instant::now();
    let target = format!("/{delay_ms}/{message}");
    let reply = run.patient("a request", http::get("server:8080", "server", &target)).await;
    run.note(reply.and_then(|reply| check(run, &reply, message, start, delay_ms)));
}

fn check(
    run: &Run,
    reply: &http::Reply,
    message: &str,
    start: Instant,
    delay_ms: u64,
) -> io::Result<()> {
    // The server's own timeouts may go off when its clock jumps.
    if reply.status == 408 && !run.steady {
        return Err(io::ErrorKind::TimedOut.into());
    }
    if reply.status != 200 || reply.body != message.as_bytes() {
        let text = format!("{} with {} bytes", reply.status, reply.body.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if run.steady {
        let lasted = start.elapsed();
        assert!(lasted >= Duration::from_millis(delay_ms), "{delay_ms} ms were over too early");
    }
    Ok(())
}

async fn kept_alive(run: &Run, message: &str) {
    let Ok(mut client) = run.patient("a connect", Client::connect("server:8080")).await else {
        return assert!(!run.strict, "no connection");
    };
    for _ in 0..6 {
        let delay_ms = delay(run);
        let target = format!("/{delay_ms}/{message}");
        let (method, connection) = (Method::Get, Connection::KeepAlive);
        let head =
            RequestHead { method, target: &target, host: "server", headers: &[], connection };
        run.ask();
        let start = Instant::now();
        let reply = run.patient("a kept request", client.request(&head, &[])).await;
        let done = reply.and_then(|reply| check(run, &reply, message, start, delay_ms));
        let failed = done.is_err();
        run.note(done);
        if failed || !client.is_reusable() {
            break;
        }
        if run.below(3) == 0 {
            sleep(Duration::from_millis(run.below(500))).await;
        }
    }
}

/// Several requests at once; the answers come in their order.
async fn pipelined(run: &Run, message: &str) {
    let count = 2 + run.below(9);
    let mut bytes = Vec::new();
    for index in 0..count {
        let delay_ms = delay(run) / 10;
        bytes.extend(
            format!("GET /{delay_ms}/{index}-{message} HTTP/1.1\r\nHost: server\r\n\r\n").bytes(),
        );
        run.ask();
    }
    let mut answered = 0;
    let work = async {
        let mut stream = TcpStream::connect("server:8080").await?;
        assert!(stream.peer_addr().is_ok() || !run.strict, "connected to nobody");
        // In two parts, now and then.
        let cut = run.below(2 * bytes.len() as u64).min(bytes.len() as u64) as usize;
        stream.write_all(&bytes[..cut]).await?;
        if run.below(2) == 0 {
            sleep(Duration::from_millis(run.below(30))).await;
        }
        stream.write_all(&bytes[cut..]).await?;
        let mut received = Vec::new();
        while answered < count {
            let mut parser = ResponseParser::new(RequestKind::from(Method::Get));
            let parsed = parser.parse(&received, &http::Limits::default());
            let parsed =
                parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let wanted = format!("{answered}-{message}");
            let whole = parsed.map(|response| (response.status, response.head_bytes));
            let whole = whole.filter(|(_, head)| received.len() >= head + wanted.len());
            if let Some((status, head)) = whole {
                let body = &received[head..head + wanted.len()];
                assert!(status == 200 && body == wanted.as_bytes(), "out of order, or wrong");
                received.drain(..head + wanted.len());
                answered += 1;
                continue;
            }
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            received.extend_from_slice(&chunk[..count]);
        }
        io::Result::Ok(())
    };
    let done = work.await;
    for index in 0..count {
        let failed = || done.as_ref().map_or_else(io::Error::kind, |()| io::ErrorKind::Other);
        run.note(if index < answered { Ok(()) } else { Err(failed().into()) });
    }
}

async fn given_up(run: &Run, message: &str) {
    run.ask();
    let target = format!("/{}/{message}", 100 + run.below(2000));
    let patience = Duration::from_millis(run.below(100));
    let start = Instant::now();
    match timeout(patience, http::get("server:8080", "server", &target)).await {
        Err(_) => {
            run.check_time(start, patience, Duration::from_secs(2));
            run.given_up.set(run.given_up.get() + 1);
        }
        Ok(Ok(_)) => {
            assert!(!run.steady, "an answer came too early");
            run.note(Ok(()));
        }
        Ok(Err(error)) => run.note(Err(error)),
    }
}

/// Bytes go there and back, while more are sent, up to the end of the stream.
async fn echoed(run: &Run, index: usize) {
    run.ask();
    let size = run.some_size(1 << 16);
    let pattern: Vec<u8> = (0..251).map(|at: u8| at.wrapping_add(index as u8)).collect();
    let mut bytes = pattern.repeat(size / pattern.len() + 1);
    bytes.truncate(size);
    let expected = bytes.clone();
    let (pause, chunk) = (run.below(3), 200 + run.below(5000) as usize);
    let work = async {
        let mut stream = TcpStream::connect("server:7").await?;
        // First a word at a time, each of which waits for the answer to the last.
        for length in [1, 1 + run.below(20) as usize] {
            let mut back = [0; 20];
            stream.write_all(&[7; 20][..length]).await?;
            stream.read_exact(&mut back[..length]).await?;
            assert!(back[..length] == [7; 20][..length], "another word came back");
        }
        let (mut reader, mut writer) = stream.into_split();
        let writing = whirligig::spawn(async move {
            for part in bytes.chunks(chunk) {
                writer.write_all(part).await?;
                if pause == 0 {
                    whirligig::yield_now().await;
                }
            }
            writer.close().await
        });
        let mut received = Vec::new();
        let read = reader.read_to_end(&mut received, 1 << 20).await;
        let written = writing.await.expect("a writer does not panic");
        read?;
        written?;
        if received.len() < expected.len() && !run.strict {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        assert!(received == expected, "{} bytes came back as {}", expected.len(), received.len());
        io::Result::Ok(())
    };
    let done = work.await;
    run.note(done);
}

/// A client that does not do as it should; the server survives it.
async fn bad(run: &Run) {
    let Ok(mut stream) = TcpStream::connect("server:8080").await else { return };
    let sent = match run.below(4) {
        0 => stream.write_all(b"GET /10/half HT").await,
        1 => stream.write_all(b"BREW / COFFEE\r\n\r\n").await,
        2 => stream.write_all(b"GET /500/x HTTP/1.1\r\nHost: x\r\n\r\nGET").await,
        _ => Ok(()),
    };
    // Whatever came of it, the stream goes in one way or another.
    if sent.is_ok() && run.below(2) == 0 {
        let mut buffer = [0; 100];
        let _ = timeout(Duration::from_secs(5), stream.read(&mut buffer)).await;
    }
    if run.below(2) == 0 {
        let _ = stream.set_linger(Some(Duration::ZERO));
    }
}

/// Timers end in time, and those that are dropped wake nobody.
async fn timers(run: Rc<Run>) {
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
async fn sharing(run: Rc<Run>) {
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
async fn aborting(run: Rc<Run>) {
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
}

/// Neither a task that is always ready keeps the sockets waiting, nor a socket the tasks.
async fn fairness(run: Rc<Run>) {
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
