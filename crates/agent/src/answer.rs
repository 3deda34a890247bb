//! What a call ends in: a payload, or a status of the gRPC kind.

use trine_wire::{Message, ttrpc};

/// The gRPC codes the agent answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A program that could not be started, in the words container tools expect.
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Failure(pub ttrpc::Status);

pub fn failure(code: Code, message: impl Into<String>) -> Failure {
    Failure(ttrpc::Status {
        code: code as i32,
        message: message.into(),
    })
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        let code = match error.kind() {
            std::io::ErrorKind::InvalidInput => Code::InvalidArgument,
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::FailedPrecondition,
        };
        failure(code, error.to_string())
    }
}

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

/// A request's payload as its message.
pub fn decode<T: Message + Default>(payload: &[u8]) -> Result<T, Failure> {
    T::decode(payload).map_err(|e| failure(Code::InvalidArgument, e.to_string()))
}

/// Where an answer goes: the stream of the connection and the call's number on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub stream: u32,
    pub number: u32,
}
