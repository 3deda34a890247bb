//! On which CPUs of the host a thread may run.

use super::sys::{check, during, invalid};
use std::fs;
use std::io;

/// As many as the kernel can be built for.
const MOST_CPUS: usize = 8192;
const BITS: usize = u64::BITS as usize;

/// Whether it is one of the process's threads. Asked of the thread itself: a listing can pass one over while others end.
pub fn is_thread_of(pid: i32, thread: i32) -> bool {
    fs::exists(format!("/proc/{pid}/task/{thread}")).unwrap_or(false)
}

/// The threads that a process has now; while others end, one that goes on may be missing.
pub fn threads_of(pid: i32) -> io::Result<Vec<i32>> {
    let dir = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&dir).map_err(during(format!("read {dir}")))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

/// An error for no CPU at all, and for those that there are not.
pub fn pin(thread: i32, cpus: &[u32]) -> io::Result<()> {
    let mut mask = [0u64; MOST_CPUS / BITS];
    for cpu in cpus {
        let number = *cpu as usize;
        let word = mask.get_mut(number / BITS);
        let word = word.ok_or_else(|| invalid(format!("CPU {cpu} of {MOST_CPUS}")))?;
        *word |= 1 << (number % BITS);
    }
    let size = size_of_val(&mask);
    // SAFETY: the pointer and the size describe `mask`.
    let set = unsafe { libc::sched_setaffinity(thread, size, mask.as_ptr().cast()) };
    check(set).map_err(during(format!("pin thread {thread} to {cpus:?}")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::{in_thread, thread_id};

    fn allowed(thread: i32) -> String {
        let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
        line.unwrap().trim().to_owned()
    }

    #[test]
    fn a_thread_runs_where_it_is_told() {
        in_thread(|| {
            let thread = thread_id();
            assert!(is_thread_of(std::process::id() as i32, thread));
            assert!(!is_thread_of(1, thread));
            pin(thread, &[0]).unwrap();
            assert_eq!(allowed(thread), "0");
        });
    }

    #[test]
    fn what_there_is_not_is_refused() {
        in_thread(|| {
            let thread = thread_id();
            for cpus in [&[][..], &[8191], &[8192], &[u32::MAX]] {
                let error = pin(thread, cpus).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{cpus:?}");
            }
        });
        assert!(threads_of(0).is_err());
    }
}
