//! What a machine does where it stands, and where its pointers lead when it is moved.

use super::{Ask, State, ask};
use crate::Runtime;
use crate::delay::Planned;
use crate::io::{AsyncRead, AsyncWrite};
use crate::net::{TcpListener, TcpStream};
use crate::sys::fault::{Call, Fault, PassThrough};
use std::future::{Future, Ready, poll_fn, ready};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::task::Poll;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn planned() -> Planned {
    Planned { delay_ms: 0, message: "hello".into() }
}

/// A machine that has its stream and has not sent yet: it refers to itself, and is not pinned. Only
/// this module can make one.
fn sending(stream: TcpStream, request: &[u8]) -> Ask<Ready<io::Result<TcpStream>>> {
    let mut machine = Ask {
        state: State::Connecting(ready(Err(io::ErrorKind::NotConnected.into()))),
        planned: planned(),
        request: request.to_vec(),
        stream: None,
        incoming: super::Incoming::default(),
        _pinned: std::marker::PhantomPinned,
    };
    machine.begin_sending(stream);
    machine
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

#[test]
fn the_pointer_of_a_machine_that_was_moved_no_longer_points_into_it() {
    crate::run(async {
        let (near, _far) = connected().await;
        let mut machine = sending(near, b"request");
        // `begin_sending` had it at another place, from which it was returned: wherever that was,
        // begin again here.
        let stream = machine.stream.take().unwrap();
        machine.begin_sending(stream);
        assert_eq!(machine.points_into_itself(), Some(true));
        // A move, to the heap.
        let moved = Box::new(machine);
        assert_eq!(moved.points_into_itself(), Some(false));
    })
    .unwrap();
}

#[test]
fn machines_that_are_swapped_halfway_send_on_each_others_connections() {
    crate::run(async {
        let ((first, mut first_peer), (second, mut second_peer)) =
            (connected().await, connected().await);
        let boxed = |stream, request| {
            let mut machine = Box::new(sending(stream, request));
            // It is where it will be polled, and refers to itself.
            let stream = machine.stream.take().unwrap();
            machine.begin_sending(stream);
            assert_eq!(machine.points_into_itself(), Some(true));
            machine
        };
        let (mut first, mut second) = (boxed(first, b"one"), boxed(second, b"two"));
        // What `Pin` forbids: now each is at the other's place. What the pointers lead to is valid
        // still, but not theirs. Had one been moved away alone, there would be nothing.
        mem::swap(&mut *first, &mut *second);
        assert_eq!(first.points_into_itself(), Some(false));
        let (mut first, mut second) = (Box::into_pin(first), Box::into_pin(second));
        poll_fn(|cx| {
            assert!(first.as_mut().poll(cx).is_pending(), "there is no answer yet");
            assert!(second.as_mut().poll(cx).is_pending(), "there is no answer yet");
            Poll::Ready(())
        })
        .await;
        let mut heard = [[0; 3]; 2];
        first_peer.read_exact(&mut heard[0]).await.unwrap();
        second_peer.read_exact(&mut heard[1]).await.unwrap();
        assert_eq!(heard, [*b"two", *b"one"], "each on the other's connection");
    })
    .unwrap();
}

/// Answers one connection, whose request arrives in pieces of whatever size.
async fn answer(listener: &TcpListener, request_bytes: usize) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut request = vec![0; request_bytes];
    stream.read_exact(&mut request).await?;
    assert!(request.starts_with(b"GET /0/hello HTTP/1.1\r\n"));
    for byte in ANSWER {
        stream.write_all(&[*byte]).await?;
        crate::yield_now().await;
    }
    Ok(())
}

#[test]
fn it_asks_however_the_request_and_the_answer_are_cut() {
    let kernel = PassThrough::new();
    let runtime = Runtime::on(kernel.handle()).unwrap();
    // Every second send would block, and the others take one byte.
    kernel.set_rule(|call, nth| match (call, nth % 2) {
        (Call::Send, 0) => Some(Fault::Error(11)),
        (Call::Send, _) => Some(Fault::Limit(1)),
        _ => None,
    });
    let answered = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address: SocketAddr = listener.local_addr()?;
        let request = planned().to_bytes("localhost").unwrap();
        let asked = ask([address].into(), planned(), request.clone());
        // It may be moved until it is first polled.
        let asked = Box::new(asked);
        let (answered, served) =
            crate::future::join(*asked, answer(&listener, request.len())).await;
        served?;
        answered
    });
    assert_eq!(answered.unwrap(), planned());
    assert!(kernel.count(Call::Send) > 100, "the rule met the sends");
    drop(runtime);
    assert_eq!(kernel.open_count(), 0, "the connection is closed");
}

#[test]
fn dropped_at_any_wait_it_closes_its_connection() {
    const EAGAIN: i32 = 11;
    // What never gets on, from its how manieth call, and whether the machine points into itself
    // then. The first `connect` only begins.
    let waits = [(Call::Connect, 2, None), (Call::Send, 1, Some(true)), (Call::Recv, 1, None)];
    for (stuck, from, points) in waits {
        let kernel = PassThrough::new();
        let runtime = Runtime::on(kernel.handle()).unwrap();
        kernel.set_rule(move |call, nth| {
            (call == stuck && nth >= from).then_some(Fault::Error(EAGAIN))
        });
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address: SocketAddr = listener.local_addr().unwrap();
            let request = planned().to_bytes("localhost").unwrap();
            let mut asked = Box::pin(ask([address].into(), planned(), request));
            for _ in 0..5 {
                let once = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_pending()));
                assert!(once.await, "{stuck:?}");
                crate::yield_now().await;
            }
            assert_eq!(asked.points_into_itself(), points, "{stuck:?}");
            assert!(matches!(
                (&asked.state, stuck),
                (State::Connecting(_), Call::Connect)
                    | (State::Sending(_), Call::Send)
                    | (State::Receiving, Call::Recv)
            ));
        });
        drop(runtime);
        assert_eq!(kernel.open_count(), 0, "{stuck:?}");
    }
}

#[test]
#[should_panic(expected = "a coroutine is not resumed after it is done")]
fn a_machine_that_is_done_is_not_polled_again() {
    let asked = std::pin::pin!(ask([].into(), planned(), Vec::new()));
    crate::run(async {
        let mut asked = asked;
        assert!(asked.as_mut().await.is_err());
        let _ = asked.await;
    })
    .unwrap();
}

#[test]
fn the_machine_is_smaller_than_the_one_that_the_compiler_makes() {
    async fn compiled(
        addresses: std::rc::Rc<[SocketAddr]>,
        planned: Planned,
        request: Vec<u8>,
    ) -> io::Result<Planned> {
        let mut stream = TcpStream::connect(&*addresses).await?;
        stream.write_all(&request).await?;
        let mut incoming = super::Incoming::default();
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await?;
            if let Some((status, body)) = incoming.receive(&chunk[..count])? {
                planned.check(status, &body)?;
                return Ok(planned);
            }
        }
    }
    let by_hand = size_of_val(&ask([].into(), planned(), Vec::new()));
    let by_compiler = size_of_val(&compiled([].into(), planned(), Vec::new()));
    assert!(by_hand < 1024 && by_compiler > 4096, "{by_hand} bytes and {by_compiler}");
}
