//! The HTTP server within a program: what no flag of the delayserver reaches.

mod common;

use common::{Peer, Watchdog, request};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};
use whirligig::http::{
    Answer, Client, Connection, Limits, Method, Request, RequestHead, Server, ServerOptions,
};
use whirligig::net::TcpListener;
use whirligig::sync::Notify;
use whirligig::time::sleep;
use whirligig::{TaskSet, run};

/// Runs `client` against a server whose answers depend on the path, and returns how its
/// connections ended.
fn serve(
    options: ServerOptions,
    connections: usize,
    client: impl FnOnce(SocketAddr) + Send + 'static,
) -> Vec<String> {
    let (sender, receiver) = channel();
    let client = thread::spawn(move || client(receiver.recv().unwrap()));
    let ends = run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        sender.send(listener.local_addr().unwrap()).unwrap();
        let server = std::rc::Rc::new(Server::new(options, handle));
        let mut tasks = TaskSet::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().await.unwrap();
            let server = server.clone();
            tasks.spawn(async move { server.serve(stream).await });
        }
        let mut ends = Vec::new();
        while let Some(end) = tasks.next().await {
            ends.push(match end {
                Ok(Ok(())) => "well".to_string(),
                Ok(Err(error)) => format!("{:?}", error.kind()),
                Err(error) => error.to_string(),
            });
        }
        ends
    });
    client.join().unwrap();
    ends.unwrap()
}

fn handle(request: &Request<'_>, body: Vec<u8>) -> impl Future<Output = Answer> + use<> {
    let path = request.path().to_string();
    assert_ne!(path, "/panic-at-once", "as it was asked to");
    async move {
        match &*path {
            "/panic-later" => {
                sleep(Duration::from_millis(1)).await;
                panic!("as it was asked to");
            }
            "/body" => Answer::text(body),
            "/empty" => Answer { status: 204, ..Answer::text(Vec::new()) },
            "/close" => Answer { close: true, ..Answer::text(b"bye".to_vec()) },
            "/nonsense" => {
                let headers = vec![("X", "a\r\nInjected: b".to_string())];
                Answer { headers, ..Answer::text(b"x".to_vec()) }
            }
            "/status-304" => Answer { status: 304, ..Answer::text(b"body".to_vec()) },
            "/status-150" => Answer { status: 150, ..Answer::text(Vec::new()) },
            "/own-connection" => with_header("Connection", "close"),
            "/own-type" => with_header("content-type", "application/json"),
            "/wait" => {
                released().notified().await;
                Answer::text(b"released".to_vec())
            }
            "/release" => {
                released().notify_one();
                Answer::text(Vec::new())
            }
            path => Answer::text(path.as_bytes().to_vec()),
        }
    }
}

/// What `/wait` waits for; both run on the server's thread.
fn released() -> std::rc::Rc<Notify> {
    thread_local!(static RELEASED: std::rc::Rc<Notify> = std::rc::Rc::default());
    RELEASED.with(std::rc::Rc::clone)
}

fn with_header(name: &'static str, value: &str) -> Answer {
    Answer { headers: vec![(name, value.to_string())], ..Answer::text(b"{}".to_vec()) }
}

#[test]
fn a_handler_that_panics_takes_only_its_connection() {
    let _watchdog = Watchdog::new("a_handler_that_panics_takes_only_its_connection");
    let ends = serve(ServerOptions::default(), 3, |address| {
        let mut other = Peer::connect(address);
        assert_eq!(other.get("/a").body, "/a");
        for path in ["/panic-at-once", "/panic-later"] {
            let mut peer = Peer::connect(address);
            peer.ask(&format!("GET {path}"));
            assert!(peer.is_closed());
            assert_eq!(other.get("/b").body, "/b");
        }
    });
    assert_eq!(ends.iter().filter(|end| end.starts_with("task panicked")).count(), 2, "{ends:?}");
    assert_eq!(ends.last().unwrap(), "well");
}

