//! Clients, good and hostile.

use crate::Failure;
use crate::server::{DESCRIPTORS_MAX, signal};
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};
use whirligig::blocking;
use whirligig::future::join_all;
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::TcpStream;
use whirligig::spawn;
use whirligig::time::{sleep, timeout};

/// What a part of the soak is to do.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) time: Duration,
    pub(crate) seed: u64,
}

/// What happened in a part.
#[derive(Default)]
pub(crate) struct Counts {
    /// Requests that were answered as they should be.
    pub(crate) good: u64,
    pub(crate) signals: u64,
    /// How often each kind of hostile client had its way.
    pub(crate) hostile: Vec<(&'static str, u64)>,
    /// By how much the good ones' answers came too late.
    late: Vec<Duration>,
    wrong: Vec<String>,
}

impl Counts {
    /// Fails if a good client was not served, or something did not happen at all.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if let Some(wrong) = self.wrong.first() {
            return Err(
                format!("{} good clients failed, the first: {wrong}", self.wrong.len()).into()
            );
        }
        let idle = self.hostile.iter().find(|(_, count)| *count == 0);
        match idle {
            Some((name, _)) => Err(format!("nobody could {name}").into()),
            None if self.good == 0 => Err("no good client was served".into()),
            None => Ok(()),
        }
    }

    /// The time that so many percent of the answers were not later than.
    pub(crate) fn late(&self, percent: usize) -> Duration {
        let mut late = self.late.clone();
        late.sort_unstable();
        late.get((late.len() * percent / 100).min(late.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

/// Good clients at once.
const GOOD: usize = 8;

/// How long a good client waits: descriptors may have run out for a while.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    address: SocketAddr,
    end: Instant,
    counts: RefCell<Counts>,
}

/// Does as `load` says, and returns when all clients have gone.
pub(crate) async fn run(load: Load) -> Result<Counts, Failure> {
    let counts = RefCell::default();
    let world = Rc::new(World { address: load.address, end: Instant::now() + load.time, counts });
    let mut clients = Vec::new();
    for number in 0..GOOD {
        clients
            .push(spawn(be_good(Rc::clone(&world), Random(load.seed * 100 + number as u64 + 1))));
    }
    macro_rules! hostile {
        ($($name:literal => $visit:path,)*) => {
            $(
                let own = Rc::clone(&world);
                clients.push(spawn(async move {
                    own.repeat($name, async || $visit(own.address).await).await;
                }));
            )*
        };
    }
    hostile! {
        "pipeline and leave without reading" => leave_answers,
        "leave in the middle of a request" => leave_early,
        "leave while the answer is delayed" => leave_delayed,
        "end the sending side early" => end_early,
        "send a request byte by byte" => be_slow,
        "send what is no request" => send_nonsense,
        "do nothing" => be_idle,
        "use up the descriptors" => use_up_descriptors,
    }
    clients.push(spawn(send_signals(Rc::clone(&world), load.pid)));
    for ended in join_all(clients).await {
        ended?;
    }
    let world = Rc::into_inner(world).ok_or("a client is left")?;
    Ok(world.counts.into_inner())
}

impl World {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Has a hostile client come again and again. What it meets with is its own business.
    async fn repeat(&self, name: &'static str, visit: impl AsyncFn() -> io::Result<()>) {
        let mut count = 0;
        loop {
            // A visit in vain: the server's backlog may be full.
            if let Ok(Ok(())) = timeout(PATIENCE, visit()).await {
                count += 1;
            }
            if self.is_over() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.counts.borrow_mut().hostile.push((name, count));
    }
}

/// Asks for this and that on connections that last a while; all has to be answered rightly.
async fn be_good(world: Rc<World>, mut random: Random) {
    while !world.is_over() {
        let served = timeout(PATIENCE, be_served(&world, &mut random)).await;
        let wrong = match served {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it has to wait too long".to_owned(),
        };
        world.counts.borrow_mut().wrong.push(wrong);
        sleep(Duration::from_millis(100)).await;
    }
}

async fn be_served(world: &World, random: &mut Random) -> io::Result<()> {
    let mut stream = TcpStream::connect(world.address).await?;
    for _ in 0..1 + random.below(30) {
        if world.is_over() {
            break;
        }
        // Some requests at once, whose answers come in their order.
        let mut wanted = Vec::new();
        let mut requests = Vec::new();
        for number in 0..1 + random.below(4) {
            let delay = Duration::from_millis(random.below(30));
            let message = format!("{number}-").repeat(1 + random.below(300) as usize);
            requests.extend_from_slice(request(delay.as_millis(), &message).as_bytes());
            wanted.push((delay, message));
        }
        let begin = Instant::now();
        stream.write_all(&requests).await?;
        let mut received = Vec::new();
        let mut due = Duration::ZERO;
        for (delay, message) in wanted {
            let body = answer(&mut stream, &mut received).await?;
            due += delay;
            let taken = begin.elapsed();
            if body != message.as_bytes() || taken < due {
                let text = format!("a wrong answer, or one after {taken:?} instead of {due:?}");
                return Err(io::Error::other(text));
            }
            let mut counts = world.counts.borrow_mut();
            counts.good += 1;
            counts.late.push(taken.saturating_sub(due));
        }
    }
    Ok(())
}

fn request(delay_ms: u128, message: &str) -> String {
    format!("GET /{delay_ms}/{message} HTTP/1.1\r\nHost: soak\r\n\r\n")
}

/// The body of the next answer; what came after it stays in `received`.
async fn answer(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    loop {
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&received[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length
                .filter(|_| head.starts_with("HTTP/1.1 200 "))
                .and_then(|length| length.parse().ok())
                .ok_or_else(|| io::Error::other(format!("the answer is {head:?}")))?;
            let whole = end + 4 + length;
            if received.len() >= whole {
                let body = received[end + 4..whole].to_vec();
                received.drain(..whole);
                return Ok(body);
            }
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&bytes[..count]),
        }
    }
}

/// Waits until the server closes, or resets, the connection.
async fn until_closed(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = stream.read(&mut bytes).await {}
}

async fn leave_answers(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let requests = request(0, &"x".repeat(4000)).repeat(1000);
    // The server stops reading when it can't send, so this may not all go out.
    let _ = timeout(Duration::from_millis(200), stream.write_all(requests.as_bytes())).await;
    Ok(())
}

async fn leave_early(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /10/half HTTP/1.1\r\nHo").await
}

async fn leave_delayed(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request(3_600_000, "long").as_bytes()).await?;
    sleep(Duration::from_millis(10)).await;
    Ok(())
}

async fn end_early(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request(3_600_000, "long").as_bytes()).await?;
    stream.shutdown(Shutdown::Write)?;
    until_closed(&mut stream).await;
    Ok(())
}

