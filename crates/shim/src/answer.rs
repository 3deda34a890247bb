//! What a call ends in: a payload, or a status of the gRPC kind.

use trine_wire::{Message, ttrpc};

/// The gRPC codes the shim answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    OutOfRange = 11,
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
            // The host said no: its words are for whoever looks after the node, so not Internal, which trined
            // keeps to itself.
            _ => Code::FailedPrecondition,
        };
        failure(code, error.to_string())
    }
}

pub type Answer = Result<Vec<u8>, Failure>;

pub fn empty() -> Vec<u8> {
    Vec::new()
}

/// A request's payload as its message; hostile bytes are InvalidArgument.
pub fn decode<T: Message + Default>(payload: &[u8]) -> Result<T, Failure> {
    T::decode(payload).map_err(|e| failure(Code::InvalidArgument, e.to_string()))
}
