//! What a call ends in.

pub use trine_wire::answer::{Code, Failure, decode, failure};

pub type Answer = Result<Vec<u8>, Failure>;

pub fn empty() -> Vec<u8> {
    Vec::new()
}
