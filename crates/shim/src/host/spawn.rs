//! Starts a child of the shim: in a root of its own, without privileges, with exactly the
//! descriptors it was given, and gone when the shim goes.
//!
//! Everything that needs memory happens before the fork; the child makes system calls only and
//! reports the step that failed over a close-on-exec pipe. Needs Linux 5.9 (`close_range`).
//! The death of the *thread* that spawns ends the child, so one long-lived thread must do it.

use super::sys::{c_string, check, during, invalid, owned};
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

mod child;
mod jail;

/// Descriptor numbers a child may be given; what is above is used for moving them about.
const HIGHEST_FD: u32 = 255;
const DEFAULT_OPEN_FILES: u64 = 1024;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to start. Standard input is `/dev/null` and standard output and error are `log` (else
/// `/dev/null`) unless `fds` gives them; nothing else is inherited. The working directory is `/` unless `working_dir` says another,
/// the process leads a session of its own, core files are off.
#[derive(Debug, Default)]
pub struct SpawnPlan {
    /// The program first. Without a jail a bare name is looked up in the system's directories.
    pub argv: Vec<String>,
    /// `NAME=value`, all there is.
    pub env: Vec<String>,
    /// Number in the child (0 to 255) and the descriptor.
    pub fds: Vec<(u32, OwnedFd)>,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub jail: Option<Jail>,
    /// May be the write end of a pipe.
    pub log: Option<OwnedFd>,
    /// Best effort: lowering it needs a privilege that the shim may lack.
    pub oom_score_adj: i32,
    /// 0 = 1024; cut to the shim's own hard limit where that may not be raised.
    pub max_open_files: u64,
    /// What it may keep from being paged out; 0 = the shim's own limit.
    pub max_locked_bytes: u64,
    /// Keeps the shim's capabilities and set-uid programs working, for tools such as `ip` and `nft`.
    pub keep_privileges: bool,
    /// Empty = `/`. Not for a program in a jail, whose root is its own.
    pub working_dir: String,
}

/// A root of its own for the child: a read-only tmpfs that holds these binds and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Jail {
    /// In order: a later one may lie inside an earlier one, where its target must exist already.
    pub binds: Vec<Bind>,
    /// An empty network namespace, loopback down.
    pub new_network: bool,
    pub new_pid: bool,
}

/// One file or directory of the host (unless `live` without what is mounted below it) seen in the jail.
/// `nosuid` always, read-only unless `writable`, `nodev` unless `device`.
#[derive(Debug, Clone, Default)]
pub struct Bind {
    pub source: PathBuf,
    /// Absolute; missing directories and the target itself are made.
    pub target: PathBuf,
    pub writable: bool,
    pub device: bool,
    /// With what is mounted below it, now and later. The flags above are for the place itself; what is mounted
    /// below it keeps its own.
    pub live: bool,
}

#[derive(Debug)]
pub struct Spawned {
    /// In the shim's PID namespace.
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// Starts the plan's program; returns once it has been executed. An error names the step and leaves
/// no process behind.
pub fn spawn(plan: SpawnPlan) -> io::Result<Spawned> {
    let prepared = Prepared::new(&plan)?;
    let (mut report, reporter) = pipe()?;
    let (pid, pidfd) = fork(&plan, &prepared, &reporter).map_err(during("fork"))?;
    drop(reporter);
    let mut message = [0u8; child::REPORT_BYTES];
    let told = read_report(&mut report, &mut message);
    if let Ok(0) = told {
        return Ok(Spawned { pid, pidfd });
    }
    reap(pid);
    told?;
    Err(prepared.explain(&plan, message))
}

/// The plan as the C library wants it.
struct Prepared {
    argv: CStrings,
    env: CStrings,
    program: CString,
    oom_score_adj: CString,
    working_dir: CString,
    _null: OwnedFd,
    /// (number in the child, descriptor here), ordered by number, 0 to 2 always among them.
    fds: Vec<(RawFd, RawFd)>,
    max_open_files: u64,
    binds: Vec<PreparedBind>,
    /// Room for what the child opens, one for each bind.
    trees: Vec<Cell<RawFd>>,
    /// Room for where the child moves each of `fds` meanwhile.
    lifted: Vec<Cell<RawFd>>,
}

struct PreparedBind {
    source: CString,
    target: CString,
    /// Directories to make first, outermost first.
    parents: Vec<CString>,
    is_directory: bool,
    live: bool,
    flags: libc::c_ulong,
}

/// Strings with the null-terminated array of pointers that `execve` takes.
struct CStrings {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl CStrings {
    fn new(texts: &[String]) -> io::Result<Self> {
        let strings = texts
            .iter()
            .map(|text| c_string(text.as_str()))
            .collect::<io::Result<Vec<_>>>()?;
        let pointers = strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect();
        Ok(Self {
            pointers,
            _strings: strings,
        })
    }

    fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}

impl Prepared {
    fn new(plan: &SpawnPlan) -> io::Result<Self> {
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(during("open /dev/null"))?;
        let null = OwnedFd::from(null);
        let jail = plan.jail.as_ref();
        let binds = jail
            .map_or(&[][..], |jail| &jail.binds)
            .iter()
            .map(PreparedBind::new)
            .collect::<io::Result<Vec<_>>>()?;
        let fds = descriptors(plan, null.as_raw_fd())?;
        Ok(Self {
            argv: CStrings::new(&plan.argv)?,
            env: CStrings::new(&plan.env)?,
            program: c_string(program(plan)?)?,
            oom_score_adj: c_string(plan.oom_score_adj.to_string())?,
            working_dir: c_string(match plan.working_dir.as_str() {
                "" => "/",
                dir => dir,
            })?,
            lifted: fds.iter().map(|_| Cell::new(-1)).collect(),
            fds,
            _null: null,
            max_open_files: match plan.max_open_files {
                0 => DEFAULT_OPEN_FILES,
                wanted => wanted,
            },
            trees: binds.iter().map(|_| Cell::new(-1)).collect(),
            binds,
        })
    }

    /// The child's report in words.
    fn explain(&self, plan: &SpawnPlan, message: [u8; child::REPORT_BYTES]) -> io::Error {
        let (step, errno, index) = child::parse_report(message);
        let bind = usize::try_from(index)
            .ok()
            .and_then(|index| self.binds.get(index));
        let object = match bind {
            Some(bind) => format!(
                " {} on {}",
                bind.source.to_string_lossy(),
                bind.target.to_string_lossy()
            ),
            None => String::new(),
        };
        let name = plan.argv.first().map_or("", String::as_str);
        during(format!("start {name}: {step}{object}"))(io::Error::from_raw_os_error(errno))
    }
}

/// The path to execute, looked up before the fork.
fn program(plan: &SpawnPlan) -> io::Result<String> {
    let name = plan.argv.first().ok_or_else(|| invalid("an empty argv"))?;
    if name.contains('/') {
        return Ok(name.clone());
    }
    if plan.jail.is_some() || name.is_empty() {
        return Err(invalid(format!("the program {name:?} needs a path")));
    }
    DEFAULT_PATH
        .split(':')
        .map(|directory| format!("{directory}/{name}"))
        .find(|path| Path::new(path).is_file())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("start {name}: no such program in {DEFAULT_PATH}"),
            )
        })
}

