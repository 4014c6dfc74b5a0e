//! The one general workload: the shipping delayserver and an echo server on one host, clients of
//! every kind on another, and whatever faults the seed decides. What is checked holds in every run.

#[path = "clients.rs"]
mod clients;
#[path = "tasks.rs"]
mod tasks;
#[cfg(test)]
#[path = "teeth.rs"]
mod teeth;

use clients::client;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::{self, ThreadId};
use std::time::Duration;
use whirligig::delay::{Log, ServiceOptions, listen, listen_shared, serve, serve_shared};
use whirligig::http;
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpStream, UdpSocket};
use whirligig::signal::{Signal, Signals};
use whirligig::sim::{Fault, Faults, Link, Random, World};
use whirligig::time::{Instant, sleep, timeout};

const CLIENTS: usize = 10;
const ROUNDS: usize = 5;

/// What a request may cost at most, and a fault that is injected, in system calls and in polls of
/// tasks. Over many seeds the worst run takes half of it; what spins takes that in milliseconds.
const CALLS_MAX: u64 = 100;
const POLLS_MAX: u64 = 40;

/// What any request has to come to an end in: the longest wait of TCP is 127 s, for a connection
/// that nobody answers; the server's longest is 60 s, for one that is idle.
const PATIENCE: Duration = Duration::from_secs(400);

/// What the service gives requests that are under way once it is to stop, and what it may take
/// besides.
const DRAIN: Duration = Duration::from_secs(10);
const DRAIN_LATE_MAX: Duration = Duration::from_secs(2);

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
    world: World,
    random: RefCell<Random>,
    /// Nothing in this run excuses a failure.
    strict: bool,
    /// The clock goes as it should.
    steady: bool,
    /// No fault at all is injected.
    undisturbed: bool,
    /// Futures that are there still.
    futures: Rc<Cell<u64>>,
    /// The server's future has come to its end.
    stopped: Rc<Cell<bool>>,
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
    let run = Rc::new(Run { strict, steady, undisturbed, ..Run::new(world, random.fork()) });
    let is_lossy = !undisturbed && random.chance(200_000);
    let slow = Link {
        latency: Duration::from_micros(random.below(20_000)),
        jitter: Duration::from_micros(random.below(5_000)),
        lost_per_million: if is_lossy { random.below(100_000) as u32 } else { 0 },
        ..Link::default()
    };
    // Without a latency much is ready at once.
    world.set_links(if random.chance(300_000) { Link::instant() } else { slow });
    let (connections_max, small) = (3 + random.index(20), random.chance(300_000));
    let quiet = random.chance(500_000);
    let workers = if random.chance(250_000) { 2 + random.index(2) } else { 1 };
    // Shared among the workers.
    let connections_max = if small { workers * connections_max } else { usize::MAX };
    let (stopped, futures) = (Rc::clone(&run.stopped), Rc::clone(&run.futures));
    world.host("server", move || {
        let served = server(workers, connections_max, quiet, Rc::clone(&stopped));
        guarded(served, Guard::new(&futures, None))
    });
    if random.chance(300_000) {
        // Each worker has two, and a listener.
        let own = if workers > 1 { 9 + 3 * workers } else { 10 };
        world.set_descriptors_max("server", own + random.index(10));
    }
    // The server's own start is no part of what is tried.
    world.run_for(Duration::from_millis(100));
    world.set_faults(faults);
    world.run_until(all(Rc::clone(&run)));
    let outcomes = Outcomes {
        answered: run.answered.get(),
        failed: run.failed.get(),
        given_up: run.given_up.get(),
    };
    let sum = outcomes.answered + outcomes.failed + outcomes.given_up;
    assert_eq!(sum, run.asked.get(), "each request has one outcome");
    assert!(!strict || outcomes.failed == 0, "nothing excuses a failure: {outcomes:?}");
    check_effort(world, sum);
    world.finish();
    assert_eq!(run.futures.get(), 0, "futures that were not dropped");
    outcomes
}

