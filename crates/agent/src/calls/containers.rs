//! CreateContainer and RemoveContainer.

use std::os::fd::OwnedFd;

use trine_wire::agent::{CreateContainerRequest, RemoveContainerRequest, RemoveContainerResponse};

use super::check_id;
use crate::agent::{Agent, PATIENCE};
use crate::answer::{Call, Code, Handled, Outcome, decode, done, failure, reply};
use crate::container::Container;
use crate::container::cgroup::Group;
use crate::container::console;
use crate::container::init::Place;
use crate::container::namespaces::Wanted;
use crate::container::parked::Parked;
use crate::container::spawn::{Order, spawn};
use crate::container::spec::Spec;
use crate::process::{Process, Stage};
use crate::reactor::{CHANGED, Token, Watched};
use crate::sys::invalid;

const MAX_CONTAINERS: usize = 256;

/// Answered when the first process is ready to be started, or could not be made.
pub fn create(agent: &mut Agent, call: Call, payload: &[u8]) -> Handled {
    let request: CreateContainerRequest = decode(payload)?;
    let id = request.container.as_str();
    check_id(id)?;
    if let Some(process) = agent.find(id, "").and_then(|n| agent.processes.get(&n)) {
        // A repeated request finds the work done.
        return match process.stage {
            Stage::Preparing(_) => Err(failure(
                Code::AlreadyExists,
                format!("container {id:?} is being made"),
            )),
            _ => done(),
        };
    }
    if agent.containers.len() >= MAX_CONTAINERS {
        return Err(failure(
            Code::ResourceExhausted,
            format!("{MAX_CONTAINERS} containers are in this guest already"),
        ));
    }
    let others = agent.containers.values().flat_map(|c| &c.disks);
    let in_use: Vec<String> = others.cloned().collect();
    let spec = Spec::asked(&request, &in_use)?;
    let number = agent.number();
    // A child does not look for other devices than its root's.
    let parked = match request.devices.is_empty() {
        true => agent
            .parking
            .take(&Wanted::of(&spec.linux.namespaces)?, payload.len()),
        false => None,
    };
    let in_vain = parked.as_ref().map(|(p, g)| (p.pid, g.name().to_owned()));
    let (parked, group) = parked.unzip();
    let made = make(
        agent,
        number,
        (&request, spec),
        group,
        |agent, container| {
            let parked = parked.map(|parked| (parked, payload));
            first_process(agent, container, &request, call, parked)
        },
    );
    match made {
        Ok((container, process)) => {
            agent.processes.insert(number, process);
            agent.containers.insert(id.to_owned(), container);
            Ok(Outcome::Later)
        }
        Err(error) => {
            if let Some((pid, group)) = in_vain {
                agent.parking.in_vain(pid, group);
            }
            Err(error.into())
        }
    }
}

/// The container and its first process. An error leaves nothing but what waited for it.
fn make(
    agent: &mut Agent,
    number: u32,
    (request, spec): (&CreateContainerRequest, Spec),
    parked: Option<Group>,
    first_process: impl FnOnce(&mut Agent, &Container) -> std::io::Result<Process>,
) -> std::io::Result<(Container, Process)> {
    let id = request.container.as_str();
    let mut container = Container::make(&agent.groups, number, id, spec, parked)?;
    watch(agent, &mut container, number);
    match first_process(agent, &container) {
        Ok(process) => Ok((container, process)),
        Err(error) => {
            // One with a process in it goes when that has ended.
            let _ = agent.groups.remove(container.group.name());
            Err(error)
        }
    }
}

fn first_process(
    agent: &mut Agent,
    container: &Container,
    request: &CreateContainerRequest,
    call: Call,
    parked: Option<(Parked, &[u8])>,
) -> std::io::Result<Process> {
    let empty = Default::default();
    if container.wanted.pod_pids {
        agent.ensure_pod_pids()?;
    }
    let pids = match &container.wanted.pids_of {
        Some(target) => {
            let first = agent.find(target, "");
            let first = first.and_then(|number| agent.processes.get(&number));
            Some(pids_of(target, agent.containers.get(target), first)?)
        }
        None if container.wanted.pod_pids => agent.pod_pids.as_ref().map(|pids| &pids.namespace),
        None => None,
    };
    let pids = pids.map(|pids| (pids, &agent.own_pids));
    let order = Order {
        process: container.spec.process.as_ref().unwrap_or(&empty),
        place: Place::New(&container.spec, &container.wanted),
        terminal: request
            .terminal
            .then(|| console::size(request.width, request.height)),
        stdin: request.stdin,
        filter: container.filter.as_ref(),
        group: &container.group,
        pids,
        parked,
    };
    let child = spawn(order, &mut agent.relays)?;
    let name = (request.container.as_str(), "");
    let mut process = Process::new(container.number, call, name, child, &agent.reactor);
    process.wants_stdin = request.stdin;
    Ok(process)
}

/// The process ids of a container that runs: once it has ended nobody can enter them. By then `first`, its first
/// process, has.
fn pids_of<'a>(
    target: &str,
    container: Option<&'a Container>,
    first: Option<&Process>,
) -> std::io::Result<&'a OwnedFd> {
    let runs = first.is_some_and(|process| process.exit().is_none());
    match container.and_then(|one| one.pinned.as_ref()) {
        Some(pinned) if runs => Ok(pinned.pids()),
        _ => Err(invalid(format!(
            "the container {target:?}, whose processes it is to see, does not run"
        ))),
    }
}

/// Without memory accounting there is nothing to watch.
fn watch(agent: &Agent, container: &mut Container, number: u32) {
    let watched = |file: &str, token: Token| {
        let fd = container.group.watchable(file).ok()?;
        let mut watched = Watched::new(fd, token);
        watched.set(&agent.reactor, CHANGED);
        Some(watched)
    };
    container.memory_events = watched("memory.events", Token::MemoryEvents(number));
    container.freezer_events = watched("cgroup.events", Token::FreezerEvents(number));
}

/// Answered when nothing of the container is left.
pub fn remove(agent: &mut Agent, call: Call, payload: &[u8]) -> Handled {
    let request: RemoveContainerRequest = decode(payload)?;
    let id = request.container;
    let Some(container) = agent.containers.get_mut(&id) else {
        if agent.joins_release(&id, call) {
            agent.wait_at_most(call, PATIENCE);
            return Ok(Outcome::Later);
        }
        // The host may have died with the first answer, or the container was never whole.
        let busy = agent.stuck_disks.iter().cloned().collect();
        return reply(&RemoveContainerResponse { busy });
    };
    container.group.kill()?;
    container.removing.push(call);
    agent.wait_at_most(call, PATIENCE);
    agent.remove_if_over(&id);
    Ok(Outcome::Later)
}
