//! What a call ends in, at once or later, and where its answer goes.

use trine_wire::Message;
pub use trine_wire::answer::{Code, Failure, decode, failure};

pub type Answer = Result<Vec<u8>, Failure>;

/// An answer now, or one that comes when what was begun has ended.
pub enum Outcome {
    Now(Vec<u8>),
    Later,
}

pub type Handled = Result<Outcome, Failure>;

pub fn done() -> Handled {
    Ok(Outcome::Now(Vec::new()))
}

pub fn reply(message: &impl Message) -> Handled {
    Ok(Outcome::Now(message.encode_to_vec()))
}

/// Where an answer goes: the stream of the connection and the call's number on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub stream: u32,
    pub number: u32,
}
