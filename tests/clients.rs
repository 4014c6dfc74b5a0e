//! Every client, against the delayserver and against servers that misbehave.

mod common;

use common::{DelayServer, Ended, Program, Watchdog, delayserver};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use whirligig::delay::Usage;

const CLIENTS: [(&str, &str); 7] = [
    ("client-workers", env!("CARGO_BIN_EXE_client-workers")),
    ("client-coroutines", env!("CARGO_BIN_EXE_client-coroutines")),
    ("client-callbacks", env!("CARGO_BIN_EXE_client-callbacks")),
    ("client-threads", env!("CARGO_BIN_EXE_client-threads")),
    ("client-fibers", env!("CARGO_BIN_EXE_client-fibers")),
    ("client-async", env!("CARGO_BIN_EXE_client-async")),
    ("client-epoll", env!("CARGO_BIN_EXE_client-epoll")),
];

fn run(client: &str, arguments: &[&str]) -> Ended {
    Program::start(Command::new(client).args(arguments)).wait()
}

/// The lines without their times, which must be there: they vary.
fn without_times(lines: &[String]) -> Vec<String> {
    let strip = |line: &String| {
        let words = line.split(' ').map(|word| {
            let time = word.trim_end_matches(',').strip_suffix("ms");
            time.filter(|digits| digits.parse::<u64>().is_ok()).map_or(word, |_| "TIME")
        });
        words.collect::<Vec<_>>().join(" ")
    };
    lines.iter().map(strip).collect()
}

/// Each client in a thread of its own: what they do is mostly to wait.
fn at_once(each: impl Fn(&str, &str) + Sync) {
    thread::scope(|scope| {
        for (name, client) in CLIENTS {
            scope.spawn(|| each(name, client));
        }
    });
}

#[test]
fn all_clients_print_the_same_lines_in_the_same_order() {
    let _watchdog = Watchdog::new("all_clients_print_the_same_lines_in_the_same_order");
    let server = DelayServer::start(&["--quiet"]);
    let address = server.address().to_string();
    at_once(|name, client| {
        // Steps long enough that no pause of the machine turns the answers round.
        let ended = run(client, &[&address, "4", "250"]);
        assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]), "{name}");
        let expected = [
            "TIME request-3",
            "TIME request-2",
            "TIME request-1",
            "TIME request-0",
            "4 requests in TIME one after another TIME",
        ];
        assert_eq!(without_times(&ended.out), expected, "{name}");
        assert!(ended.out[4].ends_with("one after another 2500ms"), "{name} {:?}", ended.out[4]);
        for (line, at_least) in ended.out.iter().zip([250, 500, 750, 1000]) {
            let elapsed: u64 = line.split_once("ms ").unwrap().0.parse().unwrap();
            assert!(elapsed >= at_least, "{name} {line}");
        }
    });
}

#[test]
fn many_requests_at_once_and_none_and_without_delay() {
    let _watchdog = Watchdog::new("many_requests_at_once_and_none_and_without_delay");
    let server = DelayServer::start(&["--quiet"]);
    let address = server.address().to_string();
    for (name, client) in CLIENTS {
        for (requests, step) in [(500, "0"), (300, "1"), (0, "5")] {
            let ended = run(client, &[&address, &requests.to_string(), step]);
            assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]), "{name}");
            let mut lines = without_times(&ended.out);
            let summary = lines.pop().unwrap();
            assert!(summary.starts_with(&format!("{requests} requests in TIME")), "{summary}");
            let mut expected: Vec<_> = (0..requests).map(|n| format!("TIME request-{n}")).collect();
            lines.sort_unstable();
            expected.sort_unstable();
            assert_eq!(lines, expected, "{name}");
        }
    }
}

#[test]
fn no_more_are_under_way_at_once_than_are_allowed() {
    let _watchdog = Watchdog::new("no_more_are_under_way_at_once_than_are_allowed");
    let server = DelayServer::start(&["--quiet"]);
    let address = server.address().to_string();
    at_once(|name, client| {
        let ended = run(client, &[&address, "6", "--delay", "100", "--at-once", "2"]);
        assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]), "{name}");
        for (index, line) in ended.out[..6].iter().enumerate() {
            let elapsed: usize = line.split_once("ms ").unwrap().0.parse().unwrap();
            assert!(elapsed >= 100 * (index / 2 + 1), "{name}: {:?}", ended.out);
        }
        assert!(ended.out[6].ends_with("one after another 600ms"), "{name} {:?}", ended.out[6]);
        let one_by_one = run(client, &[&address, "50", "0", "--at-once=1"]);
        let expected: Vec<_> = (0..50).map(|n| format!("TIME request-{n}")).collect();
        assert_eq!(without_times(&one_by_one.out)[..50], expected, "{name}");
    });
}

