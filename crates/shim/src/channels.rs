//! Connected sockets whose other end a child has: bytes held for trined, monitors, consoles.

use std::collections::VecDeque;
use std::io::Read;
use std::os::unix::net::UnixStream;

use trine_wire::shim::MonitorNote;
use trine_wire::shim::event::What;

use crate::console::Console;
use crate::guest::Guest;
use crate::inbox::Inbox;
use crate::link::is_not_now;
use crate::monitor::{LINK_CLOSED, LINK_OPENED, Monitor};
use crate::reactor::{READ, Reactor, Token, WRITE, Watch};
use crate::shim::Shim;

/// Of bytes that were read already; less than MAX_HELD, so that there is room for new ones.
const MAX_KEPT: u64 = 64 << 10;
const MAX_HELD: usize = 256 << 10;

pub struct Channel {
    pub name: String,
    /// The child at the other end.
    pub key: String,
    pub kind: Kind,
}

pub enum Kind {
    Held(Held),
    Monitor(Monitor),
    Console(Box<Console>),
    Guest(Box<Guest>),
}

/// A byte stream for trined, both ways by offset.
pub struct Held {
    /// `None`: the other end is gone.
    stream: Option<UnixStream>,
    watch: Watch,
    incoming: VecDeque<u8>,
    /// Offset of the first byte of `incoming`.
    base: u64,
    pub outgoing: Inbox,
}

/// What a read finds.
pub struct Found {
    pub offset: u64,
    pub data: Vec<u8>,
    pub closed: bool,
}

