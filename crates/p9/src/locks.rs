//! Locks of a guest's processes against other users of the same files. Among its own processes the guest's
//! kernel has decided before it asks here, so that an owner is a process, not a fid: a process that has a
//! file open twice must not wait for itself.

use std::collections::HashMap;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};

use crate::errno::{Errno, Outcome, check, fail};
use crate::fids::{Fid, Handle, State};
use crate::host;
use crate::session::Session;
use crate::sync::lock;
use crate::wire::{Reader, Reply};

const SUCCESS: u8 = 0;
const BLOCKED: u8 = 1;
const MAX_NODE_NAME: usize = 256;
/// Owners of locks a connection may have; gone ones are swept out when it is full.
const MAX_OWNERS: usize = 4096;

/// A file opened once more for one owner: the lock belongs to this open file description.
pub struct Lock {
    handle: Arc<Handle>,
}

/// Device, inode and the guest's process id.
type Owner = ((u64, u64), u32);

#[derive(Default)]
pub struct Owners(Mutex<HashMap<Owner, Weak<Lock>>>);

impl Owners {
    /// The owner's lock, made when it has none.
    fn lock_of(&self, session: &Session, fid: &Fid, process: u32) -> Outcome<Arc<Lock>> {
        let owner = (fid.handle.id, process);
        let mut owners = lock(&self.0);
        if let Some(found) = owners.get(&owner).and_then(Weak::upgrade) {
            return Ok(found);
        }
        if owners.len() >= MAX_OWNERS {
            owners.retain(|_, held| held.strong_count() > 0);
            if owners.len() >= MAX_OWNERS {
                return fail(libc::ENOLCK);
            }
        }
        let made = Arc::new(Lock {
            handle: session.handle(open_for_locks(&fid.handle.fd)?)?,
        });
        owners.insert(owner, Arc::downgrade(&made));
        Ok(made)
    }
}

/// For writing where that is possible: a write lock needs it.
fn open_for_locks(fd: &OwnedFd) -> Outcome<OwnedFd> {
    host::reopen(fd, libc::O_RDWR).or_else(|_| host::reopen(fd, libc::O_RDONLY))
}

struct Range {
    kind: u8,
    start: u64,
    length: u64,
    process: u32,
}

impl Range {
    fn flock(&self) -> Outcome<libc::flock> {
        // SAFETY: all zeroes is a valid `flock`.
        let mut flock: libc::flock = unsafe { zeroed() };
        flock.l_type = match self.kind {
            0 => libc::F_RDLCK as i16,
            1 => libc::F_WRLCK as i16,
            2 => libc::F_UNLCK as i16,
            _ => return fail(libc::EINVAL),
        };
        flock.l_whence = libc::SEEK_SET as i16;
        flock.l_start = host::file_offset(self.start)?;
        flock.l_len = host::file_offset(self.length)?;
        Ok(flock)
    }
}

/// Never waits: a client that wants to is told "blocked" and asks again.
pub fn set(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let number = request.u32()?;
    let fid = opened(session, number)?;
    let kind = request.u8()?;
    let _flags = request.u32()?;
    let range = read_range(kind, request)?;
    let flock = range.flock()?;
    let held = session.owners.lock_of(session, &fid, range.process)?;
    // SAFETY: `flock` outlives the call.
    let result = check(unsafe {
        libc::fcntl(
            held.handle.fd.as_raw_fd(),
            libc::F_OFD_SETLK,
            &raw const flock,
        )
    });
    let status = match result {
        Ok(_) => SUCCESS,
        Err(Errno(libc::EAGAIN | libc::EACCES)) => BLOCKED,
        Err(error) => return Err(error),
    };
    let all = range.start == 0 && range.length == 0;
    if i32::from(flock.l_type) == libc::F_UNLCK {
        if all {
            session.fids.update(number, |fid| {
                fid.locks.retain(|one| !Arc::ptr_eq(one, &held))
            })?;
        }
    } else if status == SUCCESS {
        keep(session, number, held)?;
    }
    reply.u8(status);
    Ok(())
}

fn keep(session: &Session, number: u32, held: Arc<Lock>) -> Outcome<()> {
    session.fids.update(number, |fid| {
        if !fid.locks.iter().any(|one| Arc::ptr_eq(one, &held)) {
            fid.locks.push(held);
        }
    })
}

/// Who is in the way; the host's owner has no number that means anything in the guest.
pub fn get(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = opened(session, request.u32()?)?;
    let kind = request.u8()?;
    let mut range = read_range(kind, request)?;
    let mut flock = range.flock()?;
    let asker = session.owners.lock_of(session, &fid, range.process)?;
    // SAFETY: `flock` outlives the call.
    check(unsafe {
        libc::fcntl(
            asker.handle.fd.as_raw_fd(),
            libc::F_OFD_GETLK,
            &raw mut flock,
        )
    })?;
    range.kind = match i32::from(flock.l_type) {
        libc::F_RDLCK => 0,
        libc::F_WRLCK => 1,
        _ => 2,
    };
    reply.u8(range.kind);
    reply.u64(flock.l_start as u64);
    reply.u64(flock.l_len as u64);
    reply.u32(if range.kind == 2 { range.process } else { 0 });
    reply.string(b"");
    Ok(())
}

fn opened(session: &Session, number: u32) -> Outcome<Fid> {
    let fid = session.fids.get(number)?;
    match fid.state {
        State::File => Ok(fid),
        _ => fail(libc::EBADF),
    }
}

/// The client's name is one guest's own affair: all of a connection is one guest.
fn read_range(kind: u8, request: &mut Reader) -> Outcome<Range> {
    let range = Range {
        kind,
        start: request.u64()?,
        length: request.u64()?,
        process: request.u32()?,
    };
    if request.string()?.len() > MAX_NODE_NAME {
        return fail(libc::EINVAL);
    }
    Ok(range)
}
