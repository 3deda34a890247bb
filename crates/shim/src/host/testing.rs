//! What the tests of these modules share. They run as root, each in namespaces of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs `body` on a thread of its own, so that the namespaces it enters are gone with it.
pub fn in_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    match std::thread::spawn(body).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// As `in_thread`, with a private copy of the mounts.
pub fn in_mount_namespace<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    in_thread(|| {
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        let (root, none) = (c"/".as_ptr(), std::ptr::null());
        // SAFETY: C strings and null pointers only.
        unsafe {
            assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
            assert_eq!(libc::mount(none, root, none, flags, none.cast()), 0);
        }
        body()
    })
}

/// A tap of one queue.
pub fn open_tap(name: &str, mtu: u32) -> io::Result<OwnedFd> {
    let mut queues = super::net::open_queues(name, mtu, 1)?;
    Ok(queues.remove(0))
}

/// A directory of one test's own, gone with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trine-host-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn thread_id() -> i32 {
    // SAFETY: takes no pointers.
    unsafe { libc::gettid() }
}

/// The output of `ip` in this thread's network namespace.
pub fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// The output of a program; its failure is the test's.
pub fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect(program);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments}: {shown}{errors}"
    );
    shown
}

/// Asks `ready` again and again, for ten seconds at most.
pub fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !ready() {
        assert!(std::time::Instant::now() < end, "not in time: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
