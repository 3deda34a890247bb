//! Reading directories and changing what is in them.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::errno::{Outcome, check, check_long, fail};
use crate::fids::{Fid, State};
use crate::files::MODE;
use crate::host::{self, Caller};
use crate::session::Session;
use crate::sync::lock;
use crate::wire::{Qid, Reader, Reply};

/// Of `struct linux_dirent64`: inode u64, offset u64, length u16, type u8, then the name.
const ENTRY_HEADER: usize = 19;
/// Bytes of directory that the kernel is asked for at a time.
const CHUNK: usize = 32 * 1024;
/// qid, offset u64, type u8, length of the name u16.
const ANSWER_HEADER: usize = Qid::SIZE + 11;

pub fn read(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let offset = request.u64()?;
    let limit = session.data_limit(request.u32()?);
    let State::Directory(position) = &fid.state else {
        return fail(libc::EBADF);
    };
    let mut position = lock(position);
    let counted_at = reply.len();
    reply.u32(0);
    let fd = &fid.handle.fd;
    if *position != offset {
        seek(fd, offset)?;
        *position = offset;
    }
    // No more than surely fits is asked for, and no less than one entry with the longest name needs.
    let mut chunk = [0u8; CHUNK];
    let wanted = chunk.get_mut(..limit.clamp(512, CHUNK)).unwrap_or_default();
    // SAFETY: the pointer and the length describe `wanted`.
    let count = check_long(unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            fd.as_raw_fd(),
            wanted.as_mut_ptr(),
            wanted.len(),
        )
    })?;
    // The descriptor is ahead of the client when not all of it fits.
    let told = put_entries(
        session,
        &fid,
        wanted.get(..count).unwrap_or_default(),
        limit,
        reply,
    );
    match told {
        Told::All(Some(next)) => *position = next,
        Told::All(None) => {}
        Told::Some => *position = u64::MAX,
        Told::NoRoom => {
            *position = u64::MAX;
            return fail(libc::EINVAL);
        }
    }
    let length = reply.len() - counted_at - 4;
    reply.set_u32(counted_at, length as u32);
    Ok(())
}

enum Told {
    All(Option<u64>),
    Some,
    NoRoom,
}

fn put_entries(
    session: &Session,
    dir: &Fid,
    mut entries: &[u8],
    limit: usize,
    reply: &mut Reply,
) -> Told {
    let end = reply.len() + limit;
    let mut last = None;
    while let Some((entry, rest)) = next_entry(entries) {
        if reply.len() + ANSWER_HEADER + entry.name.len() > end {
            return if last.is_some() {
                Told::Some
            } else {
                Told::NoRoom
            };
        }
        let path = session.qid_path(dir.handle.id.0, entry.inode);
        reply.qid(Qid::new(u32::from(entry.kind) << 12, path));
        reply.u64(entry.offset);
        reply.u8(entry.kind);
        reply.string(entry.name);
        last = Some(entry.offset);
        entries = rest;
    }
    Told::All(last)
}

struct Entry<'a> {
    inode: u64,
    /// Where the next one begins.
    offset: u64,
    kind: u8,
    name: &'a [u8],
}

fn next_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let mut reader = Reader::new(bytes);
    let inode = reader.u64().ok()?;
    let offset = reader.u64().ok()?;
    let length = usize::from(reader.u16().ok()?);
    let kind = reader.u8().ok()?;
    let (entry, rest) = bytes.split_at_checked(length)?;
    let name = CStr::from_bytes_until_nul(entry.get(ENTRY_HEADER..)?).ok()?;
    let entry = Entry {
        inode,
        offset,
        kind,
        name: name.to_bytes(),
    };
    Some((entry, rest))
}

fn seek(fd: &OwnedFd, offset: u64) -> Outcome<()> {
    let offset = host::file_offset(offset)?;
    // SAFETY: takes no pointers.
    check_long(unsafe { libc::lseek(fd.as_raw_fd(), offset, libc::SEEK_SET) })?;
    Ok(())
}

pub fn make(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let name = request.name()?;
    let mode = request.u32()? & MODE;
    let gid = request.u32()?;
    let dir = fid.handle.directory()?;
    {
        let _caller = Caller::become_(fid.uid, gid);
        // SAFETY: a C string.
        check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) })?;
    }
    answer_with(session, dir, &name, reply)
}

pub fn symlink(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let name = request.name()?;
    let target = request.target()?;
    let gid = request.u32()?;
    let dir = fid.handle.directory()?;
    {
        let _caller = Caller::become_(fid.uid, gid);
        // SAFETY: C strings.
        check(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) })?;
    }
    answer_with(session, dir, &name, reply)
}

