//! One epoll set for the whole process. Every descriptor is watched under a token that says whose it is;
//! numbers in tokens are never used twice, so a late event of a closed descriptor finds nobody.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub const READ: u32 = libc::EPOLLIN as u32;
pub const WRITE: u32 = libc::EPOLLOUT as u32;
/// The peer sends no more, whatever waits to be read.
pub const HANGUP: u32 = libc::EPOLLRDHUP as u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Listener,
    Signals,
    Connection(u32),
    Trined,
    Publisher,
    Channel(u32),
    /// A process's stdout and stderr FIFO.
    Stdout(u32),
    Stderr(u32),
    Stdin(u32),
    AttachListener(u32),
    AttachClient(u32),
    ChildLog(u32),
    /// A short program's stdin, stdout or stderr.
    Program(u32, u8),
    Dhcp(u32),
    Forward,
    /// Where trined asks for streams of a guest link, and connections joined with them.
    GuestDoor(u32),
    Join(u32),
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, part, number): (u64, u8, u32) = match self {
            Token::Listener => (1, 0, 0),
            Token::Signals => (2, 0, 0),
            Token::Connection(n) => (3, 0, n),
            Token::Trined => (4, 0, 0),
            Token::Publisher => (5, 0, 0),
            Token::Channel(n) => (6, 0, n),
            Token::Stdout(n) => (7, 0, n),
            Token::Stderr(n) => (8, 0, n),
            Token::Stdin(n) => (9, 0, n),
            Token::AttachListener(n) => (10, 0, n),
            Token::AttachClient(n) => (11, 0, n),
            Token::ChildLog(n) => (12, 0, n),
            Token::Program(n, part) => (13, part, n),
            Token::Dhcp(n) => (14, 0, n),
            Token::Forward => (15, 0, 0),
            Token::GuestDoor(n) => (16, 0, n),
            Token::Join(n) => (17, 0, n),
        };
        kind << 40 | u64::from(part) << 32 | u64::from(number)
    }

    fn unpack(packed: u64) -> Option<Token> {
        let number = packed as u32;
        Some(match packed >> 40 {
            1 => Token::Listener,
            2 => Token::Signals,
            3 => Token::Connection(number),
            4 => Token::Trined,
            5 => Token::Publisher,
            6 => Token::Channel(number),
            7 => Token::Stdout(number),
            8 => Token::Stderr(number),
            9 => Token::Stdin(number),
            10 => Token::AttachListener(number),
            11 => Token::AttachClient(number),
            12 => Token::ChildLog(number),
            13 => Token::Program(number, (packed >> 32) as u8),
            14 => Token::Dhcp(number),
            15 => Token::Forward,
            16 => Token::GuestDoor(number),
            17 => Token::Join(number),
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
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Reactor { epoll })
    }

    /// Waits for events, `None` = without limit. A signal's interruption is an empty answer.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<Token> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // Rounded up: a timer must have run out when its wait ends, or the loop would spin.
        let millis = timeout.map_or(-1, |t| {
            i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the pointer and the count describe `events`.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 64, millis) };
        let count = usize::try_from(count).unwrap_or(0);
        events
            .iter()
            .take(count)
            .filter_map(|e| Token::unpack(e.u64))
            .collect()
    }

    fn control(&self, operation: i32, fd: RawFd, events: u32, token: Token) -> bool {
        let mut event = libc::epoll_event {
            events,
            u64: token.pack(),
        };
        // SAFETY: `event` outlives the call.
        unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) == 0 }
    }
}

/// What one descriptor is watched for. Closing the descriptor ends the watch.
pub struct Watch {
    token: Token,
    interest: u32,
}

impl Watch {
    pub fn new(token: Token) -> Watch {
        Watch { token, interest: 0 }
    }

    /// No interest takes the descriptor out of the set: epoll reports hang-ups unasked, for ever.
    pub fn set(&mut self, reactor: &Reactor, fd: &impl AsRawFd, interest: u32) {
        if interest == self.interest {
            return;
        }
        let operation = match (self.interest, interest) {
            (0, _) => libc::EPOLL_CTL_ADD,
            (_, 0) => libc::EPOLL_CTL_DEL,
            _ => libc::EPOLL_CTL_MOD,
        };
        if reactor.control(operation, fd.as_raw_fd(), interest, self.token) {
            self.interest = interest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn tokens_survive_packing() {
        let tokens = [
            Token::Listener,
            Token::Signals,
            Token::Connection(u32::MAX),
            Token::Trined,
            Token::Publisher,
            Token::Channel(7),
            Token::Stdout(1),
            Token::Stderr(2),
            Token::Stdin(3),
            Token::AttachListener(4),
            Token::AttachClient(5),
            Token::ChildLog(6),
            Token::Program(8, 2),
            Token::Dhcp(9),
            Token::Forward,
            Token::GuestDoor(10),
            Token::Join(11),
        ];
        for token in tokens {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
    }

    #[test]
    fn a_watch_without_interest_is_silent_even_after_a_hang_up() {
        let reactor = Reactor::new().expect("epoll");
        let (mut ours, theirs) = UnixStream::pair().expect("pair");
        let mut watch = Watch::new(Token::Channel(1));
        watch.set(&reactor, &theirs, READ);
        ours.write_all(b"x").expect("write");
        assert_eq!(reactor.wait(None), [Token::Channel(1)]);
        drop(ours);
        watch.set(&reactor, &theirs, 0);
        assert_eq!(reactor.wait(Some(Duration::from_millis(1))), []);
    }
}
