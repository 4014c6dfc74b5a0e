//! Every future that the library offers, dropped wherever it can be dropped, on the simulated
//! kernel: what its documentation promises then is seen to hold, and nothing is left behind.
//!
//! A scene uses an operation, has it dropped in one place, and goes on. Places are before each poll
//! (where it may have been woken) and after each that was pending. Each is tried, without trouble,
//! with calls that fail one after another, and with noise over several seeds.

#[path = "cancel/datagrams.rs"]
mod datagrams;
#[path = "cancel/programs.rs"]
mod programs;
#[path = "cancel/scene.rs"]
mod scene;
#[path = "cancel/streams.rs"]
mod streams;
#[path = "cancel/sync.rs"]
mod sync;
#[path = "cancel/table.rs"]
mod table;
#[path = "cancel/time.rs"]
mod time;

use scene::{Run, Trouble, play};
use std::thread;

/// An operation, and a scene that uses it.
struct Case {
    operation: &'static str,
    run: Run,
}

macro_rules! cases {
    ($($operation:literal => $scene:path,)*) => {
        &[$(Case {
            operation: $operation,
            run: |scene| Box::pin($scene(scene)),
        },)*]
    };
}

/// Futures that leave their waker behind when they are dropped, and with whom. All others take it
/// out.
const KEEP_WAKERS: &[(&str, &str)] = &[
    ("TaskSet::next", "a borrow of the set, which has it for the next call"),
    ("delay::serve", "the tasks that it aborts, which go at the next turn"),
    ("delay::serve_shared", "the same"),
    ("signal::Signals::recv", "a borrow of what is registered, which has it for the next call"),
    (
        "sync::local::oneshot::Receiver",
        "what was dropped is a `&mut` to the receiver, which has it",
    ),
    ("sync::oneshot::Receiver", "the same"),
    ("task::JoinHandle", "what was dropped is a `&mut` to the handle, whose task has it"),
];

impl Case {
    fn keeps_waker(&self) -> bool {
        KEEP_WAKERS.iter().any(|(operation, _)| *operation == self.operation)
    }
}

const CASES: &[Case] = cases! {
    "blocking::run" => time::blocking,
    "callback::EventLoop::run" => programs::callbacks,
    "coroutine::ask" => programs::ask,
    "delay::listen" => programs::listen,
    "delay::listen_shared" => programs::listen_shared,
    "delay::serve" => programs::serve_delays,
    "delay::serve_shared" => programs::serve_shared,
    "fiber::Fiber" => programs::fiber,
    "future::join" => time::join_two,
    "future::join_all" => time::join_many,
    "future::race" => time::race_two,
    "http::Client::connect" => programs::client_connect,
    "http::Client::request" => programs::client_request,
    "http::Server::serve" => programs::serve_connection,
    "http::get" => programs::get,
    "io::AsyncRead::read" => streams::read,
    "io::AsyncRead::read_exact" => streams::read_exact,
    "io::AsyncRead::read_into" => streams::read_into,
    "io::AsyncRead::read_to_end" => streams::read_to_end,
    "io::AsyncWrite::close" => streams::close,
    "io::AsyncWrite::flush" => streams::flush,
    "io::AsyncWrite::write" => streams::write,
    "io::AsyncWrite::write_all" => streams::write_all,
    "io::BufReader::fill_buffer" => streams::fill_buffer,
    "io::BufReader::read_line" => streams::read_line,
    "io::copy" => streams::copying,
    "net::TcpListener::accept" => streams::accept,
    "net::TcpListener::accept" => streams::accept_beside_another,
    "net::TcpListener::bind" => streams::bind,
    "net::TcpSocket::connect" => streams::connect_socket,
    "net::TcpStream::closed" => streams::closed,
    "net::TcpStream::connect" => streams::connect,
    "net::TcpStream::peek" => streams::peek,
    "net::TcpStream::read_vectored" => streams::read_vectored,
    "net::TcpStream::readable" => streams::readable,
    "net::TcpStream::writable" => streams::writable,
    "net::TcpStream::write_vectored" => streams::write_vectored,
    "net::UdpSocket::bind" => datagrams::bind,
    "net::UdpSocket::connect" => datagrams::connect,
    "net::UdpSocket::recv" => datagrams::recv,
    "net::UdpSocket::recv_from" => datagrams::recv_from,
    "net::UdpSocket::send" => datagrams::send,
    "net::UdpSocket::send_to" => datagrams::send_to,
    "net::resolve" => streams::resolve,
    "signal::Signals::recv" => time::recv_signal,
    "sync::Mutex::lock" => sync::shared::lock,
    "sync::Notify::notified" => sync::shared::notified,
    "sync::Semaphore::acquire" => sync::shared::acquire,
    "sync::Semaphore::acquire_many" => sync::shared::acquire_many,
    "sync::local::Mutex::lock" => sync::local::lock,
    "sync::local::Notify::notified" => sync::local::notified,
    "sync::local::Semaphore::acquire" => sync::local::acquire,
    "sync::local::Semaphore::acquire_many" => sync::local::acquire_many,
    "sync::local::mpsc::Receiver::recv" => sync::local::recv,
    "sync::local::mpsc::Sender::send" => sync::local::send,
    "sync::local::oneshot::Receiver" => sync::local::oneshot_receiver,
    "sync::local::oneshot::Sender::closed" => sync::local::oneshot_closed,
    "sync::mpsc::Receiver::recv" => sync::shared::recv,
    "sync::mpsc::Sender::send" => sync::shared::send,
    "sync::oneshot::Receiver" => sync::shared::oneshot_receiver,
    "sync::oneshot::Sender::closed" => sync::shared::oneshot_closed,
    "task::JoinHandle" => time::join_handle,
    "time::Interval::tick" => time::tick,
    "time::sleep" => time::sleep,
    "time::timeout" => time::timeout,
    "TaskSet::next" => time::task_set_next,
    "yield_now" => time::yield_now,
};

