//! The pod's control groups: the shim puts itself, and so all its children, where the sandbox's
//! spec says. The difference between cgroup v1, v2 and the mix of both stays in this module.
//!
//! With the systemd form of a path the directories are made without asking systemd for a scope.

use super::mountinfo::{self, Mount};
use super::sys::{during, invalid};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long to go on killing, and removing, and the pause between two rounds. A big process on a busy node
/// takes a good part of a second to end; containerd gives the whole of `delete` five.
const LIMIT: Duration = Duration::from_millis(1200);
const PAUSE: Duration = Duration::from_millis(5);
/// Control groups that are looked at below one directory, and how deep.
const MOST_GROUPS: usize = 1024;
const DEEPEST: usize = 8;

/// One control group in every hierarchy that is mounted.
pub struct Groups {
    hierarchies: Vec<Hierarchy>,
    names: Vec<String>,
}

/// Both forms of `cgroups_path` are known: `/kubepods/podX/ID` and `SLICE:PREFIX:NAME`.
pub fn find(cgroups_path: &str) -> io::Result<Groups> {
    let names = parse_path(cgroups_path)?;
    let hierarchies = hierarchies(mountinfo::read()?);
    if hierarchies.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no cgroup hierarchy is mounted",
        ));
    }
    Ok(Groups { hierarchies, names })
}

impl Groups {
    /// Its directories, whether they are there or not.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let roots = self.hierarchies.iter().map(|hierarchy| &hierarchy.root);
        roots
            .map(|root| {
                self.names
                    .iter()
                    .fold(root.clone(), |dir, name| dir.join(name))
            })
            .collect()
    }

    /// Makes it and moves the calling process in. Existing directories are used as they are.
    pub fn join(&self) -> io::Result<()> {
        let mut each = self.hierarchies.iter();
        each.try_for_each(|hierarchy| hierarchy.join(&self.names))
    }
}

/// Moves another process, with all its threads, into these groups.
pub fn add(dirs: &[PathBuf], pid: i32) -> io::Result<()> {
    for dir in dirs {
        fs::write(dir.join("cgroup.procs"), pid.to_string())
            .map_err(during(format!("move process {pid} into {}", dir.display())))?;
    }
    Ok(())
}

/// How often the kernel has killed something in these groups for memory.
pub fn oom_kills(dirs: &[PathBuf]) -> u64 {
    // v1 and v2 name the line alike; a hierarchy without the memory controller has neither file.
    let files = ["memory.oom_control", "memory.events"];
    dirs.iter()
        .flat_map(|dir| files.map(|file| dir.join(file)))
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter_map(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("oom_kill "))
                .and_then(|count| count.trim().parse::<u64>().ok())
        })
        .sum()
}

/// Kills every process in these groups and below, but the caller. An error when some are left after
/// a little over a second (they may hang in the kernel).
pub fn kill_all(dirs: &[PathBuf]) -> io::Result<()> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let end = Instant::now() + LIMIT;
    loop {
        let left = dirs
            .iter()
            .flat_map(|dir| with_groups_below(dir))
            .flat_map(|group| processes(&group))
            // 0 stands for a process of another PID namespace.
            .filter(|pid| *pid > 0 && *pid != own)
            .collect::<Vec<_>>();
        if left.is_empty() {
            return Ok(());
        }
        if !left.contains(&own) {
            for dir in dirs {
                // v2, Linux 5.14; also catches what forks meanwhile.
                let whole = dir.join("cgroup.kill");
                if whole.exists() && !processes(dir).contains(&own) {
                    let _ = fs::write(whole, "1");
                }
            }
        }
        for pid in &left {
            // SAFETY: takes no pointers. A process that is gone is what we want.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        if Instant::now() >= end {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("processes {left:?} do not end"),
            ));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Removes these groups and those below. What is gone already is a success; groups whose processes
/// are just ending are tried again for a little over a second.
pub fn remove(dirs: &[PathBuf]) -> io::Result<()> {
    let mut left: Vec<&PathBuf> = dirs.iter().collect();
    let end = Instant::now() + LIMIT;
    let result = loop {
        let mut result = Ok(());
        left.retain(|dir| match remove_tree(dir) {
            Ok(()) => false,
            Err(error) => {
                result = Err(error);
                true
            }
        });
        let busy = |error: &io::Error| error.kind() == io::ErrorKind::ResourceBusy;
        if !result.as_ref().is_err_and(busy) || Instant::now() >= end {
            break result;
        }
        std::thread::sleep(PAUSE);
    };
    if dirs.len() > 1 {
        dirs.iter().for_each(|dir| remove_empty_parents(dir));
    }
    result
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for group in with_groups_below(dir).iter().rev() {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(during(format!("remove {}", group.display())))?,
        }
    }
    Ok(())
}

