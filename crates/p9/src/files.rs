//! Opening, making, reading and writing of regular files.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use crate::errno::{Errno, Outcome, check, fail};
use crate::fids::{Fid, Handle, State};
use crate::host::{self, Caller};
use crate::session::Session;
use crate::wire::{Reader, Reply};

/// Flags of an open that mean something here; the protocol's numbers are Linux's. Not O_DIRECT (buffers are
/// not aligned), O_NONBLOCK or O_CREAT, which is Tlcreate's.
const OPEN_FLAGS: i32 = libc::O_ACCMODE
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_DSYNC
    | libc::O_SYNC
    | libc::O_NOATIME;
pub const MODE: u32 = 0o7777;

pub fn open(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let number = request.u32()?;
    let flags = request.u32()? as i32;
    let fid = session.fids.get(number)?;
    if !matches!(fid.state, State::Found) {
        return fail(libc::EBADF);
    }
    let (opened, state) = match fid.handle.kind {
        libc::S_IFREG if flags & libc::O_DIRECTORY != 0 => return fail(libc::ENOTDIR),
        libc::S_IFREG => (reopen_file(&fid.handle, flags)?, State::File),
        libc::S_IFDIR if flags & libc::O_ACCMODE != libc::O_RDONLY => return fail(libc::EISDIR),
        libc::S_IFDIR => {
            let flags = libc::O_RDONLY | libc::O_DIRECTORY;
            let state = State::Directory(Arc::new(Mutex::new(0)));
            (host::reopen(&fid.handle.fd, flags)?, state)
        }
        libc::S_IFLNK => return fail(libc::ELOOP),
        // Devices, FIFOs and sockets are the guest's own: opening the host's has consequences there.
        _ => return fail(libc::ENXIO),
    };
    let handle = session.handle(opened)?;
    reply.qid(handle.qid);
    reply.u32(0);
    session.fids.update(number, |fid| {
        fid.handle = handle;
        fid.state = state;
    })
}

fn reopen_file(handle: &Handle, flags: i32) -> Outcome<OwnedFd> {
    host::reopen(&handle.fd, flags & OPEN_FLAGS)
}

/// The fid of a directory becomes that of the file made in it, open.
pub fn create(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let number = request.u32()?;
    let name = request.name()?;
    let flags = request.u32()? as i32;
    let mode = request.u32()? & MODE;
    let gid = request.u32()?;
    let fid = session.fids.get(number)?;
    if !matches!(fid.state, State::Found) {
        return fail(libc::EBADF);
    }
    let dir = fid.handle.directory()?;
    let opened = {
        let _caller = Caller::become_(fid.uid, gid);
        create_or_open(session, dir, &name, flags, mode)?
    };
    let handle = session.handle(opened)?;
    reply.qid(handle.qid);
    reply.u32(0);
    let place = session.place(&fid.handle, name);
    session.fids.update(number, |fid| {
        fid.handle = handle;
        fid.place = Some(place);
        fid.state = State::File;
    })
}

/// Always exclusive towards the host: what is there already may be a FIFO or a device, and is looked at
/// before it is opened.
fn create_or_open(
    session: &Session,
    dir: &OwnedFd,
    name: &CStr,
    flags: i32,
    mode: u32,
) -> Outcome<OwnedFd> {
    const ATTEMPTS: usize = 8;
    let make = flags & OPEN_FLAGS & !libc::O_TRUNC | libc::O_CREAT | libc::O_EXCL;
    for _ in 0..ATTEMPTS {
        match host::open_at(dir, name, make, mode) {
            Err(Errno(libc::EEXIST)) if flags & libc::O_EXCL == 0 => {}
            other => return other,
        }
        match host::find(dir, name) {
            Err(Errno(libc::ENOENT)) => {}
            Err(error) => return Err(error),
            Ok(found) => {
                let handle = session.handle(found)?;
                return match handle.kind {
                    libc::S_IFREG => reopen_file(&handle, flags),
                    libc::S_IFDIR => fail(libc::EISDIR),
                    libc::S_IFLNK => fail(libc::ELOOP),
                    _ => fail(libc::ENXIO),
                };
            }
        }
    }
    fail(libc::EBUSY)
}

pub fn read(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let offset = request.u64()?;
    let count = session.data_limit(request.u32()?);
    match &fid.state {
        State::File => reply.data(count, |to| host::read(&fid.handle.fd, offset, to, count)),
        State::ReadAttribute(value) => {
            let bytes = value.slice(offset, count);
            reply.u32(bytes.len() as u32);
            reply.bytes(bytes);
            Ok(())
        }
        State::Directory(_) => fail(libc::EISDIR),
        State::Found | State::WriteAttribute(_) => fail(libc::EBADF),
    }
}

pub fn write(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let offset = request.u64()?;
    let count = request.u32()?;
    let data = request.bytes(count as usize)?;
    let written = match &fid.state {
        State::File => host::write(&fid.handle.fd, offset, data)?,
        State::WriteAttribute(value) => crate::sync::lock(value).write(offset, data)?,
        _ => return fail(libc::EBADF),
    };
    reply.u32(written as u32);
    Ok(())
}

pub fn sync(session: &Session, request: &mut Reader) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let data_only = request.u32().unwrap_or(0) != 0;
    if !is_open(&fid) {
        return fail(libc::EBADF);
    }
    let fd = fid.handle.fd.as_raw_fd();
    // SAFETY: takes no pointers.
    check(unsafe {
        if data_only {
            libc::fdatasync(fd)
        } else {
            libc::fsync(fd)
        }
    })?;
    Ok(())
}

fn is_open(fid: &Fid) -> bool {
    matches!(fid.state, State::File | State::Directory(_))
}
