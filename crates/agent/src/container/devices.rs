//! Device nodes of a container's /dev.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::mount_api::{attach, copy_tree};
use super::paths::{ensure_dir, ensure_file, split};
use super::spec::Device;
use crate::sys::{c_string, check, during, invalid, open};

/// Name, major, minor: what every container has (OCI runtime specification, "Default Devices").
pub const DEFAULTS: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

pub fn populate(root: BorrowedFd<'_>, devices: &[Device]) -> io::Result<()> {
    let dev = ensure_dir(root, "/dev")?;
    for (name, major, minor) in DEFAULTS {
        let path = format!("/dev/{name}");
        if devices.iter().any(|device| device.path == path) {
            continue;
        }
        let node = Node {
            mode: libc::S_IFCHR | 0o666,
            major,
            minor,
            owner: (0, 0),
        };
        make(&dev, name, &node).map_err(during(format!("make {path}")))?;
    }
    for (target, name) in LINKS {
        let (target, name) = (c_string(target)?, c_string(name)?);
        // SAFETY: C strings.
        let made =
            check(unsafe { libc::symlinkat(target.as_ptr(), dev.as_raw_fd(), name.as_ptr()) });
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    for device in devices {
        one(root, device).map_err(during(format!("make the device {}", device.path)))?;
    }
    Ok(())
}

fn one(root: BorrowedFd<'_>, device: &Device) -> io::Result<()> {
    let kind = match device.kind.as_str() {
        "c" | "u" => libc::S_IFCHR,
        "b" => libc::S_IFBLK,
        "p" => libc::S_IFIFO,
        other => return Err(invalid(format!("{other:?} is no type of device"))),
    };
    let node = Node {
        mode: kind | device.file_mode.unwrap_or(0o666) & 0o7777,
        major: device.major,
        minor: device.minor,
        owner: (device.uid.unwrap_or(0), device.gid.unwrap_or(0)),
    };
    let (parent, name) = split(&device.path)?;
    let dir = ensure_dir(root, parent)?;
    match make(&dir, name, &node) {
        // Where nodes may not be made, the agent's own is seen through.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let ours = open(&device.path, libc::O_PATH).map_err(|_| error)?;
            let target = ensure_file(root, &device.path)?;
            attach(&copy_tree(ours.as_fd(), false)?, target.as_fd())
        }
        other => other,
    }
}

struct Node {
    mode: libc::mode_t,
    major: u32,
    minor: u32,
    owner: (u32, u32),
}

fn make(dir: &OwnedFd, name: &str, node: &Node) -> io::Result<()> {
    let path = c_string(name)?;
    let number = libc::makedev(node.major, node.minor);
    // SAFETY: a C string. The umask is 0 in this child.
    match check(unsafe { libc::mknodat(dir.as_raw_fd(), path.as_ptr(), node.mode, number) }) {
        // The image or an earlier container with this root has it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    let (uid, gid) = node.owner;
    // SAFETY: a C string.
    check(unsafe { libc::fchownat(dir.as_raw_fd(), path.as_ptr(), uid, gid, flags) })?;
    Ok(())
}
