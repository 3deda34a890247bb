//! The guest link: many byte streams over the one port between a machine and its host. This is the state
//! machine of either end; it does no I/O and knows no time.
//!
//! ```text
//! port ──receive──▶ Mux ──poll_event──▶ Opened, Readable, Writable, Aborted, Ready, Failed
//! port ◀──output──  Mux ◀── open, send, fin, abort, consume
//! ```
//!
//! Frame: `stream id u32 | kind u8 | reserved u8 = 0 | payload length u16`, big-endian, payload at most
//! 32 KiB. Kinds: RESET (host's first frame: version u32 and nonce of 16 bytes), HELLO (the guest's answer,
//! the same), OPEN (initial credit u32, name), DATA, CREDIT (u32), FIN, ABORT (reason).
//!
//! How to use it:
//! * Bytes that came go to [`Mux::receive`], in pieces of any size. Then [`Mux::poll_event`] until `None`.
//! * While [`Mux::output`] is not empty, write it to the port and tell [`Mux::written`]. It takes turns between
//!   the streams, so it may raise `Writable`: poll events after it too.
//! * Data lies in the Mux until the user has a place for it: [`Mux::data`] shows what is unread,
//!   [`Mux::consume`] takes it and lets the peer send more. `Readable` comes when there is new data or the
//!   peer's FIN ([`Mux::at_end`]); what was left unread then is not announced again.
//! * [`Mux::send`] takes what there is room for; after it took the last of it, `Writable` comes when there is
//!   room again.
//! * A stream is gone when both sides are at their FIN and everything has been read, or after an abort.
//!   All calls accept ids that are gone: nothing is sent, nothing is read, `at_end` is true.
//! * `Ready` (host: the guest has answered; guest: the host has reset the link) and `Failed` end all streams of
//!   before without an event for each. A host that failed calls [`Mux::reset`], a guest waits for it.
//!
//! The peer is hostile: whatever it sends, at most 32 MiB are held for it, and one stream that is not read
//! delays no other.

mod incoming;
mod parse;
mod stream;

use std::collections::{BTreeMap, VecDeque};

use parse::Parser;
use stream::Stream;

pub const VERSION: u32 = 1;
pub const NONCE_BYTES: usize = 16;
pub const MAX_PAYLOAD: usize = 32 << 10;
pub const MAX_STREAMS: usize = 1024;
/// Bytes of a stream's name.
pub const MAX_NAME: usize = 1024;
/// Bytes of an abort's reason.
pub const MAX_REASON: usize = 256;

const RESET: u8 = 1;
const HELLO: u8 = 2;
const OPEN: u8 = 3;
const DATA: u8 = 4;
const CREDIT: u8 = 5;
const FIN: u8 = 6;
const ABORT: u8 = 7;

/// Output is made in pieces of about this many bytes; what is urgent waits for no more.
const PIECE: usize = 64 << 10;
/// Answers that a peer which does not read may make wait.
const MAX_CONTROL: usize = 256 << 10;
/// Bytes kept for later when a buffer becomes empty; more goes back.
const KEPT: usize = 4 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The link is open, and new: streams of before are gone.
    Ready,
    /// The peer wants a stream. Refuse with `abort`.
    Opened {
        id: u32,
        name: String,
    },
    Readable(u32),
    Writable(u32),
    /// The peer ended both directions, or broke the rules of this stream. What was unread is gone.
    Aborted {
        id: u32,
        reason: String,
    },
    /// The peer broke the rules of the link: all streams are gone.
    Failed(&'static str),
}

/// Why a stream cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    NotReady,
    TooMany,
    /// The name is longer than [`MAX_NAME`].
    Name,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refused::NotReady => "the guest link is not open",
            Refused::TooMany => "the guest link has too many streams",
            Refused::Name => "the stream's name is too long",
        })
    }
}

impl std::error::Error for Refused {}

pub struct Mux {
    is_host: bool,
    ready: bool,
    failed: bool,
    parser: Parser,
    streams: BTreeMap<u32, Stream>,
    /// Streams that have something to send, each once.
    turns: VecDeque<u32>,
    events: VecDeque<Event>,
    next_id: u32,
    /// The peer's newest; it may not go back.
    peer_id: u32,
    /// Frames that wait for no credit.
    control: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
}

impl Mux {
    /// The host's end. `nonce` is random: it tells the answer from what is left of an earlier link.
    pub fn host(nonce: [u8; NONCE_BYTES]) -> Mux {
        let mut mux = Mux::new(true, 1);
        mux.reset(nonce);
        mux
    }

    pub fn guest() -> Mux {
        Mux::new(false, 2)
    }

    fn new(is_host: bool, next_id: u32) -> Mux {
        Mux {
            is_host,
            ready: false,
            failed: false,
            parser: Parser::hunting(RESET, None),
            streams: BTreeMap::new(),
            turns: VecDeque::new(),
            events: VecDeque::new(),
            next_id,
            peer_id: 0,
            control: Vec::new(),
            out: Vec::new(),
            sent: 0,
        }
    }

