//! `pause`: the first process of a PID namespace that containers share. It takes in orphans and does nothing else;
//! as the first it hears no signal of the namespace, and it dies with the shim.

use std::io;

pub fn pause() -> io::Result<()> {
    // SAFETY: all zeroes is a valid set, which is initialised first; every pointer outlives its call.
    let children = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        trine_linux::check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        set
    };
    loop {
        // SAFETY: as above; nobody wants to know how an orphan ended.
        unsafe {
            while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {}
            libc::sigwaitinfo(&raw const children, std::ptr::null_mut());
        }
    }
}
