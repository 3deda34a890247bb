//! One client: its fids, and which request does what.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::errno::{Errno, Outcome, fail};
use crate::fids::{Budget, Fid, Fids, Handle, MAX_FIDS_TOGETHER, Place, State};
use crate::host;
use crate::locks::Owners;
use crate::qids::Qids;
use crate::sync::lock;
use crate::wire::{DATA_HEADER, HEADER, NO_FID, Reader, Reply, element};
use crate::{attributes, directories, files, locks, xattr};

pub const MAX_MESSAGE: u32 = 512 * 1024;
/// Room for a symlink's target in one answer.
pub const MIN_MESSAGE: u32 = 8192;
/// Elements of one Twalk, the protocol's own limit.
const MAX_WALK: u16 = 16;
/// Bytes of extended attributes under way, all connections together.
const ATTRIBUTE_BYTES: usize = 4 * 1024 * 1024;
const VERSION: &[u8] = b"9P2000.L";
const ERROR: u8 = 7;
const T_VERSION: u8 = 100;

/// What all connections serve.
pub struct Export {
    root: OwnedFd,
    qids: Qids,
    fids: Arc<Budget>,
    descriptors: Arc<Budget>,
    attribute_bytes: Arc<Budget>,
}

impl Export {
    /// `descriptors` is how many the clients may have open together.
    pub fn new(root: OwnedFd, descriptors: usize) -> Export {
        Export {
            root,
            qids: Qids::default(),
            fids: Budget::new(MAX_FIDS_TOGETHER, libc::ENFILE),
            descriptors: Budget::new(descriptors, libc::ENFILE),
            attribute_bytes: Budget::new(ATTRIBUTE_BYTES, libc::ENOBUFS),
        }
    }
}

pub struct Session {
    pub fids: Fids,
    pub owners: Owners,
    export: Arc<Export>,
    /// 0 until Tversion.
    message_size: AtomicU32,
}

/// The client breaks the protocol in a way that leaves nothing to go on with.
#[derive(Debug)]
pub struct Broken;

impl Session {
    pub fn new(export: Arc<Export>) -> Session {
        Session {
            fids: Fids::new(&export.fids),
            owners: Owners::default(),
            export,
            message_size: AtomicU32::new(0),
        }
    }

    /// The longest request this client may send now.
    pub fn request_limit(&self) -> usize {
        let agreed = self.message_size.load(Ordering::Relaxed);
        agreed.max(MIN_MESSAGE) as usize
    }

    /// How much data an answer has room for, of `count` bytes asked for.
    pub fn data_limit(&self, count: u32) -> usize {
        (count as usize).min(self.request_limit() - DATA_HEADER)
    }

    pub fn qid_path(&self, device: u64, inode: u64) -> u64 {
        self.export.qids.path(device, inode)
    }

    pub fn attribute_bytes(&self) -> &Arc<Budget> {
        &self.export.attribute_bytes
    }

    pub fn handle(&self, fd: OwnedFd) -> Outcome<Arc<Handle>> {
        let share = self.export.descriptors.take(1)?;
        Handle::new(fd, share, &self.export.qids)
    }

    pub fn place(&self, parent: &Arc<Handle>, name: CString) -> Arc<Place> {
        Arc::new(Place {
            parent: Arc::clone(parent),
            name,
        })
    }

    /// Answers one whole request of `kind`, whose `body` comes after the header.
    pub fn answer(
        &self,
        kind: u8,
        tag: u16,
        body: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let negotiated = self.message_size.load(Ordering::Relaxed) != 0;
        // A second Tversion would end all fids under requests still at work: Linux never sends one.
        if negotiated == (kind == T_VERSION) {
            return Err(Broken);
        }
        let mut reply = Reply::new(buffer);
        let mut request = Reader::new(body);
        match self.dispatch(kind, &mut request, &mut reply) {
            Ok(()) => reply.finish(kind + 1, tag),
            Err(Errno(errno)) => {
                reply.restart();
                reply.u32(errno as u32);
                reply.finish(ERROR, tag);
            }
        }
        Ok(())
    }

