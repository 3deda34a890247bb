//! The host's file system, by descriptor. Nothing here follows a symlink, and no name has more than one
//! element. The working directory is /proc/self/fd (`confine.rs`), where the name of a descriptor's number
//! is the file itself, whatever has become of its name since.

use std::ffi::{CStr, CString};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::errno::{Outcome, check, check_long, fail};

const RESOLVE: u64 =
    libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;

/// Opens `name` in the directory. Mounts are crossed: volumes are mounts.
pub fn open_at(dir: &OwnedFd, name: &CStr, flags: i32, mode: u32) -> Outcome<OwnedFd> {
    // SAFETY: all zeroes is a valid `open_how`.
    let mut how: libc::open_how = unsafe { zeroed() };
    how.flags = (flags | libc::O_CLOEXEC | libc::O_NOFOLLOW) as u64;
    how.mode = mode.into();
    how.resolve = RESOLVE;
    // SAFETY: a C string; the pointer and the length describe `how`.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    take(fd as libc::c_int)
}

/// Finds `name` without opening it.
pub fn find(dir: &OwnedFd, name: &CStr) -> Outcome<OwnedFd> {
    open_at(dir, name, libc::O_PATH, 0)
}

/// Opens what `fd` stands for anew. Only for regular files and directories: the caller has looked.
pub fn reopen(fd: &OwnedFd, flags: i32) -> Outcome<OwnedFd> {
    let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
    let path = path_of(fd)?;
    // SAFETY: a C string.
    take(unsafe { libc::openat(libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// The name of `fd` in the working directory.
pub fn path_of(fd: &OwnedFd) -> Outcome<CString> {
    CString::new(fd.as_raw_fd().to_string()).or_else(|_| fail(libc::EBADF))
}

pub fn take(fd: libc::c_int) -> Outcome<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: just made by a system call, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn stat(fd: &OwnedFd) -> Outcome<libc::stat> {
    stat_at(fd, c"", libc::AT_EMPTY_PATH)
}

pub fn stat_name(dir: &OwnedFd, name: &CStr) -> Outcome<libc::stat> {
    stat_at(dir, name, libc::AT_SYMLINK_NOFOLLOW)
}

fn stat_at(fd: &OwnedFd, name: &CStr, flags: i32) -> Outcome<libc::stat> {
    // SAFETY: all zeroes is a valid `stat`, and the call fills it in.
    unsafe {
        let mut stat: libc::stat = zeroed();
        check(libc::fstatat(
            fd.as_raw_fd(),
            name.as_ptr(),
            &raw mut stat,
            flags,
        ))?;
        Ok(stat)
    }
}

pub fn statfs(fd: &OwnedFd) -> Outcome<libc::statfs> {
    // SAFETY: all zeroes is a valid `statfs`, and the call fills it in.
    unsafe {
        let mut stat: libc::statfs = zeroed();
        check(libc::fstatfs(fd.as_raw_fd(), &raw mut stat))?;
        Ok(stat)
    }
}

/// Reads into `to`, which has room for `count` bytes, until it is full or the file ends.
pub fn read(fd: &OwnedFd, offset: u64, to: *mut u8, count: usize) -> Outcome<usize> {
    let offset = file_offset(offset)?;
    // SAFETY: the caller's pointer has room for `count` bytes.
    check_long(unsafe { libc::pread(fd.as_raw_fd(), to.cast(), count, offset) } as i64)
}

pub fn write(fd: &OwnedFd, offset: u64, data: &[u8]) -> Outcome<usize> {
    let offset = file_offset(offset)?;
    // SAFETY: the pointer and the length describe `data`.
    let written = unsafe { libc::pwrite(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), offset) };
    check_long(written as i64)
}

pub fn file_offset(offset: u64) -> Outcome<i64> {
    i64::try_from(offset).or_else(|_| fail(libc::EINVAL))
}

/// Reads what a symlink, held by an O_PATH descriptor, points to.
pub fn read_link(fd: &OwnedFd) -> Outcome<Vec<u8>> {
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the pointer and the length describe `target`.
    let count = unsafe {
        libc::readlinkat(
            fd.as_raw_fd(),
            c"".as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    target.truncate(check_long(count as i64)?);
    Ok(target)
}

/// Who makes a file, while it lasts. The owner is right from the first moment, and a directory with the
/// set-group-id bit, a quota or a default ACL has its say; capabilities stay (`confine.rs`), for the
/// guest's kernel has already decided whether the caller may.
pub struct Caller;

impl Caller {
    pub fn become_(uid: u32, gid: u32) -> Caller {
        // SAFETY: plain integers; both are of this thread alone. They answer the id before, never an error.
        unsafe {
            libc::setfsgid(gid);
            libc::setfsuid(uid);
        }
        Caller
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            libc::setfsuid(0);
            libc::setfsgid(0);
        }
    }
}
