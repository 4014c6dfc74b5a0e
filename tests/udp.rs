//! Datagrams, on Linux and in simulated worlds.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use whirligig::net::UdpSocket;

fn socket() -> io::Result<UdpSocket> {
    UdpSocket::bind_address((Ipv4Addr::LOCALHOST, 0).into())
}

fn run(future: impl Future<Output = io::Result<()>>) {
    whirligig::run(future).unwrap().unwrap();
}

#[test]
fn a_datagram_arrives_whole_and_tells_who_sent_it() {
    run(async {
        let (one, other) = (socket()?, socket()?);
        let echo = async {
            let mut buffer = [0; 100];
            let (count, from) = other.recv_from(&mut buffer).await?;
            other.send_to(&buffer[..count], from).await
        };
        let ask = async {
            assert_eq!(one.send_to(b"", other.local_addr()?).await?, 0, "an empty one is one, too");
            let mut buffer = [0; 100];
            assert_eq!(one.recv_from(&mut buffer).await?, (0, other.local_addr()?));
            io::Result::Ok(())
        };
        let (echoed, asked) = whirligig::future::join(echo, ask).await;
        assert_eq!(echoed?, 0);
        asked
    });
}

#[test]
fn a_socket_of_each_family_takes_the_same_port() {
    run(async {
        let Ok(six) = UdpSocket::bind("[::]:0").await else { return Ok(()) };
        let port = six.local_addr()?.port();
        let four = UdpSocket::bind_address((Ipv4Addr::UNSPECIFIED, port).into())?;
        four.send_to(b"x", (Ipv4Addr::LOCALHOST, port).into()).await?;
        assert_eq!(four.recv(&mut [0; 1]).await?, 1);
        Ok(())
    });
}

#[test]
fn what_has_no_room_is_lost_and_the_next_is_not() {
    run(async {
        let (one, other) = (socket()?, socket()?);
        one.send_to(b"longer than there is room", other.local_addr()?).await?;
        one.send_to(b"next", other.local_addr()?).await?;
        let mut buffer = [0; 6];
        assert_eq!(other.recv(&mut buffer).await?, 6);
        assert_eq!(&buffer, b"longer");
        assert_eq!(other.recv(&mut buffer).await?, 4);
        assert_eq!(&buffer[..4], b"next");
        Ok(())
    });
}

#[test]
fn a_connected_socket_hears_its_peer_alone_and_that_nobody_is_there() {
    run(async {
        let (one, other, stranger) = (socket()?, socket()?, socket()?);
        assert_eq!(one.peer_addr().unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert!(one.send(b"to whom?").await.is_err());
        one.connect(other.local_addr()?).await?;
        assert_eq!(one.peer_addr()?, other.local_addr()?);
        stranger.send_to(b"not for you", one.local_addr()?).await?;
        other.send_to(b"for you", one.local_addr()?).await?;
        let mut buffer = [0; 20];
        let count = one.recv(&mut buffer).await?;
        assert_eq!(&buffer[..count], b"for you");

        drop(other);
        one.send(b"hello?").await?;
        let error = one.recv(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        Ok(())
    });
}

#[test]
fn too_large_a_datagram_is_an_error() {
    run(async {
        let (one, other) = (socket()?, socket()?);
        let error = one.send_to(&[0; 66_000], other.local_addr()?).await.unwrap_err();
        assert_eq!(error.kind(), io::Error::from_raw_os_error(90).kind(), "{error}");
        Ok(())
    });
}

#[test]
fn several_tasks_receive_on_one_socket_and_one_that_gives_up_takes_nothing() {
    run(async {
        let (one, other) = (socket()?, Rc::new(socket()?));
        let receive = || {
            let other = Rc::clone(&other);
            whirligig::spawn(async move {
                let mut buffer = [0; 1];
                other.recv(&mut buffer).await.map(|_| buffer[0])
            })
        };
        let mut buffer = [0; 1];
        let mut given_up = Box::pin(other.recv(&mut buffer));
        assert!(poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx).is_pending())).await);
        let tasks = [receive(), receive(), receive()];
        whirligig::yield_now().await;
        drop(given_up);
        for number in 0..3 {
            one.send_to(&[number], other.local_addr()?).await?;
        }
        let mut received = Vec::new();
        for task in tasks {
            received.push(task.await.map_err(io::Error::other)??);
        }
        received.sort_unstable();
        assert_eq!(received, [0, 1, 2]);
        Ok(())
    });
}

#[test]
fn a_socket_goes_to_another_runtime_and_to_the_standard_library_and_back() {
    let detached = whirligig::run(async {
        let socket = socket()?;
        let mut buffer = [0; 1];
        // It waits here first, and so belongs to this runtime.
        let pending = {
            let mut receives = pin!(socket.recv(&mut buffer));
            poll_fn(|cx| Poll::Ready(receives.as_mut().poll(cx).is_pending())).await
        };
        assert!(pending);
        io::Result::Ok(socket.detach())
    });
    let detached = detached.unwrap().unwrap();
    let thread = std::thread::spawn(move || {
        run(async {
            let socket = UdpSocket::from_std(detached.attach().into_std()?)?;
            let own: SocketAddr = socket.local_addr()?;
            socket.send_to(b"x", own).await?;
            assert_eq!(socket.recv_from(&mut [0; 1]).await?, (1, own));
            Ok(())
        });
    });
    thread.join().unwrap();
}

#[cfg(feature = "sim")]
mod simulated {
    use super::*;
    use std::time::Duration;
    use whirligig::sim::{Link, World, seeds};
    use whirligig::time::timeout;

    /// Asks until it is answered: datagrams get lost.
    async fn ask(tries: &mut u32) -> io::Result<Vec<u8>> {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        socket.connect("server:53").await?;
        loop {
            *tries += 1;
            socket.send(b"what time is it?").await?;
            let mut buffer = [0; 512];
            let answer = timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await;
            if let Ok(count) = answer {
                return count.map(|count| buffer[..count].to_vec());
            }
        }
    }

    fn check(world: &World) -> u32 {
        world.host("server", || async {
            let socket = UdpSocket::bind("0.0.0.0:53").await?;
            let mut buffer = [0; 512];
            loop {
                let (count, from) = socket.recv_from(&mut buffer).await?;
                assert_eq!(&buffer[..count], b"what time is it?");
                socket.send_to(b"late", from).await?;
            }
        });
        world.set_links(Link { lost_per_million: 300_000, ..Link::default() });
        let mut tries = 0;
        assert_eq!(world.run_until(ask(&mut tries)).unwrap(), b"late");
        world.finish();
        tries
    }

    #[test]
    fn a_client_that_asks_again_gets_through_a_network_that_loses_datagrams() {
        let most = std::sync::atomic::AtomicU32::new(0);
        seeds(0..100, |world| {
            most.fetch_max(check(world), std::sync::atomic::Ordering::Relaxed);
        })
        .check();
        assert!(most.into_inner() > 2, "some were lost");
    }
}
