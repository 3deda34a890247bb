//! Extended attributes: `user.*` and `security.capability`, nothing else. The rest is either the host
//! kernel's business (`trusted.*`, labels, ACLs) or has another meaning in the guest.

use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex};

use crate::errno::{Outcome, check, check_long, fail};
use crate::fids::{Fid, Handle, Share, State};
use crate::host;
use crate::session::Session;
use crate::wire::{Reader, Reply};

/// Linux's limit, of a value and of the list of names.
const MAX_SIZE: usize = 65536;

/// A value or a list of names, read once and handed out in pieces.
pub struct Outgoing {
    bytes: Vec<u8>,
    _share: Share,
}

impl Outgoing {
    pub fn slice(&self, offset: u64, count: usize) -> &[u8] {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        rest.get(..count).unwrap_or(rest)
    }
}

/// A value in the making; set when its fid is clunked.
pub struct Incoming {
    name: CString,
    size: usize,
    flags: i32,
    bytes: Vec<u8>,
    _share: Share,
}

impl Incoming {
    /// In order, as Linux does.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Outcome<usize> {
        if offset != self.bytes.len() as u64 || self.bytes.len() + data.len() > self.size {
            return fail(libc::EINVAL);
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    /// An empty value removes the attribute: the protocol has no other way.
    pub fn commit(&self, handle: &Handle) -> Outcome<()> {
        if self.bytes.len() != self.size {
            return fail(libc::EINVAL);
        }
        let path = host::path_of(&handle.fd)?;
        if self.size == 0 {
            // SAFETY: C strings.
            check(unsafe { libc::removexattr(path.as_ptr(), self.name.as_ptr()) })?;
            return Ok(());
        }
        // SAFETY: C strings; the pointer and the length describe the bytes.
        check(unsafe {
            libc::setxattr(
                path.as_ptr(),
                self.name.as_ptr(),
                self.bytes.as_ptr().cast(),
                self.size,
                self.flags,
            )
        })?;
        Ok(())
    }
}

fn is_served(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability"
}

/// A new fid to read one attribute from, or all their names when no name is given.
pub fn walk(session: &Session, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
    let fid = session.fids.get(request.u32()?)?;
    let number = request.u32()?;
    let name = request.string()?;
    let share = session.attribute_bytes().take(MAX_SIZE)?;
    let path = host::path_of(&fid.handle.fd)?;
    let bytes = match name {
        b"" => list(&path)?,
        name if is_served(name) => {
            let Ok(name) = CString::new(name) else {
                return fail(libc::EINVAL);
            };
            get(&path, &name)?
        }
        _ => return fail(libc::EOPNOTSUPP),
    };
    drop(share);
    let share = session.attribute_bytes().take(bytes.len())?;
    reply.u64(bytes.len() as u64);
    let outgoing = Outgoing {
        bytes,
        _share: share,
    };
    let state = State::ReadAttribute(Arc::new(outgoing));
    session.fids.insert(
        number,
        Fid {
            state,
            ..Fid::found(fid.handle, fid.place, fid.uid)
        },
    )
}

fn get(path: &CStr, name: &CStr) -> Outcome<Vec<u8>> {
    // SAFETY: C strings; the pointer and the length describe the room.
    let read = |to: *mut u8, room: usize| unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), to.cast(), room)
    };
    fill(read)
}

fn list(path: &CStr) -> Outcome<Vec<u8>> {
    // SAFETY: a C string; the pointer and the length describe the room.
    let names = fill(|to, room| unsafe { libc::listxattr(path.as_ptr(), to.cast(), room) })?;
    let mut served = Vec::with_capacity(names.len());
    for name in names.split_inclusive(|byte| *byte == 0) {
        if is_served(name.strip_suffix(b"\0").unwrap_or(name)) {
            served.extend_from_slice(name);
        }
    }
    Ok(served)
}

/// Asks for the size first: most files have nothing, and are asked at every exec.
fn fill(read: impl Fn(*mut u8, usize) -> isize) -> Outcome<Vec<u8>> {
    let size = check_long(read(std::ptr::null_mut(), 0) as i64)?;
    if size == 0 {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0u8; MAX_SIZE];
    let size = check_long(read(bytes.as_mut_ptr(), bytes.len()) as i64)?;
    bytes.truncate(size);
    bytes.shrink_to_fit();
    Ok(bytes)
}

pub fn create(session: &Session, request: &mut Reader) -> Outcome<()> {
    let number = request.u32()?;
    let name = request.string()?;
    let size = usize::try_from(request.u64()?).unwrap_or(usize::MAX);
    let flags = request.u32()? as i32;
    let fid = session.fids.get(number)?;
    if !is_served(name) {
        return fail(libc::EOPNOTSUPP);
    }
    if size > MAX_SIZE {
        return fail(libc::E2BIG);
    }
    let (Ok(name), State::Found) = (CString::new(name), &fid.state) else {
        return fail(libc::EINVAL);
    };
    let incoming = Incoming {
        name,
        size,
        flags: flags & (libc::XATTR_CREATE | libc::XATTR_REPLACE),
        bytes: Vec::new(),
        _share: session.attribute_bytes().take(size)?,
    };
    session.fids.update(number, |fid| {
        fid.state = State::WriteAttribute(Arc::new(Mutex::new(incoming)));
    })
}
