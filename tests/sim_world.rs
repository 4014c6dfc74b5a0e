//! What a simulated world is made of: links, hosts, time; and what is not in it.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpStream, UdpSocket};
use whirligig::signal::{Signal, Signals};
use whirligig::sim::{Fault, Faults, Link, Planted, World, twice};
use whirligig::sys::{Connect, Descriptor, Family, SocketOption};
use whirligig::time::{Instant, sleep, timeout};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Answers every byte with itself, plus one.
async fn server() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        whirligig::spawn(async move {
            let mut byte = [0];
            while stream.read(&mut byte).await? > 0 {
                stream.write_all(&[byte[0] + 1]).await?;
            }
            io::Result::Ok(())
        });
    }
}

/// A byte there and back.
async fn exchange(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
    stream.write_all(&[byte]).await?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    Ok(answer[0])
}

#[test]
fn packets_take_their_links_latency_each_way() {
    twice(1, |world| {
        world.host("server", server);
        let link = |ms| Link { latency: MS(ms), jitter: Duration::ZERO, ..Link::default() };
        world.set_link("main", "server", link(30));
        world.set_link("server", "main", link(50));
        world.run_until(async {
            let start = Instant::now();
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            let connected = Instant::now() - start;
            exchange(&mut stream, 1).await.unwrap();
            let exchanged = Instant::now() - start - connected;
            for took in [connected, exchanged] {
                assert!((MS(80)..MS(82)).contains(&took), "{took:?}");
            }
        });
    });
}

#[test]
fn a_link_passes_so_many_bytes_in_a_second() {
    twice(2, |world| {
        world.host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            let (mut stream, _) = listener.accept().await?;
            stream.write_all(&[7; 100_000]).await
        });
        world.set_link("server", "main", Link { bytes_per_second: 10_000, ..Link::default() });
        world.run_until(async {
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            let start = Instant::now();
            let mut all = Vec::new();
            stream.read_to_end(&mut all, 1 << 20).await.unwrap();
            let took = Instant::now() - start;
            assert_eq!(all.len(), 100_000);
            assert!((10.0..10.5).contains(&took.as_secs_f64()), "{took:?}");
        });
    });
}

#[test]
fn what_finds_a_links_queue_full_is_lost_and_a_stream_sends_it_again() {
    let narrow = Link { bytes_per_second: 100_000, queue_bytes: 10_000, ..Link::default() };
    twice(3, |world| {
        world.set_link("main", "main", narrow);
        let arrived = world.run_until(async {
            let receiver = UdpSocket::bind("127.0.0.1:9").await.unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            sender.connect("127.0.0.1:9").await.unwrap();
            for number in 0..100 {
                sender.send(&[number; 1000]).await.unwrap();
            }
            let mut arrived = Vec::new();
            let mut buffer = [0; 1000];
            while let Ok(count) = timeout(MS(1000), receiver.recv(&mut buffer)).await {
                assert_eq!(count.unwrap(), 1000);
                arrived.push(buffer[0]);
            }
            arrived
        });
        // The queue is passed on while they are sent, which takes next to no time.
        assert_eq!(arrived, (0..arrived.len() as u8).collect::<Vec<u8>>());
        assert!((10..13).contains(&arrived.len()), "{arrived:?}");
        world.finish();
    });
    twice(4, |world| {
        world.host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            let (mut stream, _) = listener.accept().await?;
            stream.write_all(&[7; 100_000]).await?;
            stream.close().await
        });
        world.set_link("server", "main", narrow);
        let all = world.run_until(async {
            let mut all = Vec::new();
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            stream.read_to_end(&mut all, 1 << 20).await.unwrap();
            all
        });
        assert!(all == [7; 100_000], "{} bytes", all.len());
        world.finish();
    });
}

#[test]
fn what_is_left_at_the_end_is_found() {
    let finish = |world: &World| {
        let panic = catch_unwind(AssertUnwindSafe(|| world.finish())).unwrap_err();
        *panic.downcast::<String>().unwrap()
    };
    twice(5, |world| {
        let waker = world.run_until(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
        let found = finish(world);
        assert!(found.ends_with("tasks, wakers or join handles of \"main\" are left"), "{found}");
        drop(waker);
    });
    twice(6, |world| {
        let socket = world.run_until(TcpListener::bind("0.0.0.0:7")).unwrap();
        assert_eq!(finish(world), "\"main\" left 1 descriptors open");
        drop(socket);
        world.finish();
    });
    twice(7, |world| {
        let task = world
            .run_until(poll_fn(|_| Poll::Ready(whirligig::spawn(std::future::pending::<()>()))));
        let found = finish(world);
        assert!(found.ends_with("tasks, wakers or join handles of \"main\" are left"), "{found}");
        drop(task);
        world.finish();
    });
}

#[test]
fn a_host_that_sleeps_through_an_event_is_found() {
    // A kernel that forgets an event is to a runtime what a lost wake is.
    twice(9, |world| {
        world.host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            let (mut one, mut other) = (listener.accept().await?.0, listener.accept().await?.0);
            loop {
                sleep(MS(100)).await;
                one.write_all(b"x").await?;
                other.write_all(b"y").await?;
            }
        });
        world.set_links(Link::instant());
        let meddling = world.clone();
        let run = AssertUnwindSafe(|| {
            world.run_until(async {
                let mut streams = Vec::new();
                for _ in 0..2 {
                    let mut stream = TcpStream::connect("server:7").await.unwrap();
                    streams.push(whirligig::spawn(async move {
                        while stream.read(&mut [0]).await? > 0 {}
                        io::Result::Ok(())
                    }));
                }
                sleep(MS(50)).await;
                meddling.plant(Planted::EventsBeyondTheRoomAreLost);
                meddling.set_faults(Faults::none().with(Fault::Split, 900_000));
                for _ in 0..2000 {
                    sleep(MS(1)).await;
                }
            });
        });
        let panic = catch_unwind(run).unwrap_err().downcast::<String>().unwrap();
        assert!(panic.ends_with("a wake was lost"), "{panic}");
    });
}

