//! A non-blocking unix socket that carries ttrpc frames, either side.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use trine_wire::Message;
use trine_wire::frame::{self, Decoder, Frame};

use crate::reactor::{READ, Reactor, Token, WRITE, Watch};

/// Above this no more is read from a peer that does not take its answers.
const MAX_BACKLOG: usize = 8 << 20;
pub const SCRATCH_BYTES: usize = 64 << 10;

pub struct Link {
    stream: UnixStream,
    watch: Watch,
    decoder: Decoder,
    out: Vec<u8>,
    sent: usize,
}

impl Link {
    pub fn new(stream: UnixStream, token: Token, reactor: &Reactor) -> io::Result<Link> {
        stream.set_nonblocking(true)?;
        let mut link = Link {
            stream,
            watch: Watch::new(token),
            decoder: Decoder::default(),
            out: Vec::new(),
            sent: 0,
        };
        link.watch(reactor);
        Ok(link)
    }

    /// Queues one frame and sends what the socket takes. An error ends the link.
    pub fn send(
        &mut self,
        reactor: &Reactor,
        stream: u32,
        kind: u8,
        message: &impl Message,
    ) -> io::Result<()> {
        frame::encode(&mut self.out, stream, kind, &message.encode_to_vec())
            .map_err(io::Error::other)?;
        self.flush(reactor)
    }

    pub fn flush(&mut self, reactor: &Reactor) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.backlog() == 0 {
            self.out = Vec::new();
            self.sent = 0;
        } else if self.sent > SCRATCH_BYTES {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        self.watch(reactor);
        Ok(())
    }

    /// Takes what has come; false = the peer has closed.
    pub fn receive(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        if self.backlog() > MAX_BACKLOG {
            return Ok(true);
        }
        match self.stream.read(scratch) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.decoder.push(scratch.get(..count).unwrap_or_default());
                Ok(true)
            }
            Err(error) if is_not_now(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub fn next_frame(&mut self) -> Result<Option<Frame>, frame::TooLong> {
        self.decoder.next_frame()
    }

    fn backlog(&self) -> usize {
        self.out.len().saturating_sub(self.sent)
    }

    fn watch(&mut self, reactor: &Reactor) {
        let backlog = self.backlog();
        let read = if backlog > MAX_BACKLOG { 0 } else { READ };
        let write = if backlog > 0 { WRITE } else { 0 };
        self.watch.set(reactor, &self.stream, read | write);
    }
}

/// A non-blocking descriptor has nothing, or no room, at the moment.
pub fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
