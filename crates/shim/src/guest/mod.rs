//! The guest link's host end: one port of the machine, many streams. What each stream is joined with: a
//! process's stdio (`processes`), or a connection (`joins`).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use trine_wire::mux::{Event, Mux};
use trine_wire::shim::MonitorNote;
use trine_wire::shim::event::What;

use crate::answer::Failure;
use crate::channels::Kind;
use crate::host::sys;
use crate::link::is_not_now;
use crate::reactor::{READ, Reactor, Token, WRITE, Watch};
use crate::shim::Shim;

mod door;
mod ends;
mod forwards;
mod joins;
mod openings;
mod ports;
mod processes;
mod served;

use door::Door;
pub use joins::Join;
pub use ports::Ports;
pub use processes::Attached;
use processes::Part;
pub use served::Served;

/// Reads of the port in one turn of the loop, and rounds of writing: other sources wait no longer.
const TURN: usize = 16;
/// What trined and the child's record call a guest that broke the link's rules.
const LINK_EVENT: &str = "GUEST_LINK";
const LINK_REASON: &str = "guest-link";

pub struct Guest {
    number: u32,
    /// The machine's key.
    key: String,
    /// `None`: the machine is gone.
    stream: Option<UnixStream>,
    watch: Watch,
    mux: Mux,
    ends: BTreeMap<u32, End>,
    door: Option<Door>,
    /// Its agent comes and goes; see shim.proto.
    pub is_free: bool,
    /// Of containers beside it, to which it may connect.
    pub ports: Ports,
    /// Nobody has the port open in the guest: what is sent would wait for whoever comes next.
    is_away: bool,
    /// trined has reaped the machine; only what a FIFO has not taken yet is still needed.
    reaped: bool,
}

/// What a stream is joined with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Join(u32),
    Process(u32, Part),
}

impl Guest {
    /// `path`: where clients ask for streams; empty = nowhere.
    pub fn open(
        number: u32,
        key: &str,
        stream: UnixStream,
        path: &Path,
        reactor: &Reactor,
    ) -> Result<Guest, Failure> {
        let door = match path.as_os_str().is_empty() {
            true => None,
            false => Some(Door::open(path, number, reactor)?),
        };
        Ok(Guest {
            number,
            key: key.to_owned(),
            stream: Some(stream),
            watch: Watch::new(Token::Channel(number)),
            mux: Mux::host(sys::random()?),
            ends: BTreeMap::new(),
            door,
            is_free: false,
            ports: Ports::default(),
            is_away: false,
            reaped: false,
        })
    }

    /// Writes what the port takes; true = more waits.
    fn flush(&mut self) -> bool {
        while !self.is_away {
            let out = self.mux.output();
            let Some(stream) = self.stream.as_mut().filter(|_| !out.is_empty()) else {
                return false;
            };
            match stream.write(out) {
                Ok(count) if count > 0 => self.mux.written(count),
                Err(error) if is_not_now(&error) => return true,
                _ => self.stream = None,
            }
        }
        false
    }

    /// trined has reaped the machine.
    pub fn reap(&mut self) {
        self.reaped = true;
        self.door = None;
    }

    /// Reaped, and no FIFO needs anything more of it.
    pub fn is_done(&self) -> bool {
        self.reaped && self.ends.is_empty()
    }
}

impl Shim {
    /// Something can be read from the port, or written to it.
    pub fn pump_guest(&mut self, guest: &mut Guest) {
        for _ in 0..TURN {
            let Some(stream) = &mut guest.stream else {
                break;
            };
            match stream.read(&mut self.scratch) {
                Ok(count) if count > 0 => {
                    let bytes = self.scratch.get(..count).unwrap_or_default();
                    guest.mux.receive(bytes);
                }
                Err(error) if is_not_now(&error) => break,
                _ => guest.stream = None,
            }
            self.guest_events(guest);
        }
        self.settle_guest(guest);
    }

