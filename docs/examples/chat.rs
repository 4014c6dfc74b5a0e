//! A chat room: each line that a member sends goes to all the others.
//!
//! Tasks stay on one thread, so the room is shared by `Rc` and `RefCell`: no lock, no channel.
//!
//! `cargo run --example chat` brings three members of its own and ends. With an address, such as
//! `cargo run --example chat 127.0.0.1:7000`, it is open to `nc` until it is interrupted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use whirligig::future::{Either, race};
use whirligig::io::{AsyncWrite, BufReader};
use whirligig::net::{SocketAddr, TcpListener, TcpStream};

/// Bytes of a line; whoever sends a longer one is put out.
const LINE_BYTES_MAX: usize = 1024;

/// Lines that wait for one member; whoever reads too slowly misses those beyond.
const LINES_MAX: usize = 64;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    whirligig::run(async {
        match address {
            Some(address) => open(TcpListener::bind(address).await?).await,
            None => three_members().await,
        }
    })?
}

/// Takes in whoever comes.
async fn open(listener: TcpListener) -> io::Result<()> {
    let room = Rc::new(Room::default());
    loop {
        let (stream, peer) = listener.accept().await?;
        let (room, mailbox) = (Rc::clone(&room), Rc::new(Mailbox::default()));
        room.0.borrow_mut().push(Rc::clone(&mailbox));
        whirligig::spawn(async move {
            if let Err(error) = attend(stream, &room, &mailbox).await {
                println!("{peer}: {error}");
            }
            room.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, &mailbox));
        });
    }
}

/// One member, until its stream ends.
async fn attend(stream: TcpStream, room: &Room, own: &Rc<Mailbox>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let (mut reader, mut line) = (BufReader::new(reader), Vec::new());
    writer.write_all(b"welcome\n").await?;
    loop {
        // Both may lose the race: what was read stays in `line`, what was posted in the mailbox.
        match race(reader.read_line(&mut line, LINE_BYTES_MAX), own.next()).await {
            Either::First(count) => {
                if count? == 0 {
                    return Ok(());
                }
                room.post(&line, own);
                line.clear();
            }
            Either::Second(posted) => writer.write_all(&posted).await?,
        }
    }
}

#[derive(Default)]
struct Room(RefCell<Vec<Rc<Mailbox>>>);

impl Room {
    fn post(&self, line: &[u8], from: &Rc<Mailbox>) {
        let line: Rc<[u8]> = line.into();
        for mailbox in self.0.borrow().iter().filter(|mailbox| !Rc::ptr_eq(mailbox, from)) {
            mailbox.put(&line);
        }
    }
}

/// The lines that wait for one member.
#[derive(Default)]
struct Mailbox {
    lines: RefCell<VecDeque<Rc<[u8]>>>,
    waiting: Cell<Option<Waker>>,
}

impl Mailbox {
    fn put(&self, line: &Rc<[u8]>) {
        let mut lines = self.lines.borrow_mut();
        if lines.len() < LINES_MAX {
            lines.push_back(Rc::clone(line));
        }
        // A waker is somebody else's code: it runs when nothing is borrowed.
        drop(lines);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    async fn next(&self) -> Rc<[u8]> {
        poll_fn(|cx| {
            let line = self.lines.borrow_mut().pop_front();
            if line.is_none() {
                self.waiting.set(Some(cx.waker().clone()));
            }
            line.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

async fn three_members() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let room = whirligig::spawn(open(listener));
    let (mut ada, mut bob, mut eve) =
        (Member::join(address).await?, Member::join(address).await?, Member::join(address).await?);
    ada.writer.write_all(b"ada: good morning\n").await?;
    print!("to bob | {}", bob.line().await?);
    print!("to eve | {}", eve.line().await?);
    bob.writer.write_all(b"bob: hello ada\n").await?;
    print!("to ada | {}", ada.line().await?);
    print!("to eve | {}", eve.line().await?);
    room.abort();
    Ok(())
}

struct Member {
    reader: BufReader<whirligig::net::OwnedReadHalf>,
    writer: whirligig::net::OwnedWriteHalf,
}

impl Member {
    /// Comes in, and waits to be welcomed: from then on it hears what is said.
    async fn join(room: SocketAddr) -> io::Result<Member> {
        let (reader, writer) = TcpStream::connect(room).await?.into_split();
        let mut member = Member { reader: BufReader::new(reader), writer };
        member.line().await?;
        Ok(member)
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_line(&mut line, LINE_BYTES_MAX).await?;
        String::from_utf8(line).map_err(io::Error::other)
    }
}
