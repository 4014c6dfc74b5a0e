//! Channels and locks, for any thread and for one: no value, permit, turn or notification is lost.

/// The scenes of `sync` or of `sync::local`.
macro_rules! scenes {
    ($module:ident, $($place:tt)+) => {
        pub(crate) mod $module {
            use crate::scene::{Scene, helper};
            use std::io;
            use std::rc::Rc;
            use std::time::Duration;
            use $($place)+::{Mutex, Notify, Semaphore, mpsc, oneshot};
            use whirligig::time::sleep;

            const MS: Duration = Duration::from_millis(1);

            pub(crate) async fn recv(scene: Scene) -> io::Result<()> {
                let (sender, mut receiver) = mpsc::channel(1);
                let sends = helper(async move {
                    for number in 0..4 {
                        sleep(MS).await;
                        assert!(sender.send(number).await.is_ok());
                    }
                });
                let mut received = Vec::new();
                while let Some(number) = scene.cut.retry(async || receiver.recv().await).await {
                    received.push(number);
                }
                assert_eq!(received, [0, 1, 2, 3]);
                sends.join().await;
                Ok(())
            }

            /// What was cut is not sent; all that was sent arrives, and others get their turns.
            pub(crate) async fn send(scene: Scene) -> io::Result<()> {
                let (sender, mut receiver) = mpsc::channel(1);
                let other = sender.clone();
                let sends = helper(async move {
                    for _ in 0..2 {
                        assert!(other.send(100).await.is_ok());
                    }
                });
                let receives = helper(async move {
                    let mut received = Vec::new();
                    while let Some(number) = receiver.recv().await {
                        sleep(MS).await;
                        received.push(number);
                    }
                    received
                });
                let mut sent = Vec::new();
                for number in 0..4 {
                    if scene.cut.poll(sender.send(number)).await.is_some_and(|sent| sent.is_ok()) {
                        sent.push(number);
                    }
                }
                sends.join().await;
                drop(sender);
                let mut received = receives.join().await;
                assert_eq!(received.iter().filter(|number| **number == 100).count(), 2);
                received.retain(|number| *number != 100);
                assert_eq!(received, sent);
                Ok(())
            }

            pub(crate) async fn oneshot_receiver(scene: Scene) -> io::Result<()> {
                let (sender, mut receiver) = oneshot::channel();
                let sends = helper(async move {
                    sleep(MS).await;
                    assert!(sender.send(42).is_ok());
                });
                let received = scene.cut.retry(async || (&mut receiver).await).await;
                assert_eq!(received.map_err(io::Error::other)?, 42);
                sends.join().await;
                Ok(())
            }

            pub(crate) async fn oneshot_closed(scene: Scene) -> io::Result<()> {
                let (mut sender, receiver) = oneshot::channel::<()>();
                let ends = helper(async move {
                    sleep(MS).await;
                    drop(receiver);
                });
                scene.cut.retry(async || sender.closed().await).await;
                assert!(sender.is_closed());
                ends.join().await;
                Ok(())
            }

            /// A notification that was meant for the one that is cut goes to the other.
            pub(crate) async fn notified(scene: Scene) -> io::Result<()> {
                let notify = Rc::new(Notify::new());
                let (first, second) = (Rc::clone(&notify), Rc::clone(&notify));
                let gives_up = helper(async move { scene.cut.poll(first.notified()).await });
                let waits = helper(async move { second.notified().await });
                sleep(MS).await;
                notify.notify_one();
                whirligig::yield_now().await;
                if gives_up.join().await.is_some() {
                    notify.notify_one();
                }
                waits.join().await;
                Ok(())
            }

            pub(crate) async fn acquire(scene: Scene) -> io::Result<()> {
                acquiring(scene, 1).await
            }

            pub(crate) async fn acquire_many(scene: Scene) -> io::Result<()> {
                acquiring(scene, 2).await
            }

            /// Permits that were meant for the one that is cut go to the next, and none is lost.
            async fn acquiring(scene: Scene, count: usize) -> io::Result<()> {
                let semaphore = Rc::new(Semaphore::new(2));
                let held = semaphore.acquire_many(2).await.map_err(io::Error::other)?;
                let (first, second) = (Rc::clone(&semaphore), Rc::clone(&semaphore));
                let gives_up = helper(async move {
                    drop(scene.cut.poll(first.acquire_many(count)).await);
                });
                let waits = helper(async move {
                    let permit = second.acquire().await;
                    assert!(permit.is_ok());
                });
                sleep(MS).await;
                drop(held);
                waits.join().await;
                gives_up.join().await;
                assert_eq!(semaphore.available_permits(), 2);
                Ok(())
            }

            pub(crate) async fn lock(scene: Scene) -> io::Result<()> {
                let mutex = Rc::new(Mutex::new(0));
                let held = mutex.lock().await;
                let (first, second) = (Rc::clone(&mutex), Rc::clone(&mutex));
                let gives_up = helper(async move {
                    let guard = scene.cut.poll(first.lock()).await;
                    u32::from(guard.map(|mut guard| *guard += 1).is_some())
                });
                let waits = helper(async move { *second.lock().await += 10 });
                sleep(MS).await;
                drop(held);
                waits.join().await;
                let added = gives_up.join().await;
                assert_eq!(mutex.try_lock().map(|guard| *guard), Some(10 + added));
                Ok(())
            }
        }
    };
}

scenes!(shared, whirligig::sync);
scenes!(local, whirligig::sync::local);
