//! A client for counting what a server does: one connection, one request at a time.

use crate::Failure;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use whirligig::delay::Incoming;

/// Between an answer and the next request: the server goes to sleep in it, so that it does the
/// same for every request.
const PAUSE: Duration = Duration::from_millis(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the `echo` or `delay` server at `address` so many times, and checks its answers.
pub(crate) fn ask(address: &str, server: &str, requests: u64) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for _ in 0..requests {
        match server {
            "echo" => ask_echo(&mut stream)?,
            _ => ask_delay(&mut stream)?,
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn ask_echo(stream: &mut TcpStream) -> Result<(), Failure> {
    let message = [7; 64];
    stream.write_all(&message)?;
    let mut reply = [0; 64];
    stream.read_exact(&mut reply)?;
    if reply == message { Ok(()) } else { Err("something else came back".into()) }
}

fn ask_delay(stream: &mut TcpStream) -> Result<(), Failure> {
    stream.write_all(b"GET /0/hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut incoming = Incoming::default();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        match incoming.receive(&piece[..count])? {
            Some((200, body)) if body == b"hello" => return Ok(()),
            Some((status, _)) => return Err(format!("answered with {status}").into()),
            None => {}
        }
    }
}
