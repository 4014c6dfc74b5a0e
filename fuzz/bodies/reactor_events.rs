//! Arbitrary batches of events, fed to a runtime with live, closed and reused sources.
//!
//! ```text
//!   program --> opens, closes, sends ----> sockets --> the kernel's own events
//!      |                                                  | some held back, for later
//!      '-----> made-up events: of live sources, of closed |
//!              ones, of neighbouring generations, of none v
//!                                       '-----------> a batch --> Runtime
//! ```
//!
//! Holding an event back is what a kernel does that noted it before the source was closed. Real
//! events are never lost, so every byte must arrive. A task must be polled exactly when an event of
//! its own says that it can read.

use super::bytes::Bytes;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use whirligig::Runtime;
use whirligig::event::{EPOLLIN, EPOLLOUT, Event};
use whirligig::io::AsyncRead;
use whirligig::net;
use whirligig::sys::fault::{Call, Fault, PassThrough};
use whirligig::task::JoinHandle;
use whirligig::time::{sleep, timeout};

/// Sources that are alive at once.
const LIVE_MAX: usize = 6;
/// Sources and sleeps that a program may make.
const MADE_MAX: usize = 40;
/// Times that a program may send to one source: all of it may be unread at the end, and each takes
/// a piece of the socket's buffer that is many times larger than its bytes.
const SENDS_MAX: usize = 100;
/// The epoll instance and the notifier's eventfd.
const RUNTIMES_OWN: usize = 2;
/// Only a defect makes a program wait so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A socket whose task waits to read.
struct Live {
    peer: Box<dyn Write>,
    reader: JoinHandle<Vec<u8>>,
    polls: Rc<Cell<u32>>,
    /// Whether the task is to be polled in the next turn whatever its events are: it was spawned.
    /// None if that is not known.
    owed: Option<bool>,
    sent: Vec<u8>,
    sends: usize,
    token: u64,
}

/// What the rewriting of a batch leaves for the next turn, and what it is told.
#[derive(Default)]
struct Batch {
    /// Events of the kernel's that are held back.
    held: Vec<Event>,
    /// Which of the events at hand to hold back, by bits.
    hold: u8,
    reverse: bool,
    made_up: Vec<Event>,
    /// What the runtime was given.
    delivered: Vec<Event>,
    /// Tokens of the kernel's that were not known before.
    new_tokens: Vec<u64>,
    known: Vec<u64>,
}

impl Batch {
    fn rewrite(&mut self, events: &mut Vec<Event>) {
        for token in events.iter().map(|event| event.token()) {
            if !self.known.contains(&token) {
                self.known.push(token);
                self.new_tokens.push(token);
            }
        }
        let mut at_hand = std::mem::take(&mut self.held);
        at_hand.append(events);
        for (index, event) in at_hand.into_iter().enumerate() {
            let hold = self.hold >> (index % 8) & 1 == 1;
            if hold { &mut self.held } else { &mut *events }.push(event);
        }
        events.append(&mut self.made_up);
        if self.reverse {
            events.reverse();
        }
        self.delivered.clone_from(events);
    }
}

struct World {
    kernel: Arc<PassThrough>,
    runtime: Runtime,
    batch: Arc<Mutex<Batch>>,
    live: Vec<Live>,
    closed: Vec<u64>,
    sleepers: Vec<JoinHandle<()>>,
    made: usize,
}

/// `data` is a program; see `World::step`.
pub fn run(data: &[u8]) {
    let mut world = World::new();
    let mut program = Bytes(data);
    while let Some(operation) = program.next() {
        world.step(operation, &mut program);
    }
    world.end();
}

impl World {
    fn new() -> World {
        let kernel = PassThrough::new();
        let runtime = Runtime::on(kernel.handle()).expect("descriptors for a runtime");
        let batch = Arc::new(Mutex::new(Batch::default()));
        let rewritten = Arc::clone(&batch);
        kernel.set_rule(move |call, _| {
            let batch = Arc::clone(&rewritten);
            (call == Call::EpollWait).then(|| {
                Fault::Rewrite(Box::new(move |events| {
                    batch.lock().expect("no rewriting panics").rewrite(events);
                }))
            })
        });
        let (live, closed, sleepers) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = World { kernel, runtime, batch, live, closed, sleepers, made: 0 };
        // Aborting from outside of a turn has the notifier reported: its token is now known.
        let sleeper = world.runtime.spawn(std::future::pending::<()>());
        world.calm_turn();
        sleeper.abort();
        world.calm_turn();
        assert_eq!(world.batch().new_tokens.drain(..).count(), 1, "the notifier has a token");
        world
    }

