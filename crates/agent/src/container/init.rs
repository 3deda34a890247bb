//! What a new process does between the fork and its program: in a container of its own, or joining one. The agent
//! has one thread, so its child may use memory as it likes. It says "ready", waits for the word to start, and
//! reports the step that failed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use super::caps::Sets;
use super::console;
use super::limits;
use super::namespaces::{Pinned, Wanted};
use super::program::Program;
use super::report::Report;
use super::rootfs::Rootfs;
use super::seccomp::Filter;
use super::spec::{Process, Spec};
use super::sysctl;
use crate::sys::{
    above_stdio, c_string, check, check_long, close_all_but, duplicate_onto, during, invalid, open,
};

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

fn become_program(plan: Plan<'_>, reporter: &mut Option<Report>) -> io::Result<()> {
    let Plan {
        process,
        place,
        terminal,
        stdio,
        filter,
        report,
    } = plan;
    let report = reporter.insert(Report::above_stdio(report)?);
    reset_signals();
    // SAFETY: takes no pointers.
    unsafe {
        check(libc::setsid())?;
        libc::umask(0);
    }
    if let Some(stdio) = stdio {
        place_stdio(stdio)?;
    }
    close_others(report.as_raw_fd(), place);
    let score = process.oom_score_adj.unwrap_or(0);
    std::fs::write("/proc/self/oom_score_adj", score.to_string())
        .map_err(during("set oom_score_adj"))?;
    new_keyring();
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
    // Only now: made by clone it would show the agent's own group as its root.
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })
        .map_err(during("make a cgroup namespace"))?;
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

fn become_user(process: &Process) -> io::Result<()> {
    let user = &process.user;
    let sets = Sets::of(process.capabilities.as_ref().unwrap_or(&Default::default()));
    sets.limit_bounding()?;
    let arrived = enter_cwd(&process.cwd);
    // SAFETY: the pointer and the count describe the list; the rest takes no pointers.
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
        let groups = user.additional_gids.as_slice();
        check(libc::setgroups(groups.len(), groups.as_ptr())).map_err(during("set groups"))?;
        check(libc::setresgid(user.gid, user.gid, user.gid)).map_err(during("set the group"))?;
        check(libc::setresuid(user.uid, user.uid, user.uid)).map_err(during("set the user"))?;
        libc::umask(user.umask.unwrap_or(0o022) as libc::mode_t);
    }
    // A directory of a share may be open to the user only.
    arrived.or_else(|_| enter_cwd(&process.cwd))?;
    sets.apply()?;
    if process.no_new_privileges {
        // SAFETY: takes no pointers.
        check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
            .map_err(during("forbid new privileges"))?;
    }
    Ok(())
}

/// A cwd that a link or an inherited descriptor has led out of the root is refused.
fn enter_cwd(cwd: &str) -> io::Result<()> {
    let path = c_string(cwd)?;
    // SAFETY: a C string.
    check(unsafe { libc::chdir(path.as_ptr()) })
        .map_err(during(format!("chdir to cwd ({cwd:?})")))?;
    let mut buffer = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the pointer and the length describe `buffer`.
    let count =
        check_long(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) });
    // The kernel writes "(unreachable)/..." for what lies outside the root.
    if count.is_err() || buffer.first() != Some(&b'/') {
        return Err(invalid(format!(
            "the cwd {cwd:?} is outside the container's root"
        )));
    }
    Ok(())
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

/// Of the agent's descriptors only those that are still needed stay; all of them end with exec. The workload could
/// reach the others through /proc while the child is already in its namespaces.
fn close_others(report: RawFd, place: Place<'_>) {
    let mut keep = vec![report];
    if let Place::Joined(pinned) = place {
        keep.extend(pinned.numbers());
    }
    close_all_but(keep);
}

/// Keys of one process's session are not another's. A kernel without keys needs nothing.
fn new_keyring() {
    const JOIN_SESSION: libc::c_long = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: a null pointer asks for an anonymous ring.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION, anonymous) };
}