    fn dispatch(&self, kind: u8, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
        match kind {
            8 => attributes::statfs(self, request, reply),
            12 => files::open(self, request, reply),
            14 => files::create(self, request, reply),
            16 => directories::symlink(self, request, reply),
            18 => directories::make_node(self, request, reply),
            20 => directories::rename(self, request),
            22 => attributes::readlink(self, request, reply),
            24 => attributes::get(self, request, reply),
            26 => attributes::set(self, request),
            30 => xattr::walk(self, request, reply),
            32 => xattr::create(self, request),
            40 => directories::read(self, request, reply),
            50 => files::sync(self, request),
            52 => locks::set(self, request, reply),
            54 => locks::get(self, request, reply),
            70 => directories::link(self, request),
            72 => directories::make(self, request, reply),
            74 => directories::rename_at(self, request),
            76 => directories::unlink_at(self, request),
            T_VERSION => self.version(request, reply),
            104 => self.attach(request, reply),
            110 => self.walk(request, reply),
            116 => files::read(self, request, reply),
            118 => files::write(self, request, reply),
            120 => self.clunk(request),
            122 => directories::remove(self, request),
            // Tauth, which nobody needs on a link of its own, and what 9P2000.L replaced.
            _ => fail(libc::EOPNOTSUPP),
        }
    }

    fn version(&self, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
        let size = request.u32()?.min(MAX_MESSAGE);
        let version = request.string()?;
        if size < MIN_MESSAGE {
            return fail(libc::EMSGSIZE);
        }
        reply.u32(size);
        if version == VERSION {
            self.message_size.store(size, Ordering::Relaxed);
            reply.string(VERSION);
        } else {
            reply.string(b"unknown");
        }
        Ok(())
    }

    /// The root, or one directory right below it.
    fn attach(&self, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
        let number = request.u32()?;
        let auth = request.u32()?;
        let _user = request.string()?;
        let name = request.string()?;
        let uid = request.u32()?;
        if auth != NO_FID {
            return fail(libc::EINVAL);
        }
        let found = match name {
            b"" => host::reopen(&self.export.root, libc::O_PATH)?,
            name => host::find(&self.export.root, &element(name)?)?,
        };
        let handle = self.handle(found)?;
        handle.directory()?;
        reply.qid(handle.qid);
        // Nobody in particular is the guest's kernel itself.
        let uid = if uid == u32::MAX { 0 } else { uid };
        self.fids.insert(number, Fid::found(handle, None, uid))
    }

    fn walk(&self, request: &mut Reader, reply: &mut Reply) -> Outcome<()> {
        let number = request.u32()?;
        let new = request.u32()?;
        let count = request.u16()?;
        if count > MAX_WALK {
            return fail(libc::EINVAL);
        }
        let start = self.fids.get(number)?;
        let mut handle = Arc::clone(&start.handle);
        let mut place = start.place;
        reply.u16(0);
        for walked in 0..count {
            match self.step(&handle, request.name()?) {
                Ok((next, at)) => {
                    reply.qid(next.qid);
                    (handle, place) = (next, Some(at));
                }
                Err(error) if walked == 0 => return Err(error),
                // Part of the way is an answer, and makes no fid.
                Err(_) => {
                    reply.set_u16(HEADER, walked);
                    return Ok(());
                }
            }
        }
        reply.set_u16(HEADER, count);
        let fid = Fid::found(handle, place, start.uid);
        if new != number {
            return self.fids.insert(new, fid);
        }
        match start.state {
            State::Found => self.fids.update(new, |old| *old = fid),
            _ => fail(libc::EBADF),
        }
    }

    fn step(&self, from: &Arc<Handle>, name: CString) -> Outcome<(Arc<Handle>, Arc<Place>)> {
        let found = host::find(from.directory()?, &name)?;
        Ok((self.handle(found)?, self.place(from, name)))
    }

    /// The fid is gone whatever the answer.
    fn clunk(&self, request: &mut Reader) -> Outcome<()> {
        let fid = self.fids.remove(request.u32()?)?;
        match &fid.state {
            State::WriteAttribute(value) => lock(value).commit(&fid.handle),
            _ => Ok(()),
        }
    }
}
