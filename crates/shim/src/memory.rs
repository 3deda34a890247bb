//! Memory that machines share: files without a name, held by a shim, and sealed once their content is final.
//! A VMM opens what it maps for writing even where it only copies from it, so no mode and no mount can protect
//! such a file; seals do, from whoever holds any descriptor of it (memfd_create(2), fcntl(2)).

use std::collections::btree_map::Entry;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use trine_wire::{Message, shim};

use crate::answer::{Answer, Code, Failure, decode, failure};
use crate::descriptors::invalid;
use crate::host::sys::{check, during, owned};
use crate::shim::Shim;

const MAX_MEMORIES: usize = 8;
const MAX_NAME: usize = 64;
const SEALS: libc::c_int =
    libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;

impl Shim {
    /// The memory of that name, made when there is none.
    pub fn open_memory(&mut self, memory: shim::Memory) -> Result<OwnedFd, Failure> {
        let held = self.keeper.memories.len();
        if !(1..=MAX_NAME).contains(&memory.name.len()) || memory.bytes == 0 {
            return Err(invalid("a memory has a short name and a size"));
        }
        match self.keeper.memories.entry(memory.name) {
            Entry::Occupied(entry) if entry.get().metadata()?.len() == memory.bytes => {
                Ok(entry.get().try_clone()?.into())
            }
            Entry::Occupied(entry) => Err(failure(
                Code::AlreadyExists,
                format!("memory {} has another size", entry.key()),
            )),
            Entry::Vacant(_) if held >= MAX_MEMORIES => {
                Err(failure(Code::ResourceExhausted, "too many memories"))
            }
            Entry::Vacant(entry) => {
                let file = entry.insert(make(memory.bytes)?);
                Ok(file.try_clone()?.into())
            }
        }
    }

    pub fn seal_memory(&mut self, payload: &[u8]) -> Answer {
        let request: shim::SealMemoryRequest = decode(payload)?;
        let Some(file) = self.keeper.memories.get(&request.name) else {
            let message = format!("memory {} does not exist", request.name);
            return Err(failure(Code::NotFound, message));
        };
        seal(file).map_err(during(format!("seal memory {}", request.name)))?;
        let found = file.metadata()?;
        let answer = shim::SealMemoryResponse {
            path: format!("/proc/{}/fd/{}", self.identity.pid, file.as_raw_fd()),
            inode: found.ino(),
            bytes: found.len(),
        };
        Ok(answer.encode_to_vec())
    }
}

fn make(bytes: u64) -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a C string.
    let made = owned(unsafe { libc::memfd_create(c"trine-memory".as_ptr(), flags) });
    let file = File::from(made.map_err(during("make a memory"))?);
    file.set_len(bytes)?;
    Ok(file)
}

/// Sealed already is a success. Busy while anybody maps it for writing.
fn seal(file: &File) -> io::Result<()> {
    if is_sealed(file) {
        return Ok(());
    }
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
    Ok(())
}

/// False also for a file that cannot be sealed at all.
fn is_sealed(file: &File) -> bool {
    // SAFETY: takes no pointers.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & SEALS == SEALS
}

/// Another shim's memory. That shim may have gone, and its number be another process's by now: what is found is
/// looked at before it is opened, and taken only when it is that very file and cannot be changed.
pub fn open_sealed(memory: &shim::SealedMemory) -> Result<OwnedFd, Failure> {
    let path = &memory.path;
    if !is_descriptor(path) {
        return Err(invalid(format!(
            "{path:?} is no place of a sealed memory: /proc/PID/fd/NUMBER"
        )));
    }
    let other = |why: &str| failure(Code::FailedPrecondition, format!("{path}: {why}"));
    let open = |path: &str, flags| {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags).open(path)
    };
    let found = open(path, libc::O_PATH).map_err(|e| other(&e.to_string()))?;
    let metadata = found.metadata()?;
    if !metadata.is_file() || metadata.ino() != memory.inode || metadata.len() != memory.bytes {
        return Err(other("another file than the memory that was sealed"));
    }
    let file = open(&format!("/proc/self/fd/{}", found.as_raw_fd()), 0)?;
    if !is_sealed(&file) {
        return Err(other("not sealed: it could be changed under its users"));
    }
    Ok(file.into())
}

