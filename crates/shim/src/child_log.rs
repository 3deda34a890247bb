//! What children say on stdout and stderr, in bounded files.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::link::is_not_now;
use crate::reactor::{READ, Reactor, Token, Watch};
use crate::shim::Shim;

const MAX_LOG: u64 = 1 << 20;

/// A child's stdout and stderr on their way to its log file, which is bounded.
pub struct ChildLog {
    pipe: File,
    watch: Watch,
    file: File,
    left: u64,
}

impl ChildLog {
    pub fn open(path: &str, token: Token) -> io::Result<(ChildLog, OwnedFd)> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("open log {path}: {e}"));
        let mut options = OpenOptions::new();
        options
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path).map_err(named)?;
        let left = MAX_LOG.saturating_sub(file.metadata().map_err(named)?.len());
        let (reader, writer) = io::pipe()?;
        let pipe = File::from(OwnedFd::from(reader));
        set_blocking(&pipe, false)?;
        let log = ChildLog {
            pipe,
            watch: Watch::new(token),
            file,
            left,
        };
        Ok((log, OwnedFd::from(writer)))
    }

    /// False at the end. Past the limit the rest is read and dropped.
    fn pump(&mut self, reactor: &Reactor, scratch: &mut [u8]) -> bool {
        loop {
            match self.pipe.read(scratch) {
                Ok(0) => return false,
                Ok(count) => {
                    let bytes = scratch.get(..count).unwrap_or_default();
                    let fitting = usize::try_from(self.left).unwrap_or(usize::MAX).min(count);
                    let _ = self
                        .file
                        .write_all(bytes.get(..fitting).unwrap_or_default());
                    self.left -= fitting as u64;
                }
                Err(error) if is_not_now(&error) => break,
                Err(_) => return false,
            }
        }
        self.watch.set(reactor, &self.pipe, READ);
        true
    }
}

pub fn set_blocking(fd: &impl AsRawFd, blocking: bool) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    let wanted = if blocking {
        flags & !libc::O_NONBLOCK
    } else {
        flags | libc::O_NONBLOCK
    };
    // SAFETY: takes no pointers.
    if flags < 0 || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Shim {
    pub fn child_log_ready(&mut self, number: u32) {
        let Some(log) = self.child_logs.get_mut(&number) else {
            return;
        };
        if !log.pump(&self.reactor, &mut self.scratch) {
            self.child_logs.remove(&number);
        }
    }
}
