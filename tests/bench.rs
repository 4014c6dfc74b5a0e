//! The program `bench`: the lines that it prints, and its servers.

mod common;

use common::{Ended, Peer, Program, Watchdog, request};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

fn bench(arguments: &[&str]) -> Program {
    Program::start(Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments))
}

fn run(arguments: &[&str]) -> Ended {
    bench(arguments).wait()
}

/// The fields of an object of JSON that holds nothing but numbers and plain strings.
fn fields(line: &str) -> Vec<(String, String)> {
    let inner = line.strip_prefix('{').and_then(|line| line.strip_suffix('}'));
    let inner = inner.unwrap_or_else(|| panic!("{line} is no object"));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once(':').unwrap_or_else(|| panic!("{pair} in {line}"));
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap();
        match value.strip_prefix('"') {
            Some(text) => assert!(text.ends_with('"'), "{value} in {line}"),
            None => assert!(value.parse::<f64>().unwrap().is_finite(), "{value} in {line}"),
        }
        (name.to_string(), value.trim_matches('"').to_string())
    };
    inner.split(',').map(pair).collect()
}

/// A server of its own on a free port.
struct Server {
    program: Program,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> Server {
        let program = bench(&[kind, "--addr", "127.0.0.1:0"]);
        let line = program.line();
        let address = line.strip_prefix("listening ").unwrap_or_else(|| panic!("{line}"));
        Server { address: address.parse().unwrap(), program }
    }

    /// Ends it, as a signal that it does not catch would.
    fn stop(self) {
        self.program.signal("TERM");
        let ended = self.program.wait();
        assert_eq!((ended.code, ended.out, ended.err), (None, vec![], vec![]));
    }
}

#[test]
fn every_case_prints_what_it_took() {
    let _watchdog = Watchdog::new("every_case_prints_what_it_took");
    let usual = ["case", "n", "ns", "ns_per_op", "cpu_ns", "peak_rss_kb"];
    let late = ["late_p50_us", "late_p99_us", "late_max_us"];
    for (case, n, is_late) in [
        ("spawn", 2500, false),
        ("yield-one", 100, false),
        ("yield-many", 2000, false),
        ("pingpong", 100, false),
        ("wake-remote", 100, false),
        ("sleep-many", 20, true),
        ("timer-churn", 100, false),
        ("sleep-accuracy", 3, true),
        ("tcp-pingpong", 100, false),
        ("tcp-fan", 512, false),
        ("connect-churn", 20, false),
    ] {
        let ended = run(&["micro", case, &n.to_string()]);
        assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]), "{case}");
        let [line] = &ended.out[..] else { panic!("{case} prints {:?}", ended.out) };
        let fields = fields(line);
        let names: Vec<&str> = fields.iter().map(|(name, _)| &name[..]).collect();
        let expected = [&usual[..], if is_late { &late } else { &[] }].concat();
        assert_eq!(names, expected, "{case}");
        assert_eq!((&fields[0].1[..], &fields[1].1[..]), (case, &n.to_string()[..]));
        for (name, value) in &fields[2..] {
            assert!(value.parse::<f64>().unwrap() > 0.0, "{case}: {name} {value}");
        }
    }
}

#[test]
fn a_case_that_there_is_not_is_skipped() {
    let ended = run(&["micro", "no-such", "5"]);
    assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]));
    assert_eq!(ended.out, ["{\"case\":\"no-such\",\"skipped\":\"no such case\"}"]);
    let ended = run(&["micro", "a\"b\\c\n", "5"]);
    assert_eq!(ended.out, ["{\"case\":\"a\\\"b\\\\c\\u000a\",\"skipped\":\"no such case\"}"]);
}

