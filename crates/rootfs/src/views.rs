//! Files of lxcfs over those of running containers: when lxcfs went and came back, what a container has is dead, and
//! only from inside its mount namespace can another be put there.

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use trine_linux::{c_string, check, check_long, during, invalid, owned_long};

use crate::apart::within;

/// Most containers of a call, and most files of a container: a node has fewer.
const MAX_LINES: usize = 10_000;
const MAX_FILES: usize = 32;
const FILES: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/swaps",
    "/proc/diskstats",
    "/sys/devices/system/cpu/online",
];
/// Of linux/mount.h; the C library of the shipped build does not name them.
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
/// For a container: its own mounts below /proc, which may hang, hold up none of the others.
const LIMIT: Duration = Duration::from_millis(200);
const LXCFS: &str = "fuse.lxcfs";

/// One file of the lxcfs that runs now.
struct View {
    file: &'static str,
    source: String,
}

/// Reads `ID PID FILE...` lines, and answers `files FILE...` and then `ID ok` or `ID WHY`, in any order.
pub fn bind(dir: &str) -> io::Result<()> {
    let device = device_of(dir)?;
    let views = readable(dir)?;
    let mut out = io::stdout().lock();
    let names: Vec<&str> = views.iter().map(|view| view.file).collect();
    writeln!(out, "files {}", names.join(" "))?;
    let lines = io::stdin().lock().lines().take(MAX_LINES);
    let mut lines = lines.collect::<io::Result<Vec<_>>>()?;
    // Not always the same ones are first: many that hang may use up the time of all.
    let first = std::process::id() as usize % lines.len().max(1);
    lines.rotate_left(first);
    for line in lines {
        let mut words = line.split(' ');
        let (Some(id), Some(pid)) = (words.next(), words.next()) else {
            return Err(invalid("a line without a container and its process"));
        };
        let pid = pid
            .parse()
            .map_err(|_| invalid(format!("{pid}: no process id")))?;
        let wanted: Vec<&str> = words.take(MAX_FILES).collect();
        match within(LIMIT, || bind_one(id, pid, &wanted, &views, &device)) {
            Ok(()) => writeln!(out, "{id} ok")?,
            Err(error) => writeln!(out, "{id} {}", error.to_string().replace('\n', " "))?,
        }
    }
    out.flush()
}

/// Those that lxcfs serves: one version has files that another lacks. One that cannot be read is not handed on.
fn readable(dir: &str) -> io::Result<Vec<View>> {
    let mut found = Vec::new();
    for file in FILES {
        let source = format!("{dir}{file}");
        match fs::read(&source) {
            Ok(_) => found.push(View { file, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(during(format!("read {source}"))(error)),
        }
    }
    if found.is_empty() {
        return Err(invalid(format!("{dir} has no files of lxcfs")));
    }
    Ok(found)
}

fn bind_one(id: &str, pid: i32, wanted: &[&str], views: &[View], device: &str) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let process = owned_long(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
        .map_err(during("find its process"))?;
    // A number that went to another process since: that one is in no cgroup of this container.
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    if id.len() < 12 || !cgroups.contains(id) {
        return Err(invalid(format!("process {pid} is not the container's")));
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    let trees = steps(&mounts, wanted, views, device)
        .into_iter()
        .map(|(file, stale, source)| Ok((file, stale, source.map(tree).transpose()?)))
        .collect::<io::Result<Vec<_>>>()?;
    enter(&process).map_err(during("enter its mount namespace"))?;
    for (file, stale, tree) in trees {
        for _ in 0..stale {
            unmount(file)?;
        }
        if let Some(tree) = tree {
            attach(&tree, file).map_err(during(file))?;
        }
    }
    Ok(())
}

/// What is to be done about a file of a container: so many of lxcfs's that are gone are taken off, and then its source
/// goes there. None: the present lxcfs lacks it, and the container has the node's again.
type Step<'a> = (&'static str, usize, Option<&'a str>);

fn steps<'a>(mounts: &str, wanted: &[&str], views: &'a [View], device: &str) -> Vec<Step<'a>> {
    let wanted = FILES.into_iter().filter(|file| wanted.contains(file));
    let steps = wanted.filter_map(|file| {
        let There::Stale(stale) = there(mounts, file, device) else {
            return None;
        };
        let view = views.iter().find(|view| view.file == file);
        let source = view.map(|view| view.source.as_str());
        (stale > 0 || source.is_some()).then_some((file, stale, source))
    });
    steps.collect()
}

/// What is mounted over a container's file.
#[derive(Debug, PartialEq, Eq)]
enum There {
    /// The present lxcfs's.
    Current,
    /// So many of lxcfs's that are gone, or nothing.
    Stale(usize),
    /// Something of the pod's own on top: that stays.
    Others,
}

/// proc(5): `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS... - TYPE SOURCE OPTIONS`, lowest first.
fn there(mounts: &str, file: &str, device: &str) -> There {
    let mut found = There::Stale(0);
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.get(4) != Some(&file) {
            continue;
        }
        let kind = fields.iter().skip_while(|field| **field != "-").nth(1);
        found = match (kind == Some(&LXCFS), fields.get(2) == Some(&device), found) {
            (false, ..) => There::Others,
            (true, true, _) => There::Current,
            (true, false, There::Stale(count)) => There::Stale(count + 1),
            (true, false, _) => There::Stale(1),
        };
    }
    found
}

