//! Whose each descriptor of the agent's epoll set is.

use std::os::fd::{AsRawFd, OwnedFd};

use trine_linux::{Pack, Watch};
pub use trine_linux::{READ, WRITE};

pub type Reactor = trine_linux::Reactor<Token>;

/// Told once for every change.
pub const EDGE: u32 = libc::EPOLLET as u32;
/// A file of a control group has changed.
pub const CHANGED: u32 = libc::EPOLLPRI as u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Token {
    Port,
    Signals,
    /// Descriptors of a process: its number and which.
    Stdin(u32),
    Stdout(u32),
    Stderr(u32),
    Report(u32),
    /// The other end of a stream that is a socket here.
    Pump(u32),
    /// The report of a helper, and of a child that waits for disks.
    Helper(u32),
    Release(u32),
    /// The report of the child that holds the file systems.
    Freezer,
    /// A listener at the guest's localhost.
    LocalPort(u32),
    MemoryEvents(u32),
    FreezerEvents(u32),
}

impl Pack for Token {
    fn pack(self) -> u64 {
        let (kind, number): (u64, u32) = match self {
            Token::Port => (1, 0),
            Token::Signals => (2, 0),
            Token::Stdin(n) => (3, n),
            Token::Stdout(n) => (4, n),
            Token::Stderr(n) => (5, n),
            Token::Report(n) => (6, n),
            Token::Pump(n) => (7, n),
            Token::Helper(n) => (8, n),
            Token::MemoryEvents(n) => (9, n),
            Token::FreezerEvents(n) => (10, n),
            Token::Release(n) => (11, n),
            Token::Freezer => (12, 0),
            Token::LocalPort(n) => (13, n),
        };
        kind << 32 | u64::from(number)
    }

    fn unpack(packed: u64) -> Option<Token> {
        let number = packed as u32;
        Some(match packed >> 32 {
            1 => Token::Port,
            2 => Token::Signals,
            3 => Token::Stdin(number),
            4 => Token::Stdout(number),
            5 => Token::Stderr(number),
            6 => Token::Report(number),
            7 => Token::Pump(number),
            8 => Token::Helper(number),
            9 => Token::MemoryEvents(number),
            10 => Token::FreezerEvents(number),
            11 => Token::Release(number),
            12 => Token::Freezer,
            13 => Token::LocalPort(number),
            _ => return None,
        })
    }
}

/// A descriptor and what it is watched for. Dropping it ends the watch: closing alone would not while a child
/// that was forked and has not yet executed holds a copy.
pub struct Watched {
    fd: OwnedFd,
    watch: Watch<Token>,
    epoll: i32,
}

impl Watched {
    pub fn new(fd: OwnedFd, token: Token) -> Watched {
        Watched {
            fd,
            watch: Watch::new(token),
            epoll: -1,
        }
    }

    /// No interest takes the descriptor out of the set: epoll reports hang-ups unasked, for ever.
    pub fn set(&mut self, reactor: &Reactor, interest: u32) {
        self.watch.set(reactor, &self.fd, interest);
        self.epoll = reactor.as_raw_fd();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.watch.is_set() {
            // SAFETY: a deletion reads no event; the reactor lives as long as the program.
            unsafe {
                libc::epoll_ctl(
                    self.epoll,
                    libc::EPOLL_CTL_DEL,
                    self.fd.as_raw_fd(),
                    std::ptr::null_mut(),
                )
            };
        }
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for token in [
            Token::Port,
            Token::Signals,
            Token::Stdin(1),
            Token::Stdout(u32::MAX),
            Token::Stderr(2),
            Token::Report(3),
            Token::Pump(4),
            Token::Helper(5),
            Token::MemoryEvents(6),
            Token::FreezerEvents(7),
            Token::Release(8),
            Token::Freezer,
            Token::LocalPort(9),
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
    }
}