    fn batch(&self) -> std::sync::MutexGuard<'_, Batch> {
        self.batch.lock().expect("no rewriting panics")
    }

    fn step(&mut self, operation: u8, program: &mut Bytes<'_>) {
        match operation % 8 {
            0 => self.open(operation >= 0xc0),
            1 if !self.live.is_empty() => self.close(program.index(self.live.len())),
            2 if !self.live.is_empty() => {
                let (index, count) = (program.index(self.live.len()), program.index(40));
                self.live[index].send(count);
            }
            3 if self.made < MADE_MAX => {
                self.made += 1;
                let far = Duration::from_secs(3600 << (operation >> 4));
                self.sleepers.push(self.runtime.spawn(sleep(far)));
            }
            4 if !self.sleepers.is_empty() => {
                let index = program.index(self.sleepers.len());
                self.sleepers.swap_remove(index).abort();
            }
            _ => {
                let made_up = (0..operation >> 5).map(|_| self.make_up(program)).collect();
                let mut batch = self.batch();
                (batch.hold, batch.made_up) = (program.byte(), made_up);
                batch.reverse = operation & 8 != 0;
                drop(batch);
                self.turn();
            }
        }
    }

    /// Opens a socket, has a task wait to read it, and learns the token it is registered with.
    fn open(&mut self, over_tcp: bool) {
        if self.live.len() == LIVE_MAX || self.made == MADE_MAX {
            return;
        }
        self.made += 1;
        self.batch().hold = 0;
        let looks = self.kernel.count(Call::EpollWait);
        let (stream, peer) = if over_tcp { self.tcp_pair() } else { self.unix_pair() };
        if self.kernel.count(Call::EpollWait) != looks {
            // The connection did not stand at once, so other tasks ran meanwhile.
            self.live.iter_mut().for_each(|live| live.owed = None);
        }
        let polls = Rc::new(Cell::new(0));
        let reader = self.runtime.spawn(counted(Rc::clone(&polls), read_all(stream)));
        let (owed, token) = (Some(true), u64::MAX);
        let mut live = Live { peer, reader, polls, owed, sent: Vec::new(), sends: 0, token };
        // This it reads in its first poll, before it is registered.
        live.send(1);
        self.live.push(live);
        self.calm_turn();
        let since = Instant::now();
        let newest = self.live.len() - 1;
        let token = loop {
            if let Some(token) = self.batch().new_tokens.pop() {
                break token;
            }
            assert!(since.elapsed() < PATIENCE, "no event for what was sent");
            self.live[newest].send(1);
            // The turn that brings the event can't know whose it is.
            self.live[newest].owed = None;
            self.calm_turn();
        };
        self.live[newest].token = token;
        assert!(!self.closed.contains(&token), "a token is used twice");
    }

    /// A pair whose end here was taken over from elsewhere: it is deregistered explicitly.
    fn unix_pair(&self) -> (net::TcpStream, Box<dyn Write>) {
        let (ours, peer) = UnixStream::pair().expect("descriptors for a pair");
        let stream = self
            .runtime
            .block_on(async { net::TcpStream::from_std(TcpStream::from(OwnedFd::from(ours))) });
        (stream.expect("any stream socket will do"), Box::new(peer))
    }

    /// A pair whose end here the runtime made: closing it deregisters it.
    fn tcp_pair(&self) -> (net::TcpStream, Box<dyn Write>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let stream = self.runtime.block_on(net::TcpStream::connect(address));
        let stream = stream.expect("the listener is there");
        // Closed by a reset: a fuzzer's sockets must not linger by the thousand.
        stream.set_linger(Some(Duration::ZERO)).expect("lingering can be set");
        let (peer, _) = listener.accept().expect("the connection stands");
        peer.set_nodelay(true).expect("it is a TCP socket");
        (stream, Box::new(peer))
    }

    /// Closes a socket by aborting its task. Its token is stale after the next turn.
    fn close(&mut self, index: usize) {
        let live = self.live.swap_remove(index);
        live.reader.abort();
        self.closed.push(live.token);
    }

    fn make_up(&self, program: &mut Bytes<'_>) -> Event {
        let shape = program.byte();
        let pick = |tokens: &[u64], program: &mut Bytes<'_>| match tokens.len() {
            0 => 0,
            count => tokens[program.index(count)],
        };
        let live: Vec<u64> = self.live.iter().map(|live| live.token).collect();
        let token = match shape % 7 {
            0 => pick(&live, program),
            1 => pick(&self.closed, program),
            // The generation after, and the one before.
            2 => pick(&live, program).wrapping_add(1 << 32),
            3 => pick(&live, program).wrapping_sub(1 << 32),
            4 => u64::from(program.byte()) | program.number(1) << 32,
            // Any that the kernel ever reported, the notifier's among them.
            5 => pick(&self.batch().known, program),
            _ => program.number(8),
        };
        let bits = match shape >> 6 {
            0 => EPOLLIN,
            1 => EPOLLOUT,
            2 => program.number(2) as u32,
            _ => program.number(4) as u32,
        };
        Event::new(token, bits)
    }

    /// A turn in which the runtime is given what the kernel has, and nothing else.
    fn calm_turn(&mut self) {
        self.batch().hold = 0;
        self.turn();
    }

    /// A turn, after which the tasks have been polled that were to be, and no others.
    fn turn(&mut self) {
        let before: Vec<u32> = self.live.iter().map(|live| live.polls.get()).collect();
        let _ = self.runtime.turn().expect("the kernel never refuses");
        let delivered = std::mem::take(&mut self.batch().delivered);
        for (live, before) in self.live.iter_mut().zip(before) {
            let token = live.token;
            let own = |event: &Event| event.token() == token && event.readiness().is_readable();
            if let Some(owed) = live.owed {
                let is_due = owed || delivered.iter().any(own);
                assert_eq!(live.polls.get() - before, is_due.into(), "polls of {token:#x}");
            }
            live.owed = Some(false);
        }
    }

    /// Every byte that was sent arrives, and nothing is left.
    fn end(mut self) {
        // Those that are held back come after all.
        self.calm_turn();
        let runtime = &self.runtime;
        runtime.block_on(async {
            for live in self.live.drain(..) {
                drop(live.peer);
                let received = timeout(PATIENCE, live.reader).await;
                let received = received.expect("the end of the stream arrives");
                assert_eq!(received.expect("no reader panics"), live.sent);
            }
            for sleeper in self.sleepers.drain(..) {
                sleeper.abort();
                assert!(sleeper.await.is_err(), "a sleep of hours is over");
            }
        });
        // Those closed last have their turn to drop what they hold.
        let _ = runtime.turn().expect("the kernel never refuses");
        assert_eq!(runtime.task_count(), 0);
        assert_eq!(runtime.source_and_timer_counts(), (0, 0));
        assert_eq!(self.kernel.open_count(), RUNTIMES_OWN);
        drop(self.runtime);
        assert_eq!(self.kernel.open_count(), 0);
    }
}

impl Live {
    fn send(&mut self, count: usize) {
        if self.sends == SENDS_MAX {
            return;
        }
        self.sends += 1;
        let bytes: Vec<u8> = (0..count).map(|index| (self.sent.len() + index) as u8).collect();
        self.peer.write_all(&bytes).expect("there is room for a few bytes");
        self.sent.extend(bytes);
    }
}

/// In so few reads that it never gives way to other tasks, whatever a program sent.
async fn read_all(mut stream: net::TcpStream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        match stream.read(&mut buffer).await.expect("nothing but an end ends a stream") {
            0 => return all,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The future, with its polls counted.
async fn counted<F: Future>(polls: Rc<Cell<u32>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(move |cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
    .await
}