    /// After anything was done with the streams: passes on what follows from it.
    fn settle_guest(&mut self, guest: &mut Guest) {
        let mut waits = true;
        for _ in 0..TURN {
            waits = guest.flush();
            if !self.guest_events(guest) {
                break;
            }
            // Of what the events led to, nothing has been sent yet.
            waits = true;
        }
        match &guest.stream {
            Some(stream) => {
                let write = if waits { WRITE } else { 0 };
                guest.watch.set(&self.reactor, stream, READ | write);
            }
            None => self.guest_gone(guest),
        }
    }

    fn with_guest(&mut self, number: u32, act: impl FnOnce(&mut Shim, &mut Guest)) {
        let Some(mut channel) = self.channels.remove(&number) else {
            return;
        };
        if let Kind::Guest(guest) = &mut channel.kind {
            act(self, guest);
            self.settle_guest(guest);
        }
        self.channels.insert(number, channel);
    }

    /// True: there were some.
    fn guest_events(&mut self, guest: &mut Guest) -> bool {
        let mut some = false;
        while let Some(event) = guest.mux.poll_event() {
            some = true;
            match event {
                Event::Ready => self.guest_ready(guest),
                Event::Opened { id, name } => self.guest_opened(guest, id, &name),
                Event::Readable(id) | Event::Writable(id) => self.guest_stream(guest, id),
                Event::Aborted { id, reason } => match guest.ends.remove(&id) {
                    Some(End::Join(join)) => self.break_join(join),
                    Some(End::Process(number, part)) => self.part_ended(number, part, &reason),
                    None => {}
                },
                Event::Failed(reason) => self.guest_failed(guest, reason),
            }
        }
        some
    }

    fn guest_ready(&mut self, guest: &mut Guest) {
        self.log
            .line(&format!("guest link of {} is open", guest.key));
        let attached = |p: &Option<Box<Attached>>| {
            p.as_ref()
                .is_some_and(|attached| attached.channel == guest.number)
        };
        let numbers = self.processes.iter().filter(|(_, p)| attached(&p.guest));
        let numbers: Vec<u32> = numbers.map(|(number, _)| *number).collect();
        for number in numbers {
            self.open_process(guest, number);
        }
        for join in self.joins_of(guest.number) {
            self.pump_join(guest, join);
        }
    }

    fn guest_stream(&mut self, guest: &mut Guest, id: u32) {
        match guest.ends.get(&id).copied() {
            Some(End::Join(join)) => self.pump_join(guest, join),
            Some(End::Process(number, part)) => self.move_part(guest, id, number, part),
            None => {}
        }
    }

    /// Its streams have all ended, the link's own doing or the machine's.
    fn cut_streams(&mut self, guest: &mut Guest) {
        for end in std::mem::take(&mut guest.ends).into_values() {
            match end {
                End::Join(join) => self.break_join(join),
                End::Process(number, part) => self.part_cut(number, part),
            }
        }
    }

    /// A guest that does not keep to the protocol is no guest of ours: its machine ends. In one that is its owner's
    /// only what went over the link does.
    fn guest_failed(&mut self, guest: &mut Guest, reason: &str) {
        self.cut_streams(guest);
        let key = guest.key.clone();
        self.log
            .line(&format!("guest link of {key} has failed: {reason}"));
        if guest.is_free {
            return self.end_processes_over(guest.number, false);
        }
        if let Some(child) = self.children.get_mut(&key) {
            child.note(LINK_EVENT, LINK_REASON);
        }
        self.notes.push(What::Note(MonitorNote {
            key: key.clone(),
            event: LINK_EVENT.to_owned(),
            reason: LINK_REASON.to_owned(),
        }));
        if let Err(failure) = self.signal_child(&key, libc::SIGKILL as u32) {
            self.log.line(&format!("kill {key}: {}", failure.0.message));
        }
    }

    /// What was read is still for the FIFOs; connections end.
    fn guest_gone(&mut self, guest: &mut Guest) {
        for (id, end) in guest.ends.clone() {
            match end {
                End::Join(join) => {
                    guest.ends.remove(&id);
                    self.break_join(join);
                }
                End::Process(number, part) => self.move_part(guest, id, number, part),
            }
        }
        for join in self.joins_of(guest.number) {
            self.break_join(join);
        }
    }
}
