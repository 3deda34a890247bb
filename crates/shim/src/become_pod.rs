//! Claim: a shim that was made without a pod becomes a pod's. `start` has renamed its directory before it asks;
//! paths below that directory are held relative to it, so that nothing here depends on its name.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trine_wire::shim::ClaimRequest;

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::host::move_link::Moving;
use crate::host::{cgroup, net};
use crate::pod::{Role, Spec, socket_path, valid_id};
use crate::publisher::Publisher;
use crate::serve;
use crate::shim::Shim;
use crate::spare::own_namespaces;

const PROTOCOL: u32 = 1;
/// A start that has renamed a directory tells its shim at once. One that has died in between is noticed after
/// two looks; containerd's `delete`, if it comes, is faster.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// Of a shim without a pod: whether somebody has taken its directory for one.
pub struct Unclaimed {
    home: Option<PathBuf>,
    pub look_at: Instant,
    was_gone: bool,
}

impl Unclaimed {
    pub fn new(now: Instant) -> Unclaimed {
        Unclaimed {
            home: std::env::current_dir().ok(),
            look_at: now + LOOK_EVERY,
            was_gone: false,
        }
    }

    pub fn is_lost(&mut self, now: Instant) -> bool {
        if now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_EVERY;
        let gone = std::env::current_dir().ok() != self.home;
        std::mem::replace(&mut self.was_gone, gone) && gone
    }
}

impl Shim {
    pub fn claim(&mut self, payload: &[u8]) -> Answer {
        let request: ClaimRequest = decode(payload)?;
        if request.protocol != PROTOCOL {
            let message = format!("claim protocol {} is not spoken here", request.protocol);
            return Err(failure(Code::Unimplemented, message));
        }
        if !valid_id(&request.sandbox_id) || request.namespace.is_empty() {
            return Err(failure(Code::InvalidArgument, "a claim names a pod"));
        }
        let identity = &self.identity;
        let same = identity.sandbox_id == request.sandbox_id
            && identity.namespace == request.namespace
            && identity.runtime == request.runtime;
        if !identity.podless {
            return match same {
                true => Ok(empty()),
                false => Err(refused("this shim is another pod's")),
            };
        }
        self.require_whole(&request)?;
        if let Err(error) = self.become_pod(request) {
            // Half a pod's and half its own: nobody may use it.
            self.log.line(&format!("claim failed: {error}"));
            self.shutdown_asked();
            return Err(error.into());
        }
        Ok(empty())
    }

    fn require_whole(&self, request: &ClaimRequest) -> Result<(), Failure> {
        if self.is_ending() {
            return Err(refused("this shim is ending"));
        }
        if request.same_namespaces != own_namespaces()? {
            return Err(refused("it is in other namespaces"));
        }
        match self.children.iter().find(|(_, child)| !child.is_running()) {
            Some((key, _)) => Err(refused(&format!("its child {key} has ended"))),
            None => Ok(()),
        }
    }

    fn become_pod(&mut self, request: ClaimRequest) -> io::Result<()> {
        let spec = Spec::read(Path::new(&request.bundle))?;
        let dir = std::env::current_dir()?;
        // The kernel makes both wait for all who read what they change: they wait side by side.
        let moving = self.move_taps(&spec.netns)?;
        // First, so that whatever fails from here on, or ends here, is found by its groups.
        self.enter_cgroups(&dir, &spec.cgroups_path)?;
        if !spec.netns.is_empty() {
            net::enter(Path::new(&spec.netns))?;
        }
        self.keeper.moving = moving;
        // Made beside pods that run: its threads have stood back so far.
        for child in self.children.values() {
            stand_back_no_more(child.pid);
        }
        stand_back_no_more(std::process::id().cast_signed());
        self.relay
            .serve_pod(&request.namespace, &request.sandbox_id, &socket_path(&dir));
        self.publisher = Publisher::new(&request.publish_address, &request.namespace);
        let made = format!("{}/{}", self.identity.namespace, self.identity.sandbox_id);
        let identity = &mut self.identity;
        identity.namespace = request.namespace;
        identity.sandbox_id = request.sandbox_id;
        identity.runtime = request.runtime;
        identity.bundle = request.bundle;
        identity.netns = spec.netns;
        identity.has_sandbox_task = spec.role == Role::Sandbox;
        identity.pod_dir = dir;
        identity.podless = false;
        let (id, dir) = (&self.identity.sandbox_id, self.identity.pod_dir.display());
        self.log
            .line(&format!("{made} now serves pod {id} in {dir}"));
        Ok(())
    }

