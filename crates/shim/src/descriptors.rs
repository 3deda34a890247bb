//! Descriptors a child is born with: files, taps, memories, sockets, and channels whose other end stays here.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use trine_wire::shim;
use trine_wire::shim::descriptor::Source;

use crate::answer::{Code, Failure, failure};
use crate::channels::{Channel, Held, Kind};
use crate::child_log::set_blocking;
use crate::console::{Console, NO_TASK};
use crate::guest::{Guest, Ports, Served};
use crate::host::net::put_queue_back;
use crate::host::sys::{self, during, listen_at};
use crate::memory;
use crate::monitor::Monitor;
use crate::reactor::Token;
use crate::shim::Shim;
use crate::spool::Spool;

const MAX_CHANNELS: usize = 64;
const MAX_WORD: usize = 64;
const MAX_SERVED: usize = 16;
/// QEMU throws away what a virtio console prints while the socket is full; a serial port waits. This is what
/// the fastest guest prints while the shim is not scheduled for a quarter of a second and more.
const CONSOLE_ROOM: libc::c_int = 8 << 20;

pub fn invalid(message: impl Into<String>) -> Failure {
    failure(Code::InvalidArgument, message)
}

impl Shim {
    pub fn open_descriptor(
        &mut self,
        key: &str,
        descriptor: &shim::Descriptor,
    ) -> Result<OwnedFd, Failure> {
        match &descriptor.source {
            Some(Source::File(file)) => Ok(self.open_file(file)?),
            Some(Source::Tap(name)) => {
                let queue = descriptor.queue;
                let queues = self.keeper.taps.get(name);
                let several = queues.is_some_and(|queues| queues.len() > 1);
                let tap = queues.and_then(|queues| queues.get(queue as usize));
                let tap = tap.ok_or_else(|| {
                    let what = format!("queue {queue} of tap {name} has not been opened");
                    failure(Code::NotFound, what)
                })?;
                if several {
                    put_queue_back(tap)?;
                }
                Ok(tap.try_clone()?)
            }
            Some(Source::Connect(to)) => self.open_connection(to),
            Some(Source::Channel(channel)) => self.open_channel(key, channel),
            Some(Source::Listen(listen)) => self.open_listener(key, listen),
            Some(Source::Memory(memory)) => self.open_memory(memory.clone()),
            Some(Source::Sealed(memory)) => memory::open_sealed(memory),
            None => Err(invalid(format!(
                "descriptor {} has no source",
                descriptor.number
            ))),
        }
    }

    fn open_listener(&mut self, key: &str, listen: &shim::Listen) -> Result<OwnedFd, Failure> {
        let word = &listen.serves;
        if word.len() > MAX_WORD || word.contains('/') {
            return Err(invalid("serves is a short word without a slash"));
        }
        if self.serves.contains_key(word) || self.serves.len() >= MAX_SERVED {
            return Err(invalid(format!(
                "streams {word}/ are served already, or there are too many servers"
            )));
        }
        let path = self.identity.held(Path::new(&listen.path));
        let listener = listen_at(&path, listen.mode)?;
        if !word.is_empty() {
            let key = key.to_owned();
            self.serves.insert(word.clone(), Served { key, path });
        }
        Ok(OwnedFd::from(listener))
    }

    fn open_connection(&self, to: &shim::Connect) -> Result<OwnedFd, Failure> {
        let path = self.identity.held(Path::new(&to.path));
        let connected = connect_to_child(&path);
        Ok(connected.map_err(during(format!("connect to {}", path.display())))?)
    }

    /// What lies in something mounted for this pod may come from an image.
    fn open_file(&self, file: &shim::OpenFile) -> io::Result<OwnedFd> {
        let path = &self.identity.held(Path::new(&file.path));
        let mounted = self.keeper.mounted.iter();
        let inside = mounted.filter_map(|root| Some((root, path.strip_prefix(root).ok()?)));
        let opened = match inside.max_by_key(|(root, _)| root.as_os_str().len()) {
            // It was bound, or made, to be this very file.
            Some((_, below)) if below.as_os_str().is_empty() => open_on_host(path, file.writable),
            Some((root, below)) => sys::open_inside(root, below, file.writable),
            None => open_on_host(path, file.writable),
        };
        opened.map_err(|e| io::Error::new(e.kind(), format!("open {}: {e}", file.path)))
    }

