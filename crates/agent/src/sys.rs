//! Thin wrappers of system calls that the other modules share.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

pub use trine_linux::{c_string, check, check_long, during, invalid, owned, owned_long};

/// Closes the descriptors from `first` to `last`. The C library of static programs has no such function.
///
/// # Safety
/// None of them is used or dropped here again.
pub unsafe fn close_range(first: libc::c_uint, last: libc::c_uint) {
    // SAFETY: takes no pointers; of the descriptors the caller vouches.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// (read end, write end), both close-on-exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the pointer is to two ints.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let [read, write] = ends;
    Ok((owned(read)?, owned(write)?))
}

pub fn set_nonblocking(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

pub fn read(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe `buffer`.
    let count = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

pub fn write(fd: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe `bytes`.
    let count = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

pub fn is_not_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Opens `path` below `root` as if `root` were `/`: links and `..` cannot lead out. Links of /proc that
/// jump elsewhere are refused.
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    open_how(
        root,
        path,
        flags,
        libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
    )
}

fn open_how(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: libc::c_int,
    resolve: u64,
) -> io::Result<OwnedFd> {
    // SAFETY: all zeroes is a valid `open_how`.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = resolve;
    // SAFETY: a C string; the pointer and the length describe `how`.
    owned_long(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    })
}

/// Opens a path of the agent's own.
pub fn open(path: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    let name = c_string(path)?;
    // SAFETY: a C string.
    owned(unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC) }).map_err(during(path))
}

/// Opens a name directly below a directory that the agent made.
pub fn open_at(dir: &impl AsFd, name: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = c_string(name)?;
    // SAFETY: a C string.
    owned(unsafe {
        libc::openat(
            dir.as_fd().as_raw_fd(),
            path.as_ptr(),
            flags | libc::O_CLOEXEC,
        )
    })
}

/// The old system call, for the agent's own mounts.
pub fn mount(
    source: &str,
    target: &str,
    kind: &str,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let (source, at) = (c_string(source)?, c_string(target)?);
    let (kind, data) = (c_string(kind)?, c_string(data)?);
    // SAFETY: four C strings.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    })
    .map_err(during(format!("mount {target}")))?;
    Ok(())
}

pub fn make_dir(path: &str) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(during(format!("make {path}"))(error))
        }
        _ => Ok(()),
    }
}

/// Moves `fd` out of the way of the numbers 0 to 2.
pub fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // SAFETY: takes no pointers.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })
}

pub fn duplicate_onto(fd: &impl AsRawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
    Ok(())
}

/// Reads a file of a control group from its beginning: until then its watch says that it has changed.
pub fn silence(fd: &impl AsRawFd) {
    let mut buffer = [0_u8; 512];
    // SAFETY: the pointer and the length describe `buffer`. What is read does not matter.
    unsafe { libc::pread(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
}

/// For a forked child: closes what it inherited above standard error but these. It ends in exec or _exit, so none of
/// what is closed is used or dropped there again.
pub fn close_all_but(mut keep: Vec<RawFd>) {
    keep.sort_unstable();
    let mut next: RawFd = 3;
    for fd in keep.into_iter().chain([RawFd::MAX]) {
        if fd > next {
            // SAFETY: takes no pointers.
            unsafe { close_range(next as u32, (fd - 1) as u32) };
        }
        next = fd.saturating_add(1);
    }
}
