//! System calls as this project's programs use them: their errors, the descriptors they make, and one epoll set.

mod reactor;
mod sockets;

pub use reactor::{Pack, READ, Reactor, WRITE, Watch};
pub use sockets::{is_connected, reset_on_close};

use std::ffi::CString;
use std::fmt::Display;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The error of the last system call when it answered -1.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The same for `syscall`, whose answers here all fit an int.
pub fn check_long(result: libc::c_long) -> io::Result<libc::c_int> {
    check(libc::c_int::try_from(result).unwrap_or(-1))
}

/// Takes over a descriptor that a system call has just made.
pub fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: the caller passes the result of a call that made a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn owned_long(result: libc::c_long) -> io::Result<OwnedFd> {
    owned(libc::c_int::try_from(result).unwrap_or(-1))
}

/// Puts the step and its object before the system's words and keeps the kind.
pub fn during(what: impl Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

pub fn invalid(what: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_string())
}

/// A C string; text with a NUL inside is invalid input.
pub fn c_string(text: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(text).map_err(|_| invalid("a NUL byte inside a name, a path or an argument"))
}

/// A socket to the kernel's network configuration of the calling thread's network namespace.
pub fn route_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
    // SAFETY: all zeroes is a valid address: the kernel chooses.
    let mut any: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    any.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `any`.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const any).cast(), length) })?;
    Ok(socket)
}