    fn open_channel(&mut self, key: &str, channel: &shim::Channel) -> Result<OwnedFd, Failure> {
        if channel.name.is_empty() || self.channel_named(&channel.name).is_some() {
            return Err(invalid(format!(
                "channel name {:?} is empty or in use",
                channel.name
            )));
        }
        if self.channels.len() >= MAX_CHANNELS {
            return Err(failure(Code::ResourceExhausted, "too many channels"));
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let number = self.number();
        let token = Token::Channel(number);
        let kind = match channel.kind() {
            shim::channel::Kind::Held => Kind::Held(Held::new(ours, token)),
            shim::channel::Kind::Monitor => Kind::Monitor(Monitor::new(ours, token)),
            shim::channel::Kind::Console => {
                give_room(&theirs)?;
                Kind::Console(Box::new(self.open_console(number, ours, channel)?))
            }
            shim::channel::Kind::Guest => {
                let path = self.identity.held(Path::new(&channel.guest_path));
                let ports = Ports::parse(&channel.guest_ports)?;
                let mut guest = Guest::open(number, key, ours, &path, &self.reactor)?;
                guest.is_free = channel.guest_is_free;
                guest.ports = ports;
                Kind::Guest(Box::new(guest))
            }
        };
        let (name, key) = (channel.name.clone(), key.to_owned());
        self.channels.insert(number, Channel { name, key, kind });
        Ok(OwnedFd::from(theirs))
    }

    fn open_console(
        &self,
        number: u32,
        stream: UnixStream,
        channel: &shim::Channel,
    ) -> Result<Console, Failure> {
        let task = match channel.task_id.as_str() {
            "" => NO_TASK,
            id => self.find(id, "")?,
        };
        if channel.spool_path.is_empty() {
            return Err(invalid("a console needs a spool_path"));
        }
        let path = Path::new(&channel.spool_path);
        let spool = Spool::open(path, channel.spool_bytes).map_err(|e| {
            io::Error::new(e.kind(), format!("open spool {}: {e}", channel.spool_path))
        })?;
        let mut console = Console::new(stream, Token::Channel(number), task, spool);
        if !channel.attach_path.is_empty() {
            let token = Token::AttachListener(number);
            let path = self.identity.held(Path::new(&channel.attach_path));
            console.listen(&path, token, &self.reactor)?;
        }
        Ok(console)
    }
}

/// O_NONBLOCK only for the opening: a FIFO or a device must not stop the shim.
fn open_on_host(path: &Path, writable: bool) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(writable)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let opened = options.open(path)?;
    set_blocking(&opened, true)?;
    Ok(OwnedFd::from(opened))
}

/// The socket lies where a child's user may write: what it put there instead, a link to another's socket for one, is
/// not followed, and a queue that it keeps full is an error, not a wait of the whole shim.
fn connect_to_child(path: &Path) -> io::Result<OwnedFd> {
    let found = sys::look_at(path)?;
    if !found.metadata()?.file_type().is_socket() {
        return Err(sys::invalid("not a socket"));
    }
    // What was looked at is what is connected to.
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let connected = sys::connect_unix(Path::new(&path))?;
    connected.set_nonblocking(false)?;
    Ok(OwnedFd::from(connected))
}

/// More than the node's limit for ordinary processes, where the shim may; else what it allows.
fn give_room(stream: &UnixStream) -> io::Result<()> {
    let set = |option| sys::set_option(stream.as_raw_fd(), libc::SOL_SOCKET, option, &CONSOLE_ROOM);
    set(libc::SO_SNDBUFFORCE).or_else(|_| set(libc::SO_SNDBUF))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::Scratch;
    use std::io::{Read, Write};
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_childs_socket_is_connected_to_and_nothing_else() {
        let scratch = Scratch::new("child-socket");
        let at = |name: &str| scratch.path().join(name);
        let listener = UnixListener::bind(at("socket")).unwrap();
        let mut connected = UnixStream::from(connect_to_child(&at("socket")).unwrap());
        // Who gets it may wait for bytes.
        // SAFETY: takes no pointers.
        let flags = unsafe { libc::fcntl(connected.as_raw_fd(), libc::F_GETFL) };
        assert_eq!(flags & libc::O_NONBLOCK, 0);
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.write_all(b"here").unwrap();
        let mut got = [0; 4];
        connected.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"here");
        symlink(at("socket"), at("link")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        for bad in ["link", "file", "none"] {
            assert!(connect_to_child(&at(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_childs_socket_whose_queue_is_full_is_not_waited_for() {
        let scratch = Scratch::new("full-socket");
        let path = scratch.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        // SAFETY: takes no pointers. A second listen(2) only changes the length of the queue.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let mut waiting = Vec::new();
        let refused = loop {
            match connect_to_child(&path) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 100);
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }
}
