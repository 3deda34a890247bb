//! The byte stream to the host: a virtio port, or a unix socket where there is none, with the multiplexer on it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use trine_wire::mux::Mux;

use crate::reactor::{EDGE, READ, Reactor, Token, WRITE, Watched};
use crate::sys::{is_not_now, open, read, set_nonblocking, write};

const PORTS: &str = "/sys/class/virtio-ports";
const READ_BYTES: usize = 64 << 10;
/// Reads in a row before the rest of the agent has its turn.
const MAX_READS: usize = 8;

pub struct Link {
    port: Watched,
    pub mux: Mux,
    buffer: Vec<u8>,
}

/// What became of the port.
#[derive(Debug, PartialEq, Eq)]
pub enum Port {
    /// All that had come has been read.
    Dry,
    More,
    /// The other end has closed. A virtio port may come back.
    Closed,
}

impl Link {
    pub fn new(port: OwnedFd, reactor: &Reactor) -> io::Result<Link> {
        set_nonblocking(&port)?;
        let mut port = Watched::new(port, Token::Port);
        // By edge: a virtio port whose host is away reports a hang-up, and would do so for ever.
        port.set(reactor, READ | WRITE | EDGE);
        Ok(Link {
            port,
            mux: Mux::guest(),
            buffer: vec![0; READ_BYTES],
        })
    }

    pub fn receive(&mut self) -> io::Result<Port> {
        for _ in 0..MAX_READS {
            match read(&self.port, &mut self.buffer) {
                Ok(0) => return Ok(Port::Closed),
                Ok(count) => self
                    .mux
                    .receive(self.buffer.get(..count).unwrap_or_default()),
                Err(error) if is_not_now(&error) => return Ok(Port::Dry),
                Err(error) => return Err(error),
            }
        }
        Ok(Port::More)
    }

    /// Sends what the port takes.
    pub fn flush(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.mux.output();
            if bytes.is_empty() {
                return Ok(());
            }
            match write(&self.port, bytes) {
                Ok(count) => self.mux.written(count),
                Err(error) if is_not_now(&error) => return Ok(()),
                // Nobody listens at the other end for now.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The virtio port of that name; not found until its driver has made it.
pub fn open_port(name: &str) -> io::Result<OwnedFd> {
    for entry in fs::read_dir(PORTS)? {
        let entry = entry?;
        let found = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if found.trim_end() == name {
            let device = format!("/dev/{}", entry.file_name().to_string_lossy());
            return open(&device, libc::O_RDWR | libc::O_NONBLOCK);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("no virtio port is named {name:?}"),
    ))
}

pub fn open_socket(path: &Path) -> io::Result<OwnedFd> {
    Ok(UnixStream::connect(path)?.into())
}
