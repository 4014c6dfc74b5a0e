//! The delayserver as its clients see it: HTTP, well-formed and not.

mod common;

use common::{DelayServer, Watchdog, request};
use std::thread;

#[test]
fn a_request_is_answered_with_its_message_and_told_of() {
    let _watchdog = Watchdog::new("a_request_is_answered_with_its_message_and_told_of");
    let server = DelayServer::start(&[]);
    let mut peer = server.connect();
    let start = std::time::Instant::now();
    let answer = peer.get("/30/h%C3%A4llo%20you");
    assert!(start.elapsed().as_millis() >= 30);
    assert_eq!((answer.status, &*answer.body), (200, "h\u{e4}llo you"));
    assert!(answer.says("Content-Type: text/plain; charset=utf-8"), "{answer:?}");
    assert_eq!(server.program.line(), "#1 - 30ms: h\u{e4}llo you");
    assert_eq!(peer.get("/0/x").body, "x");
    assert_eq!(server.program.line(), "#2 - 0ms: x");
}

#[test]
fn control_characters_do_not_reach_the_log() {
    let _watchdog = Watchdog::new("control_characters_do_not_reach_the_log");
    let server = DelayServer::start(&[]);
    assert_eq!(server.connect().get("/0/a%0A%1B%5B2J%C2%9B%7F").body, "a\n\u{1b}[2J\u{9b}\u{7f}");
    assert_eq!(server.program.line(), r"#1 - 0ms: a\n\u{1b}[2J\u{9b}\u{7f}");
}