/// Nothing spins.
fn check_effort(world: &World, requests: u64) {
    let ((_, calls), (polls, _)) = (world.line_and_call_counts(), world.poll_and_wake_counts());
    let faults: u64 = world.injected().iter().map(|(_, count)| count).sum();
    let told = format!("{calls} system calls and {polls} polls for {requests} requests");
    let most = requests + faults;
    let is_fair = calls <= CALLS_MAX * most && polls <= POLLS_MAX * most;
    assert!(is_fair, "{told} and {faults} faults: something spins");
}

/// All that `main` does, from the first request to the server's end.
async fn all(run: Rc<Run>) {
    let world = run.world.clone();
    let guard = || Guard::new(&run.futures, Some(&world));
    let clients = (0..CLIENTS)
        .map(|index| whirligig::spawn(guarded(client(Rc::clone(&run), index), guard())));
    let others = [
        whirligig::spawn(guarded(tasks::timers(Rc::clone(&run)), guard())),
        whirligig::spawn(guarded(tasks::sharing(Rc::clone(&run)), guard())),
        whirligig::spawn(guarded(tasks::aborting(Rc::clone(&run)), guard())),
        whirligig::spawn(guarded(tasks::fairness(Rc::clone(&run)), guard())),
        whirligig::spawn(guarded(cut_off(Rc::clone(&run)), guard())),
        whirligig::spawn(guarded(tasks::meddling(Rc::clone(&run)), guard())),
    ];
    let all: Vec<_> = clients.chain(others).collect();
    for task in all {
        task.await.expect("a check of the workload failed");
    }
    world.set_faults(Faults::none());
    world.set_links(Link::default());
    world.heal("main", "server");
    // What waits for a client that is gone, waits for its timeout at the longest.
    sleep(Duration::from_secs(100)).await;
    shut_down(&run).await;
    check_rest(&world, "server");
    check_rest(&world, "main");
}

/// Nothing is left of what a host did; its runtime has two descriptors.
fn check_rest(world: &World, host: &str) {
    let left = world.counts(host).expect("it is running");
    let left = (left.tasks, left.sources, left.timers, left.descriptors);
    assert_eq!(left, (0, 0, 0, 2), "tasks, sources, timers, descriptors of {host}");
}

/// Now and then the hosts are cut off from each other for a while, which only delays.
async fn cut_off(run: Rc<Run>) {
    if run.below(8) == 0 {
        sleep(Duration::from_millis(run.below(3000))).await;
        run.world.partition("main", "server");
        sleep(Duration::from_millis(run.below(5000))).await;
        run.world.heal("main", "server");
    }
}

/// The server is told to stop while it is asked for something, and does in time.
async fn shut_down(run: &Rc<Run>) {
    // Connections that it has no descriptor for are reset when it stops.
    run.world.set_descriptors_max("server", 1024);
    let late = [1_000, 20_000].map(|delay_ms| {
        whirligig::spawn(async move {
            http::get("server:8080", "server", &format!("/{delay_ms}/late")).await
        })
    });
    sleep(Duration::from_millis(300)).await;
    run.world.signal("server", Signal::Terminate);
    let start = Instant::now();
    while !run.stopped.get() {
        assert!(start.elapsed() < DRAIN + DRAIN_LATE_MAX, "the server does not stop in time");
        sleep(Duration::from_millis(500)).await;
    }
    let [short, long] = late;
    let short = short.await.expect("it does not panic").expect("there is time enough for it");
    assert!(short.status == 200 && short.body == b"late", "a late request is answered");
    // What is under way after that ends with the runtime: here it goes on, and is answered.
    let _ = run.patient("what was under way", long).await;
    sleep(Duration::from_secs(5)).await;
}

