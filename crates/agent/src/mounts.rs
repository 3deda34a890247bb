//! File systems the host has the agent mount below /run/trine: shares, disks, overlays, tmpfs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use trine_wire::Message;
use trine_wire::agent::source::What;
use trine_wire::agent::{Disk, MountRequest, Overlay, Source, Tmpfs};

use crate::container::mount_api::{NewFs, attach};
use crate::container::paths::{SHARED, ensure_dir, open_source};
use crate::disks;
use crate::gather::MSIZE;
use crate::sys::{c_string, check, during, invalid, open};

const MAX_MOUNTS: usize = 1024;
const FILE_SYSTEMS: [&str; 5] = ["erofs", "squashfs", "ext4", "xfs", "iso9660"];

/// What is mounted where, as it was asked for.
#[derive(Default)]
pub struct Mounts {
    table: BTreeMap<String, Entry>,
}

struct Entry {
    source: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Mounting,
    Mounted,
    Unmounting,
}

/// What a request finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Free,
    Same(State),
    Other,
}

impl Mounts {
    pub fn look(&self, target: &str, source: &Source) -> Found {
        match self.table.get(target) {
            None => Found::Free,
            Some(entry) if entry.source == source.encode_to_vec() => Found::Same(entry.state),
            Some(_) => Found::Other,
        }
    }

    pub fn state(&self, target: &str) -> Option<State> {
        self.table.get(target).map(|entry| entry.state)
    }

    pub fn begin(&mut self, target: &str, source: &Source) -> io::Result<()> {
        if self.table.len() >= MAX_MOUNTS {
            return Err(invalid(format!("more than {MAX_MOUNTS} mounts")));
        }
        let entry = Entry {
            source: source.encode_to_vec(),
            state: State::Mounting,
        };
        self.table.insert(target.to_owned(), entry);
        Ok(())
    }

    pub fn begin_unmount(&mut self, target: &str) {
        if let Some(entry) = self.table.get_mut(target) {
            entry.state = State::Unmounting;
        }
    }

    /// The helper has done it, or has not.
    pub fn finished(&mut self, target: &str, well: bool) {
        let Some(entry) = self.table.get_mut(target) else {
            return;
        };
        match (entry.state, well) {
            (State::Mounting, true) | (State::Unmounting, false) => entry.state = State::Mounted,
            _ => {
                self.table.remove(target);
            }
        }
    }
}

/// A path below /run/trine without `.`, `..` or empty parts.
pub fn check_path(path: &str) -> io::Result<()> {
    let below = path.strip_prefix(SHARED).and_then(|p| p.strip_prefix('/'));
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    match below {
        Some(below) if !below.split('/').any(bad) && path.len() < 1024 => Ok(()),
        _ => Err(invalid(format!("{path:?} is no path below {SHARED}"))),
    }
}

/// Mounts in a child of the agent. `share`: the kernel's end of the connection to the file server.
pub fn mount(request: &MountRequest, share: Option<&UnixStream>) -> io::Result<()> {
    let source = request
        .source
        .as_ref()
        .ok_or_else(|| invalid("no source"))?;
    let mount = match (&source.what, share) {
        (Some(What::Share(s)), Some(socket)) => nine_p(&s.name, socket, source.read_only),
        (Some(What::Disk(disk)), _) => from_disk(disk, source.read_only),
        (Some(What::Overlay(overlay)), _) => over(overlay, source.read_only),
        (Some(What::Tmpfs(tmpfs)), _) => memory(tmpfs, source.read_only),
        _ => Err(invalid("nothing to mount")),
    };
    let mount = mount.map_err(during(format!("mount {}", request.target)))?;
    let root = open("/", libc::O_PATH | libc::O_DIRECTORY)?;
    let target = ensure_dir(root.as_fd(), &request.target)?;
    attach(&mount, target.as_fd()).map_err(during(format!("mount {}", request.target)))
}

/// In a child too: the last user of a share says good-bye to its server.
pub fn unmount(target: &str) -> io::Result<()> {
    let path = c_string(target)?;
    let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
    // SAFETY: a C string.
    check(unsafe { libc::umount2(path.as_ptr(), flags) })
        .map_err(during(format!("unmount {target}")))?;
    Ok(())
}

