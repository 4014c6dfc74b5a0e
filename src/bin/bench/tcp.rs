//! The cases of TCP: the echo server and its clients on one thread.

use crate::Failure;
use crate::servers::{listen, serve_echo};
use crate::tasks::join;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::TcpStream;
use whirligig::spawn;

/// Bytes of a message.
const MESSAGE_BYTES: usize = 64;

/// Round trips, `n` in all, on so many connections at the same time.
pub(crate) async fn fan(connections: u64, n: u64) -> Result<(), Failure> {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = listener.local_addr()?;
    let server = spawn(serve_echo(listener));
    let clients = (0..connections).map(|_| spawn(round_trips(address, n / connections))).collect();
    for done in join(clients).await? {
        done?;
    }
    server.abort();
    Ok(())
}

/// Connections one after another, with a round trip on each.
pub(crate) async fn connect_churn(n: u64) -> Result<(), Failure> {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = listener.local_addr()?;
    let server = spawn(serve_echo(listener));
    for _ in 0..n {
        round_trips(address, 1).await?;
    }
    server.abort();
    Ok(())
}

async fn round_trips(server: SocketAddr, n: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let mut reply = [0; MESSAGE_BYTES];
    for _ in 0..n {
        stream.write_all(&[7; MESSAGE_BYTES]).await?;
        stream.read_exact(&mut reply).await?;
    }
    Ok(())
}
