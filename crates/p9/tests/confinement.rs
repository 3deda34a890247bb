//! What a hostile guest must not reach.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use harness::{Server, body};

fn c(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().to_str().unwrap()).unwrap()
}

fn mount(source: &str, target: &Path, kind: &str, flags: libc::c_ulong) {
    let (source, target, kind) = (c(source), c(target), c(kind));
    // SAFETY: C strings.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            std::ptr::null(),
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn nothing_above_the_root_and_behind_a_link_is_reached() {
    let server = Server::start("escape");
    fs::write(server.dir.join("outside"), "secret").unwrap();
    fs::create_dir(server.share("dir")).unwrap();
    symlink("..", server.share("up")).unwrap();
    symlink("/etc", server.share("etc")).unwrap();
    symlink("../outside", server.share("file")).unwrap();
    let mut client = server.client();
    for path in ["..", "dir/..", ".", "up/outside", "etc/passwd"] {
        assert!(client.walk(0, 1, path).is_err(), "{path}");
    }
    for name in ["..", ".", "", "a/b", "../outside", "x\0y"] {
        assert!(
            client
                .call(110, body().u32(0).u32(1).u16(1).s(name))
                .is_err(),
            "{name:?}"
        );
        assert!(
            client.create(0, name, libc::O_RDWR, 0o600, 0).is_err(),
            "{name:?}"
        );
        assert!(
            client
                .call(72, body().u32(0).s(name).u32(0o700).u32(0))
                .is_err(),
            "{name:?}"
        );
        assert!(
            client.call(76, body().u32(0).s(name).u32(0)).is_err(),
            "{name:?}"
        );
        assert!(
            client
                .call(74, body().u32(0).s("dir").u32(0).s(name))
                .is_err(),
            "{name:?}"
        );
    }
    for name in ["up", "etc", "file"] {
        client.walk(0, 1, name).unwrap();
        assert_eq!(client.open(1, libc::O_RDONLY).err(), Some(libc::ELOOP));
        assert_eq!(client.walk(1, 2, "outside").err(), Some(libc::ENOTDIR));
        client.clunk(1).unwrap();
        client.walk(0, 1, "").unwrap();
        let create = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
        assert_eq!(
            client.create(1, name, create, 0o600, 0).err(),
            Some(libc::ELOOP)
        );
        client.clunk(1).unwrap();
    }
    // A mode set through a symlink's fid is the link's own or nobody's.
    client.walk(0, 1, "file").unwrap();
    client.set_attr(1, (1, 0o777, 0, 0, 0)).ok();
    client.set_attr(1, (6, 0, 99, 99, 0)).unwrap();
    let outside = fs::metadata(server.dir.join("outside")).unwrap();
    assert_eq!((outside.mode() & 0o777, outside.uid()), (0o644, 0));
    assert_eq!(fs::read(server.dir.join("outside")).unwrap(), b"secret");
    for aname in ["..", "up", "etc", "file", "dir/..", "/", "missing"] {
        assert!(client.attach(5, 0, aname).is_err(), "{aname}");
    }
    client.attach(5, 0, "dir").unwrap();
    assert!(client.walk(5, 6, "..").is_err());
}

#[test]
fn special_files_are_neither_opened_nor_made() {
    let server = Server::start("special");
    let fifo = c(server.share("fifo"));
    let null = c(server.share("null"));
    // SAFETY: C strings.
    unsafe {
        assert_eq!(libc::mkfifo(fifo.as_ptr(), 0o666), 0);
        assert_eq!(
            libc::mknod(null.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 3)),
            0
        );
    }
    let _socket = UnixListener::bind(server.share("sock")).unwrap();
    let mut client = server.client();
    for name in ["fifo", "null", "sock"] {
        client.walk(0, 1, name).unwrap();
        assert_ne!(client.attr(1).unwrap().mode & libc::S_IFMT, libc::S_IFREG);
        assert_eq!(
            client.open(1, libc::O_RDWR).err(),
            Some(libc::ENXIO),
            "{name}"
        );
        assert!(client.set_attr(1, (8, 0, 0, 0, 0)).is_err());
        client.clunk(1).unwrap();
        client.walk(0, 1, "").unwrap();
        let create = client.create(1, name, libc::O_RDWR | libc::O_CREAT, 0o600, 0);
        assert_eq!(create.err(), Some(libc::ENXIO), "{name}");
        client.clunk(1).unwrap();
    }
    for kind in [libc::S_IFCHR, libc::S_IFBLK] {
        let request = body()
            .u32(0)
            .s("dev")
            .u32(kind | 0o666)
            .u32(1)
            .u32(3)
            .u32(0);
        assert_eq!(client.call(18, request).err(), Some(libc::EPERM));
    }
}

#[test]
fn mounts_that_come_later_are_served_each_with_numbers_of_its_own() {
    let server = Server::start("mounts");
    for name in ["a", "b", "ro"] {
        fs::create_dir(server.share(name)).unwrap();
    }
    let mut client = server.client();
    assert!(client.cat("a/f").is_err());
    for (name, text) in [("a", "of a"), ("b", "of b")] {
        mount("none", &server.share(name), "tmpfs", 0);
        fs::write(server.share(name).join("f"), text).unwrap();
    }
    assert_eq!(client.cat("a/f").unwrap(), b"of a");
    let source = server.share("a");
    mount(
        source.to_str().unwrap(),
        &server.share("ro"),
        "none",
        libc::MS_BIND,
    );
    let read_only = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
    mount("none", &server.share("ro"), "none", read_only);
    assert_eq!(client.cat("ro/f").unwrap(), b"of a");
    for (fid, path) in [(1, "a/f"), (2, "b/f"), (3, "ro/f"), (4, "ro")] {
        client.walk(0, fid, path).unwrap();
    }
    let kind = client.call(8, body().u32(1)).unwrap().at_u32(0);
    assert_eq!(kind, 0x0102_1994, "in memory, as it is on the host");
    let inode = |name: &str| fs::metadata(server.share(name)).unwrap().ino();
    assert_eq!(
        inode("a/f"),
        inode("b/f"),
        "the host's numbers are the same"
    );
    assert_ne!(client.attr(1).unwrap().qid, client.attr(2).unwrap().qid);
    assert_eq!(client.attr(1).unwrap().qid, client.attr(3).unwrap().qid);
    assert_eq!(client.open(3, libc::O_RDWR).err(), Some(libc::EROFS));
    assert_eq!(
        client.set_attr(3, (1, 0o600, 0, 0, 0)).err(),
        Some(libc::EROFS)
    );
    let made = client.create(4, "new", libc::O_RDWR | libc::O_CREAT, 0o600, 0);
    assert_eq!(made.err(), Some(libc::EROFS));
}

#[test]
fn the_process_keeps_no_more_than_it_needs() {
    let server = Server::start("privileges");
    server.client();
    let pid = server.child.id();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(field(set), "00000000800000cf", "{set}");
        }
        assert_eq!(
            (field("CapInh"), field("CapAmb")),
            ("0".repeat(16), "0".repeat(16))
        );
        assert_eq!(
            (field("NoNewPrivs"), field("Seccomp")),
            ("1".to_owned(), "2".to_owned())
        );
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"));
}