fn attributes(read_only: bool) -> u64 {
    let flags = libc::MOUNT_ATTR_NODEV;
    if read_only {
        flags | libc::MOUNT_ATTR_RDONLY
    } else {
        flags
    }
}

pub fn nine_p(name: &str, socket: &UnixStream, read_only: bool) -> io::Result<OwnedFd> {
    let new = NewFs::open("9p")?;
    let number = socket.as_raw_fd().to_string();
    // Larger ones mean fewer round trips for large files.
    let msize = MSIZE.to_string();
    for (key, value) in [
        ("source", name),
        ("trans", "fd"),
        ("rfdno", &number),
        ("wfdno", &number),
        ("version", "9p2000.L"),
        ("msize", &msize),
        ("access", "client"),
        ("cache", "mmap"),
    ] {
        new.set(key, Some(value))?;
    }
    new.mount(attributes(read_only))
}

fn from_disk(disk: &Disk, read_only: bool) -> io::Result<OwnedFd> {
    if !FILE_SYSTEMS.contains(&disk.fstype.as_str()) {
        return Err(invalid(format!(
            "{:?} is no file system for disks",
            disk.fstype
        )));
    }
    let options = disk.options.iter().map(String::as_str);
    let options = read_only.then_some("ro").into_iter().chain(options);
    disks::file_system(&disk.serial, &disk.fstype, options, attributes(read_only))
}

fn over(overlay: &Overlay, read_only: bool) -> io::Result<OwnedFd> {
    let new = NewFs::open("overlay")?;
    let all = overlay.lower.iter().chain([&overlay.upper, &overlay.work]);
    for path in all.filter(|path| !path.is_empty()) {
        check_path(path)?;
        if path.contains([':', ',', '\\']) {
            return Err(invalid(format!("{path:?} cannot be part of an overlay")));
        }
    }
    for path in &overlay.lower {
        open_source(path)?;
    }
    new.set("lowerdir", Some(&overlay.lower.join(":")))?;
    if !overlay.upper.is_empty() {
        let root = open("/", libc::O_PATH | libc::O_DIRECTORY)?;
        for (key, path) in [("upperdir", &overlay.upper), ("workdir", &overlay.work)] {
            ensure_dir(root.as_fd(), path)?;
            new.set(key, Some(path))?;
        }
    }
    new.mount(attributes(read_only))
}

fn memory(tmpfs: &Tmpfs, read_only: bool) -> io::Result<OwnedFd> {
    let new = NewFs::open("tmpfs")?;
    if tmpfs.size_bytes > 0 {
        new.set("size", Some(&tmpfs.size_bytes.to_string()))?;
    }
    let mode = if tmpfs.mode == 0 {
        0o755
    } else {
        tmpfs.mode & 0o7777
    };
    new.set("mode", Some(&format!("{mode:o}")))?;
    new.mount(attributes(read_only) | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_wire::agent::Share;

    #[test]
    fn targets_stay_below_the_agents_directory() {
        check_path("/run/trine/c1/rootfs").expect("below");
        for bad in [
            "/run/trine",
            "/run/trine/",
            "/run/trine/../x",
            "/run/trine/a//b",
            "/run/trinex/a",
            "a",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_again_is_found_and_something_else_is_not_mistaken_for_it() {
        let share = |name: &str| Source {
            what: Some(What::Share(Share {
                name: name.to_owned(),
            })),
            read_only: false,
        };
        let mut mounts = Mounts::default();
        assert_eq!(mounts.look("/t", &share("a")), Found::Free);
        mounts.begin("/t", &share("a")).expect("room");
        assert_eq!(mounts.look("/t", &share("a")), Found::Same(State::Mounting));
        mounts.finished("/t", true);
        assert_eq!(mounts.look("/t", &share("a")), Found::Same(State::Mounted));
        assert_eq!(mounts.look("/t", &share("b")), Found::Other);
        mounts.begin_unmount("/t");
        mounts.finished("/t", true);
        assert_eq!(mounts.look("/t", &share("a")), Found::Free);
    }
}
