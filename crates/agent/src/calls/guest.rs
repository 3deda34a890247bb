//! The guest as a whole: who it is, its network, its mounts, its resources.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use trine_wire::agent::source::What;
use trine_wire::agent::{
    DescribeResponse, EventsRequest, MountRequest, OnlineResourcesRequest, ProcessState,
    ReviveRequest, SetNetworkRequest, SetTimeRequest, UnmountRequest,
};

use crate::agent::Agent;
use crate::answer::{Call, Code, Failure, Handled, Outcome, decode, done, failure, reply};
use crate::container::sysctl;
use crate::helper::For;
use crate::mounts::{self, Found, State, check_path};
use crate::pump::Peer;
use crate::{identity, net, online, pump};

const PROTOCOL: u32 = 1;
const MAX_POD: usize = 256;
const MAX_SHARE: usize = 256;
/// Its share is mounted next, call upon call; then it is the host's turn for a while.
const AFTER_REVIVE: Duration = Duration::from_millis(8);

pub fn describe(agent: &Agent) -> Handled {
    let processes = agent.processes.values().map(|process| ProcessState {
        container: process.container.clone(),
        exec: process.exec.clone(),
        state: process.state().into(),
        pid: process.pid.cast_unsigned(),
        exit: process.exit().cloned(),
    });
    reply(&DescribeResponse {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim_end()
            .to_owned(),
        revived: agent.pod.is_some(),
        pod: agent.pod.clone().unwrap_or_default(),
        processes: processes.collect(),
        containers: agent.containers.keys().cloned().collect(),
    })
}

pub fn revive(agent: &mut Agent, payload: &[u8]) -> Handled {
    let request: ReviveRequest = decode(payload)?;
    if request.pod.is_empty() || request.pod.len() > MAX_POD {
        return Err(failure(
            Code::InvalidArgument,
            format!("a pod's name has 1 to {MAX_POD} bytes"),
        ));
    }
    // A guest that was made ready for no pod in particular has run nothing of any.
    let free = agent.provisional && agent.containers.is_empty();
    if let Some(pod) = agent
        .pod
        .as_ref()
        .filter(|pod| **pod != request.pod && !free)
    {
        return Err(failure(
            Code::FailedPrecondition,
            format!("this guest belongs to pod {pod:?}"),
        ));
    }
    // First of all, and again with each repetition: more randomness does no harm.
    identity::reseed(&request.entropy)?;
    if let Some(time) = &request.time {
        identity::set_clock(time)?;
    }
    if !request.hostname.is_empty() {
        identity::set_hostname(&request.hostname)?;
    }
    if !request.machine_id.is_empty() {
        identity::set_machine_id(&request.machine_id)?;
    }
    net::loopback_up()?;
    net::configure(&request.interfaces, &request.routes)?;
    sysctl::apply(&request.sysctls)?;
    agent.pod = Some(request.pod);
    agent.provisional = request.provisional;
    agent.parking.expect(AFTER_REVIVE);
    done()
}

pub fn set_time(payload: &[u8]) -> Handled {
    let request: SetTimeRequest = decode(payload)?;
    match &request.time {
        Some(time) => identity::set_clock(time)?,
        None => return Err(failure(Code::InvalidArgument, "no time is given")),
    }
    done()
}

pub fn set_network(payload: &[u8]) -> Handled {
    let request: SetNetworkRequest = decode(payload)?;
    net::configure(&request.interfaces, &request.routes)?;
    done()
}

pub fn online_resources(agent: &Agent, payload: &[u8]) -> Handled {
    let request: OnlineResourcesRequest = decode(payload)?;
    let cpus = match request.cpus {
        0 => usize::MAX,
        some => some as usize,
    };
    let first = (!agent.is_machine).then_some(agent.first_bytes);
    reply(&online::bring_up(cpus, first)?)
}

/// Answered when it is mounted; what is mounted already is a success when it is the same.
pub fn mount(agent: &mut Agent, call: Call, payload: &[u8]) -> Handled {
    let request: MountRequest = decode(payload)?;
    check_path(&request.target)?;
    let Some(source) = &request.source else {
        return Err(failure(Code::InvalidArgument, "no source is given"));
    };
    match agent.mounts.look(&request.target, source) {
        Found::Free => {}
        Found::Same(State::Mounted) => return done(),
        Found::Same(_) => {
            return Err(failure(
                Code::FailedPrecondition,
                format!("{} is being mounted or unmounted", request.target),
            ));
        }
        Found::Other => {
            return Err(failure(
                Code::AlreadyExists,
                format!("something else is mounted at {}", request.target),
            ));
        }
    }
    let share = match &source.what {
        Some(What::Share(share)) => Some(open_share(agent, &share.name)?.0),
        _ => None,
    };
    agent.mounts.begin(&request.target, source)?;
    let target = request.target.clone();
    let work = || mounts::mount(&request, share.as_ref());
    let needs = share.as_ref().map(AsRawFd::as_raw_fd);
    if let Err(error) = agent.help(For::Call(call), target, needs, work) {
        agent.mounts.finished(&request.target, false);
        return Err(error.into());
    }
    Ok(Outcome::Later)
}

/// A stream to the file server; the kernel gets the answered end. And the stream's number.
pub fn open_share(agent: &mut Agent, name: &str) -> Result<(UnixStream, u32), Failure> {
    if name.is_empty() || name.len() > MAX_SHARE || name.contains(['\0', ',']) {
        return Err(failure(
            Code::InvalidArgument,
            format!("{name:?} is no share"),
        ));
    }
    let (ours, kernels) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let refused = |why: &dyn std::fmt::Display| failure(Code::ResourceExhausted, why.to_string());
    let stream = agent.link.mux.open(&format!("9p/{name}"));
    let stream = stream.map_err(|why| refused(&why))?;
    if let Err(why) = pump::join(agent, ours.into(), stream, Peer::NineP) {
        agent.link.mux.abort(stream, why);
        return Err(refused(&why));
    }
    Ok((kernels, stream))
}

/// Nothing mounted there is a success too.
pub fn unmount(agent: &mut Agent, call: Call, payload: &[u8]) -> Handled {
    let request: UnmountRequest = decode(payload)?;
    check_path(&request.target)?;
    match agent.mounts.state(&request.target) {
        None => return done(),
        Some(State::Mounted) => {}
        Some(_) => {
            return Err(failure(
                Code::FailedPrecondition,
                format!("{} is being mounted or unmounted", request.target),
            ));
        }
    }
    let target = request.target;
    agent.mounts.begin_unmount(&target);
    let path = target.clone();
    if let Err(error) = agent.help(For::Call(call), target.clone(), None, move || {
        mounts::unmount(&path)
    }) {
        agent.mounts.finished(&target, false);
        return Err(error.into());
    }
    Ok(Outcome::Later)
}

pub fn events(agent: &mut Agent, call: Call, payload: &[u8]) -> Handled {
    let request: EventsRequest = decode(payload)?;
    let wait = Duration::from_millis(u64::from(request.wait_ms));
    Ok(match agent.events.ask(call, request.after, wait) {
        Some(response) => Outcome::Now(response),
        None => Outcome::Later,
    })
}
