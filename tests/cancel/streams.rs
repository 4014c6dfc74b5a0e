//! Streams and listeners: no byte and no connection is lost.

use crate::scene::{Cut, HOST, Scene, helper, listener, pair, payload};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Ipv4Addr;
use std::time::Duration;
use whirligig::io::{AsyncRead, AsyncWrite, BufReader, copy};
use whirligig::net::{self, TcpListener, TcpSocket, TcpStream};
use whirligig::time::sleep;

const RECEIVED: usize = 40;
const SENT: usize = 40_000;

/// A peer sends bytes now and then. `step` receives some, tells whether there may be more, and may
/// be cut. All bytes arrive, each once.
async fn receiving<S>(
    scene: Scene,
    made: impl FnOnce(TcpStream) -> S,
    mut step: impl AsyncFnMut(&mut S, &Cut, &mut Vec<u8>) -> io::Result<bool>,
) -> io::Result<()> {
    let (ours, mut theirs) = pair().await?;
    let peer = helper(async move {
        for chunk in payload(RECEIVED).chunks(11) {
            theirs.write_all(chunk).await?;
            sleep(Duration::from_millis(3)).await;
        }
        io::Result::Ok(())
    });
    let (mut ours, mut received) = (made(ours), Vec::new());
    while step(&mut ours, &scene.cut, &mut received).await? {}
    // A peer that could not send all says so.
    peer.join().await?;
    assert_eq!(received, payload(RECEIVED));
    Ok(())
}

