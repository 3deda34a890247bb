//! Binds paths of the host to places below the pod's directory. What is mounted there may come from an image
//! or a volume, so no link on the way to a place is followed. Needs Linux 5.12 (`mount_setattr`): a place may
//! lie in a shared mount, and what its slaves get is what it was when it was attached.

use super::sys::{c_string, check, during, invalid, owned};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

// linux/mount.h; the C library's crate does not name them all.
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const MOUNT_ATTR_RDONLY: u64 = 1;

#[repr(C)]
#[derive(Default)]
pub(super) struct MountAttributes {
    pub set: u64,
    pub clear: u64,
    pub propagation: u64,
    pub user_namespace: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    pub read_only: bool,
    /// So is all that is mounted below.
    pub read_only_below: bool,
    pub follows: bool,
}

/// Mounts `source` with all that is mounted below it at `root`/`below`, which is made, as a file or as a
/// directory. Nothing of it is passed on to the source. `read_only` is for the source's own mount alone, unless
/// with `read_only_below`; with `follows` later mounts below the source are passed on to here, and to whoever has what is mounted here.
pub fn bind(source: &Path, root: &Path, below: &Path, how: How) -> io::Result<()> {
    let named = || format!("bind {} to {}", source.display(), below.display());
    let path = c_string(source.as_os_str().as_bytes())?;
    let tree = open_tree(libc::AT_FDCWD, &path, libc::AT_RECURSIVE).map_err(during(named()))?;
    let propagations: &[libc::c_ulong] = if how.follows {
        &[libc::MS_SLAVE, libc::MS_SHARED]
    } else {
        &[libc::MS_PRIVATE]
    };
    for propagation in propagations {
        let attributes = MountAttributes {
            propagation: *propagation,
            ..Default::default()
        };
        set_attributes(&tree, libc::AT_RECURSIVE, &attributes).map_err(during(named()))?;
    }
    if how.read_only {
        let read_only = MountAttributes {
            set: MOUNT_ATTR_RDONLY,
            ..Default::default()
        };
        let depth = if how.read_only_below {
            libc::AT_RECURSIVE
        } else {
            0
        };
        set_attributes(&tree, depth, &read_only).map_err(during(named()))?;
    }
    let is_directory = File::from(tree.try_clone()?).metadata()?.is_dir();
    let place = make_place(root, below, is_directory)?;
    attach(&tree, &place).map_err(during(named()))
}

/// Makes the directory `root`/`below` a mount point of its own whose later mounts are passed on to its slaves.
pub fn share(root: &Path, below: &Path) -> io::Result<()> {
    let named = || format!("share {}", below.display());
    let place = make_place(root, below, true)?;
    let tree = open_tree(place.as_raw_fd(), c"", libc::AT_EMPTY_PATH).map_err(during(named()))?;
    // First out of the host's own peer group, or every mount would appear twice.
    for propagation in [libc::MS_PRIVATE, libc::MS_SHARED] {
        let attributes = MountAttributes {
            propagation,
            ..Default::default()
        };
        set_attributes(&tree, 0, &attributes).map_err(during(named()))?;
    }
    attach(&tree, &place).map_err(during(named()))
}

/// The place `root`/`below`; what is missing is made.
pub fn make_place(root: &Path, below: &Path, is_directory: bool) -> io::Result<OwnedFd> {
    let named = || format!("make {} in {}", below.display(), root.display());
    let mut at = OwnedFd::from(File::open(root).map_err(during(named()))?);
    let mut parts = below.components().peekable();
    if parts.peek().is_none() {
        return Err(invalid("a place below the directory is needed"));
    }
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            return Err(invalid(format!("{} leads upwards", below.display())));
        };
        let directory = is_directory || parts.peek().is_some();
        at = step(&at, &c_string(name.as_bytes())?, directory).map_err(during(named()))?;
    }
    Ok(at)
}

fn step(at: &OwnedFd, name: &CStr, directory: bool) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string. That it is there already, or cannot be made, shows when it is opened.
    unsafe {
        if directory {
            libc::mkdirat(at.as_raw_fd(), name.as_ptr(), 0o755);
        } else {
            libc::mknodat(at.as_raw_fd(), name.as_ptr(), libc::S_IFREG | 0o600, 0);
        }
    }
    let kind = if directory { libc::O_DIRECTORY } else { 0 };
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC | kind;
    // SAFETY: the name is a C string.
    let found = owned(unsafe { libc::openat(at.as_raw_fd(), name.as_ptr(), flags) })?;
    let found = File::from(found);
    let metadata = found.metadata()?;
    if metadata.is_symlink() || metadata.is_dir() != directory {
        return Err(invalid("something else is there"));
    }
    Ok(found.into())
}

pub(super) fn open_tree(at: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | flags as libc::c_uint;
    // SAFETY: the path is a C string.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, at, path.as_ptr(), flags) };
    owned(fd as libc::c_int)
}

pub(super) fn set_attributes(
    tree: &OwnedFd,
    flags: libc::c_int,
    attributes: &MountAttributes,
) -> io::Result<()> {
    // SAFETY: a C string; the pointer and the length describe `attributes`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    check(result as libc::c_int).map(drop)
}

