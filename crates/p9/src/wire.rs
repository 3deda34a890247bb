//! The bytes of 9P2000.L: little-endian numbers, strings with a length of 16 bits before them.

use std::ffi::CString;

use crate::errno::{Errno, Outcome, fail};

/// size u32, type u8, tag u16.
pub const HEADER: usize = 7;
/// What an answer to Tread or Treaddir has before its data.
pub const DATA_HEADER: usize = HEADER + 4;
pub const NO_FID: u32 = u32::MAX;
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4096;

/// What a file is and which; two files at a time never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qid {
    pub kind: u8,
    pub path: u64,
}

impl Qid {
    pub const SIZE: usize = 13;
    const DIRECTORY: u8 = 0x80;
    const SYMLINK: u8 = 0x02;

    pub fn new(mode: u32, path: u64) -> Qid {
        let kind = match mode & libc::S_IFMT {
            libc::S_IFDIR => Self::DIRECTORY,
            libc::S_IFLNK => Self::SYMLINK,
            _ => 0,
        };
        Qid { kind, path }
    }
}

/// Takes a request apart. What is missing is EINVAL.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub fn bytes(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Errno(libc::EINVAL))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno(libc::EINVAL))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Outcome<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Outcome<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Outcome<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Outcome<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn string(&mut self) -> Outcome<&'a [u8]> {
        let count = self.u16()?;
        self.bytes(count.into())
    }

    /// One element of a path, never one that leads upwards or stays.
    pub fn name(&mut self) -> Outcome<CString> {
        element(self.string()?)
    }

    /// What a symlink holds: never followed here, so anything the kernel takes.
    pub fn target(&mut self) -> Outcome<CString> {
        let bytes = self.string()?;
        if bytes.is_empty() {
            return fail(libc::ENOENT);
        }
        if bytes.len() >= PATH_MAX {
            return fail(libc::ENAMETOOLONG);
        }
        CString::new(bytes).map_err(|_| Errno(libc::EINVAL))
    }
}

pub fn element(bytes: &[u8]) -> Outcome<CString> {
    if bytes.len() > NAME_MAX {
        return fail(libc::ENAMETOOLONG);
    }
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') {
        return fail(libc::EINVAL);
    }
    CString::new(bytes).map_err(|_| Errno(libc::EINVAL))
}

/// Puts an answer together in a buffer that is used again and again.
pub struct Reply<'a>(&'a mut Vec<u8>);

impl<'a> Reply<'a> {
    pub fn new(buffer: &'a mut Vec<u8>) -> Reply<'a> {
        buffer.clear();
        buffer.resize(HEADER, 0);
        Reply(buffer)
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Longer than 65535 bytes nothing of the host's is.
    pub fn string(&mut self, bytes: &[u8]) {
        let count = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(count);
        self.bytes(bytes.get(..count.into()).unwrap_or(bytes));
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn qid(&mut self, qid: Qid) {
        self.u8(qid.kind);
        // Version 0 says "never cached", and keeps one inode in the guest while the file changes.
        self.u32(0);
        self.u64(qid.path);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Up to `count` bytes, with their count before them, filled in by `fill`, which says how many it wrote.
    pub fn data(
        &mut self,
        count: usize,
        fill: impl FnOnce(*mut u8) -> Outcome<usize>,
    ) -> Outcome<()> {
        self.u32(0);
        let start = self.0.len();
        self.0.reserve(count);
        let written = fill(self.0.spare_capacity_mut().as_mut_ptr().cast())?.min(count);
        // SAFETY: `fill` has initialised that many bytes of the `count` reserved.
        unsafe { self.0.set_len(start + written) };
        self.set_u32(start - 4, written as u32);
        Ok(())
    }

    pub fn set_u32(&mut self, at: usize, value: u32) {
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    pub fn set_u16(&mut self, at: usize, value: u16) {
        if let Some(place) = self.0.get_mut(at..at + 2) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Forgets the body: an error takes its place.
    pub fn restart(&mut self) {
        self.0.truncate(HEADER);
    }

    pub fn finish(mut self, kind: u8, tag: u16) {
        let size = self.0.len() as u32;
        self.set_u32(0, size);
        if let Some([k, t @ ..]) = self.0.get_mut(4..HEADER) {
            *k = kind;
            t.copy_from_slice(&tag.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", &[b'x'; 256]] {
            assert!(element(bad).is_err(), "{bad:?}");
        }
        assert_eq!(element(b"...").unwrap().as_bytes(), b"...");
        assert_eq!(element(&[b'x'; 255]).unwrap().as_bytes().len(), 255);
    }

    #[test]
    fn a_truncated_request_is_invalid_and_takes_nothing() {
        let mut reader = Reader::new(&[5, 0, b'a', b'b']);
        assert_eq!(reader.string(), Err(Errno(libc::EINVAL)));
        assert_eq!(Reader::new(&[1, 2, 3]).u32(), Err(Errno(libc::EINVAL)));
    }

    #[test]
    fn an_answer_carries_its_size_kind_and_tag() {
        let mut buffer = vec![9; 100];
        let mut reply = Reply::new(&mut buffer);
        reply.string(b"xy");
        reply.finish(23, 0x102);
        assert_eq!(buffer, [11, 0, 0, 0, 23, 2, 1, 2, 0, b'x', b'y']);
    }
}
