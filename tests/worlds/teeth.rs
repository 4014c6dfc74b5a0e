//! Each check of the workload finds the defect that it is for, in a program that has no other.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use whirligig::sim::twice;

/// What the check says that `defective` does not pass.
fn found(defective: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(defective)).expect_err("nothing was found");
    let text = payload.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| payload.downcast_ref::<&str>().map_or("", |text| text).into())
}

fn a_run(world: &World) -> Run {
    Run::new(world, Random::seeded(world.seed()))
}

#[test]
fn a_task_that_spins_is_found_by_what_it_costs() {
    twice(1, |world| {
        world.run_until(async {
            for _ in 0..10 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        check_effort(world, 10);
        world.run_until(async {
            let spinning = whirligig::spawn(async {
                for _ in 0..20 * POLLS_MAX {
                    whirligig::yield_now().await;
                }
            });
            spinning.await.unwrap();
        });
        let said = found(|| check_effort(world, 10));
        assert!(said.ends_with("something spins"), "{said}");
    });
}

#[test]
fn a_program_that_makes_one_call_again_and_again_is_found_by_what_it_costs() {
    twice(2, |world| {
        let socket = world.kernel().socket(whirligig::sys::Family::V4).unwrap();
        for _ in 0..10 * CALLS_MAX {
            socket.recv(&mut [0]).unwrap_err();
        }
        let said = found(|| check_effort(world, 10));
        assert!(said.ends_with("something spins"), "{said}");
    });
}

/// Answers one request a connection: at once, whatever delay was asked for, with the message that
/// `change` makes of the right one.
async fn hasty_server(change: fn(&str) -> String) -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:8080").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut request = vec![0; 10_000];
        let count = stream.read(&mut request).await?;
        let request = String::from_utf8_lossy(&request[..count]);
        let target = request.split(' ').nth(1).expect("a request has a target");
        let message = change(target.rsplit('/').next().expect("a target has parts"));
        let length = message.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(message.as_bytes()).await?;
        stream.close().await?;
    }
}

fn what_is_found_of(seed: u64, change: fn(&str) -> String) -> String {
    twice(seed, |world| {
        world.host("server", move || hasty_server(change));
        let run = a_run(world);
        found(|| {
            world.run_until(async {
                for _ in 0..50 {
                    clients::one(&run, "hello").await;
                }
            });
        })
    })
}

#[test]
fn an_answer_that_comes_early_is_found() {
    let said = what_is_found_of(3, str::to_owned);
    assert!(said.ends_with("were over too early"), "{said}");
}

#[test]
fn an_answer_with_other_bytes_is_found() {
    let said = what_is_found_of(4, |message| message.replace('l', "L"));
    assert!(said.starts_with("a wrong answer"), "{said}");
}

#[test]
fn a_timer_that_ends_early_or_late_is_found() {
    twice(5, |world| {
        let run = a_run(world);
        world.run_until(async {
            let (start, second) = (Instant::now(), Duration::from_secs(1));
            let said = found(|| run.check_time(start, second, second));
            assert!(said.starts_with("1s was over after"), "{said}");
            sleep(4 * second).await;
            let said = found(|| run.check_time(start, second, second));
            assert!(said.starts_with("1s took 4"), "{said}");
        });
    });
}

#[test]
fn a_request_that_nobody_answers_is_found() {
    twice(6, |world| {
        world.host("server", || async {
            let _listener = TcpListener::bind("0.0.0.0:8080").await?;
            std::future::pending().await
        });
        let run = a_run(world);
        let said = found(|| world.run_until(clients::one(&run, "hello")));
        assert_eq!(said, "a request hangs");
    });
}

#[test]
fn a_server_that_does_not_stop_in_time_is_found() {
    twice(7, |world| {
        world.host("server", || async {
            let _signals = Signals::new(&[Signal::Terminate])?;
            std::future::pending().await
        });
        let run = Rc::new(a_run(world));
        let said = found(|| world.run_until(shut_down(&run)));
        assert_eq!(said, "the server does not stop in time");
    });
}

#[test]
fn a_task_a_timer_and_a_descriptor_that_are_left_are_found() {
    let is_found = |what: &str, left: &str, leave: fn() -> Box<dyn std::any::Any>| {
        twice(8, |world| {
            world.run_until(async {
                check_rest(world, "main");
                let _left = leave();
                // What was spawned has its first turn.
                sleep(Duration::from_millis(1)).await;
                let said = found(|| check_rest(world, "main"));
                assert!(said.contains(left), "{what}: {said}");
            });
        });
    };
    is_found("a task", "left: (1, 0, 0, 2)", || {
        Box::new(whirligig::spawn(std::future::pending::<()>()))
    });
    is_found("a timer", "left: (0, 0, 1, 2)", || {
        let mut waiting = Box::pin(sleep(Duration::from_secs(3600)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        Box::new(waiting)
    });
    is_found("a descriptor", "left: (0, 0, 0, 3)", || {
        Box::new(whirligig::net::TcpSocket::new_v4().unwrap())
    });
}

#[test]
fn a_future_that_is_dropped_in_no_turn_of_its_runtime_is_found() {
    twice(9, |world| {
        let count = Rc::default();
        let guard = Guard::new(&count, Some(world));
        // In a turn all is well.
        world.run_until(async { drop(Guard::new(&count, Some(world))) });
        let said = found(|| drop(guard));
        assert_eq!(said, "dropped in no turn of its runtime");
    });
}
