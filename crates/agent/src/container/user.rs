//! The user, groups, capabilities and working directory of a process.

use std::io;

use super::caps::Sets;
use super::spec::Process;
use crate::sys::{c_string, check, check_long, during, invalid};

pub fn become_user(process: &Process) -> io::Result<()> {
    let user = &process.user;
    let sets = Sets::of(process.capabilities.as_ref().unwrap_or(&Default::default()));
    sets.limit_bounding()?;
    let arrived = enter_cwd(&process.cwd);
    // SAFETY: the pointer and the count describe the list; the rest takes no pointers.
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
        let groups = user.additional_gids.as_slice();
        check(libc::setgroups(groups.len(), groups.as_ptr())).map_err(during("set groups"))?;
        check(libc::setresgid(user.gid, user.gid, user.gid)).map_err(during("set the group"))?;
        check(libc::setresuid(user.uid, user.uid, user.uid)).map_err(during("set the user"))?;
        libc::umask(user.umask.unwrap_or(0o022) as libc::mode_t);
    }
    // A directory of a share may be open to the user only.
    arrived.or_else(|_| enter_cwd(&process.cwd))?;
    sets.apply()?;
    if process.no_new_privileges {
        // SAFETY: takes no pointers.
        check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
            .map_err(during("forbid new privileges"))?;
    }
    Ok(())
}

/// A cwd that a link or an inherited descriptor has led out of the root is refused.
fn enter_cwd(cwd: &str) -> io::Result<()> {
    let path = c_string(cwd)?;
    // SAFETY: a C string.
    check(unsafe { libc::chdir(path.as_ptr()) })
        .map_err(during(format!("chdir to cwd ({cwd:?})")))?;
    let mut buffer = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the pointer and the length describe `buffer`.
    let count =
        check_long(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) });
    // The kernel writes "(unreachable)/..." for what lies outside the root.
    if count.is_err() || buffer.first() != Some(&b'/') {
        return Err(invalid(format!(
            "the cwd {cwd:?} is outside the container's root"
        )));
    }
    Ok(())
}
