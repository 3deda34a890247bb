//! Pause, limits and figures of a container.

use trine_wire::agent::{ContainerRequest, PidsResponse, UpdateRequest};

use super::no_container;
use crate::agent::{Agent, PATIENCE};
use crate::answer::{Call, Handled, Outcome, decode, done, reply};
use crate::container::spec::Resources;
use crate::stats::{self, whole};

/// Answered when everything in the container stands still; thawing needs no waiting.
pub fn freeze(agent: &mut Agent, call: Call, payload: &[u8], frozen: bool) -> Handled {
    let request: ContainerRequest = decode(payload)?;
    let id = request.container.as_str();
    let container = agent
        .containers
        .get_mut(id)
        .ok_or_else(|| no_container(id))?;
    container.group.freeze(frozen)?;
    if !frozen || container.group.is_frozen() {
        return done();
    }
    container.freezing.push(call);
    agent.wait_at_most(call, PATIENCE);
    Ok(Outcome::Later)
}

pub fn update(agent: &mut Agent, payload: &[u8]) -> Handled {
    let request: UpdateRequest = decode(payload)?;
    let id = request.container.as_str();
    let resources = Resources::parse(&request.resources)?;
    let container = agent.containers.get(id).ok_or_else(|| no_container(id))?;
    container.group.has_room(&resources.memory)?;
    container.group.limit(&resources)?;
    done()
}

pub fn stats(agent: &mut Agent, payload: &[u8]) -> Handled {
    let request: ContainerRequest = decode(payload)?;
    let id = request.container.as_str();
    let container = agent.containers.get(id).ok_or_else(|| no_container(id))?;
    reply(&match agent.is_machine {
        true => whole::figures(),
        false => stats::of(&container.group),
    })
}

pub fn pids(agent: &mut Agent, payload: &[u8]) -> Handled {
    let request: ContainerRequest = decode(payload)?;
    let id = request.container.as_str();
    let container = agent.containers.get(id).ok_or_else(|| no_container(id))?;
    reply(&PidsResponse {
        pids: container.group.pids(),
    })
}
