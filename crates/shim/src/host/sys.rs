//! What the modules beside this one share: error words, descriptors, epoll and a timer.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

pub use trine_linux::{c_string, check, during, invalid, is_connected, owned, reset_on_close};

/// Sets an option whose value is a plain C structure or an integer.
pub fn set_option<T>(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// A listening socket; what is left of an earlier one goes. The mode is there from the beginning: whoever
/// may write to the directory must not have his link changed in its place.
pub fn listen_at(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let named =
        |e: io::Error| io::Error::new(e.kind(), format!("listen at {}: {e}", path.display()));
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    // SAFETY: takes no pointers; the shim has one thread.
    let before = unsafe { libc::umask(!mode & 0o777) };
    let bound = UnixListener::bind(path);
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    bound.map_err(named)
}

/// Opens a regular file below `root` that somebody else has filled: no link on the way is followed, and a
/// device or a FIFO is no file. Needs Linux 5.6 (`openat2`).
pub fn open_inside(root: &Path, below: &Path, writable: bool) -> io::Result<OwnedFd> {
    let root = File::open(root)?;
    let path = c_string(below.as_os_str().as_bytes())?;
    // SAFETY: all zeroes is a valid `open_how`.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    // Only looked at first: the mere opening of some devices has consequences.
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: a C string; the pointer and the length describe `how`.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    let found = File::from(owned(fd as libc::c_int)?);
    if !found.metadata()?.is_file() {
        return Err(invalid("not a regular file"));
    }
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let opened = File::options().read(true).write(writable).open(path)?;
    Ok(opened.into())
}

/// What lies at `path`, a link included, to be looked at and not opened. Not by the standard library's options: with musl
/// they drop O_PATH, which that counts to the access mode.
pub fn look_at(path: &Path) -> io::Result<File> {
    let path = c_string(path.as_os_str().as_bytes())?;
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let found = owned(unsafe { libc::open(path.as_ptr(), flags) })?;
    Ok(File::from(found))
}

/// A connection, non-blocking, to the socket at `path`. Where the standard library's waits for a listener
/// that hangs and whose queue is full, this is an error.
pub fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    // SAFETY: all zeroes is a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() >= address.sun_path.len() {
        return Err(invalid(format!("{} is no socket path", path.display())));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_UNIX, flags, 0) })?;
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `address`, whose path ends with a NUL.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(UnixStream::from(socket))
}

/// The readiness of many descriptors behind one.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        Ok(Self(owned(unsafe {
            libc::epoll_create1(libc::EPOLL_CLOEXEC)
        })?))
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn add(&self, fd: RawFd, events: i32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    pub fn modify(&self, fd: RawFd, events: i32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    pub fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&self, operation: i32, fd: RawFd, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        // SAFETY: `event` outlives the call.
        check(unsafe { libc::epoll_ctl(self.fd(), operation, fd, &raw mut event) })?;
        Ok(())
    }

    /// What is ready now, as (token, events); never waits.
    pub fn ready(&self) -> Vec<(u64, i32)> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: the pointer and the count describe `events`.
        let count = unsafe { libc::epoll_wait(self.fd(), events.as_mut_ptr(), 64, 0) };
        let count = usize::try_from(count).unwrap_or(0);
        events
            .iter()
            .take(count)
            .map(|e| (e.u64, e.events as i32))
            .collect()
    }
}

/// One-shot timer, readable when it has run out.
pub struct Timer(OwnedFd);

impl Timer {
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: takes no pointers.
        Ok(Self(owned(unsafe {
            libc::timerfd_create(libc::CLOCK_MONOTONIC, flags)
        })?))
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn start(&self, after: Duration) -> io::Result<()> {
        let zero = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let spec = libc::itimerspec {
            it_interval: zero,
            it_value: libc::timespec {
                tv_sec: after.as_secs() as _,
                tv_nsec: libc::c_long::from(after.subsec_nanos()),
            },
        };
        // SAFETY: `spec` outlives the call; no old value is asked for.
        check(unsafe {
            libc::timerfd_settime(self.fd(), 0, &raw const spec, std::ptr::null_mut())
        })?;
        Ok(())
    }

    /// Makes the timer unreadable again.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // A timer that has not run out answers EAGAIN, which is as good.
        let _ = read(self.fd(), &mut count);
    }
}

/// From the kernel.
pub fn random<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    // SAFETY: the pointer and the length describe `bytes`.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), COUNT, 0) };
    match usize::try_from(count) {
        Ok(count) if count == COUNT => Ok(bytes),
        _ => Err(during("ask for random bytes")(io::Error::last_os_error())),
    }
}

/// The other end of a connected socket reads the end of the data.
pub fn shut_down_writing(socket: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

pub fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe `buffer`.
    let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// A datagram socket to ask the kernel about interfaces of this network namespace.
pub fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })
        .map_err(during("open a control socket"))
}

/// An `ifreq` that names `name`; names the kernel would cut or refuse are invalid input.
pub fn ifreq(name: &str) -> io::Result<libc::ifreq> {
    let bytes = name.as_bytes();
    let bad = |b: &u8| *b <= b' ' || *b == b'/' || *b == b':' || *b == b'%' || *b >= 0x7f;
    if bytes.is_empty()
        || bytes.len() >= libc::IFNAMSIZ
        || bytes.iter().any(bad)
        || name == "."
        || name == ".."
    {
        return Err(invalid(format!("{name:?} is no interface name")));
    }
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(request)
}

/// An interface request on `fd`. The caller picks a `request` code that reads or writes an `ifreq`.
pub fn ifreq_ioctl(
    fd: BorrowedFd<'_>,
    code: libc::c_ulong,
    request: &mut libc::ifreq,
) -> io::Result<()> {
    // SAFETY: every code this crate uses takes a pointer to an `ifreq`, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), code as _, std::ptr::from_mut(request)) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_image_leads_nowhere_else() {
        use std::os::unix::fs::symlink;
        let scratch = crate::host::testing::Scratch::new("inside");
        let root = scratch.path().join("root");
        std::fs::create_dir_all(root.join("disk")).unwrap();
        std::fs::write(root.join("disk/a.img"), "x").unwrap();
        std::fs::write(scratch.path().join("secret"), "x").unwrap();
        symlink(scratch.path(), root.join("out")).unwrap();
        symlink("disk", root.join("in")).unwrap();
        symlink("a.img", root.join("disk/b.img")).unwrap();
        let fifo = c_string(root.join("fifo").to_str().unwrap()).unwrap();
        // SAFETY: the path is a C string.
        check(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }).unwrap();
        let open = |below: &str| open_inside(&root, Path::new(below), false);
        open("disk/a.img").unwrap();
        for bad in [
            "out/secret",
            "../secret",
            "in/a.img",
            "disk/b.img",
            "fifo",
            "disk",
        ] {
            assert!(open(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listener_that_hangs_is_not_waited_for() {
        let scratch = crate::host::testing::Scratch::new("connect");
        let path = scratch.path().join("s");
        assert!(connect_unix(&path).is_err());
        let listener = UnixListener::bind(&path).unwrap();
        // SAFETY: takes no pointers. A second listen(2) only changes the length of the queue.
        check(unsafe { libc::listen(listener.as_raw_fd(), 0) }).unwrap();
        let mut waiting = vec![connect_unix(&path).unwrap()];
        let refused = loop {
            match connect_unix(&path) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 100);
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        listener.accept().unwrap();
        connect_unix(&path).unwrap();
    }
}
