//! Forks the child that becomes a process of a container.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::cgroup::Group;
use super::init::{self, Place, Plan};
use super::namespaces;
use super::parked::Parked;
use super::report;
use super::seccomp::Filter;
use super::spec::Process;
use crate::relay::{self, Relays};
use crate::sys::{during, open, owned, set_nonblocking};

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` (linux/sched.h), up to `cgroup`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

pub enum Fork {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// A fork that may begin in new namespaces (CLONE_NEW*) and in another control group.
pub fn fork(namespaces: libc::c_int, group: Option<&Group>) -> io::Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    let mut arguments = CloneArgs {
        flags: namespaces as u64 | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(group) = group {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group.fd().as_raw_fd() as u64;
    }
    // SAFETY: the arguments have the kernel's layout and outlive the call. Memory is copied, not shared, and the
    // agent has one thread, so the child may go on like after fork().
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArgs>(),
        )
    };
    match pid {
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent {
            pid: crate::sys::check_long(pid).map_err(during("fork"))?,
            pidfd: owned(pidfd)?,
        }),
    }
}

/// What the agent holds of a new process.
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub report: OwnedFd,
    /// Input, output, error; none of a terminal, and no input when it is /dev/null.
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

pub struct Order<'a> {
    pub process: &'a Process,
    pub place: Place<'a>,
    pub terminal: Option<(u16, u16)>,
    pub stdin: bool,
    pub filter: Option<&'a Filter>,
    pub group: &'a Group,
    /// The PID namespace to be in and the agent's own, to come back to.
    pub pids: Option<(&'a OwnedFd, &'a OwnedFd)>,
    /// A child that waits for it already, and the request it is told.
    pub parked: Option<(Parked, &'a [u8])>,
}

pub fn spawn(mut order: Order<'_>, relays: &mut Relays) -> io::Result<Child> {
    let (stdin, stdout, stderr, stdio) = match order.terminal {
        Some(_) => (None, None, None, None),
        None => {
            let (input, stdin) = if order.stdin {
                let (process, agent) = relay::input()?;
                (process, Some(agent))
            } else {
                (open("/dev/null", libc::O_RDONLY)?, None)
            };
            let (output, stdout) = relays.output()?;
            let (errors, stderr) = relays.output()?;
            (
                stdin,
                Some(stdout),
                Some(stderr),
                Some([input, output, errors]),
            )
        }
    };
    for end in [&stdin, &stdout, &stderr].into_iter().flatten() {
        set_nonblocking(end)?;
    }
    if let Some((parked, request)) = order.parked.take() {
        let fds: Vec<_> = stdio.iter().flatten().map(AsRawFd::as_raw_fd).collect();
        // One that has died meanwhile is replaced.
        if parked.order(request, &fds).is_ok() {
            let Parked { pid, pidfd, report } = parked;
            return Ok(Child {
                pid,
                pidfd,
                report,
                stdin,
                stdout,
                stderr,
            });
        }
    }
    let (report, childs_report) = report::pair()?;
    let new = match order.place {
        Place::New(_, wanted) => wanted.new & !libc::CLONE_NEWCGROUP,
        Place::Joined(_) => 0,
    };
    if let Some((pids, _)) = order.pids {
        namespaces::set(pids, libc::CLONE_NEWPID).map_err(during("enter the PID namespace"))?;
    }
    let forked = fork(new, Some(order.group));
    let plan = Plan {
        process: order.process,
        place: order.place,
        terminal: order.terminal,
        stdio,
        filter: order.filter,
        report: childs_report,
    };
    if let Ok(Fork::Child) = forked {
        init::run(plan);
    }
    drop(plan);
    if let Some((_, own)) = order.pids {
        // The next fork must not land in a container.
        namespaces::set(own, libc::CLONE_NEWPID).map_err(during("leave the PID namespace"))?;
    }
    match forked? {
        Fork::Child => Err(io::Error::other("a child came back")),
        Fork::Parent { pid, pidfd } => Ok(Child {
            pid,
            pidfd,
            report,
            stdin,
            stdout,
            stderr,
        }),
    }
}
