//! The socket where trined asks for streams of the guest link.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::joins::{Join, Origin};
use crate::channels::Kind;
use crate::host::sys::listen_at;
use crate::link::is_not_now;
use crate::reactor::{READ, Reactor, Token, Watch};
use crate::shim::Shim;

pub struct Door {
    listener: UnixListener,
    watch: Watch,
    path: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Door {
    pub fn open(path: &Path, number: u32, reactor: &Reactor) -> io::Result<Door> {
        let listener = listen_at(path, 0o600)?;
        listener.set_nonblocking(true)?;
        let mut door = Door {
            listener,
            watch: Watch::new(Token::GuestDoor(number)),
            path: path.to_owned(),
        };
        door.watch.set(reactor, &door.listener, READ);
        Ok(door)
    }
}

impl Shim {
    pub fn accept_at_door(&mut self, channel: u32) {
        while let Some(stream) = self.next_at_door(channel) {
            let full = self.join_count(Origin::Client) >= super::joins::MAX_JOINS;
            if full || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let number = self.number();
            let join = Join::naming(number, channel, stream.into(), &self.reactor);
            self.joins.insert(number, join);
        }
    }

    fn next_at_door(&mut self, channel: u32) -> Option<UnixStream> {
        let Some(Kind::Guest(guest)) = self.channels.get_mut(&channel).map(|c| &mut c.kind) else {
            return None;
        };
        let door = guest.door.as_mut()?;
        match door.listener.accept() {
            Ok((stream, _)) => Some(stream),
            Err(error) if is_not_now(&error) => None,
            Err(_) => {
                door.watch.set(&self.reactor, &door.listener, 0);
                self.accept_soon();
                None
            }
        }
    }

    pub fn watch_doors(&mut self) {
        for channel in self.channels.values_mut() {
            if let Kind::Guest(guest) = &mut channel.kind
                && let Some(door) = &mut guest.door
            {
                door.watch.set(&self.reactor, &door.listener, READ);
            }
        }
    }
}