impl Held {
    pub fn new(stream: UnixStream, token: Token) -> Held {
        Held {
            stream: Some(stream),
            watch: Watch::new(token),
            incoming: VecDeque::new(),
            base: 0,
            outgoing: Inbox::default(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    pub fn pump(&mut self, reactor: &Reactor, scratch: &mut [u8]) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut open = self.outgoing.write_to(stream).is_ok();
        while open && self.incoming.len() < MAX_HELD {
            let room = scratch.len().min(MAX_HELD - self.incoming.len());
            let part = scratch.get_mut(..room).unwrap_or_default();
            match stream.read(part) {
                Ok(0) => open = false,
                Ok(count) => self.incoming.extend(part.get(..count).unwrap_or_default()),
                Err(error) if is_not_now(&error) => break,
                Err(_) => open = false,
            }
        }
        if !open {
            self.stream = None;
            self.outgoing.clear();
            return;
        }
        let read = if self.incoming.len() < MAX_HELD {
            READ
        } else {
            0
        };
        let write = if self.outgoing.is_empty() { 0 } else { WRITE };
        self.watch.set(reactor, stream, read | write);
    }

    /// Drops what is below `offset` but for the newest `keep` bytes of that. The position in `incoming`
    /// that a read from `offset` begins at; `None`: beyond the end.
    pub fn acknowledge(&mut self, offset: u64, keep: u64) -> Option<usize> {
        let from = offset.max(self.base);
        let known = |at: u64| usize::try_from(at - self.base).ok();
        known(from).filter(|n| *n <= self.incoming.len())?;
        let base = from.saturating_sub(keep.min(MAX_KEPT)).max(self.base);
        self.incoming.drain(..known(base)?);
        self.base = base;
        usize::try_from(from - base).ok()
    }

    /// Copies at most `limit` bytes from `offset`, which it acknowledges. `None`: beyond the end.
    pub fn read(&mut self, offset: u64, keep: u64, limit: usize) -> Option<Found> {
        let skipped = self.acknowledge(offset, keep)?;
        let data = self.incoming.iter().skip(skipped).take(limit);
        let data: Vec<u8> = data.copied().collect();
        Some(Found {
            offset: self.base + skipped as u64,
            closed: self.stream.is_none() && data.is_empty(),
            data,
        })
    }
}

impl Shim {
    pub fn channel_named(&self, name: &str) -> Option<u32> {
        let found = self
            .channels
            .iter()
            .find(|(_, c)| c.name == name && !name.is_empty());
        found.map(|(number, _)| *number)
    }

    pub fn channels_of(&self, key: &str) -> Vec<u32> {
        let of_key = self.channels.iter().filter(|(_, c)| c.key == key);
        of_key.map(|(number, _)| *number).collect()
    }

    pub fn channel_ready(&mut self, number: u32) {
        let Some(mut channel) = self.channels.remove(&number) else {
            return;
        };
        let mut notes = Vec::new();
        match &mut channel.kind {
            Kind::Held(held) => held.pump(&self.reactor, &mut self.scratch),
            Kind::Monitor(monitor) => notes = monitor.pump(&self.reactor, &mut self.scratch),
            Kind::Console(console) => self.pump_console(number, console),
            Kind::Guest(guest) => self.pump_guest(guest),
        }
        let key = channel.key.clone();
        self.channels.insert(number, channel);
        for note in notes {
            match note.event.as_str() {
                LINK_OPENED => {
                    self.reset_guests_of(&key, true);
                    continue;
                }
                LINK_CLOSED => {
                    self.leave_guests_of(&key);
                    continue;
                }
                "RESET" => self.reset_guests_of(&key, false),
                _ => {}
            }
            if let Some(child) = self.children.get_mut(&key) {
                child.note(&note.event, &note.reason);
            }
            self.notes.push(What::Note(MonitorNote {
                key: key.clone(),
                ..note
            }));
        }
        self.finish_tasks();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_read_repeats_until_it_is_acknowledged() {
        let reactor = Reactor::new().expect("epoll");
        let mut scratch = [0; 4096];
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        ours.set_nonblocking(true).expect("non-blocking");
        let mut held = Held::new(ours, Token::Channel(1));
        theirs.write_all(b"hello").expect("write");
        held.pump(&reactor, &mut scratch);
        for _ in 0..2 {
            assert_eq!(held.read(0, 0, 3).expect("in range").data, b"hel");
        }
        assert_eq!(held.read(3, 0, 10).expect("in range").data, b"lo");
        let late = held.read(0, 0, 10).expect("in range");
        assert_eq!((late.offset, late.data.as_slice()), (3, b"lo".as_slice()));
        assert!(held.read(6, 0, 1).is_none());
        drop(theirs);
        held.pump(&reactor, &mut scratch);
        assert!(!held.read(3, 0, 10).expect("in range").closed);
        assert!(held.read(5, 0, 10).expect("in range").closed);
    }

    #[test]
    fn what_was_read_stays_for_a_reader_that_starts_anew() {
        let reactor = Reactor::new().expect("epoll");
        let mut scratch = [0; 4096];
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        ours.set_nonblocking(true).expect("non-blocking");
        let mut held = Held::new(ours, Token::Channel(1));
        theirs.write_all(b"hello world").expect("write");
        held.pump(&reactor, &mut scratch);
        assert_eq!(held.read(6, 3, 10).expect("in range").data, b"world");
        assert_eq!(held.read(11, 8, 10).expect("in range").data, b"");
        let again = held.read(0, 8, 100).expect("in range");
        assert_eq!(
            (again.offset, again.data.as_slice()),
            (3, b"lo world".as_slice())
        );
    }

    #[test]
    fn what_nobody_reads_stops_the_sender() {
        let reactor = Reactor::new().expect("epoll");
        let mut scratch = [0; 4096];
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        ours.set_nonblocking(true).expect("non-blocking");
        theirs.set_nonblocking(true).expect("non-blocking");
        let mut held = Held::new(ours, Token::Channel(1));
        let mut sent = 0;
        loop {
            match theirs.write(&[1; 4096]) {
                Ok(count) => sent += count,
                Err(_) if held.incoming.len() < MAX_HELD => held.pump(&reactor, &mut scratch),
                Err(_) => break,
            }
        }
        assert_eq!(held.incoming.len(), MAX_HELD);
        assert!(sent > MAX_HELD);
    }
}