    /// The taps move along; whoever holds a descriptor of one keeps it. They are down until OpenTap is asked, which
    /// waits until they are there.
    fn move_taps(&self, netns: &str) -> io::Result<Option<Moving>> {
        let names: Vec<String> = self.keeper.taps.keys().cloned().collect();
        if netns.is_empty() || names.is_empty() {
            return Ok(None);
        }
        Moving::begin(names, File::open(netns)?).map(Some)
    }

    /// Waits for taps that are on their way into the pod's network. One that has not arrived is the end of the shim:
    /// its guest is connected to that one.
    pub fn taps_have_moved(&mut self) -> Result<(), Failure> {
        let Some(moving) = self.keeper.moving.take() else {
            return Ok(());
        };
        moving.end().map_err(|error| {
            self.log.line(&format!("the claim failed late: {error}"));
            self.shutdown_asked();
            error.into()
        })
    }

    /// What the children have used so far stays charged where they were.
    fn enter_cgroups(&mut self, dir: &Path, path: &str) -> io::Result<()> {
        let groups = &mut self.identity.cgroups;
        serve::enter_cgroups(dir, path, groups)?;
        if groups.is_empty() {
            return Ok(());
        }
        for child in self.children.values_mut() {
            cgroup::add(groups, child.pid)?;
            child.oom_before = cgroup::oom_kills(groups);
        }
        Ok(())
    }
}

/// Best effort: a pod with less of the processors is better than none.
fn stand_back_no_more(pid: i32) {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let ids = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    for id in ids {
        // SAFETY: takes no pointers.
        unsafe {
            if libc::getpriority(libc::PRIO_PROCESS, id) > 0 {
                libc::setpriority(libc::PRIO_PROCESS, id, 0);
            }
        }
    }
}

fn refused(why: &str) -> Failure {
    failure(Code::FailedPrecondition, why)
}

/// trined may live in a mount namespace of its own, which ends with it; a pod's mounts belong to the host.
pub fn enter_host_mounts() -> io::Result<()> {
    const HOST: &str = "/proc/1/ns/mnt";
    // Where the host's first process may not be looked at, a claim from elsewhere is refused.
    let Ok(wanted) = fs::read_link(HOST) else {
        return Ok(());
    };
    if wanted == fs::read_link("/proc/self/ns/mnt")? {
        return Ok(());
    }
    let host = File::open(HOST)?;
    // SAFETY: takes no pointers; this process has one thread.
    let entered = unsafe { libc::setns(host.as_raw_fd(), libc::CLONE_NEWNS) };
    match entered {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_at_home_is_not_lost_and_one_that_was_moved_is_after_two_looks() {
        let now = Instant::now();
        let mut unclaimed = Unclaimed::new(now);
        assert!(!unclaimed.is_lost(now + LOOK_EVERY));
        assert!(!unclaimed.is_lost(now + 2 * LOOK_EVERY));
        unclaimed.home = Some(PathBuf::from("/where/it/was"));
        assert!(!unclaimed.is_lost(now + 3 * LOOK_EVERY));
        assert!(
            !unclaimed.is_lost(now + 3 * LOOK_EVERY),
            "not before its time"
        );
        assert!(unclaimed.is_lost(now + 4 * LOOK_EVERY));
    }
}
