//! Nodes of the host's devices, for a VMM that may open nothing else. A node is made below the pod's directory
//! and mounted on itself: there the file system's `nodev` does not hold, and whoever shares the directory's mounts
//! sees it come and go.

use super::bind::{MountAttributes, attach, make_place, open_tree, set_attributes};
use super::sys::{c_string, check, during, invalid, owned};
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path};

// linux/mount.h
const MOUNT_ATTR_NODEV: u64 = 4;

#[derive(Debug, Clone, Copy)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
    pub read_only: bool,
    pub uid: u32,
    /// Written by others too.
    pub shared: bool,
    pub character: bool,
}

impl Device {
    fn number(&self) -> libc::dev_t {
        libc::makedev(self.major, self.minor)
    }

    fn named(&self) -> String {
        let kind = if self.character { "character" } else { "block" };
        format!("{kind} device {}:{}", self.major, self.minor)
    }

    fn mode(&self) -> libc::mode_t {
        if self.character {
            libc::S_IFCHR
        } else {
            libc::S_IFBLK
        }
    }

    fn is_kind_of(&self, found: std::fs::FileType) -> bool {
        if self.character {
            found.is_char_device()
        } else {
            found.is_block_device()
        }
    }
}

/// Makes the node `root`/`below`. What is answered keeps others of the host that claim it too, as mounts do, from having
/// the device for as long as it is open; for one that is only read or is shared there is nothing to keep. Kind
/// `ResourceBusy` when it is to be written and somebody has claimed it.
pub fn make_node(device: &Device, root: &Path, below: &Path) -> io::Result<Option<OwnedFd>> {
    let during_this = || during(format!("make a node of {}", device.named()));
    let (dir, name) = parent(root, below)?;
    let node = node_in(&dir, &name, device).map_err(during_this())?;
    let tree =
        open_tree(dir.as_raw_fd(), &name, libc::AT_SYMLINK_NOFOLLOW).map_err(during_this())?;
    let attributes = MountAttributes {
        clear: MOUNT_ATTR_NODEV,
        propagation: libc::MS_PRIVATE,
        ..Default::default()
    };
    set_attributes(&tree, 0, &attributes).map_err(during_this())?;
    // To open one of the others may be to use it.
    let alone = if device.character {
        None
    } else {
        claim(device, &tree)?
    };
    attach(&tree, &node).map_err(during_this())?;
    Ok(alone)
}

fn parent(root: &Path, below: &Path) -> io::Result<(OwnedFd, std::ffi::CString)> {
    let Some(Component::Normal(name)) = below.components().next_back() else {
        return Err(invalid("a place below the directory is needed"));
    };
    let dir = match below.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => make_place(root, dir, true)?,
        None => OwnedFd::from(File::open(root)?),
    };
    Ok((dir, c_string(name.as_bytes())?))
}

/// The node; one that is there already must be that device's.
fn node_in(dir: &OwnedFd, name: &CStr, device: &Device) -> io::Result<OwnedFd> {
    let mode = if device.read_only { 0o400 } else { 0o600 };
    let number = device.number();
    // SAFETY: a C string. That it is there already, or cannot be made, shows when it is opened.
    let made = check(unsafe {
        libc::mknodat(dir.as_raw_fd(), name.as_ptr(), device.mode() | mode, number)
    });
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let node = owned(unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags) });
    let node = match (node, made) {
        (Err(_), Err(made)) => return Err(made),
        (node, _) => File::from(node?),
    };
    let found = node.metadata()?;
    if !device.is_kind_of(found.file_type()) || found.rdev() != number {
        return Err(invalid("something else is there"));
    }
    let (uid, flags) = (device.uid, libc::AT_SYMLINK_NOFOLLOW);
    // SAFETY: C strings. Nobody but the shim writes in this directory.
    unsafe {
        check(libc::fchownat(
            dir.as_raw_fd(),
            name.as_ptr(),
            uid,
            uid,
            flags,
        ))?;
        check(libc::fchmodat(dir.as_raw_fd(), name.as_ptr(), mode, 0))?;
    }
    Ok(node.into())
}

