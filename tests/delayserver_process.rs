//! The delayserver as a process: signals, descriptors, outputs, arguments.

mod common;

use common::{DelayServer, PATIENCE, Peer, Program, Watchdog, delayserver, request};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_signal_closes_what_is_idle_and_lets_the_rest_be_answered() {
    let _watchdog = Watchdog::new("a_signal_closes_what_is_idle_and_lets_the_rest_be_answered");
    for signal in ["TERM", "INT"] {
        let server = DelayServer::start(&["--idle-timeout=3600"]);
        let (mut idle, mut fresh) = (server.connect(), server.connect());
        // Its last read filled the buffer, so the server can't know that there is no more.
        let mut full = server.connect();
        let filling = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let count = 20 * 1024 / filling.len();
        let rest = "x".repeat(20 * 1024 - count * filling.len());
        full.send(&(filling.repeat(count - 1) + &filling.replace("/ ", &format!("/{rest} "))));
        for _ in 0..count {
            assert_eq!(full.answer().status, 404);
        }
        assert_eq!(idle.get("/0/idle").body, "idle");
        assert_eq!(server.program.line(), "#1 - 0ms: idle");
        let mut waiting = server.connect();
        waiting.ask("GET /1500/waiting");
        assert_eq!(server.program.line(), "#2 - 1500ms: waiting");
        server.program.signal(signal);
        assert!(idle.is_closed() && fresh.is_closed() && full.is_closed());
        let answer = waiting.answer();
        assert!(answer.body == "waiting" && answer.says("Connection: close"), "{answer:?}");
        assert!(waiting.is_closed());
        let ended = server.program.wait();
        assert_eq!((ended.code, ended.err), (Some(0), vec![]));
    }
}

#[test]
fn what_came_before_the_signal_is_answered() {
    let _watchdog = Watchdog::new("what_came_before_the_signal_is_answered");
    for count in [1, 300] {
        let server = DelayServer::start(&["--quiet"]);
        let mut known = server.connect();
        assert_eq!(known.get("/0/known").body, "known");
        // Stopped, it finds all of this at once when it goes on: requests, connections, the signal.
        server.program.signal("STOP");
        known.ask("GET /10/kept");
        let mut new: Vec<Peer> = (0..count).map(|_| server.connect()).collect();
        for (number, peer) in new.iter_mut().enumerate() {
            peer.ask(&format!("GET /10/{number}"));
        }
        server.program.signal("TERM");
        server.program.signal("CONT");
        assert_eq!(known.answer().body, "kept");
        for (number, peer) in new.iter_mut().enumerate() {
            assert_eq!(peer.answer().body, number.to_string());
        }
        assert_eq!(server.program.wait().code, Some(0));
    }
}

