//! Errors as the protocol has them: Linux's numbers.

use std::io;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

pub type Outcome<T> = Result<T, Errno>;

impl Errno {
    /// That of the system call which has just failed.
    pub fn last() -> Errno {
        io::Error::last_os_error().into()
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

pub fn fail<T>(errno: i32) -> Outcome<T> {
    Err(Errno(errno))
}

/// The result of a system call, whose -1 is an error.
pub fn check(result: libc::c_int) -> Outcome<libc::c_int> {
    check_long(result.into()).map(|_| result)
}

pub fn check_long(result: i64) -> Outcome<usize> {
    usize::try_from(result).map_err(|_| Errno::last())
}
