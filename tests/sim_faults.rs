//! What goes wrong in a simulated world: each kind of fault does what it says, and a program that
//! tries again gets by.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use whirligig::event::{EPOLLET, EPOLLIN, EPOLLOUT};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpStream};
use whirligig::sim::{Fault, Faults, Link, World, twice};
use whirligig::sys::{Connect, Epoll, EventBuffer, Family, KernelHandle, Notifier};
use whirligig::time::{Instant, sleep, sleep_until, timeout};

const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;
const ENETUNREACH: i32 = 101;
const ECONNABORTED: i32 = 103;
const ENOBUFS: i32 = 105;

/// Answers with what it is sent, and gives up on nothing but single connections.
async fn echo() -> io::Result<()> {
    let listener = loop {
        match TcpListener::bind("0.0.0.0:7").await {
            Ok(listener) => break listener,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    };
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => drop(whirligig::spawn(async move {
                let mut buffer = [0; 512];
                loop {
                    let count = stream.read(&mut buffer).await?;
                    if count == 0 {
                        return io::Result::Ok(());
                    }
                    stream.write_all(&buffer[..count]).await?;
                }
            })),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// The second half of the bytes is sent at `half_time`.
async fn attempt(bytes: &[u8], half_time: Instant) -> io::Result<Vec<u8>> {
    let length = whirligig::blocking::run(|| 1).await.map_or(0, |one| one * bytes.len());
    let mut stream = TcpStream::connect("server:7").await?;
    let (first, second) = bytes[..length].split_at(length / 2);
    stream.write_all(first).await?;
    sleep_until(half_time).await;
    stream.write_all(second).await?;
    stream.close().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer, 1 << 16).await?;
    if answer.len() < bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

/// How many attempts it took to get the bytes back.
async fn ask(bytes: &[u8]) -> u32 {
    let (mut attempts, mut half_time) = (1, Instant::now() + Duration::from_millis(20));
    loop {
        match timeout(Duration::from_secs(30), attempt(bytes, half_time)).await {
            Ok(Ok(answer)) => {
                assert!(answer == bytes, "other bytes came back than were sent");
                return attempts;
            }
            _ => sleep(Duration::from_millis(50)).await,
        }
        attempts += 1;
        half_time = Instant::now();
    }
}

fn bytes() -> Vec<u8> {
    (0..3000u32).map(|index| (index % 251) as u8).collect()
}

/// A small program, in a world where one call fails: the calls that could have been it, and the
/// attempts that it took.
fn with_kth_call(k: u64, errno: i32) -> (u64, u32) {
    twice(5, |world| {
        world.host("server", echo);
        world.set_time_limit(Duration::from_secs(600));
        world.set_faults(Faults::none().with_kth_call(k, errno));
        let before = world.failable_call_count();
        let attempts = world.run_until(ask(&bytes()));
        let calls = world.failable_call_count() - before;
        world.finish();
        (calls, attempts)
    })
}

#[test]
fn whichever_call_fails_and_however_the_program_gets_by_and_leaves_nothing() {
    let first = World::seeded(5).failable_call_count();
    let (calls, _) = with_kth_call(0, EINTR);
    assert!(calls > 30, "{calls} calls are too few to learn from");
    let errors =
        [EINTR, ENOMEM, ENFILE, EMFILE, ENOSPC, EADDRINUSE, EADDRNOTAVAIL, ENETUNREACH, ENOBUFS];
    let mut again = 0;
    for errno in errors {
        for k in 1..=first + calls + 20 {
            let (_, attempts) = with_kth_call(k, errno);
            assert!(attempts <= 2, "call {k} failed once with {errno}: {attempts} attempts");
            assert!(errno != EINTR || attempts == 1, "call {k} was interrupted, and that was seen");
            again += attempts - 1;
        }
    }
    // Some of the calls are the client's, which shows it.
    assert!(again > 10, "only {again} failures were seen");
}

#[test]
fn each_kind_of_fault_happens_alone_and_the_program_gets_by() {
    for fault in Fault::ALL {
        twice(fault as u64 + 1, |world| {
            world.host("server", echo);
            // What is sent together arrives together.
            world.set_links(Link::instant());
            world.set_time_limit(Duration::from_secs(24 * 3600));
            let often = match fault {
                Fault::Reset => 50_000,
                Fault::Split | Fault::Reorder => 900_000,
                _ => 200_000,
            };
            world.set_faults(Faults::none().with(fault, often));
            world.run_until(async {
                // Several at once, so that events come together.
                for _ in 0..6 {
                    let bytes = bytes();
                    whirligig::future::join_all((0..5).map(|_| ask(&bytes))).await;
                }
            });
            for (other, count) in world.injected() {
                assert_eq!(count > 0, other == fault, "{fault:?} was asked for: {other:?} {count}");
            }
            world.finish();
        });
    }
}

#[test]
fn faults_happen_only_in_their_time() {
    twice(3, |world| {
        world.host("server", echo);
        let (from, until) = (Duration::from_secs(10), Duration::from_secs(20));
        world.set_faults(Faults::none().with(Fault::Refuse, 900_000).between(from, until));
        let refused = |world: &World| {
            world.injected().into_iter().find(|(fault, _)| *fault == Fault::Refuse).unwrap().1
        };
        world.run_until(ask(b"early"));
        assert_eq!(refused(world), 0);
        world.run_for(Duration::from_secs(11) - world.elapsed());
        world.run_until(async {
            for _ in 0..20 {
                ask(b"meanwhile").await;
            }
        });
        let meanwhile = refused(world);
        assert!(meanwhile > 0);
        world.run_for(Duration::from_secs(21).saturating_sub(world.elapsed()));
        world.run_until(ask(b"late"));
        assert_eq!(refused(world), meanwhile);
    });
}

/// How a connection attempt ends, and how long that takes, with one fault that always happens.
fn connecting_with(fault: Fault) -> (io::Result<()>, Duration) {
    twice(8, |world| {
        world.host("server", echo);
        world.run_for(Duration::from_millis(1));
        world.set_faults(Faults::none().with(fault, 900_000));
        world.run_until(async {
            let start = Instant::now();
            let done = TcpStream::connect("server:7").await;
            (done.map(drop), Instant::now() - start)
        })
    })
}

#[test]
fn connections_are_refused_unreachable_or_unanswered() {
    let (refused, _) = connecting_with(Fault::Refuse);
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let (unreachable, _) = connecting_with(Fault::Unreachable);
    let kinds = [io::ErrorKind::NetworkUnreachable, io::ErrorKind::HostUnreachable];
    assert!(kinds.contains(&unreachable.unwrap_err().kind()));
    // The first packet is lost, and the second is sent after a second (RFC 6298).
    let (silent, took) = connecting_with(Fault::Silence);
    silent.unwrap();
    assert!((1.0..1.1).contains(&took.as_secs_f64()), "{took:?}");
}

#[test]
fn a_connection_can_be_gone_before_it_is_accepted() {
    twice(9, |world| {
        world.set_call_time(Duration::ZERO);
        let kernel = world.kernel();
        world.set_faults(Faults::none().with(Fault::AbortedAccept, 900_000));
        let aborted = (0..10).any(|_| {
            let (listener, _client) = listener_and_client(&kernel);
            let Err(error) = listener.accept() else { return false };
            assert_eq!(error.raw_os_error(), Some(ECONNABORTED));
            // It was the only one.
            assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(EAGAIN));
            true
        });
        assert!(aborted);
    });
}

type Descriptor = whirligig::sys::Descriptor;

fn listener_and_client(kernel: &KernelHandle) -> (Descriptor, Descriptor) {
    let listener = kernel.socket(Family::V4).unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    listener.listen(8).unwrap();
    let client = kernel.socket(Family::V4).unwrap();
    let begun = client.connect(listener.local_address().unwrap()).unwrap();
    assert_eq!(begun, Connect::InProgress);
    (listener, client)
}

fn wait(epoll: &Epoll, buffer: &mut EventBuffer) -> Vec<(u64, u32)> {
    let events = epoll.wait(buffer, Some(Duration::ZERO)).unwrap();
    events.map(|event| (event.token(), event.bits())).collect()
}

#[test]
fn a_withheld_receive_finds_nothing_and_has_an_edge_later() {
    twice(10, |world| {
        world.set_call_time(Duration::ZERO);
        let kernel = world.kernel();
        let (listener, client) = listener_and_client(&kernel);
        let (server, _) = listener.accept().unwrap();
        let (epoll, mut buffer) = (Epoll::on(&kernel).unwrap(), EventBuffer::with_capacity(8));
        epoll.add(&server, EPOLLIN | EPOLLET, 1).unwrap();
        client.send(b"hello").unwrap();
        assert_eq!(wait(&epoll, &mut buffer), [(1, EPOLLIN)]);
        world.set_faults(Faults::none().with(Fault::WouldBlock, 900_000));
        let mut bytes = [0; 8];
        while server.recv(&mut bytes).is_ok_and(|count| {
            assert_eq!(count, 5, "all or nothing is withheld");
            true
        }) {
            client.send(b"hello").unwrap();
            wait(&epoll, &mut buffer);
        }
        world.set_faults(Faults::none());
        wait(&epoll, &mut buffer);
        assert_eq!(server.recv(&mut bytes).unwrap_err().raw_os_error(), Some(EAGAIN));
        assert_eq!(wait(&epoll, &mut buffer), [], "an edge before the bytes are there");
        let before = world.elapsed();
        let events = epoll.wait(&mut buffer, Some(Duration::from_secs(1))).unwrap().count();
        assert_eq!(events, 1);
        assert!(world.elapsed() > before && world.elapsed() - before < Duration::from_millis(21));
        assert_eq!(server.recv(&mut bytes).unwrap(), 5);
    });
}

#[test]
fn event_batches_are_split_reordered_and_untrue() {
    twice(11, |world| {
        world.set_call_time(Duration::ZERO);
        let kernel = world.kernel();
        let (epoll, mut buffer) = (Epoll::on(&kernel).unwrap(), EventBuffer::with_capacity(16));
        let notifiers: Vec<Notifier> = (0..6).map(|_| Notifier::on(&kernel).unwrap()).collect();
        for (token, notifier) in notifiers.iter().enumerate() {
            epoll.add(notifier.descriptor(), EPOLLIN | EPOLLET, token as u64).unwrap();
        }
        let raise = || notifiers.iter().for_each(|notifier| notifier.notify().unwrap());
        let tokens =
            |events: Vec<(u64, u32)>| events.iter().map(|event| event.0).collect::<Vec<_>>();

        raise();
        assert_eq!(tokens(wait(&epoll, &mut buffer)), [0, 1, 2, 3, 4, 5]);

        world.set_faults(Faults::none().with(Fault::Split, 900_000));
        raise();
        let batches: Vec<_> = (0..6).map(|_| tokens(wait(&epoll, &mut buffer))).collect();
        assert!(batches.iter().filter(|batch| batch.len() == 1).count() >= 3, "{batches:?}");
        assert_eq!(batches.concat(), [0, 1, 2, 3, 4, 5], "a split batch loses nothing");

        world.set_faults(Faults::none().with(Fault::Reorder, 900_000));
        let mixed = (0..8).any(|_| {
            raise();
            let mut batch = tokens(wait(&epoll, &mut buffer));
            let in_order = batch == [0, 1, 2, 3, 4, 5];
            batch.sort_unstable();
            assert_eq!(batch, [0, 1, 2, 3, 4, 5], "a mixed batch loses nothing");
            !in_order
        });
        assert!(mixed);

        // A socket that is connected and silent.
        let (listener, client) = listener_and_client(&kernel);
        let (server, _) = listener.accept().unwrap();
        epoll.add(&server, EPOLLIN | EPOLLET, 7).unwrap();
        wait(&epoll, &mut buffer);
        world.set_faults(Faults::none().with(Fault::SpuriousEvent, 900_000));
        let untrue = (0..100).any(|_| wait(&epoll, &mut buffer).iter().any(|event| event.0 == 7));
        assert!(untrue);
        assert_eq!(server.recv(&mut [0; 8]).unwrap_err().raw_os_error(), Some(EAGAIN));
        drop(client);
    });
}

#[test]
fn transfers_are_cut_short_down_to_a_byte_and_nothing_is_lost() {
    twice(12, |world| {
        world.set_call_time(Duration::ZERO);
        let kernel = world.kernel();
        let (listener, client) = listener_and_client(&kernel);
        let (server, _) = listener.accept().unwrap();
        let (epoll, mut buffer) = (Epoll::on(&kernel).unwrap(), EventBuffer::with_capacity(8));
        epoll.add(&server, EPOLLIN | EPOLLET, 1).unwrap();
        epoll.add(&client, EPOLLOUT | EPOLLET, 2).unwrap();
        world.set_faults(Faults::none().with(Fault::Short, 800_000));
        let sent: Vec<u8> = (0..5000u32).map(|index| (index % 251) as u8).collect();
        let (mut at, mut received, mut sizes) = (0, Vec::new(), Vec::new());
        while received.len() < sent.len() {
            // Both go on until they would block, and then wait for an edge.
            while let Ok(count @ 1..) = client.send(&sent[at..]) {
                at += count;
                sizes.push(count);
            }
            let mut bytes = [0; 300];
            while let Ok(count) = server.recv(&mut bytes) {
                received.extend_from_slice(&bytes[..count]);
                sizes.push(count);
            }
            if received.len() < sent.len() {
                let events = epoll.wait(&mut buffer, Some(Duration::from_secs(5))).unwrap().count();
                assert!(events > 0, "no edge came after {} bytes", received.len());
            }
        }
        assert!(received == sent);
        assert!(sizes.contains(&1), "{sizes:?}");
    });
}

#[test]
fn descriptors_run_out_and_come_back() {
    twice(13, |world| {
        let kernel = world.kernel();
        world.set_descriptors_max("main", 6);
        let open: Vec<_> = (0..3).map(|_| kernel.socket(Family::V4).unwrap()).collect();
        assert_eq!(kernel.socket(Family::V4).unwrap_err().raw_os_error(), Some(EMFILE));
        assert_eq!(Notifier::on(&kernel).unwrap_err().raw_os_error(), Some(EMFILE));
        let second = open[1].hosted_number();
        let mut open = open;
        drop(open.remove(1));
        // The lowest that is free.
        assert_eq!(kernel.socket(Family::V4).unwrap().hosted_number(), second);
    });
}

#[test]
fn a_clock_jumps_ahead_and_never_back_and_no_timer_is_early() {
    twice(14, |world| {
        let jumped = Rc::new(Cell::new(Duration::ZERO));
        let seen = Rc::clone(&jumped);
        world.host("jumper", move || {
            let seen = Rc::clone(&seen);
            async move {
                for _ in 0..50 {
                    let start = Instant::now();
                    sleep(Duration::from_millis(100)).await;
                    let took = Instant::now() - start;
                    assert!(took >= Duration::from_millis(100), "a sleep ended after {took:?}");
                    seen.set(seen.get().max(took));
                }
                Ok(())
            }
        });
        world.set_faults(Faults::none().with(Fault::ClockJump, 200_000));
        world.run_for(Duration::from_secs(60));
        assert!(jumped.get() > Duration::from_secs(1), "{:?}", jumped.get());
    });
}
