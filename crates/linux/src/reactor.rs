//! One epoll set for a whole program. Every descriptor is watched under a token that says whose it is; numbers
//! in tokens are never used twice, so a late event of a closed descriptor finds nobody.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::{check, owned};

pub const READ: u32 = libc::EPOLLIN as u32;
pub const WRITE: u32 = libc::EPOLLOUT as u32;

/// A program's tokens, as the kernel keeps them.
pub trait Pack: Copy {
    fn pack(self) -> u64;
    fn unpack(packed: u64) -> Option<Self>;
}

pub struct Reactor<T> {
    epoll: OwnedFd,
    tokens: PhantomData<T>,
}

const AT_ONCE: usize = 64;

impl<T: Pack> Reactor<T> {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Reactor {
            epoll,
            tokens: PhantomData,
        })
    }

    /// Waits for events, `None` = without limit. A signal's interruption is an empty answer.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<T> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; AT_ONCE];
        // Rounded up: a timer must have run out when its wait ends, or the loop would spin.
        let millis = timeout.map_or(-1, |t| {
            i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: the pointer and the count describe `events`.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), AT_ONCE as i32, millis) };
        let count = usize::try_from(count).unwrap_or(0);
        let tokens = events.iter().take(count);
        tokens.filter_map(|e| T::unpack(e.u64)).collect()
    }

    fn control(&self, operation: i32, fd: RawFd, events: u32, token: T) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events,
            u64: token.pack(),
        };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` outlives the call.
        check(unsafe { libc::epoll_ctl(epoll, operation, fd, &raw mut event) }).map(drop)
    }
}

impl<T> AsRawFd for Reactor<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// What one descriptor is watched for. Closing the descriptor ends the watch once no child that was forked and
/// has not yet executed holds a copy.
pub struct Watch<T> {
    token: T,
    interest: u32,
}

impl<T: Pack> Watch<T> {
    pub fn new(token: T) -> Self {
        Watch { token, interest: 0 }
    }

    /// No interest takes the descriptor out of the set: epoll reports hang-ups unasked, for ever.
    pub fn set(&mut self, reactor: &Reactor<T>, fd: &impl AsRawFd, interest: u32) {
        if interest == self.interest {
            return;
        }
        let operation = match (self.interest, interest) {
            (0, _) => libc::EPOLL_CTL_ADD,
            (_, 0) => libc::EPOLL_CTL_DEL,
            _ => libc::EPOLL_CTL_MOD,
        };
        let fd = fd.as_raw_fd();
        if reactor.control(operation, fd, interest, self.token).is_ok() {
            self.interest = interest;
        }
    }

    pub fn is_set(&self) -> bool {
        self.interest != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Number(u64);

    impl Pack for Number {
        fn pack(self) -> u64 {
            self.0
        }

        fn unpack(packed: u64) -> Option<Self> {
            Some(Number(packed))
        }
    }

    #[test]
    fn a_watch_without_interest_is_silent_even_after_a_hang_up() {
        let reactor = Reactor::new().unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut watch = Watch::new(Number(7));
        watch.set(&reactor, &theirs, READ);
        assert!(watch.is_set());
        ours.write_all(b"x").unwrap();
        assert_eq!(reactor.wait(None), [Number(7)]);
        drop(ours);
        watch.set(&reactor, &theirs, 0);
        assert_eq!(reactor.wait(Some(Duration::from_millis(1))), []);
    }
}
