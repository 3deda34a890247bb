//! The service trine.agent.v1.Agent: a handler a call.

mod containers;
pub mod guest;
mod machine;
mod processes;
mod resources;

use crate::agent::Agent;
use crate::answer::{Call, Code, Failure, Handled, failure};

pub fn dispatch(agent: &mut Agent, call: Call, method: &str, payload: &[u8]) -> Handled {
    // A clone that has not been told who it is would use its template's random numbers and clock.
    if agent.pod.is_none() && method != "Describe" && method != "Revive" {
        return Err(failure(
            Code::FailedPrecondition,
            format!("{method} before Revive: this guest belongs to no pod yet"),
        ));
    }
    crate::machine::check(agent, method)?;
    agent.parking.postpone();
    match method {
        "Describe" => guest::describe(agent),
        "Revive" => guest::revive(agent, payload),
        "SetTime" => guest::set_time(payload),
        "SetNetwork" => guest::set_network(payload),
        "OnlineResources" => guest::online_resources(agent, payload),
        "GuestInfo" => machine::guest_info(agent),
        "Freeze" => machine::freeze(agent, call, payload),
        "Thaw" => machine::thaw(agent, call),
        "Mount" => guest::mount(agent, call, payload),
        "Unmount" => guest::unmount(agent, call, payload),
        "Events" => guest::events(agent, call, payload),
        "CreateContainer" => containers::create(agent, call, payload),
        "RemoveContainer" => containers::remove(agent, call, payload),
        "CreateProcess" => processes::create(agent, call, payload),
        "StartProcess" => processes::start(agent, call, payload),
        "Signal" => processes::signal(agent, payload),
        "Resize" => processes::resize(agent, payload),
        "RemoveProcess" => processes::remove(agent, payload),
        "Pause" => resources::freeze(agent, call, payload, true),
        "Resume" => resources::freeze(agent, call, payload, false),
        "Update" => resources::update(agent, payload),
        "Stats" => resources::stats(agent, payload),
        "Pids" => resources::pids(agent, payload),
        other => Err(failure(Code::Unimplemented, format!("no method {other:?}"))),
    }
}

/// Names become directories and parts of stream names.
fn check_id(id: &str) -> Result<(), Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.is_empty() || id.len() > 128 || !id.chars().all(fine) || id.starts_with('.') {
        return Err(failure(
            Code::InvalidArgument,
            format!("{id:?} is no id: up to 128 of A-Z a-z 0-9 . _ -, not beginning with a dot"),
        ));
    }
    Ok(())
}

fn no_container(id: &str) -> Failure {
    failure(Code::NotFound, format!("no container {id:?}"))
}

fn no_process(container: &str, exec: &str) -> Failure {
    failure(
        Code::NotFound,
        format!("no process {exec:?} in container {container:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_be_paths() {
        check_id("3f1c.a_B-9").expect("fine");
        for bad in ["", "..", ".x", "a/b", "a b", "a\0", &"x".repeat(129)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }
}