#[test]
fn a_world_that_goes_on_beyond_its_time_is_ended() {
    twice(8, |world| {
        world.set_time_limit(Duration::from_secs(60));
        let run = AssertUnwindSafe(|| world.run_for(Duration::from_secs(61)));
        let panic = catch_unwind(run).unwrap_err().downcast::<String>().unwrap();
        assert!(panic.starts_with("the world's time limit is over"), "{panic}");
    });
}

#[test]
fn what_a_lossy_link_loses_of_a_stream_comes_later() {
    twice(3, |world| {
        world.host("server", server);
        world.set_links(Link { lost_per_million: 300_000, ..Link::default() });
        world.run_until(async {
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            let start = Instant::now();
            for byte in 0..100 {
                assert_eq!(exchange(&mut stream, byte).await.unwrap(), byte + 1);
            }
            // Some hundred packets, acknowledgements among them, 200 ms each.
            let took = Instant::now() - start;
            assert!((12.0..36.0).contains(&took.as_secs_f64()), "{took:?}");
        });
    });
}

#[test]
fn what_is_sent_across_a_cut_arrives_after_the_healing() {
    twice(4, |world| {
        world.host("server", server);
        let (cut, healed) = (world.clone(), world.clone());
        world.run_until(async move {
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            assert_eq!(exchange(&mut stream, 1).await.unwrap(), 2);
            cut.partition("main", "server");
            assert!(timeout(MS(60_000), exchange(&mut stream, 2)).await.is_err());
            healed.heal("main", "server");
            let mut answer = [0];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, [3]);
        });
        world.finish();
    });
}

#[test]
fn a_connection_that_nobody_answers_is_given_up_after_two_minutes() {
    twice(5, |world| {
        world.host("server", server);
        world.partition("main", "server");
        world.run_until(async {
            let start = Instant::now();
            let error = TcpStream::connect("server:7").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            // Six times again, twice as late each time: 127 s (tcp(7), tcp_syn_retries).
            let took = Instant::now() - start;
            assert!((127.0..127.1).contains(&took.as_secs_f64()), "{took:?}");
        });
    });
}

#[test]
fn a_crashed_host_is_silent_and_knows_nothing_of_its_past_when_it_is_back() {
    twice(6, |world| {
        world.host("server", server);
        let power = world.clone();
        world.run_until(async move {
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            assert_eq!(exchange(&mut stream, 1).await.unwrap(), 2);
            power.crash("server");
            assert_eq!(power.counts("server"), None);
            assert!(timeout(MS(10_000), exchange(&mut stream, 2)).await.is_err());
            assert!(timeout(MS(10_000), TcpStream::connect("server:7")).await.is_err());
            power.restart("server");
            sleep(MS(1)).await;
            let error = exchange(&mut stream, 3).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            assert_eq!(exchange(&mut stream, 4).await.unwrap(), 5);
        });
        world.finish();
    });
}

#[test]
fn names_signals_and_blocking_work_have_the_worlds_time() {
    twice(7, |world| {
        world.host("server", || async {
            let mut signals = Signals::new(&[Signal::Terminate])?;
            let start = Instant::now();
            signals.recv().await?;
            assert!(Instant::now() - start >= MS(3_600_000));
            Ok(())
        });
        let wall = std::time::Instant::now();
        let sender = world.clone();
        world.run_until(async move {
            let missing = TcpStream::connect("nobody:7").await.unwrap_err();
            assert!(missing.to_string().contains("nobody"), "{missing}");
            let start = Instant::now();
            assert_eq!(whirligig::blocking::run(|| 6 * 7).await.unwrap(), 42);
            assert!((1..2_000_000).contains(&(Instant::now() - start).as_nanos()));
            sleep(MS(3_600_000)).await;
            sender.signal("server", Signal::Terminate);
            sleep(MS(1)).await;
        });
        assert!(wall.elapsed() < MS(3_600_000));
        world.finish();
    });
}

#[test]
fn a_signal_that_nobody_waits_for_ends_a_host_and_its_connections() {
    twice(8, |world| {
        world.host("server", server);
        let sender = world.clone();
        world.run_until(async move {
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            assert_eq!(exchange(&mut stream, 1).await.unwrap(), 2);
            sender.signal("server", Signal::Terminate);
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "its end came");
        });
    });
}

