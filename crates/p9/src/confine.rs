//! What this process gives up before it listens to a guest.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::fids::MAX_FIDS;

/// What it takes to serve files of all owners to a guest whose own kernel decides who may do what. Not
/// FSETID: without it the host takes set-id bits away when a file is written. Not MKNOD: no devices.
/// SETFCAP allows nothing that a set-user-id file of root, which the guest can make, does not.
const CAPABILITIES: [u32; 7] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    2,  // DAC_READ_SEARCH
    3,  // FOWNER
    6,  // SETGID
    7,  // SETUID
    31, // SETFCAP
];
const LAST_CAPABILITY: u32 = 63;

/// Descriptors of the server's own and those open for the length of a request.
const RESERVED: usize = 256;

/// Makes /proc/self/fd the working directory: a descriptor's number is then the name of its file. The jail
/// has no /proc; this one is attached nowhere, so that no path leads to it.
pub fn enter_descriptors() -> io::Result<()> {
    let proc = match detached_proc() {
        Ok(proc) => open_at(proc.as_raw_fd(), c"self/fd")?,
        Err(_) => open_at(libc::AT_FDCWD, c"/proc/self/fd")?,
    };
    // SAFETY: takes no pointers.
    check(unsafe { libc::fchdir(proc.as_raw_fd()) })
}

fn detached_proc() -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    const SET_STRING: libc::c_uint = 1;
    const CREATE: libc::c_uint = 6;
    const NOSUID_NODEV_NOEXEC: libc::c_uint = 2 | 4 | 8;
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: C strings, null pointers and plain integers.
    unsafe {
        let fs = owned(libc::syscall(
            libc::SYS_fsopen,
            c"proc".as_ptr(),
            FSOPEN_CLOEXEC,
        ))?;
        let (key, value) = (c"subset".as_ptr(), c"pid".as_ptr());
        let set = libc::syscall(
            libc::SYS_fsconfig,
            fs.as_raw_fd(),
            SET_STRING,
            key,
            value,
            0,
        );
        check(set as libc::c_int)?;
        let made = libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), CREATE, null, null, 0);
        check(made as libc::c_int)?;
        owned(libc::syscall(
            libc::SYS_fsmount,
            fs.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            NOSUID_NODEV_NOEXEC,
        ))
    }
}

fn open_at(dir: libc::c_int, path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a C string.
    owned(unsafe { libc::openat(dir, path.as_ptr(), flags) }.into())
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    check(fd as libc::c_int)?;
    // SAFETY: just made by a system call, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Sets how many descriptors there may be, as many as the fids of one client and of files open in it need
/// if the host allows that, and answers how many of them are for clients.
pub fn limit_descriptors() -> io::Result<usize> {
    // SAFETY: all zeroes is a valid `rlimit`, and the call fills it in.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let count = limit.rlim_max.min((2 * MAX_FIDS + RESERVED) as u64);
    set_limit(libc::RLIMIT_NOFILE as i32, count)?;
    // What is in memory is the guest's files: none of it goes into a core file.
    set_limit(libc::RLIMIT_CORE as i32, 0)?;
    Ok(usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_sub(RESERVED))
}

fn set_limit(resource: i32, count: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: count,
        rlim_max: count,
    };
    // SAFETY: `limit` outlives the call.
    check(unsafe { libc::setrlimit(resource as _, &raw const limit) })
}

/// Gives up all capabilities but those above, for good, for this thread and those it starts.
pub fn drop_privileges() -> io::Result<()> {
    // A caller's file system ids take no capability away; root's id alone gives none back.
    let bits = libc::SECBIT_NO_SETUID_FIXUP
        | libc::SECBIT_NO_SETUID_FIXUP_LOCKED
        | libc::SECBIT_NOROOT
        | libc::SECBIT_NOROOT_LOCKED;
    prctl(libc::PR_SET_SECUREBITS, bits as libc::c_ulong)?;
    for capability in (0..=LAST_CAPABILITY).filter(|c| !CAPABILITIES.contains(c)) {
        match prctl(libc::PR_CAPBSET_DROP, capability.into()) {
            // Beyond the last one this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other?,
        }
    }
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
    )?;
    set_capabilities()?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    // SAFETY: takes no pointers.
    unsafe { libc::umask(0) };
    Ok(())
}

fn set_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let kept = CAPABILITIES.iter().fold(0u32, |set, c| set | 1 << c);
    let header: [u32; 2] = [VERSION_3, 0];
    // Effective, permitted and inheritable, the lower 32 of each, then the upper.
    let sets: [u32; 6] = [kept, kept, 0, 0, 0, 0];
    // SAFETY: the layout of capset(2), whose header the kernel may write to only when it refuses the version.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) } as _)
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: none of the options used takes a pointer.
    check(unsafe { libc::prctl(option, value, zero, zero, zero) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
