//! TCP as a program sees it: on real sockets, without injected faults (those are in `faults`).

#[path = "common/program.rs"]
mod program;

use program::{ends, run};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use whirligig::future::join_all;
use whirligig::io::{AsyncRead, AsyncWrite, BufReader};
use whirligig::net::{Shutdown, TcpListener, TcpSocket, TcpStream};
use whirligig::sys::is_exhaustion;
use whirligig::sys::signal::{Signal, set_default};
use whirligig::time::{sleep, timeout};
use whirligig::{Runtime, spawn, yield_now};

const ANY: &str = "127.0.0.1:0";

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// A stream of ours and its peer, which blocks.
async fn pair_with_std() -> (TcpStream, StdStream) {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().await.unwrap().0, peer)
}

/// The stream is registered, and known to have nothing to read.
async fn nothing_yet(stream: &mut TcpStream) {
    let mut buffer = [0; 8];
    let mut read = pin!(stream.read(&mut buffer));
    poll_fn(|cx| {
        assert!(read.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn byte_at(index: usize) -> u8 {
    (index * 7 + index / 251) as u8
}

async fn write_pattern(stream: &mut impl AsyncWrite, total: usize) {
    let bytes: Vec<u8> = (0..total).map(byte_at).collect();
    stream.write_all(&bytes).await.unwrap();
}

async fn read_pattern(stream: &mut impl AsyncRead, total: usize, step: usize) {
    let (mut buffer, mut index) = (vec![0; step], 0);
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        for &byte in &buffer[..count] {
            assert_eq!(byte, byte_at(index), "byte {index}");
            index += 1;
        }
        yield_now().await;
    }
    assert_eq!(index, total);
}

#[test]
fn megabytes_pass_both_ways_at_once_through_small_buffers_to_slow_readers() {
    const TOTAL: usize = 3 << 20;
    run(|| async {
        let socket = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_send_buffer(16 * 1024).unwrap();
            socket.set_receive_buffer(16 * 1024).unwrap();
            socket
        };
        let listener = socket();
        listener.bind(ANY.parse().unwrap()).unwrap();
        let listener = listener.listen(1).unwrap();
        let one = socket().connect(listener.local_addr().unwrap()).await.unwrap();
        let (other, _) = listener.accept().await.unwrap();
        let mut tasks = Vec::new();
        for stream in [one, other] {
            let (mut read, mut write) = stream.into_split();
            tasks.push(spawn(async move { write_pattern(&mut write, TOTAL).await }));
            tasks.push(spawn(async move { read_pattern(&mut read, TOTAL, 5000).await }));
        }
        for task in join_all(tasks).await {
            task.unwrap();
        }
    });
}

#[test]
fn the_end_of_the_stream_that_comes_with_the_last_bytes_is_found() {
    run(|| async {
        let (mut stream, mut peer) = pair_with_std().await;
        nothing_yet(&mut stream).await;
        peer.write_all(b"last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0, "and again");
    });
}

#[test]
fn a_stream_may_be_read_after_its_writing_ended_and_the_other_way_round() {
    run(|| async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"question").await.unwrap();
        client.close().await.unwrap();
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes, 100).await.unwrap();
        assert_eq!(bytes, b"question");
        server.closed().await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        bytes.clear();
        client.read_to_end(&mut bytes, 100).await.unwrap();
        assert_eq!(bytes, b"answer");
        assert_eq!(client.write(b"!").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_reset_wakes_whoever_reads_writes_or_waits_for_the_end() {
    run(|| async {
        for waiter in 0..3 {
            let (mut stream, peer) = pair().await;
            let task = spawn(async move {
                match waiter {
                    0 => stream.read(&mut [0; 8]).await.map(drop),
                    1 => loop {
                        stream.write_all(&[7; 65536]).await?;
                    },
                    _ => {
                        stream.closed().await?;
                        stream.read(&mut [0; 8]).await.map(drop)
                    }
                }
            });
            for _ in 0..10 {
                yield_now().await;
            }
            peer.set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let error = task.await.unwrap().unwrap_err();
            let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
            assert!(kinds.contains(&error.kind()), "waiter {waiter}: {error}");
        }
    });
}

#[test]
fn a_peer_that_goes_is_noticed_although_its_bytes_were_not_read() {
    run(|| async {
        let (mut stream, mut peer) = pair_with_std().await;
        peer.write_all(b"GET").unwrap();
        let mut buffer = [0; 2];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 2);
        assert!(timeout(Duration::from_millis(5), stream.closed()).await.is_err());
        drop(peer);
        stream.closed().await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1, "what came before is still there");
    });
}

#[test]
fn peeking_takes_nothing_and_clears_no_readiness() {
    run(|| async {
        let (mut stream, mut peer) = pair_with_std().await;
        nothing_yet(&mut stream).await;
        peer.write_all(b"abc").unwrap();
        let mut buffer = [0; 100];
        for _ in 0..3 {
            assert_eq!(stream.peek(&mut buffer).await.unwrap(), 3);
        }
        stream.readable().await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
    });
}

#[test]
fn an_empty_buffer_reads_nothing_and_ends_nothing() {
    run(|| async {
        let (mut stream, mut peer) = pair_with_std().await;
        nothing_yet(&mut stream).await;
        peer.write_all(b"abc").unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 3);
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
    });
}

#[test]
fn two_tasks_that_accept_on_one_listener_both_get_a_connection() {
    run(|| async {
        let listener = std::rc::Rc::new(TcpListener::bind(ANY).await.unwrap());
        let address = listener.local_addr().unwrap();
        let accept = |listener: std::rc::Rc<TcpListener>| {
            spawn(async move { listener.accept().await.unwrap().1 })
        };
        let tasks = [accept(listener.clone()), accept(listener.clone())];
        yield_now().await;
        yield_now().await;
        let clients = [StdStream::connect(address).unwrap(), StdStream::connect(address).unwrap()];
        let mut accepted = Vec::new();
        for task in tasks {
            accepted.push(task.await.unwrap());
        }
        let mut addresses = clients.map(|client| client.local_addr().unwrap());
        addresses.sort();
        accepted.sort();
        assert_eq!(accepted, addresses);
    });
}

#[test]
fn an_accept_that_is_dropped_after_its_wake_takes_no_connection_with_it() {
    run(|| async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut dropped = Box::pin(listener.accept());
        let mut waiting = pin!(listener.accept());
        poll_fn(|cx| {
            assert!(dropped.as_mut().poll(cx).is_pending());
            assert!(waiting.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let client = StdStream::connect(address).unwrap();
        // The event comes, and wakes both.
        sleep(Duration::from_millis(1)).await;
        drop(dropped);
        assert_eq!(waiting.await.unwrap().1, client.local_addr().unwrap());
    });
}

/// Polls a future that has to wait, drops it, and sees whether its waker is gone with it.
fn leaves_no_waker(what: &str, future: impl Future) {
    let owner = Arc::new(Nobody);
    let waker = Waker::from(Arc::clone(&owner));
    let mut future = Box::pin(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "{what}");
    assert!(Arc::strong_count(&owner) > 2, "{what} waits without a waker");
    drop(future);
    drop(waker);
    assert_eq!(Arc::strong_count(&owner), 1, "{what} leaves its waker");
}

#[test]
fn a_future_that_is_dropped_takes_its_waker_out() {
    run(|| async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        leaves_no_waker("accept", listener.accept());
        leaves_no_waker("sleep", sleep(Duration::MAX));
        let (mut stream, mut peer) = pair().await;
        let (mut buffer, mut byte) = ([0; 8], [0; 1]);
        leaves_no_waker("read", stream.read(&mut buffer));
        leaves_no_waker("read_exact", stream.read_exact(&mut buffer));
        leaves_no_waker("read_to_end", stream.read_to_end(&mut Vec::new(), 9));
        leaves_no_waker("peek", stream.peek(&mut buffer));
        leaves_no_waker("read_vectored", stream.read_vectored(&mut [IoSliceMut::new(&mut byte)]));
        leaves_no_waker("readable", stream.readable());
        leaves_no_waker("closed", stream.closed());
        let short = Duration::from_millis(900);
        leaves_no_waker("timeout", timeout(short, stream.read(&mut buffer)));
        leaves_no_waker("fill_buffer", BufReader::new(&mut stream).fill_buffer());
        while poll_once(pin!(stream.write(&[7; 65536]))).is_ready() {}
        leaves_no_waker("write", stream.write(&buffer));
        leaves_no_waker("write_all", stream.write_all(&buffer));
        leaves_no_waker("write_vectored", stream.write_vectored(&[IoSlice::new(&buffer)]));
        leaves_no_waker("writable", stream.writable());
        let (read, mut write) = stream.into_split();
        leaves_no_waker("an owned half", async move {
            poll_fn(|cx| write.poll_write(cx, &[1])).await.unwrap();
        });
        drop(read);
        peer.readable().await.unwrap();
    });
}

#[test]
fn the_waker_of_a_long_timeout_that_is_not_needed_goes_with_the_next_look() {
    run(|| async {
        let owner = Arc::new(Nobody);
        let waker = Waker::from(Arc::clone(&owner));
        let mut waits = Box::pin(timeout(Duration::from_secs(60), std::future::pending::<()>()));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waits);
        drop(waker);
        // It was kept for the next timeout; the runtime looks at the kernel before it waits.
        sleep(Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&owner), 1);
    });
}