/// MAJOR:MINOR of the lxcfs mounted last at `dir`.
fn device_of(dir: &str) -> io::Result<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let last = mounts.lines().rfind(|line| {
        line.split(' ').nth(4) == Some(dir) && line.contains(&format!(" - {LXCFS} "))
    });
    last.and_then(|line| line.split(' ').nth(2))
        .map(str::to_owned)
        .ok_or_else(|| invalid(format!("no lxcfs is mounted at {dir}")))
}

/// The file as a mount that is nowhere yet: read-only, and nothing in it can be executed.
fn tree(source: &str) -> io::Result<OwnedFd> {
    let path = c_string(source)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a C string that outlives the call.
    let tree = owned_long(unsafe {
        libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags)
    })
    .map_err(during(format!("take {source}")))?;
    let set = libc::MOUNT_ATTR_RDONLY
        | libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | libc::MOUNT_ATTR_NOEXEC;
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: the empty path and the attributes outlive the call, which is told their size.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map_err(during("make it read-only"))?;
    Ok(tree)
}

fn enter(namespace: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) })?;
    Ok(())
}

fn unmount(file: &str) -> io::Result<()> {
    let path = c_string(file)?;
    let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
    // SAFETY: the path is a C string that outlives the call.
    check(unsafe { libc::umount2(path.as_ptr(), flags) })
        .map_err(during(format!("take the old {file} away")))?;
    Ok(())
}

/// The container's own tree is a tenant's: a link in it is not followed.
fn attach(tree: &OwnedFd, file: &str) -> io::Result<()> {
    let path = c_string(file)?;
    // SAFETY: all zeroes are valid, and mean no flags.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: the path and `how` outlive the call, which is told the size.
    let place = owned_long(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    })?;
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are empty C strings that outlive the call.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{There, View, steps, there};

    const OLD: &str = "90 80 0:50 /proc/stat /proc/stat ro,nosuid - fuse.lxcfs lxcfs rw\n";
    const NEW: &str = "91 90 0:51 /proc/stat /proc/stat ro,nosuid - fuse.lxcfs lxcfs rw\n";
    const POD: &str = "92 91 8:1 /x /proc/stat rw - ext4 /dev/sda1 rw\n";

    #[test]
    fn of_what_lies_over_a_file_the_uppermost_counts() {
        let over = |lines: &[&str]| there(&lines.concat(), "/proc/stat", "0:51");
        assert_eq!(over(&[]), There::Stale(0));
        assert_eq!(over(&[OLD]), There::Stale(1));
        assert_eq!(over(&[OLD, OLD]), There::Stale(2));
        assert_eq!(over(&[OLD, NEW]), There::Current);
        assert_eq!(over(&[OLD, POD]), There::Others);
        assert_eq!(over(&[POD, OLD]), There::Stale(1));
        assert_eq!(there(OLD, "/proc/uptime", "0:51"), There::Stale(0));
    }

    #[test]
    fn a_dead_file_that_the_present_lxcfs_lacks_is_taken_off() {
        let view = |file: &'static str| View {
            file,
            source: format!("/l{file}"),
        };
        let wanted = ["/proc/stat", "/proc/uptime", "/etc/passwd"];
        let views = [view("/proc/uptime"), view("/proc/swaps")];
        assert_eq!(
            steps(OLD, &wanted, &views, "0:51"),
            [
                ("/proc/stat", 1, None),
                ("/proc/uptime", 0, Some("/l/proc/uptime"))
            ]
        );
        assert_eq!(steps(OLD, &["/proc/uptime"], &[], "0:51"), []);
        let covered = [OLD, POD].concat();
        assert_eq!(steps(&covered, &["/proc/stat"], &[], "0:51"), []);
    }
}
