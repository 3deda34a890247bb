//! What makes a guest one pod's and no other's: random numbers first, then clock and names.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use trine_wire::Timestamp;

use crate::sys::{check, during, invalid, open};

pub const ENTROPY_BYTES: usize = 64;
/// `_IOW('R', 0x03, int[2])` and `_IO('R', 0x07)` (linux/random.h).
const RNDADDENTROPY: u64 = 0x4008_5203;
const RNDRESEEDCRNG: u64 = 0x5207;
const MACHINE_ID: &str = "/etc/machine-id";

/// `struct rand_pool_info` with its buffer.
#[repr(C)]
struct Pool {
    entropy_bits: libc::c_int,
    size: libc::c_int,
    bytes: [u8; ENTROPY_BYTES],
}

/// Puts the host's random bytes into the pool and makes the generator use them at once: a clone must give no number
/// its template gave. Nothing may have asked for a random number before.
pub fn reseed(entropy: &[u8]) -> io::Result<()> {
    let bytes = <[u8; ENTROPY_BYTES]>::try_from(entropy)
        .map_err(|_| invalid(format!("entropy is not of {ENTROPY_BYTES} bytes")))?;
    let pool = Pool {
        entropy_bits: (ENTROPY_BYTES * 8) as libc::c_int,
        size: ENTROPY_BYTES as libc::c_int,
        bytes,
    };
    let device = open("/dev/urandom", libc::O_WRONLY)?;
    let fd = device.as_raw_fd();
    // SAFETY: the pointer is to a rand_pool_info whose size says how long its buffer is; the second takes none.
    unsafe {
        check(libc::ioctl(fd, RNDADDENTROPY as _, &raw const pool))
            .map_err(during("add entropy"))?;
        check(libc::ioctl(fd, RNDRESEEDCRNG as _)).map_err(during("reseed"))?;
    }
    Ok(())
}

pub fn set_clock(time: &Timestamp) -> io::Result<()> {
    let valid = (0..1_000_000_000).contains(&time.nanos) && time.seconds > 0;
    if !valid {
        return Err(invalid("the time is not valid"));
    }
    let time = libc::timespec {
        tv_sec: time.seconds,
        tv_nsec: libc::c_long::from(time.nanos),
    };
    // SAFETY: the pointer outlives the call.
    check(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) })
        .map_err(during("set the clock"))?;
    Ok(())
}

pub fn set_hostname(name: &str) -> io::Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(invalid(format!("{name:?} is no hostname")));
    }
    // SAFETY: the pointer and the length describe the name.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
        .map_err(during("set the hostname"))?;
    Ok(())
}

pub fn set_machine_id(id: &str) -> io::Result<()> {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if id.len() != 32 || !id.chars().all(hex) {
        return Err(invalid(format!("{id:?} is no machine id")));
    }
    fs::write(MACHINE_ID, format!("{id}\n")).map_err(during(MACHINE_ID))
}
