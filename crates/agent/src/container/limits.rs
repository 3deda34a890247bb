//! Resource limits by their names in a specification.

use std::io;

use super::spec::Rlimit;
use crate::sys::{check_long, during, invalid};

/// Names and numbers of x86-64 and arm64 (asm-generic/resource.h).
const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// Where the kernel's own bound on this bound is.
const MAX_NR_OPEN: u64 = 0x7fff_ffc0;
const NR_OPEN: &str = "/proc/sys/fs/nr_open";

/// A node may have a higher bound on open files than a guest's kernel begins with. In the agent's own name: nobody
/// else may raise it.
pub fn allow(limits: &[Rlimit]) -> io::Result<()> {
    let files = limits.iter().filter(|limit| limit.kind == "RLIMIT_NOFILE");
    let Some(wanted) = files.map(|limit| limit.hard.min(MAX_NR_OPEN)).max() else {
        return Ok(());
    };
    let now = std::fs::read_to_string(NR_OPEN).map_err(during(NR_OPEN))?;
    if now.trim().parse::<u64>().is_ok_and(|now| wanted > now) {
        std::fs::write(NR_OPEN, wanted.to_string()).map_err(during(NR_OPEN))?;
    }
    Ok(())
}

/// Those of `given` whose kind `own` does not name: an exec has what its container has.
pub fn inherit(own: &mut Vec<Rlimit>, given: &[Rlimit]) {
    for limit in given {
        if !own.iter().any(|known| known.kind == limit.kind) {
            own.push(limit.clone());
        }
    }
}

/// For this process and what it executes.
pub fn apply(limits: &[Rlimit]) -> io::Result<()> {
    for limit in limits {
        let Some(number) = NAMES.iter().position(|name| *name == limit.kind) else {
            return Err(invalid(format!("{:?} is no resource limit", limit.kind)));
        };
        let pair: [u64; 2] = [limit.soft, limit.hard];
        let none = std::ptr::null_mut::<u64>();
        // SAFETY: the pointer is to a rlimit64: two u64, soft first. No old value is asked for.
        check_long(unsafe { libc::syscall(libc::SYS_prlimit64, 0, number, pair.as_ptr(), none) })
            .map_err(during(format!("set {}", limit.kind)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(kind: &str, soft: u64) -> Rlimit {
        let kind = kind.to_owned();
        Rlimit {
            kind,
            soft,
            hard: soft,
        }
    }

    #[test]
    fn an_execs_own_limits_come_before_its_containers() {
        let mut own = vec![limit("RLIMIT_CORE", 1)];
        inherit(
            &mut own,
            &[limit("RLIMIT_CORE", 2), limit("RLIMIT_NOFILE", 3)],
        );
        let found: Vec<_> = own.iter().map(|l| (l.kind.as_str(), l.soft)).collect();
        assert_eq!(found, [("RLIMIT_CORE", 1), ("RLIMIT_NOFILE", 3)]);
    }
}
