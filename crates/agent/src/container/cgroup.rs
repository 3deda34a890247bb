//! A container's control group (version 2), below one directory of the agent's.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::device_rules::Programs;
use super::directories::children;
use super::spec::{Memory, Resources};
use crate::sys::{c_string, check, during, invalid, open, open_at, read, write};

const MAX_FILE: usize = 64 << 10;
const MAX_DEPTH: u32 = 32;
/// Controllers a container's limits and figures need.
const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "io", "cpuset"];

/// The directory that holds one group a container.
pub struct Groups {
    dir: OwnedFd,
    pub device_programs: Programs,
}

impl Groups {
    /// `parent` is a directory of a cgroup2 mount; `trine` below it is made and its controllers are on.
    pub fn open(parent: &str) -> io::Result<Groups> {
        let above = open(parent, libc::O_DIRECTORY | libc::O_RDONLY)?;
        let path = format!("{parent}/trine");
        enable_controllers(&above);
        crate::sys::make_dir(&path)?;
        let dir = open(&path, libc::O_DIRECTORY | libc::O_RDONLY)?;
        enable_controllers(&dir);
        leave_pids_for_the_agent(&dir);
        Ok(Groups {
            dir,
            device_programs: Programs::default(),
        })
    }

    /// A new, empty group. One that a failed attempt has left is taken.
    pub fn make(&self, name: &str) -> io::Result<Group> {
        let path = c_string(name)?;
        // SAFETY: a C string.
        match check(unsafe { libc::mkdirat(self.dir.as_raw_fd(), path.as_ptr(), 0o755) }) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(during(format!("make the control group {name}"))(e));
            }
            _ => {}
        }
        let dir = open_at(&self.dir, name, libc::O_DIRECTORY | libc::O_RDONLY)?;
        Ok(Group {
            dir,
            name: name.to_owned(),
        })
    }

    /// Removes an empty group and the groups its container has made in it.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        remove_below(&self.dir, name, 0)
    }
}

pub struct Group {
    dir: OwnedFd,
    name: String,
}

impl Group {
    pub fn fd(&self) -> &OwnedFd {
        &self.dir
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn watchable(&self, file: &str) -> io::Result<OwnedFd> {
        open_at(&self.dir, file, libc::O_RDONLY)
    }

    pub fn read(&self, file: &str) -> io::Result<String> {
        read_file(&self.dir, file)
    }

    pub fn write(&self, file: &str, value: &str) -> io::Result<()> {
        write_file(&self.dir, file, value).map_err(during(format!("write {value:?} to {file}")))
    }

    /// One number of a file of `key value` lines.
    pub fn count(&self, file: &str, key: &str) -> Option<u64> {
        let text = self.read(file).ok()?;
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == key).then(|| value.trim().parse().ok())?
        })
    }

    pub fn limit(&self, resources: &Resources) -> io::Result<()> {
        let memory = &resources.memory;
        if let Some(limit) = memory.limit {
            self.write("memory.max", &bytes(limit))?;
        }
        if let (Some(both), Some(limit)) = (memory.swap, memory.limit)
            && limit > 0
        {
            let swap = if both < 0 {
                both
            } else {
                (both - limit).max(0)
            };
            match self.write("memory.swap.max", &bytes(swap)) {
                // A kernel without swap has no such file, and nothing to limit.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        if let Some(low) = memory.reservation {
            self.write("memory.low", &bytes(low))?;
        }
        let cpu = &resources.cpu;
        if let Some(shares) = cpu.shares.filter(|s| *s > 0) {
            self.write("cpu.weight", &weight(shares).to_string())?;
        }
        if cpu.quota.is_some() || cpu.period.is_some() {
            let quota = cpu.quota.unwrap_or(-1);
            let quota = if quota > 0 {
                quota.to_string()
            } else {
                "max".to_owned()
            };
            let period = cpu.period.filter(|p| *p > 0).unwrap_or(100_000);
            self.write("cpu.max", &format!("{quota} {period}"))?;
        }
        for (file, value) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
            if !value.is_empty() {
                self.write(file, value)?;
            }
        }
        if let Some(limit) = resources.pids.limit.filter(|l| *l != 0) {
            self.write("pids.max", &bytes(limit))?;
        }
        for (file, value) in &resources.unified {
            if file.contains('/') || !file.contains('.') {
                return Err(invalid(format!("{file:?} is no file of a control group")));
            }
            self.write(file, value)?;
        }
        Ok(())
    }

    /// The kernel makes room for a smaller limit by killing. What only caches files it gives back by itself.
    pub fn has_room(&self, memory: &Memory) -> io::Result<()> {
        let Some(limit) = memory.limit.and_then(|limit| u64::try_from(limit).ok()) else {
            return Ok(());
        };
        let stat = |key: &str| self.count("memory.stat", key).unwrap_or(0);
        let all = self.read("memory.current").unwrap_or_default();
        let usage: u64 = all.trim().parse().unwrap_or(0);
        let cached = (stat("file") + stat("slab_reclaimable")).saturating_sub(stat("shmem"));
        let held = usage.saturating_sub(cached);
        if held <= limit {
            return Ok(());
        }
        let text = format!("unable to set memory limit to {limit} (current usage: {held})");
        Err(io::Error::other(text))
    }

    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })
    }

    pub fn is_frozen(&self) -> bool {
        self.count("cgroup.events", "frozen") == Some(1)
    }

    pub fn is_populated(&self) -> bool {
        self.count("cgroup.events", "populated") == Some(1)
    }

    /// SIGKILL for everything in the group and below, frozen or not, also what is being forked.
    pub fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Process ids as the agent sees them, of the group and of those below.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        collect_pids(&self.dir, 0, &mut pids);
        pids.sort_unstable();
        pids
    }

    /// What was killed here for want of memory.
    pub fn oom_kills(&self) -> u64 {
        self.count("memory.events", "oom_kill").unwrap_or(0)
    }
}

