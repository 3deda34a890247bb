//! A process's FIFOs. The shim is their writer for as long as the process lives: containerd stops reading
//! for good once all writers have closed, and waits for ever while one is left open after the end.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use crate::inbox::Inbox;
use crate::link::is_not_now;
use crate::reactor::{READ, Reactor, Token, WRITE, Watch};

/// After the end, a reader that takes nothing for this long has given up.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// O_RDWR: the open never blocks, a missing reader is no EPIPE, and FIONREAD tells what containerd has
/// not read yet. An empty path, a URI or anything but a FIFO is no FIFO: the bytes are discarded.
pub fn open_fifo(path: &str) -> io::Result<Option<File>> {
    if !path.starts_with('/') {
        return Ok(None);
    }
    let named = |e: io::Error| io::Error::new(e.kind(), format!("open stdio FIFO {path}: {e}"));
    if !std::fs::metadata(path)
        .map_err(named)?
        .file_type()
        .is_fifo()
    {
        return Ok(None);
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(named)
        .map(Some)
}

/// One output FIFO, its open end held for the process's life.
pub struct Output {
    fifo: Option<File>,
    watch: Watch,
    /// The FIFO took less than it was given.
    blocked: bool,
    pub inbox: Inbox,
    written: u64,
    ending: Option<Ending>,
}

struct Ending {
    /// How much the reader has had.
    taken: u64,
    progress: Instant,
}

impl Output {
    pub fn open(path: &str, token: Token) -> io::Result<Output> {
        Ok(Output {
            fifo: open_fifo(path)?,
            watch: Watch::new(token),
            blocked: false,
            inbox: Inbox::default(),
            written: 0,
            ending: None,
        })
    }

    pub fn is_open(&self) -> bool {
        self.fifo.is_some()
    }

    /// How much of `bytes` the FIFO has taken.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(fifo) = &mut self.fifo else {
            return bytes.len();
        };
        match fifo.write(bytes) {
            Ok(count) => {
                self.blocked = count < bytes.len();
                self.written += count as u64;
                count
            }
            Err(error) if is_not_now(&error) => {
                self.blocked = true;
                0
            }
            Err(_) => {
                self.fifo = None;
                bytes.len()
            }
        }
    }

    /// Passes on what trined wrote and keeps the watch right.
    pub fn pump(&mut self, reactor: &Reactor) {
        let Some(fifo) = &mut self.fifo else {
            self.inbox.clear();
            return;
        };
        if !self.inbox.is_empty() {
            let before = self.inbox.len();
            if self.inbox.write_to(fifo).is_err() {
                self.fifo = None;
                return;
            }
            self.written += (before - self.inbox.len()) as u64;
            self.blocked = !self.inbox.is_empty();
        }
        let interest = if self.blocked { WRITE } else { 0 };
        self.watch.set(reactor, fifo, interest);
    }

    pub fn can_take(&self) -> bool {
        self.fifo.is_some() && !self.blocked && self.inbox.is_empty()
    }

    /// There is room again.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// The process has ended; from now on `drained` decides when the FIFO closes.
    pub fn end(&mut self, now: Instant) {
        self.ending.get_or_insert(Ending {
            taken: 0,
            progress: now,
        });
    }

    /// Closes the FIFO once its reader has everything, `more` saying whether bytes are still on their way
    /// to it, or once the reader has taken nothing for DRAIN_LIMIT and `may_give_up`. True = closed.
    pub fn drained(&mut self, more: bool, may_give_up: bool, now: Instant) -> bool {
        let (Some(fifo), Some(ending)) = (&self.fifo, &mut self.ending) else {
            return self.fifo.is_none();
        };
        let unread = unread_bytes(fifo);
        // Not how full the FIFO is: what a slow reader takes is filled up again at once.
        let taken = self.written.saturating_sub(unread);
        if taken != ending.taken || !may_give_up {
            ending.taken = taken;
            ending.progress = now;
        }
        let all = unread == 0 && self.inbox.is_empty() && !more;
        if all || now.duration_since(ending.progress) >= DRAIN_LIMIT {
            self.close();
        }
        self.fifo.is_none()
    }

    pub fn close(&mut self) {
        self.fifo = None;
        self.inbox.clear();
    }
}

