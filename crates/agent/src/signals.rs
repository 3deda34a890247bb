//! SIGCHLD as a descriptor, and who has ended.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys::{check_long, owned, read};

/// Blocks what would end or disturb the agent; SIGCHLD can be read from the descriptor.
pub fn hold() -> io::Result<OwnedFd> {
    // SAFETY: all zeroes is a valid set, which is initialised first; every pointer outlives its call.
    unsafe {
        let mut held: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut held);
        for fault in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGABRT,
        ] {
            libc::sigdelset(&raw mut held, fault);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const held, std::ptr::null_mut());
        let mut wanted: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut wanted);
        libc::sigaddset(&raw mut wanted, libc::SIGCHLD);
        owned(libc::signalfd(
            -1,
            &raw const wanted,
            libc::SFD_NONBLOCK | libc::SFD_CLOEXEC,
        ))
    }
}

/// Makes the descriptor silent until the next signal.
pub fn clear(fd: &impl AsRawFd) {
    let mut buffer = [0_u8; 8 * size_of::<libc::signalfd_siginfo>()];
    while read(fd, &mut buffer).is_ok_and(|count| count > 0) {}
}

/// The next child that has ended and its status as a shell counts: ours, or as PID 1 anybody's orphan.
pub fn next_ended() -> Option<(i32, u32)> {
    let mut status = 0;
    // SAFETY: the pointer outlives the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    if pid <= 0 {
        return None;
    }
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    Some((pid, u32::try_from(code).unwrap_or(255)))
}

/// To whoever it was that had the pid when the descriptor was made, and nobody else.
pub fn send(pidfd: &OwnedFd, signal: u32) -> io::Result<()> {
    let signal = i32::try_from(signal).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is passed along; the descriptor is open.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            none,
            0,
        )
    })?;
    Ok(())
}
