//! What is asked of a whole machine's guest alone.

use trine_wire::agent::FreezeRequest;

use crate::agent::Agent;
use crate::answer::{Call, Code, Failure, Handled, Outcome, decode, failure, reply};
use crate::info;

pub fn guest_info(agent: &Agent) -> Handled {
    check(agent.is_machine)?;
    reply(&info::of_guest(agent.is_frozen()))
}

pub fn freeze(agent: &mut Agent, call: Call, payload: &[u8]) -> Handled {
    // Of an agent that is tried out beside other programs the file systems are theirs.
    check(agent.is_machine && agent.outlives_host)?;
    let request: FreezeRequest = decode(payload)?;
    Ok(match agent.freeze(call, &request)? {
        Some(response) => Outcome::Now(response),
        None => Outcome::Later,
    })
}

pub fn thaw(agent: &mut Agent, call: Call) -> Handled {
    if !(agent.is_machine && agent.outlives_host) {
        return Ok(Outcome::Now(Vec::new())); // it freezes nothing either
    }
    Ok(match agent.thaw(call)? {
        Some(response) => Outcome::Now(response),
        None => Outcome::Later,
    })
}

fn check(is_machines: bool) -> Result<(), Failure> {
    if is_machines {
        return Ok(());
    }
    let text = "this guest is no whole machine";
    Err(failure(Code::FailedPrecondition, text))
}
