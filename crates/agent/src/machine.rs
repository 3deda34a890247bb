//! A whole machine's guest: the agent is one service of it among others. What it is asked to run has the guest's own
//! namespaces, root and devices, as if the guest were the one container in it.

use std::fs;
use std::io;

use crate::agent::Agent;
use crate::answer::{Code, Failure, failure};
use crate::container::Container;
use crate::container::namespaces::Pinned;
use crate::container::spec::Spec;
use crate::sys::{during, invalid, make_dir};

/// The guest's name where a call names a container.
pub const ID: &str = "machine";

/// What belongs to the machine's owner: its disks, its network, its clock at first, its containers.
const REFUSED: [&str; 9] = [
    "Revive",
    "SetNetwork",
    "Mount",
    "Unmount",
    "CreateContainer",
    "RemoveContainer",
    "Pause",
    "Resume",
    "Update",
];

/// Nobody has to say whose the guest is: it has booted from its own disk.
pub fn adopt(agent: &mut Agent) -> io::Result<()> {
    let number = agent.number();
    let mut container = Container::make(&agent.groups, number, ID, Spec::default(), None)?;
    container.pinned = Some(Pinned::of(std::process::id().cast_signed())?);
    agent.containers.insert(ID.to_owned(), container);
    agent.pod = Some(ID.to_owned());
    agent.is_machine = true;
    Ok(())
}

pub fn check(agent: &Agent, method: &str) -> Result<(), Failure> {
    if agent.is_machine && REFUSED.contains(&method) {
        return Err(failure(
            Code::FailedPrecondition,
            format!("{method}: this guest is a whole machine, which is its owner's"),
        ));
    }
    Ok(())
}

/// The agent's own control group, which who started it has left to it. The agent moves into one below it: a group that
/// has both processes and controllers for its children can have no children of use.
pub fn own_group() -> io::Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(during("read the mounts"))?;
    let own = fs::read_to_string("/proc/self/cgroup").map_err(during("read the groups"))?;
    let group = group_in(&mounts, &own)
        .ok_or_else(|| invalid("this guest has no control groups of version 2"))?;
    let below = format!("{group}/trine-agent");
    make_dir(&below)?;
    fs::write(format!("{below}/cgroup.procs"), "0").map_err(during(below))?;
    Ok(group)
}

fn group_in(mounts: &str, own: &str) -> Option<String> {
    let mut cgroup2 = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then_some(at)
    });
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let at = cgroup2.next()?;
    Some(format!("{at}{}", path.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        let group = |own| group_in(mounts, own);
        assert_eq!(
            group("0::/system.slice/trine-agent.service\n").as_deref(),
            Some("/sys/fs/cgroup/system.slice/trine-agent.service")
        );
        assert_eq!(group("1:cpu:/\n0::/\n").as_deref(), Some("/sys/fs/cgroup"));
        assert_eq!(group("1:cpu:/x\n"), None);
        assert_eq!(group_in("proc /proc proc rw 0 0\n", "0::/\n"), None);
    }
}
