//! Looking up and making what a mount needs inside a root that somebody else has filled.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::sys::{c_string, check, during, invalid, open, open_in_root};

const MAX_PARTS: usize = 256;
/// Where the host has the agent mount things for containers.
pub const SHARED: &str = "/run/trine";

/// A directory inside `root`, made with its parents where missing.
pub fn ensure_dir(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let whole = c_string(path)?;
    match open_in_root(root, &whole, libc::O_PATH | libc::O_DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(during(path)),
    }
    let mut at = root.try_clone_to_owned()?;
    let mut sofar = String::new();
    for part in parts(path)? {
        sofar.push('/');
        sofar.push_str(part);
        let name = c_string(sofar.as_str())?;
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        at = match open_in_root(root, &name, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let part = c_string(part)?;
                // SAFETY: a C string.
                check(unsafe { libc::mkdirat(at.as_raw_fd(), part.as_ptr(), 0o755) })
                    .map_err(during(format!("make {sofar}")))?;
                open_in_root(root, &name, flags).map_err(during(&sofar))?
            }
            other => other.map_err(during(&sofar))?,
        };
    }
    Ok(at)
}

/// A file inside `root`, made empty where missing.
pub fn ensure_file(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let whole = c_string(path)?;
    match open_in_root(root, &whole, libc::O_PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(during(path)),
    }
    let (parent, name) = split(path)?;
    let dir = ensure_dir(root, parent)?;
    let name = c_string(name)?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let made = unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, 0o755) };
    crate::sys::owned(made).map_err(during(format!("make {path}")))?;
    open_in_root(root, &whole, libc::O_PATH).map_err(during(path))
}

/// (parent, last part) of an absolute path.
pub fn split(path: &str) -> io::Result<(&str, &str)> {
    let (parent, name) = path
        .trim_end_matches('/')
        .rsplit_once('/')
        .ok_or_else(|| invalid(format!("{path:?} is not absolute")))?;
    if name.is_empty() || name == "." || name == ".." {
        return Err(invalid(format!("{path:?} names no file")));
    }
    Ok((if parent.is_empty() { "/" } else { parent }, name))
}

/// What is bound or becomes a root. Below [`SHARED`] lie the workload's own files: no link of theirs is followed.
pub fn open_source(path: &str) -> io::Result<OwnedFd> {
    let Some(below) = path.strip_prefix(SHARED) else {
        return open(path, libc::O_PATH);
    };
    let base = open(SHARED, libc::O_PATH | libc::O_DIRECTORY)?;
    let below = below.trim_matches('/');
    if below.is_empty() || below.split('/').any(|part| part == "..") {
        return Err(invalid(format!("{path:?} is not below {SHARED}")));
    }
    let name = c_string(below)?;
    // SAFETY: all zeroes is a valid `open_how`.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: a C string; the pointer and the length describe `how`.
    let found = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            base.as_fd().as_raw_fd(),
            name.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    crate::sys::owned_long(found).map_err(during(path))
}

fn parts(path: &str) -> io::Result<Vec<&str>> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.len() > MAX_PARTS || parts.contains(&"..") {
        return Err(invalid(format!("{path:?} is no path to make")));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_is_made_outside_the_root() {
        let base = std::env::temp_dir().join(format!("trine-agent-paths-{}", std::process::id()));
        let root = base.join("root");
        std::fs::create_dir_all(&root).expect("root");
        symlink("/etc", root.join("abs")).expect("link");
        symlink("../../..", root.join("up")).expect("link");
        symlink("nowhere", root.join("dangling")).expect("link");
        let fd = open(root.to_str().expect("text"), libc::O_PATH).expect("open");

        ensure_dir(fd.as_fd(), "/a/b/c").expect("made");
        ensure_file(fd.as_fd(), "/x/y").expect("made");
        ensure_dir(fd.as_fd(), "/a/b/c").expect("there");
        assert!(root.join("a/b/c").is_dir() && root.join("x/y").is_file());
        ensure_dir(fd.as_fd(), "/up/only-inside").expect("clamped");
        assert!(root.join("only-inside").is_dir());
        assert!(ensure_dir(fd.as_fd(), "/abs/deep").is_err());
        assert!(ensure_dir(fd.as_fd(), "/dangling").is_err());
        assert!(ensure_dir(fd.as_fd(), "/a/../../b").is_err());
        assert!(!base.join("b").exists());
        std::fs::remove_dir_all(&base).expect("own files");
    }
}