#[test]
fn nonsense_on_the_command_line_is_refused() {
    for (arguments, complaint) in [
        (&[][..], "nothing to do"),
        (&["echo"], "--addr is missing"),
        (&["echo", "--addr"], "--addr needs a value"),
        (&["delay", "--addr", "localhost"], "\"localhost\" is no value for --addr"),
        (&["echo", "x", "--addr", "127.0.0.1:0"], "unexpected argument \"x\""),
        (&["micro"], "CASE is missing"),
        (&["micro", "spawn"], "N is missing"),
        (&["micro", "spawn", "0"], "\"0\" is no value for N"),
        (&["micro", "spawn", "-1"], "unknown flag -1"),
        (&["micro", "spawn", "1", "--addr", "127.0.0.1:0"], "micro takes no --addr"),
        (&["micro", "spawn", "1", "2"], "unexpected argument \"2\""),
        (&["macro"], "there is no order \"macro\""),
        (&["compare", "--rounds", "0"], "\"0\" is no value for --rounds"),
        (&["compare", "--seconds", "-1"], "\"-1\" is no value for --seconds"),
        (&["compare", "--kept", "x"], "compare takes no --kept"),
        (&["chart", "--figures", "x"], "--chart is missing"),
        (&["instructions"], "--kept is missing"),
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, &ended.out[..]), (Some(2), &[][..]), "{arguments:?}");
        let expected = [format!("bench: {complaint}"), "Try 'bench --help'.".to_string()];
        assert_eq!(ended.err, expected, "{arguments:?}");
    }
}

#[test]
fn help_names_every_order() {
    let ended = run(&["--help"]);
    assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]));
    for order in ["echo", "delay", "micro"] {
        let usage = format!("bench {order}");
        assert!(ended.out.iter().any(|line| line.contains(&usage)), "{order}: {:?}", ended.out);
    }
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let _watchdog = Watchdog::new("an_address_that_is_taken_is_an_error");
    let server = Server::start("echo");
    let ended = run(&["delay", "--addr", &server.address.to_string()]);
    assert_eq!((ended.code, &ended.out[..]), (Some(1), &[][..]));
    assert!(ended.err[0].contains("in use"), "{:?}", ended.err);
    server.stop();
}

#[test]
fn the_echo_server_sends_back_what_comes_until_the_end() {
    let _watchdog = Watchdog::new("the_echo_server_sends_back_what_comes_until_the_end");
    let server = Server::start("echo");
    let mut first = Peer::connect(server.address);
    let mut second = Peer::connect(server.address);
    for peer in [&mut first, &mut second] {
        // More than its buffer holds.
        let sent: Vec<u8> = (0..50_000_u32).map(|n| n as u8).collect();
        peer.stream.write_all(&sent).unwrap();
        let mut back = vec![0; sent.len()];
        peer.stream.read_exact(&mut back).unwrap();
        assert!(back == sent);
    }
    first.send("last");
    first.stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    first.stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "last");
    second.send("still here");
    second.stream.read_exact(&mut [0; 10]).unwrap();
    server.stop();
}

#[test]
fn the_delay_server_answers_in_order_and_refuses_nonsense() {
    let _watchdog = Watchdog::new("the_delay_server_answers_in_order_and_refuses_nonsense");
    let server = Server::start("delay");
    let mut peer = Peer::connect(server.address);
    peer.send(&[request("GET /30/later"), request("GET /0/now")].concat());
    for body in ["later", "now"] {
        let answer = peer.answer();
        assert_eq!((answer.status, &answer.body[..]), (200, body));
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
        assert!(answer.head.contains("Content-Type: text/plain"), "{}", answer.head);
    }
    peer.send("GET /0/bye HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let answer = peer.answer();
    assert_eq!((answer.says("Connection: close"), &answer.body[..]), (true, "bye"));
    assert!(peer.is_closed());
    let mut rude = Peer::connect(server.address);
    rude.send("nonsense\r\n\r\n");
    assert_eq!(rude.answer().status, 400);
    assert!(rude.is_closed());
    server.stop();
}

#[test]
fn servers_survive_clients_that_vanish() {
    let _watchdog = Watchdog::new("servers_survive_clients_that_vanish");
    for (kind, bytes) in [("echo", "unread".to_string()), ("delay", request("GET /10/unread"))] {
        let server = Server::start(kind);
        for round in 0..20 {
            let mut peer = Peer::connect(server.address);
            peer.send(&bytes);
            if round % 2 == 0 {
                // Something arrives and is not read: closing resets the connection.
                let _ = peer.stream.read(&mut [0]).unwrap();
            }
        }
        let mut peer = Peer::connect(server.address);
        peer.send(&bytes);
        assert_eq!(peer.stream.read(&mut [0]).unwrap(), 1, "{kind}");
        server.stop();
    }
}
