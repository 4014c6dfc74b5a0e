//! What the runtime and TCP do when the kernel fails, interrupts, shortens or invents; and how many
//! system calls they make. On a kernel that passes through to Linux and does what a rule says.

use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use whirligig::event::{EPOLLIN, EPOLLOUT, Event};
use whirligig::future::{Either, race};
use whirligig::io::{AsyncRead, AsyncWrite, os_error};
use whirligig::net::{TcpListener, TcpSocket, TcpStream, resolve};
use whirligig::sys::fault::{Call, Fault, PassThrough, send_urgent};
use whirligig::sys::is_exhaustion;
use whirligig::time::{Instant, sleep, timeout};
use whirligig::{Runtime, spawn, yield_now};

const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EPROTO: i32 = 71;
const EAFNOSUPPORT: i32 = 97;
const ECONNABORTED: i32 = 103;
const ENOBUFS: i32 = 105;
const EHOSTDOWN: i32 = 112;

/// A test that waits this long waits for what never comes.
const STUCK: Duration = Duration::from_secs(60);

/// Runs a program on a runtime of `kernel`, on a thread of its own; afterwards nothing may be
/// registered, and once the runtime is gone nothing open.
fn run<F: Future>(
    kernel: &Arc<PassThrough>,
    program: impl FnOnce() -> F + Send + 'static,
) -> F::Output
where
    F::Output: Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let kernel = Arc::clone(kernel);
    let thread = thread::spawn(move || {
        let runtime = Runtime::on(kernel.handle()).unwrap();
        let output = runtime.block_on(program());
        assert_eq!(runtime.source_and_timer_counts(), (0, 0), "sources and timers stay behind");
        drop(runtime);
        // A thread that has just woken the runtime may be about to let go of it.
        let start = std::time::Instant::now();
        while kernel.open_count() > 0 && start.elapsed() < Duration::from_secs(5) {
            thread::yield_now();
        }
        assert_eq!(kernel.open_count(), 0, "descriptors stay behind");
        sender.send(output).unwrap();
    });
    match receiver.recv_timeout(STUCK) {
        Ok(output) => output,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it waits without end"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

const ANY: &str = "127.0.0.1:0";

/// A stream of ours and its peer, which is no concern of the kernel's.
async fn pair_with_std() -> (TcpStream, StdStream) {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().await.unwrap().0, peer)
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The stream is registered, and known to have nothing to read.
fn nothing_yet(stream: &mut TcpStream) {
    assert!(poll_once(pin!(stream.read(&mut [0; 8]))).is_pending());
}

/// Sends bytes to a server that sends them back, and compares.
async fn echo() -> io::Result<()> {
    echo_of(20_000).await
}

async fn echo_of(total: usize) -> io::Result<()> {
    let listener = TcpListener::bind(ANY).await?;
    let address = listener.local_addr()?;
    let server = spawn(async move {
        let (stream, _) = listener.accept().await?;
        let (mut read, mut write) = stream.into_split();
        whirligig::io::copy(&mut read, &mut write).await
    });
    let (mut read, mut write) = TcpStream::connect(address).await?.into_split();
    let sent: Vec<u8> = (0..total).map(|index| (index * 7 + index / 251) as u8).collect();
    let bytes = sent.clone();
    let writer = spawn(async move {
        write.write_all(&bytes).await?;
        sleep(Duration::from_micros(300)).await;
        write.close().await
    });
    let mut received = Vec::new();
    read.read_to_end(&mut received, total).await?;
    assert!(received == sent, "the bytes are others, or in another order");
    writer.await.unwrap()?;
    assert_eq!(server.await.unwrap()?, total as u64);
    Ok(())
}

#[test]
fn every_call_that_a_signal_interrupts_is_made_again() {
    let kernel = PassThrough::new();
    let mut interrupted = Vec::new();
    let (sender, receiver) = mpsc::channel();
    kernel.set_rule(move |call, nth| {
        if call == Call::Adopt || nth % 2 == 0 {
            return None;
        }
        if !interrupted.contains(&call) {
            interrupted.push(call);
            sender.send(call).unwrap();
        }
        Some(Fault::Error(EINTR))
    });
    run(&kernel, || async {
        echo().await.unwrap();
        let (mut stream, _peer) = pair_with_std().await;
        nothing_yet(&mut stream);
        while poll_once(pin!(stream.write(&[7; 65536]))).is_ready() {}
    });
    let interrupted: Vec<Call> = receiver.try_iter().collect();
    for call in [
        Call::Epoll,
        Call::Eventfd,
        Call::EpollAdd,
        Call::EpollModify,
        Call::EpollWait,
        Call::Socket,
        Call::Bind,
        Call::Listen,
        Call::Accept,
        Call::Connect,
        Call::Recv,
        Call::Send,
        Call::Shutdown,
        Call::Option,
    ] {
        assert!(interrupted.contains(&call), "{call:?} was never interrupted");
    }
}

#[test]
fn bytes_arrive_in_order_however_short_each_transfer_is() {
    for (send_most, receive_most) in [(1, 16_384), (16_384, 1), (3, 2), (1, 1)] {
        let kernel = PassThrough::new();
        kernel.set_rule(move |call, _| match call {
            Call::Send => Some(Fault::Limit(send_most)),
            Call::Recv => Some(Fault::Limit(receive_most)),
            _ => None,
        });
        run(&kernel, || async { echo_of(4_000).await.unwrap() });
    }
}

#[test]
fn a_call_that_would_block_for_no_reason_is_waited_for_and_made_again() {
    for k in 2..6 {
        let kernel = PassThrough::new();
        kernel.set_rule(move |call, nth| match call {
            Call::Recv | Call::Send | Call::Accept if nth % k == 1 => Some(Fault::Error(EAGAIN)),
            Call::Recv if nth % k == 0 => Some(Fault::Limit(7)),
            Call::Send if nth % 3 == 0 => Some(Fault::Limit(100)),
            _ => None,
        });
        run(&kernel, || async { echo().await.unwrap() });
    }
}

#[test]
fn an_accept_without_descriptors_says_so_and_the_connection_waits() {
    for number in [EMFILE, ENFILE, ENOBUFS, ENOMEM] {
        let kernel = PassThrough::new();
        kernel.set_rule(move |call, nth| {
            (call == Call::Accept && nth <= 2).then_some(Fault::Error(number))
        });
        run(&kernel, move || async move {
            let listener = TcpListener::bind(ANY).await.unwrap();
            let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            for _ in 0..2 {
                let error = listener.accept().await.unwrap_err();
                assert!(is_exhaustion(&error), "{error}");
                assert_eq!(os_error(&error), Some(number));
            }
            let (_stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        });
    }
    assert!(!is_exhaustion(&io::Error::from_raw_os_error(EPROTO)));
}

#[test]
fn a_connection_that_failed_in_the_queue_is_passed_over() {
    let kernel = PassThrough::new();
    kernel.set_rule(|call, nth| {
        let numbers = [ECONNABORTED, EPROTO, EHOSTDOWN];
        let number = numbers.get(nth as usize - 1).filter(|_| call == Call::Accept)?;
        Some(Fault::Error(*number))
    });
    run(&kernel, || async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
    });
    assert_eq!(kernel.count(Call::Accept), 4);
}

#[test]
fn without_descriptors_neither_a_runtime_nor_a_socket_can_be_made_and_nothing_leaks() {
    for call in [Call::Epoll, Call::Eventfd, Call::EpollAdd] {
        let kernel = PassThrough::new();
        kernel.set_rule(move |made, _| (made == call).then_some(Fault::Error(EMFILE)));
        assert!(is_exhaustion(&Runtime::on(kernel.handle()).unwrap_err()));
        assert_eq!(kernel.open_count(), 0, "{call:?}");
    }
    let kernel = PassThrough::new();
    kernel.set_rule(|call, _| (call == Call::Socket).then_some(Fault::Error(EMFILE)));
    run(&kernel, || async {
        assert!(is_exhaustion(&TcpListener::bind(ANY).await.unwrap_err()));
        assert!(is_exhaustion(&TcpStream::connect("127.0.0.1:9").await.unwrap_err()));
    });
}

#[test]
fn where_the_kernel_lacks_a_family_an_address_of_the_other_does() {
    let kernel = PassThrough::new();
    kernel.set_rule(|call, nth| {
        (call == Call::Socket && nth <= 2).then_some(Fault::Error(EAFNOSUPPORT))
    });
    run(&kernel, || async {
        let peer = StdListener::bind(ANY).unwrap();
        let addresses: [SocketAddr; 2] = ["[::1]:9".parse().unwrap(), peer.local_addr().unwrap()];
        let error = TcpStream::connect(addresses[0]).await.unwrap_err();
        assert_eq!(os_error(&error), Some(EAFNOSUPPORT));
        TcpStream::connect(&addresses[..]).await.unwrap();
    });
}

#[test]
fn a_wake_between_the_poll_and_the_wait_ends_the_wait() {
    for in_task in [false, true] {
        let kernel = PassThrough::new();
        let waiting: Arc<Mutex<Option<Waker>>> = Arc::default();
        let to_wake = Arc::clone(&waiting);
        kernel.set_rule(move |call, _| {
            // On the runtime's thread, after all polls, right before the wait.
            let waker = if call == Call::EpollWait {
                to_wake.lock().unwrap().take()?
            } else {
                return None;
            };
            thread::spawn(move || waker.wake()).join().unwrap();
            None
        });
        let mut rounds = 0;
        let future = move || {
            poll_fn(move |cx| {
                rounds += 1;
                if rounds == 4 {
                    return Poll::Ready(());
                }
                *waiting.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })
        };
        run(&kernel, move || async move {
            match in_task {
                true => spawn(future()).await.unwrap(),
                false => future().await,
            }
        });
    }
}

#[test]
fn data_behind_an_urgent_mark_is_read_although_the_read_before_it_was_short() {
    let kernel = PassThrough::new();
    run(&kernel, || async {
        let (mut stream, mut peer) = pair_with_std().await;
        nothing_yet(&mut stream);
        peer.write_all(b"before").unwrap();
        send_urgent(peer.as_fd(), b'!').unwrap();
        peer.write_all(b"after").unwrap();
        let mut bytes = [0; 100];
        assert_eq!(stream.read(&mut bytes).await.unwrap(), 6, "a read ends at the mark");
        assert_eq!(stream.read(&mut bytes).await.unwrap(), 5);
        assert_eq!(&bytes[..5], b"after");
    });
}

/// Has each wait report, besides what is, that every source is ready for `bits`.
fn invent(kernel: &PassThrough, bits: u32) {
    kernel.set_rule(move |call, _| {
        let rewrite = move |events: &mut Vec<Event>| {
            // The first slots of the first two generations.
            let tokens = (0..8).flat_map(|slot| [slot, 1 << 32 | slot]);
            events.extend(tokens.map(|token| Event::new(token, bits)));
        };
        (call == Call::EpollWait).then(|| Fault::Rewrite(Box::new(rewrite)))
    });
}

#[test]
fn a_connect_under_way_is_not_done_because_an_event_says_writable() {
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        // A queue that is full: what comes then gets no answer at all.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(ANY.parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _queued = StdStream::connect(address).unwrap();
        let calls = rules.count(Call::Connect);
        invent(&rules, EPOLLOUT);
        let connecting = TcpStream::connect(address);
        assert!(timeout(Duration::from_millis(20), connecting).await.is_err());
        assert!(rules.count(Call::Connect) >= calls + 3, "the event never came to it");
    });
}

