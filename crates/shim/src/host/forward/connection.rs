//! One forwarded connection: two sockets and what is on its way between them.

use super::super::sys::{Epoll, reset_on_close};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

/// Chunks moved in one direction before others get their turn.
const MOST_CHUNKS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Machine,
}

pub struct Connection {
    pub generation: u32,
    client: End,
    machine: End,
    connected: bool,
    to_machine: Flow,
    to_client: Flow,
}

/// A socket and what epoll watches it for; `None` = not registered.
struct End {
    stream: TcpStream,
    watched: Option<i32>,
    /// Hung up while nothing can be read: epoll would report it again and again.
    muted: bool,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Read but not yet taken by the other side.
    waiting: Vec<u8>,
    ended: bool,
    passed_on: bool,
}

impl Connection {
    pub fn new(client: TcpStream, machine: TcpStream, generation: u32) -> Self {
        let end = |stream| End {
            stream,
            watched: None,
            muted: false,
        };
        Self {
            generation,
            client: end(client),
            machine: end(machine),
            connected: false,
            to_machine: Flow::default(),
            to_client: Flow::default(),
        }
    }

    /// Goes on after an event on one side. `false` when both directions have ended in order; an
    /// error when the connection is to be reset.
    pub fn step(&mut self, side: Side, events: i32, chunk: &mut [u8]) -> io::Result<bool> {
        let end = match side {
            Side::Client => &mut self.client,
            Side::Machine => &mut self.machine,
        };
        if events & libc::EPOLLERR != 0 {
            end.stream.take_error()?.map_or(Ok(()), Err)?;
        }
        let reading = end
            .watched
            .is_some_and(|watched| watched & libc::EPOLLIN != 0);
        if events & libc::EPOLLHUP != 0 && !reading {
            end.muted = true;
        }
        if !self.connected && side == Side::Machine {
            self.machine.stream.take_error()?.map_or(Ok(()), Err)?;
            // Hung up without ever having been connected.
            self.machine.stream.peer_addr()?;
            self.connected = true;
            self.machine.muted = false;
        }
        if self.connected {
            self.to_machine
                .pump(&self.client.stream, &self.machine.stream, chunk)?;
            self.to_client
                .pump(&self.machine.stream, &self.client.stream, chunk)?;
        }
        Ok(!(self.to_machine.passed_on && self.to_client.passed_on))
    }

    /// Brings epoll up to date with what each side waits for.
    pub fn register(&mut self, epoll: &Epoll, token: impl Fn(Side) -> u64) -> io::Result<()> {
        let (client, machine) = if self.connected {
            (
                self.to_machine.read_interest() | self.to_client.write_interest(),
                self.to_client.read_interest() | self.to_machine.write_interest(),
            )
        } else {
            (0, libc::EPOLLOUT)
        };
        self.client.watch(epoll, client, token(Side::Client))?;
        self.machine.watch(epoll, machine, token(Side::Machine))
    }

    /// Both peers see a reset when this is dropped.
    pub fn reset(&self) {
        reset_on_close(&self.client.stream);
        reset_on_close(&self.machine.stream);
    }
}

impl End {
    fn watch(&mut self, epoll: &Epoll, events: i32, token: u64) -> io::Result<()> {
        if events & libc::EPOLLIN != 0 {
            self.muted = false;
        }
        let wanted = (!self.muted).then_some(events);
        if wanted == self.watched {
            return Ok(());
        }
        let fd = self.stream.as_raw_fd();
        match (self.watched, wanted) {
            (None, Some(events)) => epoll.add(fd, events, token)?,
            (Some(_), Some(events)) => epoll.modify(fd, events, token)?,
            (_, None) => epoll.remove(fd)?,
        }
        self.watched = wanted;
        Ok(())
    }
}

impl Flow {
    fn read_interest(&self) -> i32 {
        if self.ended || !self.waiting.is_empty() {
            0
        } else {
            libc::EPOLLIN
        }
    }

    fn write_interest(&self) -> i32 {
        if self.waiting.is_empty() {
            0
        } else {
            libc::EPOLLOUT
        }
    }

    /// Moves what can be moved now, and the end of the data after it.
    fn pump(&mut self, mut from: &TcpStream, to: &TcpStream, chunk: &mut [u8]) -> io::Result<()> {
        let taken = write(to, &self.waiting)?;
        self.waiting.drain(..taken.min(self.waiting.len()));
        for _ in 0..MOST_CHUNKS {
            if self.ended || !self.waiting.is_empty() {
                break;
            }
            self.waiting = Vec::new();
            let count = match from.read(chunk) {
                Ok(count) => count,
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            };
            self.ended = count == 0;
            let read = chunk.get(..count).unwrap_or_default();
            let taken = write(to, read)?;
            self.waiting
                .extend_from_slice(read.get(taken..).unwrap_or_default());
        }
        if self.ended && self.waiting.is_empty() && !self.passed_on {
            to.shutdown(Shutdown::Write)?;
            self.passed_on = true;
        }
        Ok(())
    }
}

/// How much of `bytes` the socket takes now.
fn write(mut to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match to.write(bytes) {
        Err(error) if is_later(&error) => Ok(0),
        other => other,
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