fn descriptors(plan: &SpawnPlan, null: RawFd) -> io::Result<Vec<(RawFd, RawFd)>> {
    let mut fds: Vec<(RawFd, RawFd)> = Vec::with_capacity(plan.fds.len() + 3);
    for (number, fd) in &plan.fds {
        if *number > HIGHEST_FD {
            return Err(invalid(format!(
                "descriptor number {number} is above {HIGHEST_FD}"
            )));
        }
        fds.push((*number as RawFd, fd.as_raw_fd()));
    }
    let log = plan.log.as_ref().map_or(null, AsRawFd::as_raw_fd);
    for (number, fd) in [(0, null), (1, log), (2, log)] {
        if !fds.iter().any(|(taken, _)| *taken == number) {
            fds.push((number, fd));
        }
    }
    fds.sort_unstable();
    if let Some((one, _)) = fds.iter().zip(fds.iter().skip(1)).find(|(a, b)| a.0 == b.0) {
        return Err(invalid(format!(
            "descriptor number {} is given twice",
            one.0
        )));
    }
    Ok(fds)
}

impl PreparedBind {
    fn new(bind: &Bind) -> io::Result<Self> {
        let shown = bind.target.display();
        let plain = bind
            .target
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !bind.target.is_absolute() || !plain || bind.target.parent().is_none() {
            return Err(invalid(format!(
                "bind target {shown} is no plain absolute path"
            )));
        }
        if !bind.source.is_absolute() {
            return Err(invalid(format!(
                "bind source {} is not absolute",
                bind.source.display()
            )));
        }
        let kind = std::fs::metadata(&bind.source)
            .map_err(during(format!("bind source {}", bind.source.display())))?;
        let mut parents: Vec<&Path> = bind.target.ancestors().skip(1).collect();
        parents.pop(); // the root
        parents.reverse();
        let mut flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_NOSUID;
        if !bind.writable {
            flags |= libc::MS_RDONLY;
        }
        if !bind.device {
            flags |= libc::MS_NODEV;
        }
        Ok(Self {
            source: c_string(bind.source.as_os_str().as_bytes())?,
            target: c_string(bind.target.as_os_str().as_bytes())?,
            parents: parents
                .iter()
                .map(|path| c_string(path.as_os_str().as_bytes()))
                .collect::<io::Result<_>>()?,
            is_directory: kind.is_dir(),
            live: bind.live,
            flags,
        })
    }
}

fn pipe() -> io::Result<(File, File)> {
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two descriptors into `ends`.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })
        .map_err(during("make a pipe"))?;
    let [reader, writer] = ends;
    // SAFETY: both are new and owned by nothing else.
    Ok(unsafe { (File::from_raw_fd(reader), File::from_raw_fd(writer)) })
}

/// Forks; the child never returns from here.
fn fork(plan: &SpawnPlan, prepared: &Prepared, reporter: &File) -> io::Result<(i32, OwnedFd)> {
    // No handler of the shim's may run in the child: block all signals until the child has reset them.
    // SAFETY: all zeroes is a valid signal set; the calls write only to these two.
    let (mut all, mut before) = unsafe { std::mem::zeroed::<(libc::sigset_t, libc::sigset_t)>() };
    // SAFETY: as above.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let new_pid = plan.jail.as_ref().is_some_and(|jail| jail.new_pid);
    let mut flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    if new_pid {
        flags |= libc::CLONE_NEWPID;
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: a plain fork (no CLONE_VM, no stack of its own); the third argument receives the pidfd.
    // The child only makes system calls with memory prepared before and never returns.
    let pid = unsafe {
        let (flags, none) = (flags as libc::c_ulong, std::ptr::null_mut::<libc::c_void>());
        libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none)
    };
    let error = io::Error::last_os_error();
    if pid == 0 {
        child::run(plan, prepared, reporter.as_raw_fd());
    }
    // SAFETY: restores what the first call gave.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    if pid < 0 {
        return Err(error);
    }
    Ok((pid as i32, owned(pidfd)?))
}

fn read_report(report: &mut File, message: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = message.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match report.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(during("read the report of a new child")(error)),
        }
    }
    Ok(filled)
}

fn reap(pid: i32) {
    loop {
        // SAFETY: no status is asked for. Ours is the only waiter for this child.
        let result = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        if result != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
