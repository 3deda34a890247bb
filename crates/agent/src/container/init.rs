//! What a new process does between the fork and its program: in a container of its own, or joining one. The agent
//! has one thread, so its child may use memory as it likes. It says "ready", waits for the word to start, and
//! reports the step that failed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use trine_wire::Message;
use trine_wire::agent::CreateContainerRequest;

use super::console;
use super::limits;
use super::namespaces::{Pinned, Wanted};
use super::program::Program;
use super::report::Report;
use super::rootfs::{self, Rootfs};
use super::seccomp::Filter;
use super::spec::{Process, Spec};
use super::sysctl;
use super::user::become_user;
use crate::sys::{above_stdio, check, close_all_but, duplicate_onto, during, invalid, open};

pub struct Plan<'a> {
    pub process: &'a Process,
    pub place: Place<'a>,
    /// Columns and rows.
    pub terminal: Option<(u16, u16)>,
    /// Standard input, output and error, unless there is a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
    pub filter: Option<&'a Filter>,
    pub report: Report,
}

#[derive(Clone, Copy)]
pub enum Place<'a> {
    New(&'a Spec, &'a Wanted),
    Joined(&'a Pinned),
}

/// Ends in the program or in an exit.
pub fn run(plan: Plan<'_>) -> ! {
    let mut report = None;
    if let Err(error) = become_program(plan, &mut report)
        && let Some(report) = &report
    {
        report.failed(&error);
    }
    // SAFETY: ends the process without running anything of the agent's.
    unsafe { libc::_exit(1) }
}

/// A child in namespaces of its own that is yet to be told its container. Ends in its program or in an exit.
pub fn wait_for_order(report: Report) -> ! {
    let mut reporter = None;
    if let Err(error) = follow_order(report, &mut reporter)
        && let Some(report) = &reporter
    {
        report.failed(&error);
    }
    // SAFETY: ends the process without running anything of the agent's.
    unsafe { libc::_exit(1) }
}

fn follow_order(report: Report, reporter: &mut Option<Report>) -> io::Result<()> {
    let report = reporter.insert(report.above_stdio()?);
    leave_agent(vec![report.as_raw_fd()])?;
    stand_apart()?;
    let (request, stdio) = report.wait_for_order()?;
    let request = CreateContainerRequest::decode(request.as_slice())
        .map_err(|error| invalid(format!("read the container's request: {error}")))?;
    let spec = Spec::asked(&request, &[])?;
    let filter = spec.linux.seccomp.as_ref().map(Filter::of).transpose()?;
    let terminal = request
        .terminal
        .then(|| console::size(request.width, request.height));
    if let Ok(stdio) = <[OwnedFd; 3]>::try_from(stdio) {
        place_stdio(stdio)?;
    }
    let process = spec.process.clone().unwrap_or_default();
    let wanted = Wanted::of(&spec.linux.namespaces)?;
    let place = Place::New(&spec, &wanted);
    execute(&process, place, terminal, filter.as_ref(), report)
}

fn become_program(plan: Plan<'_>, reporter: &mut Option<Report>) -> io::Result<()> {
    let Plan {
        process,
        place,
        terminal,
        stdio,
        filter,
        report,
    } = plan;
    let report = reporter.insert(report.above_stdio()?);
    if let Some(stdio) = stdio {
        place_stdio(stdio)?;
    }
    let mut keep = vec![report.as_raw_fd()];
    match place {
        Place::New(..) => {
            leave_agent(keep)?;
            stand_apart()?;
        }
        Place::Joined(pinned) => {
            keep.extend(pinned.numbers());
            leave_agent(keep)?;
        }
    }
    execute(process, place, terminal, filter, report)
}

/// Nothing of the agent's is left but memory, which goes with exec. Of its descriptors only those to `keep` stay: the
/// workload could reach the others through /proc while the child is already in its namespaces.
fn leave_agent(keep: Vec<RawFd>) -> io::Result<()> {
    reset_signals();
    // SAFETY: takes no pointers.
    unsafe {
        check(libc::setsid())?;
        libc::umask(0);
    }
    close_all_but(keep);
    new_keyring();
    Ok(())
}

