//! The program as it is shipped, and a client that speaks 9P2000.L to it. Needs root.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const NO_FID: u32 = u32::MAX;
pub const MSIZE: u32 = 512 * 1024;
/// Nothing here takes long; a test that hangs ends.
const LIMIT: Duration = Duration::from_secs(20);
const LISTEN_FD: i32 = 3;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A server over `share` in a directory of its own.
pub struct Server {
    pub dir: PathBuf,
    pub child: Child,
}

impl Server {
    pub fn start(name: &str) -> Server {
        Server::start_with(name, &[])
    }

    pub fn start_with(name: &str, options: &[&str]) -> Server {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let dir = PathBuf::from(format!("/tmp/trine-p9-{id}-{number}-{name}"));
        fs::create_dir_all(dir.join("share")).unwrap();
        let listener = UnixListener::bind(dir.join("s")).unwrap();
        let fd = listener.as_raw_fd();
        let mut command = Command::new(env!("CARGO_BIN_EXE_trine-p9"));
        command
            .args(["--listen-fd", "3", "--root"])
            .arg(dir.join("share"));
        command.args(options);
        // SAFETY: system calls only.
        unsafe {
            command.pre_exec(move || {
                let result = if fd == LISTEN_FD {
                    libc::fcntl(fd, libc::F_SETFD, 0)
                } else {
                    libc::dup2(fd, LISTEN_FD)
                };
                if result < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        Server { dir, child }
    }

    pub fn share(&self, below: &str) -> PathBuf {
        self.dir.join("share").join(below)
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.join("s")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// A client with fid 0 at the root, attached for root.
    pub fn client(&self) -> Client {
        self.client_of(0)
    }

    pub fn client_of(&self, uid: u32) -> Client {
        let mut client = Client::new(self.connect());
        client.version(MSIZE);
        client.attach(0, uid, "").unwrap();
        client
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for mount in mounts_below(&self.dir) {
            let path = std::ffi::CString::new(mount).unwrap();
            // SAFETY: a C string.
            unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

fn mounts_below(dir: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let below = points.filter(|point| Path::new(point).starts_with(dir));
    let mut below: Vec<String> = below.map(str::to_owned).collect();
    below.reverse();
    below
}

/// A request's body, or an answer's being read.
#[derive(Default, Clone)]
pub struct Body(pub Vec<u8>);

impl Body {
    pub fn u8(mut self, value: u8) -> Body {
        self.0.push(value);
        self
    }

    pub fn u16(mut self, value: u16) -> Body {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn u32(mut self, value: u32) -> Body {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Body {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn s(self, text: &str) -> Body {
        let mut body = self.u16(text.len() as u16);
        body.0.extend(text.as_bytes());
        body
    }

    pub fn data(mut self, data: &[u8]) -> Body {
        self.0.extend(data);
        self
    }

    pub fn at_u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    pub fn at_u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }
}

pub fn body() -> Body {
    Body::default()
}

/// What Rgetattr says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    pub qid: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    pub size: u64,
    pub mtime: u64,
}

pub struct Client {
    pub stream: UnixStream,
    tag: u16,
}

/// An answer, or the error's number.
pub type Answer = Result<Body, i32>;

impl Client {
    pub fn new(stream: UnixStream) -> Client {
        Client { stream, tag: 0 }
    }

    pub fn send(&mut self, kind: u8, tag: u16, body: &Body) -> io::Result<()> {
        let size = (body.0.len() + 7) as u32;
        let mut message = size.to_le_bytes().to_vec();
        message.push(kind);
        message.extend(tag.to_le_bytes());
        message.extend(&body.0);
        self.stream.write_all(&message)
    }

    /// Kind, tag and body of the next answer.
    pub fn receive(&mut self) -> io::Result<(u8, u16, Body)> {
        let mut header = [0u8; 7];
        self.stream.read_exact(&mut header)?;
        let size = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        let mut body = vec![0u8; size - 7];
        self.stream.read_exact(&mut body)?;
        let tag = u16::from_le_bytes(header[5..].try_into().unwrap());
        Ok((header[4], tag, Body(body)))
    }

    pub fn call(&mut self, kind: u8, body: Body) -> Answer {
        self.tag = self.tag.wrapping_add(1) % 1000;
        self.send(kind, self.tag, &body).unwrap();
        let (answer, tag, body) = self.receive().unwrap();
        assert_eq!(tag, self.tag);
        if answer == 7 {
            return Err(body.at_u32(0) as i32);
        }
        assert_eq!(answer, kind + 1);
        Ok(body)
    }

    pub fn version(&mut self, msize: u32) -> u32 {
        let answer = self.call(100, body().u32(msize).s("9P2000.L")).unwrap();
        assert_eq!(&answer.0[6..], b"9P2000.L");
        answer.at_u32(0)
    }

    pub fn attach(&mut self, fid: u32, uid: u32, name: &str) -> Answer {
        self.call(104, body().u32(fid).u32(NO_FID).s("root").s(name).u32(uid))
    }

    pub fn walk(&mut self, fid: u32, new: u32, path: &str) -> Answer {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let mut request = body().u32(fid).u32(new).u16(names.len() as u16);
        for name in &names {
            request = request.s(name);
        }
        let answer = self.call(110, request)?;
        if usize::from(answer.0[0]) < names.len() {
            return Err(libc::ENOENT);
        }
        Ok(answer)
    }

    pub fn open(&mut self, fid: u32, flags: i32) -> Answer {
        self.call(12, body().u32(fid).u32(flags as u32))
    }

    pub fn create(&mut self, fid: u32, name: &str, flags: i32, mode: u32, gid: u32) -> Answer {
        let request = body().u32(fid).s(name).u32(flags as u32);
        self.call(14, request.u32(mode).u32(gid))
    }

    pub fn read(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, i32> {
        let answer = self.call(116, body().u32(fid).u64(offset).u32(count))?;
        assert_eq!(answer.at_u32(0) as usize, answer.0.len() - 4);
        Ok(answer.0[4..].to_vec())
    }

    pub fn write(&mut self, fid: u32, offset: u64, data: &[u8]) -> Result<u32, i32> {
        let request = body().u32(fid).u64(offset).u32(data.len() as u32);
        Ok(self.call(118, request.data(data))?.at_u32(0))
    }

    pub fn clunk(&mut self, fid: u32) -> Answer {
        self.call(120, body().u32(fid))
    }

    pub fn attr(&mut self, fid: u32) -> Result<Attr, i32> {
        let answer = self.call(24, body().u32(fid).u64(0x7ff))?;
        assert_eq!(answer.0.len(), 153);
        Ok(Attr {
            qid: answer.at_u64(13),
            mode: answer.at_u32(21),
            uid: answer.at_u32(25),
            gid: answer.at_u32(29),
            nlink: answer.at_u64(33),
            size: answer.at_u64(49),
            mtime: answer.at_u64(89),
        })
    }

    /// `set` is (what, mode, uid, gid, size); times are 1.5 s and 2.25 s.
    pub fn set_attr(&mut self, fid: u32, set: (u32, u32, u32, u32, u64)) -> Answer {
        let (what, mode, uid, gid, size) = set;
        let request = body()
            .u32(fid)
            .u32(what)
            .u32(mode)
            .u32(uid)
            .u32(gid)
            .u64(size);
        self.call(26, request.u64(1).u64(500_000_000).u64(2).u64(250_000_000))
    }

    /// The whole content of a path.
    pub fn cat(&mut self, path: &str) -> Result<Vec<u8>, i32> {
        const FID: u32 = 900;
        self.walk(0, FID, path)?;
        let content = match self.open(FID, libc::O_RDONLY) {
            Ok(_) => self.read(FID, 0, MSIZE),
            Err(errno) => Err(errno),
        };
        self.clunk(FID).unwrap();
        content
    }

    /// One Treaddir: (name, offset of the next).
    pub fn entries(
        &mut self,
        fid: u32,
        offset: u64,
        count: u32,
    ) -> Result<Vec<(String, u64)>, i32> {
        let answer = self.call(40, body().u32(fid).u64(offset).u32(count))?;
        assert!(answer.at_u32(0) <= count && answer.at_u32(0) as usize == answer.0.len() - 4);
        let mut entries = Vec::new();
        let mut rest = &answer.0[4..];
        while !rest.is_empty() {
            let next = u64::from_le_bytes(rest[13..21].try_into().unwrap());
            let length = usize::from(u16::from_le_bytes(rest[22..24].try_into().unwrap()));
            entries.push((
                String::from_utf8(rest[24..24 + length].to_vec()).unwrap(),
                next,
            ));
            rest = &rest[24 + length..];
        }
        Ok(entries)
    }

    /// All names of an open directory but the two dots, read in pieces of `count` bytes.
    pub fn names(&mut self, fid: u32, count: u32) -> Vec<String> {
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let entries = self.entries(fid, offset, count).unwrap();
            match entries.last() {
                None => break,
                Some((_, next)) => offset = *next,
            }
            names.extend(entries.into_iter().map(|(name, _)| name));
        }
        names.retain(|name| name != "." && name != "..");
        names.sort();
        names
    }
}
