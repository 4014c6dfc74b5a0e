//! Datagrams: each is sent or received as a whole, or not at all.

use crate::scene::{Cut, HOST, Scene, helper};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use whirligig::net::UdpSocket;
use whirligig::time::sleep;

const COUNT: u8 = 4;

fn socket() -> io::Result<UdpSocket> {
    UdpSocket::bind_address((Ipv4Addr::LOCALHOST, 0).into())
}

async fn connected() -> io::Result<(UdpSocket, UdpSocket)> {
    let (ours, theirs) = (socket()?, socket()?);
    ours.connect(theirs.local_addr()?).await?;
    theirs.connect(ours.local_addr()?).await?;
    Ok((ours, theirs))
}

pub(crate) async fn bind(scene: Scene) -> io::Result<()> {
    let socket = scene.cut.retry(async || UdpSocket::bind("localhost:4000").await).await?;
    assert_eq!(socket.local_addr()?.port(), 4000);
    Ok(())
}

pub(crate) async fn connect(scene: Scene) -> io::Result<()> {
    let socket = UdpSocket::bind_address((Ipv4Addr::UNSPECIFIED, 0).into())?;
    let peer = format!("{HOST}:7");
    scene.cut.retry(async || socket.connect(peer.as_str()).await).await?;
    assert_eq!(socket.peer_addr()?.port(), 7);
    Ok(())
}

/// A peer sends now and then; `receive` may be cut. Each datagram is received once.
async fn receiving(
    scene: Scene,
    mut receive: impl AsyncFnMut(&UdpSocket, &Cut) -> io::Result<u8>,
) -> io::Result<()> {
    let (ours, theirs) = connected().await?;
    let peer = helper(async move {
        for number in 0..COUNT {
            sleep(Duration::from_millis(2)).await;
            theirs.send(&[number]).await?;
        }
        io::Result::Ok(())
    });
    let mut received = Vec::new();
    for _ in 0..COUNT {
        received.push(receive(&ours, &scene.cut).await?);
    }
    // A datagram that is late changes the order.
    received.sort_unstable();
    assert_eq!(received, [0, 1, 2, 3]);
    peer.join().await
}

pub(crate) async fn recv(scene: Scene) -> io::Result<()> {
    receiving(scene, async |socket, cut| {
        let received = cut.retry(async || {
            let mut buffer = [0];
            socket.recv(&mut buffer).await.map(|_| buffer[0])
        });
        received.await
    })
    .await
}

pub(crate) async fn recv_from(scene: Scene) -> io::Result<()> {
    receiving(scene, async |socket, cut| {
        let received = cut.retry(async || {
            let mut buffer = [0];
            socket.recv_from(&mut buffer).await.map(|_| buffer[0])
        });
        received.await
    })
    .await
}

/// `send` may be cut, and is begun anew then. Each datagram arrives once.
async fn sending(
    scene: Scene,
    mut send: impl AsyncFnMut(&UdpSocket, &Cut, &[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let (ours, theirs) = connected().await?;
    for number in 0..COUNT {
        send(&ours, &scene.cut, &[number]).await?;
    }
    let mut received = Vec::new();
    for _ in 0..COUNT {
        let mut buffer = [0];
        theirs.recv(&mut buffer).await?;
        received.push(buffer[0]);
    }
    received.sort_unstable();
    assert_eq!(received, [0, 1, 2, 3]);
    Ok(())
}

pub(crate) async fn send(scene: Scene) -> io::Result<()> {
    sending(scene, async |socket, cut, bytes| cut.retry(async || socket.send(bytes).await).await)
        .await
}

pub(crate) async fn send_to(scene: Scene) -> io::Result<()> {
    sending(scene, async |socket, cut, bytes| {
        let peer = socket.peer_addr()?;
        cut.retry(async || socket.send_to(bytes, peer).await).await
    })
    .await
}
