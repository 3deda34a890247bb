//! Which namespaces a container gets, and descriptors that keep them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::spec::Namespace;
use crate::sys::{check, during, invalid, open};

/// Kinds in the order in which a process joins them: the mounts last, since that changes what names mean.
const KINDS: [(&str, libc::c_int, &str); 6] = [
    ("ipc", libc::CLONE_NEWIPC, "ipc"),
    ("uts", libc::CLONE_NEWUTS, "uts"),
    ("network", libc::CLONE_NEWNET, "net"),
    ("cgroup", libc::CLONE_NEWCGROUP, "cgroup"),
    ("pid", libc::CLONE_NEWPID, "pid"),
    ("mount", libc::CLONE_NEWNS, "mnt"),
];

/// Namespaces of a new container.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// CLONE_NEW* of those to make.
    pub new: libc::c_int,
    /// The process ids are the pod's: shared by its containers.
    pub pod_pids: bool,
    /// The process ids are those of this container.
    pub pids_of: Option<String>,
}

/// The path by which a specification names the pod's own PID namespace. It is a name: no file is there.
pub const POD_PIDS: &str = "/run/trine/pod/ns/pid";

/// The same for a container of the pod: its id stands between these.
const PIDS_OF: (&str, &str) = ("/run/trine/container/", "/ns/pid");

fn container_in(path: &str) -> Option<&str> {
    path.strip_prefix(PIDS_OF.0)?
        .strip_suffix(PIDS_OF.1)
        .filter(|id| !id.is_empty())
}

impl Wanted {
    /// What the specification does not list is the guest's own, which is the pod's. Mounts and control
    /// groups are always the container's own.
    pub fn of(namespaces: &[Namespace]) -> io::Result<Wanted> {
        let mut wanted = Wanted {
            new: libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP,
            pod_pids: false,
            pids_of: None,
        };
        for namespace in namespaces {
            let kind = namespace.kind.as_str();
            let Some((_, flag, _)) = KINDS.iter().find(|(name, ..)| *name == kind) else {
                return Err(invalid(format!(
                    "{kind:?} namespaces are not supported in a microvm"
                )));
            };
            match namespace.path.as_str() {
                "" => wanted.new |= flag,
                POD_PIDS if kind == "pid" => wanted.pod_pids = true,
                path => {
                    if kind == "pid"
                        && let Some(id) = container_in(path)
                    {
                        wanted.pids_of = Some(id.to_owned());
                        continue;
                    }
                    return Err(invalid(format!(
                        "the {kind} namespace {path:?} does not exist in the guest"
                    )));
                }
            }
        }
        Ok(wanted)
    }

    pub fn has(&self, flag: libc::c_int) -> bool {
        self.new & flag != 0
    }
}

/// A container's namespaces, held open: what its processes do later changes nothing here.
pub struct Pinned {
    /// In the order of joining, with the flag setns(2) checks.
    joined: Vec<(libc::c_int, OwnedFd)>,
    pids: OwnedFd,
}

impl Pinned {
    /// `pid` is a child that has not been reaped, so the number is still its own.
    pub fn of(pid: i32) -> io::Result<Pinned> {
        let named = |name: &str| open(&format!("/proc/{pid}/ns/{name}"), libc::O_RDONLY);
        let mut joined = Vec::new();
        for (kind, flag, name) in KINDS {
            if kind != "pid" {
                joined.push((flag, named(name)?));
            }
        }
        let pids = named("pid")?;
        Ok(Pinned { joined, pids })
    }

    pub fn pids(&self) -> &OwnedFd {
        &self.pids
    }

    /// All but the PID namespace, which only children of the caller enter.
    pub fn join(&self) -> io::Result<()> {
        for (flag, fd) in &self.joined {
            set(fd, *flag).map_err(during("join the container's namespaces"))?;
        }
        Ok(())
    }

    pub fn numbers(&self) -> impl Iterator<Item = i32> {
        self.joined.iter().map(|(_, fd)| fd.as_raw_fd())
    }
}

pub fn set(fd: &OwnedFd, flag: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setns(fd.as_raw_fd(), flag) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: &str, path: &str) -> Namespace {
        Namespace {
            kind: kind.to_owned(),
            path: path.to_owned(),
        }
    }

    #[test]
    fn what_is_not_listed_is_the_pods() {
        let wanted = Wanted::of(&[one("pid", ""), one("mount", "")]).expect("known");
        assert!(wanted.has(libc::CLONE_NEWPID) && wanted.has(libc::CLONE_NEWNS));
        assert!(!wanted.has(libc::CLONE_NEWIPC) && !wanted.has(libc::CLONE_NEWNET));
        assert!(Wanted::of(&[one("pid", POD_PIDS)]).expect("known").pod_pids);
    }

    #[test]
    fn process_ids_may_be_those_of_another_container() {
        let wanted = Wanted::of(&[one("pid", "/run/trine/container/c1/ns/pid")]).expect("known");
        assert_eq!(wanted.pids_of.as_deref(), Some("c1"));
        assert!(!wanted.pod_pids && !wanted.has(libc::CLONE_NEWPID));
    }

    #[test]
    fn paths_of_the_host_are_refused() {
        for bad in [
            one("network", "/proc/1/ns/net"),
            one("user", ""),
            one("pid", "/x"),
            one("pid", "/run/trine/container//ns/pid"),
            one("ipc", "/run/trine/container/c1/ns/ipc"),
        ] {
            assert!(Wanted::of(&[bad]).is_err());
        }
    }
}
