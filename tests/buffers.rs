//! Reading into room that was never written, and not keeping it while nothing comes.

#[path = "common/program.rs"]
mod program;

use program::run;
use std::io;
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::task::{Context, Poll};
use whirligig::io::{AsyncRead, AsyncWrite, BufferPool};
use whirligig::net::{TcpListener, TcpStream};

const ANY: &str = "127.0.0.1:0";

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[test]
fn what_comes_goes_behind_what_is_there_and_only_where_there_is_room() {
    run(|| async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"hello, world").await.unwrap();
        let mut bytes = Vec::with_capacity(8);
        bytes.extend_from_slice(b"> ");
        assert_eq!(server.read_into(&mut bytes).await.unwrap(), 6);
        assert_eq!((&bytes[..], bytes.capacity()), (&b"> hello,"[..], 8));
        assert_eq!(server.read_into(&mut bytes).await.unwrap(), 0, "there is no room");
        bytes.clear();
        assert_eq!(server.read_into(&mut bytes).await.unwrap(), 6);
        assert_eq!(bytes, b" world");
        client.shutdown(Shutdown::Write).unwrap();
        bytes.clear();
        assert_eq!(server.read_into(&mut bytes).await.unwrap(), 0, "the end of the stream");
    });
}

#[test]
fn a_read_into_room_waits_and_halves_read_so_too() {
    run(|| async {
        let (client, mut server) = pair().await;
        let (mut read, mut write) = client.into_split();
        let reader = whirligig::spawn(async move {
            let mut bytes = Vec::with_capacity(64);
            while read.read_into(&mut bytes).await.unwrap() > 0 {}
            bytes
        });
        let mut bytes = Vec::with_capacity(64);
        let (mut half, _) = server.split();
        let (count, written) =
            whirligig::future::join(half.read_into(&mut bytes), write.write_all(b"ping")).await;
        written.unwrap();
        assert_eq!((count.unwrap(), &bytes[..]), (4, &b"ping"[..]));
        server.write_all(b"one ").await.unwrap();
        whirligig::yield_now().await;
        server.write_all(b"two").await.unwrap();
        drop(server);
        assert_eq!(reader.await.unwrap(), b"one two");
    });
}

#[test]
fn a_failed_read_adds_nothing() {
    run(|| async {
        let listener = StdListener::bind(ANY).unwrap();
        let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut stream = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
        // Closing with something unread resets the connection.
        stream.write_all(b"never read").await.unwrap();
        drop(peer);
        let mut bytes = Vec::with_capacity(64);
        bytes.push(b'>');
        let result = stream.read_into(&mut bytes).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(bytes, b">");
    });
}

/// A stream that only knows how to fill what was written before.
struct Plain(&'static [u8]);

impl AsyncRead for Plain {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(io::Read::read(&mut self.0, buffer))
    }
}

#[test]
fn streams_that_know_of_no_spare_capacity_read_into_it_all_the_same() {
    run(|| async {
        let mut stream = Plain(b"abcdef");
        let mut bytes = Vec::with_capacity(4);
        bytes.push(b'>');
        assert_eq!(stream.read_into(&mut bytes).await.unwrap(), 3);
        assert_eq!(bytes, b">abc");
        let mut all = Vec::new();
        assert_eq!(stream.read_to_end(&mut all, 3).await.unwrap(), 3);
        assert_eq!(all, b"def");
    });
}

#[test]
fn reading_to_the_end_stops_at_its_bound() {
    run(|| async {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(b'>');
        let result = Plain(b"abcdef").read_to_end(&mut bytes, 5).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(bytes, b">abcde");
        let long = vec![7; 100_000].leak();
        let mut bytes = Vec::new();
        assert_eq!(Plain(long).read_to_end(&mut bytes, long.len()).await.unwrap(), long.len());
        assert_eq!(bytes, long);
    });
}

#[test]
fn whoever_waits_holds_no_buffer() {
    run(|| async {
        let pool = BufferPool::new(1024, 8);
        let (mut client, mut server) = pair().await;
        let its_pool = pool.clone();
        let echo = whirligig::spawn(async move {
            loop {
                server.readable().await.unwrap();
                let mut buffer = its_pool.take();
                if server.read_into(&mut buffer).await.unwrap() == 0 {
                    return;
                }
                server.write_all(&buffer).await.unwrap();
            }
        });
        let mut reply = Vec::with_capacity(16);
        for _ in 0..3 {
            client.write_all(b"ping").await.unwrap();
            reply.clear();
            assert_eq!(client.read_into(&mut reply).await.unwrap(), 4);
            assert_eq!(pool.unused(), 1, "one buffer, again and again, and nobody holds it");
        }
        drop(client);
        echo.await.unwrap();
    });
}
