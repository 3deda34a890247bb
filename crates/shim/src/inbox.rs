//! Bytes on their way to somebody slow: queues that are bounded and know what they have had already.

use std::collections::VecDeque;
use std::io::{self, Write};

use crate::link::is_not_now;

const MAX_QUEUE: usize = 256 << 10;

/// Bytes a peer sends by offset: what is known already is skipped, a gap is refused, at most 256 KiB wait.
#[derive(Default)]
pub struct Inbox {
    queue: VecDeque<u8>,
    next: u64,
}

#[derive(Debug, PartialEq)]
pub enum Offer {
    /// The next offset wanted.
    Taken(u64),
    /// Nothing fits at the moment.
    Full,
    /// The offset is beyond what is known; the next one wanted.
    Gap(u64),
}

impl Inbox {
    pub fn offer(&mut self, offset: u64, data: &[u8]) -> Offer {
        let Some(known) = self.next.checked_sub(offset) else {
            return Offer::Gap(self.next);
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let fresh = data.get(known..).unwrap_or_default();
        if fresh.is_empty() {
            return Offer::Taken(self.next);
        }
        let room = MAX_QUEUE.saturating_sub(self.queue.len());
        let fitting = fresh.get(..room).unwrap_or(fresh);
        if fitting.is_empty() {
            return Offer::Full;
        }
        self.queue.extend(fitting);
        self.next += fitting.len() as u64;
        Offer::Taken(self.next)
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes until the other side takes no more. An error means it is gone.
    pub fn write_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        write_queue(&mut self.queue, out)
    }

    pub fn clear(&mut self) {
        self.queue = VecDeque::new();
    }
}

/// Writes until the other side takes no more; an emptied queue gives its memory back.
pub fn write_queue(queue: &mut VecDeque<u8>, out: &mut impl Write) -> io::Result<()> {
    while !queue.is_empty() {
        match out.write(queue.as_slices().0) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => drop(queue.drain(..count.min(queue.len()))),
            Err(error) if is_not_now(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    *queue = VecDeque::new();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_make_a_repeated_write_harmless() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.offer(0, b"hello"), Offer::Taken(5));
        assert_eq!(inbox.offer(0, b"hello"), Offer::Taken(5));
        assert_eq!(inbox.offer(3, b"lo wo"), Offer::Taken(8));
        assert_eq!(inbox.offer(9, b"x"), Offer::Gap(8));
        assert_eq!(inbox.offer(0, b"he"), Offer::Taken(8));
        let mut out = Vec::new();
        inbox.write_to(&mut out).expect("memory");
        assert_eq!(out, b"hello wo");
    }

    #[test]
    fn an_inbox_is_bounded_and_takes_the_rest_later() {
        let mut inbox = Inbox::default();
        let data = vec![1; MAX_QUEUE + 10];
        assert_eq!(inbox.offer(0, &data), Offer::Taken(MAX_QUEUE as u64));
        assert_eq!(inbox.offer(MAX_QUEUE as u64, b"x"), Offer::Full);
        inbox.write_to(&mut Vec::new()).expect("memory");
        assert_eq!(inbox.offer(0, &data), Offer::Taken(data.len() as u64));
    }
}