    /// Host: opens the link anew. Streams are gone; `Ready` comes with the guest's answer. A guest's end is
    /// reset by its host alone: for it this does nothing.
    pub fn reset(&mut self, nonce: [u8; NONCE_BYTES]) {
        if !self.is_host {
            return;
        }
        self.forget();
        self.failed = false;
        self.parser = Parser::hunting(HELLO, Some(nonce));
        parse::put_link(&mut self.control, RESET, nonce);
    }

    /// Streams can be opened.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// What began in `out` is finished: the peer counts on whole frames.
    fn forget(&mut self) {
        self.ready = false;
        self.streams.clear();
        self.turns.clear();
        self.events.clear();
        self.control = Vec::new();
        self.peer_id = 0;
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        match &event {
            Some(Event::Readable(id)) => {
                if let Some(stream) = self.streams.get_mut(id) {
                    stream.told = false;
                }
            }
            // An idle link costs nothing.
            None if self.events.capacity() > 64 => self.events = VecDeque::new(),
            _ => {}
        }
        event
    }

    /// Opens a stream. The name tells the peer what to join it with.
    pub fn open(&mut self, name: &str) -> Result<u32, Refused> {
        if name.len() > MAX_NAME {
            return Err(Refused::Name);
        }
        // Ids that have run out are as good as a link that has to be reset.
        let next = self.next_id.checked_add(2).ok_or(Refused::NotReady)?;
        if !self.ready {
            return Err(Refused::NotReady);
        }
        if self.streams.len() >= MAX_STREAMS || self.control.len() > MAX_CONTROL / 2 {
            return Err(Refused::TooMany);
        }
        let id = std::mem::replace(&mut self.next_id, next);
        let stream = Stream::new(self.takes_wide(), 0);
        parse::put_open(&mut self.control, id, stream.window(), name);
        self.streams.insert(id, stream);
        Ok(id)
    }

    /// How much of `bytes` has been taken.
    pub fn send(&mut self, id: u32, bytes: &[u8]) -> usize {
        let Some(stream) = self.streams.get_mut(&id) else {
            return 0;
        };
        let taken = stream.push(bytes);
        self.take_turn(id);
        taken
    }

    /// How much `send` would take.
    pub fn room(&self, id: u32) -> usize {
        self.streams.get(&id).map_or(0, Stream::room)
    }

    /// No more will be sent; what was taken before still goes out.
    pub fn fin(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.finish();
            self.take_turn(id);
        }
    }

    /// Ends both directions, now.
    pub fn abort(&mut self, id: u32, reason: &str) {
        if self.streams.remove(&id).is_some() {
            self.refuse(id, reason);
        }
    }

    /// What has come and was not consumed, or the first part of it.
    pub fn data(&self, id: u32) -> &[u8] {
        self.streams.get(&id).map_or(&[], Stream::data)
    }

    /// The first `count` bytes of `data` are done with.
    pub fn consume(&mut self, id: u32, count: usize) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.consume(count);
            if stream.is_over() {
                self.streams.remove(&id);
            } else {
                self.take_turn(id);
            }
        }
    }

    /// The peer sends no more and everything has been consumed; also when the stream is gone.
    pub fn at_end(&self, id: u32) -> bool {
        self.streams.get(&id).is_none_or(Stream::at_end)
    }

    /// The peer has read that the stream was opened, which says that it runs; also when the stream is gone. Of one that
    /// it has not, `Writable` comes when it has, or `Aborted`.
    pub fn is_answered(&mut self, id: u32) -> bool {
        self.streams.get_mut(&id).is_none_or(Stream::is_answered)
    }

    /// Bytes for the peer; empty = nothing to send now.
    pub fn output(&mut self) -> &[u8] {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            self.fill();
            if self.out.is_empty() && self.out.capacity() > KEPT {
                self.out = Vec::new();
            }
        }
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// The first `count` bytes of `output` are on their way.
    pub fn written(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.out.len());
    }

    /// One frame of each stream that has something and may send, then again.
    fn fill(&mut self) {
        self.out.append(&mut self.control);
        self.control = Vec::new();
        while self.out.len() < PIECE {
            let Some(id) = self.turns.pop_front() else {
                self.turns = VecDeque::new();
                return;
            };
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.in_turn = false;
            if stream.write_turn(id, &mut self.out) {
                self.events.push_back(Event::Writable(id));
            }
            if stream.is_over() {
                self.streams.remove(&id);
            } else {
                self.take_turn(id);
            }
        }
    }

    fn take_turn(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.in_turn
            && stream.has_turn()
        {
            stream.in_turn = true;
            self.turns.push_back(id);
        }
    }

    fn takes_wide(&self) -> bool {
        self.streams.values().filter(|s| s.is_wide()).count() < stream::MAX_WIDE
    }
}

#[cfg(test)]
mod tests;