#[test]
fn a_connection_that_stands_keeps_no_waker_of_the_task_that_made_it() {
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let second = rules.count(Call::Connect) + 2;
        rules.set_rule(move |call, nth| {
            let is_early = call == Call::Connect && nth == second;
            is_early.then_some(Fault::Error(EAGAIN))
        });
        let task = Arc::new(Nobody);
        let waker = Waker::from(Arc::clone(&task));
        let mut connecting = pin!(TcpStream::connect(listener.local_addr().unwrap()));
        let mut waits = 0;
        let _stream = loop {
            match connecting.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(stream) => break stream.unwrap(),
                Poll::Pending => yield_now().await,
            }
            waits += 1;
        };
        assert!(waits > 0, "it stood at once");
        assert_eq!(Arc::strong_count(&task), 2, "here and in `waker`");
    });
}

/// Whom nobody need wake.
struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn events_for_nothing_cost_a_call_and_nothing_else() {
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        let (mut stream, mut peer) = pair_with_std().await;
        let task = spawn(async move { stream.read(&mut [0; 8]).await.unwrap() });
        yield_now().await;
        invent(&rules, EPOLLIN);
        sleep(Duration::from_millis(2)).await;
        assert!(!task.is_finished());
        peer.write_all(b"now").unwrap();
        assert_eq!(task.await.unwrap(), 3);
    });
}

