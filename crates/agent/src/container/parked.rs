//! The first process of a container, forked before the container is known. A fork into new namespaces is a good part of
//! a container's start where processors are emulated, and a guest has time for it between its pod's names and its first
//! container. It is of use to a container with process ids, mounts and control groups of its own and nothing else, as
//! nearly all are; any other has its process forked when it is asked for. What the agent mounts meanwhile reaches it: the
//! guest's mounts are shared.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::cgroup::{Group, Groups};
use super::init;
use super::namespaces::Wanted;
use super::report::{self, MAX_ORDER};
use super::spawn::{Fork, fork};

/// What is in a namespace of its own in nearly every container.
const USUAL: libc::c_int = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP;
/// Programs take the age of their process for that of their container: none may be much older.
const OLDEST: Duration = Duration::from_secs(5);

pub struct Parked {
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub report: OwnedFd,
}

impl Parked {
    /// Says what container it is: the request as it came, and standard input, output and error unless there is a
    /// terminal. An error: it is not there any more.
    pub fn order(&self, request: &[u8], stdio: &[RawFd]) -> io::Result<()> {
        report::send_fds(&self.report, request, stdio)
    }
}

/// The one that waits, in a control group that nobody else has.
#[derive(Default)]
pub struct Parking {
    waiting: Option<(Parked, Group)>,
    park_at: Option<(Instant, Duration)>,
    end_at: Option<Instant>,
    /// (process, group) of those that were in vain: the group goes with the process.
    ending: Vec<(i32, String)>,
}

impl Parking {
    /// A container is to be expected. There is one for it when nothing has been asked for so long.
    pub fn expect(&mut self, quiet: Duration) {
        self.park_at = Some((Instant::now() + quiet, quiet));
    }

    /// Something is asked, which comes first.
    pub fn postpone(&mut self) {
        if let Some((_, quiet)) = self.park_at {
            self.expect(quiet);
        }
    }

    /// The one for a container that wants this, if there is one and it can be told `bytes` of order.
    pub fn take(&mut self, wanted: &Wanted, bytes: usize) -> Option<(Parked, Group)> {
        self.park_at = None;
        if wanted.new != USUAL || bytes > MAX_ORDER {
            return None;
        }
        self.end_at = None;
        self.waiting.take()
    }

    pub fn deadline(&self) -> Option<Instant> {
        let park_at = self.park_at.map(|(at, _)| at);
        park_at.into_iter().chain(self.end_at).min()
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// Without memory for one, a container's process is forked when it is asked for. `number`: as no other has it.
    pub fn expire(&mut self, groups: &Groups, number: u32, now: Instant) {
        if self.end_at.is_some_and(|at| at <= now) {
            self.end_at = None;
            // Its end of the line is closed with this one, and it ends.
            if let Some((parked, group)) = self.waiting.take() {
                self.in_vain(parked.pid, group.name().to_owned());
            }
        }
        if self.park_at.is_none_or(|(at, _)| at > now) {
            return;
        }
        self.park_at = None;
        if self.waiting.is_none()
            && let Ok(made) = park(groups, number)
        {
            self.waiting = Some(made);
            self.end_at = Some(now + OLDEST);
        }
    }

    /// It ends, of a container that came to nothing.
    pub fn in_vain(&mut self, pid: i32, group: String) {
        self.ending.push((pid, group));
    }

    /// SIGCHLD has told of this one. True when it was one of these.
    pub fn ended(&mut self, groups: &Groups, pid: i32) -> bool {
        if let Some((_, group)) = self.waiting.take_if(|(parked, _)| parked.pid == pid) {
            self.end_at = None;
            self.in_vain(pid, group.name().to_owned());
        }
        let Some(at) = self.ending.iter().position(|(other, _)| *other == pid) else {
            return false;
        };
        let (_, group) = self.ending.swap_remove(at);
        // One that the kernel is not done with is taken by no other container: its name is its own.
        let _ = groups.remove(&group);
        true
    }
}

fn park(groups: &Groups, number: u32) -> io::Result<(Parked, Group)> {
    // No container's id has a colon.
    let group = groups.make(&format!("parked:{number}"))?;
    let forked = report::pair().and_then(|(ours, theirs)| {
        Ok((
            ours,
            theirs,
            fork(USUAL & !libc::CLONE_NEWCGROUP, Some(&group))?,
        ))
    });
    match forked {
        Ok((_, theirs, Fork::Child)) => init::wait_for_order(theirs),
        Ok((report, _, Fork::Parent { pid, pidfd })) => Ok((Parked { pid, pidfd, report }, group)),
        Err(error) => {
            let _ = groups.remove(group.name());
            Err(error)
        }
    }
}