#[test]
fn a_client_that_takes_no_answers_is_given_up() {
    let _watchdog = Watchdog::new("a_client_that_takes_no_answers_is_given_up");
    let options = ServerOptions { send_timeout: Duration::from_millis(200), ..Default::default() };
    let ends = serve(options, 1, |address| {
        let mut peer = Peer::connect(address);
        let many = request(&format!("GET /{}", "m".repeat(8000)));
        // Until nothing goes any more, as the server does not read on, and then resets.
        while peer.stream.write_all(many.as_bytes()).is_ok() {}
    });
    assert_eq!(ends, ["TimedOut"]);
}

#[test]
fn a_slow_reader_gets_all_of_its_answers() {
    let _watchdog = Watchdog::new("a_slow_reader_gets_all_of_its_answers");
    let ends = serve(ServerOptions::default(), 1, |address| {
        let mut peer = Peer::connect(address);
        let path = format!("/{}", "m".repeat(8000));
        let many = request(&format!("GET {path}")).repeat(2000);
        let mut sending = peer.stream.try_clone().unwrap();
        // 16 MB of answers: more than the kernel holds for a reader that has not begun.
        let sender = thread::spawn(move || sending.write_all(many.as_bytes()).unwrap());
        thread::sleep(Duration::from_millis(100));
        for _ in 0..2000 {
            assert_eq!(peer.answer().body, path);
        }
        sender.join().unwrap();
    });
    assert_eq!(ends, ["well"]);
}

#[test]
fn a_handler_gets_the_body_and_may_say_what_http_can() {
    let _watchdog = Watchdog::new("a_handler_gets_the_body_and_may_say_what_http_can");
    let ends = serve(ServerOptions::default(), 1, |address| {
        let mut peer = Peer::connect(address);
        let body: String = (0..65_536).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
        peer.send(&format!("PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n{body}"));
        assert_eq!(peer.answer().body, body);
        peer.send("PUT /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in body.as_bytes().chunks(37) {
            peer.send(&format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
        }
        peer.send("0\r\n\r\n");
        assert_eq!(peer.answer().body, body);
        peer.ask("GET /empty");
        let empty = peer.head();
        assert!(empty.status == 204 && !empty.head.contains("Content-Length"), "{empty:?}");
        peer.ask("GET /nonsense");
        let refused = peer.answer();
        assert!(refused.status == 500 && !refused.head.contains("Injected"), "{refused:?}");
        let last = peer.get("/close");
        assert!(last.says("Connection: close") && last.body == "bye", "{last:?}");
        assert!(peer.is_closed());
    });
    assert_eq!(ends, ["well"]);
}

#[test]
fn answers_that_http_does_not_allow_become_a_500() {
    let _watchdog = Watchdog::new("answers_that_http_does_not_allow_become_a_500");
    let ends = serve(ServerOptions::default(), 1, |address| {
        let mut peer = Peer::connect(address);
        for path in ["/status-304", "/status-150", "/own-connection"] {
            assert_eq!(peer.get(path).status, 500, "{path}");
        }
        let typed = peer.get("/own-type");
        assert!(typed.says("content-type: application/json"), "{typed:?}");
        assert!(!typed.head.contains("text/plain"), "{typed:?}");
    });
    assert_eq!(ends, ["well"]);
}

#[test]
fn bytes_that_come_during_the_last_wait_do_not_cost_the_answer() {
    let _watchdog = Watchdog::new("bytes_that_come_during_the_last_wait_do_not_cost_the_answer");
    let ends = serve(ServerOptions::default(), 2, |address| {
        let mut peer = Peer::connect(address);
        let last = "GET /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        peer.send(&(request("GET /first") + last));
        // This one is sent when the server begins to wait for the other.
        assert_eq!(peer.answer().body, "/first");
        peer.send("\r\n");
        assert_eq!(Peer::connect(address).get("/release").status, 200);
        assert_eq!(peer.answer().body, "released");
        assert!(peer.ends(), "the connection ends, it is not reset");
    });
    assert_eq!(ends, ["well", "well"]);
}

#[test]
fn a_client_does_not_use_a_connection_again_that_has_more_to_say() {
    let _watchdog = Watchdog::new("a_client_does_not_use_a_connection_again_that_has_more_to_say");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    let cases = [
        (ok.to_string(), true),
        (format!("{ok}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), false),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_string(), false),
    ];
    for (answer, reusable) in cases {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sent = answer.clone();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            stream
        });
        run(async {
            let mut client = Client::connect(address).await.unwrap();
            // All of it has come before the client begins to read.
            let stream = server.join().unwrap();
            let (host, headers, connection) = ("x", &[][..], Connection::Unsaid);
            let head = RequestHead { method: Method::Get, target: "/", host, headers, connection };
            client.request(&head, &[]).await.unwrap();
            assert_eq!(client.is_reusable(), reusable, "{answer:?}");
            drop(stream);
        })
        .unwrap();
    }
}

#[test]
fn an_upload_that_is_refused_early_is_told_why() {
    let _watchdog = Watchdog::new("an_upload_that_is_refused_early_is_told_why");
    for closes_at_once in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answered, client_is_done) = channel::<()>();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Some of it, so that the rest waits to be sent or is turned away.
            stream.read_exact(&mut [0; 100]).unwrap();
            let refusal =
                "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
            stream.write_all(refusal.as_bytes()).unwrap();
            if !closes_at_once {
                client_is_done.recv().unwrap_err();
            }
        });
        run(async {
            let mut client = Client::connect(address).await.unwrap();
            let (host, headers, connection) = ("x", &[][..], Connection::Unsaid);
            let head = RequestHead { method: Method::Put, target: "/", host, headers, connection };
            let reply = client.request(&head, &vec![b'x'; 32 << 20]).await.unwrap();
            assert_eq!((reply.status, &reply.body[..]), (413, &b"no"[..]));
            assert!(!client.is_reusable());
        })
        .unwrap();
        drop(answered);
        server.join().unwrap();
    }
}