#[test]
fn a_registration_that_fails_is_an_error_and_can_be_tried_again() {
    let kernel = PassThrough::new();
    // The first is the runtime's own.
    kernel.set_rule(|call, nth| {
        (call == Call::EpollAdd && (2..=3).contains(&nth)).then_some(Fault::Error(ENOMEM))
    });
    run(&kernel, || async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        assert!(is_exhaustion(&listener.accept().await.unwrap_err()));
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(is_exhaustion(&stream.read(&mut [0; 8]).await.unwrap_err()));
        drop(client);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

/// What the waits report from now on.
fn record(kernel: &PassThrough) -> Arc<Mutex<Vec<Event>>> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let reported = Arc::clone(&all);
    kernel.set_rule(move |call, _| {
        let reported = Arc::clone(&reported);
        let rewrite =
            move |events: &mut Vec<Event>| reported.lock().unwrap().extend(events.iter().copied());
        (call == Call::EpollWait).then(|| Fault::Rewrite(Box::new(rewrite)))
    });
    all
}

#[test]
fn a_socket_whose_duplicate_lives_on_is_watched_no_longer() {
    // How the stream comes to have a duplicate, and how many explicit removals it takes: moving a
    // stream to another registration is one more.
    for (way, removals) in [("adopted", 1), ("lent", 1), ("adopted and detached", 2)] {
        let kernel = PassThrough::new();
        let rules = Arc::clone(&kernel);
        run(&kernel, move || async move {
            let listener = StdListener::bind(ANY).unwrap();
            let mut peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            let ours = listener.accept().unwrap().0;
            let duplicate = ours.try_clone().unwrap();
            let mut stream = TcpStream::from_std(ours).unwrap();
            nothing_yet(&mut stream);
            if way == "adopted and detached" {
                stream = stream.detach().attach();
                nothing_yet(&mut stream);
            }
            let lent = (way == "lent").then(|| stream.as_fd().try_clone_to_owned().unwrap());
            drop(stream);
            let reported = record(&rules);
            peer.write_all(b"is anybody there?").unwrap();
            sleep(Duration::from_millis(1)).await;
            assert_eq!(*reported.lock().unwrap(), [], "{way}");
            drop((duplicate, lent));
        });
        assert_eq!(kernel.count(Call::EpollRemove), removals, "{way}");
    }
}

#[test]
fn a_stream_that_was_lent_is_removed_before_it_is_closed_and_others_are_just_closed() {
    for lend in [false, true] {
        let kernel = PassThrough::new();
        let rules = Arc::clone(&kernel);
        run(&kernel, move || async move {
            let (mut stream, mut peer) = pair_with_std().await;
            nothing_yet(&mut stream);
            let duplicate = lend.then(|| stream.as_fd().try_clone_to_owned().unwrap());
            drop(stream);
            let reported = record(&rules);
            let _ = peer.write_all(b"is anybody there?");
            sleep(Duration::from_millis(1)).await;
            assert_eq!(*reported.lock().unwrap(), []);
            drop(duplicate);
        });
        assert_eq!(kernel.count(Call::EpollRemove), lend.into());
    }
}

#[test]
fn a_connection_costs_no_more_calls_than_it_must() {
    const CONNECTIONS: u64 = 10;
    const REQUESTS: u64 = 5;
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(poll_once(pin!(listener.accept())).is_pending());
        let all = [
            Call::Accept,
            Call::EpollAdd,
            Call::EpollModify,
            Call::EpollRemove,
            Call::Close,
            Call::Option,
            Call::Recv,
            Call::Send,
            Call::Raise,
        ];
        let before = all.map(|call| rules.count(call));
        for _ in 0..CONNECTIONS {
            let client = thread::spawn(move || {
                let mut client = StdStream::connect(address).unwrap();
                for _ in 0..REQUESTS {
                    client.write_all(b"request").unwrap();
                    io::Read::read_exact(&mut client, &mut [0; 6]).unwrap();
                }
                client
            });
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            for _ in 0..REQUESTS {
                assert_eq!(stream.read(&mut [0; 100]).await.unwrap(), 7);
                stream.write_all(b"answer").await.unwrap();
            }
            drop(client.join().unwrap());
        }
        let counts: Vec<u64> =
            all.iter().zip(before).map(|(&call, before)| rules.count(call) - before).collect();
        // An accept that finds nothing comes before each that waits.
        assert!(counts[0] <= 2 * CONNECTIONS, "accepts: {}", counts[0]);
        assert_eq!(counts[1..6], [CONNECTIONS, 0, 0, CONNECTIONS, 0]);
        // A short read has emptied the socket: one call a request, though none before the wait.
        assert_eq!(counts[6..8], [CONNECTIONS * REQUESTS, CONNECTIONS * REQUESTS]);
        assert_eq!(counts[8], 0, "the loop wakes itself through the kernel");
    });
}

