//! Programs under test, run as processes, and a client that sends whatever bytes it is told to.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long anything may take before the test has failed: far more than it needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Processes to end with us, also when the watchdog ends us.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn running() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the test program with a message if the test hangs; dropped, it goes away.
pub(crate) struct Watchdog {
    /// Its drop ends the thread.
    _alive: Sender<()>,
}

impl Watchdog {
    pub(crate) fn new(test: &'static str) -> Watchdog {
        let (alive, gone) = channel::<()>();
        thread::spawn(move || {
            if gone.recv_timeout(3 * PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // Not by a macro, whose text the test harness would keep to itself.
                let _ = writeln!(std::io::stderr(), "\nthe test {test} hangs");
                for pid in &*running() {
                    signal(*pid, "KILL");
                }
                std::process::exit(101);
            }
        });
        Watchdog { _alive: alive }
    }
}

/// Sends a signal to a process that we started.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

/// A program that runs, with its output line by line.
pub(crate) struct Program {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// What was not read before.
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Program {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        running().push(child.id());
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Program { child, out, err }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output.
    pub(crate) fn line(&self) -> String {
        self.out.recv_timeout(PATIENCE).expect("the program says something in time")
    }

    /// The next line of its standard error.
    pub(crate) fn error_line(&self) -> String {
        self.err.recv_timeout(PATIENCE).expect("the program complains in time")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        let status: ExitStatus = self.child.wait().unwrap();
        let (out, err) = (self.out.iter().collect(), self.err.iter().collect());
        Ended { code: status.code(), out, err }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        running().retain(|pid| *pid != self.child.id());
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

pub(crate) fn delayserver() -> Command {
    Command::new(env!("CARGO_BIN_EXE_delayserver"))
}

/// A delayserver that listens.
pub(crate) struct DelayServer {
    pub(crate) program: Program,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl DelayServer {
    /// Started on a free port of 127.0.0.1.
    pub(crate) fn start(flags: &[&str]) -> DelayServer {
        DelayServer::of(delayserver().args(flags).arg("127.0.0.1:0"), 1)
    }

    pub(crate) fn of(command: &mut Command, listeners: usize) -> DelayServer {
        let program = Program::start(command);
        let mut addresses = Vec::new();
        while addresses.len() < listeners {
            if let Some(address) = program.line().strip_prefix("listening on ") {
                addresses.push(address.parse().unwrap());
            }
        }
        DelayServer { program, addresses }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.address())
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(self) -> Ended {
        self.program.signal("TERM");
        self.program.wait()
    }
}

/// A connection whose bytes are the test's own.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Whether a header line is in the head.
    pub(crate) fn says(&self, line: &str) -> bool {
        self.head.lines().any(|own| own == line)
    }
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream }
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).unwrap();
    }

    pub(crate) fn ask(&mut self, line: &str) {
        self.send(&request(line));
    }

    /// Asks for `path` and returns the answer.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"));
        self.answer()
    }

    /// Reads a head alone, as of a response to HEAD or of an interim one.
    pub(crate) fn head(&mut self) -> Answer {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                // A stop and a continuation of the process end a read that has a timeout.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                end => panic!("{end:?} after {:?}", String::from_utf8_lossy(&bytes)),
            }
        }
        let head = String::from_utf8(bytes).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.unwrap(), head, body: String::new() }
    }

    /// Reads a response with its body.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.expect("a length").parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// Waits for the end of the stream: true for that, false for a reset.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) fn ends(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|count| count == 0)
    }

    /// Waits for the end of the connection, before which nothing else may come.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// A request without a body.
pub(crate) fn request(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: test\r\n\r\n")
}
