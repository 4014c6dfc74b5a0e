//! Names and addresses.

use crate::blocking;
use crate::io::during;
use crate::reactor::current_kernel;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where to connect to or listen at: addresses, or a name that stands for some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An address that is known.
    One(SocketAddr),
    /// Addresses that are known, to be tried in order.
    Known(Vec<SocketAddr>),
    /// A host's name, to be looked up, and a port.
    Named(String, u16),
}

/// What names a [`Target`]: an address, several, or text such as `localhost:8080`.
pub trait Addresses {
    /// The target.
    ///
    /// # Errors
    /// `InvalidInput` for text that is no host and port.
    fn target(self) -> io::Result<Target>;
}

impl Addresses for Target {
    fn target(self) -> io::Result<Target> {
        Ok(self)
    }
}

impl Addresses for SocketAddr {
    #[inline]
    fn target(self) -> io::Result<Target> {
        Ok(Target::One(self))
    }
}

impl Addresses for &[SocketAddr] {
    fn target(self) -> io::Result<Target> {
        Ok(Target::Known(self.to_vec()))
    }
}

impl Addresses for (IpAddr, u16) {
    fn target(self) -> io::Result<Target> {
        SocketAddr::from(self).target()
    }
}

impl Addresses for (Ipv4Addr, u16) {
    fn target(self) -> io::Result<Target> {
        SocketAddr::from(self).target()
    }
}

impl Addresses for (Ipv6Addr, u16) {
    fn target(self) -> io::Result<Target> {
        SocketAddr::from(self).target()
    }
}

impl Addresses for (&str, u16) {
    /// The host may be an IPv6 address in brackets.
    fn target(self) -> io::Result<Target> {
        let (host, port) = self;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return (ip, port).target();
        }
        if host.is_empty() || host.contains([':', '[', ']', '/', ' ']) {
            let message = format!("{host:?} is no host name and no address");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Target::Named(host.to_string(), port))
    }
}

impl Addresses for &str {
    fn target(self) -> io::Result<Target> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return address.target();
        }
        let parts = self.rsplit_once(':');
        let parsed = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        // Without brackets nobody can tell where an IPv6 address ends and the port begins.
        let parsed = parsed.filter(|(host, _)| !host.contains(':') || host.starts_with('['));
        let Some((host, port)) = parsed else {
            let message = format!("{self:?} is not of the form HOST:PORT");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        (host, port).target()
    }
}

impl Addresses for String {
    fn target(self) -> io::Result<Target> {
        self.as_str().target()
    }
}

impl Addresses for &String {
    fn target(self) -> io::Result<Target> {
        self.as_str().target()
    }
}

/// The addresses that `target` names, at least one. A name is looked up on a thread of its own
/// (`getaddrinfo(3)` may block for long), and the loop goes on meanwhile.
///
/// Cancel safety: the look-up then goes on unheeded.
///
/// # Errors
/// `InvalidInput` for text that names nothing; the resolver's own; `NotFound` for a name without
/// addresses.
pub async fn resolve(target: impl Addresses) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = match target.target()? {
        Target::One(address) => return Ok(vec![address]),
        Target::Known(addresses) if addresses.is_empty() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address was given"));
        }
        Target::Known(addresses) => return Ok(addresses),
        Target::Named(host, port) => (host, port),
    };
    let (kernel, name) = (current_kernel(), host.clone());
    let found = blocking::run(move || kernel.resolve(&name, port)).await.and_then(|found| found);
    match found {
        Ok(addresses) if addresses.is_empty() => {
            Err(during("resolve", host, io::ErrorKind::NotFound.into()))
        }
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(during("resolve", host, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_an_address_or_a_host() {
        let known = |text: &str| Target::One(text.parse().unwrap());
        assert_eq!("127.0.0.1:80".target().unwrap(), known("127.0.0.1:80"));
        assert_eq!("[::1]:80".target().unwrap(), known("[::1]:80"));
        assert_eq!(("[::1]", 80).target().unwrap(), known("[::1]:80"));
        let named = Target::Named("localhost".into(), 0);
        assert_eq!("localhost:0".target().unwrap(), named);
        for text in ["", ":80", "host", "host:", "host:65536", "a b:1", "::1:80", "[x]:1"] {
            assert_eq!(text.target().unwrap_err().kind(), io::ErrorKind::InvalidInput, "{text}");
        }
    }

    #[test]
    fn localhost_is_found_while_the_loop_goes_on() {
        let found = crate::run(resolve("localhost:7")).unwrap().unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7));
    }
}