#[test]
fn a_round_of_an_echo_is_one_receive_one_send_and_one_wait() {
    const ROUNDS: u64 = 100;
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        let (mut stream, mut peer) = pair_with_std().await;
        nothing_yet(&mut stream);
        let (mut warm_up, mut buffer) = (true, [0; 100]);
        let all = [Call::Recv, Call::Send, Call::EpollWait, Call::Raise, Call::EpollModify];
        let mut before = [0; 5];
        for _ in 0..=ROUNDS {
            if !std::mem::take(&mut warm_up) && before[0] == 0 {
                before = all.map(|call| rules.count(call));
            }
            let later = peer.try_clone().unwrap();
            // Written as the loop waits, on whichever thread: so each round waits.
            let asked = thread::spawn(move || (&later).write_all(b"ping").unwrap());
            let count = stream.read(&mut buffer).await.unwrap();
            asked.join().unwrap();
            stream.write_all(&buffer[..count]).await.unwrap();
            io::Read::read_exact(&mut peer, &mut [0; 4]).unwrap();
        }
        let counts: Vec<u64> =
            all.iter().zip(before).map(|(&call, before)| rules.count(call) - before).collect();
        assert_eq!(counts, [ROUNDS, ROUNDS, ROUNDS, 0, 0]);
    });
}