#[test]
fn what_takes_longer_than_the_drain_is_cut_off() {
    let _watchdog = Watchdog::new("what_takes_longer_than_the_drain_is_cut_off");
    for drain in ["--drain=0", "--drain=0.1"] {
        let server = DelayServer::start(&[drain]);
        let mut peer = server.connect();
        peer.ask("GET /3600000/x");
        server.program.line();
        server.program.signal("TERM");
        assert!(peer.is_closed());
        let ended = server.program.wait();
        assert_eq!(ended.code, Some(0));
        assert_eq!(ended.err, ["stopped with 1 connections open"], "{drain}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let _watchdog = Watchdog::new("a_second_signal_ends_it_at_once");
    let server = DelayServer::start(&["--drain=3600"]);
    let (mut idle, mut peer) = (server.connect(), server.connect());
    peer.ask("GET /3600000/x");
    server.program.line();
    server.program.signal("TERM");
    // Idle connections and the listener do not wait for the answer, which is an hour away.
    assert!(idle.is_closed());
    let start = Instant::now();
    while std::net::TcpStream::connect(server.address()).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the listener is closed");
    }
    server.program.signal("INT");
    assert!(peer.is_closed());
    assert_eq!(server.program.wait().code, Some(0));
}

/// Asks again and again, each time on a connection of its own, until nobody listens any more.
fn flood(address: std::net::SocketAddr) {
    while let Ok(mut stream) = std::net::TcpStream::connect(address) {
        let asked = stream.write_all(b"GET /0/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let _ = asked.and_then(|()| stream.read_to_end(&mut Vec::new()));
    }
}

#[test]
fn clients_that_keep_coming_back_do_not_keep_it_from_ending() {
    let _watchdog = Watchdog::new("clients_that_keep_coming_back_do_not_keep_it_from_ending");
    let server = DelayServer::start(&["--quiet", "--drain=0.2"]);
    let address = server.address();
    let clients: Vec<_> = (0..64).map(|_| std::thread::spawn(move || flood(address))).collect();
    server.program.signal("TERM");
    assert_eq!(server.program.wait().code, Some(0));
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn a_connection_that_was_let_in_waits_for_room_also_after_the_signal() {
    let _watchdog =
        Watchdog::new("a_connection_that_was_let_in_waits_for_room_also_after_the_signal");
    let server = DelayServer::start(&["--max-connections=1", "--drain=3600"]);
    let mut first = server.connect();
    first.ask("GET /300/first");
    server.program.line();
    let mut second = server.connect();
    second.ask("GET /0/second");
    server.program.signal("TERM");
    assert_eq!(first.answer().body, "first");
    assert_eq!(second.answer().body, "second");
    assert_eq!(server.program.wait().code, Some(0));
}

/// Clock ticks of processor time that a process has used, for itself and in the kernel.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn without_descriptors_it_rests_and_says_so_once_and_recovers() {
    let _watchdog = Watchdog::new("without_descriptors_it_rests_and_says_so_once_and_recovers");
    let script = "ulimit -n 20; exec \"$0\" 127.0.0.1:0";
    let mut command = Command::new("sh");
    let server =
        DelayServer::of(command.args(["-c", script, env!("CARGO_BIN_EXE_delayserver")]), 1);
    let mut peers: Vec<Peer> = (0..40).map(|_| server.connect()).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.ask(&format!("GET /0/{number}"));
    }
    let said = server.program.error_line();
    assert!(said.starts_with("accepting rests while there is no room"), "{said}");
    let before = ticks(server.program.pid());
    let start = Instant::now();
    // Nothing is waited for here: this is the time over which it must not spin.
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks(server.program.pid()) - before;
    // A tick is 10 ms; a spinning server uses all it gets, also on a busy machine.
    assert!(used <= 10, "{used} ticks in {:?}", start.elapsed());
    // Each one that goes makes room for one that waits.
    for (number, mut peer) in peers.into_iter().enumerate() {
        assert_eq!(peer.answer().body, number.to_string());
    }
    assert_eq!(server.connect().get("/0/again").body, "again");
    let ended = server.stop();
    assert_eq!((ended.code, ended.err), (Some(0), vec![]));
}

#[test]
fn a_closed_output_does_not_end_it() {
    let _watchdog = Watchdog::new("a_closed_output_does_not_end_it");
    // The reader takes two listening lines and goes; the server then writes to a broken pipe.
    let mut child = delayserver()
        .arg("127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        line.unwrap().strip_prefix("listening on ").map(|address| address.parse().unwrap())
    });
    drop(lines);
    let mut peer = Peer::connect(address.unwrap());
    for _ in 0..50 {
        assert_eq!(peer.get("/0/x").body, "x");
    }
    common::signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Broken from the start, with everything that it prints on the way.
    let broken = || Stdio::from(std::os::fd::OwnedFd::from(UnixStream::pair().unwrap().0));
    for program in [
        env!("CARGO_BIN_EXE_delayserver"),
        env!("CARGO_BIN_EXE_client-async"),
        env!("CARGO_BIN_EXE_client-epoll"),
    ] {
        let help = Command::new(program).arg("--help").stdout(broken()).stderr(broken()).status();
        assert_eq!(help.unwrap().code(), Some(0), "{program}");
    }
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let taken = delayserver().arg(&address).stdout(broken()).stderr(broken()).status();
    assert_eq!(taken.unwrap().code(), Some(1));
}

#[test]
fn an_output_that_nobody_reads_keeps_nobody_waiting() {
    let _watchdog = Watchdog::new("an_output_that_nobody_reads_keeps_nobody_waiting");
    let mut child = delayserver()
        .arg("127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::with_capacity(256, child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        line.unwrap().strip_prefix("listening on ").map(|address| address.parse().unwrap())
    });
    let mut peer = Peer::connect(address.unwrap());
    // More than a pipe holds, and more than waits.
    let message = "m".repeat(4000);
    for _ in 0..200 {
        assert_eq!(peer.get(&format!("/0/{message}")).body, message);
    }
    // Read at last: the first lines are whole, and the number of the others is told.
    let mut told = 0;
    let lost = loop {
        let line = lines.next().unwrap().unwrap();
        match line.strip_suffix(" lines were lost: they were not read in time)") {
            Some(lost) => break lost.trim_start_matches('(').parse::<u64>().unwrap(),
            None if line.is_empty() => {}
            None => {
                told += 1;
                assert_eq!(line, format!("#{told} - 0ms: {message}"));
            }
        }
    };
    assert_eq!(told + lost, 200);
    assert!(told > 16 && lost > 0, "{told} {lost}");
    common::signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_last_lines_are_written_before_it_ends() {
    let _watchdog = Watchdog::new("the_last_lines_are_written_before_it_ends");
    let server = DelayServer::start(&[]);
    let mut peer = server.connect();
    peer.send(&request("GET /0/x").repeat(1000));
    for _ in 0..1000 {
        peer.answer();
    }
    drop(peer);
    let ended = server.stop();
    assert_eq!(ended.out.len(), 1000);
    assert_eq!(ended.out.last().unwrap(), "#1000 - 0ms: x");
}

