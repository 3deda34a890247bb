//! The terminal of a process: made from the container's own devpts, so that it has a name in there.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::sys::{check, during, invalid, open_in_root, owned};

const DEVPTS_MAGIC: libc::c_long = 0x1cd1;
/// Answers the other end of a terminal without looking up its name.
const TIOCGPTPEER: libc::Ioctl = 0x5441;

pub struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// A new terminal of the container whose root is `root`.
pub fn open(root: BorrowedFd<'_>, width: u16, height: u16) -> io::Result<Terminal> {
    // Whatever the container has put there: opening must not wait, and only the kernel's own multiplexer counts.
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK;
    let master =
        open_in_root(root, c"/dev/pts/ptmx", flags).map_err(during("open /dev/pts/ptmx"))?;
    if !is_multiplexer(&master)? {
        return Err(invalid(
            "/dev/pts/ptmx of the container is no terminal multiplexer",
        ));
    }
    let unlock: libc::c_int = 0;
    // SAFETY: the pointer is to an int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) })
        .map_err(during("unlock the terminal"))?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes no pointers.
    let slave = owned(unsafe { libc::ioctl(master.as_raw_fd(), TIOCGPTPEER, flags) })
        .map_err(during("open the terminal"))?;
    let terminal = Terminal { master, slave };
    if width > 0 && height > 0 {
        resize(&terminal.master, width, height)?;
    }
    Ok(terminal)
}

pub fn resize(master: &impl AsRawFd, width: u16, height: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointer is to a winsize.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
        .map_err(during("resize the terminal"))?;
    Ok(())
}

/// Makes `slave` the controlling terminal of this process, which leads its session.
pub fn take(slave: &OwnedFd, uid: u32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    unsafe {
        check(libc::fchown(slave.as_raw_fd(), uid, u32::MAX))
            .map_err(during("own the terminal"))?;
        check(libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0))
            .map_err(during("take the terminal"))?;
    }
    Ok(())
}

fn is_multiplexer(fd: &OwnedFd) -> io::Result<bool> {
    // SAFETY: all zeroes is a valid value of either, which outlive the calls.
    let (mut fs, mut stat): (libc::statfs, libc::stat) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: as above.
    unsafe {
        check(libc::fstatfs(fd.as_raw_fd(), &raw mut fs))?;
        check(libc::fstat(fd.as_raw_fd(), &raw mut stat))?;
    }
    let char_device = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
    Ok(char_device
        && fs.f_type as libc::c_long == DEVPTS_MAGIC
        && stat.st_rdev == libc::makedev(5, 2))
}

/// Columns and rows as a terminal has them.
pub fn size(width: u32, height: u32) -> (u16, u16) {
    let cut = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    (cut(width), cut(height))
}
