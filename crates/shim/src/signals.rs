//! Signals as a descriptor. SIGCHLD tells of children; what would end the shim is blocked and passed over:
//! only containerd's Shutdown, or `delete`, ends a pod.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::reactor::{READ, Reactor, Token, Watch};

const HELD: [libc::c_int; 6] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGPIPE,
];

pub struct Signals {
    fd: OwnedFd,
    watch: Watch,
}

impl Signals {
    pub fn hold() -> io::Result<Signals> {
        // SAFETY: all zeroes is a valid set, which is initialised first; every pointer outlives its call.
        let fd = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in HELD {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Signals {
            fd,
            watch: Watch::new(Token::Signals),
        })
    }

    pub fn watch(&mut self, reactor: &Reactor) {
        self.watch.set(reactor, &self.fd, READ);
    }

    /// Takes what is pending, so that the descriptor is silent until the next signal.
    pub fn clear(&self) {
        let mut buffer = [0_u8; 16 * size_of::<libc::signalfd_siginfo>()];
        // SAFETY: the pointer and the length describe `buffer`.
        let read = || unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        drain(read);
    }
}

fn drain(mut read: impl FnMut() -> isize) {
    while read() > 0 {}
}

/// The next child that has ended, ours or an orphan of one of ours. Our children lead sessions of their own;
/// what is left of one goes with it, while its pid is still taken by the dead leader.
pub fn next_ended() -> Option<(i32, Status)> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeroes is a valid siginfo_t, which outlives the call that fills it in; its pid is valid
    // (0 = none) after a success.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        match libc::waitid(libc::P_ALL, 0, &raw mut info, options) {
            0 => info.si_pid(),
            _ => 0,
        }
    };
    if pid <= 0 {
        return None;
    }
    let mut status = 0;
    // SAFETY: the pointer outlives the call; the pid is a zombie of ours, so it is nobody else's.
    let reaped = unsafe {
        libc::kill(-pid, libc::SIGKILL);
        libc::waitpid(pid, &raw mut status, 0)
    };
    (reaped == pid).then(|| (pid, Status::of(status)))
}

/// How a child ended: -1 when a signal did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub exit_code: i32,
    pub signal: i32,
}

impl Status {
    fn of(status: libc::c_int) -> Status {
        if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            return Status {
                exit_code: -1,
                signal,
            };
        }
        Status {
            exit_code: libc::WEXITSTATUS(status),
            signal: 0,
        }
    }

    /// As a shell counts.
    pub fn exit_status(self) -> u32 {
        let code = if self.signal > 0 {
            128 + self.signal
        } else {
            self.exit_code
        };
        u32::try_from(code).unwrap_or(255)
    }
}

/// Whoever it was that had the pid when the descriptor was made, and nobody else.
pub fn send(pidfd: &OwnedFd, signal: u32) -> io::Result<()> {
    let signal = i32::try_from(signal).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is passed along; the descriptor is open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            none,
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
