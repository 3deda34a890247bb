//! The child between fork and exec: system calls on prepared memory, nothing that allocates, locks
//! or unwinds. The last thing it says is a report of the step that failed.

use super::jail::enter_jail;
use super::{Prepared, RawFd, SpawnPlan};
use std::io;

/// Step, error number, index of the bind (-1 = none), four bytes each.
pub const REPORT_BYTES: usize = 12;

/// The steps in words, in the order they happen.
const STEPS: [&str; 23] = [
    "set up the new process",
    "watch for the parent's death",
    "make a mount namespace",
    "make mounts private",
    "open the bind",
    "make the new root",
    "mount the new root",
    "change the root",
    "detach the old root",
    "make the target of the bind",
    "mount the bind",
    "set the flags of the bind",
    "make the new root read-only",
    "make a network namespace",
    "enter the working directory",
    "move descriptors",
    "close descriptors",
    "set limits",
    "drop capabilities",
    "set groups",
    "set the user",
    "forbid new privileges",
    "execute",
];

#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Step {
    SetUp,
    ParentDeath,
    MountNamespace,
    PrivateMounts,
    OpenBind,
    MakeRoot,
    MountRoot,
    ChangeRoot,
    DetachRoot,
    MakeTarget,
    MountBind,
    BindFlags,
    ReadOnlyRoot,
    NetworkNamespace,
    WorkingDirectory,
    MoveFds,
    CloseFds,
    Limits,
    Capabilities,
    Groups,
    User,
    NoNewPrivileges,
    Execute,
}

#[derive(Clone, Copy)]
pub struct Failure {
    step: Step,
    errno: i32,
    bind: i32,
}

pub type Done = Result<(), Failure>;

/// What the parent reads out of a report.
pub fn parse_report(message: [u8; REPORT_BYTES]) -> (&'static str, i32, i32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = message;
    let step = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let name = STEPS.get(step).copied().unwrap_or("an unknown step");
    (
        name,
        i32::from_ne_bytes([e, f, g, h]),
        i32::from_ne_bytes([i, j, k, l]),
    )
}

/// Becomes the plan's program, or reports why not and exits.
pub fn run(plan: &SpawnPlan, prepared: &Prepared, reporter: RawFd) -> ! {
    let mut reporter = reporter;
    if let Err(failure) = become_program(plan, prepared, &mut reporter) {
        let (a, b, c) = (failure.step as u32, failure.errno, failure.bind);
        let mut message = [0u8; REPORT_BYTES];
        let bytes = a
            .to_ne_bytes()
            .into_iter()
            .chain(b.to_ne_bytes())
            .chain(c.to_ne_bytes());
        for (to, from) in message.iter_mut().zip(bytes) {
            *to = from;
        }
        // SAFETY: the pointer and the length describe `message`. A parent that is gone needs no report.
        unsafe { libc::write(reporter, message.as_ptr().cast(), REPORT_BYTES) };
    }
    // SAFETY: ends the process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn become_program(plan: &SpawnPlan, prepared: &Prepared, reporter: &mut RawFd) -> Done {
    default_signals();
    // SAFETY: takes no pointers.
    step(Step::SetUp, unsafe { libc::setsid() })?;
    // SAFETY: as above.
    unsafe { libc::umask(0o022) };
    write_oom_score(prepared);
    if let Some(jail) = &plan.jail {
        enter_jail(prepared)?;
        if jail.new_network {
            // SAFETY: takes no pointers.
            step(Step::NetworkNamespace, unsafe {
                libc::unshare(libc::CLONE_NEWNET)
            })?;
        }
    } else {
        let dir = prepared.working_dir.as_ptr();
        // SAFETY: the path is a C string.
        step(Step::WorkingDirectory, unsafe { libc::chdir(dir) })?;
    }
    place_descriptors(prepared, reporter)?;
    set_limits(plan, prepared)?;
    drop_privileges(plan)?;
    die_with_parent(*reporter)?;
    empty_signal_mask();
    // SAFETY: both arrays end with a null pointer and live as long as `prepared`.
    step(Step::Execute, unsafe {
        libc::execve(
            prepared.program.as_ptr(),
            prepared.argv.as_ptr(),
            prepared.env.as_ptr(),
        )
    })
}

pub fn step(step: Step, result: libc::c_int) -> Done {
    if result == -1 {
        Err(failure(step, -1))
    } else {
        Ok(())
    }
}

pub fn failure(step: Step, bind: i32) -> Failure {
    // Reading errno does not allocate.
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Failure { step, errno, bind }
}

fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: sets no handler; KILL, STOP and the C library's own two answer an error, as they should.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn empty_signal_mask() {
    // SAFETY: all zeroes is a valid, empty signal set.
    unsafe {
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Best effort: lowering the score needs a capability, and `/proc` may be read-only.
fn write_oom_score(prepared: &Prepared) {
    let text = prepared.oom_score_adj.as_bytes();
    // SAFETY: the path is a C string; the pointer and the length describe `text`.
    unsafe {
        let fd = libc::open(
            c"/proc/self/oom_score_adj".as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        );
        if fd != -1 {
            libc::write(fd, text.as_ptr().cast(), text.len());
            libc::close(fd);
        }
    }
}

/// A parent that died before the request took effect has closed its end of the report pipe; unlike
/// its PID that can be seen from a new PID namespace too.
fn die_with_parent(reporter: RawFd) -> Done {
    // After the change of user, which clears the request.
    // SAFETY: no pointers.
    step(Step::ParentDeath, unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0)
    })?;
    let mut poll = libc::pollfd {
        fd: reporter,
        events: 0,
        revents: 0,
    };
    // SAFETY: one entry, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    if ready == 1 && poll.revents & libc::POLLERR != 0 {
        return Err(Failure {
            step: Step::ParentDeath,
            errno: libc::ESRCH,
            bind: -1,
        });
    }
    Ok(())
}

/// Gives every descriptor its number and closes all others. The report pipe stays, close-on-exec,
/// above the numbers.
fn place_descriptors(prepared: &Prepared, reporter: &mut RawFd) -> Done {
    let above = prepared.fds.last().map_or(0, |(number, _)| *number) + 1;
    // First everything goes above the numbers, so that no move covers a source that is still needed.
    let lift = |fd: RawFd| {
        // SAFETY: plain integers.
        let lifted = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, above) };
        step(Step::MoveFds, lifted).map(|()| lifted)
    };
    *reporter = lift(*reporter)?;
    for ((_, fd), lifted) in prepared.fds.iter().zip(&prepared.lifted) {
        lifted.set(lift(*fd)?);
    }
    for ((number, _), lifted) in prepared.fds.iter().zip(&prepared.lifted) {
        // SAFETY: plain integers.
        step(Step::MoveFds, unsafe { libc::dup2(lifted.get(), *number) })?;
    }
    close_others(prepared, *reporter)
}

fn close_others(prepared: &Prepared, report: RawFd) -> Done {
    let mut from = 0;
    for number in prepared
        .fds
        .iter()
        .map(|(number, _)| *number)
        .chain([report])
    {
        if number > from {
            close_range(from as libc::c_uint, number as libc::c_uint - 1)?;
        }
        from = number + 1;
    }
    close_range(from as libc::c_uint, libc::c_uint::MAX)
}

fn close_range(first: libc::c_uint, last: libc::c_uint) -> Done {
    // SAFETY: plain integers; nothing of the child's relies on the descriptors closed here.
    step(
        Step::CloseFds,
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } as i32,
    )
}

fn set_limits(plan: &SpawnPlan, prepared: &Prepared) -> Done {
    set_locked(plan.max_locked_bytes)?;
    let mut files = libc::rlimit {
        rlim_cur: prepared.max_open_files,
        rlim_max: prepared.max_open_files,
    };
    let core = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structures outlive the calls.
    unsafe {
        step(
            Step::Limits,
            libc::setrlimit(libc::RLIMIT_CORE, &raw const core),
        )?;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files) == 0 {
            return Ok(());
        }
        // Raising the hard limit needs a capability; what there is has to do.
        step(
            Step::Limits,
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files),
        )?;
        files.rlim_cur = files.rlim_max.min(prepared.max_open_files);
        files.rlim_max = files.rlim_cur;
        step(
            Step::Limits,
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files),
        )
    }
}

fn set_locked(bytes: u64) -> Done {
    if bytes == 0 {
        return Ok(());
    }
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: the structure outlives the call.
    step(Step::Limits, unsafe {
        libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit)
    })
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

fn drop_privileges(plan: &SpawnPlan) -> Done {
    let version_3 = CapHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    // SAFETY: the pointers describe arrays that outlive the calls.
    unsafe {
        if !plan.keep_privileges {
            drop_bounding_set()?;
        }
        // System calls of one thread, not the C library's, which would signal threads the child lacks.
        let (uid, gid) = (plan.uid, plan.gid);
        let groups = plan.groups.as_ptr();
        let set = libc::syscall(libc::SYS_setgroups, plan.groups.len(), groups);
        step(Step::Groups, set as i32)?;
        step(
            Step::Groups,
            libc::syscall(libc::SYS_setresgid, gid, gid, gid) as i32,
        )?;
        step(
            Step::User,
            libc::syscall(libc::SYS_setresuid, uid, uid, uid) as i32,
        )?;
        if plan.keep_privileges {
            return Ok(());
        }
        let none = [0u32; 6];
        let set = libc::syscall(libc::SYS_capset, &raw const version_3, none.as_ptr());
        step(Step::Capabilities, set as i32)?;
        step(
            Step::NoNewPrivileges,
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        )
    }
}

fn drop_bounding_set() -> Done {
    for capability in 0..64 {
        // SAFETY: plain integers.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } == -1 {
            let failure = failure(Step::Capabilities, -1);
            // The first number this kernel does not know.
            return if failure.errno == libc::EINVAL && capability > 0 {
                Ok(())
            } else {
                Err(failure)
            };
        }
    }
    Ok(())
}
