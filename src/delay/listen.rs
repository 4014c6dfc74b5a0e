//! Where the delayserver listens.

use super::client::loopback;
use crate::net::{Addresses, SocketAddr, Target, TcpListener, TcpSocket, resolve};
use std::io;

/// Connections that wait in a listener's queue.
pub(super) const BACKLOG: u32 = 4096;

/// Listens at all addresses of `target`, such as those of IPv4 and IPv6, with one port: port 0
/// picks one that is free at the first address.
///
/// Cancel safety: nothing is left behind.
///
/// # Errors
/// Those of [`resolve`]; `AddrInUse` if the port is taken at one of the addresses; the last
/// address's error if none can be listened at.
pub async fn listen(target: impl Addresses) -> io::Result<Vec<TcpListener>> {
    listen_with(target, false).await
}

/// As [`listen`], so many times over: for workers that share the addresses, and among which the
/// kernel deals the connections out (`SO_REUSEPORT`, `socket(7)`).
///
/// Cancel safety: nothing is left behind.
///
/// # Errors
/// As for [`listen`].
pub async fn listen_shared(
    target: impl Addresses,
    workers: usize,
) -> io::Result<Vec<Vec<TcpListener>>> {
    let first = listen_with(target, true).await?;
    let addresses: io::Result<Vec<_>> = first.iter().map(TcpListener::local_addr).collect();
    let addresses = addresses?;
    let again = || addresses.iter().map(|address| listen_at(*address, true)).collect();
    let others: io::Result<Vec<_>> = (1..workers).map(|_| again()).collect();
    Ok(std::iter::once(first).chain(others?).collect())
}

async fn listen_with(target: impl Addresses, shared: bool) -> io::Result<Vec<TcpListener>> {
    let addresses = addresses(target.target()?).await?;
    for _ in 1..PORTS_TRIED_MAX {
        match listen_at_all(&addresses, shared) {
            // The port that was picked at one address is taken at another: pick again.
            Err(error) if is_taken(&error) && addresses.iter().all(|own| own.port() == 0) => {}
            done => return done,
        }
    }
    listen_at_all(&addresses, shared)
}

/// Ports that are tried to find one that is free at all addresses.
const PORTS_TRIED_MAX: u32 = 8;

fn listen_at_all(addresses: &[SocketAddr], shared: bool) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut last = None;
    let mut port = None;
    for (index, &address) in addresses.iter().enumerate() {
        // The same address twice in a row is the resolver's doing.
        if addresses[..index].contains(&address) {
            continue;
        }
        let mut address = address;
        address.set_port(port.unwrap_or(address.port()));
        match listen_at(address, shared) {
            Ok(listener) => {
                port = Some(listener.local_addr()?.port());
                listeners.push(listener);
            }
            // Somebody else would answer there in our name.
            Err(error) if is_taken(&error) => return Err(error),
            // Such as IPv6 where there is none.
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// The addresses of `target`. For localhost these are both loopback addresses, whatever the
/// machine's table of hosts has of them (RFC 6761, section 6.3).
async fn addresses(target: Target) -> io::Result<Vec<SocketAddr>> {
    match target {
        Target::Named(host, port) if host.eq_ignore_ascii_case("localhost") => {
            Ok(loopback(port).into())
        }
        target => resolve(target).await,
    }
}

fn listen_at(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // Accepted connections inherit it, so that none needs a call of its own (`tcp(7)`).
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
