//! Connections joined with streams of the guest link: bytes go both ways, each direction ends by itself, and
//! who does not read is waited for.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use trine_wire::mux::Mux;

use super::door::read_name;
use super::{End, Guest};
use crate::host::sys;
use crate::link::is_not_now;
use crate::reactor::{HANGUP, READ, Reactor, Token, WRITE, Watch};
use crate::shim::Shim;

/// Of each origin.
pub const MAX_JOINS: usize = 256;
const NAMING_LIMIT: Duration = Duration::from_secs(5);
/// Reads of one connection before others get their turn.
const TURN: usize = 4;

/// Who has made the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client of the link's socket.
    Client,
    /// The shim, for a stream that the guest has opened.
    Served,
    /// Port-forward.
    Forward,
    /// The shim, for the guest, to a container beside it.
    Port,
}

pub struct Join {
    pub channel: u32,
    origin: Origin,
    /// A socket, as the bytes see it.
    pub stream: File,
    pub watch: Watch,
    state: State,
    /// Until the guest has answered nothing is read, so that somebody else can have the connection.
    answer_until: Option<Instant>,
    /// The connection is still being made.
    connecting: bool,
}

enum State {
    /// Its first line, the stream's name, is not complete.
    Naming { line: Vec<u8>, until: Instant },
    /// The link is not open yet. `rest` came after the name; `parked`: watched for the hang-up alone.
    Waiting {
        name: String,
        rest: Vec<u8>,
        parked: bool,
    },
    Joined {
        id: u32,
        /// The connection sends no more.
        ended: bool,
        /// The connection has been told that the guest sends no more.
        shut: bool,
    },
}

impl State {
    fn waiting(name: String, rest: Vec<u8>) -> State {
        State::Waiting {
            name,
            rest,
            parked: false,
        }
    }
}

impl Join {
    pub fn naming(number: u32, channel: u32, stream: OwnedFd, reactor: &Reactor) -> Join {
        let state = State::Naming {
            line: Vec::new(),
            until: Instant::now() + NAMING_LIMIT,
        };
        let mut join = Join::new(number, channel, Origin::Client, stream, state);
        join.watch.set(reactor, &join.stream, READ);
        join
    }

    fn new(number: u32, channel: u32, origin: Origin, stream: OwnedFd, state: State) -> Join {
        Join {
            channel,
            origin,
            stream: File::from(stream),
            watch: Watch::new(Token::Join(number)),
            state,
            answer_until: None,
            connecting: origin == Origin::Port,
        }
    }

    /// `answer_until`: when the guest must have answered; none = it is waited for.
    pub fn forward(
        number: u32,
        channel: u32,
        client: TcpStream,
        name: &str,
        answer_until: Option<Instant>,
    ) -> Join {
        let state = State::waiting(name.to_owned(), Vec::new());
        let join = Join::new(number, channel, Origin::Forward, client.into(), state);
        Join {
            answer_until,
            ..join
        }
    }

