//! Process ids that the pod's containers share (shareProcessNamespace).

use crate::agent::Agent;
use crate::container::spawn::{Fork, fork};
use crate::{signals, sys};

impl Agent {
    /// The PID namespace that containers share when the pod asks for it. Its first process waits for orphans
    /// to end, for ever.
    pub fn ensure_pod_pids(&mut self) -> std::io::Result<()> {
        if self.pod_pids.is_some() {
            return Ok(());
        }
        match fork(libc::CLONE_NEWPID, None)? {
            Fork::Child => pause_for_ever(),
            Fork::Parent { pid, .. } => {
                let path = format!("/proc/{pid}/ns/pid");
                self.pod_pids = Some(sys::open(&path, libc::O_RDONLY)?);
                Ok(())
            }
        }
    }
}

fn pause_for_ever() -> ! {
    // SAFETY: takes no pointers; the descriptors are the agent's, which this process uses no more.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        sys::close_range(0, libc::c_uint::MAX);
    }
    loop {
        // SAFETY: all zeroes is a valid siginfo_t; the set holds SIGCHLD, which is blocked since the agent began.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGCHLD);
            libc::sigwaitinfo(&raw const set, std::ptr::null_mut());
        }
        while signals::next_ended().is_some() {}
    }
}
