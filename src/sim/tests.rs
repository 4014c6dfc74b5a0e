//! Worlds, small ones.

use super::*;
use crate::io::{AsyncRead, AsyncWrite};
use crate::net::{TcpListener, TcpStream};
use crate::time::sleep;
use std::io;
use std::time::Duration;

/// Answers everything with itself.
async fn echo() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        crate::spawn(async move {
            let mut buffer = [0; 1000];
            loop {
                let count = stream.read(&mut buffer).await?;
                if count == 0 {
                    return io::Result::Ok(());
                }
                stream.write_all(&buffer[..count]).await?;
            }
        });
    }
}

async fn ask(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect("server:7").await?;
    stream.write_all(bytes).await?;
    stream.close().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer, 1 << 20).await?;
    Ok(answer)
}

#[test]
fn an_echo_comes_back_over_the_simulated_network() {
    twice(1, |world| {
        world.host("server", echo);
        let bytes: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
        let answer = world.run_until(ask(&bytes)).unwrap();
        assert!(answer == bytes, "{} bytes", answer.len());
        world.finish();
    });
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_gives_another() {
    let hash = |seed| {
        twice(seed, |world| {
            world.host("server", echo);
            world.run_until(ask(b"hello")).unwrap();
            world.hash()
        })
    };
    assert_ne!(hash(7), hash(8));
}

#[test]
fn a_run_that_is_not_the_same_when_it_is_repeated_is_found() {
    let runs = std::sync::atomic::AtomicU64::new(0);
    let report = seeds_twice(3..9, |world| {
        let run = runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        world.run_for(Duration::from_secs(1 + run));
    });
    let (seed, failure) = report.failure.unwrap();
    assert!(failure.starts_with(&format!("the run of seed {seed} is not the same")), "{failure}");
}

#[test]
fn an_hour_with_a_thousand_timers_passes_at_once() {
    twice(2, |world| {
        world.run_until(async {
            let sleeps = (1..=1000).map(|index| sleep(Duration::from_millis(3600 * index)));
            crate::future::join_all(sleeps).await;
        });
        assert!(world.elapsed() >= Duration::from_secs(3600));
        assert!(world.elapsed() < Duration::from_secs(3601));
    });
}

#[test]
#[should_panic(expected = "nothing is left that could happen")]
fn a_task_that_waits_for_what_never_comes_is_found() {
    World::seeded(3).run_until(std::future::pending::<()>());
}

#[test]
fn blocking_work_runs_in_the_worlds_time() {
    twice(4, |world| {
        let sum = world.run_until(crate::blocking::run(|| 6 * 7)).unwrap();
        assert_eq!(sum, 42);
        assert!(world.elapsed() > Duration::ZERO);
    });
}

#[test]
fn an_hour_of_waiting_costs_no_system_calls() {
    twice(7, |world| {
        world.host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                sleep(Duration::from_secs(3600)).await;
                stream.write_all(b"an hour later").await?;
            }
        });
        assert_eq!(world.run_until(ask(b"")).unwrap(), b"an hour later");
        let (_, calls) = world.line_and_call_counts();
        assert!(calls < 100, "{calls} system calls");
    });
}

#[test]
fn a_run_for_a_time_lasts_just_so_long() {
    twice(6, |world| {
        world.run_for(Duration::from_secs(5));
        assert!((5_000..5_010).contains(&world.elapsed().as_millis()), "{:?}", world.elapsed());
    });
}