#[test]
fn a_sleep_costs_one_wait_however_long_it_is() {
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        for micros in [1, 300, 1300, 5000] {
            let (before, start) = (rules.count(Call::EpollWait), Instant::now());
            sleep(Duration::from_micros(micros)).await;
            assert!(start.elapsed() >= Duration::from_micros(micros));
            assert_eq!(rules.count(Call::EpollWait) - before, 1, "{micros} us");
        }
    });
}

#[test]
fn a_runtime_with_nothing_to_do_makes_no_call_until_it_is_woken() {
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        let (mut stream, mut peer) = pair_with_std().await;
        nothing_yet(&mut stream);
        // The hour is a timer that the idle runtime has to wait beside.
        let sleeper = spawn(sleep(Duration::from_secs(3600)));
        yield_now().await;
        let all = [Call::EpollWait, Call::Recv, Call::Raise, Call::EpollAdd, Call::EpollModify];
        let before = all.map(|call| rules.count(call));
        let waking = thread::spawn(move || {
            // Ample time to do something needless in.
            thread::sleep(Duration::from_millis(20));
            peer.write_all(b"!").unwrap();
            peer
        });
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
        let counts: Vec<u64> =
            all.iter().zip(before).map(|(&call, before)| rules.count(call) - before).collect();
        assert_eq!(counts, [1, 1, 0, 0, 0]);
        waking.join().unwrap();
        sleeper.abort();
        let _ = sleeper.await;
    });
}

