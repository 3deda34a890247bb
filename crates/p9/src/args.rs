//! The command line.

use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// One waits for the disk while another answers what is in memory; more are idle (decision 0006).
const WORKERS: usize = 4;
const MAX_WORKERS: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    pub listen_fd: RawFd,
    pub root: PathBuf,
    pub workers: usize,
}

impl Args {
    pub fn parse(mut words: impl Iterator<Item = OsString>) -> io::Result<Args> {
        let (mut listen_fd, mut root, mut workers) = (None, None, WORKERS);
        while let Some(option) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| invalid(format!("{option:?} lacks its value")))?;
            let number = || value.to_str().and_then(|text| text.parse::<u16>().ok());
            match option.to_str() {
                Some("--root") => root = Some(PathBuf::from(&value)),
                Some("--listen-fd") => listen_fd = number().filter(|fd| *fd > 2),
                Some("--workers") => {
                    workers = number()
                        .map(usize::from)
                        .filter(|count| (1..=MAX_WORKERS).contains(count))
                        .ok_or_else(|| invalid(format!("--workers is 1 to {MAX_WORKERS}")))?;
                }
                _ => return Err(invalid(format!("unknown option {option:?}"))),
            }
        }
        Ok(Args {
            listen_fd: listen_fd
                .ok_or_else(|| invalid("--listen-fd needs a descriptor above 2"))?
                .into(),
            root: root.ok_or_else(|| invalid("--root needs a directory"))?,
            workers,
        })
    }

    /// Takes over the inherited socket; asked once.
    pub fn listener(&self) -> io::Result<UnixListener> {
        let mut listening: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the pointers describe `listening`.
        let result = unsafe {
            libc::getsockopt(
                self.listen_fd,
                libc::SOL_SOCKET,
                libc::SO_ACCEPTCONN,
                (&raw mut listening).cast(),
                &raw mut length,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        if listening == 0 {
            return Err(invalid("the socket does not listen"));
        }
        // SAFETY: inherited for this purpose, and nobody else here knows it.
        Ok(unsafe { UnixListener::from_raw_fd(self.listen_fd) })
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Args> {
        Args::parse(line.split_whitespace().map(OsString::from)).ok()
    }

    #[test]
    fn both_options_are_needed_and_nothing_else_is_taken() {
        let args = parse("--listen-fd 3 --root /shares").unwrap();
        assert_eq!((args.listen_fd, args.workers), (3, WORKERS));
        for bad in [
            "",
            "--root /shares",
            "--listen-fd 3",
            "--listen-fd 2 --root /",
            "--listen-fd x --root /",
            "--listen-fd 3 --root",
            "--listen-fd 3 --root / --workers 0",
            "--listen-fd 3 --root / --verbose yes",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
