//! The delayserver as a process, and what can be seen of it from outside.

use crate::Failure;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Few enough that clients can use them up.
pub(crate) const DESCRIPTORS_MAX: usize = 256;

/// How long the server may take to be as it was before.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// The server at a moment when nobody wants anything of it.
pub(crate) struct Sample {
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
    pub(crate) memory_kb: u64,
    /// The median time of an answer without delay.
    pub(crate) quiet: Duration,
}

impl Server {
    pub(crate) fn start(flags: &[String]) -> Result<Server, Failure> {
        // It stands above the directory of the examples, this one among them.
        let own = env::current_exe()?;
        let program = own.ancestors().nth(2).ok_or("no directory of programs")?.join("delayserver");
        let limited = format!("ulimit -n {DESCRIPTORS_MAX} && exec \"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &limited])
            .arg(program)
            .args(["--quiet", "--idle-timeout=2", "--header-timeout=1", "--drain=5"])
            .args(flags)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        for line in BufReader::new(out).lines() {
            if let Some(address) = line?.strip_prefix("listening on ") {
                let address = address.parse()?;
                return Ok(Server { child, address });
            }
        }
        let _ = child.kill();
        Err("the delayserver does not start".into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn sample(&self) -> Result<Sample, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let number = |name: &str| -> Result<u64, Failure> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            Ok(word.ok_or("the status of a process lacks a line")?.parse()?)
        };
        Ok(Sample {
            descriptors: self.descriptors()?,
            threads: number("Threads:")?,
            memory_kb: number("VmRSS:")?,
            quiet: self.quiet()?,
        })
    }

    fn descriptors(&self) -> Result<usize, Failure> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }

    /// How many descriptors it has when it has started, all its workers too, and nobody is there.
    pub(crate) fn descriptors_at_first(&self) -> Result<usize, Failure> {
        let mut before = 0;
        loop {
            self.quiet()?;
            thread::sleep(Duration::from_millis(500));
            let now = self.descriptors()?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Waits until it holds no more descriptors than at first.
    pub(crate) fn settle(&self, descriptors: usize) -> Result<Sample, Failure> {
        let end = Instant::now() + PATIENCE;
        while self.descriptors()? > descriptors {
            if Instant::now() > end {
                let left = self.descriptors()? - descriptors;
                return Err(format!("{left} descriptors are left open").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        let sample = self.sample()?;
        // The measurement's own connection is seen to close, too.
        while self.descriptors()? > descriptors && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Sample { descriptors: self.descriptors()?, ..sample })
    }

    fn quiet(&self) -> Result<Duration, Failure> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut times = Vec::new();
        for _ in 0..500 {
            let begin = Instant::now();
            stream.write_all(b"GET /0/quiet HTTP/1.1\r\nHost: soak\r\n\r\n")?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\nquiet") {
                let mut bytes = [0; 512];
                match stream.read(&mut bytes)? {
                    0 => return Err("the server closed a quiet connection".into()),
                    count => answer.extend_from_slice(&bytes[..count]),
                }
            }
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }

    /// Asks it to stop while a request is under way, which is answered; then it has ended well.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /0/first HTTP/1.1\r\nHost: soak\r\n\r\n")?;
        let mut first = [0; 512];
        let _taken_on = stream.read(&mut first)?;
        stream.write_all(b"GET /1000/last HTTP/1.1\r\nHost: soak\r\n\r\n")?;
        signal(self.pid(), "TERM")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = self.child.wait()?;
        if !answer.ends_with("last") || !status.success() {
            return Err(format!("at the end {answer:?}, and {status}").into());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(pid: u32, name: &str) -> Result<(), Failure> {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
    if sent.success() { Ok(()) } else { Err(format!("the server can't be sent {name}").into()) }
}
