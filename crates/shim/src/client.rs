//! A ttrpc client that comes back by itself: connect, call, read answers, try again with back-off.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use trine_wire::frame::{self, REQUEST, RESPONSE};
use trine_wire::{Message, ttrpc};

use crate::host::sys::connect_unix;
use crate::link::Link;
use crate::reactor::{Reactor, Token};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub struct Client {
    path: PathBuf,
    token: Token,
    link: Option<Link>,
    next_stream: u32,
    pause: Duration,
    retry_at: Instant,
}

impl Client {
    pub fn new(path: PathBuf, token: Token) -> Client {
        Client {
            path,
            token,
            link: None,
            next_stream: 1,
            pause: FIRST_PAUSE,
            retry_at: Instant::now(),
        }
    }

    pub fn connected(&self) -> bool {
        self.link.is_some()
    }

    pub fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// Tries when its time has come; true = connected just now.
    pub fn connect(&mut self, reactor: &Reactor, hurry: bool, now: Instant) -> bool {
        if self.connected() || now < self.retry_at {
            return false;
        }
        match connect_unix(&self.path).and_then(|s| Link::new(s, self.token, reactor)) {
            Ok(link) => {
                self.link = Some(link);
                self.next_stream = 1;
                true
            }
            Err(_) => {
                self.pause_from(now, hurry);
                false
            }
        }
    }

    /// Something waits now: the next try is not a whole second away.
    pub fn hurry(&mut self, now: Instant) {
        if !self.connected() && self.pause > FIRST_PAUSE {
            self.pause = FIRST_PAUSE;
            self.retry_at = self.retry_at.min(now + FIRST_PAUSE);
        }
    }

    /// The peer has stopped reading: what more is sent only takes memory.
    pub fn is_stuck(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_stuck)
    }

    /// All that was sent is out of our hands.
    pub fn is_flushed(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_flushed)
    }

    /// The stream id its answer will carry.
    pub fn call(&mut self, reactor: &Reactor, request: &ttrpc::Request) -> io::Result<u32> {
        let link = self.link.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let stream = self.next_stream;
        self.next_stream = self.next_stream.wrapping_add(2);
        link.send(reactor, stream, REQUEST, request)?;
        Ok(stream)
    }

    /// Answers that have come; an error ends the connection.
    pub fn receive(
        &mut self,
        reactor: &Reactor,
        scratch: &mut [u8],
    ) -> io::Result<Vec<(u32, ttrpc::Response)>> {
        let Some(link) = &mut self.link else {
            return Ok(Vec::new());
        };
        link.flush(reactor)?;
        let open = link.receive(scratch)?;
        let mut answers = Vec::new();
        while let Some(frame) = next(link, reactor)? {
            if frame.kind == RESPONSE {
                let response = ttrpc::Response::decode(frame.body.as_slice());
                answers.push((frame.stream, response.map_err(io::Error::other)?));
            }
        }
        if !open && answers.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !answers.is_empty() {
            self.pause = FIRST_PAUSE;
        }
        Ok(answers)
    }

    pub fn disconnect(&mut self, hurry: bool, now: Instant) {
        self.link = None;
        self.pause_from(now, hurry);
    }

    fn pause_from(&mut self, now: Instant, hurry: bool) {
        self.retry_at = now + if hurry { self.pause } else { LONGEST_PAUSE };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

fn next(link: &mut Link, reactor: &Reactor) -> io::Result<Option<frame::Frame>> {
    link.next_frame(reactor).map_err(io::Error::other)
}
