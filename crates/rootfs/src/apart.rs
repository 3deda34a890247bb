//! Work in a child with a limit: what somebody else's files can hold up does not hold up this program.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use trine_linux::{check, check_long, during, owned_long};

use crate::confine::end_with_parent;

/// Longest words of an error; a pipe takes as much at once.
const MAX_ANSWER: usize = 1024;
const WELL: &str = "ok";
/// What is killed ends at once, or when the file system lets go of it: then it is left to that.
const END: Duration = Duration::from_millis(50);

/// Does `work` in a child, which ends with this program. `timed out` after `limit`. For a program of one thread.
pub fn within(limit: Duration, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (answers, answer) = io::pipe()?;
    let parent = std::process::id();
    // SAFETY: takes no pointers; with one thread the child may go on like after fork().
    let pid = check(unsafe { libc::fork() }).map_err(during("fork"))?;
    if pid == 0 {
        tell(
            answer,
            end_with_parent(parent).and_then(|()| in_silence(work)),
        );
    }
    drop(answer);
    let came = receive(answers, limit);
    end(pid)?;
    came?
}

/// Nobody waits for the end of this program's output because of the child.
fn in_silence(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: takes no pointers, and the child uses none of the three.
        check(unsafe { libc::close(stream) })?;
    }
    work()
}

fn tell(mut answer: PipeWriter, done: io::Result<()>) -> ! {
    let words = done.map_or_else(|error| error.to_string(), |()| WELL.to_owned());
    let bytes = words.as_bytes();
    // Without an answer the other side says so.
    let _ = answer.write_all(bytes.get(..MAX_ANSWER).unwrap_or(bytes));
    // SAFETY: ends the child without running anything of its parent's.
    unsafe { libc::_exit(0) }
}

fn receive(mut answers: PipeReader, limit: Duration) -> io::Result<io::Result<()>> {
    if !ready(&answers, limit)? {
        return Ok(Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")));
    }
    let mut words = [0; MAX_ANSWER];
    let length = answers.read(&mut words)?;
    let words = String::from_utf8_lossy(words.get(..length).unwrap_or_default());
    Ok(match words.as_ref() {
        WELL => Ok(()),
        "" => Err(io::Error::other("ended without an answer")),
        why => Err(io::Error::other(why)),
    })
}

fn end(pid: libc::pid_t) -> io::Result<()> {
    // SAFETY: takes no pointers; the child was not waited for, so the number is still its own.
    let process: OwnedFd = owned_long(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: takes no pointers.
    check_long(libc::c_long::from(unsafe {
        libc::kill(pid, libc::SIGKILL)
    }))?;
    if ready(&process, END)? {
        // SAFETY: no status is asked for.
        check(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) })?;
    }
    Ok(())
}

fn ready(fd: &impl AsRawFd, limit: Duration) -> io::Result<bool> {
    let mut watched = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let ms = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one entry, which outlives the call.
    Ok(check(unsafe { libc::poll(&raw mut watched, 1, ms) })? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_came_of_it_is_told() {
        within(LONG, || Ok(())).expect("done");
        let error = within(LONG, || Err(io::Error::other("no such thing"))).expect_err("failed");
        assert_eq!(error.to_string(), "no such thing");
        // SAFETY: takes no pointers.
        let error = within(LONG, || unsafe { libc::_exit(3) }).expect_err("ended");
        assert_eq!(error.to_string(), "ended without an answer");
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let error = within(Duration::from_millis(100), || {
            loop {
                std::thread::park();
            }
        })
        .expect_err("it hangs");
        assert_eq!(error.to_string(), "timed out");
    }
}
