//! Which addresses a socket may have, and which stand for which.

use super::errno::{EAFNOSUPPORT, EINVAL};
use super::net::{Net, Sys};
use crate::sys::Family;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

impl Net {
    /// The address that a host has to the one at `peer`.
    pub(super) fn own_address(&self, host: usize, target: usize, peer: IpAddr) -> IpAddr {
        match (peer, target == host) {
            (ip, true) if !ip.is_loopback() => ip,
            (ip, true) => loopback(if ip.is_ipv4() { Family::V4 } else { Family::V6 }),
            (IpAddr::V4(_), false) => self.hosts[host].v4.into(),
            (IpAddr::V6(_), false) => self.hosts[host].v6.into(),
        }
    }
}

pub(super) fn check_family(family: Family, address: &SocketAddr) -> Sys<()> {
    match (family, address) {
        (Family::V4, SocketAddr::V6(_)) => Err(EAFNOSUPPORT),
        // The kernel finds the address too short.
        (Family::V6, SocketAddr::V4(_)) => Err(EINVAL),
        _ => Ok(()),
    }
}

/// Without the scope and the flow of IPv6, by which no two sockets here differ.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

pub(super) fn any_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

pub(super) fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Whether two sockets with these addresses, of one port, would get the same connections.
pub(super) fn overlap(
    one: SocketAddr,
    one_only: bool,
    other: SocketAddr,
    other_only: bool,
) -> bool {
    if one.is_ipv4() == other.is_ipv4() {
        return one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    }
    // An IPv6 socket bound to any address takes IPv4 too, unless it was told not to.
    let takes_both = |address: SocketAddr, only: bool| {
        address.is_ipv6() && address.ip().is_unspecified() && !only
    };
    takes_both(one, one_only) || takes_both(other, other_only)
}