#[test]
fn a_wait_that_a_signal_ends_early_is_followed_by_another() {
    let kernel = PassThrough::new();
    kernel.set_rule(|call, nth| match call {
        Call::EpollWait if nth % 3 == 1 => Some(Fault::Error(EINTR)),
        _ => None,
    });
    run(&kernel, || async {
        let start = Instant::now();
        sleep(Duration::from_millis(3)).await;
        assert!(start.elapsed() >= Duration::from_millis(3));
    });
}

#[test]
fn a_socket_of_another_kernel_does_not_become_one_of_the_standard_library() {
    let kernel = PassThrough::new();
    run(&kernel, || async {
        let (stream, _peer) = pair_with_std().await;
        assert_eq!(stream.into_std().unwrap_err().kind(), io::ErrorKind::Unsupported);
        let listener = TcpListener::bind(ANY).await.unwrap();
        assert_eq!(listener.into_std().unwrap_err().kind(), io::ErrorKind::Unsupported);
    });
}

#[test]
fn a_name_is_looked_up_while_the_loop_goes_on() {
    let kernel = PassThrough::new();
    let (answer, asked) = mpsc::channel::<()>();
    kernel.set_rule(move |call, _| {
        if call == Call::Resolve {
            // The resolver doesn't answer until the other task says so.
            asked.recv().unwrap();
        }
        None
    });
    let found = run(&kernel, || async move {
        let looking_up = spawn(resolve("localhost:80"));
        for _ in 0..100 {
            yield_now().await;
        }
        sleep(Duration::from_millis(1)).await;
        assert!(!looking_up.is_finished());
        answer.send(()).unwrap();
        looking_up.await.unwrap().unwrap()
    });
    assert!(found.iter().all(|address| address.ip().is_loopback()));
}

#[test]
fn a_look_up_that_fails_says_of_what() {
    let kernel = PassThrough::new();
    kernel.set_rule(|call, _| (call == Call::Resolve).then_some(Fault::Error(ENOMEM)));
    let error = run(&kernel, || async { TcpStream::connect("nowhere:80").await.unwrap_err() });
    assert!(error.to_string().starts_with("resolve nowhere: "), "{error}");
    assert!(is_exhaustion(&error));
}

#[test]
fn a_look_up_that_is_given_up_goes_on_unheeded() {
    let kernel = PassThrough::new();
    let (answer, asked) = mpsc::channel::<()>();
    let (sender, done) = mpsc::channel();
    kernel.set_rule(move |call, _| {
        if call == Call::Resolve {
            let _ = asked.recv();
            let _ = sender.send(());
        }
        None
    });
    run(&kernel, || async move {
        let looking_up = race(resolve("localhost:80"), sleep(Duration::from_millis(1)));
        assert!(matches!(looking_up.await, Either::Second(())));
    });
    drop(answer);
    done.recv().unwrap();
}

#[test]
fn writers_and_readers_of_one_stream_meet_a_reset_each() {
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        let (stream, peer) = pair_with_std().await;
        let (mut read, mut write) = stream.into_split();
        let reader = spawn(async move { read.read(&mut [0; 8]).await });
        let writer = spawn(async move {
            loop {
                write.write_all(&[7; 65536]).await?;
            }
        });
        while rules.count(Call::EpollModify) == 0 {
            yield_now().await;
        }
        // With bytes unread that is a reset.
        drop(peer);
        let read = reader.await.unwrap();
        let written: io::Result<()> = writer.await.unwrap();
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(kinds.contains(&written.unwrap_err().kind()));
        // Whoever is first gets the error itself; after it a read finds the end.
        match read {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert!(kinds.contains(&error.kind()), "{error}"),
        }
    });
}

