//! What a call of a ttrpc service ends in: a payload, or a status of the gRPC kind.

use crate::{Message, ttrpc};

/// The gRPC codes our services answer with.
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
    OutOfRange = 11,
    Unimplemented = 12,
    Unavailable = 14,
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
            // The system said no: its words are for whoever looks after the node, so not Internal, which
            // trined keeps to itself.
            _ => Code::FailedPrecondition,
        };
        failure(code, error.to_string())
    }
}

/// A request's payload as its message; hostile bytes are InvalidArgument.
pub fn decode<T: Message + Default>(payload: &[u8]) -> Result<T, Failure> {
    T::decode(payload).map_err(|e| failure(Code::InvalidArgument, e.to_string()))
}