/// Beside v1 hierarchies nobody but us uses the unified one, so nobody else would take away the
/// parents that were made in it. The kernel refuses those that are in use.
fn remove_empty_parents(dir: &Path) {
    for parent in dir.ancestors().skip(1) {
        let inside = parent.join("cgroup.type").exists() && parent.join("cgroup.events").exists();
        if !inside || fs::remove_dir(parent).is_err() {
            return;
        }
    }
}

/// The group and all below it, parents first, within bounds.
fn with_groups_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut level = vec![dir.to_owned()];
    for _ in 0..DEEPEST {
        let next: Vec<PathBuf> = level
            .iter()
            .filter_map(|group| fs::read_dir(group).ok())
            .flat_map(|entries| entries.filter_map(Result::ok))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .take(MOST_GROUPS.saturating_sub(found.len()))
            .collect();
        if next.is_empty() {
            break;
        }
        found.extend_from_slice(&next);
        level = next;
    }
    found
}

fn processes(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The path below a hierarchy's root, as plain names.
fn parse_path(path: &str) -> io::Result<Vec<String>> {
    let wrong = |why: &str| invalid(format!("cgroupsPath {path:?} {why}"));
    let names = if path.contains(':') && !path.starts_with('/') {
        systemd_names(path).ok_or_else(|| wrong("is not SLICE:PREFIX:NAME"))?
    } else {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let bad = |name: &String| {
        name.is_empty()
            || name == "."
            || name == ".."
            || name.len() > 255
            || name.contains(['/', '\0', '\n'])
    };
    if names.is_empty() || names.len() > 64 || names.iter().any(bad) {
        return Err(wrong("names no control group"));
    }
    Ok(names)
}

/// `a-b.slice:cri:ID` is `a.slice/a-b.slice/cri-ID.scope` (systemd.slice(5)).
fn systemd_names(path: &str) -> Option<Vec<String>> {
    let mut parts = path.split(':');
    let (slice, prefix, name) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || name.is_empty() {
        return None;
    }
    let slice = if slice.is_empty() {
        "system.slice"
    } else {
        slice
    };
    let stem = slice.strip_suffix(".slice")?;
    let mut names = Vec::new();
    if stem != "-" {
        let mut whole = String::new();
        for part in stem.split('-') {
            if part.is_empty() {
                return None;
            }
            if !whole.is_empty() {
                whole.push('-');
            }
            whole.push_str(part);
            names.push(format!("{whole}.slice"));
        }
    }
    names.push(match prefix {
        _ if name.ends_with(".slice") => name.to_owned(),
        "" => format!("{name}.scope"),
        prefix => format!("{prefix}-{name}.scope"),
    });
    Some(names)
}

#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Kind {
    V1,
    /// New groups of this v1 controller take no process until they have processors and memory.
    V1WithCpuset,
    V2,
}

/// Every hierarchy once, at the first place it is mounted.
fn hierarchies(mounts: Vec<Mount>) -> Vec<Hierarchy> {
    let mut seen: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for mount in mounts {
        let kind = match mount.kind.as_str() {
            "cgroup2" => Kind::V2,
            "cgroup" if mount.options.split(',').any(|option| option == "cpuset") => {
                Kind::V1WithCpuset
            }
            "cgroup" => Kind::V1,
            _ => continue,
        };
        if !seen.contains(&mount.device) {
            seen.push(mount.device);
            found.push(Hierarchy {
                root: mount.point,
                kind,
            });
        }
    }
    found
}

impl Hierarchy {
    /// Makes the group with its parents and moves the caller in.
    fn join(&self, names: &[String]) -> io::Result<()> {
        let mut group = self.root.clone();
        for name in names {
            if self.kind == Kind::V2 {
                enable_controllers(&group);
            }
            let parent = group.clone();
            group.push(name);
            match fs::create_dir(&group) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(during(format!("make {}", group.display())))?,
            }
            if self.kind == Kind::V1WithCpuset {
                copy_cpuset(&parent, &group)?;
            }
        }
        // 0 is the writer, whatever its number is in this PID namespace.
        fs::write(group.join("cgroup.procs"), "0")
            .map_err(during(format!("move into {}", group.display())))
    }
}

/// One by one: a controller that may not be enabled here must not keep the others off.
fn enable_controllers(group: &Path) {
    let available = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    let control = group.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control).unwrap_or_default();
    for controller in available.split_whitespace() {
        if !enabled.split_whitespace().any(|one| one == controller) {
            let _ = fs::write(&control, format!("+{controller}"));
        }
    }
}

fn copy_cpuset(parent: &Path, group: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(file), group.join(file));
        let named = || during(format!("copy {} to {}", from.display(), to.display()));
        if fs::read_to_string(&to).map_err(named())?.trim().is_empty() {
            let value = fs::read_to_string(&from).map_err(named())?;
            fs::write(&to, value.trim()).map_err(named())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