/// In its control group and its mount namespace.
fn stand_apart() -> io::Result<()> {
    // Only now: made by clone it would show the agent's own group as its root.
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })
        .map_err(during("make a cgroup namespace"))?;
    rootfs::detach_from_parent()
}

fn execute(
    process: &Process,
    place: Place<'_>,
    terminal: Option<(u16, u16)>,
    filter: Option<&Filter>,
    report: &Report,
) -> io::Result<()> {
    let score = process.oom_score_adj.unwrap_or(0);
    std::fs::write("/proc/self/oom_score_adj", score.to_string())
        .map_err(during("set oom_score_adj"))?;
    match place {
        Place::New(spec, wanted) => settle(spec, wanted, terminal, process, report)?,
        Place::Joined(pinned) => join(pinned, terminal, process, report)?,
    }
    limits::apply(&process.rlimits)?;
    if !process.no_new_privileges
        && let Some(filter) = filter
    {
        filter.install()?;
    }
    become_user(process)?;
    let program = Program::find(process)?;
    report.ready()?;
    report.wait_for_start()?;
    if process.no_new_privileges
        && let Some(filter) = filter
    {
        filter.install()?;
    }
    Err(program.execute())
}

fn settle(
    spec: &Spec,
    wanted: &Wanted,
    terminal: Option<(u16, u16)>,
    process: &Process,
    report: &Report,
) -> io::Result<()> {
    if wanted.has(libc::CLONE_NEWUTS) {
        set_names(spec)?;
    }
    if wanted.has(libc::CLONE_NEWNET) {
        crate::net::loopback_up().map_err(during("start the loopback interface"))?;
    }
    sysctl::apply(&spec.linux.sysctl)?;
    let rootfs = Rootfs::build(spec)?;
    if let Some((width, height)) = terminal {
        let terminal = console::open(rootfs.root(), width, height)?;
        rootfs.bind_console(terminal.slave.as_fd())?;
        take_terminal(&terminal, process, report)?;
    }
    rootfs.enter(spec)
}

fn join(
    pinned: &Pinned,
    terminal: Option<(u16, u16)>,
    process: &Process,
    report: &Report,
) -> io::Result<()> {
    pinned.join()?;
    if let Some((width, height)) = terminal {
        let root = open("/", libc::O_PATH | libc::O_DIRECTORY)?;
        let terminal = console::open(root.as_fd(), width, height)?;
        take_terminal(&terminal, process, report)?;
    }
    Ok(())
}

fn take_terminal(
    terminal: &console::Terminal,
    process: &Process,
    report: &Report,
) -> io::Result<()> {
    console::take(&terminal.slave, process.user.uid)?;
    for number in 0..3 {
        duplicate_onto(&terminal.slave, number)?;
    }
    report.terminal(&terminal.master)
}

fn set_names(spec: &Spec) -> io::Result<()> {
    let (host, domain) = (spec.hostname.as_bytes(), spec.domainname.as_bytes());
    // SAFETY: each pointer and length describe one text.
    unsafe {
        if !host.is_empty() {
            check(libc::sethostname(host.as_ptr().cast(), host.len()))
                .map_err(during("set the hostname"))?;
        }
        if !domain.is_empty() {
            check(libc::setdomainname(domain.as_ptr().cast(), domain.len()))
                .map_err(during("set the domain name"))?;
        }
    }
    Ok(())
}

/// Nothing the agent ignores or blocks is inherited.
fn reset_signals() {
    // SAFETY: all zeroes is a valid set; the pointers outlive the calls.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn place_stdio(stdio: [OwnedFd; 3]) -> io::Result<()> {
    let mut safe = Vec::new();
    for fd in stdio {
        safe.push(above_stdio(fd)?);
    }
    for (number, fd) in (0..).zip(&safe) {
        duplicate_onto(fd, number)?;
    }
    Ok(())
}

/// Keys of one process's session are not another's. A kernel without keys needs nothing.
fn new_keyring() {
    const JOIN_SESSION: libc::c_long = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: a null pointer asks for an anonymous ring.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION, anonymous) };
}
