//! Containers: what the specification asks for, made with the kernel's own means.

pub mod caps;
pub mod cgroup;
pub mod console;
pub mod device_rules;
pub mod devices;
pub mod directories;
pub mod disk_root;
pub mod init;
pub mod limits;
pub mod mount_api;
pub mod namespaces;
pub mod options;
pub mod parked;
pub mod paths;
pub mod program;
pub mod report;
pub mod rootfs;
pub mod seccomp;
mod seccomp_tree;
pub mod spawn;
pub mod spec;
pub mod syscalls;
mod syscalls_i386;
pub mod sysctl;
mod user;

use std::io;

use cgroup::{Group, Groups};
use namespaces::{Pinned, Wanted};
use seccomp::Filter;
use spec::Spec;

use crate::answer::{Call, Failure};
use crate::reactor::Watched;
use crate::sys::owned_long;

/// A container from CreateContainer to RemoveContainer.
pub struct Container {
    /// Never used twice; the number in tokens.
    pub number: u32,
    pub spec: Spec,
    /// Serial numbers of the disks it uses.
    pub disks: Vec<String>,
    pub wanted: Wanted,
    pub group: Group,
    pub filter: Option<Filter>,
    /// Since its first process is ready.
    pub pinned: Option<Pinned>,
    pub memory_events: Option<Watched>,
    pub freezer_events: Option<Watched>,
    pub oom_kills: u64,
    /// Who waits for it to be frozen, and for it to be gone.
    pub freezing: Vec<Call>,
    pub removing: Vec<Call>,
    /// It could not be made: it goes as soon as its group is empty, then whoever wanted it is told why.
    pub abandoned: Option<(Call, Failure)>,
}

impl Container {
    /// Everything that can be refused before a process is there. `parked`: the group of the process that waits for
    /// this container. An error leaves no other group behind.
    pub fn make(
        groups: &Groups,
        number: u32,
        id: &str,
        spec: Spec,
        parked: Option<Group>,
    ) -> io::Result<Container> {
        let wanted = Wanted::of(&spec.linux.namespaces)?;
        limits::allow(
            spec.process
                .as_ref()
                .map_or(&[], |process| &process.rlimits),
        )?;
        let filter = spec.linux.seccomp.as_ref().map(Filter::of).transpose()?;
        if may_administer_network(&spec) {
            crate::modules::prepare_net_admin();
        }
        let group = parked.map_or_else(|| groups.make(id), Ok)?;
        if let Err(error) = group.limit(&spec.linux.resources) {
            let _ = groups.remove(group.name());
            return Err(error);
        }
        Ok(Container {
            number,
            disks: spec.disks(),
            spec,
            wanted,
            oom_kills: group.oom_kills(),
            group,
            filter,
            pinned: None,
            memory_events: None,
            freezer_events: None,
            freezing: Vec::new(),
            removing: Vec::new(),
            abandoned: None,
        })
    }

    /// Its root is mounted; from here on its devices are all it may use. Before a program of its runs.
    pub fn guard(&self, groups: &Groups) -> io::Result<()> {
        device_rules::guard(groups, &self.group, &self.spec.linux)
    }

    /// A process of the container, by a number that was read a moment ago.
    pub fn send_if_member(&self, pid: u32, signal: u32) {
        // SAFETY: takes no pointers.
        let fd = owned_long(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) });
        // With the descriptor held, whoever is listed now is the one that gets the signal.
        if let Ok(fd) = fd
            && self.group.pids().contains(&pid)
        {
            // It may have ended by itself.
            let _ = crate::signals::send(&fd, signal);
        }
    }
}

fn may_administer_network(spec: &Spec) -> bool {
    let capabilities = spec.process.as_ref().and_then(|p| p.capabilities.as_ref());
    capabilities.is_some_and(|sets| sets.bounding.iter().any(|name| name == "CAP_NET_ADMIN"))
}