#[test]
fn a_head_beyond_the_buffer_is_refused_whatever_the_limits() {
    let _watchdog = Watchdog::new("a_head_beyond_the_buffer_is_refused_whatever_the_limits");
    let limits = Limits { head_bytes_max: usize::MAX, ..Limits::default() };
    let ends = serve(ServerOptions { limits, ..Default::default() }, 1, |address| {
        let mut peer = Peer::connect(address);
        peer.send(&format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(30_000)));
        assert_eq!(peer.answer().status, 431);
    });
    assert_eq!(ends, ["well"]);
}

#[test]
fn a_connection_is_idle_until_a_byte_comes_also_after_a_full_buffer() {
    let _watchdog = Watchdog::new("a_connection_is_idle_until_a_byte_comes");
    // Were the time of a request counted from a look that finds nothing, this would be a 408.
    let options = ServerOptions {
        header_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(300),
        ..Default::default()
    };
    let ends = serve(options, 1, |address| {
        let mut peer = Peer::connect(address);
        // As long as the server's buffer, so that its read is not short.
        let one = request("GET /x");
        let count = 20 * 1024 / one.len();
        let rest = 20 * 1024 - count * one.len();
        let long = request(&format!("GET /x{}", "y".repeat(rest)));
        peer.send(&(one.repeat(count - 1) + &long));
        for _ in 0..count {
            assert_eq!(peer.answer().status, 200);
        }
        assert!(peer.is_closed());
    });
    assert_eq!(ends, ["well"]);
}

#[test]
fn a_connection_in_use_outlives_its_idle_time() {
    let _watchdog = Watchdog::new("a_connection_in_use_outlives_its_idle_time");
    const IDLE: Duration = Duration::from_millis(500);
    let options = ServerOptions { idle_timeout: IDLE, ..Default::default() };
    serve(options, 1, |address| {
        let mut peer = Peer::connect(address);
        let (start, mut last) = (Instant::now(), Instant::now());
        while start.elapsed() < 3 * IDLE {
            let before = Instant::now();
            let sent = peer.stream.write_all(request("GET /x").as_bytes());
            if sent.is_err() || !matches!(peer.stream.peek(&mut [0]), Ok(1)) {
                // Closed, and rightly so only if this thread was kept from running for so long.
                assert!(last.elapsed() >= IDLE, "closed after {:?}", start.elapsed());
                return;
            }
            assert_eq!(peer.answer().body, "/x");
            last = before;
            thread::sleep(IDLE / 20);
        }
    });
}