pub(super) fn attach(tree: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    // SAFETY: C strings and plain integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    check(result as libc::c_int).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mount::{is_mounted, unmount_all};
    use crate::host::testing::{Scratch, in_mount_namespace};
    use std::fs;
    use std::os::unix::fs::symlink;

    const READ_ONLY: How = How {
        read_only: true,
        read_only_below: false,
        follows: false,
    };

    fn in_scratch(name: &str, body: impl FnOnce(&Path, &Path) + Send + 'static) {
        let scratch = Scratch::new(name);
        let root = scratch.path().canonicalize().unwrap();
        in_mount_namespace(move || {
            let (pod, volume) = (root.join("pod"), root.join("volume"));
            fs::create_dir_all(&pod).unwrap();
            fs::create_dir_all(volume.join("inner")).unwrap();
            fs::write(volume.join("file"), "x").unwrap();
            body(&pod, &volume);
        });
    }

    #[test]
    fn files_and_directories_are_bound_to_places_that_are_made() {
        in_scratch("bind-made", |pod, volume| {
            bind(volume, pod, Path::new("share/c/vol"), READ_ONLY).unwrap();
            bind(
                &volume.join("file"),
                pod,
                Path::new("share/c/hosts"),
                How::default(),
            )
            .unwrap();
            let place = pod.join("share/c/vol");
            assert!(is_mounted(&place).unwrap());
            let error = fs::write(place.join("new"), "x").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
            fs::write(pod.join("share/c/hosts"), "y").unwrap();
            assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "y");
            unmount_all(&place).unwrap();
            unmount_all(&pod.join("share/c/hosts")).unwrap();
        });
    }

    #[test]
    fn what_is_mounted_in_the_source_comes_along_and_stays_there() {
        in_scratch("bind-below", |pod, volume| {
            share(volume.parent().unwrap(), Path::new("volume")).unwrap();
            bind(pod, volume, Path::new("inner"), How::default()).unwrap();
            fs::write(pod.join("seen"), "x").unwrap();
            bind(volume, pod, Path::new("place"), How::default()).unwrap();
            assert!(pod.join("place/inner/seen").exists());
            unmount_all(&pod.join("place")).unwrap();
            assert!(is_mounted(&volume.join("inner")).unwrap());
            unmount_all(&volume.join("inner")).unwrap();
            unmount_all(volume).unwrap();
        });
    }

    #[test]
    fn what_is_mounted_in_the_source_is_read_only_where_that_is_asked_for() {
        in_scratch("bind-rro", |pod, volume| {
            share(volume.parent().unwrap(), Path::new("volume")).unwrap();
            bind(pod, volume, Path::new("inner"), How::default()).unwrap();
            let below = How {
                read_only_below: true,
                ..READ_ONLY
            };
            bind(volume, pod, Path::new("top"), READ_ONLY).unwrap();
            bind(volume, pod, Path::new("all"), below).unwrap();
            let write = |place: &str| fs::write(pod.join(place), "x").map_err(|e| e.kind());
            assert_eq!(write("top/new"), Err(io::ErrorKind::ReadOnlyFilesystem));
            assert_eq!(write("top/inner/new"), Ok(()));
            assert_eq!(
                write("all/inner/new"),
                Err(io::ErrorKind::ReadOnlyFilesystem)
            );
            fs::write(volume.join("inner/source"), "x").unwrap();
            unmount_all(&pod.join("top")).unwrap();
            unmount_all(&pod.join("all")).unwrap();
            unmount_all(&volume.join("inner")).unwrap();
            unmount_all(volume).unwrap();
        });
    }

    #[test]
    fn what_is_mounted_in_the_source_later_comes_along_when_asked_and_nothing_goes_back() {
        in_scratch("bind-follows", |pod, volume| {
            share(volume.parent().unwrap(), Path::new("volume")).unwrap();
            let follows = How {
                follows: true,
                ..How::default()
            };
            bind(volume, pod, Path::new("follows"), follows).unwrap();
            bind(volume, pod, Path::new("private"), How::default()).unwrap();
            bind(pod, volume, Path::new("inner"), How::default()).unwrap();
            let mounted = |place: &str| is_mounted(&pod.join(place).join("inner")).unwrap();
            assert!(mounted("follows") && !mounted("private"));
            unmount_all(&volume.join("inner")).unwrap();
            assert!(!mounted("follows"));
            bind(pod, pod, Path::new("follows/inner"), How::default()).unwrap();
            assert!(!is_mounted(&volume.join("inner")).unwrap());
            unmount_all(&pod.join("follows")).unwrap();
            unmount_all(&pod.join("private")).unwrap();
            unmount_all(volume).unwrap();
        });
    }

    #[test]
    fn links_lead_nowhere() {
        in_scratch("bind-links", |pod, volume| {
            symlink(volume, pod.join("out")).unwrap();
            symlink(volume.join("file"), pod.join("file")).unwrap();
            for bad in ["out/inner", "out", "../volume/inner", ""] {
                assert!(
                    bind(volume, pod, Path::new(bad), How::default()).is_err(),
                    "{bad}"
                );
            }
            assert!(bind(&volume.join("file"), pod, Path::new("file"), How::default()).is_err());
            assert!(share(pod, Path::new("out")).is_err());
            assert!(!is_mounted(&volume.join("inner")).unwrap());
        });
    }
}
