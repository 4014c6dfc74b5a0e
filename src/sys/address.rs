//! Socket addresses in the kernel's form: `sockaddr_in` and `sockaddr_in6`, as bytes.

use super::ffi::{AF_INET, AF_INET6};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A socket address as the kernel reads and writes it.
///
/// ```text
///  bytes   0      2      4              8                          24         28
///  IPv4    family | port | address      | zeros to 16
///  IPv6    family | port | flow info    | address                  | scope id |
/// ```
///
/// Port and addresses are in the network's byte order, family and scope in the machine's (`ip(7)`,
/// `ipv6(7)`). The flow info is passed on as it is, as the standard library does.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAddress {
    bytes: [u8; 32],
    /// How many of the bytes hold the address; after a call the length that the kernel reports,
    /// which may be more than there is room for.
    length: u32,
}

const V4_LENGTH: u32 = 16;
const V6_LENGTH: u32 = 28;

impl RawAddress {
    /// Room for the kernel to write an address to.
    #[inline]
    pub(crate) fn empty() -> RawAddress {
        RawAddress { bytes: [0; 32], length: 32 }
    }

    /// Where the address is, and how many bytes can be read there, which are all of it.
    #[inline]
    pub(in crate::sys) fn as_ptr_and_length(&self) -> (*const std::ffi::c_void, u32) {
        // The kernel may have reported more than there was room for.
        (self.bytes.as_ptr().cast(), self.length.min(self.bytes.len() as u32))
    }

    /// Where the kernel may write up to `length` bytes, and where it tells how many they were.
    #[inline]
    pub(in crate::sys) fn as_mut_ptrs(&mut self) -> (*mut std::ffi::c_void, *mut u32) {
        // Whatever an earlier call reported.
        self.length = self.bytes.len() as u32;
        (self.bytes.as_mut_ptr().cast(), &raw mut self.length)
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|index| self.bytes[at + index])
    }

    fn set<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    /// The address in Rust's form.
    ///
    /// # Errors
    /// `InvalidData` if it is not a whole IPv4 or IPv6 address.
    #[inline]
    pub(crate) fn decode(&self) -> io::Result<SocketAddr> {
        // The rest is apart, so that this becomes part of the caller and needs no memory.
        if u16::from_ne_bytes(self.field(0)) == AF_INET && self.length == V4_LENGTH {
            let ip = Ipv4Addr::from(self.field::<4>(4));
            return Ok(SocketAddrV4::new(ip, self.port()).into());
        }
        self.decode_other()
    }

    #[inline(never)]
    fn decode_other(&self) -> io::Result<SocketAddr> {
        match (u16::from_ne_bytes(self.field(0)), self.length) {
            (AF_INET6, V6_LENGTH) => {
                let flow = u32::from_ne_bytes(self.field(4));
                let ip = Ipv6Addr::from(self.field::<16>(8));
                let scope = u32::from_ne_bytes(self.field(24));
                Ok(SocketAddrV6::new(ip, self.port(), flow, scope).into())
            }
            (family, length) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("address of family {family} with {length} bytes is not an IP address"),
            )),
        }
    }

    fn port(&self) -> u16 {
        u16::from_be_bytes(self.field(2))
    }
}

impl From<&SocketAddr> for RawAddress {
    #[inline]
    fn from(address: &SocketAddr) -> RawAddress {
        match address {
            SocketAddr::V4(v4) => RawAddress::from(v4),
            SocketAddr::V6(v6) => RawAddress::from(v6),
        }
    }
}

impl From<&SocketAddrV4> for RawAddress {
    #[inline]
    fn from(address: &SocketAddrV4) -> RawAddress {
        let mut raw = RawAddress { bytes: [0; 32], length: V4_LENGTH };
        raw.set(0, AF_INET.to_ne_bytes());
        raw.set(2, address.port().to_be_bytes());
        raw.set(4, address.ip().octets());
        raw
    }
}

impl From<&SocketAddrV6> for RawAddress {
    #[inline(never)]
    fn from(address: &SocketAddrV6) -> RawAddress {
        let mut raw = RawAddress { bytes: [0; 32], length: V6_LENGTH };
        raw.set(0, AF_INET6.to_ne_bytes());
        raw.set(2, address.port().to_be_bytes());
        raw.set(4, address.flowinfo().to_ne_bytes());
        raw.set(8, address.ip().octets());
        raw.set(24, address.scope_id().to_ne_bytes());
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_to_the_kernel_and_back() {
        for text in ["127.0.0.1:80", "0.0.0.0:0", "255.1.2.3:65535", "[::1]:8080", "[fe80::2]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::from(&address).decode().unwrap(), address);
        }
        let scoped = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 7, 9, 3).into();
        assert_eq!(RawAddress::from(&scoped).decode().unwrap(), scoped);
    }

    #[test]
    fn an_address_of_another_family_or_length_is_an_error() {
        let mut raw = RawAddress::from(&SocketAddr::from(([127, 0, 0, 1], 80)));
        raw.length = 15;
        assert_eq!(raw.decode().unwrap_err().kind(), io::ErrorKind::InvalidData);
        raw.length = 16;
        raw.set(0, 1u16.to_ne_bytes());
        assert_eq!(raw.decode().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
