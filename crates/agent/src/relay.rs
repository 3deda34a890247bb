//! Children that carry bytes between a process's pipes and the agent. Whoever splices between a pipe and a file of
//! a share holds the pipe's lock until the share has answered, and the agent, which carries the share's bytes, would
//! wait for that lock with its next read or write. A relay waits in its stead.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::container::spawn::{Fork, fork};
use crate::sys::{close_all_but, pipe, read};

const CHUNK: usize = 64 << 10;

/// As many as one process needs.
const KEPT: usize = 2;
/// What a process has begun with comes first.
const QUIET: Duration = Duration::from_millis(100);

/// Outputs whose relays run before they are needed: under emulation a fork is dear, and every start waited for two.
#[derive(Debug, Default)]
pub struct Relays {
    outputs: Vec<(OwnedFd, OwnedFd)>,
    refill_at: Option<Instant>,
}

impl Relays {
    /// (the process's end, the agent's end) of an output.
    pub fn output(&mut self) -> io::Result<(OwnedFd, OwnedFd)> {
        self.refill_soon();
        match self.outputs.pop() {
            Some(ready) => Ok(ready),
            None => output(),
        }
    }

    pub fn refill_soon(&mut self) {
        self.refill_at = Some(Instant::now() + QUIET);
    }

    /// Without memory for it, the next process makes its own, or says why not.
    pub fn refill(&mut self, now: Instant) {
        if self.refill_at.is_none_or(|at| at > now) {
            return;
        }
        self.refill_at = None;
        while self.outputs.len() < KEPT
            && let Ok(made) = output()
        {
            self.outputs.push(made);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.refill_at
    }
}

fn output() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe()?;
    let (ours, theirs) = UnixStream::pair()?;
    carry(&reader, &theirs)?;
    Ok((writer, ours.into()))
}

/// (the process's end, the agent's end) of an input.
pub fn input() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe()?;
    let (ours, theirs) = UnixStream::pair()?;
    carry(&theirs, &writer)?;
    Ok((reader, ours.into()))
}

/// Leaves a child that copies until one end is gone.
fn carry(from: &impl AsRawFd, to: &impl AsRawFd) -> io::Result<()> {
    if let Fork::Child = fork(0, None)? {
        // SAFETY: takes no pointers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        close_all_but([from.as_raw_fd(), to.as_raw_fd()].into_iter().collect());
        copy(from, to);
        // SAFETY: ends the child without running anything of the agent's.
        unsafe { libc::_exit(0) }
    }
    Ok(())
}

fn copy(from: &impl AsRawFd, to: &impl AsRawFd) {
    let mut buffer = [0; CHUNK];
    loop {
        let count = match read(from, &mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if !write_all(to, buffer.get(..count).unwrap_or_default()) {
            return;
        }
    }
}

/// False when nobody reads any more.
fn write_all(to: &impl AsRawFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length describe `bytes`.
        let count = unsafe { libc::write(to.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}