/// Counts a future, and checks that it is dropped where it should be.
struct Guard {
    thread: ThreadId,
    /// None on another host, which must not own the world.
    main: Option<World>,
    count: Rc<Cell<u64>>,
}

impl Guard {
    fn new(count: &Rc<Cell<u64>>, main: Option<&World>) -> Guard {
        count.set(count.get() + 1);
        Guard { thread: thread::current().id(), main: main.cloned(), count: Rc::clone(count) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        if !thread::panicking() {
            assert_eq!(self.thread, thread::current().id(), "dropped on another thread");
            let at_home = self.main.as_ref().is_none_or(|world| world.is_turn_of("main"));
            assert!(at_home, "dropped in no turn of its runtime");
        }
    }
}

async fn guarded<T>(future: impl Future<Output = T>, guard: Guard) -> T {
    let _guard = guard;
    future.await
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
            // There is seldom more than one event to split or reorder.
            Fault::Reorder | Fault::Split => 500_000,
            _ => 1_000 << random.index(8),
        };
        faults = faults.with(fault, per_million);
        strict &= !breaks;
        steady &= fault != Fault::ClockJump;
    }
    (faults, strict, steady)
}

async fn server(
    workers: usize,
    connections_max: usize,
    quiet: bool,
    stopped: Rc<Cell<bool>>,
) -> io::Result<()> {
    let mut listeners = match workers {
        1 => vec![listen("0.0.0.0:8080").await?],
        several => listen_shared("0.0.0.0:8080", several).await?,
    };
    let echoing = Rc::new(TcpListener::bind("0.0.0.0:7").await?);
    let datagrams = whirligig::spawn(echo_datagrams(UdpSocket::bind("0.0.0.0:9").await?));
    let mut stop = Signals::new(&[Signal::Terminate])?;
    // Two wait for the same connections, until one gives up.
    let accepting = whirligig::spawn(echo_all(Rc::clone(&echoing)));
    let hasty = whirligig::spawn(async move {
        let patience = Duration::from_millis(300);
        while let Ok(Ok((stream, _))) = timeout(patience, echoing.accept()).await {
            drop(whirligig::spawn(echo(stream)));
        }
    });
    let options = ServiceOptions { connections_max, drain: DRAIN, ..ServiceOptions::default() };
    let log = move || {
        let requests = (!quiet).then(|| Box::new(io::sink()) as Box<dyn io::Write + Send>);
        Log::new(requests, Box::new(io::sink()))
    };
    let stop = async || stop.recv().await.map(drop);
    match workers {
        1 => serve(listeners.remove(0), options, log(), stop).await?,
        _ => serve_shared(listeners, &options, log, |event| panic!("{event}"), stop).await?,
    }
    accepting.abort();
    hasty.abort();
    datagrams.abort();
    stopped.set(true);
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

async fn echo_datagrams(socket: UdpSocket) {
    let mut buffer = [0; 3000];
    loop {
        // What can't be sent is lost, as it might have been on its way.
        match socket.recv_from(&mut buffer).await {
            Ok((count, peer)) => drop(socket.send_to(&buffer[..count], peer).await),
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
    /// One in which nothing excuses a failure.
    fn new(world: &World, random: Random) -> Run {
        let zero = || Cell::new(0);
        Run {
            world: world.clone(),
            random: RefCell::new(random),
            strict: true,
            steady: true,
            undisturbed: true,
            futures: Rc::default(),
            stopped: Rc::default(),
            asked: zero(),
            answered: zero(),
            failed: zero(),
            given_up: zero(),
        }
    }

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

    /// The server's address at `port`.
    fn server(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.world.address("server"), port)
    }

    /// A connection that was made is one, or there is an error that tells why it is none any more.
    fn check_connected(&self, stream: &TcpStream) {
        let stands = stream.peer_addr().is_ok();
        let broke = || matches!(stream.take_error(), Ok(Some(_)));
        assert!(stands || broke(), "connected to nobody");
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
