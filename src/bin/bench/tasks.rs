//! The cases of tasks and channels.

use crate::Failure;
use std::sync::mpsc::channel as thread_channel;
use std::thread;
use whirligig::sync::{local, mpsc};
use whirligig::task::JoinHandle;
use whirligig::{spawn as spawn_task, yield_now};

/// Tasks that `spawn` has at the same time.
const BATCH: u64 = 1000;

/// Tasks of `yield-many`.
const YIELDERS: u64 = 1000;

/// Awaits tasks in the order in which they were spawned.
pub(crate) async fn join<T>(tasks: Vec<JoinHandle<T>>) -> Result<Vec<T>, Failure> {
    let mut outputs = Vec::with_capacity(tasks.len());
    for task in tasks {
        outputs.push(task.await?);
    }
    Ok(outputs)
}

pub(crate) async fn spawn(n: u64) -> Result<(), Failure> {
    let mut left = n;
    while left > 0 {
        let batch = left.min(BATCH);
        join((0..batch).map(|_| spawn_task(async {})).collect()).await?;
        left -= batch;
    }
    Ok(())
}

pub(crate) async fn yield_one(n: u64) -> Result<(), Failure> {
    for _ in 0..n {
        yield_now().await;
    }
    Ok(())
}

pub(crate) async fn yield_many(n: u64) -> Result<(), Failure> {
    join((0..YIELDERS).map(|_| spawn_task(yields(n / YIELDERS))).collect()).await?;
    Ok(())
}

async fn yields(n: u64) {
    for _ in 0..n {
        yield_now().await;
    }
}

/// A number goes to another task and comes back.
pub(crate) async fn pingpong(n: u64) -> Result<(), Failure> {
    let (ping, mut pings) = local::mpsc::channel(1);
    let (pong, mut pongs) = local::mpsc::channel(1);
    let other = spawn_task(async move {
        while let Some(number) = pings.recv().await {
            pong.send(number).await?;
        }
        Ok::<(), mpsc::SendError<u64>>(())
    });
    for number in 0..n {
        ping.send(number).await?;
        check(pongs.recv().await, number)?;
    }
    drop(ping);
    Ok(other.await??)
}

/// A number comes from a thread and goes back to it.
pub(crate) async fn wake_remote(n: u64) -> Result<(), Failure> {
    let (to_task, mut from_thread) = mpsc::channel(1);
    let (to_thread, from_task) = thread_channel();
    let thread = thread::spawn(move || -> Result<(), String> {
        for number in 0..n {
            to_task.blocking_send(number).map_err(|error| error.to_string())?;
            check(from_task.recv().ok(), number)?;
        }
        Ok(())
    });
    while let Some(number) = from_thread.recv().await {
        to_thread.send(number)?;
    }
    Ok(thread.join().map_err(|_| "the thread panicked")??)
}

fn check(received: Option<u64>, sent: u64) -> Result<(), String> {
    if received == Some(sent) {
        return Ok(());
    }
    Err(format!("{sent} came back as {received:?}"))
}