/// `step` sends some of the bytes, tells how many, and may be cut. All arrive, each once.
async fn sending(
    scene: Scene,
    mut step: impl AsyncFnMut(&mut TcpStream, &Cut, &[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let (mut ours, mut theirs) = pair().await?;
    let peer = helper(async move {
        let mut received = Vec::with_capacity(SENT);
        while theirs.read_into(&mut received).await? > 0 {
            received.reserve(1);
            sleep(Duration::from_millis(2)).await;
        }
        io::Result::Ok(received)
    });
    let (bytes, mut sent) = (payload(SENT), 0);
    while sent < SENT {
        sent += step(&mut ours, &scene.cut, &bytes[sent..]).await?;
    }
    drop(ours);
    assert!(peer.join().await? == bytes, "all bytes, each once");
    Ok(())
}

/// What a cut future has taken is lost, and no more: what its peer sees is the beginning.
async fn prefix_arrives(
    scene: Scene,
    operation: impl AsyncFnOnce(TcpStream, &Cut) -> io::Result<()>,
) -> io::Result<()> {
    let (ours, mut theirs) = pair().await?;
    let peer = helper(async move {
        let mut received = Vec::new();
        theirs.read_to_end(&mut received, SENT + 1).await.map(|_| received)
    });
    operation(ours, &scene.cut).await?;
    assert!(payload(SENT).starts_with(&peer.join().await?));
    Ok(())
}

pub(crate) async fn read(scene: Scene) -> io::Result<()> {
    receiving(
        scene,
        |stream| stream,
        async |stream, cut, received| {
            let mut buffer = [0; 7];
            let Some(count) = cut.poll(stream.read(&mut buffer)).await else { return Ok(true) };
            let count = count?;
            received.extend_from_slice(&buffer[..count]);
            Ok(count > 0)
        },
    )
    .await
}

pub(crate) async fn read_into(scene: Scene) -> io::Result<()> {
    receiving(
        scene,
        |stream| stream,
        async |stream, cut, received| {
            received.reserve(7);
            match cut.poll(stream.read_into(received)).await {
                Some(count) => Ok(count? > 0),
                None => Ok(true),
            }
        },
    )
    .await
}

pub(crate) async fn read_vectored(scene: Scene) -> io::Result<()> {
    receiving(
        scene,
        |stream| stream,
        async |stream, cut, received| {
            let (mut first, mut second) = ([0; 3], [0; 4]);
            let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            let read = cut.poll(stream.read_vectored(&mut buffers)).await;
            let Some(count) = read else { return Ok(true) };
            let count = count?;
            received.extend(first.iter().chain(&second).take(count));
            Ok(count > 0)
        },
    )
    .await
}

pub(crate) async fn peek(scene: Scene) -> io::Result<()> {
    receiving(
        scene,
        |stream| stream,
        async |stream, cut, received| {
            let mut seen = [0; 7];
            let Some(count) = cut.poll(stream.peek(&mut seen)).await else { return Ok(true) };
            let count = count?;
            let mut taken = [0; 7];
            stream.read_exact(&mut taken[..count]).await?;
            assert_eq!(taken, seen);
            received.extend_from_slice(&taken[..count]);
            Ok(count > 0)
        },
    )
    .await
}

pub(crate) async fn readable(scene: Scene) -> io::Result<()> {
    receiving(
        scene,
        |stream| stream,
        async |stream, cut, received| {
            let Some(is) = cut.poll(stream.readable()).await else { return Ok(true) };
            is?;
            received.reserve(7);
            Ok(stream.read_into(received).await? > 0)
        },
    )
    .await
}

pub(crate) async fn read_to_end(scene: Scene) -> io::Result<()> {
    receiving(
        scene,
        |stream| stream,
        async |stream, cut, received| {
            let Some(count) = cut.poll(stream.read_to_end(received, 100)).await else {
                return Ok(true);
            };
            count.map(|_| false)
        },
    )
    .await
}

pub(crate) async fn fill_buffer(scene: Scene) -> io::Result<()> {
    let made = |stream| BufReader::with_capacity(9, stream);
    receiving(scene, made, async |reader, cut, received| {
        let Some(filled) = cut.poll(reader.fill_buffer()).await else { return Ok(true) };
        let count = filled?.len();
        received.extend_from_slice(reader.buffer());
        reader.consume(count);
        Ok(count > 0)
    })
    .await
}

pub(crate) async fn read_line(scene: Scene) -> io::Result<()> {
    // The tenth byte ends a line: the payload counts.
    let made = |stream| BufReader::with_capacity(4, stream);
    receiving(scene, made, async |reader, cut, received| {
        let mut line = Vec::new();
        let count = cut.poll(reader.read_line(&mut line, 100)).await;
        let count = match count {
            Some(count) => count?,
            None => reader.read_line(&mut line, 100).await?,
        };
        received.extend_from_slice(&line);
        Ok(count > 0 || !line.is_empty())
    })
    .await
}

pub(crate) async fn read_exact(scene: Scene) -> io::Result<()> {
    let (mut ours, mut theirs) = pair().await?;
    let peer = helper(async move { theirs.write_all(&payload(RECEIVED)).await });
    let mut buffer = [0; RECEIVED];
    if let Some(read) = scene.cut.poll(ours.read_exact(&mut buffer)).await {
        read?;
        assert_eq!(buffer[..], payload(RECEIVED));
    }
    peer.join().await
}

pub(crate) async fn closed(scene: Scene) -> io::Result<()> {
    let (mut ours, mut theirs) = pair().await?;
    let peer = helper(async move {
        theirs.write_all(b"the last words").await?;
        sleep(Duration::from_millis(5)).await;
        drop(theirs);
        io::Result::Ok(())
    });
    scene.cut.retry(async || ours.closed().await).await?;
    let mut received = Vec::new();
    ours.read_to_end(&mut received, 100).await?;
    peer.join().await?;
    assert_eq!(received, b"the last words");
    Ok(())
}

pub(crate) async fn write(scene: Scene) -> io::Result<()> {
    sending(scene, async |stream, cut, bytes| cut.poll(stream.write(bytes)).await.unwrap_or(Ok(0)))
        .await
}

pub(crate) async fn write_vectored(scene: Scene) -> io::Result<()> {
    sending(scene, async |stream, cut, bytes| {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let buffers = [IoSlice::new(first), IoSlice::new(second)];
        cut.poll(stream.write_vectored(&buffers)).await.unwrap_or(Ok(0))
    })
    .await
}

pub(crate) async fn writable(scene: Scene) -> io::Result<()> {
    sending(scene, async |stream, cut, bytes| {
        let Some(is) = cut.poll(stream.writable()).await else { return Ok(0) };
        is?;
        stream.write(bytes).await
    })
    .await
}

pub(crate) async fn flush(scene: Scene) -> io::Result<()> {
    sending(scene, async |stream, cut, bytes| {
        let count = stream.write(bytes).await?;
        cut.retry(async || stream.flush().await).await?;
        Ok(count)
    })
    .await
}

pub(crate) async fn close(scene: Scene) -> io::Result<()> {
    let (mut ours, mut theirs) = pair().await?;
    ours.write_all(b"all").await?;
    scene.cut.retry(async || AsyncWrite::close(&mut ours).await).await?;
    let mut received = Vec::new();
    theirs.read_to_end(&mut received, 100).await?;
    assert_eq!(received, b"all");
    Ok(())
}

pub(crate) async fn write_all(scene: Scene) -> io::Result<()> {
    prefix_arrives(scene, async |mut stream, cut| {
        cut.poll(stream.write_all(&payload(SENT))).await.unwrap_or(Ok(()))
    })
    .await
}

pub(crate) async fn copying(scene: Scene) -> io::Result<()> {
    prefix_arrives(scene, async |mut stream, cut| {
        let bytes = payload(SENT);
        cut.poll(copy(&mut &bytes[..], &mut stream)).await.unwrap_or(Ok(0)).map(|_| ())
    })
    .await
}

pub(crate) async fn bind(scene: Scene) -> io::Result<()> {
    let listener = scene.cut.retry(async || TcpListener::bind("localhost:4000").await).await?;
    assert_eq!(listener.local_addr()?.port(), 4000);
    Ok(())
}

pub(crate) async fn accept(scene: Scene) -> io::Result<()> {
    let (listener, address) = listener()?;
    let clients = helper(async move {
        for number in 0..3_u8 {
            sleep(Duration::from_millis(2)).await;
            TcpStream::connect(address).await?.write_all(&[number]).await?;
        }
        io::Result::Ok(())
    });
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (mut stream, _) = scene.cut.retry(async || listener.accept().await).await?;
        let mut number = [0];
        stream.read_exact(&mut number).await?;
        seen.push(number[0]);
    }
    // A packet that is late changes the order.
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2], "each connection is taken, once");
    clients.join().await
}

