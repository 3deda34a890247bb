//! What is known of a file, and changing it.

use std::os::fd::AsRawFd;

use crate::errno::{Outcome, check, fail};
use crate::files::MODE;
use crate::host::{self, Caller};
use crate::session::Session;
use crate::wire::{Reader, Reply};

/// Everything up to the number of blocks; not birth time, generation and data version.
const BASIC: u64 = 0x7ff;
/// 9P's own magic: a program that asks learns that it is on a share.
const MAGIC: u32 = 0x0102_1997;
/// Of tmpfs, which a program that asks for a volume in memory looks for: it holds as long as its pod, and costs memory.
const IN_MEMORY: u32 = 0x0102_1994;

mod valid {
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const ATIME_SET: u32 = 1 << 7;
    pub const MTIME_SET: u32 = 1 << 8;
}

pub fn get(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let _wanted = request.u64()?;
    let stat = host::stat(&fid.handle.fd)?;
    reply.u64(BASIC);
    reply.qid(fid.handle.qid);
    reply.u32(stat.st_mode);
    reply.u32(stat.st_uid);
    reply.u32(stat.st_gid);
    reply.u64(stat.st_nlink);
    reply.u64(stat.st_rdev);
    reply.u64(stat.st_size as u64);
    reply.u64(stat.st_blksize as u64);
    reply.u64(stat.st_blocks as u64);
    for (seconds, nanoseconds) in [
        (stat.st_atime, stat.st_atime_nsec),
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
        (0, 0),
    ] {
        reply.u64(seconds as u64);
        reply.u64(nanoseconds as u64);
    }
    reply.u64(0);
    reply.u64(0);
    Ok(())
}

/// Size first, mode after the owner: a new owner takes the set-id bits away, and the times last.
pub fn set(session: &Session, request: &mut Reader) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let wanted = request.u32()?;
    let mode = request.u32()? & MODE;
    let uid = request.u32()?;
    let gid = request.u32()?;
    let size = request.u64()?;
    let atime = (request.u64()?, request.u64()?);
    let mtime = (request.u64()?, request.u64()?);
    let asked = |flag: u32| wanted & flag != 0;
    let handle = &fid.handle;
    if asked(valid::SIZE) {
        if handle.kind != libc::S_IFREG {
            return fail(libc::EINVAL);
        }
        let path = host::path_of(&handle.fd)?;
        // SAFETY: a C string.
        check(unsafe { libc::truncate(path.as_ptr(), host::file_offset(size)?) })?;
    }
    if asked(valid::UID | valid::GID) {
        let owner = |flag, id| if asked(flag) { id } else { u32::MAX };
        // SAFETY: a C string.
        check(unsafe {
            libc::fchownat(
                handle.fd.as_raw_fd(),
                c"".as_ptr(),
                owner(valid::UID, uid),
                owner(valid::GID, gid),
                libc::AT_EMPTY_PATH,
            )
        })?;
    }
    if asked(valid::MODE) {
        // The host keeps the set-group-id bit only for a member of the file's group; CAP_FSETID, which
        // would do, would also keep set-id bits when a file is written.
        let _caller = Caller::become_(0, host::stat(&handle.fd)?.st_gid);
        let path = host::path_of(&handle.fd)?;
        // SAFETY: a C string.
        check(unsafe { libc::chmod(path.as_ptr(), mode) })?;
    }
    if asked(valid::ATIME | valid::MTIME) {
        let times = [
            time(asked(valid::ATIME), asked(valid::ATIME_SET), atime),
            time(asked(valid::MTIME), asked(valid::MTIME_SET), mtime),
        ];
        // SAFETY: a C string and two times.
        check(unsafe {
            libc::utimensat(
                handle.fd.as_raw_fd(),
                c"".as_ptr(),
                times.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        })?;
    }
    Ok(())
}

fn time(asked: bool, given: bool, (seconds, nanoseconds): (u64, u64)) -> libc::timespec {
    let (tv_sec, tv_nsec) = match (asked, given) {
        (false, _) => (0, libc::UTIME_OMIT),
        (true, false) => (0, libc::UTIME_NOW),
        // What is no number of nanoseconds must not turn into one of the two above.
        (true, true) => (seconds as i64, nanoseconds.min(1_000_000_000) as i64),
    };
    libc::timespec { tv_sec, tv_nsec }
}

pub fn statfs(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let stat = host::statfs(&fid.handle.fd)?;
    let in_memory = stat.f_type as u32 == IN_MEMORY;
    reply.u32(if in_memory { IN_MEMORY } else { MAGIC });
    reply.u32(stat.f_bsize as u32);
    for count in [
        stat.f_blocks,
        stat.f_bfree,
        stat.f_bavail,
        stat.f_files,
        stat.f_ffree,
    ] {
        reply.u64(count);
    }
    reply.u64(fid.handle.qid.path >> 48);
    reply.u32(stat.f_namelen as u32);
    Ok(())
}

pub fn readlink(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    if fid.handle.kind != libc::S_IFLNK {
        return fail(libc::EINVAL);
    }
    reply.string(&host::read_link(&fid.handle.fd)?);
    Ok(())
}
