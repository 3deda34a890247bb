//! Frames: cutting them out of what comes, and writing them.

use std::collections::VecDeque;

use super::{ABORT, CREDIT, DATA, FIN, MAX_NAME, MAX_PAYLOAD, MAX_REASON, NONCE_BYTES, OPEN};
use super::{HELLO, RESET, VERSION};

const HEADER: usize = 8;
const LINK_PAYLOAD: usize = 4 + NONCE_BYTES;
const LINK_FRAME: usize = HEADER + LINK_PAYLOAD;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub id: u32,
    pub kind: u8,
    length: usize,
}

#[derive(Debug)]
pub enum Item<'a> {
    /// The frame that was hunted for.
    Link {
        version: u32,
        nonce: [u8; NONCE_BYTES],
    },
    DataBegins {
        id: u32,
        length: usize,
    },
    Data {
        id: u32,
        piece: &'a [u8],
    },
    /// Any other frame, whole.
    Frame {
        header: Header,
        payload: Vec<u8>,
    },
}

enum State {
    /// Framing is not known: everything is passed over up to this frame.
    Hunt {
        kind: u8,
        nonce: Option<[u8; NONCE_BYTES]>,
    },
    Header,
    Payload(Header),
    Data {
        id: u32,
        left: usize,
    },
}

/// Holds at most one frame that is not DATA, or a header.
pub struct Parser {
    state: State,
    held: Vec<u8>,
}

impl Parser {
    /// Waits for a frame of `kind` with, where it is known, this nonce.
    pub fn hunting(kind: u8, nonce: Option<[u8; NONCE_BYTES]>) -> Parser {
        Parser {
            state: State::Hunt { kind, nonce },
            held: Vec::new(),
        }
    }

    /// Takes from `bytes` what makes the next item; `None` = all are taken.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Item<'a>>, &'static str> {
        loop {
            match self.state {
                State::Hunt { kind, nonce } => return Ok(self.hunt(kind, nonce, bytes)),
                State::Header => {
                    if !self.hold(bytes, HEADER) {
                        return Ok(None);
                    }
                    let header = header(&self.held)?;
                    self.held.clear();
                    if header.kind != DATA {
                        self.state = State::Payload(header);
                        continue;
                    }
                    let (id, length) = (header.id, header.length);
                    self.state = State::Data { id, left: length };
                    return Ok(Some(Item::DataBegins { id, length }));
                }
                State::Payload(header) => {
                    if !self.hold(bytes, header.length) {
                        return Ok(None);
                    }
                    self.state = State::Header;
                    let payload = std::mem::take(&mut self.held);
                    return Ok(Some(Item::Frame { header, payload }));
                }
                State::Data { left: 0, .. } => self.state = State::Header,
                State::Data { id, left } => {
                    let (piece, rest) = bytes.split_at(bytes.len().min(left));
                    if piece.is_empty() {
                        return Ok(None);
                    }
                    *bytes = rest;
                    let left = left - piece.len();
                    self.state = State::Data { id, left };
                    return Ok(Some(Item::Data { id, piece }));
                }
            }
        }
    }

    /// True when `held` has `want` bytes.
    fn hold(&mut self, bytes: &mut &[u8], want: usize) -> bool {
        let missing = want.saturating_sub(self.held.len());
        let (piece, rest) = bytes.split_at(bytes.len().min(missing));
        self.held.extend_from_slice(piece);
        *bytes = rest;
        self.held.len() == want
    }

    fn hunt(
        &mut self,
        kind: u8,
        nonce: Option<[u8; NONCE_BYTES]>,
        bytes: &mut &[u8],
    ) -> Option<Item<'static>> {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let found = self
            .held
            .windows(LINK_FRAME)
            .position(|frame| is_link(frame, kind, nonce));
        let Some(at) = found else {
            let useless = self.held.len().saturating_sub(LINK_FRAME - 1);
            self.held = self.held.split_off(useless);
            *bytes = &[];
            return None;
        };
        // Before, no whole frame was held: its end is in what has come now.
        let end = at + LINK_FRAME;
        *bytes = bytes.get(end - before..).unwrap_or_default();
        let frame = self.held.get(at + HEADER..end).and_then(link);
        self.held = Vec::new();
        self.state = State::Header;
        frame.map(|(version, nonce)| Item::Link { version, nonce })
    }
}

fn is_link(frame: &[u8], kind: u8, nonce: Option<[u8; NONCE_BYTES]>) -> bool {
    frame.starts_with(&[0, 0, 0, 0, kind, 0, 0, LINK_PAYLOAD as u8])
        && nonce.is_none_or(|nonce| frame.ends_with(&nonce))
}

fn header(bytes: &[u8]) -> Result<Header, &'static str> {
    let Some([i0, i1, i2, i3, kind, reserved, l0, l1]) = bytes.first_chunk::<HEADER>().copied()
    else {
        return Err("a header that is too short");
    };
    let header = Header {
        id: u32::from_be_bytes([i0, i1, i2, i3]),
        kind,
        length: usize::from(u16::from_be_bytes([l0, l1])),
    };
    let most = match kind {
        RESET | HELLO => LINK_PAYLOAD,
        OPEN => 4 + MAX_NAME,
        DATA => MAX_PAYLOAD,
        CREDIT => 4,
        FIN => 0,
        ABORT => MAX_REASON,
        _ => return Err("a frame of an unknown kind"),
    };
    let of_link = matches!(kind, RESET | HELLO);
    if reserved != 0 || header.length > most || of_link != (header.id == 0) {
        return Err("a malformed header");
    }
    Ok(header)
}

/// The payload of RESET and HELLO.
pub fn link(payload: &[u8]) -> Option<(u32, [u8; NONCE_BYTES])> {
    let (version, nonce) = payload.split_first_chunk::<4>()?;
    let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).ok()?;
    Some((u32::from_be_bytes(*version), nonce))
}

/// The payload of OPEN: initial credit, name.
pub fn open(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (credit, name) = payload.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*credit), name))
}

pub fn number(payload: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(<[u8; 4]>::try_from(payload).ok()?))
}

fn put_header(out: &mut Vec<u8>, id: u32, kind: u8, length: usize) {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(&length.to_be_bytes());
}

pub fn put_link(out: &mut Vec<u8>, kind: u8, nonce: [u8; NONCE_BYTES]) {
    put_header(out, 0, kind, LINK_PAYLOAD);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&nonce);
}

pub fn put_open(out: &mut Vec<u8>, id: u32, credit: u32, name: &str) {
    put_header(out, id, OPEN, 4 + name.len());
    out.extend_from_slice(&credit.to_be_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// The first `count` bytes of `queue`, which has as many.
pub fn put_data(out: &mut Vec<u8>, id: u32, queue: &VecDeque<u8>, count: usize) {
    put_header(out, id, DATA, count);
    let (first, second) = queue.as_slices();
    let head = first.get(..count).unwrap_or(first);
    out.extend_from_slice(head);
    out.extend_from_slice(second.get(..count - head.len()).unwrap_or_default());
}

pub fn put_credit(out: &mut Vec<u8>, id: u32, count: u32) {
    put_header(out, id, CREDIT, 4);
    out.extend_from_slice(&count.to_be_bytes());
}

pub fn put_fin(out: &mut Vec<u8>, id: u32) {
    put_header(out, id, FIN, 0);
}

pub fn put_abort(out: &mut Vec<u8>, id: u32, reason: &str) {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default();
    put_header(out, id, ABORT, reason.len());
    out.extend_from_slice(reason.as_bytes());
}
