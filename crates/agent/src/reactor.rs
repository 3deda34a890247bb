//! One epoll set for the whole agent. Numbers in tokens are never used twice, so a late event of a closed
//! descriptor finds nobody.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use crate::sys::owned;

pub const READ: u32 = libc::EPOLLIN as u32;
pub const WRITE: u32 = libc::EPOLLOUT as u32;
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
    /// A helper child's report.
    Helper(u32),
    MemoryEvents(u32),
    FreezerEvents(u32),
}

impl Token {
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
            _ => return None,
        })
    }
}

pub struct Reactor {
    epoll: OwnedFd,
}

impl Reactor {
    pub fn new() -> io::Result<Reactor> {
        // SAFETY: takes no pointers.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Reactor { epoll })
    }

    /// Waits for events, `None` = without limit. A signal's interruption is an empty answer.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<Token> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 32];
        // Rounded up: a timer must have run out when its wait ends, or the loop would spin.
        let millis = timeout.map_or(-1, |t| {
            i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the pointer and the count describe `events`.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 32, millis) };
        let count = usize::try_from(count).unwrap_or(0);
        events
            .iter()
            .take(count)
            .filter_map(|e| Token::unpack(e.u64))
            .collect()
    }

    fn control(&self, operation: i32, fd: i32, events: u32, token: Token) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events,
            u64: token.pack(),
        };
        // SAFETY: `event` outlives the call.
        let done =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) };
        crate::sys::check(done).map(|_| ())
    }
}

/// A descriptor and what it is watched for. Dropping it ends the watch: closing alone would not while a child
/// that was forked and has not yet executed holds a copy.
pub struct Watched {
    fd: OwnedFd,
    token: Token,
    interest: u32,
    epoll: i32,
}

impl Watched {
    pub fn new(fd: OwnedFd, token: Token) -> Watched {
        Watched {
            fd,
            token,
            interest: 0,
            epoll: -1,
        }
    }

    /// No interest takes the descriptor out of the set: epoll reports hang-ups unasked, for ever.
    pub fn set(&mut self, reactor: &Reactor, interest: u32) {
        if interest == self.interest {
            return;
        }
        let operation = match (self.interest, interest) {
            (0, _) => libc::EPOLL_CTL_ADD,
            (_, 0) => libc::EPOLL_CTL_DEL,
            _ => libc::EPOLL_CTL_MOD,
        };
        if reactor
            .control(operation, self.fd.as_raw_fd(), interest, self.token)
            .is_ok()
        {
            self.interest = interest;
            self.epoll = reactor.epoll.as_raw_fd();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.interest != 0 {
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
    use std::io::Write;
    use std::os::unix::net::UnixStream;

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
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
    }

    #[test]
    fn a_watch_without_interest_is_silent_even_after_a_hang_up() {
        let reactor = Reactor::new().expect("epoll");
        let (mut ours, theirs) = UnixStream::pair().expect("pair");
        let mut watched = Watched::new(theirs.into(), Token::Pump(1));
        watched.set(&reactor, READ);
        ours.write_all(b"x").expect("write");
        assert_eq!(reactor.wait(None), [Token::Pump(1)]);
        drop(ours);
        watched.set(&reactor, 0);
        assert_eq!(reactor.wait(Some(Duration::from_millis(1))), []);
    }
}
