//! The delayserver with several workers.

mod common;

use common::{DelayServer, Peer, Program, Watchdog, delayserver};
use std::fs;

/// The names of the threads that are there for all of the program's life.
fn workers(server: &DelayServer) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.program.pid())).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim().to_string()).collect();
    names.retain(|name| name.starts_with("worker-") && name != "worker-watch");
    names.sort();
    names
}

#[test]
fn requests_are_answered_by_all_workers_and_counted_together() {
    let _watchdog = Watchdog::new("requests_are_answered_by_all_workers_and_counted_together");
    let server = DelayServer::start(&["--workers=2"]);
    let mut peers: Vec<Peer> = (0..40).map(|_| server.connect()).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.ask(&format!("GET /5/{number}"));
    }
    for (number, peer) in peers.iter_mut().enumerate() {
        assert_eq!(peer.answer().body, number.to_string());
    }
    assert_eq!(workers(&server), ["worker-0", "worker-1"]);
    let number = |line: String| -> u32 {
        let digits = line.strip_prefix('#').and_then(|rest| rest.split(' ').next());
        digits.unwrap().parse().unwrap()
    };
    let mut numbers: Vec<u32> = (0..40).map(|_| number(server.program.line())).collect();
    numbers.sort();
    assert_eq!(numbers, (1..=40).collect::<Vec<u32>>());
}

#[test]
fn a_signal_lets_all_workers_finish() {
    let _watchdog = Watchdog::new("a_signal_lets_all_workers_finish");
    let server = DelayServer::start(&["--workers=3", "--quiet", "--idle-timeout=3600"]);
    let mut idle: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
    for peer in &mut idle {
        assert_eq!(peer.get("/0/known").body, "known");
    }
    let mut waiting: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
    for peer in &mut waiting {
        peer.ask("GET /700/kept");
    }
    // Answered only after all of them were read, since the kernel queues them in this order.
    server.program.signal("TERM");
    assert!(idle.iter_mut().all(Peer::is_closed));
    for peer in &mut waiting {
        assert_eq!(peer.answer().body, "kept");
    }
    let ended = server.program.wait();
    assert_eq!((ended.code, ended.err), (Some(0), vec![]));
}

#[test]
fn a_second_signal_ends_all_workers_at_once() {
    let _watchdog = Watchdog::new("a_second_signal_ends_all_workers_at_once");
    let server = DelayServer::start(&["--workers=2", "--drain=3600"]);
    let mut peer = server.connect();
    peer.ask("GET /3600000/x");
    server.program.line();
    server.program.signal("TERM");
    // The workers have it once they listen no more.
    while std::net::TcpStream::connect(server.address()).is_ok() {
        std::thread::yield_now();
    }
    server.program.signal("TERM");
    assert!(peer.is_closed());
    let ended = server.program.wait();
    assert_eq!(ended.code, Some(0));
    // Those that only tried whether it listens may be among them.
    assert!(ended.err.iter().any(|line| line.ends_with("connections open")), "{:?}", ended.err);
}

#[test]
fn a_number_of_workers_that_makes_no_sense_is_refused() {
    for number in ["0", "-1", "many"] {
        let ended = Program::start(delayserver().args(["--workers", number])).wait();
        assert_eq!(ended.code, Some(2), "{number}");
        assert!(ended.err[0].contains("--workers"), "{:?}", ended.err);
    }
}