    /// Takes the next step; false = it is over.
    fn step(&mut self, mux: &mut Mux, reactor: &Reactor, scratch: &mut [u8]) -> io::Result<bool> {
        if let State::Naming { line, .. } = &mut self.state {
            match read_name(&mut self.stream, line)? {
                Some((name, rest)) => self.state = State::waiting(name, rest),
                None => return Ok(true),
            }
        }
        if let State::Waiting { name, rest, parked } = &mut self.state {
            if !mux.is_ready() && *parked {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !mux.is_ready() {
                *parked = true;
                // Not READ: what came already would be told of again and again.
                self.watch.set(reactor, &self.stream, HANGUP);
                return Ok(true);
            }
            let id = mux.open(name).map_err(io::Error::other)?;
            mux.send(id, rest);
            self.state = State::Joined {
                id,
                ended: false,
                shut: false,
            };
        }
        self.carry(mux, reactor, scratch)
    }

    fn carry(&mut self, mux: &mut Mux, reactor: &Reactor, scratch: &mut [u8]) -> io::Result<bool> {
        let State::Joined { id, ended, shut } = &mut self.state else {
            return Ok(true);
        };
        let id = *id;
        if self.answer_until.is_some() && !mux.is_answered(id) {
            self.watch.set(reactor, &self.stream, 0);
            return Ok(true);
        }
        self.answer_until = None;
        if self.connecting && !sys::is_connected(&self.stream)? {
            self.watch.set(reactor, &self.stream, WRITE);
            return Ok(true);
        }
        self.connecting = false;
        for _ in 0..TURN {
            let room = mux.room(id).min(scratch.len());
            if *ended || room == 0 {
                break;
            }
            let part = scratch.get_mut(..room).unwrap_or_default();
            match self.stream.read(part) {
                Ok(0) => {
                    mux.fin(id);
                    *ended = true;
                }
                Ok(count) => drop(mux.send(id, part.get(..count).unwrap_or_default())),
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let mut blocked = false;
        while !*shut && !blocked {
            let data = mux.data(id);
            if data.is_empty() {
                if mux.at_end(id) {
                    sys::shut_down_writing(&self.stream)?;
                    *shut = true;
                }
                break;
            }
            match self.stream.write(data) {
                Ok(count) => mux.consume(id, count),
                Err(error) if is_not_now(&error) => blocked = true,
                Err(error) => return Err(error),
            }
        }
        let read = if *ended || mux.room(id) == 0 { 0 } else { READ };
        let write = if blocked { WRITE } else { 0 };
        self.watch.set(reactor, &self.stream, read | write);
        Ok(!(*ended && *shut))
    }

    pub fn is_forward(&self) -> bool {
        self.origin == Origin::Forward
    }

    /// Who is at the other end of a network learns that it did not end as it should.
    fn break_off(&self) {
        if matches!(self.origin, Origin::Forward | Origin::Port) {
            sys::reset_on_close(&self.stream);
        }
    }

    pub fn id(&self) -> Option<u32> {
        match self.state {
            State::Joined { id, .. } => Some(id),
            _ => None,
        }
    }
}

impl Shim {
    pub fn joins_of(&self, channel: u32) -> Vec<u32> {
        let of_link = self.joins.iter().filter(|(_, j)| j.channel == channel);
        of_link.map(|(number, _)| *number).collect()
    }

    pub fn join_count(&self, origin: Origin) -> usize {
        self.joins.values().filter(|j| j.origin == origin).count()
    }

    pub fn join_ready(&mut self, number: u32) {
        if let Some(channel) = self.joins.get(&number).map(|join| join.channel) {
            self.with_guest(channel, |shim, guest| shim.pump_join(guest, number));
        }
    }

    pub fn pump_join(&mut self, guest: &mut Guest, number: u32) {
        let Some(mut join) = self.joins.remove(&number) else {
            return;
        };
        let step = join.step(&mut guest.mux, &self.reactor, &mut self.scratch);
        if let Some(id) = join.id() {
            match step {
                Ok(true) => guest.ends.insert(id, End::Join(number)),
                _ => guest.ends.remove(&id),
            };
            if step.is_err() {
                guest.mux.abort(id, "the connection has broken");
            }
        }
        if let Ok(true) = step {
            self.joins.insert(number, join);
        } else if step.is_err() {
            join.break_off();
        }
    }

    /// The stream is gone.
    pub fn break_join(&mut self, number: u32) {
        if let Some(join) = self.joins.remove(&number) {
            join.break_off();
        }
    }

    pub fn join(&mut self, guest: &mut Guest, id: u32, origin: Origin, stream: OwnedFd) {
        let number = self.number();
        let state = State::Joined {
            id,
            ended: false,
            shut: false,
        };
        let join = Join::new(number, guest.number, origin, stream, state);
        guest.ends.insert(id, End::Join(number));
        self.joins.insert(number, join);
        self.pump_join(guest, number);
    }
}

impl Join {
    /// When it has waited long enough for its client, or for the guest.
    pub fn until(&self) -> Option<Instant> {
        match self.state {
            State::Naming { until, .. } => Some(until),
            _ => self.answer_until,
        }
    }
}
