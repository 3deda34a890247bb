//! What children say on stdout and stderr, in bounded files.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::link::is_not_now;
use crate::reactor::{READ, Reactor, Token, Watch};
use crate::shim::Shim;

/// Reads in one turn of the loop, each at most what a pipe holds.
const TURN: usize = 4;
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
        options.append(true).create(true).mode(0o600);
        let file = open_plain(&options, Path::new(path)).map_err(named)?;
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

    /// False at the end. Past the limit the rest is read and dropped. A child that writes without a pause
    /// gets no more than its turn.
    fn pump(&mut self, reactor: &Reactor, scratch: &mut [u8]) -> bool {
        self.watch.set(reactor, &self.pipe, READ);
        for _ in 0..TURN {
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
        true
    }
}

/// Opens a regular file to write to and nothing else: the open of a FIFO would wait for its reader, and a
/// link or a device be written to for whoever put it there.
pub fn open_plain(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let mut options = options.clone();
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file",
    ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::Scratch;

    #[test]
    fn what_is_no_plain_file_is_refused_and_not_waited_for() {
        let scratch = Scratch::new("plain");
        let path = |name: &str| scratch.path().join(name);
        let fifo = std::ffi::CString::new(path("fifo").to_str().expect("text")).expect("no NUL");
        // SAFETY: the path is a C string.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        std::os::unix::fs::symlink("/dev/null", path("link")).expect("link");
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        for name in ["fifo", "link"] {
            assert!(open_plain(&options, &path(name)).is_err(), "{name}");
        }
        assert!(open_plain(&options, Path::new("/dev/null")).is_err());
        assert!(open_plain(&options, &path("new")).is_ok());
    }

    #[test]
    fn a_child_that_writes_without_a_pause_gets_its_turn_only() {
        let scratch = Scratch::new("talker");
        let path = scratch.path().join("log");
        let (mut log, writer) =
            ChildLog::open(path.to_str().expect("text"), Token::ChildLog(1)).expect("log");
        let mut writer = File::from(writer);
        let talker = std::thread::spawn(move || while writer.write(&[b'x'; 4096]).is_ok() {});
        let reactor = Reactor::new().expect("epoll");
        while std::fs::metadata(&path).expect("log").len() < 10_000 {
            assert!(log.pump(&reactor, &mut [0; 1024]));
        }
        drop(log);
        talker.join().expect("its other end is gone");
    }
}