#[test]
fn head_is_answered_without_a_body_also_when_it_is_refused() {
    let _watchdog = Watchdog::new("head_is_answered_without_a_body_also_when_it_is_refused");
    let server = DelayServer::start(&["--max-delay", "5"]);
    let mut peer = server.connect();
    for (line, status) in [("HEAD /0/four", 200), ("HEAD /six/x", 404), ("HEAD /6/x", 400)] {
        peer.ask(line);
        let head = peer.head();
        assert_eq!(head.status, status, "{line}");
        assert!(status != 200 || head.says("Content-Length: 4"), "{head:?}");
        // Had a body come it would be taken for the next answer.
        assert_eq!(peer.get("/0/next").body, "next", "{line}");
    }
    peer.send("HEAD /0/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(peer.head().status, 400);
    assert!(peer.is_closed());
}

#[test]
fn connections_persist_as_their_clients_ask() {
    let _watchdog = Watchdog::new("connections_persist_as_their_clients_ask");
    let server = DelayServer::start(&["--quiet"]);
    for (head, header) in [
        ("GET /0/x HTTP/1.0\r\n\r\n", "Connection: close"),
        ("GET /0/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "Connection: close"),
    ] {
        let mut peer = server.connect();
        peer.send(head);
        let answer = peer.answer();
        assert!(answer.says(header) && answer.body == "x", "{head:?}: {answer:?}");
        assert!(peer.is_closed(), "{head:?}");
    }
    let mut peer = server.connect();
    for _ in 0..3 {
        peer.send("GET /0/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = peer.answer();
        assert!(answer.says("Connection: keep-alive") && answer.body == "x", "{answer:?}");
    }
}

#[test]
fn requests_behind_the_last_do_not_cost_its_answer() {
    let _watchdog = Watchdog::new("requests_behind_the_last_do_not_cost_its_answer");
    let server = DelayServer::start(&["--quiet"]);
    let mut peer = server.connect();
    let behind = request("GET /0/unheard").repeat(2000);
    peer.send(&format!("GET /0/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n{behind}"));
    assert_eq!(peer.answer().body, "x");
    // No reset, which would have come with bytes that nobody read.
    assert_eq!(std::io::Read::read(&mut peer.stream, &mut [0]).unwrap(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order_whatever_their_delays() {
    let _watchdog = Watchdog::new("pipelined_requests_are_answered_in_order");
    let server = DelayServer::start(&["--quiet"]);
    let mut peer = server.connect();
    let delays = [40, 0, 0, 20, 0, 1];
    let bytes: String =
        (0..).zip(delays).map(|(n, ms)| request(&format!("GET /{ms}/{n}"))).collect();
    peer.send(&bytes);
    for number in 0..delays.len() {
        assert_eq!(peer.answer().body, number.to_string());
    }
    // Many at once, whose answers are more than the server puts together.
    let message = "m".repeat(1000);
    peer.send(&request(&format!("GET /0/{message}")).repeat(200));
    for _ in 0..200 {
        assert_eq!(peer.answer().body, message);
    }
}

#[test]
fn requests_that_come_byte_by_byte_are_requests() {
    let _watchdog = Watchdog::new("requests_that_come_byte_by_byte_are_requests");
    let server = DelayServer::start(&["--quiet"]);
    let mut peer = server.connect();
    let chunked = "POST /0/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;e=1\r\nabc\r\n0\r\nT: 1\r\n\r\n";
    for byte in (request("GET /5/a") + chunked + &request("GET /0/b")).chars() {
        peer.send(&byte.to_string());
    }
    assert_eq!(peer.answer().body, "a");
    assert_eq!(peer.answer().status, 405);
    assert_eq!(peer.answer().body, "b");
}

#[test]
fn bodies_are_skipped_and_the_connection_goes_on() {
    let _watchdog = Watchdog::new("bodies_are_skipped_and_the_connection_goes_on");
    let server = DelayServer::start(&["--quiet"]);
    let mut peer = server.connect();
    let get = request("GET /0/hidden");
    let tiny = "1\r\nx\r\n".repeat(20_000);
    for body in [
        format!("Content-Length: {}\r\n\r\n{get}", get.len()),
        format!("Content-Length: 65536\r\n\r\n{}", "b".repeat(65_536)),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{get}\r\n0\r\n\r\n", get.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{tiny}0\r\n\r\n"),
    ] {
        // A GET may have a body too, which means nothing.
        for (method, status, says) in [("POST", 405, "Allow: GET, HEAD"), ("GET", 200, "")] {
            peer.send(&format!("{method} /0/x HTTP/1.1\r\nHost: x\r\n{body}"));
            let answer = peer.answer();
            assert_eq!(answer.status, status, "{method} {answer:?}");
            assert!(says.is_empty() || answer.says(says), "{answer:?}");
            assert_eq!(peer.get("/0/next").body, "next");
        }
    }
}

#[test]
fn a_body_follows_a_head_of_the_largest_size() {
    let _watchdog = Watchdog::new("a_body_follows_a_head_of_the_largest_size");
    let server = DelayServer::start(&["--quiet"]);
    let mut peer = server.connect();
    let start = "POST /0/x HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n";
    // Lines of 1,000 bytes, and one that fills up to 16 KiB.
    let mut head = start.to_string();
    while 16 * 1024 - head.len() > 2000 {
        head += &format!("X: {}\r\n", "v".repeat(995));
    }
    let left = 16 * 1024 - head.len() - "X: \r\n\r\n".len();
    head += &format!("X: {}\r\n\r\n", "v".repeat(left));
    assert_eq!(head.len(), 16 * 1024);
    for _ in 0..2 {
        peer.send(&format!("{head}{}{}", "b".repeat(60_000), request("GET /0/behind")));
        assert_eq!(peer.answer().status, 405);
        assert_eq!(peer.answer().body, "behind");
    }
    peer.send(&head.replace("Host: x", "Host: xx"));
    assert_eq!(peer.answer().status, 431);
    assert!(peer.is_closed());
}

#[test]
fn a_client_that_waits_for_the_interim_response_gets_it_in_its_place() {
    let _watchdog = Watchdog::new("a_client_that_waits_for_the_interim_response_gets_it");
    let server = DelayServer::start(&["--quiet"]);
    let expecting = |length: &str| {
        format!(
            "POST /0/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut peer = server.connect();
    peer.send(&(request("GET /20/first") + &expecting("3")));
    assert_eq!(peer.answer().body, "first");
    assert_eq!(peer.head().status, 100);
    peer.send(&("abc".to_string() + &request("GET /0/last")));
    assert_eq!(peer.answer().status, 405);
    assert_eq!(peer.answer().body, "last");
    // No word where the body is there already, or not wanted.
    peer.send(&(expecting("3") + "abc"));
    assert_eq!(peer.answer().status, 405);
    peer.send(&expecting("65537"));
    assert_eq!(peer.answer().status, 413);
    assert!(peer.is_closed());
}

#[test]
fn every_refusal_gives_its_reason_in_a_line() {
    let _watchdog = Watchdog::new("every_refusal_gives_its_reason_in_a_line");
    let server = DelayServer::start(&["--quiet", "--max-delay", "1000"]);
    let with = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let long = |length| format!("/0/{}", "x".repeat(length));
    let many = "A: b\r\n".repeat(101);
    for (bytes, status, persists) in [
        (request("GET /"), 404, true),
        (request("GET /1/a/b"), 404, true),
        (request("GET /1001/x"), 400, true),
        (request("GET /1/%ff"), 400, true),
        (request("GET /1/%f"), 400, true),
        (request("DELETE /1/x"), 405, true),
        (request("OPTIONS *"), 405, true),
        (request("CONNECT x:1"), 405, true),
        (request("BREW /1/x"), 501, true),
        ("GET /0/x HTTP/1.1\r\n\r\n".into(), 400, false),
        ("GET /0/x\r\n".into(), 400, false),
        ("\u{16}\u{3}\u{1}hello".into(), 400, false),
        (with("GET /0/x", "A: b\r\n c\r\n"), 400, false),
        (with("POST /0/x", "Content-Length: 1\r\nContent-Length: 1\r\n"), 400, false),
        (with("POST /0/x", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, false),
        (with("POST /0/x", "Transfer-Encoding: chunked\r\n") + "x\r\n", 400, false),
        (with("POST /0/x", "Content-Length: 65537\r\n"), 413, false),
        (with("POST /0/x", "Transfer-Encoding: chunked\r\n") + "10001\r\n", 413, false),
        (request(&format!("GET {}", long(8 * 1024))), 414, false),
        (with("GET /0/x", "Expect: tea\r\n"), 417, false),
        (with("GET /0/x", &many), 431, false),
        (with("GET /0/x", &format!("A: {}\r\n", "b".repeat(17_000))), 431, false),
        (with("POST /0/x", "Transfer-Encoding: gzip, chunked\r\n"), 501, false),
        ("GET /0/x HTTP/2.0\r\nHost: x\r\n\r\n".into(), 505, false),
    ] {
        let what = bytes.chars().take(60).collect::<String>();
        let mut peer = server.connect();
        // Answered in order behind one that is in order.
        peer.send(&(request("GET /0/before") + &bytes));
        assert_eq!(peer.answer().body, "before", "{what:?}");
        let answer = peer.answer();
        assert_eq!(answer.status, status, "{what:?}");
        let lines = answer.body.lines().count();
        assert!(lines == 1 && answer.body.ends_with('\n'), "{what:?}: {:?}", answer.body);
        assert_eq!(answer.says("Allow: GET, HEAD"), status == 405, "{what:?}");
        assert_eq!(answer.says("Connection: close"), !persists, "{what:?}");
        match persists {
            true => assert_eq!(peer.get("/0/after").body, "after", "{what:?}"),
            false => assert!(peer.is_closed(), "{what:?}"),
        }
    }
}

#[test]
fn a_request_that_takes_too_long_is_refused_and_an_idle_connection_closed() {
    let _watchdog = Watchdog::new("a_request_that_takes_too_long_is_refused");
    let server = DelayServer::start(&["--quiet", "--header-timeout=0.2", "--idle-timeout=0.5"]);
    for start in [
        "G",
        "GET /0/x HTTP/1.1\r\nHo",
        "POST /0/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nb",
    ] {
        let mut peer = server.connect();
        assert_eq!(peer.get("/0/first").body, "first");
        peer.send(start);
        let answer = peer.answer();
        assert!(answer.status == 408 && answer.says("Connection: close"), "{start:?} {answer:?}");
        assert!(peer.is_closed(), "{start:?}");
    }
    // Idle from the start, or after a request: nothing is said.
    assert!(server.connect().is_closed());
    let mut peer = server.connect();
    assert_eq!(peer.get("/0/first").body, "first");
    assert!(peer.is_closed());
}

#[test]
fn a_request_that_drips_in_has_one_time_for_head_and_body() {
    let _watchdog = Watchdog::new("a_request_that_drips_in_has_one_time_for_head_and_body");
    let server = DelayServer::start(&["--quiet", "--header-timeout=0.5"]);
    for start in [
        "GET /0/x HTTP/1.1\r\nHost: x\r\nA: ",
        "POST /0/x HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
    ] {
        let mut peer = server.connect();
        peer.send(start);
        let mut dripping = peer.stream.try_clone().unwrap();
        // Never still, and never done: no byte gets a time of its own.
        let drip = thread::spawn(move || {
            while std::io::Write::write_all(&mut dripping, b"b").is_ok() {
                thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        assert_eq!(peer.answer().status, 408, "{start:?}");
        peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
        drip.join().unwrap();
    }
}

#[test]
fn a_client_that_goes_away_while_it_waits_frees_its_place_at_once() {
    let _watchdog = Watchdog::new("a_client_that_goes_away_while_it_waits_frees_its_place_at_once");
    let server = DelayServer::start(&["--max-connections", "1"]);
    // FIN.
    let mut peer = server.connect();
    peer.ask("GET /3600000/fin");
    assert_eq!(server.program.line(), "#1 - 3600000ms: fin");
    drop(peer);
    assert_eq!(server.connect().get("/0/next").body, "next");
    assert_eq!(server.program.line(), "#2 - 0ms: next");
    // FIN of one direction only.
    let mut peer = server.connect();
    peer.ask("GET /3600000/half");
    assert_eq!(server.program.line(), "#3 - 3600000ms: half");
    peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(server.connect().get("/0/next").body, "next");
    assert!(peer.is_closed());
    assert_eq!(server.program.line(), "#4 - 0ms: next");
    // RST: closing with unread bytes.
    let mut peer = server.connect();
    peer.send(&(request("GET /0/unread") + &request("GET /3600000/rst")));
    assert_eq!(server.program.line(), "#5 - 0ms: unread");
    assert_eq!(server.program.line(), "#6 - 3600000ms: rst");
    peer.stream.peek(&mut [0]).unwrap();
    drop(peer);
    assert_eq!(server.connect().get("/0/next").body, "next");
}

#[test]
fn connections_beyond_the_most_wait_their_turn() {
    let _watchdog = Watchdog::new("connections_beyond_the_most_wait_their_turn");
    let server = DelayServer::start(&["--max-connections=2"]);
    let mut inside = [server.connect(), server.connect()];
    for peer in &mut inside {
        peer.get("/0/inside");
        assert!(server.program.line().ends_with("inside"));
    }
    let mut outside = server.connect();
    outside.ask("GET /0/outside");
    for peer in &mut inside {
        peer.get("/30/inside");
        assert!(server.program.line().ends_with("inside"));
    }
    let [one, _other] = inside;
    drop(one);
    assert_eq!(outside.answer().body, "outside");
    assert!(server.program.line().ends_with("outside"));
}
