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
    /// A frame has been left where it is until the peer has taken its answers.
    withheld: bool,
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
            withheld: false,
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
        if self.is_stuck() {
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

    /// None either while the peer does not take what it has asked for already.
    pub fn next_frame(&mut self, reactor: &Reactor) -> Result<Option<Frame>, frame::TooLong> {
        self.withheld = self.is_stuck();
        self.watch(reactor);
        if self.withheld {
            return Ok(None);
        }
        self.decoder.next_frame()
    }

    /// More waits for the peer than it may ask for.
    pub fn is_stuck(&self) -> bool {
        self.backlog() > MAX_BACKLOG
    }

    pub fn is_flushed(&self) -> bool {
        self.backlog() == 0
    }

    fn backlog(&self) -> usize {
        self.out.len().saturating_sub(self.sent)
    }

    fn watch(&mut self, reactor: &Reactor) {
        let read = if self.is_stuck() { 0 } else { READ };
        // Withheld frames are in no socket: room for answers is what tells of them.
        let write = if self.backlog() > 0 || self.withheld {
            WRITE
        } else {
            0
        };
        self.watch.set(reactor, &self.stream, read | write);
    }
}

/// A non-blocking descriptor has nothing, or no room, at the moment.
pub fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_wire::ttrpc::{Request, Response};

    fn ask(to: &mut UnixStream, count: u32) {
        let mut bytes = Vec::new();
        for stream in 0..count {
            let body = Request::default().encode_to_vec();
            frame::encode(&mut bytes, stream * 2 + 1, frame::REQUEST, &body).expect("short");
        }
        to.write_all(&bytes).expect("the socket takes it");
    }

    /// Answers all that is given out with half a MiB each.
    fn serve(link: &mut Link, reactor: &Reactor) -> u32 {
        let response = Response {
            status: None,
            payload: vec![7; 512 << 10],
        };
        let mut served = 0;
        while let Some(frame) = link.next_frame(reactor).expect("sound frames") {
            let sent = link.send(reactor, frame.stream, frame::RESPONSE, &response);
            sent.expect("the peer is there");
            served += 1;
        }
        served
    }

    #[test]
    fn many_short_requests_in_one_piece_cost_no_unbounded_memory() {
        let reactor = Reactor::new().expect("epoll");
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        let token = Token::Connection(1);
        let mut link = Link::new(ours, token, &reactor).expect("link");
        ask(&mut theirs, 1000);
        assert!(link.receive(&mut [0; SCRATCH_BYTES]).expect("open"));
        let mut served = serve(&mut link, &reactor);
        assert!(served < 100 && link.out.len() < MAX_BACKLOG + (2 << 20));
        theirs.set_nonblocking(true).expect("non-blocking");
        let mut part = vec![0; 1 << 20];
        while served < 1000 {
            while theirs.read(&mut part).is_ok() {}
            assert_eq!(reactor.wait(None), [token], "nobody tells of the rest");
            link.flush(&reactor).expect("open");
            assert!(link.receive(&mut [0; SCRATCH_BYTES]).expect("open"));
            served += serve(&mut link, &reactor);
        }
    }
}
