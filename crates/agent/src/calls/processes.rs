//! Processes of a container: exec, start, signals, the terminal's size.

use std::time::Duration;

use trine_wire::agent::{
    CreateProcessRequest, ProcessRequest, ResizeRequest, SignalRequest, StartProcessResponse,
};

use super::{check_id, no_container, no_process};
use crate::agent::Agent;
use crate::answer::{Call, Code, Failure, Handled, Outcome, decode, done, failure, reply};
use crate::container::caps;
use crate::container::console;
use crate::container::init::Place;
use crate::container::limits;
use crate::container::spawn::{Order, spawn};
use crate::container::spec;
use crate::process::{Process, Stage, Streams};
use crate::signals;
use crate::sys::write;

const MAX_PROCESSES: usize = 1024;
const HIGHEST_SIGNAL: u32 = 64;
/// A pod may have more containers; what this one begins with comes first.
const AFTER_START: Duration = Duration::from_millis(100);

/// Another process in a container; answered when it is ready to be started, or could not be made.
pub fn create(agent: &mut Agent, call: Call, payload: &[u8]) -> Handled {
    let request: CreateProcessRequest = decode(payload)?;
    let (id, exec) = (request.container.as_str(), request.exec.as_str());
    check_id(exec)?;
    if agent.find(id, exec).is_some() {
        return done();
    }
    if agent.processes.len() >= MAX_PROCESSES && !forget_an_ended_exec(agent) {
        return Err(failure(
            Code::ResourceExhausted,
            format!("{MAX_PROCESSES} processes are known in this guest already"),
        ));
    }
    let mut process = spec::Process::parse(&request.process)?;
    if agent.is_machine && process.capabilities.is_none() {
        process.capabilities = Some(caps::own());
    }
    let number = agent.number();
    let init = agent.find(id, "").and_then(|n| agent.processes.get(&n));
    let container = agent.containers.get(id).ok_or_else(|| no_container(id))?;
    let runs = agent.is_machine || init.is_some_and(|p| p.exit().is_none());
    if !runs || !container.removing.is_empty() {
        return Err(ended(format!("container {id:?} has ended")));
    }
    if container.group.is_frozen() {
        return Err(ended(format!(
            "cannot exec in container {id:?}: it is paused"
        )));
    }
    let Some(pinned) = &container.pinned else {
        return Err(ended(format!("container {id:?} is not ready")));
    };
    if let Some(own) = &container.spec.process {
        limits::inherit(&mut process.rlimits, &own.rlimits);
    }
    let order = Order {
        process: &process,
        place: Place::Joined(pinned),
        terminal: request
            .terminal
            .then(|| console::size(request.width, request.height)),
        stdin: request.stdin,
        filter: container.filter.as_ref(),
        group: &container.group,
        pids: Some((pinned.pids(), &agent.own_pids)),
        parked: None,
    };
    let child = spawn(order, &mut agent.relays)?;
    let mut process = Process::new(number, call, (id, exec), child, &agent.reactor);
    process.wants_stdin = request.stdin;
    agent.processes.insert(number, process);
    Ok(Outcome::Later)
}

/// Answered when the program has been executed, or could not be.
pub fn start(agent: &mut Agent, call: Call, payload: &[u8]) -> Handled {
    let request: ProcessRequest = decode(payload)?;
    let process = find(agent, &request.container, &request.exec)?;
    match process.stage {
        Stage::Running => {
            return reply(&StartProcessResponse {
                pid: process.pid.cast_unsigned(),
            });
        }
        Stage::Created => {}
        Stage::Preparing(_) | Stage::Starting(_) => {
            return Err(ended("the process is being made or started".to_owned()));
        }
        Stage::Ended(_) => return Err(ended("the process has ended".to_owned())),
    }
    let Some(report) = &process.report else {
        return Err(ended("the process has ended".to_owned()));
    };
    write(report, b"S")?;
    process.stage = Stage::Starting(call);
    if let Some(container) = agent.containers.get(&request.container) {
        let kills = container.group.oom_kills();
        find(agent, &request.container, &request.exec)?.oom_kills = kills;
    }
    if request.exec.is_empty() && !agent.is_machine {
        agent.parking.expect(AFTER_START);
    }
    Ok(Outcome::Later)
}

pub fn signal(agent: &mut Agent, payload: &[u8]) -> Handled {
    let request: SignalRequest = decode(payload)?;
    if request.signal > HIGHEST_SIGNAL {
        return Err(failure(
            Code::InvalidArgument,
            format!("{} is no signal", request.signal),
        ));
    }
    let id = request.container.as_str();
    // A machine's processes are not the agent's to end at once.
    let all = request.all && !agent.is_machine;
    let process = find(agent, id, &request.exec)?;
    if process.exit().is_some() {
        return Err(ended(format!(
            "process {:?} of {id:?} has ended",
            request.exec
        )));
    }
    if !all {
        signals::send(&process.pidfd, request.signal)?;
        return done();
    }
    let container = agent.containers.get(id).ok_or_else(|| no_container(id))?;
    if request.signal == libc::SIGKILL.cast_unsigned() {
        container.group.kill()?;
    } else {
        for pid in container.group.pids() {
            // Its number may have gone to a stranger since: only a process that is still listed is meant.
            container.send_if_member(pid, request.signal);
        }
    }
    done()
}

pub fn resize(agent: &mut Agent, payload: &[u8]) -> Handled {
    let request: ResizeRequest = decode(payload)?;
    let process = find(agent, &request.container, &request.exec)?;
    if !process.terminal {
        return Err(failure(
            Code::FailedPrecondition,
            "the process has no terminal",
        ));
    }
    if let Some(master) = &process.stdout {
        let (width, height) = console::size(request.width, request.height);
        console::resize(master, width, height)?;
    }
    done()
}

/// Forgets an exec that has ended. One that was never started is given up.
pub fn remove(agent: &mut Agent, payload: &[u8]) -> Handled {
    let request: ProcessRequest = decode(payload)?;
    if request.exec.is_empty() {
        return Err(failure(
            Code::InvalidArgument,
            "a container's own process goes with RemoveContainer",
        ));
    }
    let Some(number) = agent.find(&request.container, &request.exec) else {
        return done();
    };
    let Some(process) = agent.processes.get(&number) else {
        return done();
    };
    match process.stage {
        Stage::Ended(_) => {}
        Stage::Created => signals::send(&process.pidfd, libc::SIGKILL.cast_unsigned())?,
        _ => return Err(ended(format!("process {:?} still runs", request.exec))),
    }
    agent.forget_process(number);
    done()
}

/// The oldest that has ended and been read, and that nobody has removed since. False: there is none.
fn forget_an_ended_exec(agent: &mut Agent) -> bool {
    let oldest = agent.processes.iter().find(|(_, process)| {
        let Streams {
            stdin,
            stdout,
            stderr,
            exits,
        } = &process.streams;
        let is_read = stdin.is_none() && stdout.is_none() && stderr.is_none() && exits.is_empty();
        !process.is_init() && process.exit().is_some() && is_read
    });
    let Some(number) = oldest.map(|(number, _)| *number) else {
        return false;
    };
    agent.forget_process(number);
    true
}

fn find<'a>(agent: &'a mut Agent, container: &str, exec: &str) -> Result<&'a mut Process, Failure> {
    let number = agent.find(container, exec);
    number
        .and_then(|n| agent.processes.get_mut(&n))
        .ok_or_else(|| no_process(container, exec))
}

fn ended(text: String) -> Failure {
    failure(Code::FailedPrecondition, text)
}
