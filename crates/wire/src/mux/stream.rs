//! One stream: what waits in either direction, and what may.

use std::collections::VecDeque;

use super::parse::{put_credit, put_data, put_fin};
use super::{KEPT, MAX_PAYLOAD};

/// Only so many streams at a time get wide windows, so that the sum over all has a bound:
/// 96 × 256 KiB + 928 × 8 KiB < 32 MiB.
pub const MAX_WIDE: usize = 96;
const WIDE_WINDOW: u32 = 256 << 10;
const NARROW_WINDOW: u32 = 8 << 10;
const WIDE_QUEUE: usize = 64 << 10;
const NARROW_QUEUE: usize = 8 << 10;

#[derive(Default)]
pub struct Stream {
    wide: bool,
    /// From the peer, not consumed.
    unread: VecDeque<u8>,
    /// What the peer may still send.
    granted: u32,
    /// Consumed and not given back yet.
    owed: u32,
    peer_fin: bool,
    /// For the peer.
    queue: VecDeque<u8>,
    /// What may still be sent.
    credit: u32,
    /// The peer has granted something: the first it does with a stream.
    answered: bool,
    /// Somebody waits for that.
    wants_answer: bool,
    fin_wanted: bool,
    fin_sent: bool,
    /// `push` has filled it.
    wants_room: bool,
    /// It stands in the queue of turns.
    pub in_turn: bool,
    /// A Readable event waits.
    pub told: bool,
}

impl Stream {
    pub fn new(wide: bool, credit: u32) -> Stream {
        let mut stream = Stream {
            wide,
            credit,
            ..Stream::default()
        };
        stream.granted = stream.window();
        stream
    }

    pub fn is_wide(&self) -> bool {
        self.wide
    }

    pub fn window(&self) -> u32 {
        if self.wide {
            WIDE_WINDOW
        } else {
            NARROW_WINDOW
        }
    }

    fn queue_limit(&self) -> usize {
        if self.wide { WIDE_QUEUE } else { NARROW_QUEUE }
    }

    /// The peer opened it: the window goes to it in a frame of its own.
    pub fn grant_window(&mut self) {
        self.granted = 0;
        self.owed = self.window();
    }

    pub fn room(&self) -> usize {
        if self.fin_wanted {
            return 0;
        }
        self.queue_limit().saturating_sub(self.queue.len())
    }

    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let fitting = bytes.get(..self.room()).unwrap_or(bytes);
        self.queue.extend(fitting);
        self.wants_room |= self.room() == 0 && !self.fin_wanted;
        fitting.len()
    }

    pub fn finish(&mut self) {
        self.fin_wanted = true;
        self.wants_room = false;
    }

    pub fn data(&self) -> &[u8] {
        self.unread.as_slices().0
    }

    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.unread.len());
        self.unread.drain(..count);
        self.owed = self.owed.saturating_add(count as u32);
        give_back(&mut self.unread);
    }

    pub fn at_end(&self) -> bool {
        self.peer_fin && self.unread.is_empty()
    }

    pub fn is_answered(&mut self) -> bool {
        self.wants_answer = !self.answered;
        self.answered
    }

    /// True: somebody waited for it.
    pub fn take_answer(&mut self) -> bool {
        self.answered = true;
        std::mem::take(&mut self.wants_answer)
    }

    pub fn is_over(&self) -> bool {
        self.at_end() && self.fin_sent
    }

    /// False: more than it may send.
    pub fn expect(&mut self, length: usize) -> bool {
        let length = length as u32;
        if self.peer_fin || length > self.granted {
            return false;
        }
        self.granted -= length;
        self.unread.reserve(length as usize);
        true
    }

    pub fn received(&mut self, piece: &[u8]) {
        self.unread.extend(piece);
    }

    pub fn peer_finished(&mut self) {
        self.peer_fin = true;
    }

    /// False: it cannot be that much.
    pub fn add_credit(&mut self, count: u32) -> bool {
        let sum = self.credit.checked_add(count);
        self.credit = sum.unwrap_or(self.credit);
        sum.is_some()
    }

    fn owes_credit(&self) -> bool {
        // In large pieces: a frame for every few bytes would double the traffic.
        !self.peer_fin && self.owed >= self.window() / 4
    }

    pub fn has_turn(&self) -> bool {
        let data = !self.queue.is_empty() && self.credit > 0;
        let fin = self.fin_wanted && self.queue.is_empty() && !self.fin_sent;
        self.owes_credit() || data || fin
    }

    /// At most one frame of data. True: there is room again and somebody waits for it.
    pub fn write_turn(&mut self, id: u32, out: &mut Vec<u8>) -> bool {
        if self.owes_credit() {
            self.granted = self.granted.saturating_add(self.owed);
            put_credit(out, id, std::mem::take(&mut self.owed));
        }
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        let count = self.queue.len().min(credit).min(MAX_PAYLOAD);
        if count > 0 {
            put_data(out, id, &self.queue, count);
            self.queue.drain(..count);
            self.credit -= count as u32;
            give_back(&mut self.queue);
        }
        if self.fin_wanted && self.queue.is_empty() && !self.fin_sent {
            self.fin_sent = true;
            put_fin(out, id);
        }
        let room = self.wants_room && self.queue.len() <= self.queue_limit() / 2;
        self.wants_room &= !room;
        room
    }
}

/// An idle stream costs no memory.
fn give_back(queue: &mut VecDeque<u8>) {
    if queue.is_empty() && queue.capacity() > KEPT {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
impl Stream {
    pub fn memory(&self) -> usize {
        self.unread.capacity() + self.queue.capacity() + size_of::<Stream>()
    }

    pub fn unread_now(&self) -> usize {
        self.unread.len()
    }

    pub fn granted_now(&self) -> u32 {
        self.granted
    }
}