/// More places than any scene has.
const PLACES_MAX: u64 = 100_000;

/// Runs a scene for each place in which it can be cut, and once without a cut.
fn cut_everywhere(case: &Case, seed: u64, trouble: Trouble) {
    for at in 0..PLACES_MAX {
        if !play(case, seed, at, trouble).struck {
            // The first is there always: before the operation's first poll.
            let fails = matches!(trouble, Trouble::Call(..));
            assert!(at > 0 || fails, "{}: the scene uses no operation", case.operation);
            return;
        }
    }
    panic!("{}: no end of places", case.operation);
}

/// How many seeds, each with noise of its own: more with the environment's `SEEDS`.
fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn what_is_dropped_without_trouble_keeps_its_promise() {
    for case in CASES {
        cut_everywhere(case, 0, Trouble::None);
    }
}

#[test]
fn what_is_dropped_amid_noise_keeps_its_promise() {
    for case in CASES {
        for seed in 1..=seeds() {
            cut_everywhere(case, seed, Trouble::Noise);
        }
    }
}

/// Out of memory, of descriptors, of addresses, and interrupted.
const ERRORS: [i32; 4] = [12, 24, 99, 4];

#[test]
fn whichever_call_fails_nothing_is_left() {
    // A thread for each error, as this takes the longest of all.
    thread::scope(|scope| {
        for errno in ERRORS {
            scope.spawn(move || CASES.iter().for_each(|case| fail_everywhere(case, errno)));
        }
    });
}

fn fail_everywhere(case: &Case, errno: i32) {
    for k in 1.. {
        let seen = play(case, 0, PLACES_MAX, Trouble::Call(k, errno));
        if k > seen.calls {
            assert!(!seen.failed, "{}: it fails without a fault", case.operation);
            return;
        }
    }
}

/// The same, and cut as well: with more seeds only, as it takes its time.
#[test]
fn whichever_call_fails_what_is_dropped_leaves_nothing() {
    if seeds() <= 3 {
        return;
    }
    for case in CASES {
        let calls = play(case, 0, PLACES_MAX, Trouble::None).calls;
        for k in 1..=calls {
            cut_everywhere(case, 0, Trouble::Call(k, 12));
        }
    }
}

#[test]
fn every_public_future_is_tried_and_its_promise_is_in_the_table() {
    let tried: Vec<_> = CASES.iter().map(|case| case.operation).collect();
    table::check(&tried);
}
