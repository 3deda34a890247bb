//! Process ids that the pod's containers share (shareProcessNamespace).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::agent::Agent;
use crate::container::caps::Sets;
use crate::container::mount_api::{NewFs, attach};
use crate::container::report::{self, Message, Report};
use crate::container::rootfs::pivot;
use crate::container::spawn::{Fork, fork};
use crate::container::spec::Capabilities;
use crate::sys::{check, during};
use crate::{signals, sys};

/// Nobody's, so that no container's user may signal or look into it.
const NOBODY: libc::uid_t = 65_534;
const EMPTY_DIR: &str = "/run/trine/empty";
const READY_MS: libc::c_int = 10_000;

pub struct PodPids {
    /// Its first process.
    pid: i32,
    pub namespace: OwnedFd,
}

impl Agent {
    /// The PID namespace that containers share when the pod asks for it. Its first process waits for orphans
    /// to end, for ever.
    pub fn ensure_pod_pids(&mut self) -> io::Result<()> {
        if self.pod_pids.is_some() {
            return Ok(());
        }
        sys::make_dir(EMPTY_DIR)?;
        let (ours, theirs) = report::pair()?;
        match fork(libc::CLONE_NEWPID | libc::CLONE_NEWNS, None)? {
            Fork::Child => pause(&theirs),
            Fork::Parent { pid, pidfd } => {
                drop(theirs);
                let path = format!("/proc/{pid}/ns/pid");
                let namespace = until_ready(&ours).and_then(|()| sys::open(&path, libc::O_RDONLY));
                // Without it there is nothing to share; it may have ended by itself.
                let namespace = namespace.inspect_err(|_| {
                    let _ = signals::send(&pidfd, libc::SIGKILL.cast_unsigned());
                });
                let namespace = namespace.map_err(during("make the pod's PID namespace"))?;
                self.pod_pids = Some(PodPids { pid, namespace });
                Ok(())
            }
        }
    }

    /// True when it was the first process of the pod's. All others in its namespace have ended with it, and no more can
    /// be made there: the next container that shares process ids gets a namespace anew.
    pub fn pod_pids_ended(&mut self, pid: i32) -> bool {
        self.pod_pids.take_if(|pids| pids.pid == pid).is_some()
    }
}

/// It asks nobody for anything while it gets ready: the agent can wait for that.
fn until_ready(report: &OwnedFd) -> io::Result<()> {
    let mut poll = libc::pollfd {
        fd: report.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure, which outlives the call.
    check(unsafe { libc::poll(&raw mut poll, 1, READY_MS) })?;
    match report::receive(report)? {
        Message::Ready => Ok(()),
        Message::Failed(text) => Err(io::Error::other(text)),
        Message::NothingYet => Err(io::ErrorKind::TimedOut.into()),
        Message::Closed | Message::Terminal(_) => Err(io::Error::other("its first process died")),
    }
}

fn pause(report: &Report) -> ! {
    if let Err(error) = become_nobody().and_then(|()| report.ready()) {
        report.failed(&error);
        // SAFETY: ends the child without running anything of the agent's.
        unsafe { libc::_exit(1) }
    }
    // SAFETY: takes no pointers; the descriptors are the agent's, which this process uses no more.
    unsafe { sys::close_range(0, libc::c_uint::MAX) };
    loop {
        // SAFETY: all zeroes is a valid siginfo_t; the set holds SIGCHLD, which is blocked since the agent began.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGCHLD);
            libc::sigwaitinfo(&raw const set, std::ptr::null_mut());
        }
        while signals::next_ended().is_some() {}
    }
}

/// A container with CAP_SYS_PTRACE can take over every process it sees: this one has nothing to give. Neither a
/// capability nor a file of the agent's is within its reach.
fn become_nobody() -> io::Result<()> {
    let none = Sets::of(&Capabilities::default());
    none.limit_bounding()?;
    sys::mount("", "/", "", libc::MS_PRIVATE | libc::MS_REC, "")?;
    let empty = NewFs::open("tmpfs")?.mount(libc::MOUNT_ATTR_RDONLY)?;
    attach(&empty, sys::open(EMPTY_DIR, libc::O_PATH)?.as_fd())?;
    pivot(&empty).map_err(during("leave the root"))?;
    // SAFETY: a C string and an empty list; the rest takes no pointers.
    unsafe {
        check(libc::prctl(libc::PR_SET_NAME, c"pause".as_ptr())).map_err(during("name it"))?;
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
        check(libc::setresuid(NOBODY, NOBODY, NOBODY))?;
    }
    none.apply()?;
    // SAFETY: takes no pointers. Changing the user has cleared it, and has made the process traceable.
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
    }
    Ok(())
}