/// Two tasks accept on one listener, and one of them gives up: the other gets the connection.
pub(crate) async fn accept_beside_another(scene: Scene) -> io::Result<()> {
    let (listener, address) = listener()?;
    let listener = std::rc::Rc::new(listener);
    let other = std::rc::Rc::clone(&listener);
    let gives_up = helper(async move { scene.cut.poll(other.accept()).await.transpose() });
    let client = helper(async move {
        sleep(Duration::from_millis(2)).await;
        let first = TcpStream::connect(address).await?;
        let second = TcpStream::connect(address).await?;
        io::Result::Ok((first, second))
    });
    listener.accept().await?;
    if gives_up.join().await?.is_none() {
        listener.accept().await?;
    }
    client.join().await.map(|_| ())
}

pub(crate) async fn connect(scene: Scene) -> io::Result<()> {
    let (listener, address) = listener()?;
    let mut ours = scene.cut.retry(async || TcpStream::connect(address).await).await?;
    ours.write_all(b"x").await?;
    // Before it come those that were given up.
    loop {
        let mut received = Vec::new();
        let (mut theirs, _) = listener.accept().await?;
        if theirs
            .read_into({
                received.reserve(1);
                &mut received
            })
            .await
            .is_ok_and(|n| n == 1)
        {
            return Ok(());
        }
    }
}

pub(crate) async fn connect_socket(scene: Scene) -> io::Result<()> {
    let (listener, address) = listener()?;
    let connected = scene.cut.retry(async || TcpSocket::new_v4()?.connect(address).await).await?;
    assert_eq!(connected.peer_addr()?, listener.local_addr()?);
    Ok(())
}

pub(crate) async fn resolve(scene: Scene) -> io::Result<()> {
    let found = scene.cut.retry(async || net::resolve(format!("{HOST}:7")).await).await?;
    assert!(found.iter().all(|address| address.port() == 7) && !found.is_empty());
    assert!(!found.contains(&(Ipv4Addr::UNSPECIFIED, 7).into()));
    Ok(())
}