fn unread_bytes(fifo: &File) -> u64 {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which outlives the call.
    let result = unsafe { libc::ioctl(fifo.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result == 0 {
        u64::try_from(count).unwrap_or(0)
    } else {
        0
    }
}

/// A stdin FIFO. Held open for reading and writing, so a client that detaches is no end; CloseIO is.
pub struct Input {
    fifo: Option<File>,
    watch: Watch,
    closing: bool,
}

impl Input {
    pub fn open(path: &str, token: Token) -> io::Result<Input> {
        Ok(Input {
            fifo: open_fifo(path)?,
            watch: Watch::new(token),
            closing: false,
        })
    }

    /// False without a FIFO too: there is nothing to come.
    pub fn is_open(&self) -> bool {
        self.fifo.is_some()
    }

    /// CloseIO: what is in the FIFO is still delivered.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// The process has ended: nobody reads it any more.
    pub fn shut(&mut self) {
        self.fifo = None;
    }

    /// Moves up to `room` bytes to `sink`.
    pub fn pump(&mut self, sink: &mut VecDeque<u8>, room: usize) {
        let Some(fifo) = &mut self.fifo else { return };
        let mut buffer = [0; 4096];
        let mut left = room;
        while left > 0 {
            let part = buffer.get_mut(..left.min(4096)).unwrap_or_default();
            match fifo.read(part) {
                Ok(count) if count > 0 => {
                    sink.extend(part.get(..count).unwrap_or_default());
                    left -= count;
                }
                _ if self.closing => {
                    self.fifo = None;
                    return;
                }
                _ => break,
            }
        }
    }

    /// Listens while the other side has room.
    pub fn watch(&mut self, reactor: &Reactor, room: bool) {
        if let Some(fifo) = &self.fifo {
            self.watch.set(reactor, fifo, if room { READ } else { 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    struct Fifo(String);

    impl Fifo {
        fn new(name: &str) -> Fifo {
            let path = format!("/tmp/trine-shim-fifo-{}-{name}", std::process::id());
            let text = CString::new(path.as_str()).expect("no NUL");
            // SAFETY: the path is a C string.
            assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
            Fifo(path)
        }
        fn reader(&self) -> File {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_NONBLOCK);
            options.open(&self.0).expect("reader")
        }
    }

    impl Drop for Fifo {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn output(fifo: &Fifo) -> Output {
        Output::open(&fifo.0, Token::Stdout(1)).expect("open")
    }

    #[test]
    fn no_reader_is_back_pressure_and_nothing_is_lost() {
        let fifo = Fifo::new("pressure");
        let mut out = output(&fifo);
        let mut written = 0;
        while out.can_take() {
            written += out.write(&[7; 4096]);
        }
        assert!(written >= 4096);
        let mut got = Vec::new();
        let mut reader = fifo.reader();
        while got.len() < written {
            let mut part = [0; 4096];
            let count = reader.read(&mut part).expect("bytes are there");
            got.extend_from_slice(&part[..count]);
        }
        assert_eq!(got.len(), written);
    }

    #[test]
    fn closes_only_after_the_reader_has_everything() {
        let fifo = Fifo::new("drain");
        let mut out = output(&fifo);
        let mut reader = fifo.reader();
        let now = Instant::now();
        out.write(b"last words");
        out.end(now);
        assert!(!out.drained(false, true, now));
        let mut part = [0; 64];
        assert_eq!(reader.read(&mut part).expect("read"), 10);
        assert!(!out.drained(true, true, now));
        assert!(out.drained(false, true, now));
        assert_eq!(reader.read(&mut part).expect("end of file"), 0);
    }

    #[test]
    fn gives_up_on_an_idle_reader_only_while_containerd_is_there() {
        let fifo = Fifo::new("idle");
        let mut out = output(&fifo);
        let now = Instant::now();
        out.write(b"x");
        out.end(now);
        let much_later = now + DRAIN_LIMIT * 10;
        assert!(!out.drained(false, false, much_later));
        assert!(!out.drained(false, true, much_later + DRAIN_LIMIT / 2));
        assert!(out.drained(false, true, much_later + DRAIN_LIMIT));
    }

    #[test]
    fn a_slow_reader_of_a_full_fifo_is_not_given_up() {
        let fifo = Fifo::new("slow");
        let mut out = output(&fifo);
        let mut reader = fifo.reader();
        while out.can_take() {
            out.write(&[7; 4096]);
        }
        let mut now = Instant::now();
        out.end(now);
        let mut part = [0; 4096];
        for _ in 0..10 {
            assert!(!out.drained(true, true, now));
            assert_eq!(reader.read(&mut part).expect("read"), 4096);
            assert_eq!(out.write(&part), 4096);
            now += DRAIN_LIMIT * 2 / 3;
        }
        assert!(!out.drained(true, true, now));
        assert!(out.drained(true, true, now + DRAIN_LIMIT));
    }

    #[test]
    fn what_is_no_fifo_discards() {
        for path in ["", "binary:///bin/logger?x=y", "/dev/null"] {
            let mut out = Output::open(path, Token::Stdout(1)).expect("discard");
            assert!(!out.is_open());
            assert_eq!(out.write(b"gone"), 4);
        }
        assert!(Output::open("/tmp/trine-no-such-fifo", Token::Stdout(1)).is_err());
    }

    #[test]
    fn stdin_outlives_its_writers_until_close_io() {
        let fifo = Fifo::new("stdin");
        let mut input = Input::open(&fifo.0, Token::Stdin(1)).expect("open");
        let mut sink = VecDeque::new();
        for _ in 0..2 {
            let mut writer = OpenOptions::new()
                .write(true)
                .open(&fifo.0)
                .expect("writer");
            writer.write_all(b"ls\n").expect("write");
            drop(writer);
            input.pump(&mut sink, 100);
        }
        assert_eq!(sink.len(), 6);
        input.close();
        input.pump(&mut sink, 100);
        assert!(input.fifo.is_none());
    }
}
