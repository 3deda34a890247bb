//! What the process gives up before it looks at the image.

use std::io;

use trine_linux::{check, check_long, during};

/// Reads files and directories whoever they belong to. It changes nothing.
const DAC_READ_SEARCH: u32 = 2;
const LAST_CAPABILITY: u32 = 63;
const CPU_SECONDS: u64 = 1800;
const MEMORY_BYTES: u64 = 4 << 30;
const OPEN_FILES: u64 = 64;
/// Beside it pods are started.
const NICE: libc::c_int = 10;

pub fn limit(max_bytes: u64) -> io::Result<()> {
    for (resource, most) in [
        (libc::RLIMIT_FSIZE, max_bytes),
        (libc::RLIMIT_CPU, CPU_SECONDS),
        (libc::RLIMIT_AS, MEMORY_BYTES),
        (libc::RLIMIT_NOFILE, OPEN_FILES),
        (libc::RLIMIT_CORE, 0),
    ] {
        let limit = libc::rlimit {
            rlim_cur: most,
            rlim_max: most,
        };
        // SAFETY: `limit` outlives the call.
        check(unsafe { libc::setrlimit(resource as _, &raw const limit) })
            .map_err(during("set limits"))?;
    }
    // SAFETY: takes no pointers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, NICE) })
        .map_err(during("be nice"))?;
    // SAFETY: takes no pointers. What was inherited by mistake must not reach mkfs.erofs.
    check_long(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) })
        .map_err(during("close descriptors"))?;
    Ok(())
}

/// All capabilities but one, for good.
pub fn drop_privileges(uid: u32) -> io::Result<()> {
    for capability in (0..=LAST_CAPABILITY).filter(|c| *c != DAC_READ_SEARCH) {
        match prctl(libc::PR_CAPBSET_DROP, capability.into()) {
            // Beyond the last one this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other.map_err(during("limit capabilities"))?,
        }
    }
    prctl(libc::PR_SET_KEEPCAPS, 1)?;
    // SAFETY: no groups, so no pointer is followed; the rest takes none.
    unsafe {
        check(libc::setgroups(0, std::ptr::null())).map_err(during("leave groups"))?;
        check(libc::setresgid(uid, uid, uid)).map_err(during("set the group"))?;
        check(libc::setresuid(uid, uid, uid)).map_err(during("set the user"))?;
    }
    set_capabilities().map_err(during("drop capabilities"))?;
    let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
    // SAFETY: takes no pointers.
    check(unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            raise,
            libc::c_ulong::from(DAC_READ_SEARCH),
            0,
            0,
        )
    })
    .map_err(during("keep a capability"))?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(during("forbid new privileges"))
}

/// Not before the user was changed, which undoes it.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)?;
    if std::os::unix::process::parent_id() == parent {
        return Ok(());
    }
    Err(io::Error::other("the parent has ended"))
}

fn set_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let kept = 1_u32 << DAC_READ_SEARCH;
    let header: [u32; 2] = [VERSION_3, 0];
    // Effective, permitted and inheritable, the lower 32 of each, then the upper.
    let sets: [u32; 6] = [kept, kept, kept, 0, 0, 0];
    // SAFETY: the layout of capset(2), whose header the kernel may write to only when it refuses the version.
    check_long(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) })?;
    Ok(())
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: none of the options used takes a pointer.
    check(unsafe { libc::prctl(option, value, zero, zero, zero) })?;
    Ok(())
}