async fn be_slow(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    for byte in request(0, "slow").as_bytes() {
        // The server gives up before the end.
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(40)).await;
    }
    until_closed(&mut stream).await;
    Ok(())
}

async fn send_nonsense(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"\x16\x03\x01 nonsense\r\n\r\n\0\0\0").await?;
    until_closed(&mut stream).await;
    Ok(())
}

async fn be_idle(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    until_closed(&mut stream).await;
    Ok(())
}

/// More connections than the server has descriptors, for a moment, and then none for a while.
async fn use_up_descriptors(address: SocketAddr) -> io::Result<()> {
    let mut streams = Vec::new();
    for _ in 0..DESCRIPTORS_MAX + 50 {
        streams.push(TcpStream::connect(address).await?);
    }
    sleep(Duration::from_millis(200)).await;
    drop(streams);
    sleep(Duration::from_millis(500)).await;
    Ok(())
}

/// Signals that a server is to take no notice of; a stop lets all its events come at once.
async fn send_signals(world: Rc<World>, pid: u32) {
    while !world.is_over() {
        for name in ["WINCH", "URG", "CHLD", "STOP", "CONT"] {
            let sent = blocking::run(move || signal(pid, name).map_err(|error| error.to_string()));
            match sent.await {
                Ok(Ok(())) => world.counts.borrow_mut().signals += 1,
                Ok(Err(error)) => world.counts.borrow_mut().wrong.push(error),
                Err(error) => world.counts.borrow_mut().wrong.push(error.to_string()),
            }
            sleep(Duration::from_millis(30)).await;
        }
        sleep(Duration::from_millis(300)).await;
    }
}

struct Random(u64);

impl Random {
    /// A number that is less than `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
