//! Whose each descriptor of the shim's epoll set is.

use trine_linux::Pack;
pub use trine_linux::{READ, WRITE};

pub type Reactor = trine_linux::Reactor<Token>;
pub type Watch = trine_linux::Watch<Token>;

/// The peer sends no more, whatever waits to be read.
pub const HANGUP: u32 = libc::EPOLLRDHUP as u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Listener,
    Signals,
    Connection(u32),
    Trined,
    Publisher,
    Channel(u32),
    /// A process's stdout and stderr FIFO.
    Stdout(u32),
    Stderr(u32),
    Stdin(u32),
    AttachListener(u32),
    AttachClient(u32),
    ChildLog(u32),
    /// A short program's stdin, stdout or stderr.
    Program(u32, u8),
    Dhcp(u32),
    Forward,
    /// Where trined asks for streams of a guest link, and connections joined with them.
    GuestDoor(u32),
    Join(u32),
    Nested,
}

impl Pack for Token {
    fn pack(self) -> u64 {
        let (kind, part, number): (u64, u8, u32) = match self {
            Token::Listener => (1, 0, 0),
            Token::Signals => (2, 0, 0),
            Token::Connection(n) => (3, 0, n),
            Token::Trined => (4, 0, 0),
            Token::Publisher => (5, 0, 0),
            Token::Channel(n) => (6, 0, n),
            Token::Stdout(n) => (7, 0, n),
            Token::Stderr(n) => (8, 0, n),
            Token::Stdin(n) => (9, 0, n),
            Token::AttachListener(n) => (10, 0, n),
            Token::AttachClient(n) => (11, 0, n),
            Token::ChildLog(n) => (12, 0, n),
            Token::Program(n, part) => (13, part, n),
            Token::Dhcp(n) => (14, 0, n),
            Token::Forward => (15, 0, 0),
            Token::GuestDoor(n) => (16, 0, n),
            Token::Join(n) => (17, 0, n),
            Token::Nested => (18, 0, 0),
        };
        kind << 40 | u64::from(part) << 32 | u64::from(number)
    }

    fn unpack(packed: u64) -> Option<Token> {
        let number = packed as u32;
        Some(match packed >> 40 {
            1 => Token::Listener,
            2 => Token::Signals,
            3 => Token::Connection(number),
            4 => Token::Trined,
            5 => Token::Publisher,
            6 => Token::Channel(number),
            7 => Token::Stdout(number),
            8 => Token::Stderr(number),
            9 => Token::Stdin(number),
            10 => Token::AttachListener(number),
            11 => Token::AttachClient(number),
            12 => Token::ChildLog(number),
            13 => Token::Program(number, (packed >> 32) as u8),
            14 => Token::Dhcp(number),
            15 => Token::Forward,
            16 => Token::GuestDoor(number),
            17 => Token::Join(number),
            18 => Token::Nested,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        let tokens = [
            Token::Listener,
            Token::Signals,
            Token::Connection(u32::MAX),
            Token::Trined,
            Token::Publisher,
            Token::Channel(7),
            Token::Stdout(1),
            Token::Stderr(2),
            Token::Stdin(3),
            Token::AttachListener(4),
            Token::AttachClient(5),
            Token::ChildLog(6),
            Token::Program(8, 2),
            Token::Dhcp(9),
            Token::Forward,
            Token::GuestDoor(10),
            Token::Join(11),
            Token::Nested,
        ];
        for token in tokens {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
    }
}
