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
