//! Sockets of the guest's network.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys::{check, owned};

pub use trine_linux::{is_connected, reset_on_close};

/// A connection under way.
pub fn connect_to(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(family, kind, 0) })?;
    let connected = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: all zeroes is a valid address.
            let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            to.sin_family = libc::AF_INET as libc::sa_family_t;
            to.sin_port = v4.port().to_be();
            to.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            // SAFETY: the pointer and the length describe `to`.
            unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), length) }
        }
        SocketAddr::V6(v6) => {
            // SAFETY: all zeroes is a valid address.
            let mut to: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            to.sin6_port = v6.port().to_be();
            to.sin6_addr.s6_addr = v6.ip().octets();
            let length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            // SAFETY: the pointer and the length describe `to`.
            unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), length) }
        }
    };
    match check(connected) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}