#[test]
fn arguments_are_explained_and_checked() {
    let _watchdog = Watchdog::new("arguments_are_explained_and_checked");
    let run = |arguments: &[&str]| Program::start(delayserver().args(arguments)).wait();
    let help = run(&["--help"]);
    assert_eq!((help.code, help.err), (Some(0), vec![]));
    let text = help.out.join("\n");
    for flag in [
        "--quiet",
        "--max-delay",
        "--max-connections",
        "--idle-timeout",
        "--header-timeout",
        "--drain",
    ] {
        assert!(text.contains(flag), "{flag}");
    }
    for wrong in [
        &["--loud"][..],
        &["--drain"],
        &["--drain", "-1"],
        &["--drain", "nan"],
        &["--idle-timeout=1e300"],
        &["--max-delay=x"],
        &["--max-connections", "0"],
        &["--quiet=1"],
        &["127.0.0.1:0", "127.0.0.1:0"],
    ] {
        let ended = run(wrong);
        assert_eq!((ended.code, ended.out), (Some(2), vec![]), "{wrong:?}");
        assert!(ended.err[0].starts_with("delayserver: "), "{wrong:?}: {:?}", ended.err);
    }
    for nowhere in ["127.0.0.1:99999", "a b:1", "192.0.2.1:0", "127.0.0.1:"] {
        let ended = run(&[nowhere]);
        assert_eq!((ended.code, ended.out, ended.err.len()), (Some(1), vec![], 1), "{nowhere}");
    }
}

#[test]
fn it_listens_at_both_addresses_of_localhost_with_one_port() {
    let _watchdog = Watchdog::new("it_listens_at_both_addresses_of_localhost_with_one_port");
    let server = DelayServer::of(delayserver().args(["--quiet", "localhost:0"]), 2);
    let [v4, v6] = server.addresses[..] else { panic!("two listeners") };
    assert!(v4.is_ipv4() && v6.is_ipv6() && v4.port() == v6.port(), "{v4} {v6}");
    for address in [v4, v6] {
        assert_eq!(Peer::connect(address).get("/0/x").body, "x");
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_at_either_address() {
    let _watchdog = Watchdog::new("a_port_that_is_taken_is_an_error_at_either_address");
    for taken in ["127.0.0.1:0", "[::1]:0"] {
        let holder = TcpListener::bind(taken).unwrap();
        let port = holder.local_addr().unwrap().port();
        let host = format!("localhost:{port}");
        let ended = Program::start(delayserver().arg(host)).wait();
        assert_eq!((ended.code, ended.out), (Some(1), vec![]), "{taken}");
        let said = ended.err.join("\n");
        let address = holder.local_addr().unwrap().to_string();
        assert!(said.contains(&address) && said.contains("in use"), "{said}");
    }
}

#[test]
fn a_client_that_is_refused_and_sends_on_is_heard_out_within_bounds() {
    let _watchdog = Watchdog::new("a_client_that_is_refused_and_sends_on_is_heard_out");
    let server = DelayServer::start(&["--quiet", "--max-connections=1"]);
    let mut peer = server.connect();
    peer.send("nonsense\r\n");
    assert_eq!(peer.answer().status, 400);
    assert_eq!(peer.stream.read(&mut [0]).unwrap(), 0);
    // A closed connection would answer the first of these with a reset, a moment later.
    for _ in 0..20 {
        peer.stream.write_all(&[b'x'; 1000]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    // A bound in time: this one stays open, and the next is served all the same.
    assert_eq!(server.connect().get("/0/next").body, "next");
    // A bound in bytes, beyond what the kernel holds by itself.
    let mut peer = server.connect();
    peer.send("nonsense\r\n");
    let mut sent = 0;
    while peer.stream.write_all(&[b'x'; 65_536]).is_ok() {
        sent += 65_536;
    }
    assert!(sent < 32 * 1024 * 1024, "{sent}");
}
