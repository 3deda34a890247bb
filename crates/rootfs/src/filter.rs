//! System calls that a tool that reads images has no use for and whoever takes it over would have. With the right to
//! read files of all owners open_by_handle_at(2) reaches every file of a file system that a single one of is in sight.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// The answer is EPERM.
const REFUSED: &[i64] = &[
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // A process of its own would outlive the build.
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_socket,
];

/// For good, and for what is executed next.
pub fn apply() -> io::Result<()> {
    for program in [refusals(), no_clone3()] {
        let program = program.map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn refusals() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    // Threads are welcome.
    let no_thread = SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64);
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, no_thread, 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![condition])?]);
    filter(rules, libc::EPERM)
}

/// Its flags are behind a pointer: the C library asks clone(2) where there is none.
fn no_clone3() -> Result<BpfProgram, BackendError> {
    filter([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: libc::c_int,
) -> Result<BpfProgram, BackendError> {
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, TargetArch::x86_64)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_and_processes_are_refused_and_threads_are_not() {
        // A filter is its thread's for ever.
        std::thread::spawn(|| {
            apply().unwrap();
            // SAFETY: the kernel is not to look at the null pointer.
            let opened = unsafe {
                libc::syscall(libc::SYS_open_by_handle_at, -1, std::ptr::null::<u8>(), 0)
            };
            assert_eq!(opened, -1);
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
            let spawned = std::process::Command::new("/bin/true").spawn();
            assert_eq!(spawned.unwrap_err().raw_os_error(), Some(libc::EPERM));
            std::thread::spawn(|| ()).join().unwrap();
        })
        .join()
        .unwrap();
    }
}
