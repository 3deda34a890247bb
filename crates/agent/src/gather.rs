//! Collects the messages of a 9P server: its client in the kernel wakes a worker for every piece it is given, so
//! it is given whole ones.

use std::io;

use crate::sys::invalid;

/// What the client has agreed to with the server.
pub const MSIZE: usize = 128 << 10;
/// A message begins with its length, four bytes, little-endian, itself included; then type and tag.
const LENGTH: usize = 4;
const LEAST: usize = 7;

#[derive(Default)]
pub struct Gather {
    message: Vec<u8>,
    sent: usize,
}

impl Gather {
    /// Takes what belongs to the message that comes in, and answers how much that was.
    pub fn take(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while let Some(missing) = self.missing()? {
            let rest = data.get(taken..).unwrap_or_default();
            let piece = rest.get(..missing).unwrap_or(rest);
            if piece.is_empty() {
                break;
            }
            self.message.extend(piece);
            taken += piece.len();
        }
        Ok(taken)
    }

    /// What of a whole message has not been sent yet; empty while there is none.
    pub fn whole(&self) -> io::Result<&[u8]> {
        Ok(match self.missing()? {
            Some(_) => &[],
            None => self.message.get(self.sent..).unwrap_or_default(),
        })
    }

    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.message.len() {
            self.message.clear();
            self.sent = 0;
        }
    }

    /// Bytes to come before more is known of the message; `None` when it is whole.
    fn missing(&self) -> io::Result<Option<usize>> {
        let have = self.message.len();
        let Some(length) = self.message.first_chunk::<LENGTH>() else {
            return Ok(Some(LENGTH - have));
        };
        let length = u32::from_le_bytes(*length) as usize;
        if !(LEAST..=MSIZE).contains(&length) {
            return Err(invalid(format!("a 9P message of {length} bytes")));
        }
        Ok(Some(length - have).filter(|missing| *missing > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32, byte: u8) -> Vec<u8> {
        let mut message = length.to_le_bytes().to_vec();
        message.resize(length as usize, byte);
        message
    }

    /// What comes out, in the pieces it comes out in, when bytes come in pieces of `size`.
    fn through(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
        let (mut gather, mut out) = (Gather::default(), Vec::new());
        for mut piece in bytes.chunks(size) {
            while !piece.is_empty() {
                let taken = gather.take(piece).expect("well formed");
                piece = piece.get(taken..).expect("no more than there is");
                let whole = gather.whole().expect("well formed").to_vec();
                if !whole.is_empty() {
                    gather.sent(whole.len());
                    out.push(whole);
                }
            }
        }
        out
    }

    #[test]
    fn messages_come_out_whole_whatever_pieces_they_came_in() {
        let all = [
            message(7, 1),
            message(300, 2),
            message(MSIZE as u32, 3),
            message(8, 4),
        ];
        let bytes = all.concat();
        for size in [1, 3, 7, 100, 4096, bytes.len()] {
            assert_eq!(through(&bytes, size), all, "{size}");
        }
    }

    #[test]
    fn a_message_that_is_sent_in_parts_goes_on_where_it_was() {
        let mut gather = Gather::default();
        assert_eq!(gather.take(&message(10, 5)).expect("taken"), 10);
        gather.sent(6);
        assert_eq!(gather.whole().expect("whole"), [5; 4]);
        // The next one waits.
        assert_eq!(gather.take(&message(9, 6)).expect("taken"), 0);
        gather.sent(4);
        assert!(gather.whole().expect("none").is_empty());
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        for length in [0_u32, 6, MSIZE as u32 + 1, u32::MAX] {
            let mut gather = Gather::default();
            assert!(gather.take(&length.to_le_bytes()).is_err(), "{length}");
        }
    }
}