#[test]
fn a_read_into_room_adds_just_what_the_kernel_gave_it() {
    let kernel = PassThrough::new();
    kernel.set_rule(|call, nth| match (call, nth) {
        (Call::Recv, 1) => Some(Fault::Error(EINTR)),
        (Call::Recv, 3) => Some(Fault::Error(ENOMEM)),
        (Call::Recv, _) => Some(Fault::Limit(3)),
        _ => None,
    });
    run(&kernel, || async {
        let (mut stream, mut peer) = pair_with_std().await;
        peer.write_all(b"abcdef").unwrap();
        let mut bytes = Vec::with_capacity(64);
        assert_eq!(stream.read_into(&mut bytes).await.unwrap(), 3);
        let refused = stream.read_into(&mut bytes).await.unwrap_err();
        assert_eq!((os_error(&refused), &bytes[..]), (Some(ENOMEM), &b"abc"[..]));
        assert_eq!(stream.read_into(&mut bytes).await.unwrap(), 3);
        assert_eq!((&bytes[..], bytes.capacity()), (&b"abcdef"[..], 64));
    });
}

#[test]
fn the_first_read_of_a_connection_that_was_just_opened_waits_without_a_call() {
    for (first, calls) in [("the peer speaks first", 1), ("the peer answers", 1)] {
        let kernel = PassThrough::new();
        let rules = Arc::clone(&kernel);
        run(&kernel, move || async move {
            let listener = StdListener::bind(ANY).unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            if first == "the peer speaks first" {
                peer.write_all(b"hello").unwrap();
            } else {
                nothing_yet(&mut stream);
                peer.write_all(b"hello").unwrap();
            }
            assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 5, "{first}");
            assert_eq!(rules.count(Call::Recv), calls, "{first}");
        });
    }
}

#[test]
fn a_short_read_before_the_registration_needs_no_second_call_and_misses_nothing() {
    let kernel = PassThrough::new();
    let rules = Arc::clone(&kernel);
    run(&kernel, || async move {
        for ending in ["more", "the end", "urgent"] {
            let (mut stream, mut peer) = pair_with_std().await;
            peer.write_all(b"one").unwrap();
            match ending {
                "the end" => peer.shutdown(std::net::Shutdown::Write).unwrap(),
                "urgent" => {
                    send_urgent(peer.as_fd(), b'!').unwrap();
                    peer.write_all(b"more").unwrap();
                }
                _ => {}
            }
            let before = rules.count(Call::Recv);
            assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 3);
            if ending == "more" {
                nothing_yet(&mut stream);
                assert_eq!(rules.count(Call::Recv) - before, 1, "it was registered at once");
                peer.write_all(b"more").unwrap();
            }
            let count = if ending == "the end" { 0 } else { 4 };
            assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), count, "{ending}");
            assert_eq!(rules.count(Call::Recv) - before, 2, "{ending}");
        }
    });
}

#[test]
fn a_stream_that_outlives_its_runtime_is_read_without_one() {
    let runtime = Runtime::new().unwrap();
    let listener = StdListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = runtime.block_on(TcpStream::connect(address)).unwrap();
    drop(runtime);
    listener.accept().unwrap().0.write_all(b"hello").unwrap();
    let mut buffer = [0; 64];
    let read = pin!(stream.read(&mut buffer)).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(read.map(Result::unwrap), Poll::Ready(5));
}

#[test]
fn a_request_that_could_not_be_sent_is_not_waited_for() {
    let kernel = PassThrough::new();
    let (mut sent, mut failed) = (0, false);
    kernel.set_rule(move |call, _| match call {
        Call::Send => {
            sent += 1;
            Some(if sent == 1 { Fault::Limit(10) } else { Fault::Error(EAGAIN) })
        }
        Call::EpollAdd if sent > 0 && !std::mem::replace(&mut failed, true) => {
            Some(Fault::Error(ENOMEM))
        }
        _ => None,
    });
    let result = run(&kernel, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asking = whirligig::http::get(listener.local_addr().unwrap(), "x", "/");
        timeout(STUCK, asking).await.expect("nobody answers what was not sent")
    });
    assert_eq!(os_error(&result.unwrap_err()), Some(ENOMEM));
}