/// Regular files, FIFOs and sockets. A device made on the host would be the host's device there.
pub fn make_node(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let name = request.name()?;
    let mode = request.u32()?;
    let (_major, _minor) = (request.u32()?, request.u32()?);
    let gid = request.u32()?;
    let kind = match mode & libc::S_IFMT {
        0 => libc::S_IFREG,
        kind @ (libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK) => kind,
        libc::S_IFCHR | libc::S_IFBLK => return fail(libc::EPERM),
        _ => return fail(libc::EINVAL),
    };
    let dir = fid.handle.directory()?;
    {
        let _caller = Caller::become_(fid.uid, gid);
        // SAFETY: a C string.
        check(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), kind | mode & MODE, 0) })?;
    }
    answer_with(session, dir, &name, reply)
}

fn answer_with(session: &Session, dir: &OwnedFd, name: &CStr, reply: &mut Reply) -> Outcome<()> {
    let stat = host::stat_name(dir, name)?;
    let path = session.qid_path(stat.st_dev, stat.st_ino);
    reply.qid(Qid::new(stat.st_mode, path));
    Ok(())
}

/// By descriptor, so that it is the file the client has seen. Needs CAP_DAC_READ_SEARCH.
pub fn link(session: &Session, request: &mut Reader) -> Outcome<()> {
    let dir = session.fids.get(request.u32()?)?;
    let file = session.fids.get(request.u32()?)?;
    let name = request.name()?;
    let dir = dir.handle.directory()?;
    // SAFETY: C strings.
    check(unsafe {
        libc::linkat(
            file.handle.fd.as_raw_fd(),
            c"".as_ptr(),
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    })?;
    Ok(())
}

pub fn rename_at(session: &Session, request: &mut Reader) -> Outcome<()> {
    let from = session.fids.get(request.u32()?)?;
    let old = request.name()?;
    let to = session.fids.get(request.u32()?)?;
    let new = request.name()?;
    move_name(from.handle.directory()?, &old, to.handle.directory()?, &new)
}

fn move_name(from: &OwnedFd, old: &CStr, to: &OwnedFd, new: &CStr) -> Outcome<()> {
    // SAFETY: C strings.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from.as_raw_fd(),
            old.as_ptr(),
            to.as_raw_fd(),
            new.as_ptr(),
            0,
        )
    })?;
    Ok(())
}

pub fn unlink_at(session: &Session, request: &mut Reader) -> Outcome<()> {
    let dir = session.fids.get(request.u32()?)?;
    let name = request.name()?;
    let flags = request.u32()? as i32;
    if flags & !libc::AT_REMOVEDIR != 0 {
        return fail(libc::EINVAL);
    }
    unlink(dir.handle.directory()?, &name, flags)
}

fn unlink(dir: &OwnedFd, name: &CStr, flags: i32) -> Outcome<()> {
    // SAFETY: a C string.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) })?;
    Ok(())
}

/// Linux asks this only of servers without Trenameat.
pub fn rename(session: &Session, request: &mut Reader) -> Outcome<()> {
    let number = request.u32()?;
    let fid = session.fids.get(number)?;
    let to = session.fids.get(request.u32()?)?;
    let new = request.name()?;
    let (dir, name) = whereabouts(&fid)?;
    move_name(dir, name, to.handle.directory()?, &new)?;
    let place = session.place(&to.handle, new);
    session.fids.update(number, |fid| fid.place = Some(place))
}

/// The fid goes whether the file does or not. Linux asks this only of servers without Tunlinkat.
pub fn remove(session: &Session, request: &mut Reader) -> Outcome<()> {
    let fid = session.fids.remove(request.u32()?)?;
    let (dir, name) = whereabouts(&fid)?;
    let is_directory = fid.handle.kind == libc::S_IFDIR;
    unlink(dir, name, if is_directory { libc::AT_REMOVEDIR } else { 0 })
}

/// Where the file was walked to, provided it is still there.
fn whereabouts(fid: &Fid) -> Outcome<(&OwnedFd, &CStr)> {
    let Some(place) = &fid.place else {
        return fail(libc::EBUSY);
    };
    let stat = host::stat_name(&place.parent.fd, &place.name)?;
    if (stat.st_dev, stat.st_ino) != fid.handle.id {
        return fail(libc::ENOENT);
    }
    Ok((&place.parent.fd, &place.name))
}