#[test]
fn a_foreign_thread_that_touches_a_world_panics_and_is_told_why() {
    twice(9, |world| {
        let kernel = world.kernel();
        let socket = kernel.socket(Family::V4).unwrap();
        let message = |payload: Box<dyn std::any::Any + Send>| {
            let text = payload.downcast_ref::<String>().cloned();
            text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).into())).unwrap()
        };
        std::thread::scope(|scope| {
            let touches: [Box<dyn FnOnce() + Send>; 2] = [
                Box::new(|| drop(kernel.socket(Family::V4))),
                Box::new(|| drop(socket.local_address())),
            ];
            for touch in touches {
                let payload = scope.spawn(touch).join().unwrap_err();
                let said = message(payload);
                assert!(said.contains("threads are not simulated"), "{said}");
            }
        });
        // So does one that wakes a task of a host that waits.
        let kept = Arc::new(Mutex::new(None::<Waker>));
        let keeps = Arc::clone(&kept);
        world.host("sleeper", move || {
            let keeps = Arc::clone(&keeps);
            poll_fn(move |cx| {
                *keeps.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })
        });
        world.run_for(MS(1));
        let waker = kept.lock().unwrap().take().unwrap();
        let said = message(std::thread::spawn(move || waker.wake()).join().unwrap_err());
        assert!(said.contains("threads are not simulated"), "{said}");
    });
}

#[test]
fn a_socket_can_connect_to_itself() {
    twice(10, |world| {
        world.set_call_time(Duration::ZERO);
        let kernel = world.kernel();
        let socket = kernel.socket(Family::V4).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own: SocketAddr = socket.local_address().unwrap();
        assert_eq!(socket.connect(own).unwrap(), Connect::InProgress);
        assert_eq!(socket.connect(own).unwrap(), Connect::Done);
        assert_eq!(socket.peer_address().unwrap(), own);
        socket.send(b"to myself").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 9);
    });
}

#[test]
fn who_listens_again_is_kept_from_it_by_the_connections_at_its_port_as_by_other_sockets() {
    twice(11, |world| {
        world.set_call_time(Duration::ZERO);
        let kernel = world.kernel();
        let open = |address: SocketAddr, option: Option<SocketOption>| {
            let socket = kernel.socket(Family::V4).unwrap();
            if let Some(option) = option {
                socket.set_option(option, 1).unwrap();
            }
            socket.bind(address).unwrap();
            socket
        };
        let listen = |socket: &Descriptor| socket.listen(8).map_err(|error| error.kind());
        let in_use = Err(io::ErrorKind::AddrInUse);

        // A connection is in the way while it lasts, and while it rests (TIME-WAIT).
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let listener = open(address, None);
        listen(&listener).unwrap();
        let client = kernel.socket(Family::V4).unwrap();
        assert_eq!(client.connect(address).unwrap(), Connect::InProgress);
        assert_eq!(client.connect(address).unwrap(), Connect::Done);
        let (accepted, _) = listener.accept().unwrap();
        listener.shutdown(Shutdown::Read).unwrap();
        assert_eq!(listen(&listener), in_use);
        drop(accepted);
        drop(client);
        assert_eq!(listen(&listener), in_use);
        world.run_for(Duration::from_secs(120));
        assert_eq!(listen(&listener), Ok(()));

        // What a socket grants is asked for again, unless all shared the port when they came to it.
        for (port, option, expected) in
            [(81, SocketOption::ReuseAddress, in_use), (82, SocketOption::ReusePort, Ok(()))]
        {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let (one, other) = (open(address, Some(option)), open(address, Some(option)));
            one.set_option(option, 0).unwrap();
            assert_eq!(listen(&other), expected, "{option:?}");
            assert_eq!(listen(&one), in_use, "{option:?}");
        }
    });
}

#[test]
fn who_asks_where_an_old_connection_rests_and_nobody_listens_is_refused_after_milliseconds() {
    twice(12, |world| {
        world.set_call_time(Duration::ZERO);
        let kernel = world.kernel();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let open = |port| {
            let socket = kernel.socket(Family::V4).unwrap();
            socket.set_option(SocketOption::ReuseAddress, 1).unwrap();
            socket.bind(at(port)).unwrap();
            socket
        };
        let (listener, client) = (open(80), open(81));
        listener.listen(8).unwrap();
        assert_eq!(client.connect(at(80)).unwrap(), Connect::InProgress);
        assert_eq!(client.connect(at(80)).unwrap(), Connect::Done);
        // The server's side closes first, and so is the one that rests.
        drop(listener.accept().unwrap());
        drop(listener);
        drop(client);
        let client = open(81);
        assert_eq!(client.connect(at(80)).unwrap(), Connect::InProgress);
        let error = || client.take_error().unwrap().map(|error| error.kind());
        assert_eq!(error(), None);
        world.run_for(MS(20));
        assert_eq!(error(), Some(io::ErrorKind::ConnectionRefused));
    });
}