#[test]
fn a_socket_outlives_its_runtime_and_says_so() {
    ends(|| {
        let runtime = Runtime::new().unwrap();
        let (mut stream, mut peer) = runtime.block_on(async {
            let (mut stream, peer) = pair_with_std().await;
            nothing_yet(&mut stream).await;
            (stream, peer)
        });
        drop(runtime);
        let Poll::Ready(result) = poll_once(pin!(stream.read(&mut [0; 8]))) else {
            panic!("nobody would ever wake it")
        };
        result.unwrap_err();
        stream.local_addr().unwrap();
        Runtime::new().unwrap().block_on(async {
            stream.read(&mut [0; 8]).await.unwrap_err();
            stream.readable().await.unwrap_err();
            let mut stream = stream.detach().attach();
            nothing_yet(&mut stream).await;
            peer.write_all(b"hi").unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 2);
        });
    });
}

#[test]
fn a_socket_under_another_runtime_than_its_own_gives_an_error() {
    ends(|| {
        let (home, abroad) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let (listener, mut stream, peer) = home.block_on(async {
            let (mut stream, peer) = pair_with_std().await;
            nothing_yet(&mut stream).await;
            let listener = TcpListener::bind(ANY).await.unwrap();
            assert!(poll_once(pin!(listener.accept())).is_pending());
            (listener, stream, peer)
        });
        abroad.block_on(async {
            let error = stream.read(&mut [0; 8]).await.unwrap_err();
            assert!(error.to_string().contains("another runtime"), "{error}");
            stream.closed().await.unwrap_err();
            listener.accept().await.unwrap_err();
        });
        home.block_on(async {
            drop(peer);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "at home it is as it was");
        });
    });
}

