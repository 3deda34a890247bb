//! The mount system calls that take descriptors (Linux 5.12): a target that has been looked up safely is never
//! looked up again by name.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::sys::{c_string, check_long, owned_long, read};

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

/// A file system being configured.
pub struct NewFs {
    fd: OwnedFd,
}

impl NewFs {
    pub fn open(kind: &str) -> io::Result<NewFs> {
        let name = c_string(kind)?;
        // SAFETY: a C string.
        let fd = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) };
        let fd = owned_long(fd).map_err(|e| match e.raw_os_error() {
            Some(libc::ENODEV) => io::Error::new(
                e.kind(),
                format!("the guest's kernel has no file system {kind:?}"),
            ),
            _ => e,
        })?;
        Ok(NewFs { fd })
    }

    pub fn set(&self, key: &str, value: Option<&str>) -> io::Result<()> {
        let key = c_string(key)?;
        let value = value.map(c_string).transpose()?;
        match &value {
            Some(value) => self.config(FSCONFIG_SET_STRING, Some(&key), Some(value), 0),
            None => self.config(FSCONFIG_SET_FLAG, Some(&key), None, 0),
        }
    }

    /// The mount, attached nowhere yet.
    pub fn mount(self, attributes: u64) -> io::Result<OwnedFd> {
        self.config(FSCONFIG_CMD_CREATE, None, None, 0)?;
        let attributes = attributes as libc::c_uint;
        // SAFETY: takes no pointers.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_fsmount,
                self.fd.as_raw_fd(),
                FSMOUNT_CLOEXEC,
                attributes,
            )
        };
        owned_long(fd)
    }

    fn config(
        &self,
        command: u32,
        key: Option<&CStr>,
        value: Option<&CStr>,
        aux: libc::c_int,
    ) -> io::Result<()> {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: C strings or null, as each command wants them.
        let done = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.fd.as_raw_fd(),
                command,
                pointer(key),
                pointer(value),
                aux,
            )
        };
        check_long(done).map_err(|error| self.explain(error))?;
        Ok(())
    }

    /// The kernel's own words, where it has any.
    fn explain(&self, error: io::Error) -> io::Error {
        let mut words = [0_u8; 512];
        match read(&self.fd, &mut words) {
            Ok(count) => {
                let text = String::from_utf8_lossy(words.get(..count).unwrap_or_default());
                io::Error::new(error.kind(), format!("{error} ({})", text.trim_end()))
            }
            Err(_) => error,
        }
    }
}

/// A copy of what is mounted at `at` (with everything below when `recursive`), attached nowhere yet.
pub fn copy_tree(at: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: a C string.
    owned_long(unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) })
}

pub fn attach(mount: &impl AsFd, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: C strings.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    })?;
    Ok(())
}

/// Sets and clears MOUNT_ATTR_* and the propagation (0 = as it is).
pub fn change(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> io::Result<()> {
    if set == 0 && clear == 0 && propagation == 0 {
        return Ok(());
    }
    // SAFETY: all zeroes is a valid `mount_attr`.
    let mut attributes: libc::mount_attr = unsafe { std::mem::zeroed() };
    attributes.attr_set = set;
    attributes.attr_clr = clear;
    attributes.propagation = propagation;
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: a C string; the pointer and the length describe `attributes`.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}
