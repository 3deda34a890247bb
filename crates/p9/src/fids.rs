//! What the client's numbers stand for.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::errno::{Errno, Outcome, fail};
use crate::host;
use crate::locks::Lock;
use crate::qids::Qids;
use crate::sync::lock;
use crate::wire::{NO_FID, Qid};
use crate::xattr::{Incoming, Outgoing};

/// A connection's fids.
pub const MAX_FIDS: usize = 65536;
/// Those of all connections.
pub const MAX_FIDS_TOGETHER: usize = 2 * MAX_FIDS;

/// Something countable that all connections share: descriptors, bytes of attributes.
pub struct Budget {
    left: AtomicUsize,
    errno: i32,
}

/// A part of a budget, given back when it goes.
pub struct Share {
    of: Arc<Budget>,
    count: usize,
}

impl Budget {
    pub fn new(count: usize, errno: i32) -> Arc<Budget> {
        Arc::new(Budget {
            left: AtomicUsize::new(count),
            errno,
        })
    }

    pub fn take(self: &Arc<Self>, count: usize) -> Outcome<Share> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(count)
            })
            .map_err(|_| Errno(self.errno))?;
        Ok(Share {
            of: Arc::clone(self),
            count,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.left.fetch_add(self.count, Ordering::Relaxed);
    }
}

/// One file of the host, by a descriptor that may only point at it (O_PATH) or be open.
pub struct Handle {
    pub fd: OwnedFd,
    pub qid: Qid,
    /// File type, as in S_IFMT.
    pub kind: u32,
    /// Device and inode.
    pub id: (u64, u64),
    _share: Share,
}

impl Handle {
    pub fn new(fd: OwnedFd, share: Share, qids: &Qids) -> Outcome<Arc<Handle>> {
        let stat = host::stat(&fd)?;
        Ok(Arc::new(Handle {
            qid: Qid::new(stat.st_mode, qids.path(stat.st_dev, stat.st_ino)),
            kind: stat.st_mode & libc::S_IFMT,
            id: (stat.st_dev, stat.st_ino),
            fd,
            _share: share,
        }))
    }

    pub fn directory(&self) -> Outcome<&OwnedFd> {
        match self.kind {
            libc::S_IFDIR => Ok(&self.fd),
            _ => fail(libc::ENOTDIR),
        }
    }
}

/// Where a file was found. Only Trename and Tremove ask; they check that it is still there.
pub struct Place {
    pub parent: Arc<Handle>,
    pub name: CString,
}

#[derive(Clone)]
pub enum State {
    /// Walked to, not open.
    Found,
    File,
    /// The position that the next Treaddir is expected at.
    Directory(Arc<Mutex<u64>>),
    ReadAttribute(Arc<Outgoing>),
    WriteAttribute(Arc<Mutex<Incoming>>),
}

#[derive(Clone)]
pub struct Fid {
    pub handle: Arc<Handle>,
    pub place: Option<Arc<Place>>,
    /// Whom the guest attached for: the owner of what is made through it.
    pub uid: u32,
    pub state: State,
    /// Locks taken through it; they end with the last fid that has them.
    pub locks: Vec<Arc<Lock>>,
}

impl Fid {
    pub fn found(handle: Arc<Handle>, place: Option<Arc<Place>>, uid: u32) -> Fid {
        Fid {
            handle,
            place,
            uid,
            state: State::Found,
            locks: Vec::new(),
        }
    }
}

/// A connection's numbers. What they take of memory is counted over all connections.
pub struct Fids {
    known: Mutex<HashMap<u32, (Fid, Share)>>,
    budget: Arc<Budget>,
}

impl Fids {
    pub fn new(budget: &Arc<Budget>) -> Fids {
        Fids {
            known: Mutex::default(),
            budget: Arc::clone(budget),
        }
    }

    pub fn get(&self, number: u32) -> Outcome<Fid> {
        let known = lock(&self.known);
        let (fid, _) = known.get(&number).ok_or(Errno(libc::EBADF))?;
        Ok(fid.clone())
    }

    /// A new number; one in use is an error.
    pub fn insert(&self, number: u32, fid: Fid) -> Outcome<()> {
        let mut known = lock(&self.known);
        if number == NO_FID || known.contains_key(&number) {
            return fail(libc::EBADF);
        }
        if known.len() >= MAX_FIDS {
            return fail(libc::ENFILE);
        }
        known.insert(number, (fid, self.budget.take(1)?));
        Ok(())
    }

    /// Changes a number that is still there; a concurrent clunk wins.
    pub fn update(&self, number: u32, change: impl FnOnce(&mut Fid)) -> Outcome<()> {
        let mut known = lock(&self.known);
        let (fid, _) = known.get_mut(&number).ok_or(Errno(libc::EBADF))?;
        change(fid);
        Ok(())
    }

    pub fn remove(&self, number: u32) -> Outcome<Fid> {
        let removed = lock(&self.known).remove(&number);
        Ok(removed.ok_or(Errno(libc::EBADF))?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fids_of_all_connections_are_counted_together() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let descriptors = Budget::new(1, libc::ENFILE);
        let share = descriptors.take(1).unwrap();
        let handle = Handle::new(null.into(), share, &Qids::default()).unwrap();
        let fid = || Fid::found(Arc::clone(&handle), None, 0);
        let budget = Budget::new(2, libc::ENFILE);
        let (one, two) = (Fids::new(&budget), Fids::new(&budget));
        one.insert(1, fid()).unwrap();
        two.insert(1, fid()).unwrap();
        assert_eq!(two.insert(2, fid()), Err(Errno(libc::ENFILE)));
        assert_eq!(two.insert(1, fid()), Err(Errno(libc::EBADF)));
        drop(one);
        two.insert(2, fid()).unwrap();
        two.remove(2).unwrap();
        two.insert(3, fid()).unwrap();
    }
}
