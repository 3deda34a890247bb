//! The system calls that are left. Anything else ends the process: it is not ours any more.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

const CALLS: &[i64] = &[
    // The clients.
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_accept4,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    // Files. openat has its own rule: it follows links, and is only for descriptors' numbers.
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_newfstatat,
    // musl's fstatat of a descriptor itself.
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_readlinkat,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_truncate,
    libc::SYS_chmod,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_getxattr,
    libc::SYS_setxattr,
    libc::SYS_listxattr,
    libc::SYS_removexattr,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    // Memory, threads, the end.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Sockets are made non-blocking with it. The two C libraries have it in different types.
const FIONBIO: u64 = 0x5421;

/// For all threads there are.
pub fn apply() -> io::Result<()> {
    let program = program().map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&program).map_err(io::Error::other)
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let int =
        |argument, op, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value);
    let alone = |condition| SeccompRule::new(vec![condition]);
    rules.insert(
        libc::SYS_openat,
        vec![alone(int(
            0,
            SeccompCmpOp::Eq,
            libc::AT_FDCWD as u32 as u64,
        )?)?],
    );
    // F_GETFD is the standard library's, which checks what it closes in builds for debugging.
    let commands = [libc::F_OFD_SETLK, libc::F_OFD_GETLK, libc::F_GETFD];
    let commands = commands.map(|command| alone(int(1, SeccompCmpOp::Eq, command as u64)?));
    rules.insert(
        libc::SYS_fcntl,
        commands.into_iter().collect::<Result<_, _>>()?,
    );
    rules.insert(
        libc::SYS_ioctl,
        vec![alone(int(1, SeccompCmpOp::Eq, FIONBIO)?)?],
    );
    let not_executable = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![alone(int(2, not_executable.clone(), 0)?)?]);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::x86_64,
    )?;
    filter.try_into()
}