fn bytes(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

/// cgroup v1's 2..262144 on version 2's 1..10000, the conversion the OCI runtimes agree on.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}

/// What the kernel has not got stays off: a limit that needs it fails by its own name later.
fn enable_controllers(dir: &OwnedFd) {
    let available = read_file(dir, "cgroup.controllers").unwrap_or_default();
    for name in CONTROLLERS {
        if available.split_whitespace().any(|n| n == name) {
            let _ = write_file(dir, "cgroup.subtree_control", &format!("+{name}"));
        }
    }
}

/// Containers together never take the last process ids: the agent must be able to fork.
fn leave_pids_for_the_agent(dir: &OwnedFd) {
    let number =
        |path: &str| -> Option<u64> { std::fs::read_to_string(path).ok()?.trim().parse().ok() };
    let all = [
        number("/proc/sys/kernel/pid_max"),
        number("/proc/sys/kernel/threads-max"),
    ];
    if let Some(most) = all.into_iter().flatten().min() {
        let _ = write_file(dir, "pids.max", &(most - most / 8).to_string());
    }
}

fn read_file(dir: &OwnedFd, file: &str) -> io::Result<String> {
    let fd = open_at(dir, file, libc::O_RDONLY)?;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while text.len() < MAX_FILE {
        match read(&fd, &mut buffer)? {
            0 => break,
            count => text.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
    String::from_utf8(text).map_err(|_| invalid(format!("{file} is not text")))
}

fn write_file(dir: &OwnedFd, file: &str, value: &str) -> io::Result<()> {
    let fd = open_at(dir, file, libc::O_WRONLY)?;
    write(&fd, value.as_bytes()).map(|_| ())
}

fn collect_pids(dir: &OwnedFd, depth: u32, pids: &mut Vec<u32>) {
    let text = read_file(dir, "cgroup.procs").unwrap_or_default();
    pids.extend(text.lines().filter_map(|l| l.parse::<u32>().ok()));
    if depth < MAX_DEPTH {
        for name in children(dir) {
            if let Ok(below) = open_at(dir, &name, libc::O_DIRECTORY | libc::O_NOFOLLOW) {
                collect_pids(&below, depth + 1, pids);
            }
        }
    }
}

fn remove_below(dir: &OwnedFd, name: &str, depth: u32) -> io::Result<()> {
    let below = match open_at(dir, name, libc::O_DIRECTORY | libc::O_NOFOLLOW) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if depth < MAX_DEPTH {
        for child in children(&below) {
            remove_below(&below, &child, depth + 1)?;
        }
    }
    drop(below);
    let path = c_string(name)?;
    // SAFETY: a C string.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), path.as_ptr(), libc::AT_REMOVEDIR) })
        .map_err(during(format!("remove the control group {name}")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_elsewhere() {
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 39);
        assert_eq!(weight(262_144), 10_000);
        assert_eq!(weight(0), 1);
    }
}
