//! The socket where trined asks for streams of the guest link.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use trine_wire::mux::MAX_NAME;

use super::joins::{Join, MAX_JOINS, Origin};
use crate::channels::Kind;
use crate::host::sys::{invalid, listen_at};
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

/// The stream's name and what came after it, once there is a whole line.
pub fn read_name(stream: &mut File, line: &mut Vec<u8>) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut part = [0; MAX_NAME + 1];
    let room = part.get_mut(line.len()..).unwrap_or_default();
    let count = match stream.read(room) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => count,
        Err(error) if is_not_now(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    line.extend_from_slice(room.get(..count).unwrap_or_default());
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return match line.len() > MAX_NAME {
            true => Err(invalid("the name of a stream is too long")),
            false => Ok(None),
        };
    };
    let rest = line.split_off(end + 1);
    line.truncate(end);
    let name = String::from_utf8(std::mem::take(line)).map_err(io::Error::other)?;
    Ok(Some((name, rest)))
}

impl Shim {
    pub fn accept_at_door(&mut self, channel: u32) {
        while let Some(stream) = self.next_at_door(channel) {
            let full = self.join_count(Origin::Client) >= MAX_JOINS;
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