#[test]
fn an_address_that_refuses_is_passed_over_for_the_next() {
    let _watchdog = Watchdog::new("an_address_that_refuses_is_passed_over_for_the_next");
    // localhost has two addresses; the server is at one of them.
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let server = DelayServer::of(delayserver().args(["--quiet", host]), 1);
        let named = format!("localhost:{}", server.address().port());
        for (name, client) in CLIENTS {
            for target in [&named, &server.address().to_string()] {
                let ended = run(client, &[target, "3", "1"]);
                assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]), "{name} {target}");
                assert_eq!(ended.out.len(), 4, "{name} {target}");
            }
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let _watchdog = Watchdog::new("a_server_that_is_not_there_is_an_error");
    let address = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    for (name, client) in CLIENTS {
        let ended = run(client, &[&address, "2", "1"]);
        assert_eq!((ended.code, ended.out.len(), ended.err.len()), (Some(1), 0, 1), "{name}");
        let said = &ended.err[0];
        assert!(said.contains(&address) && said.contains("refused"), "{said}");
        for nowhere in ["nowhere.invalid:1", "127.0.0.1:x", "a b:1"] {
            let ended = run(client, &[nowhere]);
            assert_eq!((ended.code, ended.err.len()), (Some(1), 1), "{name} {nowhere}");
            assert!(ended.err[0].starts_with(&format!("{name}: ")), "{:?}", ended.err);
        }
        for wrong in [&["--loud"][..], &["x", "many"], &["x", "1", "1", "1"]] {
            assert_eq!(run(client, wrong).code, Some(2), "{name} {wrong:?}");
        }
        let help = run(client, &["--help"]);
        assert!(help.code == Some(0) && help.out.join("\n").contains("USAGE"), "{name}");
    }
}

#[test]
fn a_client_says_what_it_used_if_it_is_asked_to() {
    let _watchdog = Watchdog::new("a_client_says_what_it_used_if_it_is_asked_to");
    let server = DelayServer::start(&["--quiet"]);
    let address = server.address().to_string();
    for (name, client) in CLIENTS {
        let ended = run(client, &[&address, "3", "1", "--usage"]);
        assert_eq!((ended.code, ended.out.len(), ended.err.len()), (Some(0), 4, 1), "{name}");
        let usage: Usage = ended.err[0].parse().unwrap();
        assert!(usage.peak_rss_kb > 500 && usage.voluntary_switches > 0, "{name}: {usage}");
    }
}

/// A server that answers each connection's first request with `answer`, in pieces, and closes.
fn misbehaving(answer: &'static [&'static [u8]]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            read_head(&mut stream);
            for piece in answer {
                // The client may have had enough of it.
                let _ = stream.write_all(piece);
            }
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0]);
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

#[test]
fn a_server_that_misbehaves_is_an_error() {
    let _watchdog = Watchdog::new("a_server_that_misbehaves_is_an_error");
    const ENDLESS: &[&[u8]] = &[&[b'x'; 4096] as &[u8]; 64];
    let cases: [(&[&[u8]], &str); 9] = [
        (&[], "closed the connection without an answer"),
        (&[b"HTTP/1.1 200 OK\r\nContent-"], "closed the connection inside its answer"),
        (
            &[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nreq"],
            "closed the connection inside its answer",
        ),
        (&[b"SSH-2.0-x\r\n"], "not understood: the version"),
        (ENDLESS, "not understood: the version"),
        (&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"], "200 \"other\""),
        (&[b"HTTP/1.1 500 Oh No\r\nContent-Length: 9\r\n\r\nrequest-0"], "500 \"request-0\""),
        (&[b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"], "too large"),
        (&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], "chunk size"),
    ];
    for (answer, error) in cases {
        let address = misbehaving(answer).to_string();
        for (name, client) in CLIENTS {
            let ended = run(client, &[&address, "1", "1"]);
            assert_eq!((ended.code, ended.err.len()), (Some(1), 1), "{name} {error} {ended:?}");
            assert!(ended.err[0].starts_with(&format!("{name}: ")), "{:?}", ended.err);
            assert!(ended.err[0].contains(error), "{name} {error}: {:?}", ended.err);
            assert_eq!(ended.out.len(), 0, "{name} {error}");
        }
    }
}

#[test]
fn answers_in_every_framing_are_read() {
    let _watchdog = Watchdog::new("answers_in_every_framing_are_read");
    let cases: [&[&[u8]]; 4] = [
        &[b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 9\r\n\r\nrequ", b"est-0"],
        &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nrequ\r", b"\n5\r\nest-0\r\n0\r\n\r\n"],
        &[b"HTTP/1.0 200 OK\r\n\r\nreque", b"st-0"],
        &[b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nrequest-0"],
    ];
    for answer in cases {
        let address = misbehaving(answer).to_string();
        for (name, client) in CLIENTS {
            let ended = run(client, &[&address, "1", "1"]);
            assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]), "{name} {answer:?}");
            assert_eq!(ended.out.len(), 2, "{name}");
        }
    }
}

#[test]
fn a_server_that_goes_away_midway_is_an_error() {
    let _watchdog = Watchdog::new("a_server_that_goes_away_midway_is_an_error");
    for (name, client) in CLIENTS {
        let server = DelayServer::start(&[]);
        let mut command = Command::new(client);
        // One answer comes, the other is an hour away.
        let client = Program::start(command.args([&server.address().to_string(), "2", "600000"]));
        server.program.line();
        server.program.line();
        server.program.signal("KILL");
        let ended = client.wait();
        assert_eq!((ended.code, ended.err.len()), (Some(1), 1), "{name}");
        assert!(
            ended.err[0].contains("connection") || ended.err[0].contains("Connection"),
            "{:?}",
            ended.err
        );
    }
}