/// O_EXCL on a block device is the kernel's own claim, the same that mounts and volume managers make. It stops only
/// who claims it too: others open, and write, the device as before. One that is shared is claimed for a moment, so
/// that nobody writes below a mount or beside a pod that has it alone.
fn claim(device: &Device, tree: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let path = format!("/proc/self/fd/{}", tree.as_raw_fd());
    let flags = if device.read_only { 0 } else { libc::O_EXCL } | libc::O_NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .write(!device.read_only)
        .custom_flags(flags)
        .open(path);
    match opened {
        Ok(file) => Ok((!device.read_only && !device.shared).then(|| file.into())),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!(
                "{} is in use: it is mounted on the node, part of a volume, or a disk of another machine",
                device.named()
            ),
        )),
        Err(error) => Err(during(format!("open {}", device.named()))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mount::unmount_all;
    use crate::host::testing::{Scratch, in_mount_namespace, run};
    use std::fs;
    use std::process::Command;

    /// The path of a loop device that goes with the value, however the test ends.
    struct Loop(String);

    impl Drop for Loop {
        fn drop(&mut self) {
            let ended = Command::new("losetup").args(["-d", &self.0]).status();
            if !std::thread::panicking() {
                assert!(ended.unwrap().success(), "losetup -d {}", self.0);
            }
        }
    }

    /// A loop device over a file of 1 MiB; `body` gets it and the pod's directory, on a file system without devices.
    fn with_loop(name: &str, body: impl FnOnce(Device, &Path) + Send + 'static) {
        let scratch = Scratch::new(name);
        let root = scratch.path().canonicalize().unwrap();
        in_mount_namespace(move || {
            let pod = root.join("pod");
            fs::create_dir_all(&pod).unwrap();
            run(
                "mount",
                &format!("-t tmpfs -o nodev none {}", pod.display()),
            );
            fs::write(root.join("image"), vec![7u8; 1 << 20]).unwrap();
            let path = run("losetup", &format!("-f --show {}/image", root.display()));
            let node = Loop(path.trim().to_owned());
            let number = fs::metadata(&node.0).unwrap().rdev();
            let device = Device {
                major: libc::major(number),
                minor: libc::minor(number),
                read_only: false,
                uid: 4242,
                shared: false,
                character: false,
            };
            body(device, &pod);
        });
    }

    /// Another test's child may hold it for a moment.
    fn when_free(device: &Device, pod: &Path, place: &str) -> Option<OwnedFd> {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            match make_node(device, pod, Path::new(place)) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    assert!(std::time::Instant::now() < end, "{error}");
                }
                other => return other.unwrap(),
            }
        }
    }

    #[test]
    fn a_node_works_where_devices_do_not_and_is_its_owners_alone() {
        with_loop("device-node", |device, pod| {
            let alone = make_node(&device, pod, Path::new("slots/one")).unwrap();
            assert!(alone.is_some());
            let place = pod.join("slots/one");
            let found = fs::metadata(&place).unwrap();
            assert_eq!((found.uid(), found.mode() & 0o777), (4242, 0o600));
            assert_eq!(fs::read(&place).unwrap().len(), 1 << 20);
            unmount_all(&place).unwrap();
            // What lies under the mount is no use to anybody.
            let error = fs::read(&place).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        });
    }

    #[test]
    fn who_writes_is_alone_and_readers_do_not_mind() {
        with_loop("device-alone", |device, pod| {
            let reader = Device {
                read_only: true,
                ..device
            };
            assert!(make_node(&reader, pod, Path::new("r")).unwrap().is_none());
            let first = make_node(&device, pod, Path::new("w")).unwrap();
            let error = make_node(&device, pod, Path::new("w2")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
            drop(first);
            assert!(when_free(&device, pod, "w2").is_some());
            for place in ["r", "w", "w2"] {
                unmount_all(&pod.join(place)).unwrap();
            }
        });
    }

    #[test]
    fn who_writes_with_others_keeps_nothing_and_gets_nothing_that_somebody_has() {
        with_loop("device-shared", |device, pod| {
            let shared = Device {
                shared: true,
                ..device
            };
            let alone = make_node(&device, pod, Path::new("w")).unwrap();
            let error = make_node(&shared, pod, Path::new("s1")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
            drop(alone);
            for place in ["s1", "s2"] {
                assert!(when_free(&shared, pod, place).is_none());
            }
            for place in ["w", "s1", "s2"] {
                unmount_all(&pod.join(place)).unwrap();
            }
        });
    }

    #[test]
    fn a_character_device_is_its_owners_and_nobody_claims_it() {
        let root = Scratch::new("device-character");
        let pod = root.path().canonicalize().unwrap();
        in_mount_namespace(move || {
            run(
                "mount",
                &format!("-t tmpfs -o nodev none {}", pod.display()),
            );
            let zero = Device {
                major: 1,
                minor: 5,
                read_only: false,
                uid: 4242,
                shared: false,
                character: true,
            };
            for _ in 0..2 {
                assert!(
                    make_node(&zero, &pod, Path::new("vfio/7"))
                        .unwrap()
                        .is_none()
                );
            }
            let place = pod.join("vfio/7");
            let found = fs::metadata(&place).unwrap();
            assert!(found.file_type().is_char_device());
            assert_eq!((found.uid(), found.mode() & 0o777), (4242, 0o600));
            let mut bytes = [1u8; 4];
            std::io::Read::read_exact(&mut File::open(&place).unwrap(), &mut bytes).unwrap();
            assert_eq!(bytes, [0; 4]);
            let block = Device {
                character: false,
                ..zero
            };
            assert!(make_node(&block, &pod, Path::new("vfio/7")).is_err());
            unmount_all(&place).unwrap();
            unmount_all(&place).unwrap();
        });
    }

    #[test]
    fn what_is_no_such_node_is_left_alone() {
        with_loop("device-other", |device, pod| {
            fs::write(pod.join("file"), "x").unwrap();
            for bad in ["file", "file/x", "../out", ""] {
                assert!(make_node(&device, pod, Path::new(bad)).is_err(), "{bad}");
            }
            let none = Device {
                major: 4095,
                minor: 7,
                ..device
            };
            assert!(make_node(&none, pod, Path::new("none")).is_err());
            assert_eq!(fs::read(pod.join("file")).unwrap(), b"x");
        });
    }
}