#[test]
fn a_detached_stream_goes_to_another_thread() {
    let (detached, mut peer) = run(|| async {
        let (mut stream, peer) = pair_with_std().await;
        nothing_yet(&mut stream).await;
        (stream.detach(), peer)
    });
    run(move || async move {
        let mut stream = detached.attach();
        nothing_yet(&mut stream).await;
        peer.write_all(b"hello").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 5);
    });
}

/// An address of this machine at which nobody listens.
fn nobody() -> SocketAddr {
    StdListener::bind(ANY).unwrap().local_addr().unwrap()
}

#[test]
fn a_refused_connect_says_who_refused_and_another_address_may_do() {
    run(|| async {
        let refused = nobody();
        let error = TcpStream::connect(refused).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&refused.to_string()), "{error}");
        let listener = TcpListener::bind(ANY).await.unwrap();
        let addresses = [refused, listener.local_addr().unwrap()];
        let stream = TcpStream::connect(&addresses[..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        let none: &[SocketAddr] = &[];
        let error = TcpStream::connect(none).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_connect_that_nobody_answers_can_be_given_up() {
    run(|| async {
        // A queue that is full: what comes then gets no answer at all.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(ANY.parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _queued = StdStream::connect(address).unwrap();
        for _ in 0..3 {
            let connecting = TcpStream::connect(address);
            assert!(timeout(Duration::from_millis(5), connecting).await.is_err());
        }
    });
}

/// Set in the child process of a test that starts itself again.
const CHILD: &str = "WHIRLIGIG_TEST_CHILD";

#[test]
fn writing_to_a_peer_that_is_gone_does_not_kill_the_process() {
    const NAME: &str = "writing_to_a_peer_that_is_gone_does_not_kill_the_process";
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", NAME]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    // Rust's programs start out ignoring it; in this one it would kill.
    set_default(Signal::Pipe).unwrap();
    run(|| async {
        for vectored in [false, true] {
            let (mut stream, peer) = pair_with_std().await;
            drop(peer);
            let error = loop {
                let parts = [IoSlice::new(b"anyone"), IoSlice::new(b"there?")];
                let written = match vectored {
                    true => stream.write_vectored(&parts).await,
                    false => stream.write(b"anyone?").await,
                };
                match written {
                    Ok(_) => yield_now().await,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn a_process_without_descriptors_left_accepts_again_once_it_has_one() {
    const NAME: &str = "a_process_without_descriptors_left_accepts_again_once_it_has_one";
    if std::env::var_os(CHILD).is_none() {
        // The limit is the process's, and the other tests live in this one.
        let limited = "ulimit -n 40; exec \"$0\" --exact \"$1\"";
        let mut child = Command::new("sh");
        child.args(["-c", limited]).arg(std::env::current_exe().unwrap()).arg(NAME);
        let output = child.env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    run(|| async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let clients = [(); 2].map(|()| StdStream::connect(listener.local_addr().unwrap()).unwrap());
        let mut all = Vec::new();
        let full = loop {
            match clients[0].try_clone() {
                Ok(clone) => all.push(clone),
                Err(error) => break error,
            }
        };
        assert!(is_exhaustion(&full), "{full}");
        let mut accepted = Vec::new();
        for client in &clients {
            for _ in 0..3 {
                let error = listener.accept().await.unwrap_err();
                assert!(is_exhaustion(&error), "{error}");
            }
            all.pop();
            let (stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            accepted.push(stream);
        }
    });
}

#[test]
fn a_name_can_be_listened_at_and_connected_to() {
    run(|| async {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0);
        let client = TcpStream::connect(("localhost", address.port())).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
        let error = TcpStream::connect("no port").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn vectored_calls_fill_and_send_several_buffers_in_order() {
    run(|| async {
        let (mut one, mut other) = pair().await;
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(one.write_vectored(&parts).await.unwrap(), 5);
        let (mut first, mut second) = ([0; 1], [0; 9]);
        let mut into = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(other.read_vectored(&mut into).await.unwrap(), 5);
        assert_eq!((&first, &second[..4]), (b"a", &b"bcde"[..]));
        assert_eq!(other.read_vectored(&mut []).await.unwrap(), 0);
        assert_eq!(one.write_vectored(&[]).await.unwrap(), 0);
    });
}

#[test]
fn a_transfer_of_nothing_does_not_wait() {
    run(|| async {
        let (mut stream, _peer) = pair().await;
        nothing_yet(&mut stream).await;
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);
        assert_eq!(stream.read_into(&mut Vec::new()).await.unwrap(), 0);
        assert_eq!(stream.read_vectored(&mut [IoSliceMut::new(&mut [])]).await.unwrap(), 0);
        assert_eq!(stream.peek(&mut []).await.unwrap(), 0);
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
    });
}

#[test]
fn more_buffers_than_one_call_takes_make_no_result_short() {
    run(|| async {
        let (mut stream, mut peer) = pair_with_std().await;
        nothing_yet(&mut stream).await;
        peer.write_all(&[7; 3000]).unwrap();
        let mut left = 3000;
        while left > 0 {
            let mut bytes = [0; 1500];
            let mut parts: Vec<IoSliceMut<'_>> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
            left -= stream.read_vectored(&mut parts).await.unwrap();
        }
        stream.writable().await.unwrap();
        let parts: Vec<IoSlice<'_>> = [7; 3000].chunks(1).map(IoSlice::new).collect();
        let mut parts = &parts[..];
        while !parts.is_empty() {
            parts = &parts[stream.write_vectored(parts).await.unwrap()..];
        }
        let mut bytes = [0; 3000];
        peer.read_exact(&mut bytes).unwrap();
    });
}

#[test]
fn the_options_of_a_stream_are_those_that_were_set() {
    run(|| async {
        let mut addresses = vec![ANY];
        if StdListener::bind("[::1]:0").is_ok() {
            addresses.push("[::1]:0");
        }
        for address in addresses {
            let listener = TcpListener::bind(address).await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            assert_eq!(stream.local_addr().unwrap(), listener.accept().await.unwrap().1);
            for on in [true, false] {
                stream.set_nodelay(on).unwrap();
                assert_eq!(stream.nodelay().unwrap(), on);
                stream.set_keepalive(on).unwrap();
                assert_eq!(stream.keepalive().unwrap(), on);
            }
            for hops in [1, 64, 255] {
                stream.set_ttl(hops).unwrap();
                assert_eq!(stream.ttl().unwrap(), hops);
            }
            for hops in [0, 256, u32::MAX] {
                let error = stream.set_ttl(hops).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{hops}");
            }
            assert_eq!(stream.linger().unwrap(), None);
            for (wait, rounded) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
                stream.set_linger(Some(Duration::from_millis(wait))).unwrap();
                assert_eq!(stream.linger().unwrap(), Some(Duration::from_secs(rounded)));
            }
            stream.set_linger(None).unwrap();
            assert_eq!(stream.linger().unwrap(), None);
            assert!(stream.take_error().unwrap().is_none());
        }
    });
}

#[test]
fn listeners_that_share_a_port_both_listen_and_others_may_not() {
    run(|| async {
        let listen = |address: SocketAddr, share: bool| {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuse_port(share)?;
            socket.bind(address)?;
            socket.listen(8)
        };
        let one = listen(ANY.parse().unwrap(), true).unwrap();
        let address = one.local_addr().unwrap();
        let two = listen(address, true).unwrap();
        assert_eq!(two.local_addr().unwrap(), address);
        let error = listen(address, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    });
}

#[test]
fn sockets_become_those_of_the_standard_library_and_come_back() {
    run(|| async {
        let listener = TcpListener::from_std(StdListener::bind(ANY).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(poll_once(pin!(listener.accept())).is_pending());
        let client = StdStream::connect(address).unwrap();
        let mut client = TcpStream::from_std(client).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        nothing_yet(&mut server).await;
        client.write_all(b"one").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 3);
        let (mut client, mut server) = (client.into_std().unwrap(), server.into_std().unwrap());
        client.set_nonblocking(false).unwrap();
        server.set_nonblocking(false).unwrap();
        client.write_all(b"two").unwrap();
        let mut bytes = [0; 3];
        server.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"two");
        assert_eq!(listener.into_std().unwrap().local_addr().unwrap(), address);
    });
}

#[test]
fn halves_work_side_by_side_and_only_those_of_one_stream_reunite() {
    run(|| async {
        let (mut one, other) = pair().await;
        let (mut read, mut write) = one.split();
        assert!(poll_once(pin!(read.read(&mut [0; 8]))).is_pending());
        write.write_all(b"from a half").await.unwrap();

        let (read, write) = one.into_split();
        let (other_read, other_write) = other.into_split();
        let error = write.reunite(other_read).unwrap_err();
        assert_eq!(error.to_string(), "the halves are of two streams");
        let (other_read, write) = (error.0, error.1);
        let mut one = write.reunite(read).unwrap();
        let mut other = other_write.reunite(other_read).unwrap();
        let mut bytes = [0; 11];
        other.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"from a half");
        other.write_all(b"still open").await.unwrap();
        assert_eq!(one.read(&mut [0; 20]).await.unwrap(), 10);
    });
}

#[test]
fn dropping_the_writing_half_ends_the_stream_for_the_peer_only() {
    run(|| async {
        let (one, mut other) = pair().await;
        let (mut read, write) = one.into_split();
        drop(write);
        assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 0);
        other.write_all(b"back").await.unwrap();
        assert_eq!(read.read(&mut [0; 8]).await.unwrap(), 4);
    });
}

#[test]
fn a_socket_is_served_beside_tasks_that_are_always_ready() {
    run(|| async {
        let (stream, mut peer) = pair_with_std().await;
        let busy = || {
            spawn(async {
                loop {
                    yield_now().await;
                }
            })
        };
        let tasks = [busy(), busy()];
        let mut stream = stream;
        nothing_yet(&mut stream).await;
        for _ in 0..3 {
            let reading = spawn(async move {
                let read = stream.read(&mut [0; 8]).await;
                (stream, read)
            });
            yield_now().await;
            peer.write_all(b"!").unwrap();
            let read;
            (stream, read) = reading.await.unwrap();
            assert_eq!(read.unwrap(), 1);
            sleep(Duration::from_micros(1)).await;
        }
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    });
}

#[test]
fn a_socket_that_is_always_ready_gives_way_to_the_others() {
    run(|| async {
        let (mut stream, mut peer) = pair_with_std().await;
        nothing_yet(&mut stream).await;
        peer.write_all(&[7; 10_000]).unwrap();
        stream.readable().await.unwrap();
        let ran = std::rc::Rc::new(std::cell::Cell::new(false));
        let other = spawn({
            let ran = ran.clone();
            async move { ran.set(true) }
        });
        let mut read = 0;
        while !ran.get() && read < 10_000 {
            read += stream.read(&mut [0; 1]).await.unwrap();
        }
        assert!(read < 1000, "{read} reads went by before the other task had its turn");
        other.await.unwrap();
    });
}

#[test]
fn a_socket_lends_its_descriptor_before_it_is_connected() {
    run(|| async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.as_fd().try_clone_to_owned().unwrap();
    });
}