fn is_descriptor(path: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    path.strip_prefix("/proc/")
        .and_then(|rest| rest.split_once("/fd/"))
        .is_some_and(|(pid, fd)| number(pid) && number(fd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    const BYTES: u64 = 1 << 16;

    fn place(file: &File) -> shim::SealedMemory {
        shim::SealedMemory {
            path: format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()),
            inode: file.metadata().expect("metadata").ino(),
            bytes: BYTES,
        }
    }

    fn map(file: &File, flags: libc::c_int) -> *mut libc::c_void {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a file that is open, nowhere in particular.
        unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BYTES as usize,
                access,
                flags,
                file.as_raw_fd(),
                0,
            )
        }
    }

    #[test]
    fn nobody_changes_a_sealed_memory_and_everybody_may_copy_from_it() {
        let memory = make(BYTES).expect("made");
        memory.write_all_at(b"template", 0).expect("written");
        seal(&memory).expect("sealed");
        seal(&memory).expect("sealed already");
        let descriptor = File::from(open_sealed(&place(&memory)).expect("found"));
        // As the VMM opens it: for writing, through its own descriptor.
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let mut writable = File::options()
            .read(true)
            .write(true)
            .open(path)
            .expect("open");
        let denied = |what: &str, result: io::Result<()>| {
            let error = result.expect_err(what);
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{what}");
        };
        denied("write", writable.write_all(b"x"));
        denied("shrink", writable.set_len(1));
        denied("grow", writable.set_len(2 * BYTES));
        let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: takes no pointers.
        let punched = unsafe { libc::fallocate(writable.as_raw_fd(), hole, 0, 4096) };
        denied("punch a hole", check(punched).map(drop));
        assert_eq!(map(&writable, libc::MAP_SHARED), libc::MAP_FAILED);
        let copy = map(&writable, libc::MAP_PRIVATE);
        assert_ne!(copy, libc::MAP_FAILED);
        // SAFETY: the mapping is BYTES long and this test's own. It is written, and the pages given up once more.
        unsafe {
            copy.cast::<u8>().write(b'X');
            // MADV_REMOVE punches holes through shared mappings; MADV_DONTNEED only forgets the copy.
            assert_eq!(libc::madvise(copy, BYTES as usize, libc::MADV_REMOVE), -1);
            libc::munmap(copy, BYTES as usize);
        }
        let mut content = [0; 8];
        memory.read_exact_at(&mut content, 0).expect("read");
        assert_eq!(&content, b"template");
    }

    #[test]
    fn a_memory_that_is_mapped_for_writing_cannot_be_sealed_yet() {
        let memory = make(BYTES).expect("made");
        let mapping = map(&memory, libc::MAP_SHARED);
        assert_ne!(mapping, libc::MAP_FAILED);
        let busy = seal(&memory).expect_err("it is mapped");
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        // SAFETY: the test's own mapping, used no more.
        unsafe { libc::munmap(mapping, BYTES as usize) };
        seal(&memory).expect("sealed");
    }

    #[test]
    fn only_that_very_memory_is_taken() {
        let memory = make(BYTES).expect("made");
        let place = place(&memory);
        let refused = |place: &shim::SealedMemory, code: Code| {
            let Failure(status) = open_sealed(place).expect_err("refused");
            assert_eq!(status.code, code as i32, "{}", status.message);
        };
        refused(&place, Code::FailedPrecondition); // not sealed
        seal(&memory).expect("sealed");
        open_sealed(&place).expect("found");
        for other in [
            shim::SealedMemory {
                inode: place.inode + 1,
                ..place.clone()
            },
            shim::SealedMemory {
                bytes: 1,
                ..place.clone()
            },
            shim::SealedMemory {
                path: format!("/proc/{}/fd/999999", std::process::id()),
                ..place.clone()
            },
        ] {
            refused(&other, Code::FailedPrecondition);
        }
        for path in [
            "/etc/passwd",
            "/proc/self/fd/1",
            "/proc/1/fd/1/../x",
            "/proc//fd/",
        ] {
            let path = path.to_owned();
            refused(
                &shim::SealedMemory {
                    path,
                    ..place.clone()
                },
                Code::InvalidArgument,
            );
        }
    }
}
